//! Control messages, acknowledgements and deadlines; client and server sessions joined in memory
//! under simulated time.
mod support;

use std::sync::Arc;

use millrace::budget::Budget;
use millrace::rtmp::message::control;
use millrace::rtmp::session::{
    ClientConfig, ClientEvent, ClientRole, ClientSession, Event, MediaKind, ServerSession, Status,
    Timeout,
};
use millrace::rtmp::{Msid, ProtocolError};
use millrace::time::Millis;
use support::session::{call, config, connect, connected_peer, cuts, feed, raw, replies};
use support::{hex, vectors};

/// What a connected server answers to control messages.
fn control_replies(bytes: &[u8]) -> Vec<String> {
    let mut first = None;
    for parts in cuts(bytes) {
        let (mut session, mut out) = (connected_peer(60_000), Vec::new());
        feed(&mut session, &connect("live"), &mut out).unwrap();
        out.clear();
        for part in parts {
            assert!(feed(&mut session, part, &mut out).unwrap().is_empty());
        }
        // The session goes on.
        feed(&mut session, &call("3/0 createStream 2 null"), &mut out).unwrap();
        let mut texts = replies(&out);
        assert_eq!(texts.pop().unwrap(), "3/0/20 _result 2 null 1");
        assert_eq!(*first.get_or_insert(texts.clone()), texts);
    }
    first.unwrap()
}

#[test]
fn every_control_message_of_the_vectors_is_understood_or_ignored() {
    let file = vectors("control.json");
    for case in file["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let expected: &[&str] = if name == "ping_request" { &["2/0/4 000700000d0f"] } else { &[] };
        assert_eq!(control_replies(&hex(case["wire"].as_str().unwrap())), expected, "{name}");
    }
}

#[test]
fn every_control_message_is_emitted_byte_for_byte() {
    let file = vectors("control.json");
    let mut emitted = 0;
    for case in file["cases"].as_array().unwrap() {
        let payload = hex(case["payload"].as_str().unwrap());
        let kind = u8::try_from(case["type"].as_u64().unwrap()).unwrap();
        let mut out = Vec::new();
        control::emit(kind, &payload, &mut out);
        let wire = hex(case["wire"].as_str().unwrap());
        assert_eq!(out, wire, "{}", case["name"]);
        let (event, numbers) = (payload.get(..2), payload.get(2..).unwrap_or_default());
        out.clear();
        match (kind, event, numbers) {
            (1 | 2 | 3 | 5, ..) => {
                control::emit_u32(
                    kind,
                    u32::from_be_bytes(payload[..4].try_into().unwrap()),
                    &mut out,
                );
            }
            (6, ..) => control::emit_peer_bandwidth(
                u32::from_be_bytes(payload[..4].try_into().unwrap()),
                &mut out,
            ),
            (4, Some([high, low]), [a, b, c, d]) => control::emit_event(
                u16::from_be_bytes([*high, *low]),
                u32::from_be_bytes([*a, *b, *c, *d]),
                &mut out,
            ),
            (4, _, [_, _, _, msid, a, b, c, d]) => control::emit_buffer_length(
                Msid(u32::from(*msid)),
                u32::from_be_bytes([*a, *b, *c, *d]),
                &mut out,
            ),
            _ => continue,
        }
        assert_eq!(out, wire, "{}", case["name"]);
        emitted += 1;
    }
    assert!(emitted >= 20, "only {emitted} were emitted");
}

#[test]
fn short_control_messages_are_ignored_and_long_ones_read_as_far_as_defined() {
    for kind in 1..=6 {
        for len in 0..4 {
            assert!(control_replies(&raw(2, 0, kind, &vec![0; len])).is_empty());
        }
    }
    assert!(control_replies(&raw(2, 0, 6, &[0, 0, 16, 0])).is_empty(), "no limit type");
    assert!(control_replies(&raw(2, 0, 4, &[0, 6, 1, 2, 3])).is_empty(), "a ping of 3 bytes");
    let long = control_replies(&raw(2, 0, 4, &hex("000600000d0fffff")));
    assert_eq!(long, ["2/0/4 000700000d0f"]);
    assert!(control_replies(&raw(2, 0, 4, &hex("777700000001"))).is_empty(), "unknown event");
}

