//! Frames: the wire image of a message, made once, of bytes that come in any pieces.
mod support;

use std::sync::Arc;

use millrace::budget::Budget;
use millrace::limits::{FRAME_SEGMENT_BYTES_MAX, FRAME_SEGMENT_BYTES_MIN};
use millrace::media::frame::{Frame, FrameBuilder};
use millrace::rtmp::Msid;
use millrace::rtmp::session::MediaKind::{self, Audio, Data, Video};
use support::frames::{budget, frame_in_chunks};
use support::player_wire::{Heard, WireReader, image};

const TIMES: [u32; 5] = [0, 0x00FF_FFFE, 0x00FF_FFFF, 0x0100_0000, u32::MAX];

fn payload(len: usize) -> Vec<u8> {
    let mut body: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
    if let Some(first) = body.first_mut() {
        *first = 0x27;
    }
    body
}

/// The image as the chunk format says it, written down independently.
fn expected(kind: MediaKind, timestamp: u32, body: &[u8], chunk_size: usize) -> Vec<u8> {
    let (csid, message_type) = match kind {
        Audio => (6, 8),
        Video => (7, 9),
        Data => (5, 18),
    };
    let extended = timestamp >= 0x00FF_FFFF;
    let short = if extended { 0x00FF_FFFF } else { timestamp };
    let mut out = vec![csid];
    out.extend(&short.to_be_bytes()[1..]);
    out.extend(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend([message_type, 1, 0, 0, 0]);
    if extended {
        out.extend(timestamp.to_be_bytes());
    }
    for (index, chunk) in body.chunks(chunk_size).enumerate() {
        if index > 0 {
            out.push(0xC0 | csid);
            if extended {
                out.extend(timestamp.to_be_bytes());
            }
        }
        out.extend(chunk);
    }
    out
}

#[test]
fn the_image_is_what_the_chunk_format_says() {
    for chunk_size in [128, 129, 4_096, 60_000] {
        for timestamp in TIMES {
            for len in [0, 1, 127, 128, 129, 256, 257, 5_000, 70_000] {
                for kind in [Audio, Video, Data] {
                    let body = payload(len);
                    let frame = frame_in_chunks(kind, timestamp, &body, chunk_size);
                    let wanted = expected(kind, timestamp, &body, chunk_size as usize);
                    assert!(image(&frame) == wanted, "{kind:?} {timestamp} {len} {chunk_size}");
                    assert_eq!(frame.wire_bytes(), wanted.len());
                    assert_eq!(frame.payload_bytes(), len);
                    assert!(frame.payload().flatten().copied().eq(body.iter().copied()));
                }
            }
        }
    }
}

fn built(body: &[u8], pieces: &[usize], chunk_size: u32) -> Frame {
    let length = body.len() as u32;
    let mut builder = FrameBuilder::begin(Video, 0x0100_0000, length, chunk_size, &budget());
    let mut rest = body;
    for &piece in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at(piece.min(rest.len()));
        builder.append(now).unwrap();
        rest = later;
    }
    builder.finish()
}

#[test]
fn the_image_does_not_depend_on_the_pieces_it_came_in() {
    let body = payload(300);
    let whole = image(&built(&body, &[300], 128));
    for cut in 1..300 {
        assert!(image(&built(&body, &[cut, 300 - cut], 128)) == whole, "cut at {cut}");
    }
    for piece in [1, 2, 127, 128, 129] {
        assert!(image(&built(&body, &[piece], 128)) == whole, "pieces of {piece}");
    }
    let large = payload(400_000);
    let whole = image(&built(&large, &[400_000], 60_000));
    for pieces in [&[1_460][..], &[65_536], &[1, 70_000], &[4_084, 1, 59_999]] {
        assert!(image(&built(&large, pieces, 60_000)) == whole, "pieces of {pieces:?}");
    }
}

#[test]
fn growth_moves_no_byte_and_holds_little_more_than_has_come() {
    let body = payload(500_000);
    let budget = budget();
    let mut builder = FrameBuilder::begin(Video, 0, 500_000, 60_000, &budget);
    assert_eq!(builder.charged_bytes(), 0, "nothing is reserved on a peer's word");
    let mut arrived = 0;
    for piece in body.chunks(1_000) {
        builder.append(piece).unwrap();
        arrived += piece.len();
        let more = (2 * arrived).clamp(FRAME_SEGMENT_BYTES_MIN, FRAME_SEGMENT_BYTES_MAX);
        let held = builder.charged_bytes();
        assert!(held <= arrived + more + 2_000, "{held} bytes for {arrived}");
    }
    let frame = builder.finish();
    assert_eq!(frame.charged_bytes(), budget.used());
    // Each segment is full but the last: no byte was ever copied to a larger one.
    let lengths: Vec<usize> = frame.segments().map(<[u8]>::len).collect();
    assert!(lengths.iter().all(|&len| len <= FRAME_SEGMENT_BYTES_MAX));
    assert!(
        lengths.windows(2).all(|pair| pair[0] <= pair[1] || pair[1] == lengths[lengths.len() - 1])
    );
    drop(frame);
    assert_eq!(budget.used(), 0);
}

