//! The `millrace` binary.
#![forbid(unsafe_code)]

fn main() {}
