use super::update::Limits;
use super::*;
use std::path::Path;

fn parsed(line: &str) -> Result<Invocation, Misuse> {
    parse(line.split_ascii_whitespace().map(OsString::from))
}

fn command(line: &str) -> (Globals, Command) {
    match parsed(line) {
        Ok(Invocation::Command(globals, command)) => (globals, command),
        other => panic!("{line}: {other:?}"),
    }
}

fn misuse(line: &str) -> Misuse {
    match parsed(line) {
        Err(misuse) => misuse,
        Ok(other) => panic!("{line}: {other:?}"),
    }
}

/// Every recorded call of an engine, for the commands that exist.
const CALLS: &[&str] = &[
    // Podman and conmon.
    "create --bundle /b --pid-file /p I",
    "--systemd-cgroup --log-format=json --log /l create --bundle /b --pid-file /p --console-socket /s --preserve-fds 2 --no-pivot --no-new-keyring I",
    "--debug --log-format=json --log /l create --bundle /b --pid-file /p I",
    "--debug start I",
    "delete --force I",
    "--log-format=json --log /l --cgroup-manager disabled create --bundle /b --pid-file /p I",
    "--cgroup-manager=disabled create -b /b I",
    "kill I 10",
    "kill --all I 15",
    "state I",
    "start I",
    // Buildah.
    "create --bundle /b --pid-file /b/pid --no-new-keyring buildah-buildah123",
    "kill buildah-buildah123",
    "delete buildah-buildah123",
    // containerd's shim, docker and the CRI plugin.
    "--root /r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p --console-socket /s I",
    "--root /r --log /l --log-format json create --bundle /b --pid-file /p --no-pivot --no-new-keyring I",
    "--root /r --log /l --log-format json start I",
    "--root /r --log /l --log-format json kill --all I 9",
    "--root /r --log /l --log-format json kill I 15",
    "--root /r --log /l --log-format json delete I",
    "--root /r --log /l --log-format json delete --force I",
    "--root /r --log /l --log-format json state I",
    "--root /r --log /l --log-format json list --format=json",
    "--rootless=true --debug --root /r list --format json",
    "--rootless false list -f json -q",
    "features",
    // BuildKit.
    "pause I",
    "resume I",
    "--root /r --log /l --log-format json ps --format json I",
    "ps I",
    "ps I aux",
    "--root /r --log /l --log-format json events --stats I",
    "events --interval 5s I",
    "events --interval=10 I",
    "events -interval 1m30s -stats=false I",
    "--root /r --log /l --log-format json update --resources - I",
    "update --resources=/tmp/r.json I",
    "update -r - I",
    "update --memory 64m --memory-swap -1 --cpu-quota -1 --cpu-idle=1 --pids-limit -1 --kernel-memory 0 I",
    "--root /r --log /l --log-format json pause I",
    "--root /r --log /l --log-format json resume I",
    "--log /l --log-format json run --bundle /b --keep --no-pivot --pid-file /p I",
    "run --bundle /b --detach --pid-file /p I",
    // Spellings of Go programs.
    "-root /r -log /l -log-format json run -b /b -no-subreaper -pid-file /p I",
    "-debug=true --systemd-cgroup=false -rootless=auto list -format=table",
    "--debug --debug kill --all --all I KILL",
];

#[test]
fn every_recorded_call_is_understood() {
    for line in CALLS {
        command(line);
    }
}

#[test]
fn switches_take_the_values_of_go_programs() {
    for (line, forced) in [
        ("delete -f=true I", true),
        ("delete -f=1 I", true),
        ("delete -f=false I", false),
        ("delete -force=0 I", false),
    ] {
        let (_, Command::Delete(delete)) = command(line) else {
            panic!("{line}");
        };
        assert_eq!((delete.force, delete.id()), (forced, "I"), "{line}");
    }
    let words = ["-V"].map(OsString::from);
    assert!(matches!(parse(words), Ok(Invocation::Version(_))));
}

