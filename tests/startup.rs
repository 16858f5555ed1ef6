//! What a player's start-up time is made of: acknowledgements at once, replies in one write.
//! `scripts/startup.sh` measures the time itself with real players.
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use millrace::rtmp::amf0::Writer;
use support::wire::Wire;
use support::{Client, PATIENCE, Server, body, eventually};

/// Less than a delayed acknowledgement takes on Linux (40 ms).
const NOT_DELAYED: Duration = Duration::from_millis(35);

/// A write of this size is one segment on loopback, and one read of the peer takes all of it.
#[test]
fn replies_to_one_input_leave_in_one_write() {
    let server = Server::start(&["--loops", "1"]);
    let mut publisher = Client::publish(server.address(), "live/one");
    publisher.video(0, &body::avc_header(1));
    publisher.video(0, &body::key(1, 3_000));
    publisher.video(40, &body::inter(2, 1_000));
    server.stats_when("three frames", |s| s["loops"].to_string().contains("\"frames_in\":3"));
    for _ in 0..100 {
        let stream = TcpStream::connect_timeout(&server.address(), PATIENCE).unwrap();
        let mut player = Wire::handshake(stream);
        player.command(0, "connect", |writer| {
            writer.object().text("app", b"live").end();
        });
        assert_ends_with(&one_read(&mut player.stream), b"\0\0\x09", "connect");
        player.set_chunk_size(60_000);
        player.command(0, "createStream", |writer| {
            writer.null();
        });
        one_read(&mut player.stream);
        player.command(1, "play", |writer| {
            writer.null().string(b"one");
        });
        assert_ends_with(&one_read(&mut player.stream), &body::inter(2, 1_000), "play");
    }
}

fn assert_ends_with(bytes: &[u8], end: &[u8], what: &str) {
    assert!(bytes.ends_with(end), "{what}: {} bytes came first", bytes.len());
}

fn one_read(stream: &mut TcpStream) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let len = eventually("an answer", || stream.read(&mut buffer).ok());
    buffer.truncate(len);
    buffer
}

/// Clients write their commands in small pieces with Nagle's algorithm on: every piece waits for
/// the acknowledgement of the one before. The fastest of some tries is looked at, which a slow
/// machine does not change: where acknowledgements are delayed, none is fast.
#[test]
fn small_writes_are_acknowledged_at_once_until_media_starts() {
    let server = Server::start(&["--loops", "1"]);
    let fastest =
        (0..50).map(|_| connect_in_small_writes(server.address())).find(|time| *time < NOT_DELAYED);
    assert!(fastest.is_some(), "every connect waits for a delayed acknowledgement");
}

/// How long handshake and connect take in pieces of 20 bytes.
fn connect_in_small_writes(address: SocketAddr) -> Duration {
    let mut connect = Vec::new();
    let mut amf = Writer::new(&mut connect);
    amf.string(b"connect").number(1.0).object().key(b"app").string(b"live").end();
    let header = [3, 0, 0, 0, 0, 0, connect.len() as u8, 20, 0, 0, 0, 0];
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let start = Instant::now();
    let mut c0_c1 = [0; 1537];
    c0_c1[0] = 3;
    stream.write_all(&c0_c1).unwrap();
    let mut answer = [0; 3073];
    stream.read_exact(&mut answer).unwrap();
    stream.write_all(&answer[1..1537]).unwrap();
    stream.write_all(&header).unwrap();
    for piece in connect.chunks(20) {
        stream.write_all(piece).unwrap();
    }
    stream.read_exact(&mut [0; 1]).unwrap();
    start.elapsed()
}
