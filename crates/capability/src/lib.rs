//! Capability sets: computed from the configuration, never inherited.

#![forbid(unsafe_code)]