#[test]
fn short_options_of_exec_may_be_joined() {
    let (_, Command::Exec(exec)) = command("exec -dt -u5:6 -eA=1 -cKILL I ls -u7 --help") else {
        panic!("another command");
    };
    assert!(exec.detach && exec.tty);
    assert_eq!((exec.user, exec.id()), (Some((5, Some(6))), "I".to_owned()));
    assert_eq!((exec.env, exec.cap), (vec!["A=1".to_owned()], vec![5]));
    assert_eq!(exec.words[1..], ["ls", "-u7", "--help"]);
}

#[test]
fn options_reach_their_fields() {
    let (globals, command) = command(
        "--root /r --log file:/l --log-format json --cgroup-manager systemd --rootless=true create \
         -b /b -f other.json --pid-file /p --console-socket /s --pidfd-socket /q --preserve-fds=3 \
         --no-pivot --no-new-keyring box",
    );
    assert_eq!(globals.root.as_deref(), Some(Path::new("/r")));
    assert_eq!(globals.log.as_deref(), Some(Path::new("/l")));
    assert_eq!(globals.log_format, LogFormat::Json);
    assert_eq!(globals.cgroup_manager, Some(CgroupManager::Systemd));
    assert_eq!(globals.rootless, Rootless::True);
    let Command::Create(create) = command else {
        panic!("{command:?}");
    };
    assert_eq!(create.id(), "box");
    assert_eq!(create.bundle, Path::new("/b"));
    assert_eq!(create.config.as_deref(), Some(Path::new("other.json")));
    assert_eq!(create.pid_file.as_deref(), Some(Path::new("/p")));
    assert_eq!(create.console_socket.as_deref(), Some(Path::new("/s")));
    assert_eq!(create.pidfd_socket.as_deref(), Some(Path::new("/q")));
    assert_eq!(create.preserve_fds, 3);
    assert!(create.no_pivot && create.no_new_keyring);
}

#[test]
fn what_is_left_out_has_its_default() {
    let (globals, command) = command("run box");
    assert_eq!(globals.log_format, LogFormat::Text);
    assert_eq!((globals.log_level, globals.log), (None, None));
    assert_eq!(globals.rootless, Rootless::Auto);
    let Command::Run(run) = command else {
        panic!("{command:?}");
    };
    assert_eq!(run.create.bundle, Path::new("."));
    assert_eq!(run.create.preserve_fds, 0);
    assert!(!run.detach && !run.keep && !run.no_subreaper);
    assert_eq!(run.create.id(), "box");
}

#[test]
fn kill_takes_its_options_on_both_sides_and_defaults_to_term() {
    for line in ["kill -a I KILL", "kill I --all KILL", "kill I KILL -all"] {
        let (_, Command::Kill(kill)) = command(line) else {
            panic!("{line}");
        };
        assert_eq!(
            (kill.all, kill.id(), kill.signal()),
            (true, "I", Some("KILL"))
        );
    }
    let (_, Command::Kill(kill)) = command("kill I") else {
        panic!("kill");
    };
    assert_eq!((kill.all, kill.signal()), (false, None));
}

#[test]
fn an_empty_value_is_none() {
    let parsed = |words: &[&str]| parse(words.iter().map(OsString::from)).unwrap();
    let plain = parsed(&["exec", "I", "ps", "", "-u", ""]);
    for option in [
        "--cwd",
        "--apparmor",
        "--process-label",
        "--process",
        "-p",
        "--pid-file",
        "--console-socket",
        "--pidfd-socket",
    ] {
        assert_eq!(
            parsed(&["exec", option, "", "I", "ps", "", "-u", ""]),
            plain,
            "{option}"
        );
        let joined = format!("{option}=");
        if option.starts_with("--") {
            assert_eq!(
                parsed(&["exec", &joined, "I", "ps", "", "-u", ""]),
                plain,
                "{option}"
            );
        }
    }
    let Invocation::Command(_, Command::Kill(kill)) = parsed(&["kill", "I", ""]) else {
        panic!("kill");
    };
    assert_eq!(kill.signal(), None);
    assert_eq!(
        parsed(&["--log-format", "", "start", "I"]),
        parsed(&["start", "I"])
    );
    for refused in [
        &["--root", "", "list"][..],
        &["run", "--bundle", "", "I"],
        &["run", "-b", "", "I"],
        &["exec", "--user", "", "I", "ps"],
        &["exec", "-u", "", "I", "ps"],
    ] {
        assert!(
            parse(refused.iter().map(OsString::from)).is_err(),
            "{refused:?}"
        );
    }
}

