//! What a stream log keeps, for whom, and when it gives it up.
mod support;

use std::sync::Arc;

use millrace::media::frame::Frame;
use millrace::media::log::{GopMode, LogLimits, StreamLog};
use millrace::rtmp::session::MediaKind::{Audio, Video};
use millrace::time::Millis;
use support::body;
use support::frames::{budget, data_frame, frame, limits};

const NOW: Millis = Millis(1_000);

fn key(number: u64) -> Arc<Frame> {
    frame(Video, 0, &body::key(number, 100))
}

fn inter(number: u64) -> Arc<Frame> {
    frame(Video, 0, &body::inter(number, 100))
}

fn audio(number: u64) -> Arc<Frame> {
    frame(Audio, 0, &body::audio(number, 50))
}

fn filled(gop: GopMode, frames: &[Arc<Frame>]) -> StreamLog {
    let mut log = StreamLog::new(limits(gop));
    for frame in frames {
        log.append(frame, NOW);
    }
    log
}

#[test]
fn each_gop_mode_keeps_what_its_joiners_get() {
    let frames = [key(0), inter(1), audio(2), key(3), inter(4)];
    let gop = filled(GopMode::Gop, &frames);
    assert_eq!((gop.gop_start(), gop.last_key(), gop.head()), (Some(3), Some(3), 5));
    assert!(gop.key_frame().is_none());
    let keyframe = filled(GopMode::Keyframe, &frames);
    assert_eq!((keyframe.gop_start(), keyframe.last_key()), (None, Some(3)));
    assert!(Arc::ptr_eq(keyframe.key_frame().unwrap(), &frames[3]));
    let off = filled(GopMode::Off, &frames);
    assert_eq!((off.gop_start(), off.last_key()), (None, Some(3)));
    assert!(off.key_frame().is_none());
}

#[test]
fn frames_older_than_the_lag_go_unless_the_gop_needs_them() {
    let mut log = StreamLog::new(limits(GopMode::Gop));
    log.append(&key(0), Millis(0));
    log.append(&inter(1), Millis(0));
    log.append(&inter(2), Millis(6_000));
    assert_eq!(log.base(), 0, "the cached GOP stays");
    log.append(&key(3), Millis(6_000));
    assert_eq!(log.base(), 2, "the old GOP is gone, but for what slow players may need");
    let mut off = StreamLog::new(limits(GopMode::Off));
    off.append(&key(0), Millis(0));
    off.append(&inter(1), Millis(5_000));
    assert_eq!((off.base(), off.last_key()), (0, Some(0)));
    off.append(&inter(2), Millis(5_001));
    assert_eq!((off.base(), off.last_key()), (1, None));
}

#[test]
fn a_gop_over_its_bytes_is_discarded_and_joiners_wait() {
    let frame_bytes = key(0).wire_bytes() as u64;
    let caps = LogLimits { bytes: 3 * frame_bytes, lag_ms: 0, ..limits(GopMode::Gop) };
    let mut log = StreamLog::new(caps);
    log.append(&key(0), Millis(0));
    log.append(&inter(1), Millis(0));
    log.append(&inter(2), Millis(0));
    assert_eq!((log.gop_start(), log.bytes()), (Some(0), 3 * frame_bytes), "just fits");
    log.append(&inter(3), Millis(1));
    assert_eq!((log.gop_start(), log.last_key()), (None, None), "never cut in the middle");
    assert_eq!(log.head() - log.base(), 1, "the rest of it is of no use to anybody");
    log.append(&key(4), Millis(2));
    assert_eq!(log.gop_start(), Some(4));
}

#[test]
fn a_gop_over_its_time_is_discarded_and_joiners_wait() {
    let mut log = StreamLog::new(limits(GopMode::Gop));
    log.append(&key(0), Millis(0));
    log.append(&inter(1), Millis(20_000));
    assert_eq!(log.gop_start(), Some(0), "just in time");
    log.append(&inter(2), Millis(20_001));
    assert_eq!(log.gop_start(), None);
    assert_eq!(log.base(), 1);
}

