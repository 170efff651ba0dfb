//! eBPF programs that decide about device nodes.
