//! Flags of timeouts: who is closed when, and who is not.
mod support;

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use millrace::rtmp::session::ClientRole;
use support::{Client, Got, LOOPS, PATIENCE, Server, body};

/// The defaults of the flags tested here are 10 s and more.
const DEFAULT: Duration = Duration::from_secs(9);

#[test]
fn handshake_timeout_closes_silent_peers() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--handshake-timeout", "300ms"]);
        let began = Instant::now();
        let mut silent = TcpStream::connect(server.address()).unwrap();
        silent.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0, "FIN");
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert!(began.elapsed() < DEFAULT);
        server.closed_for("timeout (Handshake)");

        // It holds for connect as well.
        let connected = Client::idle(server.address());
        let mut mute = TcpStream::connect(server.address()).unwrap();
        mute.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::Write::write_all(&mut mute, &[&[3][..], &[0; 2 * 1536]].concat()).unwrap();
        let mut answer = Vec::new();
        mute.read_to_end(&mut answer).unwrap();
        assert_eq!(answer.len(), 1 + 2 * 1536);
        server.closed_for("timeout (FirstCommand)");
        assert_eq!(server.total("connections"), 1, "whoever has connected stays");
        drop(connected);
    }
}

#[test]
fn idle_timeout_closes_idle_connections() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--idle-timeout", "300ms"]);
        let mut publisher = Client::publish(server.address(), "live/busy");
        let began = Instant::now();
        let mut idle = Client::idle(server.address());
        idle.expect_end();
        assert!(began.elapsed() >= Duration::from_millis(300));
        server.closed_for("timeout (Idle)");
        publisher.video(0, &body::key(1, 100));
        assert_eq!(server.total("publishers"), 1, "a publisher is not idle");
    }
}

#[test]
fn publisher_timeout_closes_silent_publishers() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--publisher-timeout", "400ms"]);
        let mut silent = Client::publish(server.address(), "live/silent");
        silent.expect_end();
        server.closed_for("publisher_silent");

        // Others go on as long as they send.
        let mut busy = Client::publish(server.address(), "live/busy");
        let began = Instant::now();
        let mut timestamp = 0;
        while began.elapsed() < Duration::from_millis(900) {
            busy.video(timestamp, &body::key(1, 100));
            timestamp += 1;
            assert_eq!(busy.next_within(Duration::from_millis(20)), None, "nothing is said to it");
        }
    }
}

#[test]
fn blocked_timeout_closes_stuck_players() {
    for loops in LOOPS {
        let server = Server::start(&[
            "--loops",
            loops,
            "--blocked-timeout",
            "400ms",
            "--notsent-lowat",
            "16K",
        ]);
        let mut publisher = Client::publish(server.address(), "live/stuck");
        publisher.video(0, &body::key(0, 50_000));
        let _stuck = Client::play(server.address(), "live/stuck");
        let mut good = Client::play(server.address(), "live/stuck");
        assert_eq!(body::number(&good.message().body), 0);
        for number in 1..200_u32 {
            publisher.video(number, &body::key(number.into(), 50_000));
            assert_eq!(body::number(&good.message().body), u64::from(number));
        }
        let began = Instant::now();
        server.closed_for("blocked");
        assert!(began.elapsed() < DEFAULT);
        publisher.video(200, &body::key(200, 100));
        assert_eq!(body::number(&good.message().body), 200, "who reads is not closed");
    }
}

#[test]
fn ping_interval_pings_and_closes_the_dead() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--ping-interval", "500ms"]);
        let role = ClientRole::Play { name: b"nobody".to_vec() };
        let mut dead = Client::with(server.address(), "live", role);
        dead.expect(&Got::Started);
        let mut alive = Client::play(server.address(), "live/nobody");
        // The living one answers pings because it is read from; the dead one is not.
        let began = Instant::now();
        let closed = || server.lines().iter().any(|line| line.contains("closed: timeout (Ping)"));
        while !closed() {
            assert!(began.elapsed() < PATIENCE, "the dead one is closed");
            let got = alive.next_within(Duration::from_millis(10));
            assert!(matches!(got, None | Some(Got::Message(_))), "nothing ends: {got:?}");
        }
        assert!(began.elapsed() >= Duration::from_millis(500), "after two intervals");
        assert_eq!(server.total("players"), 1, "the one that answers stays");
    }
}
