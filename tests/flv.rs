//! FLV tags: the vectors, there and back, and files that end in the middle.
mod support;

use millrace::media::flv::{FlvTag, emit_header, emit_tag, tags};
use millrace::rtmp::session::MediaKind;
use support::{hex, vectors};

fn vector(name: &str) -> Vec<u8> {
    let file = vectors("flv_ertmp.json");
    let cases = file["flv"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == name).unwrap();
    hex(case["hex"].as_str().unwrap())
}

#[test]
fn headers_are_those_of_the_vectors() {
    for (name, audio, video) in [
        ("header_av", true, true),
        ("header_video_only", false, true),
        ("header_no_flags", false, false),
    ] {
        let mut out = Vec::new();
        emit_header(audio, video, &mut out);
        assert_eq!(out, vector(name), "{name}");
        assert_eq!(tags(&out).unwrap().count(), 0);
    }
}

#[test]
fn tags_are_those_of_the_vectors_there_and_back() {
    for (name, kind, timestamp) in [
        ("tag_audio_ts_0x01020304", MediaKind::Audio, 0x0102_0304),
        ("tag_metadata", MediaKind::Data, 0),
    ] {
        let bytes = vector(name);
        let file = [vector("header_av"), bytes.clone()].concat();
        let read: Vec<FlvTag<'_>> = tags(&file).unwrap().collect();
        assert_eq!(read.len(), 1, "{name}");
        assert_eq!((read[0].kind(), read[0].timestamp), (Some(kind), timestamp));
        let mut out = Vec::new();
        emit_tag(read[0].tag_type, read[0].timestamp, read[0].body, &mut out);
        assert_eq!(out, bytes, "{name}");
    }
}

#[test]
fn a_file_is_read_tag_by_tag_up_to_its_truncated_end() {
    let mut file = Vec::new();
    emit_header(true, true, &mut file);
    let bodies: [(u8, u32, &[u8]); 3] = [(9, 0, b"video"), (8, u32::MAX, b""), (18, 7, b"data")];
    for (tag_type, timestamp, body) in bodies {
        emit_tag(tag_type, timestamp, body, &mut file);
    }
    for end in 0..=file.len() {
        let Some(read) = tags(&file[..end]) else {
            assert!(end < 13, "{end}");
            continue;
        };
        let read: Vec<_> = read.map(|tag| (tag.tag_type, tag.timestamp, tag.body)).collect();
        assert_eq!(read, bodies[..read.len()], "{end}");
        if end == file.len() {
            assert_eq!(read.len(), bodies.len());
        }
    }
}

#[test]
fn other_tag_types_are_read_and_of_no_kind() {
    let mut file = Vec::new();
    emit_header(true, true, &mut file);
    emit_tag(15, 0, b"amf3", &mut file);
    let read: Vec<_> = tags(&file).unwrap().collect();
    assert_eq!((read.len(), read[0].kind()), (1, None));
    assert!(tags(b"not a file").is_none());
    assert!(tags(b"FLV\x01\x05\xff\xff\xff\xff").is_none(), "a header of 4 GB");
}
