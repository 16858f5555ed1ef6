//! Budgets of a turn: what they leave undone is done later, and nothing is lost on the way.
mod support;

use std::io::Write;
use std::net::Shutdown;
use std::thread;

use millrace::limits::{GENERATION_MAX, READS_PER_TURN, WRITE_BYTES_MAX, WRITE_SLICES_MAX};
use millrace::net::slots::{Slot, connection_id, find, token};
use millrace::rtmp::session::MediaKind;
use millrace::service::publisher::ConnectionId;
use rustix::process::Signal;
use slab::Slab;
use support::{Client, LOOPS, Server, Wire, body};

/// Metadata, headers and `count` video frames of `len` bytes, a keyframe first, as one stretch.
fn stretch(publisher: &mut Client, count: u64, len: usize) -> Vec<u8> {
    let mut bytes = publisher.encode(MediaKind::Video, 0, &body::avc_header(1));
    for number in 0..count {
        let body = if number == 0 { body::key(0, len) } else { body::inter(number, len) };
        bytes.extend(publisher.encode(MediaKind::Video, number as u32, &body));
    }
    bytes
}

/// The player gets the header and all `count` frames, in order.
fn expect_all(player: &mut Client, count: u64) {
    assert!(body::is_header(&player.message().body));
    for number in 0..count {
        assert_eq!(body::number(&player.message().body), number);
    }
}

#[test]
fn what_the_turn_budget_leaves_is_read_in_later_turns() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--turn-bytes", "4K", "--ring-bytes", "4K"]);
        let mut publisher = Client::publish(server.address(), "live/turns");
        let mut player = Client::play(server.address(), "live/turns");
        let bytes = stretch(&mut publisher, 300, 5_000);
        let reader = thread::spawn(move || expect_all(&mut player, 300));
        assert!(publisher.raw(&bytes));
        reader.join().unwrap();
        assert!(server.total("turns") > 300, "4 KiB a turn");
    }
}

#[test]
fn a_fin_behind_data_loses_none_of_it() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--turn-bytes", "4K"]);
        for round in 0..20 {
            let path = format!("live/fin{round}");
            let mut publisher = Client::publish(server.address(), &path);
            let mut player = Client::play(server.address(), &path);
            let bytes = stretch(&mut publisher, 50, 1_000);
            assert!(publisher.raw(&bytes));
            publisher.stream.shutdown(Shutdown::Write).unwrap();
            expect_all(&mut player, 50);
            // The end was seen too: the server closes its side.
            publisher.expect_end();
        }
        server.stats_when("all ends", |s| s["total"]["connections"] == 0);
    }
}

#[test]
fn connections_take_turns_when_there_is_one_ring() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--rings", "1"]);
        let address = server.address();
        let pair = |index: usize| {
            let path = format!("live/ring{index}");
            let mut publisher = Client::publish(address, &path);
            let mut player = Client::play(address, &path);
            // More messages than a turn handles: the rest stays in the only ring.
            let bytes = stretch(&mut publisher, 4_000, 20);
            thread::spawn(move || {
                assert!(publisher.raw(&bytes));
                expect_all(&mut player, 4_000);
                publisher
            })
        };
        let pairs: Vec<_> = (0..6).map(pair).collect();
        for pair in pairs {
            pair.join().unwrap();
        }
    }
}

#[test]
fn an_empty_pool_of_rings_is_counted_and_nobody_is_forgotten() {
    let server = Server::start(&["--loops", "1", "--rings", "1"]);
    let mut flooder = Client::publish(server.address(), "live/flood");
    let flood = flooder.encode(MediaKind::Audio, 0, &[0xAF, 1]).repeat(300_000);
    let sender = thread::spawn(move || {
        assert!(flooder.raw(&flood));
        flooder
    });
    // All of these need the ring that the flood's rest lies in.
    for _ in 0..30 {
        drop(Client::idle(server.address()));
    }
    server.stats_when("a pool without a ring", |s| {
        s["total"]["rings_exhausted"].as_u64().unwrap() > 0
    });
    let _flooder = sender.join().unwrap();
    server
        .stats_when("the whole flood", |s| s["loops"].to_string().contains("\"frames_in\":300000"));
}

