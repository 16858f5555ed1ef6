//! A clip as an endless stream: headers once, frames again and again, rising timestamps.

use millrace::media::clip::Clip;
use millrace::media::flv;
use millrace::rtmp::session::MediaKind;

/// Three pictures 40 ms apart and five sounds 24 ms apart, from `start` on.
fn file(start: u32) -> Vec<u8> {
    let mut file = Vec::new();
    flv::emit_header(true, true, &mut file);
    flv::emit_tag(18, 0, b"\x02\x00\x0aonMetaData", &mut file);
    flv::emit_tag(9, 0, &[0x17, 0, 0, 0, 0, 1], &mut file);
    flv::emit_tag(8, 0, &[0xAF, 0, 0x12, 0x10], &mut file);
    for (time, tag_type) in [(0, 9), (0, 8), (24, 8), (40, 9), (48, 8), (72, 8), (80, 9), (96, 8)] {
        let body: &[u8] = if tag_type == 9 { &[0x17, 1, 0, 0, 0, 7] } else { &[0xAF, 1, 7] };
        flv::emit_tag(tag_type, start + time, body, &mut file);
    }
    flv::emit_tag(9, start + 80, &[0x17, 2, 0, 0, 0], &mut file);
    file
}

#[test]
fn headers_come_apart_from_the_frames_of_a_clip() {
    let file = file(0);
    let clip = Clip::parse(&file).unwrap();
    let kinds: Vec<_> = clip.headers().iter().map(|tag| tag.kind().unwrap()).collect();
    assert_eq!(kinds, [MediaKind::Data, MediaKind::Video, MediaKind::Audio]);
    // The end of sequence in the file is not the end of the stream.
    assert_eq!(clip.frames().len(), 8);
}

#[test]
fn timestamps_rise_over_the_end_of_a_clip() {
    let file = file(0);
    let clip = Clip::parse(&file).unwrap();
    assert_eq!(clip.period_ms(), 120);
    let times: Vec<_> = (0..17).map(|index| clip.frame(index).timestamp).collect();
    let first = [0, 0, 24, 40, 48, 72, 80, 96];
    let second = first.map(|time| time + 120);
    assert_eq!(times, [&first[..], &second[..], &[240]].concat());
}

#[test]
fn a_clip_that_begins_late_is_due_at_once() {
    let file = file(5000);
    let clip = Clip::parse(&file).unwrap();
    assert_eq!(clip.due_ms(0), 0);
    assert_eq!(clip.period_ms(), 120);
}

#[test]
fn timestamps_of_a_clip_wrap_and_its_due_times_do_not() {
    let file = file(0);
    let clip = Clip::parse(&file).unwrap();
    let rounds = (1 << 32) / 120 + 1;
    let due = clip.due_ms(rounds * 8);
    assert_eq!(due, rounds * 120);
    assert_eq!(u64::from(clip.frame(rounds * 8).timestamp), due - (1 << 32));
}

#[test]
fn a_single_frame_is_repeated_every_second() {
    let mut file = Vec::new();
    flv::emit_header(false, true, &mut file);
    flv::emit_tag(9, 0, &[0x17, 1, 0, 0, 0, 7], &mut file);
    assert_eq!(Clip::parse(&file).unwrap().due_ms(3), 3000);
}

#[test]
fn a_file_without_frames_is_no_clip() {
    let mut file = Vec::new();
    flv::emit_header(true, true, &mut file);
    assert!(Clip::parse(&file).is_none());
    assert!(Clip::parse(b"no FLV").is_none());
}
