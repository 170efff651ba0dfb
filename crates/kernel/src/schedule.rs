//! How the kernel schedules a process: policy, CPUs, I/O priority, and which memory nodes it
//! prefers.

use crate::errno::{Errno, ret, ret_number};
use std::ptr;

/// `struct sched_attr` of linux/sched/types.h in its second version (Linux 5.3). Older kernels
/// accept it if both clamps are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SchedAttr {
    /// Filled in by [`set_scheduler`].
    pub size: u32,
    /// SCHED_* of linux/sched.h.
    pub policy: u32,
    /// SCHED_FLAG_* of linux/sched.h.
    pub flags: u64,
    /// -20 to 19.
    pub nice: i32,
    /// 1 to 99 for a real-time policy, else 0.
    pub priority: u32,
    /// In nanoseconds, like the next two.
    pub runtime: u64,
    /// See sched(7).
    pub deadline: u64,
    /// See sched(7).
    pub period: u64,
    /// 0 to 1024, with its flag.
    pub util_min: u32,
    /// 0 to 1024, with its flag.
    pub util_max: u32,
}

/// The value of `which` in ioprio_set(2) for a single process: IOPRIO_WHO_PROCESS.
const WHO_PROCESS: libc::c_int = 1;

/// Sets the policy and its parameters for `pid` (0: this process). Linux 3.14. See
/// [sched_setattr(2)](https://man7.org/linux/man-pages/man2/sched_setattr.2.html).
///
/// # Errors
/// EPERM: it needs CAP_SYS_NICE in the initial user namespace, or SCHED_DEADLINE needs all CPUs.
/// EINVAL: this kernel lacks the policy or a flag, or the parameters do not fit it. EBUSY: no
/// bandwidth is left for SCHED_DEADLINE.
pub fn set_scheduler(pid: i32, attr: SchedAttr) -> Result<(), Errno> {
    let attr = SchedAttr { size: SIZE, ..attr };
    // SAFETY: the structure is whole and has its own size in it.
    ret(unsafe { libc::syscall(libc::SYS_sched_setattr, pid, &raw const attr, 0) })
}

/// The policy and its parameters of `pid` (0: this process). Linux 3.14. See
/// [sched_setattr(2)](https://man7.org/linux/man-pages/man2/sched_setattr.2.html).
///
/// # Errors
/// ESRCH: there is no such process.
pub fn scheduler(pid: i32) -> Result<SchedAttr, Errno> {
    let mut attr = SchedAttr::default();
    // SAFETY: the kernel writes at most the given size, that of the structure.
    ret(unsafe { libc::syscall(libc::SYS_sched_getattr, pid, &raw mut attr, SIZE, 0) })?;
    Ok(attr)
}

/// The size of the structure, for the kernel.
const SIZE: u32 = 56;
const _: () = assert!(size_of::<SchedAttr>() == SIZE as usize);

/// Sets the I/O priority of `pid` (0: this process): the class (1 to 3) and 0 to 7 within it. See
/// [ioprio_set(2)](https://man7.org/linux/man-pages/man2/ioprio_set.2.html).
///
/// # Errors
/// EPERM: the real-time class needs CAP_SYS_NICE or CAP_SYS_ADMIN in the initial user namespace.
pub fn set_io_priority(pid: i32, class: u8, priority: u8) -> Result<(), Errno> {
    let value = io_priority_value(class, priority);
    // SAFETY: it only passes numbers.
    ret(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, pid, value) })
}

/// Whether `pid` (0: this process) has this I/O priority.
///
/// # Errors
/// ESRCH: there is no such process.
pub fn has_io_priority(pid: i32, class: u8, priority: u8) -> Result<bool, Errno> {
    // SAFETY: it only passes numbers.
    let found = ret_number(unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, pid) })?;
    Ok(found == io_priority_value(class, priority).into())
}

/// IOPRIO_PRIO_VALUE of linux/ioprio.h.
fn io_priority_value(class: u8, priority: u8) -> u32 {
    u32::from(class) << 13 | u32::from(priority)
}

/// Lets this process run only on these CPUs: bit n of the mask is CPU n. The kernel ignores CPUs
/// that it does not have or that the cpuset forbids. See
/// [sched_setaffinity(2)](https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html).
///
/// # Errors
/// EINVAL: no CPU is left. ENOSYS, EPERM: a filter forbids it.
pub fn set_cpus(mask: &[u64]) -> Result<(), Errno> {
    // SAFETY: the pointer and the size are those of one slice.
    ret(unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            0,
            size_of_val(mask),
            mask.as_ptr(),
        )
    })
}

/// Sets the memory policy of this process: MPOL_* with MPOL_F_* of linux/mempolicy.h. Bit n of the
/// mask is node n; an empty one means no mask. See
/// [set_mempolicy(2)](https://man7.org/linux/man-pages/man2/set_mempolicy.2.html).
///
/// # Errors
/// EINVAL: this kernel lacks the mode or a flag, they do not fit each other, or no node is one that
/// the cpuset permits. ENOSYS: this kernel has no NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    let (mask, bits) = match nodes.is_empty() {
        true => (ptr::null(), 0),
        // The kernel reads one bit less than the given number.
        false => (nodes.as_ptr(), nodes.len() * 64 + 1),
    };
    // SAFETY: the mask has the given number of bits, or is absent.
    ret(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) })
}

/// Mode and flags of this process's memory policy. See
/// [get_mempolicy(2)](https://man7.org/linux/man-pages/man2/get_mempolicy.2.html).
///
/// # Errors
/// ENOSYS: this kernel has no NUMA.
pub fn memory_policy() -> Result<u32, Errno> {
    let mut mode = 0_u32;
    let no_mask = ptr::null_mut::<u64>();
    let no_address = ptr::null_mut::<u8>();
    // SAFETY: the kernel writes one number; no mask and no address are given.
    ret(unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut mode,
            no_mask,
            0,
            no_address,
            0,
        )
    })?;
    Ok(mode)
}
