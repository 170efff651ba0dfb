//! The mount API that works by descriptors.
