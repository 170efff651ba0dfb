//! The name of an AppArmor profile, as written to the kernel and as read back.
//!
//! The kernel interprets names: one of a policy namespace (`:ns:name`) or a stack of several
//! (`a//&b`) is passed unchanged. When it is read back, the same label may look different: with the
//! mode of each profile, in another order, with the namespace only once. See aa_change_profile(2),
//! apparmor.d(5).

use std::iter;

/// The kernel's name for "no profile".
pub(crate) const UNCONFINED: &str = "unconfined";

/// The prefix of the name, so that the next program starts under the profile.
pub(crate) const COMMAND: &[u8] = b"exec ";

/// Whether `held`, as read back, is the label of `written`.
pub(crate) fn same(written: &[u8], held: &[u8]) -> bool {
    let asked = written.strip_prefix(COMMAND).unwrap_or(written);
    let held = without_mode(held);
    let contains = |label, name| names(label).any(|other| other == name);
    names(asked).all(|name| contains(held, name)) && names(held).all(|name| contains(asked, name))
}

/// `name (enforce)` without the mode. An unconfined process has no mode.
fn without_mode(held: &[u8]) -> &[u8] {
    let held = held.trim_ascii_end();
    match held.windows(2).rposition(|pair| pair == b" (") {
        Some(at) if held.ends_with(b")") => &held[..at],
        _ => held,
    }
}

/// The names of the profiles of a stack, without their namespaces.
fn names(label: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(label);
    iter::from_fn(move || {
        let text = rest?;
        let name = match text.windows(3).position(|word| word == b"//&") {
            Some(at) => {
                rest = Some(&text[at + 3..]);
                &text[..at]
            }
            None => {
                rest = None;
                text
            }
        };
        Some(without_namespace(name))
    })
}

/// `:ns:name`, `:ns://name` and `&name` are `name`; `:ns:` is that namespace's own profile.
fn without_namespace(name: &[u8]) -> &[u8] {
    let name = name.strip_prefix(b"&").unwrap_or(name);
    let Some(rest) = name.strip_prefix(b":") else {
        return name;
    };
    let Some(end) = rest.iter().position(|byte| *byte == b':') else {
        return name;
    };
    let name = &rest[end + 1..];
    match name.strip_prefix(b"//").unwrap_or(name) {
        b"" => UNCONFINED.as_bytes(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The written label, and the label that Linux 6.12 returns.
    const SAME: [(&str, &str); 13] = [
        ("web", "web (enforce)\n"),
        ("web", "web (complain)\n"),
        ("with space", "with space (enforce)\n"),
        ("/usr/bin/web", "/usr/bin/web (kill)\n"),
        ("odd (name)", "odd (name) (enforce)\n"),
        ("unconfined", "unconfined\n"),
        ("web//hat", "web//hat (enforce)\n"),
        (":ns:web", ":ns:web (enforce)\n"),
        (":ns://web", ":ns:web (enforce)\n"),
        (":ns:", ":ns:unconfined\n"),
        ("web//&dns", "dns//&web (mixed)\n"),
        ("web//&web", "web (enforce)\n"),
        (":ns:web//&:ns:dns", ":ns:dns//&web (mixed)\n"),
    ];

    #[test]
    fn what_the_kernel_gives_back_is_recognised() {
        for (asked, held) in SAME {
            let written = [COMMAND, asked.as_bytes()].concat();
            assert!(same(&written, held.as_bytes()), "{asked} {held}");
        }
        assert!(same(b"exec &web", b"web (enforce)\n"));
    }

    #[test]
    fn every_difference_is_seen() {
        for (asked, held) in [
            ("web", ""),
            ("web", "unconfined\n"),
            ("web", "webs (enforce)\n"),
            ("web", "we (enforce)\n"),
            ("web", "web//hat (enforce)\n"),
            ("web//&dns", "web (enforce)\n"),
            ("web", "dns//&web (mixed)\n"),
            (":ns:web", ":ns:dns (enforce)\n"),
            ("unconfined", "web (enforce)\n"),
        ] {
            let written = [COMMAND, asked.as_bytes()].concat();
            assert!(!same(&written, held.as_bytes()), "{asked} {held}");
        }
    }
}
