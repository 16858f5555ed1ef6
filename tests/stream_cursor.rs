//! Where a player starts, skips, pauses and ends.
mod support;

use millrace::media::log::{GopMode, StreamLog};
use millrace::rtmp::session::MediaKind::{Audio, Video};
use millrace::time::Millis;
use support::body;
use support::frames::{Reader, data_frame, frame, limits};
use support::player_wire::Heard;

const NOW: Millis = Millis(1_000);
const METADATA: &[u8] = b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09";

/// One word per message: `m` metadata, `v`/`a` sequence header with its timestamp, `K` keyframe,
/// `P` inter frame, `A` audio with their numbers.
fn words(heard: &[Heard]) -> String {
    let word = |message: &Heard| match (message.message_type, message.body[0], message.body[1]) {
        (18, ..) => format!("m{}", message.timestamp),
        (9, _, 0) => format!("v{}", message.timestamp),
        (8, _, 0) => format!("a{}", message.timestamp),
        (9, 0x17, _) => format!("K{}", body::number(&message.body)),
        (9, ..) => format!("P{}", body::number(&message.body)),
        _ => format!("A{}", body::number(&message.body)),
    };
    heard.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Appends what the words say; a frame's timestamp is its number times ten.
fn append(log: &mut StreamLog, text: &str, now: Millis) {
    for word in text.split_whitespace() {
        let number: u64 = word[1..].parse().unwrap_or(0);
        let at = u32::try_from(number * 10).unwrap();
        let frame = match &word[..1] {
            "m" => data_frame(METADATA),
            "v" => frame(Video, 0, &body::avc_header(u8::try_from(number).unwrap())),
            "a" => frame(Audio, 0, &body::aac_header()),
            "K" => frame(Video, at, &body::key(number, 40)),
            "P" => frame(Video, at, &body::inter(number, 40)),
            _ => frame(Audio, at, &body::audio(number, 40)),
        };
        log.append(&frame, now);
    }
}

fn log(gop: GopMode, text: &str) -> StreamLog {
    let mut log = StreamLog::new(limits(gop));
    append(&mut log, text, NOW);
    log
}

#[test]
fn a_joiner_of_a_gop_gets_metadata_headers_and_the_whole_gop() {
    let mut log = log(GopMode::Gop, "m a v K1 P2 A3 K4 A5 P6");
    let mut reader = Reader::join(&log, None);
    assert_eq!(words(&reader.all(&mut log, NOW)), "m0 a40 v40 K4 A5 P6");
    append(&mut log, "P7 K8", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "P7 K8");
}

#[test]
fn a_joiner_of_a_keyframe_gets_it_at_once_then_audio_then_video_from_the_next() {
    let mut log = log(GopMode::Keyframe, "m a v K4 A5 P6");
    let mut reader = Reader::join(&log, None);
    assert_eq!(words(&reader.all(&mut log, NOW)), "m0 a40 v40 K4");
    append(&mut log, "P7 A8 P9 K10 P11", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "A8 K10 P11");
}

#[test]
fn a_joiner_without_a_cache_waits_for_the_next_keyframe_with_everything() {
    let mut log = log(GopMode::Off, "m a v K4 A5 P6");
    let mut reader = Reader::join(&log, None);
    append(&mut log, "A7 P8", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "");
    append(&mut log, "K9 A10", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "m0 a90 v90 K9 A10");
}

#[test]
fn a_joiner_of_an_audio_stream_gets_the_next_frame() {
    let mut log = log(GopMode::Gop, "m a A1 A2");
    let mut reader = Reader::join(&log, None);
    assert_eq!(words(&reader.all(&mut log, NOW)), "");
    append(&mut log, "A3 A4", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "m0 a30 A3 A4");
}

#[test]
fn a_player_of_nothing_yet_gets_the_publisher_from_its_first_frame() {
    let mut log = StreamLog::new(limits(GopMode::Gop));
    let mut reader = Reader::join(&log, None);
    append(&mut log, "m a v P1 A2", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "", "never an inter frame first");
    append(&mut log, "K3 P4", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "m0 a30 v30 K3 P4");
}

#[test]
fn headers_that_change_before_a_slow_joiner_reads_are_the_ones_it_gets() {
    let mut log = log(GopMode::Gop, "v1 K1 P2");
    let mut reader = Reader::join(&log, None);
    append(&mut log, "v2 K3", NOW);
    let heard = reader.all(&mut log, NOW);
    assert_eq!(words(&heard), "v30 K3");
    assert_eq!(heard[0].body, body::avc_header(2));
}

#[test]
fn a_slow_player_finishes_its_frame_and_skips_to_the_newest_keyframe() {
    let mut log = log(GopMode::Gop, "v1 K1 P2 P3");
    let mut reader = Reader::join(&log, None);
    assert_eq!(words(&reader.take(&mut log, 100, NOW)), "v10 K1");
    assert!(reader.cursor.is_mid_frame());
    append(&mut log, "P4 K5 P6", Millis(3_000));
    append(&mut log, "K7 P8", Millis(5_900));
    // P3 is 5 500 ms old: more than the 5 000 allowed.
    assert_eq!(reader.cursor.lag_ms(&log, Millis(6_500)), 5_500);
    assert_eq!(reader.cursor.lag_bytes(&log), log.bytes_from(3));
    assert_eq!(words(&reader.all(&mut log, Millis(6_500))), "P2 K7 P8");
    assert_eq!((reader.cursor.skips(), reader.cursor.skipped_frames()), (1, 4));
}

#[test]
fn a_skip_over_changed_headers_brings_the_new_ones() {
    let mut log = log(GopMode::Gop, "a v1 K1 P2");
    let mut reader = Reader::join(&log, None);
    reader.take(&mut log, 130, NOW);
    append(&mut log, "P3", NOW);
    append(&mut log, "v2 K4 P5", Millis(7_000));
    let heard = reader.all(&mut log, Millis(7_000));
    assert_eq!(words(&heard), "P2 a40 v40 K4 P5");
    assert!(heard.iter().any(|message| message.body == body::avc_header(2)));
}

#[test]
fn a_skip_over_the_same_headers_brings_none() {
    let mut log = log(GopMode::Gop, "a v1 K1");
    let mut reader = Reader::join(&log, None);
    reader.all(&mut log, NOW);
    append(&mut log, "P2 v1 K3 P4", NOW);
    assert_eq!(words(&reader.all(&mut log, Millis(6_001))), "K3 P4");
}

#[test]
fn a_slow_player_without_a_newer_keyframe_waits_for_the_next() {
    let mut log = log(GopMode::Gop, "v1 K1");
    let mut reader = Reader::join(&log, None);
    reader.all(&mut log, NOW);
    append(&mut log, "P2 P3", NOW);
    assert_eq!(words(&reader.all(&mut log, Millis(7_000))), "");
    append(&mut log, "P4", Millis(7_000));
    assert_eq!(words(&reader.all(&mut log, Millis(7_000))), "");
    append(&mut log, "K5", Millis(7_000));
    assert_eq!(words(&reader.all(&mut log, Millis(7_000))), "K5");
    assert_eq!(reader.cursor.skipped_frames(), 2);
}

#[test]
fn a_joiner_may_be_as_late_as_its_gop_is_old_without_skipping() {
    let mut log = log(GopMode::Gop, "v1 K1 P2");
    append(&mut log, "P3", Millis(9_000));
    let mut reader = Reader::join(&log, None);
    assert_eq!(words(&reader.take(&mut log, 90, Millis(9_000))), "v10 K1");
    assert_eq!(words(&reader.all(&mut log, Millis(9_100))), "P2 P3");
    assert_eq!(reader.cursor.skips(), 0);
}

#[test]
fn a_player_behind_the_log_goes_on_at_a_resume_point() {
    let mut log = log(GopMode::Off, "v1");
    let mut reader = Reader::join(&log, None);
    append(&mut log, "K1 P2", NOW);
    assert_eq!(words(&reader.take(&mut log, 90, NOW)), "v10 K1");
    append(&mut log, "P3 P4", Millis(8_000));
    append(&mut log, "K5 P6", Millis(14_000));
    assert!(log.base() > 2);
    assert_eq!(words(&reader.all(&mut log, Millis(14_000))).trim_start_matches("P2 "), "K5 P6");
}

#[test]
fn a_slow_listener_skips_to_the_newest_audio_frame() {
    let mut log = log(GopMode::Gop, "a");
    let mut reader = Reader::join(&log, None);
    append(&mut log, "A1", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "a10 A1");
    append(&mut log, "A2 A3 A4", NOW);
    assert_eq!(words(&reader.all(&mut log, Millis(6_001))), "A4");
    assert_eq!(reader.cursor.skipped_frames(), 2);
}

#[test]
fn without_video_every_audio_frame_is_a_resume_point() {
    let mut log = log(GopMode::Off, "a v1 K1");
    let mut reader = Reader::join(&log, None);
    reader.cursor.receive(Video, false);
    append(&mut log, "P2 A3 P4 A5", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "a30 v30 A3 A5");
    append(&mut log, "A6 P7 A8 P9", NOW);
    assert_eq!(words(&reader.all(&mut log, Millis(6_001))), "A8", "as for an audio stream");
}

#[test]
fn video_comes_back_with_a_keyframe_and_audio_at_once() {
    let mut log = log(GopMode::Gop, "a v1 K1");
    let mut reader = Reader::join(&log, None);
    reader.all(&mut log, NOW);
    reader.cursor.receive(Video, false);
    append(&mut log, "P2 A3 K4", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "A3");
    reader.cursor.receive(Video, true);
    append(&mut log, "P5 A6", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "K4 P5 A6", "it has not been passed yet");
    reader.cursor.receive(Video, false);
    append(&mut log, "K7", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "");
    append(&mut log, "A8", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "A8");
    reader.cursor.receive(Video, true);
    append(&mut log, "P9 K10 P11", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "K10 P11");
    reader.cursor.receive(Audio, false);
    append(&mut log, "A12 P13", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "P13");
    reader.cursor.receive(Audio, true);
    append(&mut log, "A14 P15", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "A14 P15");
}

#[test]
fn headers_reach_a_player_whatever_it_has_switched_off() {
    let mut log = log(GopMode::Gop, "a v1 K1");
    let mut reader = Reader::join(&log, None);
    reader.all(&mut log, NOW);
    reader.cursor.receive(Video, false);
    append(&mut log, "v2 K2 A3", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "v0 A3");
}

#[test]
fn frames_that_a_player_does_not_want_are_no_lag() {
    let mut log = log(GopMode::Gop, "a v1 K1");
    let mut reader = Reader::join(&log, None);
    reader.all(&mut log, NOW);
    reader.cursor.receive(Video, false);
    append(&mut log, "P2 P3", NOW);
    reader.all(&mut log, NOW);
    append(&mut log, "P4", Millis(9_000));
    reader.all(&mut log, Millis(9_000));
    assert_eq!((reader.cursor.skips(), reader.cursor.lag_ms(&log, Millis(9_500))), (0, 0));
}

#[test]
fn a_paused_player_gets_nothing_and_begins_anew_afterwards() {
    let mut log = log(GopMode::Gop, "a v1 K1");
    let mut reader = Reader::join(&log, None);
    reader.all(&mut log, NOW);
    reader.cursor.pause(&log, true);
    append(&mut log, "P2 K3 P4", NOW);
    assert_eq!(words(&reader.all(&mut log, Millis(60_000))), "");
    assert_eq!((reader.cursor.lag_ms(&log, Millis(60_000)), reader.cursor.skips()), (0, 0));
    reader.cursor.pause(&log, false);
    assert_eq!(words(&reader.all(&mut log, NOW)), "a30 v30 K3 P4");
}

#[test]
fn pause_in_mid_frame_sends_its_rest_first() {
    let mut log = log(GopMode::Gop, "v1 K1 P2");
    let mut reader = Reader::join(&log, None);
    assert_eq!(words(&reader.take(&mut log, 40, NOW)), "v10");
    reader.cursor.pause(&log, true);
    assert_eq!(words(&reader.all(&mut log, NOW)), "K1", "whole messages only");
    assert_eq!(words(&reader.all(&mut log, NOW)), "");
}

#[test]
fn a_duration_ends_with_the_last_frame_before_it() {
    let mut log = log(GopMode::Gop, "v1 K100 P101 A102");
    let mut reader = Reader::join(&log, Some(30));
    assert_eq!(words(&reader.all(&mut log, NOW)), "v1000 K100 P101 A102");
    assert!(!reader.cursor.is_finished(&log));
    append(&mut log, "A103 P104", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "");
    assert!(reader.cursor.is_finished(&log));
}

#[test]
fn a_duration_ends_behind_frames_that_are_not_wanted_too() {
    let mut log = log(GopMode::Gop, "v1 K100");
    let mut reader = Reader::join(&log, Some(30));
    reader.all(&mut log, NOW);
    reader.cursor.receive(Video, false);
    append(&mut log, "P101 A103", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "");
    assert!(reader.cursor.is_finished(&log));
}

#[test]
fn after_the_end_a_player_drains_what_is_there_and_no_more() {
    let mut log = log(GopMode::Gop, "v1 K1 P2");
    let mut reader = Reader::join(&log, None);
    assert_eq!(words(&reader.take(&mut log, 30, NOW)), "v10");
    reader.cursor.end_here(&log);
    append(&mut log, "P3", NOW);
    assert!(!reader.cursor.is_finished(&log));
    assert_eq!(words(&reader.all(&mut log, NOW)), "K1 P2");
    assert!(reader.cursor.is_finished(&log));
}

#[test]
fn a_paused_or_waiting_player_is_finished_at_the_end() {
    let mut log = log(GopMode::Off, "v1 K1");
    let mut waiting = Reader::join(&log, None);
    let mut paused = Reader::join(&log, None);
    append(&mut log, "K2 P3", NOW);
    paused.cursor.pause(&log, true);
    for reader in [&mut waiting, &mut paused] {
        reader.cursor.publisher_lost(&log);
        reader.cursor.end_here(&log);
        assert_eq!(words(&reader.all(&mut log, NOW)), "");
        assert!(reader.cursor.is_finished(&log));
    }
}

#[test]
fn a_new_publisher_in_mid_gop_sends_no_inter_frame_before_its_keyframe() {
    let mut log = log(GopMode::Gop, "v1 K1 P2");
    let mut reader = Reader::join(&log, None);
    reader.all(&mut log, NOW);
    log.forget_publisher();
    append(&mut log, "v2 P3 A4 K5 P6", NOW);
    assert_eq!(words(&reader.all(&mut log, NOW)), "v0 A4 K5 P6");
}
