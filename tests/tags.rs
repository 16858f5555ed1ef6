//! What audio and video bodies are: every codec, layout and quirk, by vector and by table.
mod support;

use TagClass::{
    AudioFrame, ColorInfo, Command, InterFrame, Keyframe, MultichannelConfig, SequenceEnd,
    SequenceHeader,
};
use millrace::media::tag::{
    Codec, Tag, TagClass, TrackSet, classify, classify_audio, classify_video,
};
use millrace::rtmp::session::MediaKind;
use serde_json::Value;
use support::{hex, vectors};

const VIDEO_CODECS: [&[u8; 4]; 6] = [b"vp08", b"vp09", b"av01", b"avc1", b"hvc1", b"vvc1"];
const AUDIO_CODECS: [&[u8; 4]; 6] = [b"ac-3", b"ec-3", b"Opus", b".mp3", b"fLaC", b"mp4a"];

/// A body out of pieces.
fn join(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

fn tracks(ids: &[u8]) -> TrackSet {
    let mut set = TrackSet::default();
    ids.iter().for_each(|&id| set.insert(id));
    set
}

fn check_vector(case: &Value) {
    let name = case["name"].as_str().unwrap();
    let kind = if case["type"] == 9 { MediaKind::Video } else { MediaKind::Audio };
    let tag = classify(kind, &hex(case["hex"].as_str().unwrap()));
    let expected = match (case["packet"].as_str().unwrap(), kind) {
        ("sequence_start", _) => SequenceHeader,
        ("sequence_end", _) => SequenceEnd,
        ("multichannel_config", _) => MultichannelConfig,
        ("metadata", _) => ColorInfo,
        ("command", _) => Command,
        ("frames" | "silence", MediaKind::Audio) => AudioFrame,
        ("frames", _) if case["keyframe"] == false => InterFrame,
        ("frames", _) => Keyframe,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(tag.class, expected, "{name}");
    assert_eq!(
        u64::from(tag.class == SequenceHeader),
        u64::from(case["packet"] == "sequence_start")
    );
    if let Some(cts) = case["cts"].as_i64() {
        let known = tag.payload_offset > 0;
        assert_eq!(i64::from(tag.composition_time_ms), if known { cts } else { 0 }, "{name}");
    }
    if let Some(offset) = case["payload_offset"].as_u64() {
        assert_eq!(tag.payload_offset as u64, offset, "{name}");
    }
    let ids: Vec<u8> = match (&case["track"], &case["tracks"]) {
        (Value::Number(id), _) => vec![id.as_u64().unwrap() as u8],
        (_, Value::Array(list)) => list.iter().map(|t| t["id"].as_u64().unwrap() as u8).collect(),
        _ => vec![0],
    };
    assert_eq!(tag.tracks, tracks(&ids), "{name}");
    check_codec(name, case["codec"].as_str(), tag.codec);
}

fn check_codec(name: &str, expected: Option<&str>, codec: Codec) {
    let expected = match expected {
        Some("avc") => Codec::Legacy(7),
        Some("hevc-legacy-12") => Codec::Legacy(12),
        Some("aac") => Codec::Legacy(10),
        Some("mp3") => Codec::Legacy(2),
        Some(fourcc) => Codec::FourCc(fourcc.as_bytes().try_into().unwrap()),
        None => return,
    };
    assert_eq!(codec, expected, "{name}");
}

#[test]
fn bodies_of_the_vectors_are_what_they_say() {
    for file in ["flv_ertmp.json", "captured.json"] {
        let cases = vectors(file);
        let cases = cases["bodies"].as_array().unwrap();
        assert!(cases.len() >= 23);
        // What only names a codec for a video command belongs to no codec.
        cases.iter().for_each(check_vector);
    }
}

#[test]
fn every_video_fourcc_has_headers_keyframes_and_inter_frames() {
    for fourcc in VIDEO_CODECS {
        let table: [(u8, TagClass); 13] = [
            (0x90, SequenceHeader),
            (0x95, SequenceHeader),
            (0x91, Keyframe),
            (0x93, Keyframe),
            (0xC1, Keyframe),
            (0xA1, InterFrame),
            (0xA3, InterFrame),
            (0xB1, InterFrame),
            (0x92, SequenceEnd),
            (0x94, ColorInfo),
            (0xD4, ColorInfo),
            (0xD1, Command),
            (0x90 | 9, Keyframe),
        ];
        for (first, class) in table {
            let body = join(&[&[first], fourcc, &[0, 0, 40, 1, 2, 3]]);
            let tag = classify_video(&body);
            assert_eq!(tag.class, class, "{first:02x} {}", fourcc.escape_ascii());
            if class != Command {
                assert_eq!(tag.codec, Codec::FourCc(*fourcc));
            }
            let has_time = matches!(fourcc, b"avc1" | b"hvc1" | b"vvc1") && first & 0x0F == 1;
            let is_timed = has_time && class != Command;
            assert_eq!(tag.composition_time_ms, if is_timed { 40 } else { 0 });
        }
    }
}

#[test]
fn every_audio_fourcc_has_headers_configs_and_frames() {
    for fourcc in AUDIO_CODECS {
        let table = [
            (0x90, SequenceHeader),
            (0x91, AudioFrame),
            (0x92, SequenceEnd),
            (0x94, MultichannelConfig),
            (0x93, AudioFrame),
        ];
        for (first, class) in table {
            let tag = classify_audio(&join(&[&[first], fourcc, &[1, 2, 3]]));
            assert_eq!((tag.class, tag.codec), (class, Codec::FourCc(*fourcc)), "{first:02x}");
            assert_eq!(tag.payload_offset, 5);
        }
        let empty = classify_audio(&join(&[&[0x90], fourcc]));
        assert_eq!(empty.class, SequenceHeader, "an empty SequenceStart is valid");
    }
}

#[test]
fn legacy_video_is_told_by_frame_type_codec_and_packet_type() {
    let table: [(&[u8], TagClass); 15] = [
        (&[0x17, 0, 0, 0, 0, 1], SequenceHeader),
        (&[0x1C, 0, 0, 0, 0, 1], SequenceHeader),
        (&[0x27, 0, 0, 0, 0, 1], SequenceHeader),
        (&[0x17, 1, 0, 0, 0, 1], Keyframe),
        (&[0x47, 1, 0, 0, 0, 1], Keyframe),
        (&[0x1C, 1, 0, 0, 0, 1], Keyframe),
        (&[0x27, 1, 0, 0, 0, 1], InterFrame),
        (&[0x37, 1, 0, 0, 0, 1], InterFrame),
        (&[0x17, 2, 0, 0, 0], SequenceEnd),
        (&[0x57, 0], Command),
        (&[0x12, 9, 9], Keyframe),
        (&[0x22, 9, 9], InterFrame),
        (&[0x14, 9, 9], Keyframe),
        (&[0x32, 9, 9], InterFrame),
        (&[0x17], InterFrame),
    ];
    for (body, class) in table {
        assert_eq!(classify_video(body).class, class, "{body:02x?}");
    }
    for codec in [2_u8, 3, 4, 5, 6, 13, 14, 15, 11] {
        assert_eq!(classify_video(&[0x10 | codec, 0, 0]).class, Keyframe, "codec {codec}");
        assert_eq!(classify_video(&[0x20 | codec, 0, 0]).class, InterFrame, "codec {codec}");
    }
}

#[test]
fn legacy_audio_has_a_header_only_in_aac() {
    for format in 0..16_u8 {
        if format == 9 {
            continue;
        }
        let first = format << 4 | 0x0F;
        let header = if format == 10 { SequenceHeader } else { AudioFrame };
        let tag = classify_audio(&[first, 0, 0x12, 0x10]);
        assert_eq!((tag.class, tag.codec), (header, Codec::Legacy(format)));
        assert_eq!(classify_audio(&[first, 1, 2, 3]).class, AudioFrame);
    }
    assert_eq!(classify_audio(&[0xAF, 0]).class, AudioFrame, "a header without configuration");
    assert_eq!(classify_audio(&[0xAF]).class, AudioFrame);
    assert_eq!(classify_audio(&[]).class, AudioFrame, "silence");
}

#[test]
fn modex_blocks_are_skipped_by_size_however_many_there_are() {
    let nano: &[u8] = &[2, 0x0C, 0x35, 0x00];
    let unknown: &[u8] = &[0, 0xAA];
    let table: [(&[&[u8]], TagClass); 5] = [
        (&[&[0x97], nano, &[0x01], b"hvc1", &[0, 0, 7, 1]], Keyframe),
        (&[&[0xA7], nano, &[0x01], b"hvc1", &[0, 0, 7, 1]], InterFrame),
        (&[&[0x97], nano, &[0x07], nano, &[0x01], b"hvc1", &[0, 0, 7, 1]], Keyframe),
        (&[&[0x97], unknown, &[0xF1], b"hvc1", &[0, 0, 7, 1]], Keyframe),
        (&[&[0x97], nano, &[0x00], b"hvc1", &[1, 2, 3]], SequenceHeader),
    ];
    for (pieces, class) in table {
        let body = join(pieces);
        let tag = classify_video(&body);
        assert_eq!(tag.class, class, "{body:02x?}");
        if class != SequenceHeader {
            assert_eq!(tag.composition_time_ms, 7, "{body:02x?}");
        }
    }
    let audio = join(&[&[0x97], nano, &[0x00], b"Opus", b"OpusHead"]);
    assert_eq!(classify_audio(&audio).class, SequenceHeader);
    let large = join(&[&[0x97, 0xFF, 0x01, 0x00], &[0; 257], &[0x01], b"av01", &[0x12]]);
    assert_eq!(classify_video(&large).class, Keyframe);
    let endless = join(&[&[0x97], &[0, 0, 7].repeat(40), &[0, 0, 1], b"av01"]);
    assert_eq!(classify_video(&endless).class, InterFrame, "an endless chain is opaque");
}

/// The three layouts of a multitrack body with these tracks.
fn multitrack(first: u8, packet: u8, fourcc: &[u8; 4], ids: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let part = |id: &u8| join(&[&[*id, 0, 0, 2], &[9, 9]]);
    let same: Vec<u8> = ids.iter().flat_map(part).collect();
    let own: Vec<u8> = ids.iter().flat_map(|id| join(&[fourcc, &part(id)])).collect();
    let mut layouts = vec![
        (1, join(&[&[first, 0x10 | packet], fourcc, &same])),
        (2, join(&[&[first, 0x20 | packet], &own])),
    ];
    if let [id] = ids {
        layouts.push((0, join(&[&[first, packet], fourcc, &[*id, 9, 9]])));
    }
    layouts
}

#[test]
fn all_three_multitrack_layouts_name_their_tracks() {
    for ids in [&[0_u8][..], &[1], &[255], &[0, 1], &[1, 2, 64, 200]] {
        for (layout, body) in multitrack(0x96, 0, b"avc1", ids) {
            let tag = classify_video(&body);
            assert_eq!((tag.class, tag.tracks), (SequenceHeader, tracks(ids)), "layout {layout}");
            assert!(tag.is_init());
        }
        for (layout, body) in multitrack(0x96, 1, b"hvc1", ids) {
            assert_eq!(classify_video(&body).class, Keyframe, "layout {layout}");
        }
        for (layout, body) in multitrack(0xA6, 3, b"hvc1", ids) {
            let tag = classify_video(&body);
            assert_eq!((tag.class, tag.tracks), (InterFrame, tracks(ids)), "layout {layout}");
        }
        for (packet, class) in [(0, SequenceHeader), (1, AudioFrame), (4, MultichannelConfig)] {
            for (layout, body) in multitrack(0x95, packet, b"mp4a", ids) {
                let tag = classify_audio(&body);
                assert_eq!((tag.class, tag.tracks), (class, tracks(ids)), "layout {layout}");
            }
        }
    }
}

#[test]
fn modex_before_multitrack_is_understood() {
    let body = join(&[&[0x97, 2, 0, 0, 1, 0x06, 0x01], b"avc1", &[3], &[0, 0, 0, 1]]);
    let tag = classify_video(&body);
    assert_eq!((tag.class, tag.tracks), (Keyframe, tracks(&[3])));
}

#[test]
fn what_names_no_codec_is_an_opaque_frame() {
    // DJI firmware sets bit 7 by accident.
    let bodies: [&[u8]; 6] = [
        &[0x90, 0xFF, 0xFE, 0xF7, 0x17, 0, 0, 0],
        &[0x91, b'x', b'x', b'x', b'x', 0],
        &[0x90],
        &[0x97],
        &[0x96],
        &[0x97, 0xFF],
    ];
    for body in bodies {
        let tag = classify_video(body);
        assert_eq!((tag.class, tag.codec), (InterFrame, Codec::Unknown), "{body:02x?}");
        assert!(!tag.is_init());
    }
    assert_eq!(classify_audio(&[0x95]).class, AudioFrame);
    assert_eq!(classify_audio(&[0x90, b'O', b'p']).class, AudioFrame);
}

#[test]
fn every_prefix_of_every_vector_is_classified_without_a_panic() {
    for file in ["flv_ertmp.json", "captured.json"] {
        for case in vectors(file)["bodies"].as_array().unwrap() {
            let body = hex(case["hex"].as_str().unwrap());
            for end in 0..=body.len() {
                let _: Tag = classify_video(&body[..end]);
                let _: Tag = classify_audio(&body[..end]);
            }
        }
    }
}

#[test]
fn track_sets_know_their_members() {
    let set = tracks(&[0, 63, 64, 255]);
    for id in 0..=255_u8 {
        assert_eq!(set.contains(id), [0, 63, 64, 255].contains(&id), "{id}");
    }
    assert!(tracks(&[63, 255]).is_subset_of(&set));
    assert!(!tracks(&[1]).is_subset_of(&set));
    assert_eq!((set.first(), tracks(&[200, 70]).first()), (Some(0), Some(70)));
    assert_eq!(TrackSet::default().first(), None);
}