#[test]
fn a_peer_bandwidth_that_differs_is_answered_once() {
    assert_eq!(control_replies(&raw(2, 0, 6, &hex("0010000002"))), ["2/0/5 00100000"]);
    assert!(control_replies(&raw(2, 0, 6, &hex("002625a002"))).is_empty(), "we have announced it");
    let twice = [raw(2, 0, 6, &hex("0010000002")), raw(2, 0, 6, &hex("0010000000"))].concat();
    assert_eq!(control_replies(&twice), ["2/0/5 00100000"]);
}

#[test]
fn control_messages_may_come_before_connect() {
    // OBS: Set Chunk Size; the nginx-rtmp relay: Window Acknowledgement Size as well.
    let mut stream =
        [hex("02000000000004010000000000000200"), raw(2, 0, 5, &[0, 16, 0, 0])].concat();
    stream.extend(raw(2, 0, 4, &hex("000600000d0f")));
    let request = support::session::amf(&format!("connect 1 {{app=live,x={}}}", "y".repeat(300)));
    stream.extend([3, 0, 0, 0, 0, 1, request.len().to_be_bytes()[7], 20, 0, 0, 0, 0]);
    stream.extend(&request);
    for parts in cuts(&stream) {
        let (mut session, mut out) = (connected_peer(60_000), Vec::new());
        let events: Vec<String> =
            parts.iter().flat_map(|part| feed(&mut session, part, &mut out).unwrap()).collect();
        assert_eq!(events, ["connect live"], "a message of 300 bytes in one chunk of 512");
        assert_eq!(replies(&out)[0], "2/0/4 000700000d0f");
    }
}

#[test]
fn a_chunk_size_may_shrink_with_data_behind_it() {
    let body = vec![7; 300];
    let mut stream = hex("02000000000004010000000000010000");
    stream.extend([6, 0, 0, 1, 0, 1, 44, 9, 1, 0, 0, 0]);
    stream.extend(&body);
    stream.extend(hex("02000000000004010000000000000001"));
    stream.extend([6, 0, 0, 9, 0, 0, 3, 9, 1, 0, 0, 0, 7, 0xC6, 7, 0xC6, 7]);
    // The top bit is no part of the size, and sizes above 0xFFFFFF act as that.
    stream.extend([0xC2, 0x80, 0xC2, 0, 0xC2, 0, 0xC2, 0x80]);
    stream.extend([0xC6]);
    stream.extend([7; 3]);
    for parts in cuts(&stream) {
        let mut session = connected_peer(60_000);
        let before = [connect("live"), call("8/1 publish 5 null s")].concat();
        feed(&mut session, &before, &mut Vec::new()).unwrap();
        let events: Vec<String> = parts
            .iter()
            .flat_map(|part| feed(&mut session, part, &mut Vec::new()).unwrap())
            .collect();
        assert_eq!(events, ["Video 1", "Video 9", "Video 18"]);
    }
}

