//! Micro-benchmarks: what one step of the media path costs in user space.
//!
//! `cargo bench` measures times. `micro count NAME TIMES` only runs one of them so often: under
//! `valgrind --tool=callgrind` the difference between two counts is instructions, which no
//! neighbour on the machine changes (`scripts/bench.sh`).
#![forbid(unsafe_code)]

#[allow(dead_code, unreachable_pub, reason = "tests use the other parts")]
#[path = "../support/body.rs"]
mod body;

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use millrace::budget::Budget;
use millrace::limits;
use millrace::media::cursor::{Cursor, Pending};
use millrace::media::frame::{Frame, FrameBuilder};
use millrace::media::log::{GopMode, LogLimits, StreamLog};
use millrace::rtmp::amf0::{Reader, Writer};
use millrace::rtmp::chunk::writer::emit_message;
use millrace::rtmp::chunk::{ChunkReader, MessageHeader, MessageLimits, PieceBytes};
use millrace::rtmp::session::{MediaKind, MediaPiece};
use millrace::rtmp::{Csid, Msid};
use millrace::service::message::Epoch;
use millrace::service::publisher::{ConnectionId, Publisher, PublisherSetup};
use millrace::time::Millis;

/// Body bytes of a frame of 1 Mb/s.
const BODY_BYTES: usize = 4_000;
/// Chunk size of the server, and of most publishers.
const LARGE: u32 = limits::CHUNK_SIZE_DEFAULT;
const SMALL: u32 = limits::CHUNK_SIZE_INITIAL;
/// Players of a flush.
const PLAYERS: usize = 100;
/// Time between two frames, ms.
const FRAME_MS: u64 = 14;

/// One step, again and again.
type Step = Box<dyn FnMut()>;

/// Every benchmark: its name, and how it is set up.
const BENCHES: [(&str, fn() -> Step); 11] = [
    ("chunk_read_4000_bytes_in_1_chunk", || chunk_read(LARGE)),
    ("chunk_read_4000_bytes_in_32_chunks", || chunk_read(SMALL)),
    ("chunk_write_4000_bytes_in_1_chunk", || chunk_write(LARGE)),
    ("chunk_write_4000_bytes_in_32_chunks", || chunk_write(SMALL)),
    ("amf0_parse_connect", amf0_parse),
    ("amf0_emit_connect", amf0_emit),
    ("frame_build_4000_bytes", frame_build),
    ("publisher_piece_4000_bytes_in_2", publisher_piece),
    ("log_append", log_append),
    ("cursor_flush_100_players_1_frame", || cursor_flush(1)),
    ("cursor_flush_100_players_8_frames", || cursor_flush(8)),
];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, mode, name, times] = &arguments[..]
        && mode == "count"
    {
        return count(name, times.parse().expect("TIMES is a number"));
    }
    if arguments.get(1).is_some_and(|mode| mode == "names") {
        return BENCHES.iter().for_each(|(name, _)| println!("{name}"));
    }
    let mut criterion = Criterion::default().configure_from_args();
    for (name, set_up) in BENCHES {
        let mut step = set_up();
        criterion.bench_function(name, |bencher| bencher.iter(&mut step));
    }
    criterion.final_summary();
}

fn count(name: &str, times: usize) {
    let (_, set_up) = BENCHES.iter().find(|(known, _)| *known == name).expect("a known NAME");
    let mut step = set_up();
    (0..times).for_each(|_| step());
}

fn header(message_type: u8) -> MessageHeader {
    MessageHeader { csid: Csid(6), timestamp: 40, length: 0, message_type, msid: Msid(1) }
}

fn chunk_read(chunk_size: u32) -> Step {
    let mut bytes = Vec::new();
    emit_message(&header(9), &body::inter(1, BODY_BYTES), chunk_size, &mut bytes);
    let limits = MessageLimits { media: 1 << 20, command: 4096, data: 4096, control: 256 };
    let mut reader = ChunkReader::new(limits);
    reader.set_chunk_size(chunk_size).expect("not 0");
    Box::new(move || {
        let mut input = black_box(&bytes[..]);
        while let Some(piece) = reader.read(&mut input).expect("well formed") {
            black_box(piece);
        }
    })
}

fn chunk_write(chunk_size: u32) -> Step {
    let body = body::inter(1, BODY_BYTES);
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        emit_message(&header(9), black_box(&body), chunk_size, &mut out);
        black_box(&out);
    })
}

