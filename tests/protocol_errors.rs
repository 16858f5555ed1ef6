//! Every `ProtocolError` with the shortest bytes that provoke it: one byte less does not.
mod support;

use millrace::budget::Budget;
use millrace::limits::{AMF_DEPTH_MAX, AMF_ELEMENTS_MAX, AMF_KEY_BYTES_MAX, CHUNK_STREAMS_MAX};
use millrace::rtmp::ProtocolError::{self, *};
use millrace::rtmp::amf0::Reader;
use millrace::rtmp::handshake::{ClientHandshake, ServerHandshake};
use millrace::rtmp::session::ServerSession;
use millrace::time::Millis;
use support::session::{amf, config, connect, connected_peer, feed, raw};

type Verdict = Result<(), ProtocolError>;
type Entry = fn(&[u8]) -> Verdict;

/// Behind the handshake; everything is accepted.
fn session(bytes: &[u8]) -> Verdict {
    feed(&mut connected_peer(128), bytes, &mut Vec::new()).map(drop)
}

/// Behind a connect.
fn connected(bytes: &[u8]) -> Verdict {
    let mut session = connected_peer(128);
    feed(&mut session, &connect("live"), &mut Vec::new())?;
    feed(&mut session, bytes, &mut Vec::new()).map(drop)
}

/// With a memory budget of 100 bytes.
fn poor(bytes: &[u8]) -> Verdict {
    let mut session = ServerSession::new(config(128), Budget::new(100), Millis(0));
    feed(&mut session, bytes, &mut Vec::new()).map(drop)
}

fn server_handshake(mut bytes: &[u8]) -> Verdict {
    ServerHandshake::new().handle_input(&mut bytes, &mut Vec::new()).map(drop)
}

fn client_handshake(mut bytes: &[u8]) -> Verdict {
    let mut out = Vec::new();
    ClientHandshake::start(false, 1, &mut out).handle_input(&mut bytes, &mut out).map(drop)
}

/// One value; no bytes are no value.
fn value(bytes: &[u8]) -> Verdict {
    Reader::new(bytes).next().map(drop)
}

fn check(entry: Entry, bytes: &[u8], expected: ProtocolError) {
    assert_eq!(entry(bytes), Err(expected));
    let shorter = entry(&bytes[..bytes.len() - 1]);
    assert_ne!(shorter, Err(expected), "{expected:?} needs its last byte");
}

#[test]
fn the_handshake_refuses_a_version_at_its_first_byte() {
    // RTMPE, `POST` of RTMPT, `GET`, TLS, zero, forbidden ones.
    for version in [6, 8, 9, b'P', b'G', 0x16, 0, 2, 4, 0xF3, 255] {
        check(server_handshake, &[version], UnsupportedVersion { version });
        check(client_handshake, &[version], UnsupportedVersion { version });
        check(poor, &[version], UnsupportedVersion { version });
    }
}

#[test]
fn a_chunk_stream_cannot_begin_with_type_2_or_3() {
    check(session, &[0xC4], MissingMessageHeader { csid: 4, chunk_type: 3 });
    check(session, &[0xC0, 0], MissingMessageHeader { csid: 64, chunk_type: 3 });
    check(session, &[0xC1, 0xFF, 0xFF], MissingMessageHeader { csid: 65_599, chunk_type: 3 });
    // DJI Osmo: csid 33 with type 2.
    check(session, &[0xA1, 0, 0, 0], MissingMessageHeader { csid: 33, chunk_type: 2 });
}

#[test]
fn a_message_cannot_begin_inside_another_of_its_chunk_stream() {
    let begun = [&[4, 0, 0, 0, 0, 0, 129, 9, 1, 0, 0, 0][..], &[7; 128]].concat();
    let type_0 = [&begun[..], &[4, 0, 0, 0, 0, 0, 129, 9, 1, 0, 0, 0]].concat();
    check(session, &type_0, MessageInterrupted { csid: 4 });
    let type_1 = [&begun[..], &[0x44, 0, 0, 0, 0, 0, 130, 9]].concat();
    check(session, &type_1, MessageInterrupted { csid: 4 });
    let same_length = [&begun[..], &[0x44, 0, 0, 0, 0, 0, 129, 9, 7]].concat();
    assert_eq!(session(&same_length), Ok(()), "it continues the message");
    let type_2 = [&begun[..], &[0x84, 0, 0, 0, 7]].concat();
    assert_eq!(session(&type_2), Ok(()), "it continues the message");
}

