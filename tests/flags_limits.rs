//! Flags of limits: who is refused, how, and that the others stay.
mod support;

use std::net::{SocketAddr, TcpStream};

use millrace::rtmp::session::{ClientRole, MediaKind};
use socket2::{Domain, Socket, Type};
use support::{Client, Got, LOOPS, Server, body};

/// A connection from another loopback address.
fn from(source: &str, server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let source: SocketAddr = format!("{source}:0").parse().unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&server.address().into()).unwrap();
    socket.into()
}

#[test]
fn connection_limits_refuse() {
    for loops in LOOPS {
        for (flag, reason) in [
            ("--max-connections", "too_many_connections"),
            ("--max-per-address", "too_many_from_address"),
        ] {
            let server = Server::start(&["--loops", loops, flag, "2"]);
            let first = Client::idle(server.address());
            let second = Client::idle(server.address());
            let mut third = Client::with(server.address(), "live", ClientRole::Idle);
            third.expect_end();
            server.stats_when("the refusal", |stats| stats["total"]["closes"][reason] == 1);
            server.line(|line| line.contains(&format!("refused: {reason}")));
            let mut other = Client::on(from("127.0.0.2", &server), "live", ClientRole::Idle);
            if flag == "--max-per-address" {
                other.expect(&Got::Connected);
            } else {
                other.expect_end();
            }
            // Room again once one has gone.
            drop(first);
            server.stats_when("the end of one", |s| s["total"]["closes"]["peer_closed"] == 1);
            Client::idle(server.address());
            drop(second);
        }
    }
}

#[test]
fn stream_limits_refuse_with_a_status() {
    for loops in LOOPS {
        let rejected = "NetStream.Publish.Rejected";
        let server = Server::start(&["--loops", loops, "--max-publishers", "1"]);
        let mut publisher = Client::publish(server.address(), "live/one");
        Client::begin_publish(server.address(), "live/two").expect_status(rejected);
        publisher.end();
        server.stats_when("the end", |stats| stats["total"]["publishers"] == 0);
        Client::publish(server.address(), "live/two");

        let server = Server::start(&["--loops", loops, "--max-streams", "2"]);
        let _publisher = Client::publish(server.address(), "live/one");
        let waiting = Client::play(server.address(), "live/two");
        let mut player = Client::begin_play(server.address(), "live/three");
        player.expect_status("NetStream.Play.Failed");
        Client::begin_publish(server.address(), "live/three").expect_status(rejected);
        Client::play(server.address(), "live/one");
        drop(waiting);
        server.stats_when("the end", |stats| stats["total"]["players"] == 0);
        Client::play(server.address(), "live/three");
    }
}

#[test]
fn max_message_closes_the_sender_of_a_longer_one() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--max-message", "64K"]);
        let mut good = Client::publish(server.address(), "live/good");
        let mut player = Client::play(server.address(), "live/good");
        good.video(0, &body::key(1, 64 << 10));
        assert_eq!(body::number(&player.message().body), 1);
        let mut bad = Client::publish(server.address(), "live/bad");
        let bytes = bad.encode(MediaKind::Video, 0, &body::key(1, (64 << 10) + 1));
        // The server may close before it has taken everything.
        bad.raw(&bytes);
        bad.expect_end();
        server.closed_for("protocol (MessageTooLong");
        good.video(40, &body::key(2, 100));
        assert_eq!(body::number(&player.message().body), 2, "others do not notice");
    }
}

const SMALL: [&str; 10] = [
    "--loops",
    "1",
    "--rings",
    "4",
    "--mailbox",
    "16",
    "--max-connections",
    "100",
    "--max-message",
    "8M",
];

#[test]
fn memory_bounds_what_is_taken_and_refuses_before_it_is_full() {
    for (memory, is_full) in [("4M", true), ("64M", false)] {
        let server = Server::start(&[&SMALL[..], &["--memory", memory]].concat());
        let mut hoarder = Client::publish(server.address(), "live/hoarder");
        let bytes = hoarder.encode(MediaKind::Video, 0, &body::key(1, 8_000_000));
        // An unfinished message of nearly all that a server with 4M has.
        let max = server.stats()["memory_max"].as_u64().unwrap();
        let sent = usize::try_from(max * 96 / 100).unwrap().min(3_800_000);
        assert!(hoarder.raw(&bytes[..sent]));
        let stats = server.stats_when("what was sent", |stats| {
            stats["loops"][0]["streams"][0]["bytes_in"].as_u64().unwrap() > sent as u64 - 70_000
        });
        assert!(stats["memory_peak"].as_u64().unwrap() <= max, "never above: {stats}");
        assert!(stats["memory_used"].as_u64().unwrap() >= sent as u64 * 9 / 10, "{stats}");
        let mut publisher = Client::begin_publish(server.address(), "live/late");
        let mut player = Client::begin_play(server.address(), "live/late");
        if is_full {
            publisher.expect_status("NetStream.Publish.Rejected");
            player.expect_status("NetStream.Play.Failed");
        } else {
            publisher.expect(&Got::Started);
            player.expect(&Got::Started);
        }
    }
}