#[test]
fn abort_forgets_what_has_come_of_a_message() {
    let begun = [&[6, 0, 0, 1, 0, 1, 44, 9, 1, 0, 0, 0][..], &[7; 128]].concat();
    let command = [&[3, 0, 0, 0, 0, 1, 44, 20, 0, 0, 0, 0][..], &[2; 128]].concat();
    let again = raw(6, 1, 9, &[0x17]);
    let stream = [
        begun,
        command,
        raw(2, 0, 2, &[0, 0, 0, 6]),
        raw(2, 0, 2, &[0, 0, 0, 3]),
        raw(2, 0, 2, &[0, 0, 0, 60]),
        again,
        call("3/0 createStream 2 null"),
    ]
    .concat();
    for parts in cuts(&stream) {
        let mut session = connected_peer(60_000);
        let before = [connect("live"), call("8/1 publish 5 null s")].concat();
        let mut out = Vec::new();
        feed(&mut session, &before, &mut out).unwrap();
        out.clear();
        let events: Vec<String> =
            parts.iter().flat_map(|part| feed(&mut session, part, &mut out).unwrap()).collect();
        // Slots: 3 has connect, 8 publish, then 6 and 2.
        assert_eq!(events, ["MediaAborted { slot: 2 }", "MediaAborted { slot: 0 }", "Video 0"]);
        assert_eq!(replies(&out), ["3/0/20 _result 2 null 2"]);
        assert_eq!(session.partial_bytes(), 0);
    }
}

/// INVARIANT N9: memory grows with the bytes that come, at most to twice of them.
#[test]
fn an_announced_length_reserves_nothing() {
    let budget = Budget::new(1 << 24);
    let mut session = ServerSession::new(config(128), Arc::clone(&budget), Millis(0));
    let hello = [&[3; 3073][..], &connect("live"), &call("8/1 publish 5 null s")].concat();
    feed(&mut session, &hello, &mut Vec::new()).unwrap();
    assert_eq!(budget.used(), 0, "nothing is unfinished");
    for (csid, kind, length) in
        [(10, 18, [0x10, 0, 0]), (11, 20, [1, 0, 0]), (12, 22, [0x80, 0, 0])]
    {
        let header = [&[csid, 0, 0, 0][..], &length, &[kind, 1, 0, 0, 0]].concat();
        let before = budget.used();
        for (index, part) in [header, vec![7; 64], vec![7; 64]].iter().enumerate() {
            feed(&mut session, part, &mut Vec::new()).unwrap();
            assert!(budget.used() - before <= index * 2 * 64, "{} bytes", budget.used());
        }
    }
    assert_eq!(session.partial_bytes(), budget.used());
    drop(session);
    assert_eq!(budget.used(), 0);
}

fn acknowledged(out: &[u8]) -> Vec<u32> {
    let number = |reply: &String| u32::from_str_radix(reply.strip_prefix("2/0/3 ")?, 16).ok();
    replies(out).iter().filter_map(number).collect()
}

#[test]
fn acknowledgements_come_at_half_the_window_and_wrap() {
    for start in [0, u32::MAX - 1000, u32::MAX - 3_000] {
        let mut session = connected_peer(60_000).with_received(start);
        let mut received = start;
        let mut out = Vec::new();
        let mut tell = |bytes: &[u8], out: &mut Vec<u8>| {
            received = received.wrapping_add(u32::try_from(bytes.len()).unwrap());
            feed(&mut session, bytes, out).unwrap();
            received
        };
        tell(&connect("live"), &mut Vec::new());
        tell(&raw(2, 0, 5, &8192_u32.to_be_bytes()), &mut out);
        let mut expected = Vec::new();
        let (mut last, unknown) = (start, raw(7, 0, 99, &[0; 100]));
        for _ in 0..200 {
            let now = tell(&unknown, &mut out);
            if now.wrapping_sub(last) >= 4096 {
                last = now;
                expected.push(now);
            }
        }
        assert!(expected.len() >= 5);
        assert_eq!(acknowledged(&out), expected, "from {start} on");
        let wraps = expected.windows(2).any(|pair| pair[1] < pair[0]);
        assert!(wraps || expected[0] < start || start == 0, "the count wraps modulo 2^32");
    }
}

