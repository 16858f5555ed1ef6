//! Every fuzz target over its corpus, on stable: what a fuzzer has found once stays found.

#[path = "fuzz/src/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::path::PathBuf;

use millrace::rtmp::ProtocolError;

/// The inputs of a target, in a fixed order.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = format!("{}/tests/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let files =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let mut inputs: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// A variant's name; a new one does not compile until it stands here and in [`ALL`].
fn name(error: &ProtocolError) -> &'static str {
    use ProtocolError as E;
    match error {
        E::UnsupportedVersion { .. } => "UnsupportedVersion",
        E::MissingMessageHeader { .. } => "MissingMessageHeader",
        E::MessageInterrupted { .. } => "MessageInterrupted",
        E::TooManyChunkStreams => "TooManyChunkStreams",
        E::MessageTooLong { .. } => "MessageTooLong",
        E::ZeroChunkSize => "ZeroChunkSize",
        E::AmfTruncated => "AmfTruncated",
        E::AmfMarker { .. } => "AmfMarker",
        E::AmfTooDeep => "AmfTooDeep",
        E::AmfTooManyElements => "AmfTooManyElements",
        E::AmfKeyTooLong => "AmfKeyTooLong",
        E::CommandBeforeConnect => "CommandBeforeConnect",
        E::SecondConnect => "SecondConnect",
        E::NameRefused => "NameRefused",
        E::OverBudget => "OverBudget",
    }
}

const ALL: [&str; 15] = [
    "UnsupportedVersion",
    "MissingMessageHeader",
    "MessageInterrupted",
    "TooManyChunkStreams",
    "MessageTooLong",
    "ZeroChunkSize",
    "AmfTruncated",
    "AmfMarker",
    "AmfTooDeep",
    "AmfTooManyElements",
    "AmfKeyTooLong",
    "CommandBeforeConnect",
    "SecondConnect",
    "NameRefused",
    "OverBudget",
];

#[test]
fn every_target_survives_its_corpus_and_the_corpora_reach_every_protocol_error() {
    let mut reached = BTreeSet::new();
    for (target, run) in targets::TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 3, "{target} has {} inputs", inputs.len());
        let mut accepted = 0;
        for (path, input) in inputs {
            // Printed only if the target panics.
            println!("{}", path.display());
            match run(&input) {
                Ok(()) => accepted += 1,
                Err(error) => drop(reached.insert(name(&error))),
            }
        }
        assert!(accepted > 0, "{target} accepts nothing of its corpus");
    }
    assert_eq!(reached, BTreeSet::from(ALL));
}

#[test]
fn every_target_survives_no_bytes_and_every_single_byte() {
    for (_, run) in targets::TARGETS {
        let _ = run(&[]);
        for byte in 0..=255 {
            let _ = run(&[byte]);
            let _ = run(&[0, byte, byte, byte]);
        }
    }
}

#[test]
fn the_corpora_are_small_and_every_directory_has_its_target() {
    let directory = format!("{}/tests/fuzz/corpus", env!("CARGO_MANIFEST_DIR"));
    let names: BTreeSet<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = targets::TARGETS.iter().map(|(name, _)| (*name).to_string()).collect();
    assert_eq!(names, expected);
    let bytes: usize =
        names.iter().flat_map(|name| corpus(name)).map(|(_, input)| input.len()).sum();
    assert!(bytes < 300_000, "{bytes} bytes");
}
