//! The load generator is honest: each kind of fault that a server can commit is counted, exactly,
//! in the counter for its kind and in no other.
mod support;

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use millrace::media::flv::{emit_header, emit_tag};
use support::body;
use support::crooked::{Crooked, Fault, Plan};
use support::load::Run;

const PLAYERS: u64 = 4;

/// A plan for [`PLAYERS`] players: three faults, one frame in 30.
fn plan(fault: Fault) -> Plan {
    Plan { fault, every: 30, times: 3, players: PLAYERS as usize, only: None }
}

const FAULTS: [&str; 9] = [
    "gaps",
    "reordered",
    "corrupt",
    "backward_timestamps",
    "closed",
    "failed",
    "bad_starts",
    "short_players",
    "joined",
];

/// What is counted where nothing is wrong but `count` in counter `name`.
fn only(name: &str, count: u64) -> [u64; 9] {
    let usual = |counter| if counter == "joined" { PLAYERS } else { 0 };
    FAULTS.map(|counter| if counter == name { count } else { usual(counter) })
}

/// [`PLAYERS`] players that check every byte, and `more` flags.
fn load(server: &Crooked, more: &[&str]) -> Run {
    let players = PLAYERS.to_string();
    let usual =
        [["--players", &players], ["--verify-every", "1"], ["--gop-ms", "200"], ["--time", "2"]];
    let usual = usual.iter().filter(|pair| !more.contains(&pair[0])).flatten().copied();
    let flags: Vec<&str> = usual.chain(["--quiet"]).chain(more.iter().copied()).collect();
    support::load::load(server.address(), &flags)
}

/// Counters of a run.
fn counts<const N: usize>(run: &Run, names: [&str; N]) -> [u64; N] {
    names.map(|name| run.count(name))
}

/// The figures of [`FAULTS`] under a plan, each fault having been committed.
fn faults(plan: Plan, more: &[&str]) -> ([u64; 9], Run) {
    let server = Crooked::start(plan);
    let run = load(&server, more);
    assert_eq!(server.injected(), plan.times, "{}", run.result);
    (counts(&run, FAULTS), run)
}

#[test]
fn a_server_without_fault_is_good() {
    let promises = ["--expect-no-gap", "--expect-max-ms", "20000", "--expect-join-ms", "20000"];
    for drain in [&[][..], &["--verify-every", "2", "--drain-ms", "20"]] {
        let (counted, run) = faults(plan(Fault::None), &[&promises[..], drain].concat());
        assert_eq!(counted, only("", 0));
        assert_eq!(run.code(), Some(0), "{:?}", run.output);
        assert_eq!(run.result["good"], true);
        assert!(run.count("frames_sent") >= 2 * 73, "{}", run.result);
        assert!(run.count("latency_samples") > 0);
    }
}

#[test]
fn every_dropped_frame_is_a_gap() {
    let (counted, run) = faults(plan(Fault::Drop), &["--expect-no-gap"]);
    assert_eq!(counted, only("gaps", 3 * PLAYERS));
    assert_eq!(run.code(), Some(1));
    // Whoever promised nothing may lose frames, and is told so.
    let (counted, run) = faults(plan(Fault::Drop), &[]);
    assert_eq!(counted, only("gaps", 3 * PLAYERS));
    assert_eq!(run.code(), Some(0), "{:?}", run.output);
}

#[test]
fn every_swapped_frame_is_reordered() {
    let (counted, run) = faults(plan(Fault::Swap), &[]);
    assert_eq!(counted, only("reordered", 3 * PLAYERS));
    assert_eq!(run.code(), Some(1));
}

#[test]
fn every_repeated_frame_is_reordered() {
    let (counted, run) = faults(plan(Fault::Repeat), &[]);
    assert_eq!(counted, only("reordered", 3 * PLAYERS));
    assert_eq!(run.code(), Some(1));
}

#[test]
fn every_wrong_byte_is_a_corrupt_frame() {
    let (counted, run) = faults(plan(Fault::Flip), &[]);
    assert_eq!(counted, only("corrupt", 3 * PLAYERS));
    assert_eq!(run.code(), Some(1));
    // Two of the four compare checksums; the others cannot see it, and do not say they did.
    let (counted, run) = faults(plan(Fault::Flip), &["--verify-every", "2"]);
    assert_eq!(counted, only("corrupt", 3 * PLAYERS / 2));
    assert_eq!((run.count("verified"), run.code()), (PLAYERS / 2, Some(1)));
}

#[test]
fn every_timestamp_that_goes_back_is_counted() {
    let (counted, run) = faults(plan(Fault::GoBack), &[]);
    assert_eq!(counted, only("backward_timestamps", 3 * PLAYERS));
    assert_eq!(run.code(), Some(1));
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
    let flags = ["--flv", clip.to_str().unwrap(), "--time", "3", "--expect-no-gap"];
    let rows = [
        (Fault::Drop, "gaps"),
        (Fault::Swap, "reordered"),
        (Fault::Flip, "corrupt"),
        (Fault::GoBack, "backward_timestamps"),
    ];
    for (fault, counter) in rows {
        let plan = Plan { every: 1000, times: 2, ..plan(fault) };
        let (counted, run) = faults(plan, &flags);
        assert_eq!(counted, only(counter, 2 * PLAYERS), "{fault:?}");
        assert_eq!(run.code(), Some(1));
    }
}

