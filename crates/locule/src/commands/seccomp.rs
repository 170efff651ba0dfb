//! `seccomp`: system call filters for people.
//!
//! Works on profiles, never on a container. The room `seccomp` decides what a profile means; here
//! it is read from a file and described.

mod words;

use super::Env;
use crate::args::{self, ProgramFormat, SeccompCommand};
use crate::error::{Error, print};
use crate::exit::ExitCode;
use seccomp::bpf::{Disassembly, Instruction, LENGTH_MAX};
use seccomp::inspect::{self, Difference, Inspector};
use seccomp::syscalls::{Arch, Endian, Syscall};
use seccomp::{Filter, architectures};
use spec::container::Seccomp;
use spec::load::LoadedSeccomp;
use std::fmt::Write;
use std::path::Path;

/// Runs one subcommand.
pub(crate) fn run(args: &args::Seccomp, _: &Env) -> Result<ExitCode, Error> {
    match &args.command {
        SeccompCommand::Compile(args) => compile(args),
        SeccompCommand::Lint(args) => lint(args),
        SeccompCommand::Test(args) => test(args),
        SeccompCommand::Diff(args) => diff(args),
    }
}

/// Reads a profile and logs its warnings.
fn load(path: &Path) -> Result<LoadedSeccomp, Error> {
    let loaded = spec::load::load_seccomp(path)?;
    for warning in &loaded.warnings {
        tracing::warn!("{path:?}: {warning}");
    }
    Ok(loaded)
}

