//! Names below a directory descriptor: the *at family, reads and writes.
