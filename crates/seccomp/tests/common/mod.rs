//! Shared parts of the tests: a reader of profiles, and libseccomp as the oracle.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test uses a part"
)]

pub(crate) mod compare;
pub(crate) mod machine;
pub(crate) mod strategy;

use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use seccomp::bpf::{self, Instruction};
use seccomp::rule::has_argument_twice;
use seccomp::syscalls::{Arch, Endian};
use serde_json::Value;
use spec::container::{
    Seccomp, SeccompAction, SeccompArch, SeccompArg, SeccompFlag, SeccompOp, SeccompRule,
};
use spec::words;
use std::io::Read;
use std::sync::mpsc::channel;
use std::thread::spawn;
use std::time::Duration;

/// Docker 28's profile, as it arrives in config.json.
pub(crate) const DOCKER: &str = include_str!("../profiles/docker.json");
/// Podman 5.8's profile, as it arrives in config.json.
pub(crate) const PODMAN: &str = include_str!("../profiles/podman.json");

fn action(word: &str, number: Option<u64>) -> SeccompAction {
    let number = u16::try_from(number.unwrap_or(1)).unwrap();
    match word {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(number),
        "SCMP_ACT_TRACE" => SeccompAction::Trace(number),
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_NOTIFY" => SeccompAction::Notify,
        _ => panic!("action {word}"),
    }
}

fn operator(word: &str) -> SeccompOp {
    words::parse(word).unwrap()
}

fn elements(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Reads a profile that is known to be well-formed.
pub(crate) fn read(json: &str) -> Seccomp {
    let root: Value = serde_json::from_str(json).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let arg = |arg: &Value| SeccompArg {
        index: u8::try_from(arg["index"].as_u64().unwrap()).unwrap(),
        op: operator(arg["op"].as_str().unwrap()),
        value: arg["value"].as_u64().unwrap(),
        value_two: arg["valueTwo"].as_u64().unwrap_or(0),
    };
    Seccomp {
        default_action: action(
            &text(&root["defaultAction"]),
            root["defaultErrnoRet"].as_u64(),
        ),
        architectures: elements(&root["architectures"])
            .iter()
            .map(|word| {
                let word = word.as_str().unwrap().trim_start_matches("SCMP_ARCH_");
                Arch::ALL
                    .into_iter()
                    .find(|arch| arch.name() == word)
                    .unwrap()
                    .0
            })
            .collect(),
        flags: root.get("flags").map(|flags| {
            elements(flags)
                .iter()
                .map(|_| SeccompFlag::SeccompFilterFlagLog)
                .collect()
        }),
        listener_path: None,
        listener_metadata: None,
        syscalls: elements(&root["syscalls"])
            .iter()
            .map(|rule| SeccompRule {
                names: elements(&rule["names"]).iter().map(text).collect(),
                action: action(&text(&rule["action"]), rule["errnoRet"].as_u64()),
                args: elements(&rule["args"]).iter().map(arg).collect(),
            })
            .collect(),
    }
}

/// A profile for a test.
pub(crate) fn profile(default_action: SeccompAction, syscalls: Vec<SeccompRule>) -> Seccomp {
    Seccomp {
        default_action,
        architectures: Vec::new(),
        flags: None,
        listener_path: None,
        listener_metadata: None,
        syscalls,
    }
}

/// A rule for a test.
pub(crate) fn rule(
    names: &[&str],
    action: SeccompAction,
    args: &[(u8, SeccompOp, u64, u64)],
) -> SeccompRule {
    SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action,
        args: args
            .iter()
            .map(|&(index, op, value, value_two)| SeccompArg {
                index,
                op,
                value,
                value_two,
            })
            .collect(),
    }
}

fn scmp_action(action: SeccompAction) -> ScmpAction {
    match action {
        SeccompAction::KillProcess => ScmpAction::KillProcess,
        SeccompAction::KillThread => ScmpAction::KillThread,
        SeccompAction::Trap => ScmpAction::Trap,
        SeccompAction::Errno(number) => ScmpAction::Errno(number.into()),
        SeccompAction::Trace(number) => ScmpAction::Trace(number),
        SeccompAction::Log => ScmpAction::Log,
        SeccompAction::Allow => ScmpAction::Allow,
        SeccompAction::Notify => ScmpAction::Notify,
    }
}

/// libseccomp's word for an architecture. `None`: version 2.5 has none.
pub(crate) fn scmp_arch(arch: Arch) -> Option<ScmpArch> {
    Some(match arch.0 {
        SeccompArch::ScmpArchNative => ScmpArch::native(),
        SeccompArch::ScmpArchX86 => ScmpArch::X86,
        SeccompArch::ScmpArchX86_64 => ScmpArch::X8664,
        SeccompArch::ScmpArchX32 => ScmpArch::X32,
        SeccompArch::ScmpArchArm => ScmpArch::Arm,
        SeccompArch::ScmpArchAarch64 => ScmpArch::Aarch64,
        SeccompArch::ScmpArchMips => ScmpArch::Mips,
        SeccompArch::ScmpArchMips64 => ScmpArch::Mips64,
        SeccompArch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        SeccompArch::ScmpArchMipsel => ScmpArch::Mipsel,
        SeccompArch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        SeccompArch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        SeccompArch::ScmpArchPpc => ScmpArch::Ppc,
        SeccompArch::ScmpArchPpc64 => ScmpArch::Ppc64,
        SeccompArch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        SeccompArch::ScmpArchS390 => ScmpArch::S390,
        SeccompArch::ScmpArchS390x => ScmpArch::S390X,
        SeccompArch::ScmpArchParisc => ScmpArch::Parisc,
        SeccompArch::ScmpArchParisc64 => ScmpArch::Parisc64,
        SeccompArch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        SeccompArch::ScmpArchLoongarch64
        | SeccompArch::ScmpArchM68k
        | SeccompArch::ScmpArchSh
        | SeccompArch::ScmpArchSheb => {
            return None;
        }
    })
}

