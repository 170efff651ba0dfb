//! An OCI low-level container runtime.

#![forbid(unsafe_code)]

fn main() {}
