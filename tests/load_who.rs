//! Who takes part in a load: several publishers, drained and slow players, churn, a storm.
mod support;

use support::load::{Running, load};
use support::programs::{Scratch, ffmpeg};
use support::{Server, eventually};

#[test]
fn publishers_have_a_stream_each_over_which_players_are_spread() {
    let server = Server::start(&[]);
    let flags = ["--publishers", "3", "--players", "6", "--time", "300ms", "--expect-no-gap"];
    let run = load(server.address(), &flags);
    assert_eq!((run.code(), run.count("publishers"), run.count("joined")), (Some(0), 3, 6));
    for stream in ["live/load-0", "live/load-1", "live/load-2"] {
        let count = |verb: &str| {
            let end = format!(" {verb} {stream}");
            server.lines().iter().filter(|line| line.ends_with(&end)).count()
        };
        let is_spread = || (count("publishes"), count("plays")) == (1, 2);
        eventually("one publisher and two players of each", || is_spread().then_some(()));
    }
}

#[test]
fn without_publishers_what_is_there_is_played_and_measured() {
    let server = Server::start(&[]);
    let _publisher = Running::start(server.address(), &["--players", "0", "--time", "60"]);
    let flags = ["--publishers", "0", "--players", "4", "--verify-every", "1", "--time", "1"];
    let run = load(server.address(), &flags);
    assert_eq!((run.code(), run.count("joined")), (Some(0), 4), "{}", run.text());
    assert_eq!((run.count("publishers"), run.count("frames_sent")), (0, 0));
    // The stamps of another process count.
    assert!(run.count("verified_messages") > 0 && run.count("latency_samples") > 0);
}

#[test]
fn a_stream_without_video_that_is_there_is_played_too() {
    let server = Server::start(&[]);
    let scratch = Scratch::new("load-audio");
    let sound = scratch.file("sound.flv");
    let mut encoder = ffmpeg();
    encoder.args(["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"]).arg(&sound);
    assert!(encoder.status().unwrap().success());
    let flags = ["--players", "0", "--time", "60", "--flv", sound.to_str().unwrap()];
    let _publisher = Running::start(server.address(), &flags);
    let flags = ["--publishers", "0", "--players", "4", "--verify-every", "2", "--storm", "2"];
    let run = load(server.address(), &[&flags[..], &["--time", "1", "--expect-no-gap"]].concat());
    assert_eq!((run.code(), run.count("joined")), (Some(0), 4), "{}", run.text());
    assert_eq!((run.count("storm_joins"), run.count("bad_starts")), (2, 0));
    // Audio has the place of video.
    assert!(run.count("latency_samples") > 0 && run.result["audio_p50_ms"].is_null());
}

#[test]
fn drain_ms_0_parses_every_player() {
    let server = Server::start(&[]);
    let usual = ["--players", "10", "--verify-every", "5", "--time", "1", "--expect-no-gap"];
    let drained = load(server.address(), &[&usual[..], &["--drain-ms", "20"]].concat());
    let parsed = load(server.address(), &[&usual[..], &["--drain-ms", "0"]].concat());
    for (run, count) in [(&drained, 8), (&parsed, 0)] {
        assert_eq!((run.code(), run.count("drained")), (Some(0), count), "{}", run.text());
        assert_eq!((run.count("joined"), run.count("short_players")), (10, 0));
    }
    assert!(drained.count("messages") < parsed.count("messages") / 2, "drained ones do not parse");
    assert!(drained.count("bytes") > parsed.count("bytes") / 2, "but read as much");
}

#[test]
fn slow_players_read_slow_kbps() {
    let server = Server::start(&[]);
    let usual = ["--players", "0", "--slow", "4", "--kbps", "4000", "--time", "1"];
    let bytes = |kbps: &str| {
        let run = load(server.address(), &[&usual[..], &["--slow-kbps", kbps]].concat());
        assert_eq!((run.code(), run.count("slow")), (Some(0), 4), "{}", run.text());
        (run.count("bytes"), run.number("time_s"))
    };
    let (slow, time_s) = bytes("100");
    // They may catch up for a second.
    let allowed = 4.0 * 100_000.0 / 8.0 * (time_s + 1.0);
    assert!(slow > 0 && slow as f64 <= allowed, "{slow} of {allowed}");
    assert!(bytes("20000").0 > 4 * slow, "less than {slow} x 4");
}

#[test]
fn churn_joins_so_many_a_second_and_leaves() {
    let server = Server::start(&[]);
    let flags = ["--churn", "20", "--players", "2", "--time", "1"];
    let run = load(server.address(), &flags);
    assert_eq!(run.code(), Some(0), "{}", run.text());
    let joins = run.count("churn_joins");
    let due = run.number("time_s") * 20.0;
    assert!((10..=due as u64 + 1).contains(&joins), "{joins} of {due}");
    assert!(run.number("churn_p50_ms") <= run.number("churn_p99_ms"));
    assert!(run.number("churn_p99_ms") <= run.number("churn_max_ms"));
    assert_eq!(server.total("accepted"), 1 + 2 + joins);
    server.stats_when("that all have left", |stats| stats["total"]["connections"] == 0);
}

#[test]
fn a_churn_that_is_refused_has_failed() {
    // Publisher and player take both.
    let server = Server::start(&["--max-connections", "2"]);
    let run = load(server.address(), &["--churn", "20", "--players", "1", "--time", "500ms"]);
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert!(run.count("churn_failed") > 0 && run.count("churn_joins") == 0);
    assert!(run.text().contains("joins of the churn failed"), "{}", run.text());
}

#[test]
fn a_storm_begins_when_measuring_begins_and_leaves() {
    let server = Server::start(&[]);
    let run = load(server.address(), &["--storm", "50", "--time", "500ms"]);
    assert_eq!((run.code(), run.count("storm_joins")), (Some(0), 50), "{}", run.text());
    assert_eq!((run.count("storm_failed"), run.count("players")), (0, 0));
    assert!(run.number("storm_ms") > 0.0);
    assert_eq!(server.total("accepted"), 1 + 50);
}