#[test]
fn segments_stay_where_they_are_while_more_arrive() {
    let budget = budget();
    let body = payload(200_000);
    let mut builder = FrameBuilder::begin(Video, 0, 200_000, 60_000, &budget);
    builder.append(&body[..150_000]).unwrap();
    let charged = builder.charged_bytes();
    builder.append(&body[150_000..150_001]).unwrap();
    assert!(builder.charged_bytes() - charged <= FRAME_SEGMENT_BYTES_MAX + 100);
    builder.append(&body[150_001..]).unwrap();
    assert!(builder.finish().payload().flatten().copied().eq(body.iter().copied()));
}

#[test]
fn a_full_budget_refuses_and_keeps_nothing() {
    let budget = Budget::new(10_000);
    let mut builder = FrameBuilder::begin(Video, 0, 100_000, 60_000, &budget);
    builder.append(&payload(2_000)).unwrap();
    assert!(builder.append(&payload(20_000)).is_err());
    assert!(budget.used() <= 10_000);
    drop(builder);
    assert_eq!(budget.used(), 0);
}

#[test]
fn another_message_stream_takes_a_patched_header_and_the_same_rest() {
    for timestamp in TIMES {
        let body = payload(300);
        let frame = frame_in_chunks(Video, timestamp, &body, 128);
        let (header, len) = frame.patched_header(Msid(0x0102_0304));
        let mut bytes = header[..len].to_vec();
        bytes.extend_from_slice(&image(&frame)[len..]);
        let heard = WireReader::new(128).take(&bytes);
        let msid = 0x0102_0304;
        assert_eq!(heard, [Heard { message_type: 9, timestamp, msid, body }]);
    }
}

#[test]
fn a_restamped_frame_has_another_time_and_the_same_body() {
    let body = payload(300);
    let frame = frame_in_chunks(Video, 5, &body, 128);
    for timestamp in TIMES {
        let stamped = frame.restamped(timestamp, &budget()).unwrap();
        assert!(image(&stamped) == expected(Video, timestamp, &body, 128));
        assert!(stamped.payload_equals(&frame));
        assert_eq!(stamped.tag(), frame.tag());
    }
}

#[test]
fn equality_is_that_of_bodies_whatever_their_chunks() {
    let frame = |body: &[u8], chunk_size| frame_in_chunks(Video, 0, body, chunk_size);
    let body = payload(1_000);
    assert!(frame(&body, 128).payload_equals(&frame(&body, 60_000)));
    let mut other = body.clone();
    other[999] ^= 1;
    assert!(!frame(&body, 128).payload_equals(&frame(&other, 128)));
    assert!(!frame(&body, 128).payload_equals(&frame(&body[..999], 128)));
}

#[test]
fn tracks_are_found_behind_small_chunks_and_small_pieces() {
    let mut body = vec![0x96, 0x10];
    body.extend(b"avc1");
    for id in 0..3_u8 {
        body.extend([id, 0, 0, 200]);
        body.extend([0xEE; 200]);
    }
    for (chunk_size, piece) in [(60_000, 700), (128, 700), (128, 1), (60_000, 1)] {
        let frame = built(&body, &[piece], chunk_size);
        let all = (0..3).all(|id| frame.tag().tracks.contains(id));
        assert!(all && frame.tag().is_init(), "chunks of {chunk_size}, pieces of {piece}");
    }
}

#[test]
fn data_frames_know_their_name() {
    let body = b"\x02\0\x04name\x05";
    let data_frame = |body: &[u8], chunk_size| {
        let budget = Budget::new(1 << 20);
        let length = u32::try_from(body.len()).unwrap();
        let mut builder = FrameBuilder::begin(Data, 0, length, chunk_size, &budget);
        builder.append(body).unwrap();
        builder.data_frame().unwrap().finish()
    };
    let frame = data_frame(body, 3);
    assert!(frame.is_data_frame());
    assert_eq!(frame.data_name(), Some(b"name".as_slice()));
    assert_eq!(data_frame(&[5], 128).data_name(), None);
    let other: Arc<Frame> = frame_in_chunks(Data, 0, body, 3);
    assert!(!other.is_data_frame() && other.data_name().is_none());
}
