//! Control groups: make, join, limit, freeze, kill, remove.

#![forbid(unsafe_code)]