#[test]
fn the_sixty_fifth_chunk_stream_is_refused() {
    let mut stream = Vec::new();
    for csid in 3..3 + u8::try_from(CHUNK_STREAMS_MAX).unwrap() {
        let basic: &[u8] = if csid < 64 { &[csid] } else { &[0, csid - 64] };
        stream.extend_from_slice(basic);
        stream.extend_from_slice(&[0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0]);
    }
    assert_eq!(session(&stream), Ok(()));
    stream.extend_from_slice(&[0, 3, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0]);
    check(session, &stream, TooManyChunkStreams);
}

#[test]
fn a_message_is_refused_by_the_length_it_announces() {
    for (message_type, max) in
        [(1, 256), (4, 256), (6, 256), (15, 1 << 20), (18, 1 << 20), (17, 65_536), (20, 65_536)]
            .into_iter()
            .chain([(19, 65_536), (8, 8 << 20), (9, 8 << 20), (22, 8 << 20), (99, 8 << 20)])
    {
        let length: u32 = max + 1;
        let [_, a, b, c] = length.to_be_bytes();
        let header = [4, 0, 0, 0, a, b, c, message_type, 1, 0, 0, 0];
        check(session, &header, MessageTooLong { message_type, length, max });
        let [_, a, b, c] = max.to_be_bytes();
        assert_eq!(session(&[4, 0, 0, 0, a, b, c, message_type, 1, 0, 0, 0]), Ok(()));
    }
}

#[test]
fn a_chunk_size_of_zero_is_refused() {
    check(session, &raw(2, 0, 1, &[0; 4]), ZeroChunkSize);
    check(session, &raw(2, 0, 1, &[0x80, 0, 0, 0]), ZeroChunkSize);
    assert_eq!(session(&raw(2, 0, 1, &[0, 0, 0, 1])), Ok(()));
}

#[test]
fn amf_values_are_refused_for_what_they_are() {
    check(value, &[0], AmfTruncated);
    let lie = [0x0a, 0xff, 0xff, 0xff, 0xff, 5, 5];
    assert_eq!(value(&lie), Err(AmfTruncated), "a count reserves nothing");
    for marker in [4, 9, 0x0e, 0x12, 0xff] {
        check(value, &[marker], AmfMarker { marker });
        check(value, &[3, 0, 1, b'a', marker], AmfMarker { marker });
    }
    check(value, &[0x11, 0x12], AmfMarker { marker: 0x12 });
    check(value, &[0x11, 0x0a, 7], AmfMarker { marker: 0x0a });
}

/// Test of `AMF_DEPTH_MAX`.
#[test]
fn amf_values_nest_32_deep_and_no_deeper() {
    let nested = [3, 0, 1, b'a'].repeat(AMF_DEPTH_MAX);
    check(value, &[&nested[..], &[3]].concat(), AmfTooDeep);
    assert_eq!(value(&[&nested[..], &[5]].concat()), Ok(()));
    let arrays = [0x0a, 0, 0, 0, 1].repeat(AMF_DEPTH_MAX);
    check(value, &[&arrays[..], &[0x0a]].concat(), AmfTooDeep);
    let amf3 = [&[0x11][..], &[9, 3, 1].repeat(AMF_DEPTH_MAX)].concat();
    assert_eq!(value(&[&amf3[..], &[1]].concat()), Ok(()));
    check(value, &[&amf3[..], &[9, 3, 1]].concat(), AmfTooDeep);
    // A bomb is refused without recursion to its depth.
    assert_eq!(value(&[3, 0, 1, b'a'].repeat(100_000)), Err(AmfTooDeep));
    assert_eq!(value(&[&[0x11][..], &[9, 3, 1].repeat(100_000)].concat()), Err(AmfTooDeep));
}

