//! One plain function per parser entry: bytes in, `Err` for what the parser refused, a panic for
//! what must never be. `tests/fuzz.rs` runs each over its corpus on stable, `scripts/fuzz.sh` with
//! a fuzzer. Where the parser resumes, the first byte cuts the input and the outcome must not
//! depend on it.

#[allow(unreachable_pub, reason = "the module is shared with other tests")]
#[path = "../../support/naive_reader.rs"]
mod naive_reader;

use std::sync::Arc;

use millrace::budget::Budget;
use millrace::media::frame::FrameBuilder;
use millrace::media::{flv, metadata, tag};
use millrace::rtmp::ProtocolError;
use millrace::rtmp::amf0::{Object, Reader, Value, Writer};
use millrace::rtmp::chunk::{ChunkReader, MessageHeader, MessageLimits, writer::emit_message};
use millrace::rtmp::handshake::{ClientHandshake, ServerHandshake};
use millrace::rtmp::message::aggregate;
use millrace::rtmp::session::{
    ClientConfig, ClientEvent, ClientRole, ClientSession, Event, MediaKind, ServerSession,
    SessionConfig, Status,
};
use millrace::rtmp::{Csid, Msid};
use millrace::service::key::{StreamKey, normal_app};
use millrace::time::Millis;
use naive_reader::NaiveReader;

/// What a target says of its input.
pub(crate) type Verdict = Result<(), ProtocolError>;
/// A target.
pub(crate) type Target = fn(&[u8]) -> Verdict;

/// Every target by the name of its corpus directory.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("server_session", server_session),
    ("chunk_reader", chunk_reader),
    ("command", command),
    ("client_session", client_session),
    ("amf0_reader", amf0_reader),
    ("amf3_skip", amf3_skip),
    ("control", control),
    ("handshake_server", handshake_server),
    ("handshake_client", handshake_client),
    ("aggregate", aggregate_split),
    ("tag", classify),
    ("metadata", data_message),
    ("flv", flv_tags),
    ("stream_key", stream_key),
    ("frame_builder", frame_builder),
];

const LIMITS: MessageLimits =
    MessageLimits { media: 1 << 20, command: 64 << 10, data: 1 << 20, control: 256 };

/// The pieces of `bytes` that `cut` makes: everything, or `cut` bytes at a time.
fn parts(bytes: &[u8], cut: u8) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(if cut == 0 { bytes.len().max(1) } else { usize::from(cut) })
}

/// C0 C1 C2 of a client.
fn handshake_server(data: &[u8]) -> Verdict {
    let [cut, bytes @ ..] = data else { return Ok(()) };
    let serve = |cut| {
        let (mut handshake, mut out, mut left) = (ServerHandshake::new(), Vec::new(), Vec::new());
        for mut part in parts(bytes, cut) {
            if handshake.handle_input(&mut part, &mut out)? {
                left.extend_from_slice(part);
            }
            assert!(handshake.buffered_bytes() <= 4096, "C0 and C1 only");
        }
        Ok((out, left))
    };
    let whole = serve(0);
    assert_eq!(whole, serve(*cut));
    whole.map(drop)
}

/// S0 S1 S2 of a server.
fn handshake_client(data: &[u8]) -> Verdict {
    let [cut, bytes @ ..] = data else { return Ok(()) };
    let answer = |cut| {
        let (mut out, mut left) = (Vec::new(), Vec::new());
        let mut handshake = ClientHandshake::start(bytes.len() % 2 == 0, 1, &mut out);
        for mut part in parts(bytes, cut) {
            if handshake.handle_input(&mut part, &mut out)? {
                left.extend_from_slice(part);
            }
        }
        Ok((out, left))
    };
    let whole = answer(0);
    assert_eq!(whole, answer(*cut));
    whole.map(drop)
}

type Messages = Vec<(MessageHeader, Vec<u8>)>;

/// All messages of a chunk stream; Set Chunk Size is obeyed.
fn read_messages(bytes: &[u8], cut: u8) -> Result<Messages, ProtocolError> {
    let mut reader = ChunkReader::new(LIMITS);
    let (mut bodies, mut messages) = (vec![Vec::new(); 64], Vec::new());
    for mut part in parts(bytes, cut) {
        while let Some(piece) = reader.read(&mut part)? {
            let body: &mut Vec<u8> = &mut bodies[piece.slot];
            if piece.is_first() {
                body.clear();
            }
            assert_eq!(body.len(), piece.offset as usize);
            body.extend_from_slice(&piece.bytes);
            if piece.is_last() {
                match (piece.header.message_type, body.first_chunk()) {
                    (1, Some(size)) => reader.set_chunk_size(u32::from_be_bytes(*size))?,
                    (2, Some(csid)) => drop(reader.abort(u32::from_be_bytes(*csid))),
                    _ => {}
                }
                messages.push((piece.header, std::mem::take(&mut bodies[piece.slot])));
            }
        }
        assert!(part.is_empty(), "the reader uses up its input");
    }
    Ok(messages)
}

