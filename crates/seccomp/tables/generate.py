#!/usr/bin/env python3
"""Writes src/syscalls/table.rs from the kernel's own headers.

The numbers are those of the generated asm/unistd*.h files that Debian ships as linux-libc-dev. Since
Linux 6.12 one package has every architecture below /usr/lib/linux/uapi. Later kernels do not have
31-bit s390, so its numbers come from an older linux-libc-dev-s390x-cross.

    apt-get download linux-libc-dev && dpkg-deb -x linux-libc-dev_*.deb new
    apt-get download linux-libc-dev-s390x-cross && dpkg-deb -x linux-libc-dev-s390x-cross_*.deb old
    tables/generate.py new old > src/syscalls/table.rs

Made from linux-libc-dev 7.2.13-1 and linux-libc-dev-s390x-cross 6.1.4-1cross1.
"""
import re
import sys
from pathlib import Path

UAPI = "usr/lib/linux/uapi"
# Column, header; the order is that of `Column` in src/syscalls/mod.rs.
COLUMNS = [
    ("x86_64", f"{UAPI}/x86/asm/unistd_64.h"),
    ("x86", f"{UAPI}/x86/asm/unistd_32.h"),
    ("x32", f"{UAPI}/x86/asm/unistd_x32.h"),
    ("aarch64", f"{UAPI}/arm64/asm/unistd_64.h"),
    ("arm", f"{UAPI}/arm/asm/unistd-eabi.h"),
    ("riscv64", f"{UAPI}/riscv/asm/unistd_64.h"),
    ("loongarch64", f"{UAPI}/loongarch/asm/unistd_64.h"),
    ("s390x", f"{UAPI}/s390/asm/unistd_64.h"),
    ("s390", "OLD/usr/s390x-linux-gnu/include/asm/unistd_32.h"),
    ("ppc64", f"{UAPI}/powerpc/asm/unistd_64.h"),
    ("ppc", f"{UAPI}/powerpc/asm/unistd_32.h"),
    ("mips", f"{UAPI}/mips/asm/unistd_o32.h"),
    ("mips64", f"{UAPI}/mips/asm/unistd_n64.h"),
    ("mips64n32", f"{UAPI}/mips/asm/unistd_n32.h"),
    ("parisc", f"{UAPI}/parisc/asm/unistd_32.h"),
    ("parisc64", f"{UAPI}/parisc/asm/unistd_64.h"),
    ("m68k", f"{UAPI}/m68k/asm/unistd_32.h"),
    ("sh", f"{UAPI}/sh/asm/unistd_32.h"),
]
DEFINE = re.compile(r"^#define __NR_(\w+)\s+\(?(?:(?:__NR_Linux|__X32_SYSCALL_BIT|__NR_SYSCALL_BASE)\s*\+\s*)?(\d+)\)?\s*$")
# The private calls of arm (0x0f0000 and above), from arm/asm/unistd.h: marked by bit 14.
ARM = re.compile(r"^#define __ARM_NR_(\w+)\s+\(__ARM_NR_BASE\+(\d+)\)")
PRIVATE = 0x4000
# Names that libseccomp uses, and with it the profiles of the engines; the kernel's header has
# others.
ALIASES = {"arm_fadvise64_64": ("arm", 270), "arm_sync_file_range": ("arm", 341)}
SKIP = re.compile(r"Linux|Linux_syscalls|syscalls|SYSCALL_BASE|SYSCALL_MASK|(reserved|unused)\d+")
# From this number on all architectures agree, so the numbers of s390x continue the old header of
# 31-bit s390.
UNIFIED = 447


def read(path):
    numbers = {}
    for line in path.read_text().splitlines():
        match = DEFINE.match(line)
        if match and not SKIP.fullmatch(match[1]):
            numbers[match[1]] = int(match[2])
        elif line.startswith("#define __NR_") and not match:
            print(f"{path.name}: not understood: {line}", file=sys.stderr)
    return numbers


def main():
    new, old = Path(sys.argv[1]), Path(sys.argv[2])
    table = {}
    for index, (_, header) in enumerate(COLUMNS):
        path = old / header[4:] if header.startswith("OLD/") else new / header
        for name, number in read(path).items():
            table.setdefault(name, {})[index] = number
    arm = [name for name, _ in COLUMNS].index("arm")
    for line in (new / f"{UAPI}/arm/asm/unistd.h").read_text().splitlines():
        if match := ARM.match(line):
            table.setdefault(match[1], {})[arm] = PRIVATE + int(match[2])
    names = [name for name, _ in COLUMNS]
    for row in table.values():
        if (number := row.get(names.index("s390x"), 0)) >= UNIFIED:
            row[names.index("s390")] = number
    for alias, (arch, number) in ALIASES.items():
        table.setdefault(alias, {})[names.index(arch)] = number
    print("//! System call numbers: a name, then its number on each architecture.")
    print("//!")
    print("//! Made by tables/generate.py from the kernel's headers (Linux 7.2); do not edit. `N` is")
    print("//! \"this architecture has no such call\". Columns: " + ", ".join(names[:9]) + ",")
    print("//! " + ", ".join(names[9:]) + ".")
    print()
    print("/// The number of an absent call.")
    print("pub(super) const N: u16 = u16::MAX;")
    print()
    print("/// Sorted by name.")
    print("#[rustfmt::skip]")
    print('#[allow(clippy::large_const_arrays, reason = "only read at compile time")]')
    print(f"pub(super) const ROWS: [(&str, [u16; {len(COLUMNS)}]); {len(table)}] = [")
    for name in sorted(table):
        row = ",".join(str(table[name].get(index, "N")) for index in range(len(COLUMNS)))
        print(f'    ("{name}",[{row}]),')
    print("];")


main()
