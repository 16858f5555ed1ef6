//! What players get of a publisher's data messages.

use millrace::media::metadata::{DataMessage, parse_data};
use millrace::rtmp::amf0::{Reader, Value, Writer};

fn body(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Writer::new(&mut out));
    out
}

/// Width and duration, as an ECMA array with a wrong count or as an object.
fn properties(writer: &mut Writer<'_>, is_array: bool) {
    if is_array {
        writer.ecma_array(99);
    } else {
        writer.object();
    }
    writer.key(b"duration").number(0.0).key(b"width").number(640.0);
    writer.key(b"filesize").number(1.0).key(b"fileSize").number(2.0);
    writer.key(b"encoder").string(b"x").end();
}

fn cleaned() -> Vec<u8> {
    body(|writer| {
        writer.string(b"onMetaData").ecma_array(2);
        writer.key(b"width").number(640.0).key(b"encoder").string(b"x").end();
    })
}

#[test]
fn metadata_becomes_an_array_without_what_only_files_have() {
    for is_array in [true, false] {
        for is_set in [true, false] {
            let sent = body(|writer| {
                if is_set {
                    writer.string(b"@setDataFrame");
                }
                writer.string(b"onMetaData");
                properties(writer, is_array);
            });
            assert_eq!(parse_data(&sent), Ok(DataMessage::Metadata(cleaned())));
        }
    }
}

#[test]
fn an_object_grows_by_four_bytes_and_everything_else_passes_byte_for_byte() {
    let strange = b"\x03\0\x03tag\x02\0\x02\xff\xfe\0\x03obj\x03\0\x01a\x05\0\0\x09\0\0\x09";
    let sent = [b"\x02\0\x0aonMetaData".as_slice(), strange].concat();
    let Ok(DataMessage::Metadata(body)) = parse_data(&sent) else { panic!("no metadata") };
    assert_eq!(body.len(), sent.len() + 4);
    let tail = |bytes: &[u8], skip: usize| bytes.get(skip..).unwrap().to_vec();
    assert_eq!(tail(&body, 13 + 5), tail(&sent, 13 + 1));
    assert!(body.get(13..).unwrap().starts_with(&[8, 0, 0, 0, 2]));
}

#[test]
fn other_data_frames_are_kept_by_name_without_the_command() {
    let sent = body(|writer| {
        writer.string(b"@setDataFrame").string(b"onCaption").number(7.0);
    });
    let expected = body(|writer| {
        writer.string(b"onCaption").number(7.0);
    });
    let frame = DataMessage::DataFrame { name: b"onCaption", body: &expected };
    assert_eq!(parse_data(&sent), Ok(frame));
    let clear = body(|writer| {
        writer.string(b"@clearDataFrame").string(b"onCaption");
    });
    assert_eq!(parse_data(&clear), Ok(DataMessage::Clear { name: b"onCaption" }));
}

#[test]
fn other_data_messages_pass_unchanged() {
    for name in ["onTextData", "onCuePoint", "onCaptionInfo", "onID3", "chat"] {
        let sent = body(|writer| {
            writer.string(name.as_bytes()).number(1.0);
        });
        assert_eq!(parse_data(&sent), Ok(DataMessage::Forward(&sent)), "{name}");
    }
}

#[test]
fn what_says_nothing_is_dropped() {
    let bodies = [
        body(|_| {}),
        body(|writer| {
            writer.number(1.0);
        }),
        body(|writer| {
            writer.string(b"onMetaData");
        }),
        body(|writer| {
            writer.string(b"onMetaData").number(1.0);
        }),
        body(|writer| {
            writer.string(b"@setDataFrame");
        }),
        body(|writer| {
            writer.string(b"@setDataFrame").string(b"onMetaData");
        }),
        body(|writer| {
            writer.string(b"@setDataFrame").number(1.0);
        }),
        body(|writer| {
            writer.string(b"@setDataFrame").string(b"|RtmpSampleAccess").boolean(true);
        }),
        body(|writer| {
            writer.string(b"|RtmpSampleAccess").boolean(true).boolean(true);
        }),
        body(|writer| {
            writer.string(b"@clearDataFrame");
        }),
    ];
    for sent in bodies {
        assert_eq!(parse_data(&sent), Ok(DataMessage::Drop), "{sent:02x?}");
    }
}

#[test]
fn a_cut_message_is_an_error_or_dropped_or_ends_where_it_was_cut() {
    let sent = body(|writer| {
        writer.string(b"@setDataFrame").string(b"onMetaData");
        properties(writer, true);
    });
    for end in 0..sent.len() {
        match parse_data(sent.get(..end).unwrap()) {
            Ok(DataMessage::Drop) | Err(_) => {}
            // Encoders forget the end of an array: what came before it counts.
            Ok(DataMessage::Metadata(body)) => assert!(body.ends_with(&[0, 0, 9]), "{end} bytes"),
            Ok(other) => panic!("{end} bytes are {other:?}"),
        }
    }
}

#[test]
fn what_is_sent_can_be_read_again() {
    let cleaned = cleaned();
    let mut reader = Reader::new(&cleaned);
    assert!(matches!(reader.next(), Ok(Some(Value::String(b"onMetaData")))));
    let Ok(Some(Value::Object(object))) = reader.next() else { panic!("no object") };
    let names: Vec<&[u8]> = object.spans().map(|(name, ..)| name).collect();
    assert_eq!(names, [b"width".as_slice(), b"encoder"]);
    assert!(matches!(reader.next(), Ok(None)));
}