#[test]
fn a_delay_is_the_longest_latency() {
    let delayed = |promise: [&str; 2]| {
        let delay = Fault::Delay(Duration::from_millis(800));
        let (counted, run) = faults(Plan { times: 1, ..plan(delay) }, &promise);
        assert_eq!(counted, only("", 0), "late, but whole and in order");
        run
    };
    let run = delayed(["--expect-max-ms", "700"]);
    let (most, half) = (run.number("latency_max_ms"), run.number("latency_p50_ms"));
    assert!((800.0..2400.0).contains(&most), "{most} ms");
    // What was published meanwhile waits less and less; most frames do not wait at all.
    assert!(half < 700.0, "half of them {half} ms");
    assert_eq!(run.code(), Some(1));
    // More than one frame in a thousand came that late, and more than one in a hundred.
    assert_eq!(delayed(["--expect-p999-ms", "700"]).code(), Some(1));
    assert_eq!(delayed(["--expect-p99-ms", "600"]).code(), Some(1));
    assert_eq!(delayed(["--expect-max-ms", "20000"]).code(), Some(0));
}

#[test]
fn a_connection_that_ends_is_closed() {
    let (counted, run) = faults(Plan { times: 1, ..plan(Fault::Close) }, &[]);
    assert_eq!(counted, only("closed", PLAYERS));
    assert_eq!(run.code(), Some(1));
    // One of them, by its address.
    let one = Plan { times: 1, only: Some(3), ..plan(Fault::Close) };
    let (counted, run) = faults(one, &["--sources", "8"]);
    assert_eq!(counted, only("closed", 1));
    assert_eq!(run.code(), Some(1));
}

/// Every other player is drained: those at 127.0.0.3 and 127.0.0.5.
const DRAINED: [&str; 6] = ["--verify-every", "2", "--drain-ms", "20", "--sources", "8"];

#[test]
fn a_drained_player_that_misses_a_frame_is_short() {
    let late = Plan { every: 60, times: 1, ..plan(Fault::Drop) };
    let promise = [&DRAINED[..], &["--expect-no-gap"]].concat();
    let (counted, run) = faults(Plan { only: Some(3), ..late }, &promise);
    assert_eq!(counted, only("short_players", 1));
    assert_eq!((run.count("drained"), run.code()), (2, Some(1)));
    // Whoever promised nothing is told so, as with gaps.
    let (counted, run) = faults(Plan { only: Some(5), ..late }, &DRAINED);
    assert_eq!(counted, only("short_players", 1));
    assert_eq!(run.code(), Some(0), "{:?}", run.output);
    // One that is verified sees a gap, also where all miss the frame: no drained one is short then.
    let (counted, _) = faults(Plan { only: Some(4), ..late }, &promise);
    assert_eq!(counted, only("gaps", 1));
    let (counted, run) = faults(late, &promise);
    assert_eq!(counted, only("gaps", PLAYERS / 2));
    assert_eq!(run.code(), Some(1));
}

#[test]
fn a_drained_connection_that_ends_is_closed() {
    let close = Plan { every: 60, times: 1, only: Some(5), ..plan(Fault::Close) };
    let (counted, run) = faults(close, &DRAINED);
    assert_eq!(counted, only("closed", 1));
    assert_eq!(run.code(), Some(1));
}

#[test]
fn garbage_ends_the_player_that_gets_it() {
    let one = Plan { times: 1, only: Some(3), ..plan(Fault::Garbage) };
    let (counted, run) = faults(one, &["--sources", "8"]);
    assert_eq!(counted, only("closed", 1));
    assert_eq!(run.code(), Some(1));
    assert!(run.result["first_failure"].as_str().is_some(), "{}", run.result);
}

#[test]
fn players_that_are_never_answered_have_failed_and_the_run_ends() {
    let run = |fault| thread::spawn(move || load(&Crooked::start(plan(fault)), &[]));
    for run in [Fault::Mute, Fault::NoPlay].map(run) {
        let run = run.join().unwrap();
        let failed = counts(&run, ["failed", "joined", "closed"]);
        assert_eq!(failed, [PLAYERS, 0, 0], "{}", run.result);
        assert_eq!(run.code(), Some(1));
    }
}

#[test]
fn joins_of_storm_and_churn_are_counted_as_what_they_were() {
    const JOINS: [&str; 4] = ["storm_joins", "storm_failed", "churn_joins", "churn_failed"];
    let run = |fault| {
        let server = Crooked::start(Plan { players: 0, ..plan(fault) });
        load(&server, &["--players", "0", "--storm", "6", "--churn", "4"])
    };
    let good = run(Fault::None);
    let [storm, storm_failed, churn, churn_failed] = counts(&good, JOINS);
    assert_eq!([storm, storm_failed, churn_failed], [6, 0, 0], "{}", good.result);
    assert!((4..=10).contains(&churn), "4 a second for 2 seconds: {churn}");
    assert_eq!(good.code(), Some(0), "{:?}", good.output);
    for fault in [Fault::NoPlay, Fault::Mute] {
        let bad = run(fault);
        let [storm, storm_failed, churn, churn_failed] = counts(&bad, JOINS);
        assert_eq!([storm, storm_failed, churn], [0, 6, 0], "{fault:?}: {}", bad.result);
        assert!((4..=10).contains(&churn_failed), "{churn_failed} of 4 a second for 2 seconds");
        assert_eq!(bad.code(), Some(1));
    }
}

#[test]
fn a_publisher_that_is_never_answered_ends_the_run_with_a_sentence() {
    let server = Crooked::start(plan(Fault::Deaf));
    let run = load(&server, &[]);
    assert!(run.code() == Some(1) && run.text().contains("no answer"), "{:?}", run.output);
}