fn emit_connect(out: &mut Vec<u8>) {
    let mut writer = Writer::new(out);
    writer.string(b"connect").number(1.0).object();
    writer.key(b"app").string(b"live").key(b"type").string(b"nonprivate");
    writer.key(b"flashVer").string(b"FMLE/3.0 (compatible; Lavf61.7.100)");
    writer.key(b"tcUrl").string(b"rtmp://127.0.0.1:1935/live").key(b"fpad").boolean(false);
    writer.key(b"capabilities").number(15.0).key(b"audioCodecs").number(4071.0).end();
}

fn amf0_parse() -> Step {
    let mut bytes = Vec::new();
    emit_connect(&mut bytes);
    Box::new(move || {
        let mut reader = Reader::new(black_box(&bytes));
        while let Some(value) = reader.next().expect("well formed") {
            black_box(value);
        }
    })
}

fn amf0_emit() -> Step {
    let mut out = Vec::new();
    Box::new(move || {
        out.clear();
        emit_connect(&mut out);
        black_box(&out);
    })
}

fn budget() -> Arc<Budget> {
    Budget::new(1 << 40)
}

fn frame(budget: &Arc<Budget>, body: &[u8]) -> Frame {
    let length = u32::try_from(body.len()).expect("short");
    let mut builder = FrameBuilder::begin(MediaKind::Video, 40, length, LARGE, budget);
    builder.append(body).expect("the budget is large");
    builder.finish()
}

fn frame_build() -> Step {
    let (body, budget) = (body::inter(1, BODY_BYTES), budget());
    Box::new(move || {
        black_box(frame(&budget, black_box(&body)));
    })
}

fn publisher_piece() -> Step {
    let body = body::inter(1, BODY_BYTES);
    let setup = PublisherSetup { chunk_size: LARGE, budget: budget() };
    let connection = ConnectionId::new(0, 1);
    let grant = (Epoch(1), Arc::default());
    let mut publisher = Publisher::new(connection, Msid(1), 0, grant, &setup, Millis(0));
    let mut copied = 0;
    Box::new(move || {
        let (first, second) = body.split_at(BODY_BYTES / 2);
        for (offset, bytes) in [(0, first), (first.len(), second)] {
            let piece = MediaPiece {
                slot: 0,
                kind: MediaKind::Video,
                msid: Msid(1),
                timestamp: 40,
                length: u32::try_from(BODY_BYTES).expect("short"),
                offset: u32::try_from(offset).expect("short"),
                bytes: PieceBytes::Borrowed(black_box(bytes)),
            };
            let frame = publisher.piece(&piece, &mut copied, Millis(0));
            black_box(frame.expect("the budget is large"));
        }
    })
}

/// A log with a keyframe, its clock, and a frame to append.
fn log() -> (StreamLog, Millis, Arc<Frame>) {
    let limits = LogLimits { gop: GopMode::Gop, bytes: 32 << 20, gop_ms: 2_000, lag_ms: 5_000 };
    let mut log = StreamLog::new(limits);
    let budget = budget();
    log.append(&Arc::new(frame(&budget, &body::avc_header(1))), Millis(0));
    log.append(&Arc::new(frame(&budget, &body::key(0, BODY_BYTES))), Millis(0));
    (log, Millis(0), Arc::new(frame(&budget, &body::inter(1, BODY_BYTES))))
}

fn log_append() -> Step {
    let (mut log, mut now, frame) = log();
    Box::new(move || {
        now = now.plus(FRAME_MS);
        log.append(black_box(&frame), now);
    })
}

/// Frames are appended, then each player prepares, gathers and arrives behind them.
fn cursor_flush(frames: usize) -> Step {
    let (mut log, mut now, frame) = log();
    let budget = budget();
    let mut players: Vec<Cursor> = (0..PLAYERS).map(|_| Cursor::join(&log, None)).collect();
    Box::new(move || {
        now = now.plus(FRAME_MS);
        (0..frames).for_each(|_| log.append(black_box(&frame), now));
        for cursor in &mut players {
            cursor.prepare(&mut log, 5_000, &budget, now);
            let mut ahead = cursor.ahead(&log);
            let bytes = ahead.by_ref().map(gather).sum::<usize>();
            let place = ahead.place();
            black_box(bytes);
            cursor.arrive(place);
        }
    })
}

fn gather(pending: Pending<'_>) -> usize {
    pending.frame.segments().map(|segment| black_box(segment).len()).sum::<usize>() - pending.offset
}