#[test]
fn without_a_window_2_500_000_bytes_are_assumed_and_a_tiny_one_is_not_believed() {
    let mut session = connected_peer(60_000);
    let mut out = Vec::new();
    let unknown = raw(7, 0, 99, &[0; 50_000]);
    for _ in 0..24 {
        feed(&mut session, &unknown, &mut out).unwrap();
    }
    assert!(acknowledged(&out).is_empty());
    feed(&mut session, &unknown, &mut out).unwrap();
    assert_eq!(acknowledged(&out).len(), 1, "at half of it");
    out.clear();
    feed(&mut session, &raw(2, 0, 5, &1_u32.to_be_bytes()), &mut out).unwrap();
    for _ in 0..10 {
        feed(&mut session, &raw(7, 0, 99, &[0; 100]), &mut out).unwrap();
    }
    assert!(acknowledged(&out).is_empty(), "LIMIT: not a message per byte");
    feed(&mut session, &raw(7, 0, 99, &[0; 2048]), &mut out).unwrap();
    assert_eq!(acknowledged(&out).len(), 1);
}

#[test]
fn every_deadline_ends_the_session_that_misses_it() {
    let mut silent = ServerSession::new(config(128), Budget::new(1 << 20), Millis(5));
    assert_eq!(silent.poll_timeout(), Some(Millis(10_005)));
    assert_eq!(silent.handle_timeout(Millis(10_004), &mut Vec::new()), Ok(()));
    // Bytes do not move the deadline: a byte a second is no handshake.
    silent.handle_input(&mut &[3; 100][..], &mut Vec::new(), Millis(9_000)).unwrap();
    assert_eq!(silent.handle_timeout(Millis(10_005), &mut Vec::new()), Err(Timeout::Handshake));
    let mut shy = connected_peer(128);
    feed(&mut shy, &raw(2, 0, 4, &hex("000600000d0f")), &mut Vec::new()).unwrap();
    assert_eq!(shy.handle_timeout(Millis(9_999), &mut Vec::new()), Ok(()));
    assert_eq!(shy.handle_timeout(Millis(10_000), &mut Vec::new()), Err(Timeout::FirstCommand));
    // The time for connect counts from the end of the handshake, whatever comes meanwhile.
    let mut slow = ServerSession::new(config(128), Budget::new(1 << 20), Millis(0));
    slow.handle_input(&mut &[3; 3073][..], &mut Vec::new(), Millis(5_000)).unwrap();
    slow.handle_input(&mut &raw(7, 0, 99, &[0])[..], &mut Vec::new(), Millis(9_000)).unwrap();
    assert_eq!(slow.poll_timeout(), Some(Millis(15_000)));
    let mut idle = connected_peer(128);
    feed(&mut idle, &connect("live"), &mut Vec::new()).unwrap();
    assert_eq!(idle.handle_timeout(Millis(180_000), &mut Vec::new()), Ok(()), "no ping either");
    assert_eq!(idle.handle_timeout(Millis(180_001), &mut Vec::new()), Err(Timeout::Idle));
}

#[test]
fn a_silent_player_is_pinged_and_dies_after_twice_the_time() {
    let mut player = connected_peer(128);
    feed(&mut player, &[connect("live"), call("8/1 play 0 null s")].concat(), &mut Vec::new())
        .unwrap();
    let mut out = Vec::new();
    assert_eq!(player.poll_timeout(), Some(Millis(30_001)));
    assert_eq!(player.handle_timeout(Millis(30_001), &mut out), Ok(()));
    assert_eq!(replies(&out), ["2/0/4 000600007531"], "a ping with the time in ms");
    assert_eq!(player.poll_timeout(), Some(Millis(60_001)));
    let pong = raw(2, 0, 4, &hex("000700007531"));
    player.handle_input(&mut &pong[..], &mut Vec::new(), Millis(40_000)).unwrap();
    assert_eq!(player.poll_timeout(), Some(Millis(70_000)), "any byte is a sign of life");
    assert_eq!(player.handle_timeout(Millis(70_000), &mut out), Ok(()));
    assert_eq!(player.handle_timeout(Millis(99_999), &mut out), Ok(()));
    assert_eq!(player.handle_timeout(Millis(100_000), &mut out), Err(Timeout::Ping));
}

