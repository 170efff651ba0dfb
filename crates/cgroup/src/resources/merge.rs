//! An update, field by field: absent fields keep their value. Device rules of an update are
//! ignored: engines send a deny-all rule with every update.

use spec::container::{BlockIo, Cpu, Memory, Network, Resources, ThrottleDevice, WeightDevice};

/// `old` with the elements of `new`; an element of `new` replaces the one with the same key.
fn by_key<T: Clone, K: PartialEq>(old: &[T], new: &[T], key: impl Fn(&T) -> K) -> Vec<T> {
    let is_replaced = |element: &&T| !new.iter().any(|newer| key(newer) == key(element));
    let kept = old.iter().filter(is_replaced);
    kept.chain(new).cloned().collect()
}

fn memory(old: &Memory, new: &Memory) -> Memory {
    let swap = match (new.limit, new.swap) {
        // Without a memory limit, memory and swap together have no limit either.
        (Some(..0), None) => Some(-1),
        (_, swap) => swap.or(old.swap),
    };
    Memory {
        limit: new.limit.or(old.limit),
        swap,
        reservation: new.reservation.or(old.reservation),
        kernel: new.kernel.or(old.kernel),
        kernel_tcp: new.kernel_tcp.or(old.kernel_tcp),
        swappiness: new.swappiness.or(old.swappiness),
        disable_oom_killer: new.disable_oom_killer.or(old.disable_oom_killer),
        use_hierarchy: new.use_hierarchy.or(old.use_hierarchy),
        check_before_update: new.check_before_update.or(old.check_before_update),
    }
}

fn cpu(old: &Cpu, new: &Cpu) -> Cpu {
    Cpu {
        shares: new.shares.or(old.shares),
        quota: new.quota.or(old.quota),
        burst: new.burst.or(old.burst),
        period: new.period.or(old.period),
        realtime_runtime: new.realtime_runtime.or(old.realtime_runtime),
        realtime_period: new.realtime_period.or(old.realtime_period),
        cpus: new.cpus.clone().or_else(|| old.cpus.clone()),
        mems: new.mems.clone().or_else(|| old.mems.clone()),
        idle: new.idle.or(old.idle),
    }
}

fn block_io(old: &BlockIo, new: &BlockIo) -> BlockIo {
    let weight_key = |device: &WeightDevice| (device.major, device.minor);
    let throttle = |old: &[ThrottleDevice], new: &[ThrottleDevice]| {
        by_key(old, new, |device| (device.major, device.minor))
    };
    BlockIo {
        weight: new.weight.or(old.weight),
        leaf_weight: new.leaf_weight.or(old.leaf_weight),
        weight_device: by_key(&old.weight_device, &new.weight_device, weight_key),
        throttle_read_bps: throttle(&old.throttle_read_bps, &new.throttle_read_bps),
        throttle_write_bps: throttle(&old.throttle_write_bps, &new.throttle_write_bps),
        throttle_read_iops: throttle(&old.throttle_read_iops, &new.throttle_read_iops),
        throttle_write_iops: throttle(&old.throttle_write_iops, &new.throttle_write_iops),
    }
}

/// `stored` changed by `update`.
pub(crate) fn merge(stored: &Resources, update: &Resources) -> Resources {
    let mut rdma = stored.rdma.clone();
    rdma.extend(update.rdma.clone());
    let mut unified = stored.unified.clone();
    unified.extend(update.unified.clone());
    let priority_key = |(interface, _priority): &(String, u32)| interface.clone();
    let size_key = |(size, _limit): &(String, u64)| size.clone();
    Resources {
        devices: stored.devices.clone(),
        memory: memory(&stored.memory, &update.memory),
        cpu: cpu(&stored.cpu, &update.cpu),
        pids_limit: update.pids_limit.or(stored.pids_limit),
        block_io: block_io(&stored.block_io, &update.block_io),
        hugepage_limits: by_key(&stored.hugepage_limits, &update.hugepage_limits, size_key),
        network: Network {
            class_id: update.network.class_id.or(stored.network.class_id),
            priorities: by_key(
                &stored.network.priorities,
                &update.network.priorities,
                priority_key,
            ),
        },
        rdma,
        unified,
    }
}

