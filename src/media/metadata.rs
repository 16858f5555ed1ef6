//! Data messages of publishers: `@setDataFrame` stripped, onMetaData made fit for players.
//!
//! ffmpeg counts streams only in an ECMA array; ExoPlayer seeks wrongly when a live stream has a
//! duration; other players do not know `@setDataFrame`. Everything else passes byte for byte.
//! Owns the rules, not the cache (see [`super::init`]).

use crate::rtmp::ProtocolError;
use crate::rtmp::amf0::{Object, Reader, Value, Writer};

/// What to do with one data message.
#[derive(Debug, PartialEq)]
pub enum DataMessage<'a> {
    /// onMetaData: cache and fan out with timestamp 0. The body to send: `onMetaData` + ECMA array,
    /// live `duration` and `filesize` removed, everything else byte for byte; `None` when it has no
    /// value.
    Metadata(Vec<u8>),
    /// Another data frame set by `@setDataFrame` under this name: cache by name and fan out; body
    /// without `@setDataFrame`.
    DataFrame {
        /// Its name.
        name: &'a [u8],
        /// What to send.
        body: &'a [u8],
    },
    /// `@clearDataFrame` name: forget the cached frame of that name; not forwarded.
    Clear {
        /// Its name.
        name: &'a [u8],
    },
    /// Forward unchanged, in order with media, do not cache (onTextData, onCuePoint, user names).
    Forward(&'a [u8]),
    /// Not forwarded (`|RtmpSampleAccess`, onMetaData without a value, empty).
    Drop,
}

const METADATA: &[u8] = b"onMetaData";

/// Parses one data message body (AMF0).
///
/// # Errors
/// The `Amf*` variants when the first values cannot be read.
pub fn parse_data(body: &[u8]) -> Result<DataMessage<'_>, ProtocolError> {
    let mut reader = Reader::new(body);
    let Some(Value::String(name)) = reader.next()? else { return Ok(DataMessage::Drop) };
    match name {
        b"@setDataFrame" => set_data_frame(&mut reader),
        b"@clearDataFrame" => match reader.next()? {
            Some(Value::String(name)) => Ok(DataMessage::Clear { name }),
            _ => Ok(DataMessage::Drop),
        },
        b"|RtmpSampleAccess" => Ok(DataMessage::Drop),
        METADATA => metadata(&mut reader),
        _ => Ok(DataMessage::Forward(body)),
    }
}

fn set_data_frame<'a>(reader: &mut Reader<'a>) -> Result<DataMessage<'a>, ProtocolError> {
    let body = reader.rest();
    match reader.next()? {
        Some(Value::String(METADATA)) => metadata(reader),
        Some(Value::String(b"|RtmpSampleAccess")) => Ok(DataMessage::Drop),
        Some(Value::String(name)) => Ok(DataMessage::DataFrame { name, body }),
        _ => Ok(DataMessage::Drop),
    }
}

/// `onMetaData` and an ECMA array without what only files have; at most 4 bytes longer than sent.
fn metadata<'a>(reader: &mut Reader<'a>) -> Result<DataMessage<'a>, ProtocolError> {
    let Some(Value::Object(object)) = reader.next()? else { return Ok(DataMessage::Drop) };
    let count = u32::try_from(kept(&object).count()).unwrap_or(0);
    let mut body = Vec::with_capacity(object.body.len() + METADATA.len() + 11);
    let mut writer = Writer::new(&mut body);
    writer.string(METADATA).ecma_array(count);
    for (_, _, encoded) in kept(&object) {
        writer.raw(encoded);
    }
    writer.end();
    Ok(DataMessage::Metadata(body))
}

fn kept<'a>(
    object: &Object<'a>,
) -> impl Iterator<Item = (&'a [u8], Value<'a>, &'a [u8])> + use<'a> {
    let is_for_files = |key: &[u8]| matches!(key, b"duration" | b"filesize" | b"fileSize");
    object.spans().filter(move |(key, _, _)| !is_for_files(key))
}
