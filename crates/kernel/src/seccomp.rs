//! seccomp(2): load a classic BPF filter.
