//! The chunk reader against computed and captured streams: whole, byte by byte, and cut in two.
mod support;

use millrace::rtmp::ProtocolError;
use millrace::rtmp::chunk::writer::emit_message;
use millrace::rtmp::chunk::{ChunkReader, ChunkWriter, MessageHeader, MessageLimits};
use millrace::rtmp::message::aggregate;
use millrace::rtmp::message::command::{self, Route};
use millrace::rtmp::{Csid, Msid};
use serde_json::Value;
use support::{hex, vectors};

type Message = (u32, u32, u8, u32, Vec<u8>);

const LIMITS: MessageLimits =
    MessageLimits { media: 8 << 20, command: 64 << 10, data: 1 << 20, control: 256 };

/// Reads everything, obeying Set Chunk Size and Abort as a session does.
fn read(parts: &[&[u8]], chunk_size: u32) -> Result<Vec<Message>, ProtocolError> {
    let mut reader = ChunkReader::new(LIMITS);
    reader.set_chunk_size(chunk_size)?;
    let mut bodies = vec![Vec::new(); 64];
    let mut messages = Vec::new();
    for part in parts {
        let mut input = *part;
        while let Some(piece) = reader.read(&mut input)? {
            let body: &mut Vec<u8> = &mut bodies[piece.slot];
            if piece.is_first() {
                body.clear();
            }
            assert_eq!(body.len(), piece.offset as usize);
            body.extend_from_slice(&piece.bytes);
            if piece.is_last() {
                let MessageHeader { csid, timestamp, message_type, msid, .. } = piece.header;
                let value = body.get(..4).map(|b| u32::from_be_bytes(b.try_into().unwrap()));
                match (message_type, value) {
                    (1, Some(size)) => reader.set_chunk_size(size)?,
                    (2, Some(csid)) => drop(reader.abort(csid)),
                    _ => {}
                }
                messages.push((csid.0, timestamp, message_type, msid.0, body.clone()));
            }
        }
        assert!(input.is_empty(), "the reader uses up its input");
    }
    Ok(messages)
}

fn check_every_cut(stream: &[u8], chunk_size: u32, expected: &[Message], name: &str) {
    assert_eq!(read(&[stream], chunk_size).as_deref(), Ok(expected), "{name} whole");
    let bytes: Vec<&[u8]> = stream.chunks(1).collect();
    assert_eq!(read(&bytes, chunk_size).as_deref(), Ok(expected), "{name} byte by byte");
    for cut in 0..stream.len() {
        let (a, b) = stream.split_at(cut);
        assert_eq!(read(&[a, b], chunk_size).as_deref(), Ok(expected), "{name} cut at {cut}");
    }
}

fn number(value: &Value, key: &str) -> u32 {
    u32::try_from(value[key].as_u64().unwrap()).unwrap()
}

fn messages(case: &Value) -> Vec<Message> {
    let message = |m: &Value| {
        let payload = hex(m["payload"].as_str().unwrap());
        let kind = u8::try_from(number(m, "type")).unwrap();
        (number(m, "csid"), number(m, "timestamp"), kind, number(m, "msid"), payload)
    };
    case["messages"].as_array().unwrap().iter().map(message).collect()
}

#[test]
fn every_computed_stream_yields_its_messages_at_every_cut() {
    let file = vectors("chunks.json");
    let cases = file["cases"].as_array().unwrap();
    let mut checked = 0;
    for case in cases {
        if case["ambiguous"] == true {
            continue;
        }
        let stream = hex(case["stream"].as_str().unwrap());
        let name = case["name"].as_str().unwrap();
        check_every_cut(&stream, number(case, "chunk_size"), &messages(case), name);
        checked += 1;
    }
    assert!(checked >= 29, "only {checked} streams were checked");
}

/// What a writer makes of the messages: ours compresses headers, replies are type 0 only.
fn emitted(case: &Value, compresses: bool) -> Vec<u8> {
    let chunk_size = number(case, "chunk_size");
    let (mut writer, mut out) = (ChunkWriter::new(), Vec::new());
    writer.set_chunk_size(chunk_size);
    for (csid, timestamp, message_type, msid, body) in messages(case) {
        let (csid, msid) = (Csid(csid), Msid(msid));
        let header = MessageHeader { csid, timestamp, length: 0, message_type, msid };
        if compresses {
            writer.emit(&header, &body, &mut out);
        } else {
            emit_message(&header, &body, chunk_size, &mut out);
        }
    }
    out
}