fn compile(args: &args::Compile) -> Result<ExitCode, Error> {
    let loaded = load(&args.profile)?;
    let native = args.arch.unwrap_or(Arch::NATIVE);
    let Filter { program, unknown } = filter(&args.profile, &loaded, native)?;
    for (rule, name) in &unknown {
        let pointer = loaded.pointer;
        tracing::warn!("{pointer}/syscalls/{rule}/names: {name:?} is unknown, it is skipped");
    }
    match args.format {
        ProgramFormat::Raw => print(&raw(&program, native.endian()))?,
        ProgramFormat::Text => {
            let names = names(&architectures(&loaded.seccomp, native));
            let count = program.len();
            let head = format!("; {count} instructions of at most {LENGTH_MAX}, for {names}\n");
            print(&format!("{head}{}", Disassembly(&program)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The program of a profile, or an error if the kernel would refuse it.
fn filter(path: &Path, loaded: &LoadedSeccomp, native: Arch) -> Result<Filter, Error> {
    seccomp::compile_for(&loaded.seccomp, native).map_err(|error| Error::Filter {
        path: path.to_owned(),
        source: error.at(loaded.pointer),
    })
}

fn names(archs: &[Arch]) -> String {
    let names: Vec<_> = archs.iter().map(|arch| arch.name()).collect();
    names.join(", ")
}

/// A program in the binary form that the kernel reads: `struct sock_filter` of linux/filter.h.
fn raw(program: &[Instruction], endian: Endian) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for Instruction { code, jt, jf, k } in program {
        let (code, k) = match endian {
            Endian::Little => (code.to_le_bytes(), k.to_le_bytes()),
            Endian::Big => (code.to_be_bytes(), k.to_be_bytes()),
        };
        bytes.extend(code);
        bytes.extend([*jt, *jf]);
        bytes.extend(k);
    }
    bytes
}

fn lint(args: &args::Lint) -> Result<ExitCode, Error> {
    let loaded = spec::load::load_seccomp(&args.profile)?;
    let native = args.arch.unwrap_or(Arch::NATIVE);
    let text = findings(&loaded, native);
    print(&text)?;
    // A profile without a valid program is an error, not a finding.
    filter(&args.profile, &loaded, native)?;
    Ok(status(text.is_empty()))
}

/// 0 if there is nothing to report, else 1.
fn status(silent: bool) -> ExitCode {
    if silent {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn findings(loaded: &LoadedSeccomp, native: Arch) -> String {
    let mut text = String::new();
    for warning in &loaded.warnings {
        line(&mut text, &warning.to_string());
    }
    for finding in inspect::lint(&loaded.seccomp, native) {
        line(&mut text, &words::finding(&finding, loaded.pointer));
    }
    text
}

/// Appends a line; writing to a string does not fail.
fn line(text: &mut String, line: &str) {
    let _ = writeln!(text, "{line}");
}

fn test(args: &args::Test) -> Result<ExitCode, Error> {
    let loaded = load(&args.profile)?;
    let arch = args.arch.unwrap_or(Arch::NATIVE);
    filter(&args.profile, &loaded, machine(arch))?;
    print(&(answer(&loaded, arch, &args.syscall, &args.args)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The machine for a program of `arch`: this machine if it runs such programs, else one of that
/// architecture.
fn machine(arch: Arch) -> Arch {
    if inspect::relatives(Arch::NATIVE).contains(&arch.0) {
        Arch::NATIVE
    } else {
        arch
    }
}

fn answer(
    loaded: &LoadedSeccomp,
    arch: Arch,
    syscall: &str,
    given: &[u64],
) -> Result<String, Error> {
    let number = number(arch, syscall)?;
    let mut arguments = [0; 6];
    for (place, value) in arguments.iter_mut().zip(given) {
        *place = *value;
    }
    let inspector = Inspector::new(&loaded.seccomp, machine(arch));
    let answer = inspector.test_number(arch, number, &arguments);
    Ok(words::answer(&answer, arch, loaded.pointer))
}

/// The number of a call that is given by name or number.
fn number(arch: Arch, syscall: &str) -> Result<u32, Error> {
    let number = args::argument(syscall).ok();
    if let Some(number) = number.and_then(|number| u32::try_from(number).ok()) {
        return Ok(number);
    }
    let name = || syscall.to_owned();
    let Some(found) = Syscall::named(syscall) else {
        return Err(Error::UnknownSyscall { name: name() });
    };
    found.number(arch).ok_or_else(|| {
        let has = |other: &Arch| found.number(*other).is_some();
        let others: Vec<_> = Arch::ALL.into_iter().filter(has).collect();
        Error::ForeignSyscall {
            name: name(),
            arch: arch.name(),
            others: names(&others),
        }
    })
}

fn diff(args: &args::Diff) -> Result<ExitCode, Error> {
    let (left, right) = (load(&args.left)?, load(&args.right)?);
    let native = args.arch.unwrap_or(Arch::NATIVE);
    filter(&args.left, &left, native)?;
    filter(&args.right, &right, native)?;
    let text = differences(&left.seccomp, &right.seccomp, native);
    print(&text)?;
    Ok(status(text.is_empty()))
}

/// The differences in the settings of the profiles, then those in the calls. Equal differences are
/// in one group.
fn differences(left: &Seccomp, right: &Seccomp, native: Arch) -> String {
    let mut text = String::new();
    let (first, second) = (architectures(left, native), architectures(right, native));
    let mut settings = words::settings(left, right);
    if first.iter().any(|arch| !second.contains(arch)) || first.len() != second.len() {
        settings.push(("architectures", names(&first), names(&second)));
    }
    for (what, left, right) in settings {
        line(&mut text, what);
        line(&mut text, &format!("  - {left}"));
        line(&mut text, &format!("  + {right}"));
    }
    let mut all = inspect::diff(left, right, native);
    all.retain(|one| first.contains(&one.arch) && second.contains(&one.arch));
    for group in groups(all) {
        let Some(one) = group.first() else {
            continue;
        };
        let calls: Vec<_> = group.iter().map(|one| one.syscall.name()).collect();
        line(
            &mut text,
            &format!("{}: {}", one.arch.name(), calls.join(", ")),
        );
        for (sign, outline) in [('-', &one.left), ('+', &one.right)] {
            for answer in words::outline(outline) {
                line(&mut text, &format!("  {sign} {answer}"));
            }
        }
    }
    text
}

/// The calls of an architecture on which the profiles differ in the same way, in the order of the
/// first of each.
fn groups(all: Vec<Difference>) -> Vec<Vec<Difference>> {
    let mut groups: Vec<Vec<Difference>> = Vec::new();
    for one in all {
        let alike = |group: &&mut Vec<Difference>| {
            group.first().is_some_and(|other| {
                (other.arch, &other.left, &other.right) == (one.arch, &one.left, &one.right)
            })
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    groups
}

#[cfg(test)]
mod tests;
