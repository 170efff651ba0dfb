//! The document of the Landlock annotation: its words, its paths, and what the kernel lacks of it.
//! docs/landlock.md has it; the chapter `landlock` has what is restricted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use integration::landlock::{ANNOTATION, abi, lacks, rule, set, tries};
use integration::{Bundle, sandbox};
use serde_json::json;

/// A path of the annotation means what it means in the container: links of the image do not lead
/// out.
#[test]
fn links_of_the_image_do_not_lead_out() {
    sandbox::host(|s| {
        if lacks(s, 3) {
            return;
        }
        let outside = s.dir.join("outside");
        fs::create_dir(&outside).expect("mkdir");
        let mut bundle = s.bundle();
        bundle.writable();
        let link = |to: &Path, name: &str| {
            symlink(to, bundle.root().join(name)).expect("link");
        };
        link(&outside, "absolute");
        link(
            &Path::new("../../../../../../../..").join(outside.strip_prefix("/").expect("/")),
            "climbing",
        );
        link(Path::new("/etc"), "inside");
        link(Path::new("loop"), "loop");
        let with = |bundle: &mut Bundle, path: &str| {
            set(
                bundle,
                &json!({ "pathBeneath": [
                    rule("/bin", &["read", "execute"]), rule("/tmp", &["write"]), rule(path, &["read"])
                ] }),
            );
        };
        for (path, words) in [
            ("/absolute", "no such file or directory"),
            ("/climbing", "no such file or directory"),
            ("/../../no/such", "no such file or directory"),
            ("/loop", "too many"),
            ("/proc/1/root", "not followed"),
            ("/etc/passwd/file", "not a directory"),
        ] {
            with(&mut bundle, path);
            let place = format!("{}#/pathBeneath/2/paths/0: \"{path}\"", ANNOTATION);
            s.try_create(&bundle, &s.id(), &[])
                .fails_with(&[&place, words]);
        }
        with(&mut bundle, "/inside");
        bundle.shell(&tries(&["cat /etc/passwd", "cat /inside/group"]));
        s.run(&bundle).prints("yes\nyes");
    });
}

/// `optional`: what is not there is passed over; the rest counts.
#[test]
fn missing_paths_are_errors_unless_they_are_optional() {
    sandbox::host(|s| {
        if lacks(s, 3) {
            return;
        }
        let mut bundle = s.bundle();
        let mut document = json!({ "pathBeneath": [
            rule("/", &["read", "execute"]),
            { "paths": ["/tmp", "/srv"], "allowedAccess": ["read", "write"] },
        ] });
        bundle
            .writable()
            .shell(&tries(&["touch /tmp/f", "touch /home/f"]));
        set(&mut bundle, &document);
        s.try_create(&bundle, &s.id(), &[]).fails_with(&[
            "/annotations/dev.locule.landlock#/pathBeneath/1/paths/1: \"/srv\"",
            "no such file or directory",
            "\"optional\": true",
        ]);
        document["pathBeneath"][1]["optional"] = json!(true);
        set(&mut bundle, &document);
        s.run(&bundle).prints("yes\nno");
        // A right of directories, asked for by name, on a file.
        document["pathBeneath"][1] = rule("/etc/passwd", &["read_file", "read_dir"]);
        set(&mut bundle, &document);
        s.try_create(&bundle, &s.id(), &[]).fails_with(&[
            "#/pathBeneath/1/allowedAccess: `read_dir` applies only to directories",
            "\"/etc/passwd\" is another type of file",
        ]);
    });
}

/// `mode`: a kernel that does not know a right refuses the container, or runs it without and says
/// so.
#[test]
fn what_the_kernel_does_not_know_is_an_error_or_a_warning() {
    sandbox::host(|s| {
        if s.is_control("the annotation is locule's") {
            return;
        }
        if abi(s) >= 10 {
            return s.skip("this kernel knows every right; covered on older ones, and by the unit tests of lowering");
        }
        let mut bundle = s.bundle();
        let mut document = json!({
            "bindUdp": [53],
            "handledAccessFs": ["read_file"],
            "pathBeneath": [rule("/bin", &["read"])],
        });
        set(&mut bundle, &document).args(&["cat", "/etc/passwd"]);
        s.try_create(&bundle, &s.id(), &[]).fails_with(&[
            "/annotations/dev.locule.landlock#",
            "[host]",
            "\"mode\": \"bestEffort\"",
        ]);
        document["mode"] = json!("bestEffort");
        set(&mut bundle, &document);
        let outcome = s.run(&bundle);
        assert!(
            outcome.stderr.contains("left out"),
            "{}",
            outcome.describe("a warning")
        );
        // What is known is restricted.
        let restricted = outcome.stderr.contains("Permission denied");
        assert_eq!(restricted, abi(s) > 0, "{}", outcome.describe("the rest"));
    });
}

/// Unknown words and wrong types are errors with a pointer into the configuration and one into the
/// annotation's document.
#[test]
fn a_bad_document_is_refused_with_its_place() {
    sandbox::host(|s| {
        if s.is_control("the pointers are locule's") {
            return;
        }
        for (text, inner, words) in [
            ("", "", "empty"),
            ("{]", "", "line 1, column 2 of the value"),
            ("{}", "", "restricts nothing"),
            (
                r#"{"bindTCP": [80], "connectTcp": []}"#,
                "/bindTCP",
                "did you mean `bindTcp`?",
            ),
            (
                r#"{"connectTcp": [65536]}"#,
                "/connectTcp/0",
                "65536 is outside the range from 0 to 65535",
            ),
            (
                r#"{"mode": "lax", "scoped": ["signal"]}"#,
                "/mode",
                "expected strict, bestEffort",
            ),
            (
                r#"{"handledAccessFs": ["read_fil"]}"#,
                "/handledAccessFs/0",
                "did you mean `read_file`?",
            ),
            (
                r#"{"pathBeneath": [{"paths": ["x"], "allowedAccess": ["read"]}]}"#,
                "/pathBeneath/0/paths/0",
                "absolute",
            ),
        ] {
            let mut bundle = s.bundle();
            bundle.set(ANNOTATION, json!(text));
            let place = format!("{ANNOTATION}#{inner}: ");
            s.try_create(&bundle, &s.id(), &[])
                .fails_with(&[&place, words]);
        }
        let mut bundle = s.bundle();
        bundle.set("/annotations/dev.locule.landlock.paths", json!("{}"));
        s.try_create(&bundle, &s.id(), &[]).fails_with(&[
            "/annotations/dev.locule.landlock.paths: the annotation is unknown",
            "`dev.locule.landlock`",
        ]);
    });
}
