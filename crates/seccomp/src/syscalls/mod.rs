//! The architectures, and the number of each system call on them.
//!
//! There is one table of names with a column of numbers per architecture. At compile time the rows
//! become one string of all names, offsets into it, and columns of 16-bit numbers. The table has no
//! pointers, so a static-pie binary needs no relocations for it. Names are found by binary search
//! without allocation. The table is made from the kernel's headers by tables/generate.py. See
//! syscalls(2), seccomp(2).

mod table;

use spec::container::SeccompArch;
use table::{N, ROWS};

/// The bit of the x32 numbers. See arch/x86/include/uapi/asm/unistd.h.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// The number of names in the table.
pub const COUNT: usize = ROWS.len();

const COLUMNS: usize = ROWS[0].1.len();

/// The bit that marks the private calls of arm in the table, and the first number of these calls.
const ARM_PRIVATE: (u16, u32) = (0x4000, 0x000f_0000);

/// A number of the table as 16 bits; a number that is too large stops the build.
#[allow(clippy::cast_possible_truncation, reason = "the line before looks")]
const fn narrow(number: usize) -> u16 {
    assert!(number < u16::MAX as usize);
    number as u16
}

const NAMES_LENGTH: usize = {
    let (mut sum, mut row) = (0, 0);
    while row < COUNT {
        sum += ROWS[row].0.len();
        row += 1;
    }
    sum
};

/// All names, one after the other.
static NAMES: [u8; NAMES_LENGTH] = {
    let mut bytes = [0; NAMES_LENGTH];
    let (mut at, mut row) = (0, 0);
    while row < COUNT {
        let name = ROWS[row].0.as_bytes();
        let mut index = 0;
        while index < name.len() {
            bytes[at] = name[index];
            at += 1;
            index += 1;
        }
        row += 1;
    }
    bytes
};

/// Where each name starts in `NAMES`; the last is the end.
static OFFSETS: [u16; COUNT + 1] = {
    let mut offsets = [0; COUNT + 1];
    let mut row = 0;
    while row < COUNT {
        offsets[row + 1] = offsets[row] + narrow(ROWS[row].0.len());
        row += 1;
    }
    offsets
};

/// For each first byte from `_` (0x5f) on, the first row whose name starts with it or a later one.
static FIRST: [u16; 29] = {
    let mut first = [0; 29];
    let (mut letter, mut byte) = (0, b'_');
    while letter < first.len() {
        let mut row = 0;
        while row < COUNT && ROWS[row].0.as_bytes()[0] < byte {
            row += 1;
        }
        first[letter] = narrow(row);
        letter += 1;
        byte += 1;
    }
    first
};

static NUMBERS: [[u16; COUNT]; COLUMNS] = {
    let mut numbers = [[N; COUNT]; COLUMNS];
    let mut row = 0;
    while row < COUNT {
        let mut column = 0;
        while column < COLUMNS {
            numbers[column][row] = ROWS[row].1[column];
            column += 1;
        }
        row += 1;
    }
    numbers
};

/// More than any number of the table, with the private calls of arm behind the others.
const SLOTS: usize = 0x500;

/// Where the row with this number of the table is in [`ORDER`].
const fn slot(number: u16) -> usize {
    match number & ARM_PRIVATE.0 {
        0 => number as usize,
        _ => 0x400 + (number & !ARM_PRIVATE.0) as usize,
    }
}

/// The rows of each column in the order of their numbers; then `N` for each absent call.
static ORDER: [[u16; COUNT]; COLUMNS] = {
    let mut order = [[N; COUNT]; COLUMNS];
    let mut column = 0;
    while column < COLUMNS {
        // Counting sort: how many rows come before each number, then each row at its place.
        let mut before = [0; SLOTS];
        let mut row = 0;
        while row < COUNT {
            let number = ROWS[row].1[column];
            if number != N {
                before[slot(number) + 1] += 1;
            }
            row += 1;
        }
        let mut index = 1;
        while index < SLOTS {
            before[index] += before[index - 1];
            index += 1;
        }
        row = 0;
        while row < COUNT {
            let number = ROWS[row].1[column];
            if number != N {
                order[column][before[slot(number)]] = narrow(row);
                before[slot(number)] += 1;
            }
            row += 1;
        }
        column += 1;
    }
    order
};

/// A system call by name, on no architecture in particular: a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Syscall(u16);

impl Syscall {
    /// The call with this name. `None`: no architecture has one, as far as Linux 7.2 knows.
    pub fn named(name: &str) -> Option<Self> {
        let letter = usize::from(name.as_bytes().first()?.checked_sub(b'_')?);
        let mut low = *FIRST.get(letter)?;
        let mut high = *FIRST.get(letter + 1)?;
        while low < high {
            let middle = Self(low + (high - low) / 2);
            match middle.bytes().cmp(name.as_bytes()) {
                std::cmp::Ordering::Less => low = middle.0 + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle.0,
            }
        }
        None
    }

