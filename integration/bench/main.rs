//! Benchmarks: locule beside the floor, crun and runc, alternating in one run, medians and ratios as a markdown table.
//!
//! `bench --locule PATH [--count N] [--runtime NAME=PATH]...`. Runs itself again in a private mount namespace where cgroup v2 is all there is
//! and keeps every file in /dev/shm. `LOCULE_BENCH_RUNTIMES=NAME=PATH,...` adds runtimes as `--runtime` does.

mod measure;
mod subject;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, id};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration::bundle::busybox;
use measure::{median, peak, timed};
use serde_json::{Value, json};
use subject::Subject;

/// What the command line asked for.
#[derive(Debug, Default)]
struct Options {
    locule: PathBuf,
    count: usize,
    runtimes: Vec<(String, PathBuf)>,
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if env::var_os("LOCULE_BENCH_INSIDE").is_some() {
        inside(&parse(&args));
        return ExitCode::SUCCESS;
    }
    let prepare = "if test -d /sys/fs/cgroup/unified; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        prepare,
        "bench",
    ]);
    command
        .arg(env::current_exe().expect("own path"))
        .args(args)
        .env("LOCULE_BENCH_INSIDE", "yes");
    if command.status().expect("unshare").success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse(args: &[String]) -> Options {
    let mut options = Options {
        count: 200,
        ..Options::default()
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let value = args.next().unwrap_or_else(|| panic!("{arg} wants a value"));
        match arg.as_str() {
            "--locule" => options.locule = fs::canonicalize(value).expect("--locule"),
            "--count" => options.count = value.parse().expect("--count"),
            "--runtime" => options.runtimes.push(named(value)),
            other => panic!("{other}: --locule PATH, --count N, --runtime NAME=PATH"),
        }
    }
    assert!(
        !options.locule.as_os_str().is_empty(),
        "--locule PATH is needed"
    );
    for name in ["crun", "runc"] {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|p| p.is_file());
        options
            .runtimes
            .extend(found.map(|path| (name.to_owned(), path)));
    }
    let more = env::var("LOCULE_BENCH_RUNTIMES").unwrap_or_default();
    options
        .runtimes
        .extend(more.split(',').filter(|entry| !entry.is_empty()).map(named));
    options
}

fn named(entry: &str) -> (String, PathBuf) {
    let (name, path) = entry
        .split_once('=')
        .unwrap_or_else(|| panic!("{entry}: NAME=PATH"));
    (name.to_owned(), PathBuf::from(path))
}

fn inside(options: &Options) {
    let work = PathBuf::from(format!("/dev/shm/locule-bench-{}", id()));
    let bundle = work.join("bundle");
    make_bundle(options, &bundle, "true");
    let long = work.join("long");
    make_bundle(options, &long, "sleep");
    let [floor, peak_program] = ["floor", "peak"].map(|name| compile(&work, name));
    let mut subjects = vec![
        Subject::floor(&floor, &bundle),
        Subject::runtime("locule", &options.locule, &work, &bundle),
    ];
    for (name, path) in &options.runtimes {
        subjects.push(Subject::runtime(name, path, &work, &bundle));
    }
    subjects.retain(works);
    let rows = [
        runs(&subjects, options.count),
        phases(&subjects, &bundle, options.count.div_ceil(2)),
        queries(&subjects, &long, options.count.div_ceil(2)),
        parallel(&subjects),
        memory(&subjects, &peak_program),
    ];
    print(&subjects, &rows.concat(), options.count);
    fs::remove_dir_all(&work).expect("clean up");
}

/// A bundle of the runtime's own template that runs an applet: `true`, or `sleep` for long.
fn make_bundle(options: &Options, path: &Path, applet: &str) {
    fs::create_dir_all(path.join("rootfs/bin")).expect("bundle");
    for folder in ["dev", "proc", "sys", "etc"] {
        fs::create_dir(path.join("rootfs").join(folder)).expect("bundle");
    }
    fs::copy(busybox(), path.join("rootfs/bin/busybox")).expect("busybox");
    symlink("busybox", path.join("rootfs/bin").join(applet)).expect("applet");
    let mut spec = Command::new(&options.locule);
    let status = spec
        .args(["spec", "--bundle"])
        .arg(path)
        .status()
        .expect("locule spec");
    assert!(status.success(), "locule spec: {status}");
    let file = path.join("config.json");
    let mut config: Value =
        serde_json::from_slice(&fs::read(&file).expect("config")).expect("JSON");
    config["ociVersion"] = json!("1.0.2"); // crun 1.8.1 takes nothing above 1.0.x
    config["process"]["terminal"] = json!(false);
    // Device rules cost crun a limit that root may lack here, and the floor does not have them either.
    config["linux"]
        .as_object_mut()
        .expect("linux")
        .remove("resources");
    let program = format!("/bin/{applet}");
    config["process"]["args"] = if applet == "sleep" {
        json!([program, "100000"])
    } else {
        json!([program])
    };
    fs::write(&file, serde_json::to_vec_pretty(&config).expect("JSON")).expect("config");
}

fn compile(work: &Path, name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("bench")
        .join(format!("{name}.c"));
    let program = work.join(name);
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-static", "-o"]).arg(&program).arg(source);
    assert!(gcc.status().expect("gcc").success(), "{gcc:?}");
    program
}

