//! The fuzzer: one program for all targets, so that it is linked once. The environment variable
//! `FUZZ_TARGET` names the function of [`targets`] that gets the bytes; see `scripts/fuzz.sh`.
#![no_main]

mod targets;

use std::sync::LazyLock;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = targets::TARGETS.iter().find(|(target, _)| *target == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={name} is none of the targets")).1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = TARGET(data);
});
