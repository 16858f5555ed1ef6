//! `millrace-load` against a server: good runs are good, and broken promises are seen.

mod support;

use support::load::{load, millrace_load};
use support::{LOOPS, Server};

#[test]
fn players_get_every_frame_beside_players_that_never_read() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let flags = ["--players", "40", "--stuck", "10", "--verify-every", "4", "--time", "1"];
        let run = load(server.address(), &flags);
        assert_eq!(run.code(), Some(0), "{}", run.text());
        assert_eq!((run.count("joined"), run.count("failed"), run.count("closed")), (40, 0, 0));
        assert_eq!((run.count("stuck"), run.count("verified")), (10, 10));
        assert_eq!((run.count("gaps"), run.count("corrupt")), (0, 0));
        assert!(run.count("verified_messages") > 0 && run.count("latency_samples") > 0);
    }
}

#[test]
fn an_flv_file_is_published_and_checked() {
    let server = Server::start(&[]);
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/src/net/demo.flv");
    let flags = ["--flv", clip, "--players", "4", "--verify-every", "1", "--time", "1"];
    let run = load(server.address(), &flags);
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert!(run.count("verified_messages") > 0);
}

#[test]
fn idle_connections_connect_and_stay() {
    let server = Server::start(&[]);
    let run = load(server.address(), &["--idle", "50", "--sources", "3", "--time", "200ms"]);
    assert_eq!(run.code(), Some(0), "{}", run.text());
    assert_eq!(server.total("accepted"), 50);
}

#[test]
fn idle_connections_that_are_closed_are_seen() {
    let server = Server::start(&["--idle-timeout", "100ms"]);
    let run = load(server.address(), &["--idle", "5", "--time", "4"]);
    assert_eq!((run.code(), run.count("closed")), (Some(1), 5), "{}", run.text());
}

#[test]
fn a_publisher_that_is_refused_ends_the_load_with_the_reason() {
    let server = Server::start(&["--app", "other"]);
    let run = load(server.address(), &[]);
    assert_eq!(run.code(), Some(1));
    assert!(run.text().contains("NetConnection.Connect."), "{}", run.text());
}

#[test]
fn bad_flags_of_the_load_are_refused_in_one_sentence() {
    for flags in [&["--players", "many"][..], &["--time", "-1"], &["stray"], &["--nothing"]] {
        let output = millrace_load(flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{flags:?}");
    }
}