#[test]
fn what_follows_the_name_is_for_the_hosts_ps() {
    for (line, format, options) in [
        ("ps I", ListFormat::Table, &["-ef"][..]),
        ("ps -f json I", ListFormat::Json, &["-ef"]),
        ("ps -format=json I", ListFormat::Json, &["-ef"]),
        ("ps --format json -- I", ListFormat::Json, &["-ef"]),
        ("ps I aux", ListFormat::Table, &["aux"]),
        (
            "ps I -o pid,args -f",
            ListFormat::Table,
            &["-o", "pid,args", "-f"],
        ),
        ("ps I -- -o pid", ListFormat::Table, &["-o", "pid"]),
        ("ps I --forest -e", ListFormat::Table, &["--forest", "-e"]),
        ("ps I --help", ListFormat::Table, &["--help"]),
    ] {
        let (_, Command::Ps(ps)) = command(line) else {
            panic!("{line}");
        };
        assert_eq!((ps.id().as_str(), ps.format), ("I", format), "{line}");
        assert_eq!(ps.options(), options, "{line}");
    }
    assert!(
        misuse("ps --format xml I")
            .text
            .contains("invalid format option")
    );
}

#[test]
fn limits_keep_their_words() {
    let (_, Command::Update(update)) =
        command("update --memory -1 -cpu-quota=-5 --cpuset-cpus 0-1,3 --pids-limit 7k -r - I")
    else {
        panic!("update");
    };
    assert_eq!(update.resources.as_deref(), Some(Path::new("-")));
    let typed: Vec<_> = update
        .limits
        .each()
        .filter_map(|limit| Some((limit.option, limit.word?)))
        .collect();
    assert_eq!(
        typed,
        [
            ("--cpu-quota", "-5"),
            ("--cpuset-cpus", "0-1,3"),
            ("--memory", "-1"),
            ("--pids-limit", "7k"),
        ]
    );
}

/// Messages name a limit by the option of its row.
#[test]
fn the_options_of_limits_are_those_that_the_parser_knows() {
    let defined = Limits::augment_args(clap::Command::new("update"));
    let defined = defined.get_arguments().filter_map(clap::Arg::get_long);
    let mut defined: Vec<_> = defined.map(|name| format!("--{name}")).collect();
    defined.sort_unstable();
    let mut rows: Vec<_> = Limits::default().each().map(|row| row.option).collect();
    rows.sort_unstable();
    assert_eq!(rows, defined);
}

#[test]
fn values_and_what_follows_two_dashes_are_left_alone() {
    let (globals, _) = command("--log -debug -root=/r state x");
    assert_eq!(globals.log.as_deref(), Some(Path::new("-debug")));
    let (_, Command::State(state)) = command("state -- -root") else {
        panic!("state");
    };
    assert_eq!(state.id(), "-root");
    let (_, Command::List(list)) = command("list -qf json") else {
        panic!("list");
    };
    assert_eq!((list.quiet, list.format), (true, ListFormat::Json));
}

#[test]
fn a_wrong_number_of_names_is_told_in_known_words_with_the_usage() {
    for (line, words) in [
        ("start", "\"start\" requires exactly 1 argument\n"),
        ("start a b", "\"start\" requires exactly 1 argument\n"),
        ("create", "\"create\" requires exactly 1 argument\n"),
        ("run", "\"run\" requires exactly 1 argument\n"),
        ("state", "\"state\" requires exactly 1 argument\n"),
        ("delete a b", "\"delete\" requires exactly 1 argument\n"),
        ("kill", "\"kill\" requires a minimum of 1 argument\n"),
        ("kill a 9 x", "\"kill\" requires a maximum of 2 arguments\n"),
        ("pause", "\"pause\" requires exactly 1 argument\n"),
        ("resume a b", "\"resume\" requires exactly 1 argument\n"),
        ("ps", "\"ps\" requires a minimum of 1 argument\n"),
        ("update", "\"update\" requires exactly 1 argument\n"),
        ("events", "\"events\" requires exactly 1 argument\n"),
        ("list x", "\"list\" takes no arguments, 1 given\n"),
        ("features x y", "\"features\" takes no arguments, 2 given\n"),
    ] {
        let misuse = misuse(line);
        assert!(misuse.text.starts_with(words), "{}", misuse.text);
        assert!(misuse.text.contains("Usage: locule "), "{}", misuse.text);
        assert_eq!(misuse.wrong, Wrong::Count);
    }
}

