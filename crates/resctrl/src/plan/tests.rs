//! The groups in a stand-in for the file system: a directory. The kernel would make the files of a
//! group with it; here [`Stand::fill`] does.

use super::*;
use crate::group::Left;
use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// The facts of a host that has it.
const MOUNTED: Option<Facts> = Some(Facts { mounted: true });

struct Stand(PathBuf);

impl Drop for Stand {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

impl Stand {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("resctrl-{}-{count}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(path.join("mon_groups")).unwrap();
        let stand = Self(path);
        stand.fill("");
        stand
    }

    fn fill(&self, group: &str) {
        let group = self.0.join(group);
        fs::create_dir_all(group.join("mon_groups")).unwrap();
        fs::write(group.join("tasks"), "").unwrap();
        fs::write(group.join("schemata"), "MB:0=100\nL3:0=fff\n").unwrap();
    }

    fn tree(&self) -> Tree {
        Tree::stand_in(fs::File::open(&self.0).unwrap().into())
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.0.join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }

    fn create(&self, asked: &IntelRdt) -> Result<Groups, Error> {
        let plan = Plan::lower(asked, "box1", MOUNTED).unwrap();
        plan.create(plan.with(self.tree()).unwrap())
    }

    /// Empties a directory of the stand-in, so that it can be removed as a group can.
    fn empty(&self, group: &str) {
        for file in ["tasks", "schemata"] {
            fs::remove_file(self.0.join(group).join(file)).unwrap();
        }
        fs::remove_dir(self.0.join(group).join("mon_groups")).unwrap();
    }
}

fn asked(clos_id: Option<&str>) -> IntelRdt {
    IntelRdt {
        clos_id: clos_id.map(str::to_owned),
        ..IntelRdt::default()
    }
}

#[test]
fn a_group_of_the_containers_own_is_made_and_removed() {
    let stand = Stand::new();
    let groups = stand.create(&asked(None)).unwrap();
    assert!(stand.has("box1"));
    stand.fill("box1");
    groups.admit(77).unwrap();
    assert_eq!(stand.text("box1/tasks"), "77");
    stand.empty("box1");
    assert_eq!(
        groups.location.remove_from(&stand.tree()).unwrap(),
        Left::new()
    );
    assert!(!stand.has("box1"));
    // A second deletion finds nothing.
    groups.location.remove_from(&stand.tree()).unwrap();
}

#[test]
fn a_group_that_another_program_has_made_is_not_taken() {
    let stand = Stand::new();
    fs::create_dir(stand.0.join("box1")).unwrap();
    let error = stand.create(&asked(None)).unwrap_err();
    assert!(matches!(error, Error::Exists { group } if group == "box1"));
    assert!(stand.has("box1"));
}

#[test]
fn a_group_that_has_been_made_anew_stays() {
    let stand = Stand::new();
    let groups = stand.create(&asked(None)).unwrap();
    fs::remove_dir(stand.0.join("box1")).unwrap();
    fs::create_dir(stand.0.join("box1")).unwrap();
    let left = groups.location.remove_from(&stand.tree()).unwrap();
    assert_eq!(left, ["box1"]);
    assert!(stand.has("box1"));
}

#[test]
fn the_group_of_clos_id_must_exist_and_stays() {
    let stand = Stand::new();
    let error = stand.create(&asked(Some("gold"))).unwrap_err();
    assert!(matches!(error, Error::Missing { group } if group == "gold"));
    stand.fill("gold");
    let groups = stand.create(&asked(Some("gold"))).unwrap();
    groups.admit(78).unwrap();
    assert_eq!(stand.text("gold/tasks"), "78");
    // "If none ... is set, runtimes MUST NOT write to schemata files".
    assert_eq!(stand.text("gold/schemata"), "MB:0=100\nL3:0=fff\n");
    groups.remove().unwrap();
    assert!(stand.has("gold"));
}

#[test]
fn the_slash_is_the_root_group() {
    let stand = Stand::new();
    let groups = stand.create(&asked(Some("/"))).unwrap();
    groups.admit(79).unwrap();
    assert_eq!(stand.text("tasks"), "79");
    groups.remove().unwrap();
    assert!(stand.has("tasks"));
}

#[test]
fn lines_are_written_in_the_order_of_the_specification() {
    let stand = Stand::new();
    stand.fill("gold");
    let groups = stand.create(&IntelRdt {
        l3_cache_schema: Some("L3:0=fff\n\n".to_owned()),
        mem_bw_schema: Some("MB:0=100".to_owned()),
        schemata: vec!["L2:0=f".to_owned(), "L3:0=ff".to_owned()],
        ..asked(Some("gold"))
    });
    groups.unwrap();
    let lines = "L3:0=fff\nMB:0=100\nL2:0=f\nL3:0=ff\n";
    assert_eq!(stand.text("gold/schemata"), lines);
}

#[test]
fn shares_of_a_group_that_exists_must_be_the_same() {
    let stand = Stand::new();
    stand.fill("gold");
    let other = IntelRdt {
        l3_cache_schema: Some("L3:0=ff".to_owned()),
        ..asked(Some("gold"))
    };
    let error = stand.create(&other).unwrap_err().to_string();
    let expected = "/linux/intelRdt/l3CacheSchema: \"L3:0=ff\" differs";
    assert!(error.starts_with(expected), "{error}");
    assert_eq!(stand.text("gold/schemata"), "MB:0=100\nL3:0=fff\n");
}

#[test]
fn shares_of_the_root_group_must_be_the_same() {
    let stand = Stand::new();
    let other = IntelRdt {
        mem_bw_schema: Some("MB:0=50".to_owned()),
        ..asked(Some("/"))
    };
    let error = stand.create(&other).unwrap_err().to_string();
    assert!(error.contains("of group \"/\""), "{error}");
    assert_eq!(stand.text("schemata"), "MB:0=100\nL3:0=fff\n");
    let same = IntelRdt {
        mem_bw_schema: Some("MB:0=91".to_owned()),
        ..asked(Some("/"))
    };
    stand.create(&same).unwrap_err();
    fs::create_dir_all(stand.0.join("info/MB")).unwrap();
    fs::write(stand.0.join("info/MB/bandwidth_gran"), "10\n").unwrap();
    stand.create(&same).unwrap();
}

#[test]
fn nothing_is_left_when_the_shares_cannot_be_set() {
    let stand = Stand::new();
    let lines = IntelRdt {
        schemata: vec!["L3:0=ff".to_owned()],
        ..IntelRdt::default()
    };
    // The stand-in has no `schemata` in a new group.
    for clos_id in [None, Some("gold")] {
        let error = stand.create(&IntelRdt {
            clos_id: clos_id.map(str::to_owned),
            ..lines.clone()
        });
        assert!(matches!(error.unwrap_err(), Error::Step { .. }));
        assert!(!stand.has("box1") && !stand.has("gold"));
    }
}

#[test]
fn the_undo_restores_the_shares_of_a_group_that_existed() {
    let stand = Stand::new();
    stand.fill("gold");
    for (clos_id, path) in [("gold", "gold/schemata"), ("/", "schemata")] {
        let groups = stand.create(&IntelRdt {
            schemata: vec!["L3:0=ff".to_owned()],
            ..asked(Some(clos_id))
        });
        let groups = groups.unwrap();
        assert!(stand.text(path).starts_with("L3:0=ff\n"));
        groups.remove().unwrap();
        assert_eq!(stand.text(path), "MB:0=100\nL3:0=fff\n");
    }
    // The monitoring group of another container is in the way, after the shares were set.
    fs::create_dir(stand.0.join("gold/mon_groups/box1")).unwrap();
    let error = stand.create(&IntelRdt {
        schemata: vec!["L3:0=ff".to_owned()],
        monitoring: true,
        ..asked(Some("gold"))
    });
    assert!(matches!(error.unwrap_err(), Error::Exists { .. }));
    assert_eq!(stand.text("gold/schemata"), "MB:0=100\nL3:0=fff\n");
}

#[test]
fn the_undo_removes_a_new_group_of_clos_id_unless_it_is_used() {
    let stand = Stand::new();
    stand.fill("gold");
    let plan = Plan::lower(&asked(Some("gold")), "box1", MOUNTED).unwrap();
    let Handles { tree, location } = plan.with(stand.tree()).unwrap();
    let groups = Groups {
        tree,
        location,
        made: true,
        change: Change::Group,
    };
    groups.admit(82).unwrap();
    groups.remove().unwrap();
    assert!(stand.has("gold"));
    stand.empty("gold");
    groups.remove().unwrap();
    assert!(!stand.has("gold"));
}

#[test]
fn a_refusal_has_the_reason_that_the_kernel_gives() {
    let error = Error::Schemata {
        lines: "L3:0=0".to_owned(),
        group: "gold".to_owned(),
        errno: Errno::EINVAL,
        why: "Mask out of range\n".to_owned(),
    };
    assert_eq!(
        error.to_string(),
        "/linux/intelRdt: write \"L3:0=0\" to `schemata` of group \"gold\": invalid argument (Mask out of range)"
    );
}

#[test]
fn a_monitoring_group_is_made_joined_and_removed() {
    let stand = Stand::new();
    stand.fill("gold");
    let groups = stand.create(&IntelRdt {
        monitoring: true,
        ..asked(Some("gold"))
    });
    let groups = groups.unwrap();
    assert_eq!(
        groups.location.monitor.as_deref(),
        Some("gold/mon_groups/box1")
    );
    fs::write(stand.0.join("gold/mon_groups/box1/tasks"), "").unwrap();
    groups.admit(80).unwrap();
    assert_eq!(stand.text("gold/tasks"), "80");
    assert_eq!(stand.text("gold/mon_groups/box1/tasks"), "80");
    let data = stand.0.join("gold/mon_groups/box1/mon_data/mon_L3_00");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("llc_occupancy"), "4096\n").unwrap();
    fs::write(data.join("mbm_total_bytes"), "Unavailable\n").unwrap();
    let counters = crate::Counters::read(&stand.tree(), &groups.location).unwrap();
    assert_eq!(counters.l3_schema, "L3:0=fff");
    assert_eq!(counters.memory_schema, "MB:0=100");
    let expected = crate::Domain {
        occupancy: Some(4096),
        ..crate::Domain::default()
    };
    assert_eq!(counters.domains, [expected]);
    // A second container with this id gets none.
    let second = stand.create(&IntelRdt {
        monitoring: true,
        ..asked(Some("gold"))
    });
    assert!(matches!(second.unwrap_err(), Error::Exists { .. }));
    fs::remove_file(stand.0.join("gold/mon_groups/box1/tasks")).unwrap();
    fs::remove_dir_all(stand.0.join("gold/mon_groups/box1/mon_data")).unwrap();
    groups.remove().unwrap();
    assert!(!stand.has("gold/mon_groups/box1") && stand.has("gold"));
}

#[test]
fn a_further_process_joins_and_removes_nothing() {
    let stand = Stand::new();
    let first = stand.create(&asked(None)).unwrap();
    stand.fill("box1");
    let plan = Plan::join(first.location.clone());
    let further = plan.create(plan.with(stand.tree()).unwrap()).unwrap();
    further.admit(81).unwrap();
    assert_eq!(stand.text("box1/tasks"), "81");
    stand.empty("box1");
    further.remove().unwrap();
    assert!(stand.has("box1"));
    first.remove().unwrap();
    assert!(!stand.has("box1"));
}

#[test]
fn a_link_in_the_tree_is_not_followed() {
    let stand = Stand::new();
    stand.fill("gold");
    symlink("gold", stand.0.join("silver")).unwrap();
    let error = stand.create(&asked(Some("silver"))).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Step {
                errno: Errno::ELOOP,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_host_without_the_file_system_is_an_error() {
    for facts in [None, Some(Facts { mounted: false })] {
        let error = Plan::lower(&asked(None), "box1", facts).unwrap_err();
        assert!(matches!(error, Error::NotMounted));
    }
}