/// Chunks behind a handshake; a reader without cuts and cleverness reads the same.
fn chunk_reader(data: &[u8]) -> Verdict {
    let [cut, bytes @ ..] = data else { return Ok(()) };
    let read = read_messages(bytes, *cut);
    let mut naive = NaiveReader::new(bytes, limit);
    let verdict = naive.read();
    let Ok(messages) = &read else {
        assert_eq!(read.map(drop), verdict);
        return verdict;
    };
    assert_eq!(verdict, Ok(()));
    let plain = messages.iter().map(|(header, body)| {
        (header.csid.0, header.timestamp, header.message_type, header.msid.0, body)
    });
    assert!(plain.eq(naive.messages.iter().map(|(a, b, c, d, body)| (*a, *b, *c, *d, body))));
    verdict
}

fn limit(message_type: u8) -> u32 {
    match message_type {
        1..=6 => LIMITS.control,
        15 | 18 => LIMITS.data,
        16 | 17 | 19 | 20 => LIMITS.command,
        _ => LIMITS.media,
    }
}

/// The values of a message.
fn amf0_reader(data: &[u8]) -> Verdict {
    let mut reader = Reader::new(data);
    while let Some(value) = reader.next()? {
        let _ = (value.number(), value.string(), value.boolean());
        if let Value::Object(object) = value {
            let encoded: usize = object.spans().map(|(.., encoded)| encoded.len()).sum();
            assert_eq!(encoded, object.body.len(), "a validated object is walked to its end");
        }
    }
    Ok(())
}

/// One AMF3 value inside AMF0.
fn amf3_skip(data: &[u8]) -> Verdict {
    let bytes = [&[0x11], data].concat();
    let mut reader = Reader::new(&bytes);
    let Some(value) = reader.next()? else { return Ok(()) };
    let _ = (value.number(), value.string(), value.boolean());
    assert!(
        matches!(value, Value::Amf3(encoded) if encoded.len() + reader.rest().len() + 1 == bytes.len())
    );
    Ok(())
}

fn message(csid: u32, msid: u32, message_type: u8, body: &[u8], out: &mut Vec<u8>) {
    let (csid, msid) = (Csid(csid), Msid(msid));
    let header = MessageHeader { csid, timestamp: 0, length: 0, message_type, msid };
    emit_message(&header, body, 128, out);
}

fn invoke(name: &[u8], msid: u32, write: impl FnOnce(&mut Writer<'_>), out: &mut Vec<u8>) {
    let mut body = Vec::new();
    write(Writer::new(&mut body).string(name).number(1.0));
    message(3, msid, 20, &body, out);
}

/// C0 to C2 and connect; `uses` bit 0: publishing on 1, bit 1: playing on 2.
fn prelude(uses: u8, out: &mut Vec<u8>) {
    out.push(3);
    out.extend_from_slice(&[0; 2 * 1536]);
    let connect = |w: &mut Writer<'_>| {
        w.object().text("app", b"a").end();
    };
    invoke(b"connect", 0, connect, out);
    for (bit, msid, name) in [(1, 1, &b"publish"[..]), (2, 2, b"play")] {
        if uses & bit != 0 {
            let arguments = |w: &mut Writer<'_>| {
                w.null().string(b"s");
            };
            invoke(name, msid, arguments, out);
        }
    }
}

/// What a server session made of `bytes`, everything accepted but names that begin with `!`.
fn serve(bytes: &[u8], cut: u8, budget: usize) -> (Vec<String>, Verdict) {
    let limits = LIMITS;
    let (handshake_timeout_ms, idle_timeout_ms, ping_interval_ms) = (10, 20, 30);
    let config = SessionConfig {
        chunk_size: 4096,
        limits,
        handshake_timeout_ms,
        idle_timeout_ms,
        ping_interval_ms,
    };
    let budget = Budget::new(budget);
    let mut session = ServerSession::new(Arc::new(config), Arc::clone(&budget), Millis(0));
    let (mut out, mut seen) = (Vec::new(), Vec::new());
    let mut verdict = Ok(());
    for part in parts(bytes, cut) {
        verdict = feed(&mut session, part, &mut out, &mut seen);
        if verdict.is_err() {
            break;
        }
    }
    if let Some(replies) = out.get(3073..) {
        read_messages(replies, 0).expect("replies are well-formed");
    }
    drop(session);
    assert_eq!(budget.used(), 0, "every charge is given back");
    (seen, verdict)
}