/// Both roles joined in memory: bytes travel `step` at a time, each step takes 1 ms.
struct Pair {
    client: ClientSession,
    server: ServerSession,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    now: Millis,
    /// What the server has told.
    seen: Vec<String>,
    /// What the client has told.
    told: Vec<String>,
}

impl Pair {
    fn new(role: ClientRole, digest: bool) -> Self {
        let config_ = Arc::new(ClientConfig {
            app: b"live".to_vec(),
            tc_url: b"rtmp://h/live".to_vec(),
            flash_ver: b"test".to_vec(),
            digest,
            chunk_size: 4096,
            role,
        });
        let mut to_server = Vec::new();
        let client = ClientSession::start(config_, 3, &mut to_server);
        let server = ServerSession::new(config(60_000), Budget::new(1 << 24), Millis(0));
        let (to_client, now, seen, told) = (Vec::new(), Millis(0), Vec::new(), Vec::new());
        Self { client, server, to_server, to_client, now, seen, told }
    }

    /// Until nothing is on its way.
    fn run(&mut self, step: usize) {
        while !(self.to_server.is_empty() && self.to_client.is_empty()) {
            self.now = self.now.plus(1);
            let count = step.min(self.to_server.len());
            let part: Vec<u8> = self.to_server.drain(..count).collect();
            self.serve(&part).unwrap();
            let count = step.min(self.to_client.len());
            let part: Vec<u8> = self.to_client.drain(..count).collect();
            let mut input = &part[..];
            while let Some(event) =
                self.client.handle_input(&mut input, &mut self.to_server).unwrap()
            {
                match event {
                    ClientEvent::Started => self.told.push("started".into()),
                    ClientEvent::Status { code, .. } => {
                        self.told.push(code.escape_ascii().to_string());
                    }
                    ClientEvent::Connected => self.told.push("connected".into()),
                    ClientEvent::StreamEof => self.told.push("eof".into()),
                    ClientEvent::Media(piece) => {
                        let (kind, len) = (piece.kind, piece.bytes.len());
                        self.told.push(format!("{kind:?} {} {len}", piece.timestamp));
                    }
                    ClientEvent::Data { .. } => self.told.push("data".into()),
                }
            }
        }
    }

    fn serve(&mut self, part: &[u8]) -> Result<(), ProtocolError> {
        let mut input = part;
        while let Some(event) =
            self.server.handle_input(&mut input, &mut self.to_client, self.now)?
        {
            self.seen.push(match event {
                Event::Connect { .. } => {
                    self.server.accept_connect(&mut self.to_client);
                    "connect".into()
                }
                Event::Publish { msid, .. } => {
                    self.server.accept_publish(msid, &mut self.to_client);
                    "publish".into()
                }
                Event::Play { msid, .. } => {
                    self.server.accept_play(msid, &mut self.to_client);
                    "play".into()
                }
                Event::Media(piece) if !piece.is_last() => continue,
                Event::Media(piece) => format!("{:?} {}", piece.kind, piece.timestamp),
                Event::Unpublish { .. } => "unpublish".into(),
                Event::StopPlay { .. } => "stop".into(),
                other => format!("{other:?}"),
            });
        }
        Ok(())
    }

    /// Simulated time up to `until`: the server's deadlines are kept.
    fn wait(&mut self, until: Millis) -> Result<(), Timeout> {
        while let Some(at) = self.server.poll_timeout().filter(|&at| at <= until) {
            self.now = at;
            self.server.handle_timeout(at, &mut self.to_client)?;
            self.run(usize::MAX);
        }
        self.now = until;
        Ok(())
    }
}

fn publisher() -> ClientRole {
    ClientRole::Publish { name: b"s".to_vec() }
}

fn player() -> ClientRole {
    ClientRole::Play { name: b"s".to_vec() }
}

