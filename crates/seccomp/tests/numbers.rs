//! The numbers of system calls on each architecture.

use seccomp::syscalls::{Arch, Syscall};

#[test]
fn calls_come_in_the_order_of_their_numbers_and_none_is_missing() {
    for arch in Arch::ALL {
        let found: Vec<_> = Syscall::by_number(arch).collect();
        let number = |syscall: Syscall| Some((syscall.number(arch)?, syscall));
        let mut expected: Vec<_> = Syscall::all().filter_map(number).collect();
        expected.sort();
        assert!(expected.len() > 200, "{arch:?}");
        assert_eq!(found, expected, "{arch:?}");
    }
}