    /// The same, if the name is that of the next row after `self`.
    pub(crate) fn next_named(self, name: &str) -> Option<Self> {
        let next = Self(self.0 + 1);
        (next.index() < COUNT && next.bytes() == name.as_bytes()).then_some(next)
    }

    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..narrow(COUNT)).map(Self)
    }

    /// Those that `arch` has, in the order of their numbers. Some numbers have several names.
    pub fn by_number(arch: Arch) -> impl Iterator<Item = (u32, Self)> {
        let abi = arch.abi();
        let rows = ORDER[abi.column as usize].iter();
        let present = rows.take_while(|row| **row != N).map(|row| Self(*row));
        present.filter_map(move |syscall| Some((syscall.number_in(&abi)?, syscall)))
    }

    fn bytes(self) -> &'static [u8] {
        let row = usize::from(self.0);
        &NAMES[usize::from(OFFSETS[row])..usize::from(OFFSETS[row + 1])]
    }

    /// The name.
    pub fn name(self) -> &'static str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Its row.
    pub(crate) fn index(self) -> usize {
        self.0.into()
    }

    /// Its number on `arch`, as seccomp sees it (`seccomp_data.nr`). `None`: there is no such call.
    pub fn number(self, arch: Arch) -> Option<u32> {
        self.number_in(&arch.abi())
    }

    fn number_in(self, abi: &Abi) -> Option<u32> {
        match NUMBERS[abi.column as usize][self.index()] {
            N => None,
            number if number & ARM_PRIVATE.0 != 0 => {
                Some(ARM_PRIVATE.1 + u32::from(number & !ARM_PRIVATE.0))
            }
            number => Some(abi.base + u32::from(number)),
        }
    }
}

/// The order of the table's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
    Riscv64,
    Loongarch64,
    S390X,
    S390,
    Ppc64,
    Ppc,
    Mips,
    Mips64,
    Mips64N32,
    Parisc,
    Parisc64,
    M68k,
    Sh,
}

/// The width of a system call's arguments, as rules see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// Only the low word of an argument and of the value to compare with counts.
    Bits32,
    /// Both words count.
    Bits64,
}

/// The order of the words of an argument in `seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// The low word first.
    Little,
    /// The high word first.
    Big,
}

/// Whether old calls share one number and differ in its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Multiplexing {
    /// socketcall(2) and ipc(2).
    SocketAndIpc,
    /// Each call has its own number.
    None,
}

struct Abi {
    column: Column,
    audit: u32,
    base: u32,
    width: Width,
    multiplexing: Multiplexing,
}

const BITS64: u32 = 0x8000_0000;
const LITTLE: u32 = 0x4000_0000;
/// The mark of the n32 ABI of MIPS.
const N32: u32 = 0x2000_0000;

/// An architecture, with everything that a filter needs to know about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch(pub SeccompArch);

impl Arch {
    /// The architecture that this program was built for.
    pub const NATIVE: Self = Self(if cfg!(target_arch = "x86_64") {
        SeccompArch::ScmpArchX86_64
    } else if cfg!(target_arch = "x86") {
        SeccompArch::ScmpArchX86
    } else if cfg!(target_arch = "aarch64") {
        SeccompArch::ScmpArchAarch64
    } else if cfg!(target_arch = "arm") {
        SeccompArch::ScmpArchArm
    } else if cfg!(target_arch = "riscv64") {
        SeccompArch::ScmpArchRiscv64
    } else if cfg!(target_arch = "loongarch64") {
        SeccompArch::ScmpArchLoongarch64
    } else if cfg!(target_arch = "s390x") {
        SeccompArch::ScmpArchS390x
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
        SeccompArch::ScmpArchPpc64le
    } else {
        panic!("no table for this architecture")
    });

    /// Every architecture of the specification.
    pub const ALL: [Self; 23] = [
        Self(SeccompArch::ScmpArchX86),
        Self(SeccompArch::ScmpArchX86_64),
        Self(SeccompArch::ScmpArchX32),
        Self(SeccompArch::ScmpArchArm),
        Self(SeccompArch::ScmpArchAarch64),
        Self(SeccompArch::ScmpArchMips),
        Self(SeccompArch::ScmpArchMips64),
        Self(SeccompArch::ScmpArchMips64n32),
        Self(SeccompArch::ScmpArchMipsel),
        Self(SeccompArch::ScmpArchMipsel64),
        Self(SeccompArch::ScmpArchMipsel64n32),
        Self(SeccompArch::ScmpArchPpc),
        Self(SeccompArch::ScmpArchPpc64),
        Self(SeccompArch::ScmpArchPpc64le),
        Self(SeccompArch::ScmpArchS390),
        Self(SeccompArch::ScmpArchS390x),
        Self(SeccompArch::ScmpArchParisc),
        Self(SeccompArch::ScmpArchParisc64),
        Self(SeccompArch::ScmpArchRiscv64),
        Self(SeccompArch::ScmpArchLoongarch64),
        Self(SeccompArch::ScmpArchM68k),
        Self(SeccompArch::ScmpArchSh),
        Self(SeccompArch::ScmpArchSheb),
    ];