#[test]
fn computed_streams_of_whole_messages_are_emitted_byte_for_byte() {
    let file = vectors("chunks.json");
    let mut emitted_ones = Vec::new();
    for case in file["cases"].as_array().unwrap() {
        let stream = hex(case["stream"].as_str().unwrap());
        if [true, false].into_iter().any(|compresses| emitted(case, compresses) == stream) {
            emitted_ones.push(case["name"].as_str().unwrap());
        }
    }
    // The others interleave, leave something out, or use longer forms than needed.
    let expected = [
        "seed_connect_result_128_c3",
        "recommended_connect_result_128_c3",
        "payload_exactly_128",
        "payload_129",
        "payload_zero_length",
        "spec_example_2_video_307",
        "spec_example_1_audio_fmt0_2_3_3",
        "fmt1_then_fmt3_with_different_length_chain",
        "ext_ts_fmt0_repeated_in_fmt3",
        "ts_fffffe_no_ext",
        "ts_ffffff_ext",
        "ts_ffffffff_ext",
        "ext_delta_fmt1_large",
        "csid_64_two_byte",
        "csid_319_two_byte",
        "csid_320_three_byte",
        "csid_65599_three_byte",
        "aggregate_rebased",
    ];
    assert_eq!(emitted_ones, expected);
}

#[test]
fn payload_that_looks_like_a_repeated_timestamp_is_payload_once_the_peer_is_known() {
    let file = vectors("chunks.json");
    let cases = file["cases"].as_array().unwrap();
    let find = |name: &str| cases.iter().find(|case| case["name"] == name).unwrap();
    let teaches = find("ext_ts_fmt0_not_repeated");
    let mimics = find("ext_ts_not_repeated_payload_mimics_timestamp");
    let mut stream = hex(teaches["stream"].as_str().unwrap());
    stream.extend(hex(mimics["stream"].as_str().unwrap()));
    let mut expected = messages(teaches);
    expected.extend(messages(mimics));
    check_every_cut(&stream, 128, &expected, "mimic");
}

/// QUIRK: FMS writes the current absolute time into the field of a type-3 start.
#[test]
fn a_type_3_start_may_carry_a_new_absolute_extended_timestamp() {
    let start = 0x0100_0000_u32;
    let mut stream = vec![6, 255, 255, 255, 0, 0, 2, 9, 1, 0, 0, 0];
    stream.extend(start.to_be_bytes());
    stream.extend([7, 7]);
    let times = [start, start + 40, start + 80, start + 65_535];
    for time in &times[1..] {
        stream.push(0xC6);
        stream.extend(time.to_be_bytes());
        stream.extend([7, 7]);
    }
    let expected: Vec<Message> = times.iter().map(|&time| (6, time, 9, 1, vec![7, 7])).collect();
    check_every_cut(&stream, 128, &expected, "absolute type 3");
    // Further ahead it is no time: the peer leaves it out, and these are the body's bytes.
    let mut stream = stream[..18].to_vec();
    stream[6] = 4;
    stream.extend([7, 7, 0xC6, 2, 0, 0, 0]);
    let expected = [(6, start, 9, 1, vec![7; 4]), (6, start, 9, 1, vec![2, 0, 0, 0])];
    check_every_cut(&stream, 128, &expected, "no absolute type 3");
}

#[test]
fn captured_clients_yield_their_messages_at_every_cut() {
    let file = vectors("captured.json");
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let stream = hex(case["after_handshake"].as_str().unwrap());
        check_every_cut(&stream, 128, &messages(case), case["name"].as_str().unwrap());
    }
}

