//! Symbols of the program, and patterns for the sections of functions.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::Command;

/// The functions of a program with symbols: address and names.
pub(crate) fn functions(program: &Path) -> BTreeMap<u64, Vec<String>> {
    let mut nm = Command::new("nm");
    nm.arg("--defined-only").arg(program);
    let output = nm.output().expect("nm");
    assert!(output.status.success(), "{nm:?}");
    let mut functions = BTreeMap::<_, Vec<_>>::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let [address, kind, name] = line.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        if matches!(kind, "t" | "T" | "w" | "W") {
            let address = u64::from_str_radix(address, 16).expect("an address");
            functions.entry(address).or_default().push(name.to_owned());
        }
    }
    assert!(!functions.is_empty(), "{program:?} has no symbols");
    functions
}

/// What the script begins with. Assembly has no section for each function.
const START: &str = "\
/* The functions that commands call, in the order of their first calls, before all others. `just
   order` writes this list, docs/adr/0020-order-of-functions.md has the reasons. A line that fits no
   function does nothing. The tables for unwinding go: a release aborts. The C library's two parts of
   them hold references. */
SECTIONS
{
  /DISCARD/ : { *(EXCLUDE_FILE(*crtbegin*.o *crtend*.o) .eh_frame) }
  .text.first :
  {
    *.rcgu.o(.text)
    *crt1.o(.text)
    *libc.a:*(.text)
";

const END: &str = "  }
}
INSERT BEFORE .text;
";

/// A script that puts these functions side by side, before all others.
pub(crate) fn linker_script<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let mut text = String::from(START);
    let mut known = HashSet::new();
    for pattern in names.map(pattern) {
        // Sections of rarely called functions are named .text.unlikely.
        let line = format!("    *(.text*.{pattern})\n");
        if known.insert(pattern) {
            text += &line;
        }
    }
    text + END
}

/// A pattern for a mangled name. What depends on the compiler and its flags becomes a wildcard: in
/// a v0 name the hash of each crate and the distances of repetitions, in an older name the hash at
/// its end. Where several copies of a function remain, the compiler numbers them, and any change of
/// the program changes the numbers.
fn pattern(name: &str) -> String {
    if let Some((start, number)) = name.rsplit_once('.')
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        return format!("{}.*", pattern(start));
    }
    if let Some((start, hash)) = name.rsplit_once("17h")
        && name.starts_with("_ZN")
        && hash.len() == 17
    {
        return format!("{start}17h*E");
    }
    if !name.starts_with("_R") {
        return name.to_owned();
    }
    let mut text = String::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let (tag, longest) = match rest.starts_with("Cs") {
            true => ("Cs", 12),
            false => ("B", 4),
        };
        let number = rest.strip_prefix(tag).and_then(|rest| rest.split_once('_'));
        match number {
            Some((digits, after))
                if digits.len() <= longest && digits.bytes().all(|b| b.is_ascii_alphanumeric()) =>
            {
                text += tag;
                text += "*_";
                rest = after;
            }
            _ => {
                text.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    without_user(text)
}

/// Without the last crate in the name of a generic function: it only uses the function. The
/// compiler merges equal copies of several crates, and which one remains depends on the hashes.
fn without_user(text: String) -> String {
    if let Some(start) = text.strip_suffix("EB*_") {
        return format!("{start}E*");
    }
    let Some((start, user)) = text.rsplit_once("Cs*_") else {
        return text;
    };
    let name = user.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_whole = user.strip_suffix(name) == Some(&*name.len().to_string());
    match start.chars().next_back() {
        Some('E') if is_whole => format!("{start}*"),
        Some('a'..='z' | '0'..='9') if is_whole => format!("{start}Cs*"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_no_hash() {
        let cases = [
            ("memcpy", "memcpy"),
            (
                "_ZN4core3fmt5write17h0123456789abcdefE",
                "_ZN4core3fmt5write17h*E",
            ),
            (
                "_RNvNtCs1Ab2Cd3Ef4_4spec4load4read",
                "_RNvNtCs*_4spec4load4read",
            ),
            (
                "_RINvNtCsaaaaaaaaaaa_4core3ptr13drop_in_placeNtCsb_4spec4NodeEB1a_",
                "_RINvNtCs*_4core3ptr13drop_in_placeNtCs*_4spec4NodeE*",
            ),
            (
                "_RINvMNtCs1_4core3stre5parselECs2_6locule",
                "_RINvMNtCs*_4core3stre5parselE*",
            ),
            (
                "_RNvMs4_NtCs1_5alloc7raw_vecNtB5_11RawVecInner16with_capacity_inCs2_4spec",
                "_RNvMs4_NtCs*_5alloc7raw_vecNtB*_11RawVecInner16with_capacity_inCs*",
            ),
            (
                "_RNvNtCs1_5alloc3fmt6format.2518",
                "_RNvNtCs*_5alloc3fmt6format.*",
            ),
        ];
        for (name, wanted) in cases {
            assert_eq!(pattern(name), wanted);
        }
    }
}
