//! The plans of typical configurations, as text: the shapes that ctr, Docker, Podman and the CRI
//! send.
//!
//! `LOCULE_BLESS=1` writes the files anew; read the difference before you commit it.

use crate::Fact;
use crate::stage::{HOST, container, default_mounts, mount, request, scratch, template};
use rootfs::{CgroupHierarchy, CgroupView, Host, Plan, Request};
use spec::Container;
use spec::container::{
    Device, DeviceKind, Hook, IdMapping, Mount, Namespace, NamespaceKind, Propagation,
    PropagationKind,
};
use std::fs;

pub(crate) const FACTS: &[Fact] = &[
    (
        "a plan says what its mount namespace is a copy of",
        says_its_ground,
    ),
    (
        "a plan says why it does without the base",
        says_why_not_the_base,
    ),
    ("plan of the template", of_template),
    ("plan of Docker's", of_docker),
    ("plan of Podman's", of_podman),
    ("plan of a pod with a user namespace", of_pod),
    ("plan of an ordinary user's", of_rootless),
    ("plan with bidirectional mounts", of_bidirectional),
    ("plan with labels", with_labels),
    (
        "the annotation chooses the parameter of a label",
        label_parameter,
    ),
];

fn v2() -> CgroupView {
    CgroupView::V2 {
        group: "/sys/fs/cgroup/group".into(),
    }
}

/// Compares, or writes.
fn compare(name: &str, expected: &str, request: &Request<'_>) {
    let plan = Plan::lower(request).unwrap();
    assert_eq!(plan, Plan::lower(request).unwrap());
    let text = plan.to_string();
    if std::env::var_os("LOCULE_BLESS").is_some() {
        let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        fs::write(path, text).unwrap();
        return;
    }
    assert_eq!(text, expected, "{name}");
}

/// The host of [`HOST`], with a base.
fn with_base() -> Host {
    Host {
        base: Some("/run/base".into()),
        ..HOST
    }
}

const BASE: &str = "a copy of the base in \"/run/base\"";
const STAGED: &str = "the runtime, cloned by init";

/// Compares what the first two lines of a plan say of the mount namespace and of who opens the
/// sources.
fn says(container: &Container, host: &Host, ground: &str, opener: &str) {
    let view = v2();
    let request = Request {
        host,
        ..request(container, &view)
    };
    let text = Plan::lower(&request).unwrap().to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    assert!(
        first.starts_with("mount namespace ") && first.contains(ground),
        "{ground}: {text}"
    );
    let second = lines.next().unwrap();
    let wanted = format!("sources opened by {opener}");
    assert_eq!(second, wanted, "{ground}: {text}");
}

fn says_its_ground() {
    let root = scratch().join("root");
    let plain = template(&root);
    let mut user = plain.clone();
    user.namespaces[NamespaceKind::User] = Namespace::New;
    let mut many = plain.clone();
    for number in 0..200 {
        let destination = format!("/mnt/{number}");
        many.mounts
            .push(mount(&destination, "bind", "/mnt", &["bind"]));
    }
    for (container, opener) in [(&plain, "the runtime"), (&user, STAGED), (&many, STAGED)] {
        says(container, &with_base(), BASE, opener);
        says(container, &HOST, "not root of the initial", opener);
    }
    let bound = Host {
        enters_mounts: false,
        ..with_base()
    };
    let ordinary = Host {
        privileged: false,
        user_namespace: true,
        ..with_base()
    };
    for host in [bound, ordinary] {
        says(
            &user,
            &host,
            "lacks CAP_SYS_ADMIN or CAP_SYS_CHROOT",
            "init",
        );
    }
}

