//! openat2(2): look-ups that cannot leave a root.
