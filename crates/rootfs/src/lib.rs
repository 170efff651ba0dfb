//! The container's file system tree: mounts, devices, masks, pivot_root.

#![forbid(unsafe_code)]
