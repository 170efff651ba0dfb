//! Namespaces and id maps: which to make, which to join, in which order.

#![forbid(unsafe_code)]