#[test]
fn unknown_words_are_named_and_unknown_commands_have_their_own_status() {
    for (line, named, wrong) in [
        ("frobnicate", "frobnicate", Wrong::Unknown),
        ("--frob list", "--frob", Wrong::Words),
        ("list --frob", "--frob", Wrong::Words),
        ("list --format xml", "invalid format option", Wrong::Words),
        ("--log-format xml list", "xml", Wrong::Words),
        ("--log journald:x list", "journald", Wrong::Words),
        ("create --preserve-fds -1 I", "-1", Wrong::Words),
        ("create --pid-file", "--pid-file", Wrong::Words),
        ("events --interval 0s I", "greater than 0", Wrong::Words),
        ("events --interval 5x I", "whole seconds", Wrong::Words),
        ("exec -it I sh", "unexpected argument '-i'", Wrong::Words),
        (
            "exec --frob I sh",
            "unexpected argument '--frob'",
            Wrong::Words,
        ),
        ("ps -ef I", "unexpected argument '-e'", Wrong::Words),
        ("plan --exec --frob I sh", "'--frob'", Wrong::Words),
    ] {
        let misuse = misuse(line);
        assert!(misuse.text.contains(named), "{}", misuse.text);
        assert_eq!(misuse.wrong, wrong, "{line}");
    }
}

#[test]
fn the_first_line_of_a_mistake_says_what_to_do() {
    for (line, first) in [
        (
            "create --bundel . I",
            "unexpected argument '--bundel' found; did you mean '--bundle'?",
        ),
        (
            "list --root /r",
            "unexpected argument '--root' found; it is a global option, which stands before the command",
        ),
        (
            "creat I",
            "unrecognized subcommand 'creat'; did you mean 'create'?",
        ),
        (
            "create --keep I",
            "unexpected argument '--keep' found; --help lists the options",
        ),
        (
            "create --no-pivot=maybe I",
            "unexpected value 'maybe' for '--no-pivot', which takes none, or true or false",
        ),
        (
            "seccomp test p.json read 1 2 3 4 5 6 7",
            "unexpected argument '7', after the last that is expected",
        ),
        // Podman looks for the first four words.
        (
            "restore --lsm-mount-context",
            "flag needs an argument: a value is required for '--lsm-mount-context <CONTEXT>' but none was supplied",
        ),
    ] {
        let misuse = misuse(line);
        assert_eq!(misuse.text.lines().next(), Some(first), "{line}");
        assert!(
            misuse.text.contains("\n\nUsage: locule") || line.starts_with("restore"),
            "{}",
            misuse.text
        );
    }
}

#[test]
fn help_and_version_are_answers() {
    for (line, word) in [
        ("--help", "--cgroup-manager"),
        ("-h", "create"),
        ("help", "features"),
        ("create --help", "--console-socket"),
        ("help kill", "RTMIN+n"),
    ] {
        let Ok(Invocation::Print(text)) = parsed(line) else {
            panic!("{line}");
        };
        assert!(text.contains(word), "{line}: {text}");
        assert!(!text.contains("init "), "{text}");
    }
    for line in ["--version", "-v", "--version list"] {
        assert!(matches!(parsed(line), Ok(Invocation::Version(_))), "{line}");
    }
    let Ok(Invocation::Nothing(_, text)) = parsed("") else {
        panic!("no command");
    };
    assert!(
        text.contains("Usage: locule") && !text.contains("init "),
        "{text}"
    );
}