#[test]
fn tiny_messages_beyond_a_turn_are_handled_in_later_turns() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops]);
        let mut publisher = Client::publish(server.address(), "live/tiny");
        let mut player = Client::play(server.address(), "live/tiny");
        let bytes = stretch(&mut publisher, 5_000, 13);
        let before = server.total("turns");
        assert!(publisher.raw(&bytes));
        expect_all(&mut player, 5_000);
        assert!(server.total("turns") - before >= 5, "at most 1024 messages a turn");
    }
}

#[test]
fn more_readers_than_a_turn_takes_all_get_theirs() {
    for loops in LOOPS {
        let server = Server::start(&["--loops", loops, "--idle-timeout", "300"]);
        // A wire has nothing left to say when its connect is answered: the count is exact.
        let mut clients: Vec<Wire> =
            (0..2 * READS_PER_TURN).map(|_| Wire::connect(server.address())).collect();
        for round in 1..=3 {
            let before = server.total("bytes_in");
            for client in &mut clients {
                // An acknowledgement of 4 bytes.
                let bytes = [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, round];
                client.stream.write_all(&bytes).unwrap();
            }
            let all = before + clients.len() as u64 * 16;
            server.stats_when("every reader", |s| s["total"]["bytes_in"].as_u64() == Some(all));
        }
    }
}

#[test]
fn what_a_connection_sent_is_under_way_before_the_next_is_read() {
    const STREAMS: usize = 24;
    const BURST: u64 = 8;
    // One burst fits into half a mailbox, all of them do not fit into a whole one.
    let server = Server::start(&["--loops", "2", "--mailbox", "64"]);
    // Connections go to the two loops in turn: publishers to the first, players to the second.
    let mut streams: Vec<(Client, Client)> = Vec::new();
    for index in 0..STREAMS {
        let path = format!("live/way{index}");
        let mut publisher = Client::publish(server.address(), &path);
        publisher.video(0, &body::key(0, 100));
        let mut player = Client::play(server.address(), &path);
        assert_eq!(body::number(&player.message().body), 0);
        streams.push((publisher, player));
    }
    assert_eq!(server.stats()["loops"][0]["publishers"], STREAMS);
    // All bursts are there when the loop wakes up: it reads them in one turn, if nothing stops it.
    server.signal(Signal::STOP);
    for (publisher, _) in &mut streams {
        let mut burst = Vec::new();
        for number in 1..=BURST {
            let body = body::inter(number, 100);
            burst.extend(publisher.encode(MediaKind::Video, number as u32, &body));
        }
        assert!(publisher.raw(&burst));
    }
    server.signal(Signal::CONT);
    for (_, player) in &mut streams {
        for number in 1..=BURST {
            assert_eq!(body::number(&player.message().body), number);
        }
    }
    assert_eq!(server.total("lost_frames"), 0);
}

#[test]
fn a_write_takes_so_many_slices_and_bytes_and_the_rest_follows() {
    for (count, len) in [(1_000, 100), (100, 20_000)] {
        let server = Server::start(&["--loops", "1", "--notsent-lowat", "0", "--sndbuf", "4M"]);
        let mut publisher = Client::publish(server.address(), "live/writes");
        let bytes = stretch(&mut publisher, count, len);
        assert!(publisher.raw(&bytes));
        let all = format!("\"frames_in\":{}", count + 1);
        server.stats_when("all frames", |s| s["loops"].to_string().contains(&all));
        let before = server.total("writes");
        let mut player = Client::play(server.address(), "live/writes");
        expect_all(&mut player, count);
        let made = server.total("writes") - before;
        let by_bytes = count * len as u64 / WRITE_BYTES_MAX as u64;
        let least = by_bytes.max(count / WRITE_SLICES_MAX as u64);
        assert!(made >= least, "{made} writes for {count} frames of {len} bytes");
    }
}

