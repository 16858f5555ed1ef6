//! Server and client sessions, joined in memory under simulated time, and against captures.
mod support;

use std::sync::Arc;

use millrace::budget::Budget;
use millrace::rtmp::chunk::MessageLimits;
use millrace::rtmp::chunk::{ChunkReader, MessageHeader, writer::emit_message};
use millrace::rtmp::handshake::ClientHandshake;
use millrace::rtmp::session::{
    ClientConfig, ClientEvent, ClientRole, ClientSession, Event, MediaKind, ServerSession,
    SessionConfig, Status, Timeout,
};
use millrace::rtmp::{Csid, Msid, ProtocolError, amf0};
use millrace::time::Millis;
use support::{hex, vectors};

fn config(chunk_size: u32) -> Arc<SessionConfig> {
    let limits = MessageLimits { media: 8 << 20, command: 64 << 10, data: 1 << 20, control: 256 };
    Arc::new(SessionConfig {
        chunk_size,
        limits,
        handshake_timeout_ms: 10_000,
        idle_timeout_ms: 180_000,
        ping_interval_ms: 30_000,
    })
}

/// A server session whose handshake is done.
fn connected_peer(chunk_size: u32) -> ServerSession {
    let mut session = ServerSession::new(config(chunk_size), Budget::new(1 << 24), Millis(0));
    let mut hello = Vec::new();
    let _ = ClientHandshake::start(false, 1, &mut hello);
    hello.extend_from_slice(&[0; 1536]);
    let mut out = Vec::new();
    let event = session.handle_input(&mut &hello[..], &mut out, Millis(0)).unwrap();
    assert!(event.is_none());
    assert_eq!(out.len(), 3073);
    session
}

/// What happened, with everything accepted.
fn feed(
    session: &mut ServerSession,
    mut input: &[u8],
    out: &mut Vec<u8>,
) -> Result<Vec<String>, ProtocolError> {
    let mut events = Vec::new();
    while let Some(event) = session.handle_input(&mut input, out, Millis(1))? {
        match event {
            Event::Connect { app, .. } => {
                events.push(format!("connect {}", app.escape_ascii()));
                session.accept_connect(out);
            }
            Event::Publish { msid, name, kind } => {
                events.push(format!("publish {} {} {kind:?}", msid.0, name.escape_ascii()));
                session.accept_publish(msid, out);
            }
            Event::Play { msid, request } => {
                let (name, start) = (request.name.escape_ascii(), request.start);
                events.push(format!("play {} {name} {start}", msid.0));
                session.accept_play(msid, out);
            }
            Event::Media(piece) if !piece.is_last() => {}
            Event::Media(piece) => events.push(format!("{:?} {}", piece.kind, piece.timestamp)),
            Event::Data { timestamp, body, .. } => {
                events.push(format!("data {timestamp} {} bytes", body.len()));
            }
            Event::Aggregate { .. } => events.push("aggregate".into()),
            other => events.push(format!("{other:?}")),
        }
    }
    Ok(events)
}