fn says_why_not_the_base() {
    let root = scratch().join("root");
    let hook = || Hook {
        path: "/bin/true".into(),
        args: Vec::new(),
        env: None,
        timeout: None,
    };
    let plain = template(&root);
    let mut hooked = plain.clone();
    hooked.hooks.create_container.push(hook());
    let mut hooked_user = plain.clone();
    hooked_user.namespaces[NamespaceKind::User] = Namespace::New;
    hooked_user.hooks.prestart.push(hook());
    let mut overlay = plain.clone();
    let layers = &["lowerdir=/a:/b"];
    overlay
        .mounts
        .push(mount("/mnt", "overlay", "overlay", layers));
    let mut joined = plain.clone();
    joined.namespaces[NamespaceKind::Mount] = Namespace::Join("/proc/1/ns/mnt".into());
    let mut joined_user = joined.clone();
    joined_user.namespaces[NamespaceKind::User] = Namespace::New;
    let hooks = "hooks run before the pivot";
    for (container, ground, opener) in [
        (&hooked, hooks, "the runtime"),
        (&hooked_user, hooks, STAGED),
        (&overlay, "files or devices of the host", "the runtime"),
        (&joined, "makes no mount namespace", "the runtime"),
        (&joined_user, "makes no mount namespace", "init"),
    ] {
        says(container, &with_base(), ground, opener);
    }
    let mut group = plain;
    group.namespaces[NamespaceKind::Cgroup] = Namespace::Inherit;
    let late = Host {
        has_groups: false,
        ..with_base()
    };
    says(&group, &with_base(), BASE, "the runtime");
    says(&group, &late, "a cgroup is bound", "the runtime");
}

fn of_template() {
    let root = scratch().join("root");
    let container = template(&root);
    let view = v2();
    compare(
        "template",
        include_str!("../golden/template.txt"),
        &request(&container, &view),
    );
}

/// Which mounts carry `linux.mountLabel`, as a parameter or on their root directory; a label of the
/// mount's own wins, and stands without the quotes of mount(2).
fn with_labels() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.mount_label = Some("u:object_r:web_t:s0:c1,c2".to_owned());
    container.mounts[4].options.push("ro".to_owned());
    for (name, option) in [
        ("own", "context=\"u:object_r:own_t:s0:c3,c4\""),
        ("default", "defcontext=u:object_r:own_t:s0"),
        ("both", "rootcontext=u:object_r:own_t:s0"),
        ("quoted", "size=\"1\""),
    ] {
        let destination = format!("/mnt/{name}");
        let options = [option];
        container
            .mounts
            .push(mount(&destination, "tmpfs", name, &options));
    }
    container
        .mounts
        .push(mount("/bind", "bind", "/mnt/host", &["bind"]));
    let view = CgroupView::V1 {
        hierarchies: vec![CgroupHierarchy {
            name: "cpu".to_owned(),
            options: "cpu".to_owned(),
            group: "/sys/fs/cgroup/cpu/group".into(),
        }],
        unified: None,
    };
    compare(
        "labels",
        include_str!("../golden/labels.txt"),
        &request(&container, &view),
    );
}

fn label_parameter() {
    let root = scratch().join("root");
    let mut container = container(&root);
    container.mounts = vec![mount("/run", "tmpfs", "tmpfs", &[])];
    container.mount_label = Some("u:object_r:web_t:s0".to_owned());
    let view = v2();
    for word in [
        "context",
        "fscontext",
        "defcontext",
        "rootcontext",
        "selinux",
    ] {
        let key = "run.oci.mount_context_type".to_owned();
        container.annotations.insert(key, word.to_owned());
        let parameter = format!("\"{word}\"=\"u:object_r:web_t:s0\"");
        match Plan::lower(&request(&container, &view)) {
            Ok(plan) => assert!(plan.to_string().contains(&parameter), "{plan}"),
            Err(problem) => {
                let text = problem.to_string();
                assert!(
                    text.contains("/annotations/run.oci.mount_context_type"),
                    "{text}"
                );
                assert_eq!(word, "selinux", "{text}");
            }
        }
    }
}

/// Binds of files that an engine keeps for each container.
fn engine_files(options: &[&str]) -> Vec<Mount> {
    ["hostname", "hosts", "resolv.conf"]
        .iter()
        .map(|name| {
            let source = format!("/mnt/host/{name}");
            fs::write(&source, "").unwrap();
            mount(&format!("/etc/{name}"), "bind", &source, options)
        })
        .collect()
}

