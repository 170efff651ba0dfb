//! What a person types after `locule seccomp`.

use clap::{Args, Subcommand, ValueEnum};
use seccomp::syscalls::Arch;
use std::path::PathBuf;

/// `seccomp`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule seccomp COMMAND [OPTIONS] PROFILE ...",
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        locule seccomp lint /srv/box/config.json\n  \
        locule seccomp test seccomp.json socket 16 3 9\n\n\
        PROFILE is a config.json with linux.seccomp, or a file with such an object alone."
)]
pub(crate) struct Seccomp {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: SeccompCommand,
}

/// What can be done with a filter.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum SeccompCommand {
    /// Print the BPF program that the kernel would get
    Compile(Compile),
    /// Report doubtful parts of a profile: unknown names, rules that are never reached, missing
    /// architectures
    Lint(Lint),
    /// Print what a profile answers to one system call, and which rule decides
    Test(Test),
    /// Print which system calls two profiles answer differently
    Diff(Diff),
}

/// How a program is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgramFormat {
    /// One instruction a line in the words of bpf_asm
    Text,
    /// The bytes of struct sock_filter in the byte order of the architecture
    Raw,
}

/// `seccomp compile`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule seccomp compile [OPTIONS] PROFILE",
    after_help = "Examples:\n  locule seccomp compile config.json\n  \
        locule seccomp compile --arch aarch64 --format raw seccomp.json > seccomp.bpf"
)]
pub(crate) struct Compile {
    /// The machine's architecture, a word such as x86_64 or SCMP_ARCH_X86_64 [default: that of this
    /// program]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    pub(crate) arch: Option<Arch>,
    /// How to print: text for people, or the raw program
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t = ProgramFormat::Text)]
    pub(crate) format: ProgramFormat,
    /// A config.json or a file with the filter alone
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: PathBuf,
}

/// `seccomp lint`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule seccomp lint [OPTIONS] PROFILE",
    after_help = "Example:\n  locule seccomp lint seccomp.json && echo no findings\n\n\
        One line for each finding, with the JSON pointer of the place. The exit status is 1 if there is any."
)]
pub(crate) struct Lint {
    /// The machine's architecture, a word such as x86_64 or SCMP_ARCH_X86_64 [default: that of this
    /// program]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    pub(crate) arch: Option<Arch>,
    /// A config.json or a file with the filter alone
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: PathBuf,
}

/// `seccomp test`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule seccomp test [OPTIONS] PROFILE SYSCALL [ARGS..]",
    after_help = "Examples:\n  locule seccomp test config.json mkdir\n  \
        locule seccomp test --arch x86 seccomp.json personality 0x20008\n\n\
        ARGS are up to six numbers, decimal, 0x or 0o, negative ones too; those left out are 0."
)]
pub(crate) struct Test {
    /// The architecture of the program that makes the call, a word such as x86 or SCMP_ARCH_X86;
    /// one that this machine does not run is tested as a machine of that architecture [default:
    /// that of this program]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    pub(crate) arch: Option<Arch>,
    /// A config.json or a file with the filter alone
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: PathBuf,
    /// The system call, a name or a number
    #[arg(value_name = "SYSCALL")]
    pub(crate) syscall: String,
    /// Its arguments, each a number
    #[arg(value_name = "ARGS", num_args = 0..=6, allow_negative_numbers = true, value_parser = argument)]
    pub(crate) args: Vec<u64>,
}

/// `seccomp diff`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule seccomp diff [OPTIONS] A B",
    after_help = "Example:\n  locule seccomp diff docker.json podman.json\n\n\
        Calls with the same difference are in one group; `-` is the answer of A, `+` that of B. The exit status is 1 \
        if they differ."
)]
pub(crate) struct Diff {
    /// The machine's architecture, a word such as x86_64 or SCMP_ARCH_X86_64 [default: that of this
    /// program]
    #[arg(long, value_name = "ARCH", value_parser = arch)]
    pub(crate) arch: Option<Arch>,
    /// The one profile: a config.json or a file with the filter alone
    #[arg(value_name = "A")]
    pub(crate) left: PathBuf,
    /// The other
    #[arg(value_name = "B")]
    pub(crate) right: PathBuf,
}

/// An architecture by the word of the specification, in any case, with or without its prefix.
fn arch(text: &str) -> Result<Arch, String> {
    let word = text.to_ascii_uppercase();
    let word = word.strip_prefix("SCMP_ARCH_").unwrap_or(&word);
    let found = Arch::ALL.into_iter().find(|arch| arch.name() == word);
    found.ok_or_else(|| {
        let names = Arch::ALL.map(|arch| arch.name().to_ascii_lowercase());
        format!(
            "no such architecture, the known ones are {}",
            names.join(", ")
        )
    })
}

/// A 64-bit number as the kernel sees it: a negative one is its two's complement.
pub(crate) fn argument(text: &str) -> Result<u64, &'static str> {
    let number = match (text.get(..2), text.get(2..)) {
        (Some("0x" | "0X"), Some(digits)) => u64::from_str_radix(digits, 16),
        (Some("0o"), Some(digits)) => u64::from_str_radix(digits, 8),
        _ => text
            .parse()
            .or_else(|_| text.parse().map(i64::cast_unsigned)),
    };
    number
        .ok()
        .ok_or("expected a number of 64 bits, such as 9, 0x20008, 0o644 or -1")
}
