//! Benchmarks: locule beside the floor, crun and runc, alternating in one run, medians and ratios
//! as a markdown table.
//!
//! `bench --locule PATH [--count N] [--runtime NAME=PATH]...`. Runs itself again in two private
//! mount namespaces: where cgroup v2 is all there is, and where cgroup v1 is, for the limits. Keeps
//! every file in /dev/shm. `LOCULE_BENCH_RUNTIMES=NAME=PATH,...` adds runtimes as `--runtime` does.

mod exec;
mod filter;
mod limits;
mod measure;
mod subject;
mod table;

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, id};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use integration::bundle::busybox;
use measure::{Costs, median, peak, timed, timed_on_terminal};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde_json::{Value, json};
use subject::Subject;
use table::Row;

/// What the command line asked for.
#[derive(Debug, Default)]
struct Options {
    locule: PathBuf,
    count: usize,
    runtimes: Vec<(String, PathBuf)>,
}

/// What the second start sees of control groups, and measures there. `/run` is its own: the base of
/// mount namespaces is pinned there.
const INSIDE: &str = "LOCULE_BENCH_INSIDE";

/// Version 2 alone, as far as the machine has it.
const V2: &str = "mount -t tmpfs -o mode=755 tmpfs /run; if test -d /sys/fs/cgroup/unified; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi; exec \"$@\"";

/// The hierarchies of version 1 alone: crun takes no mixture.
const V1: &str =
    "set -e; mount -t tmpfs -o mode=755 tmpfs /run; all=$(mktemp -d /dev/shm/locule-bench.XXXXXX); mount -t tmpfs -o mode=755 tmpfs $all
