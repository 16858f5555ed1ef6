//! Each way a connection can end, provoked: counted under its name, with its line in the log.
mod support;

use std::net::TcpStream;
use std::time::Duration;

use millrace::rtmp::amf0::Writer;
use millrace::rtmp::session::{ClientRole, MediaKind};
use millrace::service::CloseReason;
use millrace::service::close_reason::CLOSE_REASONS;
use rustix::process::Signal;
use socket2::SockRef;
use support::{Client, Server, body};

/// Waits until a connection has been closed for `reason` and the log says so.
fn closed(server: &Server, seen: &mut Vec<&'static str>, reason: &'static str) {
    server.stats_when(reason, |stats| stats["total"]["closes"][reason] != 0);
    let says = [format!("closed: {reason}"), format!("refused: {reason}")];
    server.line(|line| says.iter().any(|words| line.contains(words)));
    seen.push(reason);
}

/// Publishes frames that a player who never reads cannot take in.
fn stuck(server: &Server, path: &str) -> (Client, Client) {
    let mut publisher = Client::publish(server.address(), path);
    publisher.video(0, &body::key(0, 50_000));
    let player = Client::play(server.address(), path);
    for number in 1..100_u32 {
        publisher.video(number * 10, &body::inter(number.into(), 50_000));
    }
    (publisher, player)
}

fn disconnect_command() -> Vec<u8> {
    let mut body = Vec::new();
    Writer::new(&mut body).string(b"disconnect").number(0.0).null();
    let length = u8::try_from(body.len()).unwrap();
    [&[3, 0, 0, 0, 0, 0, length, 20, 0, 0, 0, 0], &body[..]].concat()
}

fn by_peers(seen: &mut Vec<&'static str>) {
    let server = Server::start(&["--no-publisher", "fail"]);
    let address = server.address();
    drop(Client::idle(address));
    closed(&server, seen, "peer_closed");

    let reset = Client::idle(address);
    SockRef::from(&reset.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(reset);
    closed(&server, seen, "socket");

    let mut rude = Client::idle(address);
    rude.raw(&[0xFF; 64]);
    closed(&server, seen, "protocol");

    let mut polite = Client::idle(address);
    polite.raw(&disconnect_command());
    closed(&server, seen, "disconnect");

    Client::begin_play(address, "live/nobody").expect_status("NetStream.Play.StreamNotFound");
    closed(&server, seen, "refused");

    let _first = Client::publish(address, "live/name");
    let mut second = Client::publish(address, "live/name");
    closed(&server, seen, "taken_over");

    second.video(0, &body::key(1, 100));
    let mut player = Client::play(address, "live/name");
    player.message();
    second.end();
    player.expect_end();
    drop(player);
    closed(&server, seen, "stream_ended");
}

fn by_deadlines(seen: &mut Vec<&'static str>) {
    let server = Server::start(&["--handshake-timeout", "300ms"]);
    let _silent = TcpStream::connect(server.address()).unwrap();
    closed(&server, seen, "timeout");

    let server = Server::start(&["--publisher-timeout", "300ms"]);
    let _silent = Client::publish(server.address(), "live/silent");
    closed(&server, seen, "publisher_silent");

    let server = Server::start(&["--blocked-timeout", "300ms", "--notsent-lowat", "16K"]);
    let _stuck = stuck(&server, "live/stuck");
    closed(&server, seen, "blocked");
}

fn by_limits(seen: &mut Vec<&'static str>) {
    for (flag, reason) in [
        ("--max-connections", "too_many_connections"),
        ("--max-per-address", "too_many_from_address"),
    ] {
        let server = Server::start(&[flag, "1"]);
        let _first = Client::idle(server.address());
        let _second = Client::with(server.address(), "live", ClientRole::Idle);
        closed(&server, seen, reason);
    }
    let flags = ["--loops", "1", "--rings", "4", "--max-connections", "10", "--memory", "4M"];
    let server = Server::start(&flags);
    let mut hoarder = Client::publish(server.address(), "live/hoarder");
    let message = hoarder.encode(MediaKind::Video, 0, &body::key(1, 8_000_000));
    hoarder.raw(&message);
    closed(&server, seen, "out_of_memory");
}

#[test]
fn every_close_reason_is_counted_and_logged() {
    let mut seen = Vec::new();
    by_peers(&mut seen);
    by_deadlines(&mut seen);
    by_limits(&mut seen);
    // The stuck player keeps the process alive, so that it can be asked.
    let flags = ["--loops", "1", "--notsent-lowat", "16K", "--blocked-timeout", "0"];
    let server = Server::start(&flags);
    let _stuck = stuck(&server, "live/stuck");
    let idle = Client::idle(server.address());
    server.signal(Signal::TERM);
    drop(idle);
    closed(&server, &mut seen, "shutdown");

    let mut all: Vec<&str> = (0..CLOSE_REASONS).map(CloseReason::name).collect();
    all.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, all, "every reason there is");
}