#[test]
fn client_and_server_sessions_understand_each_other() {
    for digest in [false, true] {
        for step in [1, 1000, 100_000] {
            let mut pair = Pair::new(publisher(), digest);
            pair.run(step);
            pair.client.send_media(MediaKind::Video, 40, &[0x17; 5000], &mut pair.to_server);
            pair.client.send_end(&mut pair.to_server);
            pair.run(step);
            assert_eq!(pair.seen, ["connect", "publish", "Video 40", "unpublish"]);
            assert_eq!(pair.told, ["connected", "started", "NetStream.Unpublish.Success"]);
            let mut pair = Pair::new(player(), digest);
            pair.run(step);
            pair.client.send_end(&mut pair.to_server);
            pair.run(step);
            assert_eq!(pair.seen, ["connect", "play", "stop"]);
            assert_eq!(pair.told, ["connected", "NetStream.Play.Reset", "started", "data"]);
        }
    }
}

#[test]
fn joined_sessions_ping_each_other_for_an_hour_of_simulated_time() {
    let mut pair = Pair::new(player(), true);
    pair.run(1000);
    assert_eq!(pair.wait(Millis(3_600_000)), Ok(()), "the client answers every ping");
    // Both windows are 2 500 000 bytes: an hour of pings needs no acknowledgement.
    assert!(pair.server.is_active());
    pair.client.send_end(&mut pair.to_server);
    pair.run(1000);
    let left = pair.now;
    assert_eq!(pair.wait(left.plus(179_000)), Ok(()), "no ping for the idle");
    assert_eq!(pair.wait(left.plus(181_000)), Err(Timeout::Idle));
}

#[test]
fn a_player_whose_hour_long_stream_is_over_has_the_whole_idle_time_left() {
    let mut pair = Pair::new(player(), true);
    pair.run(1000);
    assert_eq!(pair.wait(Millis(3_600_000)), Ok(()));
    pair.server.notify(Msid(1), Status::PlayStop, &mut pair.to_client, pair.now);
    assert_eq!(pair.server.poll_timeout(), Some(Millis(3_780_000)));
    assert_eq!(pair.server.handle_timeout(Millis(3_700_000), &mut Vec::new()), Ok(()));
}

#[test]
fn a_client_that_is_gone_in_mid_dialogue_meets_the_deadline_of_its_phase() {
    let mut pair = Pair::new(publisher(), false);
    pair.to_server.truncate(700);
    pair.run(usize::MAX);
    assert_eq!(pair.wait(Millis(60_000)), Err(Timeout::Handshake));
    assert_eq!(pair.now, Millis(10_000));
    let mut pair = Pair::new(ClientRole::Idle, false);
    pair.run(usize::MAX);
    assert_eq!(pair.seen, ["connect"]);
    assert_eq!(pair.wait(Millis(600_000)), Err(Timeout::Idle));
    let mut pair = Pair::new(publisher(), false);
    pair.run(usize::MAX);
    pair.client.send_media(MediaKind::Audio, 0, &[0xAF; 50], &mut pair.to_server);
    pair.to_server.truncate(20);
    pair.run(usize::MAX);
    let at = pair.now.plus(60_000);
    let mut out = Vec::new();
    assert_eq!(pair.server.handle_timeout(pair.now.plus(30_000), &mut out), Ok(()));
    assert_eq!(pair.server.poll_timeout(), Some(at), "nobody answers");
    assert_eq!(pair.server.handle_timeout(at, &mut out), Err(Timeout::Ping));
}