#[test]
fn bytes_are_counted_from_anywhere_to_the_head() {
    let frames = [key(0), audio(1), inter(2)];
    let log = filled(GopMode::Gop, &frames);
    let sizes: Vec<u64> = frames.iter().map(|frame| frame.wire_bytes() as u64).collect();
    assert_eq!(log.bytes(), sizes.iter().sum::<u64>());
    assert_eq!(log.bytes_from(0), sizes.iter().sum::<u64>());
    assert_eq!(log.bytes_from(2), sizes[2]);
    assert_eq!(log.bytes_from(3), 0);
    assert_eq!(log.arrived(2), Some(NOW));
    assert_eq!(log.arrived(3), None);
}

#[test]
fn a_different_header_forbids_joins_before_it_an_equal_one_does_not() {
    let header = |version| frame(Video, 0, &body::avc_header(version));
    let mut log = filled(GopMode::Gop, &[header(1), key(0), inter(1)]);
    let generation = log.init().generation();
    log.append(&header(1), NOW);
    assert_eq!((log.gop_start(), log.init().generation()), (Some(1), generation));
    log.append(&header(2), NOW);
    assert_eq!((log.gop_start(), log.last_key(), log.headers_from()), (None, None, 4));
    assert_ne!(log.init().generation(), generation);
    log.append(&key(2), NOW);
    assert_eq!(log.gop_start(), Some(5));
    assert_eq!(log.init().frames().len(), 1);
}

#[test]
fn a_new_publisher_begins_without_the_old_ones_headers() {
    let mut log = filled(GopMode::Gop, &[frame(Video, 0, &body::avc_header(1)), key(0)]);
    assert!(log.begins_epoch(0) && !log.begins_epoch(1));
    log.forget_publisher();
    assert!(log.init().frames().is_empty());
    assert_eq!((log.gop_start(), log.last_key(), log.has_video()), (None, None, false));
    log.append(&audio(1), NOW);
    assert!(log.begins_epoch(2));
    assert_eq!(log.head(), 3, "indices go on: players drain what is there");
}

#[test]
fn a_gap_is_closed_with_the_headers_that_were_missed_and_no_others() {
    let mut log = filled(GopMode::Gop, &[frame(Video, 5, &body::avc_header(1)), key(0)]);
    let known = frame(Video, 5, &body::avc_header(1));
    let missed = frame(Audio, 7, &body::aac_header());
    for header in [&known, &missed] {
        log.append_missing(header, 900, &budget(), NOW);
    }
    assert_eq!(log.head(), 3);
    let closing = log.frame(2).unwrap();
    assert!(closing.payload_equals(&missed));
    assert_eq!(closing.timestamp(), 900, "it stands before a frame of this time");
}

#[test]
fn what_joiners_get_first_is_stamped_once_for_all_of_them() {
    let mut log = filled(GopMode::Gop, &[frame(Video, 5, &body::avc_header(1))]);
    log.append(&data_frame(b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09"), NOW);
    let first = log.init_frames(640, &budget());
    assert!(Arc::ptr_eq(&first, &log.init_frames(640, &budget())));
    assert!(Arc::ptr_eq(&log.init_shared(), &log.init_shared()));
    let stamps: Vec<u32> = first.iter().map(|frame| frame.timestamp()).collect();
    assert_eq!(stamps, [0, 640], "metadata first and at 0, headers at the keyframe's time");
    log.clear_data_frame(b"onMetaData");
    assert_eq!(log.init_frames(640, &budget()).len(), 1);
}

#[test]
fn cutting_keeps_the_newest_frame_and_no_half_gop() {
    let mut log = filled(GopMode::Gop, &[key(0), inter(1), inter(2)]);
    log.cut(log.cuttable_bytes() - 1);
    assert_eq!((log.base(), log.gop_start(), log.last_key()), (1, None, None));
    log.cut(0);
    assert_eq!(log.head() - log.base(), 1);
    let mut keyframe = filled(GopMode::Keyframe, &[key(0), inter(1)]);
    keyframe.cut(0);
    assert!(keyframe.key_frame().is_none());
}
