//! Flags of what the process writes.
mod support;

use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;
use support::{Client, Server};

fn millrace(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace")).args(flags).output().unwrap()
}

#[test]
fn statistics_come_by_interval_and_signal_in_both_formats() {
    let is_table = |line: &str| line.starts_with("loop connections publishers players");
    let table = Server::start(&["--stats-format", "table"]);
    table.signal(Signal::USR1);
    table.line(is_table);
    table.line(|line| line.starts_with(" all "));

    let json = Server::start(&["--stats-format", "json"]);
    let stats = json.stats();
    assert_eq!(stats["total"]["connections"], 0);
    assert!(!json.lines().iter().any(|line| is_table(line)), "no table with JSON");

    let often = Server::start(&["--stats-format", "json", "--stats-interval", "100ms"]);
    let at = |line: &str| serde_json::from_str::<Value>(line).unwrap()["at_ms"].as_u64().unwrap();
    let mut seen = 0;
    let mut last = 0;
    for _ in 0..3 {
        let line = often.line_after(seen, |line| line.starts_with('{'));
        seen = often.lines().iter().position(|other| *other == line).unwrap() + 1;
        assert!(at(&line) >= last + 100, "not before the interval is over");
        last = at(&line);
    }
}

#[test]
fn log_wins_over_rust_log() {
    let logs = |flags: &[&str], filter: &str| {
        let server = Server::start_with(flags, |command| {
            command.env("RUST_LOG", filter);
        });
        drop(Client::idle(server.address()));
        server.stats_when("the end", |stats| stats["total"]["closes"]["peer_closed"] == 1);
        let lines = server.lines();
        assert!(lines[0].contains("listening on"), "shown at every level: {lines:?}");
        assert!(lines[1].contains(" loops "), "shown at every level: {lines:?}");
        lines.iter().any(|line| line.contains("closed: peer_closed"))
    };
    assert!(!logs(&[], "error"), "RUST_LOG is honoured");
    assert!(logs(&["--log", "info"], "error"), "--log wins");
    assert!(!logs(&["--log", "error"], "info"), "--log wins");
    assert!(!logs(&["--log", "info,millrace::net=off"], "info"), "--log takes filters");
    assert!(logs(&[], "info"));
}

#[test]
fn version_and_help_are_printed() {
    let version = millrace(&["--version"]);
    let text = String::from_utf8(version.stdout).unwrap();
    assert_eq!(text, format!("millrace {}\n", env!("CARGO_PKG_VERSION")));
    assert!(version.status.success());
    let help = millrace(&["--help"]);
    assert_eq!(String::from_utf8(help.stdout).unwrap(), millrace::cli::flags::help());
    assert!(help.status.success());
}