#[test]
fn the_client_understands_what_other_servers_send() {
    let mut pair = Pair::new(player(), false);
    pair.run(usize::MAX);
    pair.told.clear();
    let media = [&[6, 0, 0, 1, 0, 1, 44, 9, 1, 0, 0, 0][..], &[7; 128]].concat();
    // Its chunk size is the server's 60000; the message on csid 9 is aborted and begins anew.
    pair.to_client = raw(2, 0, 1, &[0, 0, 0, 128]);
    pair.to_client.extend([&[9][..], &media[1..]].concat());
    pair.to_client.extend(raw(2, 0, 2, &[0, 0, 0, 9]));
    pair.to_client.extend(raw(9, 1, 9, &[0x27, 1]));
    pair.to_client.extend(raw(5, 1, 15, b"\x00\x02\x00\x01x"));
    pair.to_client.extend(call("5/1/17 onStatus 0 null {level=status,code=NetStream.Play.Stop}"));
    pair.to_client.extend(raw(2, 0, 4, &hex("000600000d0f")));
    pair.to_client.extend(raw(2, 0, 4, &hex("000100000001")));
    pair.run(usize::MAX);
    let told = ["Video 1 128", "Video 0 2", "data", "NetStream.Play.Stop", "eof"];
    assert_eq!(pair.told, told);
}

#[test]
fn a_client_holds_4_mib_of_unfinished_messages_and_no_more() {
    let mut pair = Pair::new(player(), false);
    pair.run(usize::MAX);
    // Five data messages of a MiB that lack their last byte.
    let mut bytes = raw(2, 0, 1, &[0, 0x0F, 0xFF, 0xFF]);
    for csid in 20..25 {
        bytes.extend([csid, 0, 0, 0, 0x10, 0, 0, 18, 1, 0, 0, 0]);
        bytes.extend(vec![0; (1 << 20) - 1]);
    }
    let mut input = &bytes[..];
    let mut verdict = Ok(());
    while !input.is_empty() && verdict.is_ok() {
        let (mut part, rest) = input.split_at(input.len().min(1 << 16));
        verdict = pair.client.handle_input(&mut part, &mut Vec::new()).map(drop);
        input = rest;
    }
    assert_eq!(verdict, Err(ProtocolError::OverBudget));
}

#[test]
fn a_client_counts_the_wire_bytes_of_media_and_not_those_of_control_messages() {
    let [ping, data] = [raw(2, 0, 4, &hex("000600000d0f")), raw(5, 1, 18, b"\x02\x00\x01x")];
    let long = [&[6, 0, 0, 1, 0, 1, 44, 9, 1, 0, 0, 0][..], &[7; 128], &[0xC6], &[7; 128]].concat();
    let audio = raw(4, 1, 8, &[0xAF, 1, 9]);
    let sent = [&raw(2, 0, 1, &[0, 0, 0, 128])[..], &ping, &long, &[0xC6], &[7; 44]].concat();
    let sent = [&sent[..], &ping, &data, &ping, &audio, &ping].concat();
    let media_bytes = long.len() + 45 + data.len() + audio.len();
    for step in [1, 7, usize::MAX] {
        let mut pair = Pair::new(player(), false);
        pair.run(step);
        // RtmpSampleAccess, a data message, has come before.
        let before = pair.client.media_bytes();
        pair.to_client.clone_from(&sent);
        pair.run(step);
        assert_eq!(pair.client.media_bytes() - before, media_bytes as u64, "step {step}");
    }
}

#[test]
fn a_client_acknowledges_bytes_that_it_does_not_look_at() {
    let mut pair = Pair::new(player(), false);
    pair.run(usize::MAX);
    // Half of the window is due; the sum before it is not known here but small.
    let mut out = Vec::new();
    pair.client.skip_input(1_000_000, &mut out);
    assert!(out.is_empty());
    pair.client.skip_input(250_000, &mut out);
    let texts = replies(&out);
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(pair.serve(&out).is_ok());
    out.clear();
    pair.client.acknowledge(&mut out);
    let again = replies(&out);
    assert_eq!(again, texts, "a sign of life at any time, with the same sum");
    // A player that says nothing else is not taken for dead.
    for _ in 0..5 {
        pair.now = pair.now.plus(20_000);
        pair.serve(&out).unwrap();
        assert_eq!(pair.server.handle_timeout(pair.now, &mut Vec::new()), Ok(()));
    }
}
