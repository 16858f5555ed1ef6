//! Limits of sessions, frames and logs, hit without a socket; those of parsers are in
//! `protocol_errors`.
mod support;

use std::sync::Arc;

use millrace::budget::Budget;
use millrace::limits::{
    FRAME_SEGMENT_BYTES_MAX, FRAME_SEGMENT_BYTES_MIN, INIT_BYTES_MAX, INIT_FRAMES_MAX,
    LOG_FRAMES_MAX, MESSAGE_BYTES_MAX, OUT_QUEUE_BYTES_MAX,
};
use millrace::media::frame::{Frame, FrameBuilder};
use millrace::media::log::{GopMode, LogLimits, StreamLog};
use millrace::rtmp::amf0;
use millrace::rtmp::session::{MediaKind, ServerSession, SessionConfig};
use millrace::time::Millis;
use support::body;
use support::session::{call, connect, connected_peer, feed, raw, replies};

#[test]
fn a_frame_reserves_nothing_on_a_peers_word() {
    let budget = Budget::new(64 << 20);
    let length = MESSAGE_BYTES_MAX;
    let mut builder = FrameBuilder::begin(MediaKind::Video, 0, length, 60_000, &budget);
    assert_eq!(budget.used(), 0);
    builder.append(&[0x27]).unwrap();
    assert!(budget.used() < FRAME_SEGMENT_BYTES_MIN + 1024, "{}", budget.used());
    let mut arrived = 1;
    while arrived < length as usize {
        let piece = vec![1; 4096.min(length as usize - arrived)];
        builder.append(&piece).unwrap();
        arrived += piece.len();
        assert!(budget.used() < 2 * arrived + FRAME_SEGMENT_BYTES_MAX, "{arrived}");
    }
    let frame = builder.finish();
    assert!(frame.segments().all(|segment| segment.len() <= FRAME_SEGMENT_BYTES_MAX));
    assert!(frame.segments().count() > 100);
    assert_eq!(budget.used(), frame.charged_bytes());
    drop(frame);
    assert_eq!(budget.used(), 0);
}

fn frame(kind: MediaKind, body: &[u8], budget: &Arc<Budget>) -> Arc<Frame> {
    let length = u32::try_from(body.len()).unwrap();
    let mut builder = FrameBuilder::begin(kind, 0, length, 60_000, budget);
    builder.append(body).unwrap();
    Arc::new(builder.finish())
}

fn data_frame(name: &str, len: usize, budget: &Arc<Budget>) -> Arc<Frame> {
    let mut body = Vec::new();
    amf0::Writer::new(&mut body).string(name.as_bytes()).string(&vec![b'x'; len]);
    let length = u32::try_from(body.len()).unwrap();
    let mut builder = FrameBuilder::begin(MediaKind::Data, 0, length, 60_000, budget);
    builder.append(&body).unwrap();
    Arc::new(builder.data_frame().unwrap().finish())
}

fn log() -> StreamLog {
    let limits = LogLimits { gop: GopMode::Gop, bytes: 1 << 30, gop_ms: 60_000, lag_ms: 60_000 };
    StreamLog::new(limits)
}

#[test]
fn what_is_kept_for_joiners_is_bounded_in_number_and_bytes() {
    let budget = Budget::new(1 << 30);
    let mut many = log();
    for index in 0..INIT_FRAMES_MAX + 10 {
        many.append(&data_frame(&format!("frame {index}"), 10, &budget), Millis(0));
    }
    assert_eq!(many.init().frames().len(), INIT_FRAMES_MAX);

    let mut large = log();
    for index in 0..40 {
        large.append(&data_frame(&format!("frame {index}"), 60_000, &budget), Millis(0));
    }
    let kept: usize = large.init().frames().iter().map(|frame| frame.payload_bytes()).sum();
    assert!(kept <= INIT_BYTES_MAX, "{kept}");
    assert!(kept > INIT_BYTES_MAX - 70_000, "{kept}");
    assert_eq!(large.head(), 40, "what does not fit is still forwarded");
}

#[test]
fn a_log_keeps_so_many_frames_and_no_more() {
    let budget = Budget::new(1 << 30);
    let mut log = log();
    log.append(&frame(MediaKind::Video, &body::key(0, 13), &budget), Millis(0));
    let inter = frame(MediaKind::Video, &body::inter(1, 13), &budget);
    for _ in 1..LOG_FRAMES_MAX {
        log.append(&inter, Millis(0));
    }
    assert_eq!((log.base(), log.gop_start()), (0, Some(0)));
    log.append(&inter, Millis(0));
    assert_eq!((log.base(), log.head()), (1, LOG_FRAMES_MAX as u64 + 1));
    assert_eq!(log.gop_start(), None, "a GOP over its cap is not cached");
}

#[test]
fn replies_that_nobody_takes_stop_the_input() {
    let mut session = connected_peer(128);
    let mut out = Vec::new();
    feed(&mut session, &connect("live"), &mut out).unwrap();
    let request = call("3/0 chat.send 9 null");
    let flood: Vec<u8> = request.iter().copied().cycle().take(5_000 * request.len()).collect();
    let (mut input, mut answers, mut stops) = (&flood[..], 0, 0);
    out.clear();
    while !input.is_empty() {
        assert!(session.handle_input(&mut input, &mut out, Millis(1)).unwrap().is_none());
        assert!(out.len() < OUT_QUEUE_BYTES_MAX + 1024, "{}", out.len());
        answers += replies(&out).len();
        stops += 1;
        out.clear();
    }
    assert_eq!(answers, 5_000);
    assert!(stops > 5, "{stops}");
}

#[test]
fn state_of_chunk_streams_and_handshakes_is_charged() {
    let config =
        SessionConfig { chunk_size: 128, handshake_timeout_ms: 1_000, ..SessionConfig::default() };
    let budget = Budget::new(1 << 20);
    let mut session = ServerSession::new(Arc::new(config), Arc::clone(&budget), Millis(0));
    let before = session.state_bytes();
    let mut hello = vec![3];
    hello.resize(1000, 0);
    session.handle_input(&mut &hello[..], &mut Vec::new(), Millis(0)).unwrap();
    assert!(session.partial_bytes() >= 1000);
    assert_eq!(budget.used(), session.partial_bytes());
    hello.resize(537 + 1536, 0);
    session.handle_input(&mut &hello[..], &mut Vec::new(), Millis(0)).unwrap();
    assert_eq!(budget.used(), 0);
    for csid in 3..64 {
        session
            .handle_input(&mut &raw(csid, 0, 4, &[0; 6])[..], &mut Vec::new(), Millis(0))
            .unwrap();
    }
    assert!(session.state_bytes() > before + 61 * 20, "{}", session.state_bytes());
}