fn command(csid: u32, msid: u32, write: impl FnOnce(&mut amf0::Writer<'_>)) -> Vec<u8> {
    message(csid, msid, 20, write)
}

fn message(csid: u32, msid: u32, kind: u8, write: impl FnOnce(&mut amf0::Writer<'_>)) -> Vec<u8> {
    let mut body = Vec::new();
    write(&mut amf0::Writer::new(&mut body));
    raw(csid, msid, kind, &body)
}

fn raw(csid: u32, msid: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let header = MessageHeader {
        csid: Csid(csid),
        timestamp: 0,
        length: 0,
        message_type: kind,
        msid: Msid(msid),
    };
    emit_message(&header, body, 128, &mut out);
    out
}

fn connect(app: &str) -> Vec<u8> {
    command(3, 0, |w| {
        w.string(b"connect").number(1.0).object().text("app", app.as_bytes()).end();
    })
}

/// Replies as (csid, msid, type, values in a short notation).
fn replies(out: &[u8]) -> Vec<String> {
    let limits = MessageLimits { media: 8 << 20, command: 1 << 20, data: 1 << 20, control: 256 };
    let mut reader = ChunkReader::new(limits);
    let mut body = Vec::new();
    let mut texts = Vec::new();
    let mut input = out;
    while let Some(piece) = reader.read(&mut input).unwrap() {
        body.extend_from_slice(&piece.bytes);
        if !piece.is_last() {
            continue;
        }
        let MessageHeader { csid, msid, message_type, .. } = piece.header;
        let text = match message_type {
            18 | 20 => values(&body),
            _ => body.iter().map(|b| format!("{b:02x}")).collect(),
        };
        if message_type == 1 {
            reader.set_chunk_size(u32::from_be_bytes(body[..4].try_into().unwrap())).unwrap();
        }
        texts.push(format!("{}/{}/{message_type} {text}", csid.0, msid.0));
        body.clear();
    }
    texts
}

fn values(body: &[u8]) -> String {
    let mut reader = amf0::Reader::new(body);
    let mut text = Vec::new();
    while let Some(value) = reader.next().unwrap() {
        text.push(value_text(&value));
    }
    text.join(" ")
}

fn value_text(value: &amf0::Value<'_>) -> String {
    match value {
        amf0::Value::String(bytes) => bytes.escape_ascii().to_string(),
        amf0::Value::Number(number) => number.to_string(),
        amf0::Value::Boolean(value) => value.to_string(),
        amf0::Value::Null => "null".into(),
        amf0::Value::Undefined => "undefined".into(),
        amf0::Value::Object(object) => {
            let pair = |(key, value): (&[u8], amf0::Value<'_>)| {
                format!("{}={}", key.escape_ascii(), value_text(&value))
            };
            format!("{{{}}}", object.properties().map(pair).collect::<Vec<_>>().join(","))
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn the_seed_session_is_played_byte_for_byte() {
    let file = vectors("seed_session.json");
    let step = |list: &str, name: &str| {
        let steps = file[list].as_array().unwrap();
        let step = steps.iter().find(|step| step["name"] == name).unwrap();
        hex(step["wire"].as_str().unwrap())
    };
    let mut session = connected_peer(128);
    let mut out = Vec::new();
    let events = feed(&mut session, &connect(""), &mut out).unwrap();
    assert_eq!(events, ["connect "], "an empty app is accepted");
    // Documented additions: Stream Begin 0; fmsVer is ours.
    let begin = hex("020000000000060400000000000000000000");
    let bandwidth = [step("steps", "server_bw"), step("steps", "client_bw"), begin].concat();
    assert_eq!(out[..bandwidth.len()], bandwidth);
    let result = &out[bandwidth.len()..];
    let seed = step("steps", "connect_result");
    assert_eq!(result[..4], seed[..4], "csid 3, type 0");
    assert_eq!(result[7..12], seed[7..12], "type 20, msid 0");
    assert_eq!(result[12 + 128], 0xC3, "one type-3 header after 128 bytes of payload");
    let body = |wire: &[u8]| [&wire[12..140], &wire[141..]].concat();
    let ours = values(&body(result)).replace("FMS/3,5,7,7009", "RubyIZUMI/0,1,2,0");
    assert_eq!(ours, values(&body(&seed)));
    assert_eq!(
        result.len(),
        12 + 1 + u32::from_be_bytes([0, result[4], result[5], result[6]]) as usize
    );

    out.clear();
    let create = step("client_examples", "createStream_tid2");
    let spelled = command(3, 0, |w| {
        w.string(b"CreateStream").number(2.0).null();
    });
    feed(&mut session, &create, &mut out).unwrap();
    assert_eq!(out, step("steps", "createStream_result"));
    out.clear();
    feed(&mut session, &spelled, &mut out).unwrap();
    assert_eq!(replies(&out), ["3/0/20 _result 2 null 2"], "the seed's spelling");

    let plays: [(&[u8], Vec<u8>); 3] = [
        (b"play 1 test.mp4 -2000", step("client_examples", "play_test_mp4_csid8_msid1")),
        (
            b"play 1 red5StreamDemo_video -2000",
            command(8, 1, |w| {
                w.string(b"play").number(0.0).null().string(b"red5StreamDemo_video");
            }),
        ),
        (
            b"play 1 red5StreamDemo_video -1",
            command(8, 1, |w| {
                w.string(b"play").number(0.0).null();
                w.string(b"red5StreamDemo_video").number(-1.0);
            }),
        ),
    ];
    for (index, (expected, play)) in plays.into_iter().enumerate() {
        out.clear();
        let buffer = step("client_examples", "set_buffer_length_1_0");
        assert_eq!(feed(&mut session, &buffer, &mut out).unwrap(), Vec::<String>::new());
        assert!(out.is_empty(), "SetBufferLength has no reply");
        let events = feed(&mut session, &play, &mut out).unwrap();
        assert_eq!(events.last().unwrap().as_bytes(), expected);
        assert_eq!(events.len(), if index == 0 { 1 } else { 2 }, "the old play is stopped first");
        let recommended = ["stream_begin_1", "play_reset", "play_start", "sample_access"];
        let expected: Vec<u8> =
            recommended.iter().flat_map(|name| step("recommended_play_reply", name)).collect();
        assert_eq!(out, expected);
    }
}

#[test]
fn connect_announces_the_chunk_size_before_the_result() {
    let mut session = connected_peer(60_000);
    let mut out = Vec::new();
    feed(&mut session, &connect("live"), &mut out).unwrap();
    assert_eq!(
        replies(&out),
        [
            "2/0/5 002625a0",
            "2/0/6 002625a002",
            "2/0/1 0000ea60",
            "2/0/4 000000000000",
            "3/0/20 _result 1 {capabilities=31,fmsVer=FMS/3,5,7,7009} \
             {code=NetConnection.Connect.Success,level=status,description=Connection succeeded.}",
        ]
    );
}

#[test]
fn capabilities_are_announced_to_clients_that_ask() {
    let mut session = connected_peer(60_000);
    let mut out = Vec::new();
    let request = command(3, 0, |w| {
        w.string(b"connect").number(7.5).object().text("app", b"live");
        w.key(b"capsEx").number(15.0).key(b"objectEncoding").number(3.0).end();
    });
    feed(&mut session, &request, &mut out).unwrap();
    let reply = replies(&out).pop().unwrap();
    assert!(reply.starts_with("3/0/20 _result 7.5 {capabilities=31,"), "{reply}");
    assert!(reply.contains("videoFourCcInfoMap={*=4}"), "{reply}");
    assert!(reply.contains("capsEx=14"), "no ReconnectRequest: {reply}");
    assert!(reply.ends_with(",objectEncoding=3}"), "{reply}");
}

#[test]
fn every_command_has_its_exact_reply() {
    let table: &[(&str, Vec<u8>, &[&str])] = &[
        (
            "releaseStream",
            command(3, 0, |w| {
                w.string(b"releaseStream").number(2.0).null().string(b"s");
            }),
            &["3/0/20 _result 2 null undefined"],
        ),
        (
            "releaseStream without transaction",
            command(3, 0, |w| {
                w.string(b"releaseStream").number(0.0).null().string(b"s");
            }),
            &[],
        ),
        (
            "FCPublish",
            command(3, 0, |w| {
                w.string(b"FCPublish").number(3.0).null().string(b"s");
            }),
            &[
                "3/0/20 _result 3 null undefined",
                "3/0/20 onFCPublish 0 null \
                 {level=status,code=NetStream.Publish.Start,description=s}",
            ],
        ),
        (
            "FCSubscribe",
            command(3, 0, |w| {
                w.string(b"FCSubscribe").number(3.0).null().string(b"s");
            }),
            &[
                "3/0/20 _result 3 null undefined",
                "3/0/20 onFCSubscribe 0 null \
                 {level=status,code=NetStream.Play.Start,description=s}",
            ],
        ),
        (
            "getStreamLength",
            command(8, 0, |w| {
                w.string(b"getStreamLength").number(3.0).null().string(b"s");
            }),
            &["3/0/20 _result 3 null 0"],
        ),
        (
            "_checkbw",
            command(3, 0, |w| {
                w.string(b"_checkbw").number(5.0).null();
            }),
            &["3/0/20 _result 5 null null"],
        ),
        (
            "an unknown command",
            command(3, 0, |w| {
                w.string(b"secret").number(-2.5).null();
            }),
            &["3/0/20 _result -2.5 null null"],
        ),
        (
            "a service call",
            command(3, 0, |w| {
                w.string(b"chat.send").number(9.0).null();
            }),
            &["3/0/20 _error 9 null {level=error,code=NetConnection.Call.Failed,\
               description=Method not found.}"],
        ),
        (
            "createStream as type 17",
            {
                let mut body = vec![0];
                amf0::Writer::new(&mut body).string(b"createStream").number(2.0).null();
                raw(3, 0, 17, &body)
            },
            &["3/0/20 _result 2 null 1"],
        ),
        (
            "type 17 without its selector",
            {
                let mut body = Vec::new();
                amf0::Writer::new(&mut body).string(b"createStream").number(2.0).null();
                raw(3, 0, 17, &body)
            },
            &["3/0/20 _result 2 null 1"],
        ),
        (
            "_result",
            command(3, 0, |w| {
                w.string(b"_result").number(1.0).null();
            }),
            &[],
        ),
        ("a ping", raw(2, 0, 4, &hex("000600000d0f")), &["2/0/4 000700000d0f"]),
        ("a short ping", raw(2, 0, 4, &[0, 6]), &[]),
        ("a bandwidth that differs", raw(2, 0, 6, &hex("0010000002")), &["2/0/5 00100000"]),
        ("the bandwidth we have announced", raw(2, 0, 6, &hex("002625a002")), &[]),
        ("an unknown message type", raw(7, 0, 99, b"whatever"), &[]),
        ("a shared object", raw(7, 0, 19, b"whatever"), &[]),
    ];
    for (name, request, expected) in table {
        for step in [1, usize::MAX] {
            let mut session = connected_peer(60_000);
            feed(&mut session, &connect("live"), &mut Vec::new()).unwrap();
            let mut out = Vec::new();
            for part in request.chunks(step.min(request.len())) {
                feed(&mut session, part, &mut out).unwrap();
            }
            assert_eq!(replies(&out), *expected, "{name}, {step} bytes at a time");
        }
    }
}

#[test]
fn a_publisher_goes_through_its_life() {
    let mut session = connected_peer(60_000);
    let mut out = Vec::new();
    feed(&mut session, &connect("live"), &mut out).unwrap();
    let create = command(3, 0, |w| {
        w.string(b"createStream").number(4.0).null();
    });
    feed(&mut session, &create, &mut out).unwrap();
    out.clear();
    for (kind, seen) in [("live", "Live"), ("record", "Record"), ("append", "Append")] {
        let publish = command(8, 1, |w| {
            w.string(b"publish").number(5.0).null().string(b"s").string(kind.as_bytes());
        });
        let events = feed(&mut session, &publish, &mut out).unwrap();
        assert_eq!(events.last().unwrap(), &format!("publish 1 s {seen}"));
        assert_eq!(
            replies(&out).last().unwrap(),
            "5/1/20 onStatus 0 null {level=status,code=NetStream.Publish.Start,\
             description=Started publishing stream.}"
        );
    }
    assert_eq!(
        feed(&mut session, &raw(6, 1, 9, &[0x17, 1, 0, 0, 0]), &mut out).unwrap(),
        ["Video 0"]
    );
    // The node-media-server relay sends media on msid 0; metadata may come as a command.
    assert_eq!(feed(&mut session, &raw(4, 0, 8, &[0xaf, 1, 0]), &mut out).unwrap(), ["Audio 0"]);
    let metadata = command(4, 1, |w| {
        w.string(b"onMetaData").object().end();
    });
    assert_eq!(feed(&mut session, &metadata, &mut out).unwrap(), ["data 0 17 bytes"]);
    out.clear();
    // GStreamer deletes by name, on msid 0.
    let delete = command(3, 0, |w| {
        w.string(b"deleteStream").number(0.0).null().string(b"s");
    });
    assert_eq!(feed(&mut session, &delete, &mut out).unwrap(), ["Unpublish { msid: Msid(1) }"]);
    assert_eq!(
        replies(&out),
        ["5/1/20 onStatus 0 null {level=status,code=NetStream.Unpublish.Success,\
          description=Stream is now unpublished.}"]
    );
    assert!(feed(&mut session, &raw(6, 1, 9, &[0x17, 1]), &mut out).unwrap().is_empty());
}

#[test]
fn a_player_pauses_seeks_leaves_and_plays_again() {
    let mut session = connected_peer(60_000);
    let mut out = Vec::new();
    feed(&mut session, &connect("live"), &mut out).unwrap();
    let play = command(8, 1, |w| {
        w.string(b"play").number(4.0).null().string(b"s").number(0.0);
    });
    feed(&mut session, &play, &mut out).unwrap();
    let steps: &[(Vec<u8>, &[&str], &[&str])] = &[
        (
            command(8, 0, |w| {
                w.string(b"pause").number(0.0).null().boolean(true).number(9.0);
            }),
            &["Pause { msid: Msid(1), paused: true }"],
            &[
                "5/1/20 onStatus 0 null {level=status,code=NetStream.Pause.Notify,\
                 description=Paused stream.}",
                "2/0/4 000100000001",
            ],
        ),
        (
            command(8, 1, |w| {
                w.string(b"pauseRaw").number(0.0).null().boolean(false).number(9.0);
            }),
            &["Pause { msid: Msid(1), paused: false }"],
            &[
                "2/0/4 000000000001",
                "5/1/20 onStatus 0 null {level=status,code=NetStream.Unpause.Notify,\
                 description=Unpaused stream.}",
            ],
        ),
        (
            command(8, 0, |w| {
                w.string(b"seek").number(0.0).null().number(5870.0);
            }),
            &[],
            &["5/1/20 onStatus 0 null {level=status,code=NetStream.Seek.Notify,\
               description=Seeking 5870 (stream ID: 1).}"],
        ),
        (
            command(8, 1, |w| {
                w.string(b"receiveVideo").number(0.0).null().boolean(false);
            }),
            &["ReceiveVideo { msid: Msid(1), on: false }"],
            &[],
        ),
        (
            command(8, 1, |w| {
                w.string(b"closeStream").number(0.0).null();
            }),
            &["StopPlay { msid: Msid(1) }"],
            &[],
        ),
        (
            command(3, 0, |w| {
                w.string(b"deleteStream").number(0.0).null().number(1.0);
            }),
            &[],
            &[],
        ),
    ];
    for (request, events, expected) in steps {
        out.clear();
        assert_eq!(feed(&mut session, request, &mut out).unwrap(), *events);
        assert_eq!(replies(&out), *expected);
    }
    let again = feed(&mut session, &play, &mut out).unwrap();
    assert_eq!(again, ["play 1 s 0"], "deleteStream may be followed by another play");
}

#[test]
fn the_seventeenth_message_stream_is_refused_and_the_session_goes_on() {
    let mut session = connected_peer(60_000);
    feed(&mut session, &connect("live"), &mut Vec::new()).unwrap();
    for id in 1..=17 {
        let mut out = Vec::new();
        let create = command(3, 0, |w| {
            w.string(b"createStream").number(2.0).null();
        });
        feed(&mut session, &create, &mut out).unwrap();
        let reply = &replies(&out)[0];
        let expected = if id <= 16 {
            format!("3/0/20 _result 2 null {id}")
        } else {
            "3/0/20 _error 2 null {level=error,code=NetConnection.Call.Failed,\
             description=Too many message streams.}"
                .into()
        };
        assert_eq!(*reply, expected);
    }
}

#[test]
fn every_session_error_has_its_bytes() {
    let long = vec![b'a'; 257];
    let cases: Vec<(Vec<u8>, ProtocolError)> = vec![
        (
            command(3, 0, |w| {
                w.string(b"createStream").number(2.0).null();
            }),
            ProtocolError::CommandBeforeConnect,
        ),
        ([connect("live"), connect("live")].concat(), ProtocolError::SecondConnect),
        (connect(std::str::from_utf8(&long).unwrap()), ProtocolError::NameRefused),
        (connect("li\nve"), ProtocolError::NameRefused),
        (raw(2, 0, 1, &[0; 4]), ProtocolError::ZeroChunkSize),
        (raw(3, 0, 20, &[2, 0, 9]), ProtocolError::AmfTruncated),
    ];
    for (bytes, expected) in cases {
        let mut session = connected_peer(60_000);
        assert_eq!(feed(&mut session, &bytes, &mut Vec::new()), Err(expected));
    }
    let mut session = ServerSession::new(config(128), Budget::new(100), Millis(0));
    let result = session.handle_input(&mut &[3; 200][..], &mut Vec::new(), Millis(0));
    assert!(matches!(result, Err(ProtocolError::OverBudget)), "buffers are charged");
}

#[test]
fn captured_clients_get_through_to_their_media_at_any_fragmentation() {
    let file = vectors("captured.json");
    for case in file["cases"].as_array().unwrap() {
        let stream = hex(case["after_handshake"].as_str().unwrap());
        let mut whole = Vec::new();
        let events = feed(&mut connected_peer(60_000), &stream, &mut whole).unwrap();
        assert!(events[0].starts_with("connect live"), "{}: {events:?}", case["name"]);
        let starts = |event: &String| event.starts_with("publish") || event.starts_with("play");
        assert!(events.iter().any(starts), "{}: {events:?}", case["name"]);
        for step in [1, 2, 3, 7, 100, 129, 1000] {
            let mut session = connected_peer(60_000);
            let mut out = Vec::new();
            let mut pieces = Vec::new();
            for part in stream.chunks(step) {
                pieces.extend(feed(&mut session, part, &mut out).unwrap());
            }
            assert_eq!(pieces, events, "{} by {step}", case["name"]);
            assert_eq!(out, whole, "{} by {step}", case["name"]);
        }
    }
}

#[test]
fn acknowledgements_come_at_half_the_window_and_wrap() {
    let mut session = connected_peer(60_000).with_received(u32::MAX - 1000);
    feed(&mut session, &connect("live"), &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    feed(&mut session, &raw(2, 0, 5, &8192_u32.to_be_bytes()), &mut out).unwrap();
    for _ in 0..50 {
        feed(&mut session, &raw(7, 0, 99, &[0; 100]), &mut out).unwrap();
    }
    let acknowledged: Vec<u32> = replies(&out)
        .iter()
        .filter_map(|reply| u32::from_str_radix(reply.strip_prefix("2/0/3 ")?, 16).ok())
        .collect();
    assert_eq!(acknowledged.len(), 1, "5.6 KB make one acknowledgement at half of 8 KiB");
    assert!(acknowledged[0] < 8192, "the count wraps modulo 2^32: {acknowledged:?}");
}

#[test]
fn every_deadline_ends_the_session_that_misses_it() {
    let mut silent = ServerSession::new(config(128), Budget::new(1 << 20), Millis(5));
    assert_eq!(silent.poll_timeout(), Some(Millis(10_005)));
    assert_eq!(silent.handle_timeout(Millis(10_004), &mut Vec::new()), Ok(()));
    assert_eq!(silent.handle_timeout(Millis(10_005), &mut Vec::new()), Err(Timeout::Handshake));
    let mut shy = connected_peer(128);
    assert_eq!(shy.handle_timeout(Millis(10_000), &mut Vec::new()), Err(Timeout::FirstCommand));
    let mut idle = connected_peer(128);
    feed(&mut idle, &connect("live"), &mut Vec::new()).unwrap();
    assert_eq!(idle.handle_timeout(Millis(180_001), &mut Vec::new()), Err(Timeout::Idle));

    let mut player = connected_peer(128);
    feed(&mut player, &connect("live"), &mut Vec::new()).unwrap();
    let play = command(8, 1, |w| {
        w.string(b"play").number(0.0).null().string(b"s");
    });
    feed(&mut player, &play, &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    assert_eq!(player.poll_timeout(), Some(Millis(30_001)));
    assert_eq!(player.handle_timeout(Millis(30_001), &mut out), Ok(()));
    assert_eq!(replies(&out), ["2/0/4 000600007531"], "a ping with the time in ms");
    assert_eq!(player.poll_timeout(), Some(Millis(60_001)));
    let mut answered = Vec::new();
    let pong = raw(2, 0, 4, &hex("000700007531"));
    let mut input = &pong[..];
    player.handle_input(&mut input, &mut answered, Millis(40_000)).unwrap();
    assert_eq!(player.poll_timeout(), Some(Millis(70_000)), "any byte is a sign of life");
    assert_eq!(player.handle_timeout(Millis(70_000), &mut out), Ok(()));
    assert_eq!(player.handle_timeout(Millis(100_000), &mut out), Err(Timeout::Ping));
}

#[test]
fn while_an_answer_is_missing_no_input_is_consumed() {
    let mut session = connected_peer(128);
    let stream = [connect("live"), raw(2, 0, 4, &hex("000600000d0f"))].concat();
    let mut input = &stream[..];
    let mut out = Vec::new();
    assert!(session.handle_input(&mut input, &mut out, Millis(0)).unwrap().is_some());
    let left = input.len();
    assert!(left > 0);
    assert!(session.handle_input(&mut input, &mut out, Millis(0)).unwrap().is_none());
    assert_eq!(input.len(), left);
    session.reject_connect(Status::ConnectInvalidApp, "No such app.", &mut out);
    assert!(replies(&out)[0].contains("NetConnection.Connect.InvalidApp"));
}

/// Both roles joined in memory.
fn run_client(role: ClientRole, digest: bool, step: usize) -> (Vec<String>, Vec<String>) {
    let config_ = Arc::new(ClientConfig {
        app: b"live".to_vec(),
        tc_url: b"rtmp://h/live".to_vec(),
        flash_ver: b"test".to_vec(),
        digest,
        chunk_size: 4096,
        role,
    });
    let mut to_server = Vec::new();
    let mut client = ClientSession::start(config_, 3, &mut to_server);
    let mut server = ServerSession::new(config(60_000), Budget::new(1 << 24), Millis(0));
    let mut to_client = Vec::new();
    let (mut seen, mut told) = (Vec::new(), Vec::new());
    for _ in 0..20_000 {
        let count = step.min(to_server.len());
        let part: Vec<u8> = to_server.drain(..count).collect();
        seen.extend(feed(&mut server, &part, &mut to_client).unwrap());
        let count = step.min(to_client.len());
        let part: Vec<u8> = to_client.drain(..count).collect();
        let mut input = &part[..];
        while let Some(event) = client.handle_input(&mut input, &mut to_server).unwrap() {
            match event {
                ClientEvent::Started => {
                    told.push("started".into());
                    client.send_media(MediaKind::Video, 40, &[0x17; 5000], &mut to_server);
                    client.send_end(&mut to_server);
                }
                ClientEvent::Status { code, .. } => told.push(code.escape_ascii().to_string()),
                ClientEvent::Connected => told.push("connected".into()),
                _ => {}
            }
        }
    }
    (seen, told)
}

#[test]
fn client_and_server_sessions_understand_each_other() {
    for digest in [false, true] {
        for step in [1, 1000, 100_000] {
            let publish = ClientRole::Publish { name: b"s".to_vec() };
            let (seen, told) = run_client(publish, digest, step);
            let expected =
                ["connect live", "publish 1 s Live", "Video 40", "Unpublish { msid: Msid(1) }"];
            assert_eq!(seen, expected, "digest {digest}, {step} bytes at a time");
            assert_eq!(told, ["connected", "started", "NetStream.Unpublish.Success"]);
            let (seen, told) = run_client(ClientRole::Play { name: b"s".to_vec() }, digest, step);
            assert_eq!(seen[..2], ["connect live", "play 1 s -2000"]);
            assert_eq!(told, ["connected", "NetStream.Play.Reset", "started"]);
        }
    }
}

#[test]
fn an_idle_session_is_small() {
    let size = size_of::<ServerSession>();
    assert!(size <= 512, "{size} bytes");
}
