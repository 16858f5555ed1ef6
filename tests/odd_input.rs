//! Hundreds of damaged dialogues against one server: each gets a defined end, nobody notices.
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use millrace::rtmp::chunk::{ChunkWriter, MessageHeader};
use millrace::rtmp::message::type_id;
use millrace::rtmp::{Csid, Msid};
use support::wire::command_body;
use support::{Client, PATIENCE, Server, body, is_silence};

const LOOPS: [&str; 2] = ["1", "3"];
const DIALOGUES: u64 = 240;
const HANDSHAKE_BYTES: usize = 1537 + 1536;

/// Every deadline is short: whatever a peer leaves open ends soon.
const FLAGS: &[&str] = &[
    "--handshake-timeout",
    "1",
    "--idle-timeout",
    "1",
    "--publisher-timeout",
    "1",
    "--wait",
    "1",
    "--hold",
    "0.5",
    "--ping-interval",
    "0.7",
    "--blocked-timeout",
    "2",
    "--max-message",
    "1M",
];

/// xorshift64*: the dialogue of a seed is always the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % end.max(1)
    }
}

/// What a good publisher or player writes, in one piece.
fn dialogue(is_publisher: bool) -> Vec<u8> {
    let mut bytes = vec![3];
    bytes.resize(HANDSHAKE_BYTES, 0);
    let mut writer = ChunkWriter::new();
    let mut send = |csid: u32, msid: u32, kind: u8, timestamp: u32, body: &[u8]| {
        let (csid, msid) = (Csid(csid), Msid(msid));
        let header = MessageHeader { csid, timestamp, length: 0, message_type: kind, msid };
        writer.emit(&header, body, &mut bytes);
    };
    let connect = command_body("connect", 1.0, |w| {
        w.object().text("app", b"mutants").text("tcUrl", b"rtmp://localhost/mutants").end();
    });
    send(3, 0, type_id::COMMAND_AMF0, 0, &connect);
    send(2, 0, type_id::WINDOW_ACK_SIZE, 0, &2_500_000_u32.to_be_bytes());
    let create = command_body("createStream", 2.0, |w| {
        w.null();
    });
    send(3, 0, type_id::COMMAND_AMF0, 0, &create);
    let name = if is_publisher { "publish" } else { "play" };
    let start = command_body(name, 3.0, |w| {
        w.null().string(b"m");
    });
    send(8, 1, type_id::COMMAND_AMF0, 0, &start);
    if is_publisher {
        send(4, 1, type_id::DATA_AMF0, 0, &body::metadata());
        send(4, 1, type_id::AUDIO, 0, &body::aac_header());
        send(6, 1, type_id::VIDEO, 0, &body::avc_header(1));
        for number in 1..6_u64 {
            let make = if number == 1 { body::key } else { body::inter };
            send(6, 1, type_id::VIDEO, number as u32 * 40, &make(number, 700));
            send(4, 1, type_id::AUDIO, number as u32 * 40 + 5, &body::audio(number, 90));
        }
    } else {
        send(2, 0, type_id::USER_CONTROL, 0, &[0, 3, 0, 0, 0, 1, 0, 0, 11, 184]);
        let pause = command_body("pause", 4.0, |w| {
            w.null().boolean(true).number(0.0);
        });
        send(8, 1, type_id::COMMAND_AMF0, 0, &pause);
    }
    bytes
}

/// The damaged dialogue of a seed.
fn mutant(seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = dialogue(seed.is_multiple_of(2));
    // Most of the damage lies behind the handshake.
    let from = if random.below(8) == 0 { 0 } else { HANDSHAKE_BYTES };
    for _ in 0..=random.below(4) {
        let at = from + random.below(bytes.len().saturating_sub(from));
        let len = random.below(300).min(bytes.len().saturating_sub(at));
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => {
                let again = bytes[at..at + len].to_vec();
                bytes.splice(at..at, again);
            }
            3 => bytes[at..].iter_mut().take(3).for_each(|byte| *byte = 0xFF),
            4 => drop(bytes.drain(at..at + len)),
            _ => {
                let garbage: Vec<u8> = (0..len * 4).map(|_| random.below(256) as u8).collect();
                bytes.splice(at.., garbage);
            }
        }
    }
    bytes
}

/// Writes a dialogue as far as it is taken; the connection stays open.
fn begin(address: SocketAddr, bytes: &[u8], seed: u64) -> TcpStream {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let cut = (seed as usize * 37) % bytes.len().max(1);
    // A server that has closed already is the defined end.
    let _ = stream.write_all(&bytes[..cut]).and_then(|()| stream.write_all(&bytes[cut..]));
    stream
}

/// Reads until the server ends the connection; false when it does not.
fn ends(stream: &mut TcpStream) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 16 * 1024];
    while Instant::now() < deadline {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if is_silence(&error) => {}
            Err(_) => return true,
        }
    }
    false
}

/// A publisher and a player that check every frame until `is_over`.
fn good_pair(address: SocketAddr, is_over: &AtomicBool) -> u64 {
    let mut publisher = Client::publish(address, "live/good");
    publisher.video(0, &body::avc_header(1));
    publisher.video(0, &body::key(0, 2_000));
    let mut player = Client::play(address, "live/good");
    assert!(body::is_header(&player.message().body));
    let mut number = 0;
    while !is_over.load(Relaxed) {
        assert_eq!(body::number(&player.message().body), number);
        number += 1;
        let make = if number.is_multiple_of(20) { body::key } else { body::inter };
        publisher.video(number as u32 * 5, &make(number, 2_000));
    }
    assert_eq!(body::number(&player.message().body), number);
    number
}

#[test]
fn damaged_dialogues_end_for_a_counted_reason_and_a_good_pair_never_notices() {
    for loops in LOOPS {
        let server = Server::start(&[&["--loops", loops], FLAGS].concat());
        let address = server.address();
        let memory = server.stats()["memory_used"].clone();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let good = scope.spawn(|| good_pair(address, &is_over));
            let mut mutants: Vec<(u64, TcpStream)> =
                (0..DIALOGUES).map(|seed| (seed, begin(address, &mutant(seed), seed))).collect();
            let mut stuck = mutants.iter_mut().filter_map(|(seed, s)| (!ends(s)).then_some(*seed));
            let first = stuck.next();
            is_over.store(true, Relaxed);
            let frames = good.join().unwrap();
            assert_eq!(first, None, "the dialogue of this seed has no end");
            assert!(frames > 100, "the good pair ran beside: {frames} frames");
        });
        let stats = server.stats_when("nobody left", |s| s["total"]["connections"] == 0);
        let closes = stats["total"]["closes"].as_object().unwrap();
        let sum: u64 = closes.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(sum, DIALOGUES + 2, "{closes:?}");
        assert!(closes["protocol"].as_u64().unwrap() > 10, "{closes:?}");
        server.stats_when("all memory given back", |stats| stats["memory_used"] == memory);
    }
}