for each in /sys/fs/cgroup/*/; do
    name=$(basename $each)
    if test $name != unified; then mkdir $all/$name; mount --bind $each $all/$name; fi
done
mount --rbind $all /sys/fs/cgroup; umount -l $all; rmdir $all; exec \"$@\"";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let options = parse(&args);
    match env::var(INSIDE).as_deref() {
        Ok("v2") => inside(&options),
        Ok(_) => limits::measure(&options),
        Err(_) => {
            let mut views = vec![("v2", V2)];
            if Path::new("/sys/fs/cgroup/memory/cgroup.procs").exists() {
                views.push(("v1", V1));
            } else {
                eprintln!("left out: limits: no memory controller of cgroup v1 here");
            }
            if !views.into_iter().all(|view| again(view, &args)) {
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Runs this program in a view of the control groups.
fn again((view, prepare): (&str, &str), args: &[String]) -> bool {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c"])
        .args([prepare, "bench"])
        .arg(env::current_exe().expect("own path"))
        .args(args)
        .env(INSIDE, view);
    command.status().expect("unshare").success()
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
    make_bundle(options, &bundle, "true", &|_| {});
    let long = work.join("long");
    make_bundle(options, &long, "sleep", &|_| {});
    symlink("busybox", long.join("rootfs/bin/true")).expect("applet");
    let filtered = work.join("filtered");
    make_bundle(options, &filtered, "true", &filter::with_profile);
    let terminal = work.join("terminal");
    make_bundle(options, &terminal, "true", &|config| {
        config["process"]["terminal"] = json!(true);
    });
    let [floor, exec_floor, nothing, peak_program] =
        ["floor", "exec", "nothing", "peak"].map(|name| compile(&work, name));
    let mut subjects = vec![Subject::floor(&floor, &[])];
    subjects.extend(runtimes(options, &work));
    subjects.retain(|subject| works(subject, &bundle));
    let rows = [
        runs(RUN, &subjects, &bundle, options.count),
        phases(&subjects, &bundle, &nothing, options.count.div_ceil(2)),
        lives(&subjects, &long, options.count.div_ceil(2)),
        queries(&subjects, &long, &nothing, options.count.div_ceil(2)),
        exec::rows(&subjects, &long, &exec_floor, options.count),
        parallel(&subjects, &bundle),
        memory(&subjects, &bundle, &peak_program),
        beside_mounts(&subjects, &bundle, &work, options.count.div_ceil(2)),
    ];
    table::print(&names(&subjects), &rows.concat());
    subjects.retain(|subject| !subject.is_floor);
    let names = names(&subjects);
    let rows = filter::rows(&subjects, [&bundle, &filtered], options.count);
    table::print(&names, &rows);
    let what = [
        "run without a terminal",
        "run with a terminal",
        "with against without",
    ];
    let bundles = [&*bundle, &terminal];
    let rows = filter::compared(what, &subjects, bundles, options.count, timed_on_terminal);
    table::print(&names, &rows);
    fs::remove_dir_all(&work).expect("clean up");
}

fn names(subjects: &[Subject]) -> Vec<&str> {
    subjects.iter().map(|s| s.name.as_str()).collect()
}

fn runtimes(options: &Options, work: &Path) -> Vec<Subject> {
    let own = ("locule".to_owned(), options.locule.clone());
    let all = [own].into_iter().chain(options.runtimes.iter().cloned());
    all.map(|(name, path)| Subject::runtime(&name, &path, work))
        .collect()
}

/// A bundle of the runtime's own template that runs an applet: `true`, or `sleep` for long.
fn make_bundle(options: &Options, path: &Path, applet: &str, change: &dyn Fn(&mut Value)) {
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
    // Device rules cost crun a limit that root may lack here, and the floor does not have them
    // either.
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
    change(&mut config);
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
fn works(subject: &Subject, bundle: &Path) -> bool {
    let output = subject.run(bundle, &name()).output().expect("run");
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

const RUN: [&str; 3] = ["run of /bin/true", "its processor time", "its page faults"];

/// Whole runs; `names` are those of their wall time, processor time and page faults.
fn runs(names: [&'static str; 3], subjects: &[Subject], bundle: &Path, count: usize) -> Vec<Row> {
    let mut all = vec![Costs::default(); subjects.len()];
    for round in 0..count + 5 {
        for (subject, costs) in subjects.iter().zip(&mut all) {
            let mut command = subject.run(bundle, &name());
            let mut work = || {
                timed(&mut command);
            };
            match round < 5 {
                true => work(),
                false => costs.sample(work),
            }
        }
    }
    Costs::rows(&all, names)
}

/// What an engine does with a container that works until it is stopped: create, start and delete
/// --force. This process adopts the container's first process, whose own costs count too.
fn lives(subjects: &[Subject], long: &Path, count: usize) -> Vec<Row> {
    set_child_subreaper(true).expect("prctl");
    let mut all = vec![Costs::default(); subjects.len()];
    for _ in 0..count {
        for (subject, costs) in subjects.iter().zip(&mut all).filter(|(s, _)| !s.is_floor) {
            costs.sample(|| live(subject, long, &name()));
        }
    }
    set_child_subreaper(false).expect("prctl");
    let names = [
        "create, start, delete --force of a sleeping container",
        "its processor time",
        "its page faults",
    ];
    Costs::rows(&all, names)
}

fn live(subject: &Subject, bundle: &Path, id: &str) {
    timed(&mut subject.create(bundle, id));
    let first = i32::try_from(subject.pid(id)).expect("pid");
    timed(&mut subject.command(&["start", id]));
    timed(&mut subject.command(&["delete", "--force", id]));
    waitpid(Pid::from_raw(first), None).expect("waitpid");
}

/// Mounts that a full Kubernetes node has and this machine has not.
const MOUNTS: usize = 2000;

/// Runs on a host with many mounts.
fn beside_mounts(subjects: &[Subject], bundle: &Path, work: &Path, count: usize) -> Vec<Row> {
    let folder = work.join("mounts");
    let script = "set -e; mkdir $1; mount -t tmpfs more $1
        for n in $(seq $2); do mkdir $1/$n; mount -t tmpfs more $1/$n; done";
    shell(script, &folder);
    let names = [
        "run beside 2,000 more mounts",
        "its processor time",
        "its page faults",
    ];
    let rows = runs(names, subjects, bundle, count);
    shell("umount -R $1; rmdir $1", &folder);
    rows
}

fn shell(script: &str, folder: &Path) {
    let mut command = Command::new("sh");
    command.args(["-c", script, "bench"]).arg(folder);
    command.arg(MOUNTS.to_string());
    assert!(command.status().expect("sh").success(), "{command:?}");
}

/// The floor of `start` and `delete` is the start of a program that does nothing.
fn phases(subjects: &[Subject], bundle: &Path, nothing: &Path, count: usize) -> Vec<Row> {
    let mut samples = vec![[const { Vec::new() }; 3]; subjects.len()];
    for _ in 0..count {
        for (subject, samples) in subjects.iter().zip(&mut samples) {
            if subject.is_floor {
                for samples in &mut samples[1..] {
                    samples.push(timed(&mut Command::new(nothing)));
                }
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

/// Their floor is the start of a program that does nothing.
fn queries(subjects: &[Subject], long: &Path, nothing: &Path, count: usize) -> Vec<Row> {
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
                samples.push(match subject.is_floor {
                    true => timed(&mut Command::new(nothing)),
                    false => timed(&mut subject.command(&args)),
                });
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
fn parallel(subjects: &[Subject], bundle: &Path) -> Vec<Row> {
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
                        timed(&mut subject.run(bundle, &name()));
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

fn memory(subjects: &[Subject], bundle: &Path, program: &Path) -> Vec<Row> {
    let largest = |subject: &Subject| {
        (0..10)
            .map(|_| peak(program, &subject.run(bundle, &name())))
            .max()
    };
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