#[test]
fn an_acknowledgement_sends_nothing_that_waits_for_its_time() {
    let server = Server::start(&["--loops", "1", "--flush-ms", "10000"]);
    let mut publisher = Client::publish(server.address(), "live/ack");
    publisher.video(0, &body::key(0, 100));
    let mut player = Client::play(server.address(), "live/ack");
    assert_eq!(body::number(&player.message().body), 0);
    publisher.audio(10, &body::audio(1, 100));
    server.has_frames("live/ack", 2);
    let (read, writes) = (server.total("bytes_in"), server.total("writes"));
    let bytes = [2, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 1];
    assert!(player.raw(&bytes));
    server.stats_when("it is read", |s| s["total"]["bytes_in"] == read + bytes.len() as u64);
    assert_eq!(server.total("writes"), writes, "audio waits for video");
    publisher.video(20, &body::inter(2, 100));
    assert_eq!(body::number(&player.message().body), 1);
    assert_eq!(body::number(&player.message().body), 2);
}

struct Tenant {
    generation: u32,
}

impl Slot for Tenant {
    fn generation(&self) -> u32 {
        self.generation
    }
}

#[test]
fn a_stale_generation_finds_nobody() {
    let mut slots = Slab::new();
    let first = ConnectionId::new(slots.insert(Tenant { generation: 1 }), 1);
    assert!(find(&mut slots, first).is_some());
    slots.remove(first.slot());
    assert!(find(&mut slots, first).is_none(), "the slot is empty");
    let second = ConnectionId::new(slots.insert(Tenant { generation: 2 }), 2);
    assert_eq!(second.slot(), first.slot());
    assert!(find(&mut slots, first).is_none(), "somebody else lives there now");
    assert!(find(&mut slots, second).is_some());
}

#[test]
fn a_token_carries_slot_and_generation_and_is_never_a_listeners() {
    for generation in [0, 1, GENERATION_MAX - 1, GENERATION_MAX] {
        for slot in [0, 7, 0xFFFF_FFFF] {
            let id = ConnectionId::new(slot, generation);
            assert_eq!(connection_id(token(id)), id);
            // Listeners and the waker have the largest numbers.
            assert!(token(id).0 < usize::MAX - 65_536, "{id:?}");
        }
    }
}

#[test]
fn a_connection_in_a_slot_used_again_is_closed_by_its_own_deadline_only() {
    let server = Server::start(&["--loops", "1", "--handshake-timeout", "2"]);
    let silent = || std::net::TcpStream::connect(server.address()).unwrap();
    for _ in 0..5 {
        drop(silent());
    }
    server.stats_when("five ends", |s| s["total"]["closes"]["peer_closed"] == 5);
    // The same slots, while the old entries of the timer wheel are still there.
    let idle: Vec<Client> = (0..5).map(|_| Client::idle(server.address())).collect();
    let _sixth = silent();
    server.closed_for("timeout (Handshake)");
    // Whoever has shaken hands stays: only the silent one is gone.
    let stats = server.stats();
    assert_eq!(stats["total"]["connections"], idle.len());
    assert_eq!(stats["total"]["closes"]["peer_closed"], 5);
}

/// INVARIANT (N7): the loop reads the clock after poll and after each flush slice, nowhere else.
#[test]
fn the_clock_is_read_after_poll_and_after_a_flush_slice_only() {
    let folder = format!("{}/src/net/event_loop", env!("CARGO_MANIFEST_DIR"));
    let mut readers = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut function = "";
        for line in text.lines().map(str::trim) {
            if let Some((_, rest)) = line.split_once("fn ") {
                function = rest.split('(').next().unwrap();
            }
            let reads = ["Instant::now()", ".elapsed()", "SystemTime", "read_clock()"];
            if reads.iter().any(|read| line.contains(read)) && !line.contains("fn ") {
                readers.push(function.to_owned());
            }
        }
    }
    readers.sort();
    assert_eq!(readers, ["flush_due", "read_clock", "run", "turn"]);
}
