//! The forms of files, and the form of the output.

use super::parse::{block_lines, io_stat, ranges, table, to_pressure};
use super::*;

fn entry(major: u64, minor: u64, op: &str, value: u64) -> BlkioEntry {
    BlkioEntry {
        major,
        minor,
        op: op.to_owned(),
        value,
    }
}

#[test]
fn lists_of_processors_are_spelled_out() {
    assert_eq!(ranges("0-3,7\n"), [0, 1, 2, 3, 7]);
    assert_eq!(ranges("5\n"), [5]);
    assert!(ranges("\n").is_empty());
}

#[test]
fn tables_keep_every_line() {
    let counters = table("nr_periods 5\nnr_throttled 2\nlimit max\n");
    assert_eq!(counters["nr_periods"], 5);
    assert_eq!(counters["limit"], u64::MAX);
}

#[test]
fn pressure_has_two_lines_or_one() {
    let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\nfull avg10=0.10 avg60=0.00 avg300=0.00 total=7\n";
    let pressure = to_pressure(text).unwrap();
    assert_eq!((pressure.some.avg10, pressure.some.total), (1.5, 1234));
    assert_eq!((pressure.full.avg10, pressure.full.total), (0.1, 7));
    let first = text.lines().next().unwrap();
    assert_eq!(to_pressure(first).unwrap().full, PressureData::default());
    assert_eq!(to_pressure(""), None);
}

#[test]
fn block_devices_of_v1() {
    let text = "8:0 Read 4096\n8:0 Write 0\n8:16 77\nTotal 4096\n";
    let expected = [
        entry(8, 0, "Read", 4096),
        entry(8, 0, "Write", 0),
        entry(8, 16, "", 77),
    ];
    assert_eq!(block_lines(text), expected);
}

#[test]
fn block_devices_of_v2_get_the_words_of_v1() {
    let text = "8:0 rbytes=90112 wbytes=5 rios=2 wios=1 dbytes=0 dios=0\n253:1 \n";
    let expected = [entry(8, 0, "Read", 90_112), entry(8, 0, "Write", 5)];
    assert_eq!(
        io_stat(text, &[("rbytes", "Read"), ("wbytes", "Write")]),
        expected
    );
}

/// The names that engines parse, for a container that has used nothing.
#[test]
fn the_output_has_the_known_form() {
    let text = serde_json::to_string(&Stats::default()).unwrap();
    let entry = r#"{"limit":0,"failcnt":0}"#;
    let expected = [
        r#"{"cpu":{"usage":{"kernel":0,"user":0},"throttling":{}},"#,
        r#""cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"memory_migrate":0,"#,
        r#""memory_spread_page":0,"memory_spread_slab":0,"memory_pressure":0,"#,
        r#""sched_load_balance":0,"sched_relax_domain_level":0},"#,
        &format!(
            r#""memory":{{"usage":{entry},"swap":{entry},"kernel":{entry},"kernelTCP":{entry}}},"#
        ),
        r#""pids":{},"blkio":{},"hugetlb":{},"intel_rdt":{},"network_interfaces":null}"#,
    ];
    assert_eq!(text, expected.concat());

    let mut stats = Stats::default();
    stats.cpu.throttling.throttled_periods = 1;
    stats.cpu.usage.percpu_kernel = vec![1];
    stats.blkio.io_service_bytes_recursive = vec![super::tests::entry(8, 0, "Read", 1)];
    stats.blkio.io_queue_recursive = vec![super::tests::entry(8, 0, "", 1)];
    stats.cpu.psi = Some(Pressure::default());
    let text = serde_json::to_string(&stats).unwrap();
    for part in [
        r#""throttling":{"throttledPeriods":1}"#,
        r#""percpu_kernel":[1]"#,
        r#""ioServiceBytesRecursive":[{"major":8,"op":"Read","value":1}]"#,
        r#""ioQueueRecursive":[{"major":8,"value":1}]"#,
        r#""psi":{"some":{"avg10":0.0,"avg60":0.0,"avg300":0.0,"total":0}"#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
