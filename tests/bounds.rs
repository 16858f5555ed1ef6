//! Limits hit over real sockets: every bad peer gets a defined end, and its neighbours never notice.
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use millrace::limits::CHUNK_STREAMS_MAX;
use millrace::rtmp::amf0::Writer;
use support::wire::command_body;
use support::{Arrival, Client, LOOPS, Server, Wire, body};

/// A publisher with a player, to see whether anybody notices.
struct Neighbours {
    publisher: Client,
    player: Client,
    next: u64,
}

impl Neighbours {
    fn new(server: &Server) -> Self {
        let mut publisher = Client::publish(server.address(), "live/neighbours");
        publisher.video(0, &body::avc_header(1));
        let player = Client::play(server.address(), "live/neighbours");
        let mut this = Self { publisher, player, next: 0 };
        this.publisher.video(0, &body::key(0, 500));
        assert!(body::is_header(&this.player.message().body));
        assert_eq!(body::number(&this.player.message().body), 0);
        this.notice_nothing();
        this
    }

    fn notice_nothing(&mut self) {
        for _ in 0..5 {
            self.next += 1;
            self.publisher.video(self.next as u32, &body::inter(self.next, 500));
            assert_eq!(body::number(&self.player.message().body), self.next);
        }
    }
}

/// Sends `bytes` on a new connection; how it ends.
fn end_of(server: &Server, bytes: &[u8]) -> Arrival {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = [0; 16];
    match stream.read(&mut answer) {
        Ok(0) => Arrival::Closed,
        Ok(count) => panic!("{:?} came", &answer[..count]),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Arrival::Reset,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn other_protocols_are_closed_at_once_with_nothing_written() {
    for loops in ["1", "3"] {
        // Deadlines that this test does not wait for.
        let server = Server::start(&["--loops", loops, "--handshake-timeout", "300"]);
        let mut neighbours = Neighbours::new(&server);
        let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
        let others: [&[u8]; 7] = [
            &[6],
            &[8],
            &[9],
            b"POST /open/1 HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            &tls,
            &[0],
        ];
        for bytes in others {
            end_of(&server, bytes);
            neighbours.notice_nothing();
        }
        let version = |line: &str| line.contains("closed: protocol (UnsupportedVersion");
        server.line(version);
        let closed = |s: &serde_json::Value| s["total"]["closes"]["protocol"] == others.len();
        server.stats_when("a close each", closed);
    }
}

#[test]
fn a_handshake_and_a_connect_have_a_deadline() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--handshake-timeout", "1"]);
        let mut neighbours = Neighbours::new(&server);
        // Nothing; half a handshake, byte by byte; a handshake without connect.
        let silent = TcpStream::connect(server.address()).unwrap();
        let mut slow = TcpStream::connect(server.address()).unwrap();
        slow.write_all(&[3; 100]).unwrap();
        let mut late = Wire::handshake(TcpStream::connect(server.address()).unwrap());
        assert!(matches!(late.rest().1, Arrival::Closed | Arrival::Reset));
        server.closed_for("timeout (FirstCommand)");
        server.closed_for("timeout (Handshake)");
        server.stats_when("three timeouts", |s| s["total"]["closes"]["timeout"] == 3);
        neighbours.notice_nothing();
        drop((silent, slow));
    }
}

#[test]
fn a_message_above_its_limit_ends_its_sender_only() {
    for loops in LOOPS {
        let flags = ["--loops", loops, "--max-message", "64K"];
        let kinds: [(u8, usize); 4] = [(9, 65_537), (20, 65_537), (18, 1_048_577), (4, 257)];
        let server = Server::start(&flags);
        let mut neighbours = Neighbours::new(&server);
        for (message_type, len) in kinds {
            let mut wire = Wire::connect(server.address());
            let bytes = wire.encode(3, 0, message_type, 0, &vec![0; len]);
            wire.stream.write_all(&bytes[..100]).unwrap();
            assert_eq!(wire.rest().1, Arrival::Closed, "type {message_type}");
            neighbours.notice_nothing();
        }
        server
            .closed_for("protocol (MessageTooLong { message_type: 9, length: 65537, max: 65536 })");
        // As long as allowed.
        let mut wire = Wire::connect(server.address());
        wire.set_chunk_size(65_536);
        wire.send(3, 0, 9, 0, &vec![0; 65_536]);
        assert_eq!(wire.create_stream(), 1);
    }
}

