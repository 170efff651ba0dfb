use super::{accepted, refuses, warns};
use crate::container::IntelRdt;

#[test]
fn groups_and_their_shares_are_read() {
    let read = |json: &str| accepted(&[("/linux/intelRdt", json)]).intel_rdt;
    assert_eq!(read("null"), None);
    assert_eq!(read("{}"), Some(IntelRdt::default()));
    let empty = r#"{"closID": "", "l3CacheSchema": "", "memBwSchema": "", "schemata": []}"#;
    assert_eq!(read(empty), Some(IntelRdt::default()));
    // Version 1.3 of the specification has removed them.
    let removed = r#"{"enableCMT": true, "enableMBM": true}"#;
    assert_eq!(read(removed), Some(IntelRdt::default()));
    let all = r#"{"closID": "gold", "l3CacheSchema": "L3CODE:0=f\nL3DATA:0=f", "memBwSchema": "MB:0=20",
        "schemata": ["L2:0=f", "SMBA:0=9"], "enableMonitoring": true}"#;
    let expected = IntelRdt {
        clos_id: Some("gold".to_owned()),
        l3_cache_schema: Some("L3CODE:0=f\nL3DATA:0=f".to_owned()),
        mem_bw_schema: Some("MB:0=20".to_owned()),
        schemata: vec!["L2:0=f".to_owned(), "SMBA:0=9".to_owned()],
        monitoring: true,
    };
    assert_eq!(read(all), Some(expected));
    let root = read(r#"{"closID": "/"}"#).unwrap();
    assert_eq!(root.clos_id.as_deref(), Some("/"));
}

#[test]
fn names_that_lead_elsewhere_and_lines_that_are_none_are_errors() {
    refuses(
        r#"
        /linux/intelRdt = []
            -> type /linux/intelRdt : an object
        /linux/intelRdt = {"closID": 7}
            -> type /linux/intelRdt/closID : a string
        /linux/intelRdt = {"closID": ".."}
            -> range /linux/intelRdt/closID : another directory
        /linux/intelRdt = {"closID": "."}
            -> range /linux/intelRdt/closID : another directory
        /linux/intelRdt = {"closID": "../gold"}
            -> range /linux/intelRdt/closID : `/`
        /linux/intelRdt = {"closID": "/gold"}
            -> range /linux/intelRdt/closID : `/`
        /linux/intelRdt = {"closID": "gold/mon_groups/x"}
            -> range /linux/intelRdt/closID : `/`
        /linux/intelRdt = {"closID": "a\nb"}
            -> range /linux/intelRdt/closID : control characters
        /linux/intelRdt = {"closID": "a\u0000b"}
            -> range /linux/intelRdt/closID : NUL
        /linux/intelRdt = {"closID": "info"}
            -> range /linux/intelRdt/closID : this name
        /linux/intelRdt = {"memBwSchema": "L3:0=f"}
            -> range /linux/intelRdt/memBwSchema : `MB:`
        /linux/intelRdt = {"memBwSchema": "MB:0=1\nL3:0=1"}
            -> range /linux/intelRdt/memBwSchema : newline
        /linux/intelRdt = {"schemata": "L3:0=f"}
            -> type /linux/intelRdt/schemata : a list
        /linux/intelRdt = {"schemata": ["L3:0=f", "MB:0=1\n"]}
            -> range /linux/intelRdt/schemata/1 : newline
        /linux/intelRdt = {"schemata": [""]}
            -> range /linux/intelRdt/schemata/0 : empty
        /linux/intelRdt = {"enableMonitoring": "yes"}
            -> type /linux/intelRdt/enableMonitoring : true or false
        "#,
    );
    let long = format!("{{\"closID\": \"{}\"}}", "x".repeat(256));
    refuses(&format!(
        "/linux/intelRdt = {long}\n-> range /linux/intelRdt/closID : 255 bytes"
    ));
    warns(
        r#"
        /linux/intelRdt = {"l3CacheSchema": "MB:0=1"}
            -> unknown-value /linux/intelRdt/l3CacheSchema : `L3`
        /linux/intelRdt = {"closId": "x"}
            -> unknown-property /linux/intelRdt/closId : did you mean `closID`?
        "#,
    );
}
