//! The load generator is honest: each kind of fault that a server can commit is counted, exactly,
//! in the counter for its kind and in no other.
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use millrace::media::flv::{emit_header, emit_tag};
use serde_json::Value;
use support::body;
use support::crooked::{Crooked, Fault, Plan};

const PLAYERS: u64 = 4;

/// A plan for [`PLAYERS`] players: three faults, one frame in 30.
fn plan(fault: Fault) -> Plan {
    Plan { fault, every: 30, times: 3, players: PLAYERS as usize, only: None }
}

/// What the generator says about a server, and its exit code.
struct Verdict {
    figures: Value,
    output: Output,
}

impl Verdict {
    fn figure(&self, name: &str) -> u64 {
        let figure = self.figures[name].as_u64();
        figure.unwrap_or_else(|| panic!("no figure {name}: {}", self.figures))
    }

    fn figures<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        names.map(|name| self.figure(name))
    }

    fn ms(&self, name: &str) -> f64 {
        self.figures[name].as_f64().unwrap()
    }

    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }
}

const FAULTS: [&str; 5] = ["gaps", "reordered", "corrupt", "backward_timestamps", "closed"];

/// [`PLAYERS`] players that check every byte, and `more` flags.
fn load(server: &Crooked, more: &[&str]) -> Verdict {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-load"));
    command.args(["--server", &server.address().to_string(), "--json", "-", "--quiet"]);
    let players = PLAYERS.to_string();
    let usual =
        [["--players", &players], ["--verify-every", "1"], ["--gop-ms", "200"], ["--time", "2"]];
    for pair in usual.iter().filter(|pair| !more.contains(&pair[0])) {
        command.args(pair);
    }
    command.args(more);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{'));
    let line = line.unwrap_or_else(|| panic!("no result: {output:?}"));
    Verdict { figures: serde_json::from_str(line).unwrap(), output }
}

/// The figures of [`FAULTS`] under a plan, each fault having been committed.
fn faults(plan: Plan, more: &[&str]) -> ([u64; 5], Verdict) {
    let server = Crooked::start(plan);
    let verdict = load(&server, more);
    assert_eq!(server.injected(), plan.times, "{}", verdict.figures);
    (verdict.figures(FAULTS), verdict)
}

#[test]
fn a_server_without_fault_is_good() {
    let (counted, verdict) = faults(plan(Fault::None), &[]);
    assert_eq!(counted, [0; 5]);
    assert_eq!(verdict.code(), Some(0), "{:?}", verdict.output);
    assert_eq!(verdict.figures["good"], true);
}

#[test]
fn every_dropped_frame_is_a_gap() {
    let (counted, verdict) = faults(plan(Fault::Drop), &[]);
    assert_eq!(counted, [3 * PLAYERS, 0, 0, 0, 0]);
    assert_eq!(verdict.code(), Some(1));
}

#[test]
fn every_swapped_frame_is_reordered() {
    let (counted, verdict) = faults(plan(Fault::Swap), &[]);
    assert_eq!(counted, [0, 3 * PLAYERS, 0, 0, 0]);
    assert_eq!(verdict.code(), Some(1));
}

#[test]
fn every_repeated_frame_is_reordered() {
    let (counted, verdict) = faults(plan(Fault::Repeat), &[]);
    assert_eq!(counted, [0, 3 * PLAYERS, 0, 0, 0]);
    assert_eq!(verdict.code(), Some(1));
}

#[test]
fn every_wrong_byte_is_a_corrupt_frame() {
    let (counted, verdict) = faults(plan(Fault::Flip), &[]);
    assert_eq!(counted, [0, 0, 3 * PLAYERS, 0, 0]);
    assert_eq!(verdict.code(), Some(1));
    // Two of the four compare checksums; the others cannot see it, and do not say they did.
    let (counted, verdict) = faults(plan(Fault::Flip), &["--verify-every", "2"]);
    assert_eq!(counted, [0, 0, 3 * PLAYERS / 2, 0, 0]);
    assert_eq!(verdict.code(), Some(1));
}

#[test]
fn every_timestamp_that_goes_back_is_counted() {
    let (counted, verdict) = faults(plan(Fault::GoBack), &[]);
    assert_eq!(counted, [0, 0, 0, 3 * PLAYERS, 0]);
    assert_eq!(verdict.code(), Some(1));
}

/// Video frames a millisecond apart, a keyframe in 50.
fn fast_clip() -> PathBuf {
    let mut file = Vec::new();
    emit_header(false, true, &mut file);
    emit_tag(9, 0, &body::avc_header(1), &mut file);
    for number in 0..500 {
        let make = if number % 50 == 0 { body::key } else { body::inter };
        emit_tag(9, number, &make(u64::from(number), 100), &mut file);
    }
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("load-honesty.flv");
    fs::write(&path, file).unwrap();
    path
}

#[test]
fn one_frame_in_a_thousand_is_enough_for_each_kind() {
    let clip = fast_clip();
    let flags = ["--flv", clip.to_str().unwrap(), "--time", "3"];
    let rows = [(Fault::Drop, 0), (Fault::Swap, 1), (Fault::Flip, 2), (Fault::GoBack, 3)];
    for (fault, at) in rows {
        let plan = Plan { every: 1000, times: 2, ..plan(fault) };
        let (counted, verdict) = faults(plan, &flags);
        let mut wanted = [0; 5];
        wanted[at] = 2 * PLAYERS;
        assert_eq!(counted, wanted, "{fault:?}");
        assert_eq!(verdict.code(), Some(1));
    }
}

#[test]
fn a_delay_is_the_longest_latency() {
    let delay = Fault::Delay(Duration::from_millis(800));
    let (counted, verdict) = faults(Plan { times: 1, ..plan(delay) }, &["--time", "3"]);
    assert_eq!(counted, [0; 5], "late, but whole and in order");
    let (most, half) = (verdict.ms("latency_max_ms"), verdict.ms("latency_p50_ms"));
    assert!((800.0..1600.0).contains(&most), "{most} ms");
    // What was published meanwhile waits less and less; most frames do not wait at all.
    assert!(half < 400.0, "half of them {half} ms");
}

#[test]
fn a_connection_that_ends_is_closed() {
    let (counted, verdict) = faults(Plan { times: 1, ..plan(Fault::Close) }, &[]);
    assert_eq!(counted, [0, 0, 0, 0, PLAYERS]);
    assert_eq!(verdict.code(), Some(1));
    // One of them, by its address.
    let one = Plan { times: 1, only: Some(3), ..plan(Fault::Close) };
    let (counted, verdict) = faults(one, &["--sources", "8"]);
    assert_eq!(counted, [0, 0, 0, 0, 1]);
    assert_eq!(verdict.code(), Some(1));
}

#[test]
fn garbage_ends_the_player_that_gets_it() {
    let one = Plan { times: 1, only: Some(3), ..plan(Fault::Garbage) };
    let (counted, verdict) = faults(one, &["--sources", "8"]);
    assert_eq!(counted, [0, 0, 0, 0, 1]);
    assert_eq!(verdict.code(), Some(1));
}
