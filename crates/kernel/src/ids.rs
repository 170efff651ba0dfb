//! Users, groups and capabilities of this (single) thread.

use crate::errno::{Errno, ret};

/// Replaces the supplementary groups. See setgroups(2).
pub fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // The raw call: libc's function signals other threads, which do not exist here.
    // SAFETY: the pointer and the length are those of one slice.
    ret(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

/// Sets real, effective and saved group id. See setresgid(2).
pub fn setresgid(gid: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    ret(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })
}

/// Sets real, effective and saved user id. See setresuid(2).
pub fn setresuid(uid: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    ret(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// Real, effective and saved user id.
pub fn getresuid() -> Result<[u32; 3], Errno> {
    let mut ids = [0_u32; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: three places for three numbers.
    ret(unsafe { libc::getresuid(real, effective, saved) }.into())?;
    Ok(ids)
}

/// Real, effective and saved group id.
pub fn getresgid() -> Result<[u32; 3], Errno> {
    let mut ids = [0_u32; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: three places for three numbers.
    ret(unsafe { libc::getresgid(real, effective, saved) }.into())?;
    Ok(ids)
}

/// Reads the supplementary groups into `buffer`; returns their number.
///
/// # Errors
/// EINVAL: there are more groups than fit.
pub fn getgroups(buffer: &mut [u32]) -> Result<usize, Errno> {
    let room = libc::c_int::try_from(buffer.len()).map_err(|_too_large| Errno::EINVAL)?;
    // SAFETY: the pointer and the length are those of one slice.
    let count = unsafe { libc::getgroups(room, buffer.as_mut_ptr()) };
    usize::try_from(count).map_err(|_negative| Errno::last())
}

/// The three sets of capset(2): bit n is capability n.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySets {
    /// Effective.
    pub effective: u64,
    /// Permitted.
    pub permitted: u64,
    /// Inheritable.
    pub inheritable: u64,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Sets all three sets at once. See capset(2).
pub fn capset(sets: CapabilitySets) -> Result<(), Errno> {
    let half = |shift: u32| {
        let part = |set: u64| u32::try_from((set >> shift) & 0xffff_ffff).unwrap_or(0);
        Half {
            effective: part(sets.effective),
            permitted: part(sets.permitted),
            inheritable: part(sets.inheritable),
        }
    };
    let header = Header {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let halves = [half(0), half(32)];
    // SAFETY: version 3 reads one header and two halves.
    ret(unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) })
}

/// The three sets of this thread. See capget(2).
pub fn capget() -> Result<CapabilitySets, Errno> {
    let mut header = Header {
        version: CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut halves = [Half::default(); 2];
    // SAFETY: version 3 reads one header and writes two halves.
    ret(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) })?;
    let [low, high] = halves;
    let join = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(CapabilitySets {
        effective: join(low.effective, high.effective),
        permitted: join(low.permitted, high.permitted),
        inheritable: join(low.inheritable, high.inheritable),
    })
}

fn prctl(option: libc::c_int, first: libc::c_ulong, second: libc::c_ulong) -> libc::c_int {
    // SAFETY: the options that this module passes take numbers only.
    unsafe { libc::prctl(option, first, second, 0, 0) }
}

/// Whether capability `number` is in the bounding set; EINVAL for a number the kernel does not
/// have.
pub fn bounding_has(number: u8) -> Result<bool, Errno> {
    match prctl(libc::PR_CAPBSET_READ, number.into(), 0) {
        -1 => Err(Errno::last()),
        answer => Ok(answer == 1),
    }
}

/// Removes capability `number` from the bounding set. Needs CAP_SETPCAP.
pub fn bounding_drop(number: u8) -> Result<(), Errno> {
    ret(prctl(libc::PR_CAPBSET_DROP, number.into(), 0).into())
}

/// Whether capability `number` is in the ambient set. Linux 4.3.
pub fn ambient_has(number: u8) -> Result<bool, Errno> {
    match prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_IS_SET as libc::c_ulong,
        number.into(),
    ) {
        -1 => Err(Errno::last()),
        answer => Ok(answer == 1),
    }
}

/// Puts capability `number` into the ambient set; it must be permitted and inheritable.
pub fn ambient_raise(number: u8) -> Result<(), Errno> {
    ret(prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong,
        number.into(),
    )
    .into())
}

/// Empties the ambient set.
pub fn ambient_clear() -> Result<(), Errno> {
    ret(prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
        0,
    )
    .into())
}

/// Sets whether the permitted set stays when all user ids change from 0, until execve.
pub fn keep_capabilities(keep: bool) -> Result<(), Errno> {
    ret(prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).into())
}

/// Clears the secure bits, which execve(2) does not clear. A change needs CAP_SETPCAP. See
/// [capabilities(7)].
///
/// [capabilities(7)]: https://man7.org/linux/man-pages/man7/capabilities.7.html
///
/// # Errors
/// EPERM: a bit is set, and the capability is missing or the bit is locked.
pub fn clear_secure_bits() -> Result<(), Errno> {
    match prctl(libc::PR_GET_SECUREBITS, 0, 0) {
        -1 => Err(Errno::last()),
        0 => Ok(()),
        _ => ret(prctl(libc::PR_SET_SECUREBITS, 0, 0).into()),
    }
}