fn feed(
    session: &mut ServerSession,
    mut input: &[u8],
    out: &mut Vec<u8>,
    seen: &mut Vec<String>,
) -> Verdict {
    while let Some(event) = session.handle_input(&mut input, out, Millis(1))? {
        match event {
            Event::Media(piece) if !piece.is_last() => continue,
            Event::Media(piece) => {
                let (kind, msid) = (piece.kind, piece.msid);
                seen.push(format!("{kind:?} {msid:?} {} {}", piece.timestamp, piece.length));
            }
            Event::Data { timestamp, body, .. } => seen.push(format!("{timestamp} {}", body.len())),
            Event::Aggregate { timestamp, body, .. } => {
                let parts = aggregate::split(&body, timestamp).count();
                seen.push(format!("{timestamp} {parts}"));
            }
            event => {
                seen.push(format!("{event:?}"));
                decide(session, &event, out);
            }
        }
    }
    Ok(())
}

fn decide(session: &mut ServerSession, event: &Event<'_>, out: &mut Vec<u8>) {
    match event {
        Event::Connect { app, .. } if app.starts_with(b"!") => {
            session.reject_connect(Status::ConnectInvalidApp, "No.", out);
        }
        Event::Connect { .. } => session.accept_connect(out),
        Event::Publish { name, msid, .. } if name.starts_with(b"!") => {
            session.reject_publish(*msid, Status::PublishBadName, "No.", out);
        }
        Event::Publish { msid, .. } => session.accept_publish(*msid, out),
        Event::Play { msid, request } if request.name.starts_with(b"!") => {
            session.reject_play(*msid, Status::PlayStreamNotFound, "No.", out);
        }
        Event::Play { msid, .. } => session.accept_play(*msid, out),
        _ => {}
    }
}

/// A whole connection behind the handshake.
fn server_session(data: &[u8]) -> Verdict {
    let [cut, uses, budget, bytes @ ..] = data else { return Ok(()) };
    let mut stream = vec![3; 3073];
    if uses & 128 != 0 {
        stream.clear();
        prelude(*uses, &mut stream);
    }
    stream.extend_from_slice(bytes);
    let budget = 1 << (budget & 31);
    let (seen, verdict) = serve(&stream, 0, budget);
    if verdict != Err(ProtocolError::OverBudget) && budget > 1 << 24 {
        assert_eq!((seen, verdict), serve(&stream, *cut, budget));
    }
    verdict
}

/// The body of a command message.
fn command(data: &[u8]) -> Verdict {
    let [uses, msid, body @ ..] = data else { return Ok(()) };
    let mut stream = Vec::new();
    prelude(*uses, &mut stream);
    let message_type = if uses & 4 == 0 { 20 } else { 17 };
    message(3, u32::from(*msid), message_type, body, &mut stream);
    serve(&stream, 0, 1 << 24).1
}

/// The bodies of control messages in the middle of an audio message.
fn control(data: &[u8]) -> Verdict {
    let [uses, messages @ ..] = data else { return Ok(()) };
    let mut stream = Vec::new();
    prelude(*uses | 1, &mut stream);
    stream.extend_from_slice(&[4, 0, 0, 0, 0, 1, 0, 8, 1, 0, 0, 0]);
    stream.extend_from_slice(&[0xaf; 128]);
    for (index, body) in messages.chunks(11).enumerate() {
        let (message_type, body) = body.split_first().unwrap_or((&0, &[]));
        let message_type = message_type.wrapping_add(index.to_le_bytes()[0]) % 6 + 1;
        message(2, 0, message_type, body, &mut stream);
    }
    serve(&stream, *uses & !1, 1 << 24).1
}

/// What a server sends behind its handshake.
fn client_session(data: &[u8]) -> Verdict {
    let [cut, role, bytes @ ..] = data else { return Ok(()) };
    let name = b"s".to_vec();
    let roles =
        [ClientRole::Idle, ClientRole::Publish { name: name.clone() }, ClientRole::Play { name }];
    let role = roles[usize::from(role % 3)].clone();
    let whole = play_client(bytes, 0, role.clone());
    let in_parts = play_client(bytes, *cut, role);
    assert_eq!(whole, in_parts);
    whole.1
}

