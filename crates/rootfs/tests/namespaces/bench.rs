//! What a start costs.

use crate::Fact;
use crate::stage::{enter, request, scratch, template};
use rootfs::{CgroupView, Plan};

pub(crate) const FACTS: &[Fact] = &[("many masks share two file systems", many_masks)];

/// 500 masked directories: one superblock, and no room in it to fill.
fn many_masks() {
    let root = scratch().join("root");
    let mut container = template(&root);
    container.masked_paths.clear();
    for number in 0..500 {
        let name = format!("/masked/{number}");
        std::fs::create_dir_all(root.join(&name[1..])).unwrap();
        container.masked_paths.push(name.into());
    }
    let view = CgroupView::V2 {
        group: "/sys/fs/cgroup/unified".into(),
    };
    let plan = Plan::lower(&request(&container, &view)).unwrap();
    enter(&plan).unwrap();
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let devices: std::collections::BTreeSet<_> = table
        .lines()
        .filter(|line| line.contains("/masked/"))
        .map(|line| line.split(' ').nth(2))
        .collect();
    assert_eq!(devices.len(), 1);
    assert!(std::fs::write("/masked/7/file", "x").is_err());
}