fn of_docker() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container
        .mounts
        .extend(engine_files(&["rbind", "rprivate"]));
    container.namespaces[NamespaceKind::Cgroup] = Namespace::Inherit;
    container.sysctl = vec![(
        "net.ipv4.ip_unprivileged_port_start".to_owned(),
        "0".to_owned(),
    )];
    container.devices = vec![Device {
        path: "/dev/dma_heap/system".into(),
        kind: DeviceKind::Char,
        major: 252,
        minor: 0,
        mode: 0o600,
        uid: 0,
        gid: 5,
    }];
    let hierarchy = |name: &str, options: &str| CgroupHierarchy {
        name: name.to_owned(),
        options: options.to_owned(),
        group: format!("/sys/fs/cgroup/{name}/docker/id").into(),
    };
    let view = CgroupView::V1 {
        hierarchies: vec![
            hierarchy("cpu,cpuacct", "cpu,cpuacct"),
            hierarchy("systemd", "none,name=systemd"),
        ],
        unified: None,
    };
    compare(
        "docker",
        include_str!("../golden/docker.txt"),
        &request(&container, &view),
    );
}

fn podman(root: &std::path::Path) -> Container {
    let mut container = template(root);
    container.mounts.truncate(3);
    container.mounts.extend(engine_files(&["bind", "rprivate"]));
    fs::create_dir_all("/mnt/host/shm").unwrap();
    container.mounts.push(mount(
        "/dev/shm",
        "bind",
        "/mnt/host/shm",
        &["bind", "rprivate", "nosuid", "noexec", "nodev"],
    ));
    container.mounts.push(mount(
        "/sys",
        "sysfs",
        "sysfs",
        &["nosuid", "noexec", "nodev", "ro"],
    ));
    container.mounts.push(mount(
        "/sys/fs/cgroup",
        "cgroup",
        "cgroup",
        &["rprivate", "nosuid", "noexec", "nodev", "relatime", "ro"],
    ));
    container
}

fn of_podman() {
    let root = scratch().join("root");
    let container = podman(&root);
    let view = v2();
    compare(
        "podman",
        include_str!("../golden/podman.txt"),
        &request(&container, &view),
    );
}

fn big_map() -> Vec<IdMapping> {
    vec![IdMapping {
        container: 0,
        host: 3_624_009_728,
        size: 65_536,
    }]
}

fn of_pod() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.root.readonly = true;
    container.namespaces[NamespaceKind::User] = Namespace::Join("/proc/1/ns/user".into());
    container.namespaces[NamespaceKind::Network] = Namespace::Join("/proc/1/ns/net".into());
    container.uid_mappings = big_map();
    container.gid_mappings = big_map();
    for mut element in engine_files(&["rbind", "rprivate", "rw"]) {
        element.uid_mappings = big_map();
        element.gid_mappings = big_map();
        container.mounts.push(element);
    }
    let view = v2();
    compare(
        "pod",
        include_str!("../golden/pod.txt"),
        &request(&container, &view),
    );
}

fn of_rootless() {
    let root = scratch().join("root");
    let mut container = podman(&root);
    container.namespaces[NamespaceKind::User] = Namespace::New;
    container.namespaces[NamespaceKind::Network] = Namespace::Inherit;
    container.uid_mappings = vec![IdMapping {
        container: 0,
        host: 1000,
        size: 1,
    }];
    container.gid_mappings = container.uid_mappings.clone();
    container.mounts[2].options.push("gid=5".to_owned());
    let view = v2();
    let host = Host {
        privileged: false,
        user_namespace: true,
        ..HOST
    };
    let request = Request {
        host: &host,
        ..request(&container, &view)
    };
    compare("rootless", include_str!("../golden/rootless.txt"), &request);
}

fn of_bidirectional() {
    let root = scratch().join("root");
    let mut container = container(&root);
    container.mounts = default_mounts();
    container.rootfs_propagation = Some(Propagation {
        kind: PropagationKind::Shared,
        recursive: true,
    });
    container.mounts.push(mount(
        "/both",
        "bind",
        "/mnt/host",
        &["rbind", "rshared", "ro"],
    ));
    container.mounts.push(mount(
        "/in",
        "bind",
        "/mnt/host",
        &["rbind", "rslave", "rro"],
    ));
    let view = v2();
    compare(
        "bidirectional",
        include_str!("../golden/bidirectional.txt"),
        &request(&container, &view),
    );
}
