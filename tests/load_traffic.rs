//! Who `millrace-load` sends and what of it arrives: each kind of peer has the effect on a server
//! that its flag promises, and several kinds stand in one run.
mod support;

use support::Server;
use support::eventually;
use support::load::{Running, load};
use support::programs::{ffmpeg, program, until_frames};

#[test]
fn what_is_published_is_h264_and_aac_to_a_decoder() {
    for (kbps, gop_ms) in [("1000", "1000"), ("100", "100")] {
        let server = Server::start(&[]);
        let flags = ["--players", "0", "--time", "60", "--kbps", kbps, "--gop-ms", gop_ms];
        let _running = Running::start(server.address(), &flags);
        until_frames(&server, 10);
        let mut probe = program("ffprobe");
        probe.args(["-v", "warning", "-of", "csv=p=0", "-show_entries"]);
        probe.args([
            "stream=codec_name,width,height,sample_rate,channels",
            &server.url("live/load"),
        ]);
        let probed = probe.output().unwrap();
        let said = String::from_utf8_lossy(&probed.stdout);
        assert_eq!(said, "h264,320,240\naac,44100,2\n", "{probed:?}");
        // Any complaint of a decoder ends it.
        let mut decoder = ffmpeg();
        decoder.args(["-xerror", "-err_detect", "explode", "-loglevel", "warning"]);
        decoder.args(["-i", &server.url("live/load"), "-t", "1", "-f", "null", "-"]);
        let decoded = decoder.output().unwrap();
        assert!(decoded.status.success() && decoded.stderr.is_empty(), "{decoded:?}");
    }
}

#[test]
fn an_flv_file_with_stamps_is_still_decoded() {
    let server = Server::start(&[]);
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/src/net/demo.flv");
    let flags = ["--players", "0", "--time", "60", "--flv", clip];
    let _running = Running::start(server.address(), &flags);
    until_frames(&server, 10);
    let mut decoder = ffmpeg();
    decoder.args(["-xerror", "-err_detect", "explode"]);
    decoder.args(["-i", &server.url("live/load"), "-t", "1", "-f", "null", "-"]);
    let decoded = decoder.output().unwrap();
    assert!(decoded.status.success() && decoded.stderr.is_empty(), "{decoded:?}");
}

#[test]
fn drained_players_get_every_byte_whenever_they_join_and_at_any_chunk_size() {
    for chunk_size in ["128", "60000"] {
        let server = Server::start(&["--chunk-size", chunk_size, "--loops", "2"]);
        let flags = ["--players", "30", "--verify-every", "10", "--time", "1", "--gop-ms", "300"];
        let more = ["--connect-rate", "25", "--expect-no-gap", "--drain-ms", "20"];
        let run = load(server.address(), &[&flags[..], &more].concat());
        assert_eq!(run.code(), Some(0), "{}", run.text());
        assert_eq!((run.count("drained"), run.count("short_players")), (27, 0));
        // All the bytes of all of them: 1 Mb/s each.
        assert!((24.0..=36.0).contains(&run.number("mbps")), "{}", run.text());
        // They were parsed only as long as it took.
        let parsed = run.count("messages") - run.count("verified_messages");
        assert!(parsed < run.count("verified_messages") * 27 / 3 / 2, "{}", run.text());
    }
}

#[test]
fn drained_players_are_alive_to_a_server_that_pings_the_silent() {
    let server = Server::start(&["--ping-interval", "3"]);
    let flags = ["--players", "4", "--slow", "2", "--kbps", "100", "--slow-kbps", "200"];
    let run = load(server.address(), &[&flags[..], &["--time", "8", "--expect-no-gap"]].concat());
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert_eq!(run.count("drained"), 3);
    let stats = server.stats();
    assert_eq!(stats["total"]["closes"]["timeout"], 0, "{stats}");
}

