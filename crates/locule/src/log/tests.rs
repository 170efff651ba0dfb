use super::*;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

const TIME: &str = "2026-01-02T03:04:05Z";

fn message(text: &str, code: Option<&str>) -> Message {
    Message {
        text: text.to_owned(),
        code: code.map(str::to_owned),
        ..Message::default()
    }
}

#[test]
fn a_json_line_has_the_keys_that_engines_decode() {
    let line = message("container does not exist: \"x\"\n", Some("not-found")).line_at(
        LogFormat::Json,
        Text::Keyed,
        Level::ERROR,
        TIME,
    );
    assert_eq!(
        line,
        "{\"level\":\"error\",\"msg\":\"container does not exist: \\\"x\\\"\\n\",\
         \"time\":\"2026-01-02T03:04:05Z\",\"code\":\"not-found\"}\n"
    );
    let line = message("plain", None).line_at(LogFormat::Json, Text::Keyed, Level::WARN, TIME);
    assert_eq!(
        line,
        "{\"level\":\"warning\",\"msg\":\"plain\",\"time\":\"2026-01-02T03:04:05Z\"}\n"
    );
}

#[test]
fn a_text_line_quotes_what_is_not_one_harmless_word() {
    let line = message("two \"words\"\n\x1b[31m", Some("c")).line_at(
        LogFormat::Text,
        Text::Keyed,
        Level::DEBUG,
        TIME,
    );
    assert_eq!(
        line,
        "time=\"2026-01-02T03:04:05Z\" level=debug msg=\"two \\\"words\\\"\\n\\u{1b}[31m\" code=c\n"
    );
    let line = message("word", None).line_at(LogFormat::Text, Text::Keyed, Level::INFO, TIME);
    assert_eq!(line, "time=\"2026-01-02T03:04:05Z\" level=info msg=word\n");
}

#[test]
fn events_carry_message_code_and_other_fields() {
    let directory = crate::testing::Directory::new();
    let path = directory.path().join("log");
    for format in [LogFormat::Json, LogFormat::Text] {
        let log = Log {
            file: Some(open(&path).unwrap()),
            format,
            level: Level::WARN,
            face: face::own(),
        };
        tracing::subscriber::with_default(log, || {
            tracing::error!(code = "state", id = "box", "no {}", "luck");
            tracing::warn!("careful");
            tracing::info!("not written");
        });
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(first["level"], "error");
    assert_eq!(first["msg"], "no luck id=\"box\"");
    assert_eq!(first["code"], "state");
    assert!(lines[3].ends_with("level=warning msg=careful"), "{text}");
}

#[test]
fn a_log_that_is_a_fifo_without_reader_is_refused_at_once() {
    let directory = crate::testing::Directory::new();
    let path = directory.path().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    assert!(open(&path).unwrap_err().to_string().contains("fifo"));
}

#[test]
fn a_full_pipe_delays_a_message_but_does_not_hold_it_for_ever() {
    let (reader, writer) = io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    let started = Instant::now();
    write_bounded(&writer, &"x".repeat(1 << 20));
    let waited = started.elapsed();
    assert!(waited >= Duration::from_millis(u64::from(PATIENCE)));
    assert!(waited < Duration::from_secs(20));
    drop(reader);
}

#[test]
fn a_slow_reader_gets_the_whole_message() {
    let (mut reader, writer) = io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    let reading = thread::spawn(move || {
        let mut text = String::new();
        io::Read::read_to_string(&mut reader, &mut text).unwrap();
        text.len()
    });
    write_bounded(&writer, &"x".repeat(300_000));
    drop(writer);
    assert_eq!(reading.join().unwrap(), 300_000);
}

#[test]
fn control_characters_are_shown_not_sent() {
    assert_eq!(visible("a\x1b[0m\u{9b}b\nü"), "a\\u{1b}[0m\\u{9b}b\\nü");
}

#[test]
fn the_last_line_about_a_command_line_stands_alone() {
    let text = "invalid value 'xml' for '--log-format <FORMAT>'\n  [possible values: text, json]\n\n\
        For more information, try '--help'.\n";
    assert_eq!(
        explanation("locule", text),
        "locule: error: invalid value 'xml' for '--log-format <FORMAT>' [possible values: text, json]\n"
    );
    assert_eq!(
        explanation("locule", "two ids\n\nUsage: locule start ID\n"),
        "Usage: locule start ID\n\nlocule: error: two ids\n"
    );
}

#[test]
fn a_long_message_keeps_its_beginning_and_its_end() {
    let text = format!("a{}z", "é".repeat(1 << 20));
    let shown = bounded(&text);
    assert!(shown.len() < LONGEST + 100, "{}", shown.len());
    assert!(shown.starts_with("aé") && shown.ends_with("éz"));
    assert!(shown.contains(" bytes left out) "), "{shown}");
    let line = message(&text, None).line_at(LogFormat::Json, Text::Keyed, Level::WARN, TIME);
    assert!(line.len() < LONGEST + 200);
    let short = "é".repeat(LONGEST / 2);
    assert_eq!(bounded(&short), short);
}

#[test]
fn a_bare_line_is_the_message_alone() {
    let line =
        message("two\nlines", Some("c")).line_at(LogFormat::Text, Text::Bare, Level::ERROR, TIME);
    assert_eq!(line, "two\\nlines\n");
}