/// The values to write for `update`, given `merged`: the update itself, and the values that the
/// kernel accepts only together with it.
pub(crate) fn companions(update: &Resources, merged: &Resources) -> Resources {
    let mut whole = Resources {
        devices: Vec::new(),
        ..update.clone()
    };
    let memory = &mut whole.memory;
    if memory.limit.or(memory.swap).is_some() {
        memory.limit = merged.memory.limit;
        memory.swap = merged.memory.swap;
    }
    let cpu = &mut whole.cpu;
    if cpu.quota.is_some() || cpu.period.is_some() {
        cpu.quota = merged.cpu.quota;
        cpu.period = merged.cpu.period;
    }
    // The kernel refuses shares of an idle group; they count again when the group is no longer
    // idle.
    match merged.cpu.idle {
        Some(1) => cpu.shares = None,
        _ if cpu.idle.is_some() => cpu.shares = merged.cpu.shares,
        _ => {}
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Resources {
        let mut stored = Resources::default();
        stored.memory.limit = Some(64 << 20);
        stored.memory.swap = Some(128 << 20);
        stored.cpu.shares = Some(512);
        stored.cpu.quota = Some(50_000);
        stored.cpu.period = Some(100_000);
        stored.cpu.cpus = Some("0-1".to_owned());
        stored.pids_limit = Some(100);
        stored
            .unified
            .insert("memory.high".to_owned(), "1".to_owned());
        stored
    }

    #[test]
    fn what_an_update_does_not_give_stays() {
        assert_eq!(merge(&stored(), &Resources::default()), stored());
        let mut update = Resources::default();
        update.cpu.quota = Some(70_000);
        let mut expected = stored();
        expected.cpu.quota = Some(70_000);
        assert_eq!(merge(&stored(), &update), expected);
    }

    #[test]
    fn unlimited_memory_unlimits_swap() {
        let mut update = Resources::default();
        update.memory.limit = Some(-1);
        let merged = merge(&stored(), &update);
        assert_eq!(
            (merged.memory.limit, merged.memory.swap),
            (Some(-1), Some(-1))
        );
    }

    #[test]
    fn devices_keep_their_rules_and_lists_merge_by_key() {
        let device = |minor, rate| ThrottleDevice {
            major: 8,
            minor,
            rate,
        };
        let mut before = stored();
        before.block_io.throttle_read_bps = vec![device(0, 1), device(1, 2)];
        let mut update = Resources::default();
        update.block_io.throttle_read_bps = vec![device(1, 3), device(2, 4)];
        update
            .unified
            .insert("memory.low".to_owned(), "2".to_owned());
        let merged = merge(&before, &update);
        let expected = [device(0, 1), device(1, 3), device(2, 4)];
        assert_eq!(merged.block_io.throttle_read_bps, expected);
        assert_eq!(merged.unified.len(), 2);
    }

    #[test]
    fn a_quota_comes_with_the_stored_period_and_shares_not_with_idleness() {
        let mut update = Resources::default();
        update.cpu.quota = Some(20_000);
        let whole = companions(&update, &merge(&stored(), &update));
        assert_eq!(whole.cpu.period, Some(100_000));
        assert_eq!(whole.cpu.shares, None);
        assert_eq!(whole.memory, Memory::default());

        let mut update = Resources::default();
        update.cpu.idle = Some(1);
        assert_eq!(
            companions(&update, &merge(&stored(), &update)).cpu.shares,
            None
        );
        update.cpu.idle = Some(0);
        assert_eq!(
            companions(&update, &merge(&stored(), &update)).cpu.shares,
            Some(512)
        );
    }

    #[test]
    fn a_limit_comes_with_the_stored_swap() {
        let mut update = Resources::default();
        update.memory.limit = Some(96 << 20);
        let whole = companions(&update, &merge(&stored(), &update));
        assert_eq!(whole.memory.swap, Some(128 << 20));
    }
}