#[test]
fn a_face_is_named_by_an_option() {
    let face = |line| command(line).0.compat.map(|face| face.name);
    assert_eq!(face("list"), None);
    assert_eq!(face("--compat crun list"), Some("crun"));
    assert_eq!(face("-compat=locule --compat youki list"), Some("youki"));
    let text = misuse("--compat docker list").text;
    assert!(text.contains("locule, runc, crun, youki"), "{text}");
}

#[test]
fn every_option_is_explained_with_its_default_and_every_command_with_an_example() {
    let mut definition = super::definition::whole();
    definition.build();
    for command in [&definition]
        .into_iter()
        .chain(definition.get_subcommands())
    {
        let name = command.get_name();
        if matches!(name, "help" | "init") {
            continue;
        }
        let after = command.get_after_help().map(ToString::to_string);
        assert!(after.is_some_and(|text| text.contains("Example")), "{name}");
        for option in command
            .get_arguments()
            .filter(|option| !option.is_hide_set())
        {
            let long = option.get_long().unwrap_or("ID");
            let help = option
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.len() > 20 || long == "help", "{name} {long}: {help:?}");
            let has_default = help.contains("[default") || !option.get_default_values().is_empty();
            let needs_none = matches!(long, "ID" | "version" | "help");
            assert!(has_default || needs_none, "{name} {long}: {help}");
        }
    }
}

#[test]
fn filters_are_named_by_files_and_calls_by_words() {
    let (_, Command::Seccomp(Seccomp { command })) =
        command("seccomp test -arch SCMP_ARCH_x86 p.json socket 16 -1 0xffffffffffffffff 0o17")
    else {
        panic!("seccomp");
    };
    let SeccompCommand::Test(test) = command else {
        panic!("{command:?}");
    };
    assert_eq!(test.arch.map(|arch| arch.name()), Some("X86"));
    assert_eq!(test.profile, Path::new("p.json"));
    assert_eq!(test.syscall, "socket");
    assert_eq!(test.args, [16, u64::MAX, u64::MAX, 15]);
}

#[test]
fn commands_on_filters_are_explained_and_refuse_other_words() {
    for name in ["compile", "lint", "test", "diff"] {
        for line in [
            format!("seccomp {name} --help"),
            format!("seccomp help {name}"),
        ] {
            let Ok(Invocation::Print(text)) = parsed(&line) else {
                panic!("{line}");
            };
            let usage = format!("Usage: locule seccomp {name} ");
            assert!(text.contains(&usage) && text.contains("Example"), "{text}");
            assert!(text.contains("[default: that of this program]"), "{text}");
        }
    }
    let Ok(Invocation::Print(text)) = parsed("seccomp") else {
        panic!("help");
    };
    assert!(text.contains("Usage: locule seccomp COMMAND"), "{text}");
    for (line, named, wrong) in [
        ("seccomp frob", "frob", Wrong::Unknown),
        ("seccomp lint", "PROFILE", Wrong::Words),
        ("seccomp diff a", "<B>", Wrong::Words),
        ("seccomp compile --arch vax p", "vax", Wrong::Words),
        ("seccomp compile --format json p", "json", Wrong::Words),
        ("seccomp test p read 1 2 3 4 5 6 7", "7", Wrong::Words),
        (
            "seccomp test p read 18446744073709551616",
            "64 bits",
            Wrong::Words,
        ),
        ("seccomp test p read x", "expected a number", Wrong::Words),
    ] {
        let misuse = misuse(line);
        assert!(misuse.text.contains(named), "{}", misuse.text);
        assert_eq!(misuse.wrong, wrong, "{line}");
    }
}

/// A line means what the whole definition makes of it, also if it is plain.
fn alike(words: &[String]) {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    assert_eq!(parse(words.clone()), explain(words.clone()), "{words:?}");
}

#[test]
fn a_command_is_read_as_if_all_were_defined() {
    for line in CALLS.iter().chain(&[
        "--root create run I",
        "--root run nothing",
        "state -- run",
        "help run",
        "init --help",
        "stat I",
        "run --help",
    ]) {
        let words = line.split_ascii_whitespace().map(str::to_owned);
        alike(&words.collect::<Vec<_>>());
    }
}

