//! The end: signals, what publishers and players are told, the grace time, exit codes.
mod support;

use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use millrace::net::server::{exit_on_panic, fatal};
use millrace::rtmp::session::MediaKind;
use rustix::process::Signal;
use support::{Client, Got, Server, body, eventually};

const LOST: &str = "NetStream.Play.UnpublishNotify";

#[test]
fn publishers_and_players_get_their_status_then_the_process_ends_with_0() {
    for (signal, loops) in [(Signal::TERM, "1"), (Signal::INT, "3")] {
        let mut server = Server::start(&["--loops", loops, "--hold", "60"]);
        let mut publisher = Client::publish(server.address(), "live/end");
        publisher.video(0, &body::key(1, 5_000));
        let mut players: Vec<Client> =
            (0..4).map(|_| Client::play(server.address(), "live/end")).collect();
        for player in &mut players {
            assert_eq!(body::number(&player.message().body), 1);
        }
        let mut waiting = Client::play(server.address(), "live/nobody");
        let mut idle = Client::idle(server.address());
        let mut mute = TcpStream::connect(server.address()).unwrap();
        server.stats_when("all", |stats| stats["total"]["connections"] == 8);
        server.signal(signal);
        publisher.expect_status("NetStream.Unpublish.Success");
        assert_eq!(publisher.expect_end(), Got::Closed);
        for player in players.iter_mut().chain([&mut waiting]) {
            player.expect(&Got::StreamEof);
            player.expect_status(LOST);
            assert_eq!(player.expect_end(), Got::Closed);
        }
        assert_eq!(idle.expect_end(), Got::Closed);
        assert_eq!(mute.read(&mut [0]).unwrap(), 0);
        drop((publisher, players, waiting, idle, mute));
        assert_eq!(server.wait().code(), Some(0));
        let lines = server.lines();
        let ended = lines.iter().filter(|line| line.contains("closed: shutdown")).count();
        assert_eq!(ended, 8, "one line for the end of each session: {lines:#?}");
    }
}

/// A server with a player that reads nothing and has much to get.
fn with_stuck_player(flags: &[&str]) -> (Server, Client, Client) {
    let server = Server::start(&[&["--loops", "1", "--notsent-lowat", "16K"], flags].concat());
    let mut publisher = Client::publish(server.address(), "live/stuck");
    publisher.video(0, &body::key(0, 50_000));
    let player = Client::play(server.address(), "live/stuck");
    for number in 1..100_u32 {
        publisher.video(number * 10, &body::inter(number.into(), 50_000));
    }
    server.stats_when("100 frames", |s| s.to_string().contains("\"frames_in\":100"));
    (server, publisher, player)
}

#[test]
fn a_player_in_mid_frame_gets_whole_frames_and_then_its_status() {
    let (mut server, mut publisher, mut player) = with_stuck_player(&[]);
    server.signal(Signal::TERM);
    // The publisher has gone before the player has read anything.
    publisher.expect_end();
    drop(publisher);
    assert_eq!(server.total("players"), 1);
    for number in 0..100 {
        assert_eq!(body::number(&player.message_of(MediaKind::Video).body), number);
    }
    player.expect(&Got::StreamEof);
    player.expect_status(LOST);
    assert_eq!(player.expect_end(), Got::Closed);
    drop(player);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn new_sessions_are_refused_while_old_ones_end() {
    let (server, _publisher, _player) = with_stuck_player(&[]);
    Client::idle(server.address());
    server.signal(Signal::INT);
    eventually("no listener", || match TcpStream::connect(server.address()) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(()),
        _ => None,
    });
    assert_eq!(server.total("players"), 1, "who is there may stay for the grace time");
}

#[test]
fn grace_bounds_the_end() {
    for grace in ["0", "600ms"] {
        let (mut server, _publisher, _player) = with_stuck_player(&["--grace", grace]);
        let began = Instant::now();
        server.signal(Signal::TERM);
        assert_eq!(server.wait().code(), Some(0));
        // The stuck player keeps it until then, and no longer; by default it would be 10 s.
        assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
        if grace != "0" {
            assert!(began.elapsed() >= Duration::from_millis(600), "{:?}", began.elapsed());
        }
        let closed = server.lines().iter().filter(|l| l.contains("closed: shutdown")).count();
        assert_eq!(closed, 2, "both ends are logged, also the cut one: {:#?}", server.lines());
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for (first, second, code) in
        [(Signal::TERM, Signal::TERM, 143), (Signal::TERM, Signal::INT, 130)]
    {
        let (mut server, _publisher, _player) = with_stuck_player(&["--grace", "3600"]);
        server.signal(first);
        server.line(|line| line.contains("shutting down"));
        server.signal(second);
        assert_eq!(server.wait().code(), Some(code));
        server.line(|line| line.contains("ended at once by a second signal"));
    }
}

#[test]
fn sighup_does_nothing() {
    let mut server = Server::start(&[]);
    for _ in 0..3 {
        server.signal(Signal::HUP);
    }
    let mut publisher = Client::publish(server.address(), "live/hup");
    publisher.video(0, &body::key(1, 100));
    let mut player = Client::play(server.address(), "live/hup");
    assert_eq!(body::number(&player.message().body), 1);
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

/// What the child of the next test is to do; the test itself runs without it.
const ROLE: &str = "MILLRACE_TEST_FAILURE";

#[test]
fn a_panic_or_fatal_error_in_any_thread_ends_the_process_with_70() {
    match std::env::var(ROLE).as_deref() {
        Ok("panic") => {
            exit_on_panic();
            let thread = std::thread::spawn(|| assert_eq!(1, 2, "a loop has a fault"));
            // Nothing of this may be reached.
            let _ = thread.join();
            std::process::exit(0);
        }
        Ok(_) => fatal("loop 1 failed: bad file descriptor"),
        Err(_) => {}
    }
    for (role, words) in
        [("panic", "a loop has a fault"), ("error", "fatal: loop 1 failed: bad file descriptor")]
    {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("a_panic_or_fatal_error_in_any_thread_ends_the_process_with_70")
            .env(ROLE, role)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(70), "{text}");
        assert!(text.contains(words), "{text}");
    }
}
