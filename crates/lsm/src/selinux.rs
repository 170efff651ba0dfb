//! The context of SELinux, as written to the kernel and as read back.

/// Whether `held`, as read back, is the context that was written. The kernel ends it with a NUL.
pub(crate) fn same(written: &[u8], held: &[u8]) -> bool {
    let held = held.strip_suffix(b"\0").unwrap_or(held);
    held == written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_the_same_only_byte_by_byte() {
        let asked = b"system_u:system_r:container_t:s0:c1,c2";
        assert!(same(asked, b"system_u:system_r:container_t:s0:c1,c2\0"));
        assert!(same(asked, asked));
        for held in [
            &b""[..],
            b"\0",
            b"kernel\0",
            b"system_u:system_r:container_t:s0\0",
            b"system_u:system_r:container_t:s0:c1,c3\0",
        ] {
            assert!(!same(asked, held));
        }
    }
}