/// Whether the program runs the bundle at all here; one that does not is left out, and said to be.
fn works(subject: &Subject) -> bool {
    let output = subject.run(&name()).output().expect("run");
    if !output.status.success() {
        eprintln!(
            "left out: {}: {}",
            subject.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    output.status.success()
}

/// A container id that no other run has.
fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("bench-{}-{}", id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One line of the table: what, unit, and a value for each subject, NaN where it has none.
type Row = (&'static str, &'static str, Vec<f64>);

fn runs(subjects: &[Subject], count: usize) -> Vec<Row> {
    let mut samples = vec![Vec::new(); subjects.len()];
    for round in 0..count + 5 {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            let elapsed = timed(&mut subject.run(&name()));
            if round >= 5 {
                samples.push(elapsed);
            }
        }
    }
    vec![(
        "run of /bin/true",
        "us",
        samples.iter().map(|s| median(s)).collect(),
    )]
}

fn phases(subjects: &[Subject], bundle: &Path, count: usize) -> Vec<Row> {
    let mut samples = vec![[const { Vec::new() }; 3]; subjects.len()];
    for _ in 0..count {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            if subject.is_floor {
                continue;
            }
            let id = name();
            samples[0].push(timed(&mut subject.create(bundle, &id)));
            let pid = subject.pid(&id);
            samples[1].push(timed(&mut subject.command(&["start", &id])));
            while alive(pid) {
                thread::sleep(Duration::from_micros(200));
            }
            samples[2].push(timed(&mut subject.command(&["delete", &id])));
        }
    }
    let column = |n: usize| samples.iter().map(|s| median(&s[n])).collect();
    vec![
        ("create", "us", column(0)),
        ("start", "us", column(1)),
        ("delete", "us", column(2)),
    ]
}

/// Whether a process exists and is no zombie.
fn alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

fn queries(subjects: &[Subject], long: &Path, count: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = ["state", "kill", "list"]
        .map(|what| (what, "us", vec![f64::NAN; subjects.len()]))
        .into();
    let ids: Vec<_> = subjects.iter().map(|_| name()).collect();
    for (subject, id) in subjects.iter().zip(&ids).filter(|(s, _)| !s.is_floor) {
        timed(&mut subject.create(long, id));
        subject.pid(id);
        timed(&mut subject.command(&["start", id]));
    }
    for row in &mut rows {
        let mut samples = vec![Vec::new(); subjects.len()];
        for _ in 0..count {
            for ((subject, id), samples) in subjects.iter().zip(&ids).zip(&mut samples) {
                let args = match row.0 {
                    "state" => vec!["state", id],
                    "kill" => vec!["kill", id, "CONT"],
                    _ => vec!["list"],
                };
                if !subject.is_floor {
                    samples.push(timed(&mut subject.command(&args)));
                }
            }
        }
        row.2 = samples.iter().map(|s| median(s)).collect();
    }
    for (subject, id) in subjects.iter().zip(&ids).filter(|(s, _)| !s.is_floor) {
        timed(&mut subject.command(&["delete", "--force", id]));
    }
    rows
}

/// 200 runs, so many at a time: the time for all.
fn parallel(subjects: &[Subject]) -> Vec<Row> {
    let all = [
        ("200 runs, 1 at a time", 1),
        ("200 runs, 4 at a time", 4),
        ("200 runs, 16 at a time", 16),
    ];
    let measure = |subject: &Subject, width: usize| {
        let left = AtomicUsize::new(200);
        let take = || {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
        };
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..width {
                scope.spawn(|| {
                    while take() {
                        timed(&mut subject.run(&name()));
                    }
                });
            }
        });
        start.elapsed().as_secs_f64() * 1e3
    };
    all.map(|(what, width)| {
        (
            what,
            "ms",
            subjects.iter().map(|s| measure(s, width)).collect(),
        )
    })
    .into()
}

fn memory(subjects: &[Subject], program: &Path) -> Vec<Row> {
    let largest = |subject: &Subject| (0..10).map(|_| peak(program, &subject.run(&name()))).max();
    let kib = |n: u64| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let size = |subject: &Subject| fs::metadata(&subject.program).map_or(0, |m| m.len() / 1024);
    vec![
        (
            "peak memory of any process of run",
            "KiB",
            subjects
                .iter()
                .map(|s| kib(largest(s).unwrap_or(0)))
                .collect(),
        ),
        (
            "size of the program",
            "KiB",
            subjects.iter().map(|s| kib(size(s))).collect(),
        ),
    ]
}

/// The table: value and, in brackets, its ratio to the floor or, where the floor has none, to locule.
fn print(subjects: &[Subject], rows: &[Row], count: usize) {
    let mut text = format!(
        "Medians of {count} runs, alternating; in brackets the ratio to the first column that has a value.\n\n"
    );
    let names: Vec<_> = subjects.iter().map(|s| s.name.as_str()).collect();
    writeln!(text, "| what | unit | {} |", names.join(" | ")).expect("text");
    writeln!(text, "| --- | --- |{}", " --- |".repeat(names.len())).expect("text");
    for (what, unit, values) in rows {
        let base = values
            .iter()
            .copied()
            .find(|v| !v.is_nan())
            .unwrap_or(f64::NAN);
        let cell = |v: &f64| {
            if v.is_nan() {
                "-".to_owned()
            } else {
                format!("{v:.0} ({:.2})", v / base)
            }
        };
        let cells: Vec<_> = values.iter().map(cell).collect();
        writeln!(text, "| {what} | {unit} | {} |", cells.join(" | ")).expect("text");
    }
    print!("{text}");
}