fn play_client(bytes: &[u8], cut: u8, role: ClientRole) -> (Vec<String>, Verdict) {
    let (app, tc_url, flash_ver) = (b"a".to_vec(), b"rtmp://h/a".to_vec(), b"v".to_vec());
    let config = ClientConfig { app, tc_url, flash_ver, digest: false, chunk_size: 128, role };
    let (mut out, mut seen) = (Vec::new(), Vec::new());
    let mut session = ClientSession::start(Arc::new(config), 1, &mut out);
    let stream = [&[3; 3073], bytes].concat();
    for mut part in parts(&stream, cut) {
        loop {
            match session.handle_input(&mut part, &mut out) {
                Ok(None) => break,
                Ok(Some(ClientEvent::Media(piece))) if !piece.is_last() => {}
                Ok(Some(ClientEvent::Media(piece))) => seen.push(format!("{}", piece.timestamp)),
                Ok(Some(ClientEvent::Data { body, .. })) => seen.push(format!("{:?}", &*body)),
                Ok(Some(event)) => seen.push(format!("{event:?}")),
                Err(error) => return (seen, Err(error)),
            }
        }
    }
    (seen, Ok(()))
}

/// The body of an aggregate message.
fn aggregate_split(data: &[u8]) -> Verdict {
    let bytes: usize = aggregate::split(data, 7).map(|message| message.body.len() + 15).sum();
    assert!(bytes <= data.len(), "sub-messages do not overlap");
    Ok(())
}

/// The body of an audio or video message.
fn classify(data: &[u8]) -> Verdict {
    for kind in [MediaKind::Audio, MediaKind::Video, MediaKind::Data] {
        let _ = tag::classify(kind, data);
    }
    Ok(())
}

/// The body of a data message.
fn data_message(data: &[u8]) -> Verdict {
    let metadata::DataMessage::Metadata(body) = metadata::parse_data(data)? else { return Ok(()) };
    let mut reader = Reader::new(&body);
    assert_eq!(reader.next(), Ok(Some(Value::String(b"onMetaData"))));
    assert!(matches!(reader.next(), Ok(Some(Value::Object(Object { marker: 8, .. })))));
    assert_eq!(reader.rest(), b"");
    Ok(())
}

/// A file.
fn flv_tags(data: &[u8]) -> Verdict {
    let Some(tags) = flv::tags(data) else { return Ok(()) };
    let mut again = Vec::new();
    flv::emit_header(true, true, &mut again);
    let tags: Vec<_> = tags.collect();
    tags.iter().for_each(|tag| flv::emit_tag(tag.tag_type, tag.timestamp, tag.body, &mut again));
    let read_again = flv::tags(&again).map(Iterator::collect::<Vec<_>>);
    assert_eq!(read_again, Some(tags));
    Ok(())
}

/// `app` and stream name.
fn stream_key(data: &[u8]) -> Verdict {
    let at = data.iter().position(|&byte| byte == 0).unwrap_or(data.len());
    let (app, name) = data.split_at(at);
    let name = name.get(1..).unwrap_or_default();
    assert_eq!(normal_app(&normal_app(app)), normal_app(app));
    let Ok(key) = StreamKey::new(app, name) else { return Ok(()) };
    assert!(key.as_bytes().len() <= app.len() + name.len() + 2);
    assert!(!key.as_bytes().is_empty());
    Ok(())
}

/// A media message from its pieces: the wire image reads back as the message.
fn frame_builder(data: &[u8]) -> Verdict {
    let [cut, time, size, body @ ..] = data else { return Ok(()) };
    let timestamp = u32::from(*time) << 17;
    let (kind, budget) = (MediaKind::Video, Budget::new(1 << 24));
    let length = u32::try_from(body.len()).unwrap_or(0);
    let chunk_size = u32::from(*size) + 1;
    let mut builder = FrameBuilder::begin(kind, timestamp, length, chunk_size, &budget);
    builder.append(&[])?;
    parts(body, *cut).try_for_each(|part| builder.append(part))?;
    let frame = builder.finish();
    let mut wire = vec![2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0];
    wire.extend_from_slice(&chunk_size.to_be_bytes());
    frame.segments().for_each(|segment| wire.extend_from_slice(segment));
    let read = read_messages(&wire, 0)?;
    assert_eq!(
        read.get(1).map(|(header, body)| (header.timestamp, &body[..])),
        Some((timestamp, body))
    );
    Ok(())
}
