//! Compiles linux.seccomp to a classic BPF program.

#![forbid(unsafe_code)]