#[test]
fn a_chunk_stream_too_many_ends_the_connection() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut neighbours = Neighbours::new(&server);
        let mut wire = Wire::connect(server.address());
        // 2 and 3 are in use since connect.
        for csid in 4..CHUNK_STREAMS_MAX as u32 + 3 {
            wire.send(csid, 0, 4, 0, &[0; 6]);
        }
        assert_eq!(wire.create_stream(), 1);
        wire.send(200, 0, 4, 0, &[0; 6]);
        wire.send(201, 0, 4, 0, &[0; 6]);
        wire.send(202, 0, 4, 0, &[0; 6]);
        assert!(matches!(wire.rest().1, Arrival::Closed | Arrival::Reset));
        server.closed_for("protocol (TooManyChunkStreams)");
        neighbours.notice_nothing();
    }
}

#[test]
fn a_message_stream_too_many_is_refused_and_the_connection_goes_on() {
    let server = Server::start(&["--loops", "1"]);
    let mut wire = Wire::connect(server.address());
    for msid in 1..=16 {
        assert_eq!(wire.create_stream(), msid);
    }
    wire.command(0, "createStream", |w| {
        w.null();
    });
    let refused = wire.until(|packet| packet.name() == "_error");
    assert_eq!(refused.code(), "NetConnection.Call.Failed");
    wire.command(0, "deleteStream", |w| {
        w.null().number(7.0);
    });
    assert_eq!(wire.create_stream(), 7);
}

#[test]
fn nesting_without_end_ends_the_connection() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut neighbours = Neighbours::new(&server);
        let mut wire = Wire::connect(server.address());
        let mut deep = Vec::new();
        Writer::new(&mut deep).string(b"deep").number(0.0);
        deep.extend([3, 0, 1, b'k'].repeat(10_000));
        wire.set_chunk_size(65_536);
        wire.send(3, 0, 20, 0, &deep);
        assert_eq!(wire.rest().1, Arrival::Closed);
        server.closed_for("protocol (AmfTooDeep)");
        neighbours.notice_nothing();
    }
}

#[test]
fn names_above_their_limit_end_the_connection() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut neighbours = Neighbours::new(&server);
        for name in ["publish", "play"] {
            let mut wire = Wire::connect(server.address());
            let msid = wire.create_stream();
            wire.call(msid, name, &"n".repeat(1025));
            assert_eq!(wire.rest().1, Arrival::Closed, "{name}");
            neighbours.notice_nothing();
        }
        server.closed_for("protocol (NameRefused)");
    }
}

#[test]
fn replies_that_a_peer_does_not_read_stop_its_input() {
    for loops in LOOPS {
        let server =
            Server::start(&["--loops", loops, "--blocked-timeout", "300", "--sndbuf", "8K"]);
        let mut neighbours = Neighbours::new(&server);
        let mut wire = Wire::connect(server.address());
        let before = server.total("bytes_in");
        // Each command is answered with an error that is longer than itself.
        let one = wire.encode(
            3,
            0,
            20,
            0,
            &command_body("chat.send", 9.0, |w| {
                w.null();
            }),
        );
        let flood = one.repeat(200_000);
        wire.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut sent = 0;
        let stuck = loop {
            match wire.stream.write(&flood[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
            assert!(sent < flood.len(), "the server read all of it");
        };
        assert!(matches!(stuck.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stuck}");
        neighbours.notice_nothing();
        let stats = server.stats();
        let taken = stats["total"]["bytes_in"].as_u64().unwrap() - before;
        assert!(taken < 4 << 20, "{taken} bytes taken");
        let used = stats["memory_used"].as_u64().unwrap();
        assert!(used < 1 << 20, "{used} bytes for a peer that does not read");
        // It reads again: every command that was sent whole is answered, in the end.
        let answers = sent / one.len();
        for _ in 0..answers {
            wire.until(|packet| packet.name() == "_error");
        }
    }
}