    /// The table's column, EM_* number, byte order, width, first number and multiplexers.
    #[rustfmt::skip]
    fn abi(self) -> Abi {
        use Multiplexing::{None, SocketAndIpc};
        use SeccompArch as A;
        use Width::{Bits32, Bits64};
        let abi = |column, audit, base, width, multiplexing| Abi { column, audit, base, width, multiplexing };
        match self.0 {
            A::ScmpArchNative => Self::NATIVE.abi(),
            A::ScmpArchX86 => abi(Column::X86, LITTLE | 3, 0, Bits32, SocketAndIpc),
            A::ScmpArchX86_64 => abi(Column::X86_64, BITS64 | LITTLE | 62, 0, Bits64, None),
            A::ScmpArchX32 => abi(Column::X32, BITS64 | LITTLE | 62, X32_BIT, Bits32, None),
            A::ScmpArchArm => abi(Column::Arm, LITTLE | 40, 0, Bits32, None),
            A::ScmpArchAarch64 => abi(Column::Aarch64, BITS64 | LITTLE | 183, 0, Bits64, None),
            A::ScmpArchMips => abi(Column::Mips, 8, 4000, Bits32, SocketAndIpc),
            A::ScmpArchMips64 => abi(Column::Mips64, BITS64 | 8, 5000, Bits64, None),
            A::ScmpArchMips64n32 => abi(Column::Mips64N32, BITS64 | N32 | 8, 6000, Bits32, None),
            A::ScmpArchMipsel => abi(Column::Mips, LITTLE | 8, 4000, Bits32, SocketAndIpc),
            A::ScmpArchMipsel64 => abi(Column::Mips64, BITS64 | LITTLE | 8, 5000, Bits64, None),
            A::ScmpArchMipsel64n32 => abi(Column::Mips64N32, BITS64 | LITTLE | N32 | 8, 6000, Bits32, None),
            A::ScmpArchPpc => abi(Column::Ppc, 20, 0, Bits32, SocketAndIpc),
            A::ScmpArchPpc64 => abi(Column::Ppc64, BITS64 | 21, 0, Bits64, SocketAndIpc),
            A::ScmpArchPpc64le => abi(Column::Ppc64, BITS64 | LITTLE | 21, 0, Bits64, SocketAndIpc),
            A::ScmpArchS390 => abi(Column::S390, 22, 0, Bits32, SocketAndIpc),
            A::ScmpArchS390x => abi(Column::S390X, BITS64 | 22, 0, Bits64, SocketAndIpc),
            A::ScmpArchParisc => abi(Column::Parisc, 15, 0, Bits32, None),
            A::ScmpArchParisc64 => abi(Column::Parisc64, BITS64 | 15, 0, Bits64, None),
            A::ScmpArchRiscv64 => abi(Column::Riscv64, BITS64 | LITTLE | 243, 0, Bits64, None),
            A::ScmpArchLoongarch64 => abi(Column::Loongarch64, BITS64 | LITTLE | 258, 0, Bits64, None),
            A::ScmpArchM68k => abi(Column::M68k, 4, 0, Bits32, SocketAndIpc),
            A::ScmpArchSh => abi(Column::Sh, LITTLE | 42, 0, Bits32, SocketAndIpc),
            A::ScmpArchSheb => abi(Column::Sh, 42, 0, Bits32, SocketAndIpc),
        }
    }

    /// The AUDIT_ARCH_* number that seccomp sees (`seccomp_data.arch`); x32 has that of x86_64.
    pub fn audit(self) -> u32 {
        self.abi().audit
    }

    /// The order of an argument's words.
    pub fn endian(self) -> Endian {
        if self.audit() & LITTLE == 0 {
            Endian::Big
        } else {
            Endian::Little
        }
    }

    /// The width of arguments. As in libseccomp, x32 and n32 have 32 bits, though their registers
    /// have 64.
    pub fn width(self) -> Width {
        self.abi().width
    }

    /// Whether socketcall(2) and ipc(2) exist here.
    pub(crate) fn multiplexing(self) -> Multiplexing {
        self.abi().multiplexing
    }

    /// The word of the specification without its prefix.
    pub fn name(self) -> &'static str {
        spec::words::of(self.0).trim_start_matches("SCMP_ARCH_")
    }
}

/// The names behind socketcall(2) and ipc(2), with the value of the first argument. See linux/net.h
/// and linux/ipc.h.
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];
const IPC: [(&str, u32); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

impl Syscall {
    /// The calls behind this one if it is socketcall(2) or ipc(2), each with the first argument
    /// that selects it.
    pub(crate) fn multiplexes(self) -> impl Iterator<Item = (Self, u32)> {
        let (sockets, others): (&[&str], &[(&str, u32)]) = match self.name() {
            "socketcall" => (&SOCKETCALL, &[]),
            "ipc" => (&[], &IPC),
            _ => (&[], &[]),
        };
        let sockets = sockets.iter().copied().zip(1..);
        let all = sockets.chain(others.iter().copied());
        all.filter_map(|(name, number)| Some((Self::named(name)?, number)))
    }
}