/// Whether libseccomp knows the name.
pub(crate) fn oracle_knows(name: &str) -> bool {
    ScmpSyscall::from_name(name).is_ok()
}

/// libseccomp's name for the number.
pub(crate) fn oracle_name(arch: Arch, number: u32) -> Option<String> {
    let syscall = ScmpSyscall::from_raw_syscall(number.try_into().unwrap());
    syscall.get_name_by_arch(scmp_arch(arch)?).ok()
}

/// Whether libseccomp has a name for the number.
pub(crate) fn oracle_has(arch: Arch, number: u32) -> bool {
    oracle_name(arch, number).is_some()
}

fn comparison(arg: &SeccompArg) -> ScmpArgCompare {
    let (op, value) = match arg.op {
        SeccompOp::ScmpCmpNe => (ScmpCompareOp::NotEqual, arg.value),
        SeccompOp::ScmpCmpLt => (ScmpCompareOp::Less, arg.value),
        SeccompOp::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, arg.value),
        SeccompOp::ScmpCmpEq => (ScmpCompareOp::Equal, arg.value),
        SeccompOp::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, arg.value),
        SeccompOp::ScmpCmpGt => (ScmpCompareOp::Greater, arg.value),
        SeccompOp::ScmpCmpMaskedEq => (ScmpCompareOp::MaskedEqual(arg.value), arg.value_two),
    };
    ScmpArgCompare::new(arg.index.into(), op, value)
}

/// The program that libseccomp makes of a profile, fed as runc feeds it, without runc's ENOSYS
/// stub. `Err`: libseccomp refuses a rule.
pub(crate) fn oracle(profile: &Seccomp, archs: &[Arch]) -> Result<Vec<Instruction>, String> {
    let error = |error: libseccomp::error::SeccompError| error.to_string();
    let default = scmp_action(profile.default_action);
    let mut filter = ScmpFilterContext::new(default).map_err(error)?;
    let native = Arch::NATIVE;
    if !archs.contains(&native) {
        filter.remove_arch(ScmpArch::Native).map_err(error)?;
    }
    for arch in archs.iter().filter(|arch| **arch != native) {
        filter.add_arch(scmp_arch(*arch).unwrap()).map_err(error)?;
    }
    if profile
        .syscalls
        .iter()
        .map(|rule| rule.names.len())
        .sum::<usize>()
        > 32
    {
        filter.set_ctl_optimize(2).map_err(error)?;
    }
    for rule in profile
        .syscalls
        .iter()
        .filter(|rule| rule.action != profile.default_action)
    {
        let action = scmp_action(rule.action);
        for name in &rule.names {
            let Ok(syscall) = ScmpSyscall::from_name(name) else {
                continue;
            };
            let args: Vec<_> = rule.args.iter().map(comparison).collect();
            if has_argument_twice(&rule.args) {
                for arg in args {
                    filter
                        .add_rule_conditional(action, syscall, &[arg])
                        .map_err(error)?;
                }
            } else {
                filter
                    .add_rule_conditional(action, syscall, &args)
                    .map_err(error)?;
            }
        }
    }
    let (mut reader, writer) = std::io::pipe().unwrap();
    filter.export_bpf(&writer).map_err(error)?;
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    // libseccomp writes in the byte order of the filter's architecture.
    let endian = archs.first().map_or(Endian::Little, |arch| arch.endian());
    Ok(bytes
        .as_chunks::<8>()
        .0
        .iter()
        .map(|bytes| decode(bytes, endian))
        .collect())
}

/// Why there is no program to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoOracle {
    /// libseccomp refuses a rule.
    Refused(String),
    /// It did not answer within [`ORACLE_TIME`]. It is not known whether it ever would.
    Late,
}

/// The time limit of libseccomp for a profile.
pub(crate) const ORACLE_TIME: Duration = Duration::from_secs(5);

/// The same within [`ORACLE_TIME`]: for some generated rules version 2.5 did not finish in that
/// time. The thread then runs until the process ends.
pub(crate) fn oracle_in_time(
    profile: &Seccomp,
    archs: &[Arch],
) -> Result<Vec<Instruction>, NoOracle> {
    let (sender, receiver) = channel();
    let (profile, archs) = (profile.clone(), archs.to_vec());
    spawn(move || sender.send(oracle(&profile, &archs)));
    match receiver.recv_timeout(ORACLE_TIME) {
        Ok(answer) => answer.map_err(NoOracle::Refused),
        Err(_) => Err(NoOracle::Late),
    }
}

fn decode(bytes: &[u8; 8], endian: Endian) -> Instruction {
    let (code, k) = (
        [bytes[0], bytes[1]],
        [bytes[4], bytes[5], bytes[6], bytes[7]],
    );
    let (code, k) = match endian {
        Endian::Little => (u16::from_le_bytes(code), u32::from_le_bytes(k)),
        Endian::Big => (u16::from_be_bytes(code), u32::from_be_bytes(k)),
    };
    // Cross-compiling, libseccomp leaves some returns of long programs in the host's byte order.
    let k = match code {
        bpf::op::RETURN if !is_answer(k) && is_answer(k.swap_bytes()) => k.swap_bytes(),
        _ => k,
    };
    Instruction {
        code,
        jt: bytes[2],
        jf: bytes[3],
        k,
    }
}

fn is_answer(k: u32) -> bool {
    match k >> 16 {
        0 | 0x8000 => k & 0xffff == 0,
        high => matches!(high, 3 | 5 | 0x7fc0 | 0x7ff0 | 0x7ffc | 0x7fff),
    }
}