/// Test of `AMF_ELEMENTS_MAX`.
#[test]
fn a_message_has_4096_amf_values_and_no_more() {
    let announce = |marker, count: usize| {
        [&[marker][..], &u32::try_from(count).unwrap().to_be_bytes(), &vec![5; count]].concat()
    };
    check(value, &announce(0x0a, AMF_ELEMENTS_MAX), AmfTooManyElements);
    assert_eq!(value(&announce(0x0a, AMF_ELEMENTS_MAX - 1)), Ok(()));
    let members = |count: usize| [&[3][..], &b"\x00\x01a\x05".repeat(count)].concat();
    assert_eq!(value(&members(AMF_ELEMENTS_MAX - 1)), Ok(()));
    assert_eq!(value(&members(AMF_ELEMENTS_MAX)), Err(AmfTooManyElements));
    // AMF3: dense array of nulls, 29-bit count.
    let dense = |count: usize| {
        let head = u16::try_from(count << 1 | 1).unwrap();
        let u29 = [(head >> 7).to_be_bytes()[1] | 0x80, head.to_be_bytes()[1] & 0x7F];
        [&[0x11, 9][..], &u29, &[1], &vec![1; count]].concat()
    };
    assert_eq!(value(&dense(AMF_ELEMENTS_MAX - 1)), Ok(()));
    assert_eq!(value(&dense(AMF_ELEMENTS_MAX)), Err(AmfTooManyElements));
}

/// Test of `AMF_KEY_BYTES_MAX`.
#[test]
fn an_amf_property_name_has_1024_bytes_and_no_more() {
    let named = |len: usize| {
        [&[3][..], &u16::try_from(len).unwrap().to_be_bytes(), &vec![b'k'; len]].concat()
    };
    check(value, &named(AMF_KEY_BYTES_MAX + 1), AmfKeyTooLong);
    assert_eq!(value(&[named(AMF_KEY_BYTES_MAX), vec![5]].concat()), Ok(()));
}

#[test]
fn amf_errors_end_the_session_that_meets_them_where_they_matter() {
    check(connected, &raw(3, 0, 20, &[2, 0, 9]), AmfTruncated);
    check(connected, &raw(3, 0, 20, &[4]), AmfMarker { marker: 4 });
    let arguments = [&amf("secret 5 null")[..], &[4]].concat();
    assert_eq!(connected(&raw(3, 0, 20, &arguments)), Ok(()), "trailing garbage is not read");
}

#[test]
fn connect_comes_first_and_once() {
    check(session, &raw(3, 0, 20, &amf("x")), CommandBeforeConnect);
    check(session, &raw(3, 0, 17, &amf("createStream 2 null")), CommandBeforeConnect);
    check(connected, &raw(3, 0, 20, &amf("connect")), SecondConnect);
}

/// Test of `APP_BYTES_MAX`, `TC_URL_BYTES_MAX`, `STREAM_NAME_BYTES_MAX`.
#[test]
fn names_have_their_length_and_no_control_characters() {
    let app = |name: &str| raw(3, 0, 20, &amf(&format!("connect 1 {{app={name}}}")));
    let url = |name: &str| raw(3, 0, 20, &amf(&format!("connect 1 {{app=a,tcUrl={name}}}")));
    let play = |name: &str| raw(8, 1, 20, &amf(&format!("play 0 null {name}")));
    let publish = |name: &str| raw(8, 1, 20, &amf(&format!("publish 0 null {name}")));
    let entries: [(Entry, &dyn Fn(&str) -> Vec<u8>, usize); 4] = [
        (session, &app, 256),
        (session, &url, 4096),
        (connected, &play, 1024),
        (connected, &publish, 1024),
    ];
    for (entry, message, max) in entries {
        check(entry, &message(&"n".repeat(max + 1)), NameRefused);
        assert_eq!(entry(&message(&"n".repeat(max))), Ok(()));
        assert_eq!(entry(&message("a\nb")), Err(NameRefused));
        assert_eq!(entry(&message("a\u{7f}b")), Err(NameRefused));
        assert_eq!(entry(&message("\u{4f60}")), Ok(()), "names are bytes");
    }
    check(connected, &raw(8, 1, 20, &amf("play2 0 null {streamName=\t}")), NameRefused);
}

#[test]
fn buffers_are_charged_to_the_memory_budget() {
    // C0 and C1 are kept while they come.
    check(poor, &[3; 101], OverBudget);
}
