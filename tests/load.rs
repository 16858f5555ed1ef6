//! `millrace-load` against a server: good runs are good, and broken promises are seen.

mod support;

use std::net::SocketAddr;
use std::process::{Command, Output};

use serde_json::Value;
use support::Server;

fn load(address: SocketAddr, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace-load"));
    command.args(["--server", &address.to_string(), "--json", "-"]).args(flags).output().unwrap()
}

/// The line for programs.
fn summary(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no summary: {output:?}"))).unwrap()
}

#[test]
fn players_get_every_frame_beside_players_that_never_read() {
    for loops in ["1", "3"] {
        let server = Server::start(&["--loops", loops]);
        let flags = ["--players", "40", "--stuck", "10", "--verify-every", "4", "--time", "1"];
        let output = load(server.address(), &flags);
        let summary = summary(&output);
        assert!(output.status.success(), "{summary}");
        let figure = |name: &str| summary[name].as_u64().unwrap();
        assert_eq!((figure("joined"), figure("failed"), figure("closed")), (40, 0, 0));
        assert_eq!((figure("stuck"), figure("verified")), (10, 10));
        assert_eq!((figure("gaps"), figure("corrupt")), (0, 0));
        assert!(figure("verified_messages") > 0 && figure("latency_samples") > 0);
    }
}

#[test]
fn an_flv_file_is_published_and_checked() {
    let server = Server::start(&[]);
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/src/net/demo.flv");
    let flags = ["--flv", clip, "--players", "4", "--verify-every", "1", "--time", "1"];
    let output = load(server.address(), &flags);
    assert!(output.status.success(), "{output:?}");
    assert!(summary(&output)["verified_messages"].as_u64() > Some(0));
}

#[test]
fn frames_that_are_left_out_are_seen() {
    // In this mode a joiner gets no video from the cached keyframe to the next one.
    let server = Server::start(&["--gop-cache", "keyframe"]);
    let flags = ["--players", "20", "--connect-rate", "10", "--time", "1", "--expect-no-gap"];
    let output = load(server.address(), &flags);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(summary(&output)["gaps"].as_u64() > Some(0));
}

#[test]
fn idle_connections_connect_and_stay() {
    let server = Server::start(&[]);
    let output = load(server.address(), &["--idle", "50", "--sources", "3", "--time", "200ms"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(server.total("accepted"), 50);
}

#[test]
fn idle_connections_that_are_closed_are_seen() {
    let server = Server::start(&["--idle-timeout", "100ms"]);
    let output = load(server.address(), &["--idle", "5", "--time", "4"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(summary(&output)["closed"].as_u64(), Some(5));
}

#[test]
fn a_publisher_that_is_refused_ends_the_load_with_the_reason() {
    let server = Server::start(&["--app", "other"]);
    let output = load(server.address(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("NetConnection.Connect."), "{complaint}");
}

#[test]
fn bad_flags_of_the_load_are_refused_in_one_sentence() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    for flags in [&["--players", "many"][..], &["--time", "-1"], &["stray"], &["--nothing"]] {
        let output = load(address, flags);
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{flags:?}");
    }
}
