//! eBPF programs that decide about device nodes.
//!
//! The structure for bpf(2) grows with the kernel. It is always passed zero-filled and larger than
//! in any kernel, since kernels 6.17 to 7.1 write past the end of a short one. The limit on locked
//! memory does not change: BPF memory is charged to the cgroup since Linux 5.11. See bpf(2).

use crate::errno::{Errno, ret, ret_fd};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// One instruction, in the kernel's layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation code.
    pub code: u8,
    /// Destination register in the low four bits, source register in the high four.
    pub registers: u8,
    /// The offset of jumps and memory accesses.
    pub offset: i16,
    /// The constant.
    pub immediate: i32,
}

/// `union bpf_attr`, larger than any kernel's.
#[repr(C, align(8))]
struct Attributes([u32; 64]);

impl Attributes {
    fn new() -> Self {
        Self([0; 64])
    }

    fn number(mut self, index: usize, value: u32) -> Self {
        self.0[index] = value;
        self
    }

    fn fd(self, index: usize, fd: BorrowedFd<'_>) -> Self {
        self.number(index, fd.as_raw_fd().cast_unsigned())
    }

    /// A pointer, at an even index.
    fn pointer(mut self, index: usize, address: usize) -> Self {
        let bytes = (address as u64).to_ne_bytes();
        let [a, b, c, d, e, f, g, h] = bytes;
        self.0[index] = u32::from_ne_bytes([a, b, c, d]);
        self.0[index + 1] = u32::from_ne_bytes([e, f, g, h]);
        self
    }

    /// # Safety
    /// Every pointer in the structure must be valid for what `command` does with it.
    unsafe fn call(&mut self, command: libc::c_int) -> libc::c_long {
        // SAFETY: the structure is whole; its pointers are the caller's promise.
        unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                self.0.as_mut_ptr(),
                size_of::<Self>(),
            )
        }
    }
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE. The verifier writes its messages to `log`,
/// NUL-terminated, if `log` is not empty.
///
/// # Errors
/// EPERM without CAP_BPF, or CAP_SYS_ADMIN, in the initial user namespace; EACCES and EINVAL from
/// the verifier; ENOSPC if the log does not fit; E2BIG above a million instructions.
pub fn load_device_program(program: &[Instruction], log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let count = u32::try_from(program.len()).map_err(|_too_large| Errno::E2BIG)?;
    let room = u32::try_from(log.len()).map_err(|_too_large| Errno::EINVAL)?;
    let mut attributes = Attributes::new()
        .number(0, BPF_PROG_TYPE_CGROUP_DEVICE)
        .number(1, count)
        .pointer(2, program.as_ptr().addr())
        .pointer(4, c"Apache-2.0".as_ptr().addr());
    if room > 0 {
        attributes = attributes
            .number(6, 1)
            .number(7, room)
            .pointer(8, log.as_mut_ptr().addr());
    }
    // SAFETY: the program, the licence and the log are as long as the counts say and outlive the
    // call.
    ret_fd(unsafe { attributes.call(BPF_PROG_LOAD) })
}

/// Attaches `program` to the v2 group `cgroup`, in addition to others, or in place of `replaced`
/// (Linux 5.6).
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replaced: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attributes = Attributes::new()
        .fd(0, cgroup)
        .fd(1, program)
        .number(2, BPF_CGROUP_DEVICE)
        .number(3, BPF_F_ALLOW_MULTI);
    if let Some(replaced) = replaced {
        attributes = attributes
            .number(3, BPF_F_ALLOW_MULTI | BPF_F_REPLACE)
            .fd(4, replaced);
    }
    // SAFETY: this command takes no pointer.
    ret(unsafe { attributes.call(BPF_PROG_ATTACH) })
}

/// Detaches `program` from the v2 group `cgroup`.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attributes = Attributes::new()
        .fd(0, cgroup)
        .fd(1, program)
        .number(2, BPF_CGROUP_DEVICE);
    // SAFETY: this command takes no pointer.
    ret(unsafe { attributes.call(BPF_PROG_DETACH) })
}

/// Writes the ids of the device programs that are attached to `cgroup` itself to `ids`; returns
/// their number.
///
/// # Errors
/// ENOSPC if there are more than `ids` has room for.
pub fn device_programs(cgroup: BorrowedFd<'_>, ids: &mut [u32]) -> Result<usize, Errno> {
    const COUNT: usize = 6;
    let room = u32::try_from(ids.len()).map_err(|_too_large| Errno::EINVAL)?;
    let mut attributes = Attributes::new()
        .fd(0, cgroup)
        .number(1, BPF_CGROUP_DEVICE)
        .pointer(4, ids.as_mut_ptr().addr())
        .number(COUNT, room);
    // SAFETY: `ids` is as long as the count says and outlives the call.
    ret(unsafe { attributes.call(BPF_PROG_QUERY) })?;
    usize::try_from(attributes.0[COUNT]).map_err(|_too_large| Errno::ERANGE)
}

/// A descriptor of the program with this id.
///
/// # Errors
/// ENOENT: it no longer exists.
pub fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attributes = Attributes::new().number(0, id);
    // SAFETY: this command takes no pointer.
    ret_fd(unsafe { attributes.call(BPF_PROG_GET_FD_BY_ID) })
}