#[test]
fn frames_that_a_server_leaves_out_for_late_readers_are_seen() {
    // All read once a second, so the server leaves frames out for them; the verified one sees gaps,
    // and who is left out more than it is short (`tests/load_honesty.rs` counts both exactly).
    let server = Server::start(&["--max-lag-ms", "300", "--sndbuf", "65536"]);
    let flags = ["--players", "4", "--kbps", "60000", "--drain-ms", "1000", "--gop-ms", "100"];
    let run = load(server.address(), &[&flags[..], &["--time", "2", "--expect-no-gap"]].concat());
    assert!(server.total("skips") > 0);
    assert_eq!(run.count("drained"), 3, "{}", run.text());
    assert!(run.count("gaps") + run.count("short_players") > 0, "{}", run.text());
    assert_eq!(run.code(), Some(1));
}

#[test]
fn slow_players_read_their_rate_and_the_others_miss_nothing() {
    let server = Server::start(&["--max-lag-ms", "300", "--sndbuf", "16384"]);
    let flags = ["--players", "4", "--slow", "3", "--slow-kbps", "400", "--kbps", "8000"];
    let more = ["--gop-ms", "200", "--time", "3", "--expect-no-gap"];
    let run = load(server.address(), &[&flags[..], &more].concat());
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert!(server.total("skips") > 0);
    // Four at 8 Mb/s and three at 0.4 Mb/s.
    assert!((25.0..=36.0).contains(&run.number("mbps")), "{}", run.text());
    assert_eq!((run.count("slow"), run.count("joined"), run.count("closed")), (3, 4, 0));
}

#[test]
fn players_that_a_server_closes_because_they_do_not_read_are_told() {
    for (timeout, put_out) in [("300ms", 3), ("0", 0)] {
        let server = Server::start(&["--blocked-timeout", timeout, "--notsent-lowat", "16K"]);
        let flags = ["--players", "2", "--stuck", "3", "--kbps", "20000", "--time", "4"];
        let run = load(server.address(), &flags);
        assert_eq!((run.code(), run.count("put_out")), (Some(0), put_out), "{}", run.text());
        assert_eq!(server.stats()["total"]["closes"]["blocked"], put_out);
        assert_eq!((run.count("joined"), run.count("closed")), (2, 0));
    }
}

#[test]
fn joins_that_a_server_refuses_have_failed() {
    // There is room for the publisher, its player and two guests.
    let server = Server::start(&["--max-connections", "4"]);
    let flags = ["--players", "1", "--storm", "20", "--time", "500ms"];
    let run = load(server.address(), &flags);
    assert_eq!(run.code(), Some(1), "{}", run.text());
    let (joins, failed) = (run.count("storm_joins"), run.count("storm_failed"));
    assert!(joins + failed == 20 && failed >= 10, "{joins} {failed}");
    let failure = run.result["first_failure"].as_str().unwrap();
    assert!(failure.contains("a join of the storm"), "{failure}");
}

#[test]
fn every_kind_of_peer_stands_in_one_run() {
    let server = Server::start(&["--loops", "2"]);
    let flags =
        ["--publishers", "2", "--players", "20", "--stuck", "3", "--slow", "3", "--idle", "7"];
    let more = ["--churn", "20", "--storm", "20", "--time", "2", "--expect-no-gap"];
    let running = Running::start(server.address(), &[&flags[..], &more].concat());
    eventually("players that stay", || Some(server.total("players")).filter(|&it| it >= 26));
    let run = running.wait();
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert_eq!((run.count("joined"), run.count("failed"), run.count("closed")), (27, 0, 0));
    let accepted = 2 + 20 + 3 + 3 + 7 + run.count("churn_joins") + run.count("storm_joins");
    assert_eq!(server.total("accepted"), accepted);
}

#[test]
fn a_run_ends_though_the_stream_is_not_there() {
    let server = Server::start(&["--wait", "300ms"]);
    let run = load(server.address(), &["--publishers", "0", "--players", "2", "--time", "300ms"]);
    assert_eq!(run.code(), Some(1), "{}", run.text());
    assert_eq!((run.count("joined"), run.count("failed")), (0, 2));
}
