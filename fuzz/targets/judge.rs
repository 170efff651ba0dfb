//! What every compiled profile has to keep.

use kernel::Errno;
use kernel::process::prlimit;
use kernel::seccomp::{FilterFlags, load};
use nix::sys::prctl::set_no_new_privs;
use seccomp::bpf::{Disassembly, Instruction};
use seccomp::inspect::{Inspector, lint};
use seccomp::syscalls::Arch;
use seccomp::{CompileError, compile_for, return_value};
use spec::container::Seccomp;

#[path = "../../crates/seccomp/tests/common/machine.rs"]
#[allow(dead_code)]
mod machine;

const NOFILE: u32 = 7;

/// Compiles for `native`; the kernel takes the program, and it answers `calls` as the rules say.
pub fn judge(profile: &Seccomp, native: Arch, calls: &[(Arch, u32, [u64; 6])]) {
    let program = match compile_for(profile, native) {
        Ok(filter) => filter.program,
        Err(CompileError::TooLong(4097..)) => return,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(machine::check(&program), Ok(()));
    assert!(
        kernel_takes(&program),
        "the kernel refuses what the checker takes"
    );
    assert!(!Disassembly(&program).to_string().is_empty());
    let inspector = Inspector::new(profile, native);
    for (arch, number, args) in calls {
        if arch.endian() != native.endian() {
            continue;
        }
        let data = machine::Data {
            number: *number,
            arch: arch.audit(),
            instruction_pointer: 0,
            args: *args,
        };
        let answer = machine::run(&program, &data, native.endian());
        let said = inspector.test_number(*arch, *number, args);
        assert_eq!(
            answer,
            Some(return_value(said.action)),
            "{arch:?} {number} {args:?}"
        );
    }
    let _findings = lint(profile, native);
}

/// The kernel checks first and then has no descriptor left for a listener, so nothing is loaded.
fn kernel_takes(program: &[Instruction]) -> bool {
    set_no_new_privs().expect("prctl");
    prlimit(0, NOFILE, 0, 1024).expect("prlimit");
    let answer = load(program, FilterFlags::NEW_LISTENER);
    prlimit(0, NOFILE, 1024, 1024).expect("prlimit");
    match answer {
        Err(Errno::EMFILE) => true,
        Err(Errno::EINVAL) => false,
        other => panic!("{other:?}"),
    }
}