#[test]
fn aggregate_messages_are_split_and_rebased() {
    let file = vectors("chunks.json");
    let cases = file["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "aggregate_rebased").unwrap();
    let (_, timestamp, _, _, body) = messages(case).remove(0);
    let parts: Vec<_> = aggregate::split(&body, timestamp)
        .map(|part| (part.message_type, part.timestamp, part.body.to_vec()))
        .collect();
    let expected = case["sub_messages"].as_array().unwrap().iter().map(|m| {
        let kind = u8::try_from(number(m, "type")).unwrap();
        (kind, number(m, "timestamp"), hex(m["payload"].as_str().unwrap()))
    });
    assert!(parts.iter().cloned().eq(expected.clone()));
    for len in 0..body.len() {
        let cut: Vec<_> = aggregate::split(&body[..len], timestamp).collect();
        assert!(cut.len() <= parts.len(), "a truncated aggregate yields a prefix");
    }
}

#[test]
fn an_aggregate_ends_at_its_first_inconsistent_length() {
    let tag = |kind: u8, length: u8| {
        [&[kind, 0, 0, 2, 0, 0, 5, 0, 0, 0, 0, 1, 2, 0, 0, 0][..], &[length]].concat()
    };
    for (lengths, count) in [([13, 13], 2), ([13, 12], 1), ([14, 13], 0), ([0, 13], 0)] {
        let body = [tag(8, lengths[0]), tag(9, lengths[1])].concat();
        assert_eq!(aggregate::split(&body, 0).count(), count, "{lengths:?}");
    }
}

#[test]
fn commands_are_chunked_like_any_message() {
    for chunk_size in [1, 7, 128, 60_000] {
        for length in 0..400 {
            let (csid, msid) = (Csid(3), Msid(0));
            let route = Route { csid, msid, message_type: 20, chunk_size };
            let body: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let (mut ours, mut plain) = (vec![9], vec![9]);
            command::emit(route, &mut ours, |writer| {
                writer.raw(&body);
            });
            let header = MessageHeader { csid, timestamp: 0, length: 0, message_type: 20, msid };
            emit_message(&header, &body, chunk_size, &mut plain);
            assert_eq!(ours, plain, "{length} bytes in chunks of {chunk_size}");
        }
    }
}

fn write_and_read(timestamps: &[u32], chunk_size: u32) -> (Vec<u8>, Vec<u32>) {
    let mut writer = ChunkWriter::new();
    writer.set_chunk_size(chunk_size);
    let mut wire = Vec::new();
    for &timestamp in timestamps {
        let header =
            MessageHeader { csid: Csid(6), timestamp, length: 0, message_type: 9, msid: Msid(1) };
        writer.emit(&header, &[0x27; 300], &mut wire);
    }
    let read = read(&[&wire], chunk_size).unwrap();
    (wire, read.iter().map(|message| message.1).collect())
}

#[test]
fn timestamps_survive_24_31_and_32_bit_borders() {
    for border in [0x00FF_FFFF_u32, 0x7FFF_FFFF, 0xFFFF_FFFF] {
        let start = border - 1000;
        let timestamps: Vec<u32> = (0..60).map(|i| start.wrapping_add(i * 40)).collect();
        for chunk_size in [128, 60_000] {
            assert_eq!(write_and_read(&timestamps, chunk_size).1, timestamps, "near {border:#x}");
        }
    }
}

#[test]
fn a_delta_that_readers_take_for_an_absolute_time_is_sent_as_one() {
    let (wire, read) = write_and_read(&[0x8000_0007, 0], 4096);
    assert_eq!(read, [0x8000_0007, 0]);
    assert_eq!(wire.iter().rposition(|&byte| byte == 9), Some(wire.len() - 305), "type 0");
}

/// Readers disagree on what type 3 adds right behind type 0, unless both readings are 0.
#[test]
fn the_writer_begins_no_message_with_type_3_behind_a_type_0_of_another_time_than_0() {
    for (time, chunk_type) in [(0, 3), (500, 2), (5000, 2)] {
        let (wire, read) = write_and_read(&[time, time], 4096);
        assert_eq!((wire[312] >> 6, read), (chunk_type, vec![time, time]));
    }
}

#[test]
fn the_writer_uses_all_four_header_types_and_goes_back_with_type_0() {
    let (wire, read) = write_and_read(&[0, 40, 80, 120, 100, 17_000_000, 60_000_000], 4096);
    assert_eq!(read, [0, 40, 80, 120, 100, 17_000_000, 60_000_000]);
    let first_bytes: Vec<u8> = {
        let mut at = 0;
        let mut types = Vec::new();
        while at < wire.len() {
            types.push(wire[at] >> 6);
            let ext = |o: usize| if wire[at + o..at + o + 3] == [255, 255, 255] { 4 } else { 0 };
            at += 300
                + match wire[at] >> 6 {
                    0 => 12 + ext(1),
                    1 => 8 + ext(1),
                    2 => 4 + ext(1),
                    _ => 1,
                };
        }
        types
    };
    assert_eq!(first_bytes, [0, 2, 3, 3, 0, 2, 2]);
}

#[test]
fn a_chunk_size_above_0xffffff_acts_as_that() {
    const LENGTH: usize = 0xFF_FFFF;
    let limits = MessageLimits { media: 0xFF_FFFF, command: 0, data: 0, control: 256 };
    let mut reader = ChunkReader::new(limits);
    reader.set_chunk_size(0x7FFF_FFFF).unwrap();
    let mut writer = ChunkWriter::new();
    writer.set_chunk_size(u32::MAX);
    let header =
        MessageHeader { csid: Csid(6), timestamp: 0, length: 0, message_type: 9, msid: Msid(1) };
    let mut wire = Vec::new();
    // What a 24-bit length cannot say is cut off.
    writer.emit(&header, &vec![7; LENGTH + 1], &mut wire);
    assert_eq!(wire.len(), 12 + LENGTH, "one chunk");
    let mut input = &wire[..];
    let piece = reader.read(&mut input).unwrap().unwrap();
    assert_eq!((piece.bytes.len(), piece.is_last(), input.len()), (LENGTH, true, 0));
}