#[test]
fn plain_lines_are_read_without_the_definition() {
    let is_plain = |line: &str| {
        let words = line.split_ascii_whitespace().map(str::to_owned);
        let words: Vec<_> = words.collect();
        alike(&words);
        plain::read(&words.iter().map(OsString::from).collect::<Vec<_>>()).is_some()
    };
    let count = CALLS.iter().filter(|line| is_plain(line)).count();
    assert!(count > 20, "{count} of {}", CALLS.len());
    for line in [
        "--root=/r --log file:/l --log-level warn --debug --systemd-cgroup --cgroup-manager systemd --rootless 1 state I",
        "create --config /c --pidfd-socket=/s --preserve-fds 3 I --bundle /b",
        "run --detach --keep --no-subreaper --config=c I",
        "kill I --all KILL",
        "kill --regex ^I TERM",
        "delete I --force --regex",
        "--root create run I",
        "exec I ps",
        "exec I sh -c a",
        "exec I ps -d --debug --help",
        "exec --process /f --detach --tty --pid-file /p --console-socket /c --pidfd-socket /s I",
        "exec --cwd=/ --env A=B --env=C=D=E --user 1:2 --additional-gids 3 --additional-gids=4 I ps",
        "exec --process-label l --apparmor a --no-new-privs --cap chown --cap CAP_KILL I ps",
        "exec --preserve-fds 1 --cgroup cpu:/a --cgroup b --ignore-paused I ps",
        "exec --process /f I ps",
    ] {
        assert!(is_plain(line), "{line}");
    }
    for line in [
        "",
        "create",
        "create A B",
        "create -b /b I",
        "state -- I",
        "--version state I",
        "--compat crun state I",
        "start --help",
        "list",
        "--root",
        "--root --debug state I",
        "--debug=true state I",
        "kill I -9",
        "kill I TERM KILL",
        "create --preserve-fds x I",
        "--log journald:x state I",
        "--log-level loud state I",
        "run --bundle= I",
        "state --force I",
        "exec",
        "exec --tty",
        "exec -d I ps",
        "exec I -- ps",
        "exec --cwd= I ps",
        "exec --user root I ps",
        "exec --user -1 I ps",
        "exec --cap fly I ps",
        "exec --process /f --env A=B I",
        "exec --no-new-privs --process /f I",
    ] {
        assert!(!is_plain(line), "{line}");
    }
}

proptest::proptest! {
    #[test]
    fn any_line_is_read_as_if_all_commands_were_defined(
        line in proptest::collection::vec(
            proptest::sample::select(&[
                "--root", "--root=/r", "--log", "--log=file:/l", "--log-format", "--log-format=json", "--log-level", "debug",
                "--debug", "--debug=false", "--systemd-cgroup", "--cgroup-manager", "disabled", "--rootless", "auto", "--version",
                "create", "run", "start", "state", "kill", "delete", "list", "help", "--help", "-h", "--", "-", "", "I", "a=b",
                "--bundle", "--bundle=/b", "--config", "--console-socket", "--pidfd-socket", "--pid-file", "--no-pivot",
                "--no-new-keyring", "--preserve-fds", "--preserve-fds=+3", "7", "-1", "--detach", "--keep", "--no-subreaper",
                "--all", "--force", "--regex", "-b", "-f", "-d", "-root", "KILL", "9", "--nothing", "4294967296",
                "exec", "--process", "--process=/f", "--tty", "--cwd", "--cwd=/", "--env", "--env=A=B", "--user", "--user=1:2",
                "--additional-gids=3", "--process-label=l", "--apparmor", "--no-new-privs", "--cap", "chown", "--cgroup=c",
                "--ignore-paused",
            ][..]),
            0..8,
        )
    ) {
        let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        alike(&words);
        // Most lines of this form are mistakes; this one is valid.
        let mut words = words;
        words.retain(|word| word.starts_with("--"));
        words.push("I".to_owned());
        for command in ["create", "exec"] {
            let mut words = words.clone();
            words.insert(0, command.to_owned());
            alike(&words);
        }
    }
}
