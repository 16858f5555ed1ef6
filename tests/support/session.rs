//! Server sessions in memory: what they are fed with, what they tell, what they answer.
//!
//! Values in a short notation, parsed and emitted: `play 4 null s -2000 {a=1,b=x}`; strings have
//! no quotes unless they are empty or look like something else: `'true'`.

use std::sync::Arc;

use millrace::budget::Budget;
use millrace::rtmp::chunk::{ChunkReader, MessageHeader, MessageLimits, writer::emit_message};
use millrace::rtmp::handshake::ClientHandshake;
use millrace::rtmp::session::{Event, ServerSession, SessionConfig};
use millrace::rtmp::{Csid, Msid, ProtocolError, amf0};
use millrace::time::Millis;

/// What the sessions of a test server share.
pub fn config(chunk_size: u32) -> Arc<SessionConfig> {
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
pub fn connected_peer(chunk_size: u32) -> ServerSession {
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
pub fn feed(
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

/// A command message.
pub fn command(csid: u32, msid: u32, write: impl FnOnce(&mut amf0::Writer<'_>)) -> Vec<u8> {
    message(csid, msid, 20, write)
}

/// A message of AMF0 values.
pub fn message(
    csid: u32,
    msid: u32,
    kind: u8,
    write: impl FnOnce(&mut amf0::Writer<'_>),
) -> Vec<u8> {
    let mut body = Vec::new();
    write(&mut amf0::Writer::new(&mut body));
    raw(csid, msid, kind, &body)
}

/// A message in chunks of 128 bytes.
pub fn raw(csid: u32, msid: u32, kind: u8, body: &[u8]) -> Vec<u8> {
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

/// connect to `app`.
pub fn connect(app: &str) -> Vec<u8> {
    command(3, 0, |w| {
        w.string(b"connect").number(1.0).object().text("app", app.as_bytes()).end();
    })
}

/// Replies as (csid, msid, type, values in a short notation).
pub fn replies(out: &[u8]) -> Vec<String> {
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

/// AMF0 values in a short notation.
pub fn values(body: &[u8]) -> String {
    let mut reader = amf0::Reader::new(body);
    let mut text = Vec::new();
    while let Some(value) = reader.next().unwrap() {
        text.push(value_text(&value));
    }
    text.join(" ")
}

pub fn value_text(value: &amf0::Value<'_>) -> String {
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

/// The encoding of `text`; see the module documentation.
pub fn amf(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = amf0::Writer::new(&mut out);
    let mut rest = text;
    while !rest.is_empty() {
        let at = if rest.starts_with('{') { rest.find('}').unwrap() + 1 } else { 0 };
        let end = rest[at..].find(' ').map_or(rest.len(), |space| at + space);
        write_value(&mut writer, &rest[..end]);
        rest = rest[end..].trim_start();
    }
    out
}

fn write_value(writer: &mut amf0::Writer<'_>, text: &str) {
    let inner = |open, close| text.strip_prefix(open).and_then(|text| text.strip_suffix(close));
    if let Some(pairs) = inner('{', '}') {
        writer.object();
        for (key, value) in pairs.split(',').filter_map(|pair| pair.split_once('=')) {
            write_value(writer.key(key.as_bytes()), value);
        }
        writer.end();
        return;
    }
    match (text, text.parse::<f64>(), inner('\'', '\'')) {
        ("null", ..) => writer.null(),
        ("undefined", ..) => writer.undefined(),
        ("true" | "false", ..) => writer.boolean(text == "true"),
        (_, Ok(number), _) => writer.number(number),
        (.., Some(quoted)) => writer.string(quoted.as_bytes()),
        _ => writer.string(text.as_bytes()),
    };
}

/// A command from `csid/msid values`, for example `8/1 play 4 null s`; `csid/msid/type values` for
/// another message type.
pub fn call(text: &str) -> Vec<u8> {
    let (route, text) = text.split_once(' ').unwrap();
    let mut route = route.split('/').map(|number| number.parse::<u32>().unwrap());
    let (csid, msid) = (route.next().unwrap(), route.next().unwrap());
    let kind = route.next().unwrap_or(20);
    raw(csid, msid, u8::try_from(kind).unwrap(), &amf(text))
}

/// `bytes` whole, byte by byte, and cut in two at every place.
pub fn cuts(bytes: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let in_two = (1..bytes.len()).map(move |at| vec![&bytes[..at], &bytes[at..]]);
    [vec![bytes], bytes.chunks(1).collect()].into_iter().chain(in_two)
}

/// An onStatus as [`replies`] shows it.
pub fn status(msid: u32, level: &str, code: &str, text: &str) -> String {
    format!("5/{msid}/20 onStatus 0 null {{level={level},code={code},description={text}}}")
}
