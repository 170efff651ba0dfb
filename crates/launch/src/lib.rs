//! The plan of a container, the two stages that carry it out, and the protocol between them.

#![forbid(unsafe_code)]
