//! Data messages of publishers: `@setDataFrame` stripped, onMetaData made fit for players.

use crate::rtmp::ProtocolError;

/// What to do with one data message.
#[derive(Debug, PartialEq)]
pub enum DataMessage<'a> {
    /// onMetaData: cache and fan out with timestamp 0. The body to send: `onMetaData` + ECMA array, live `duration`
    /// and `filesize` removed, everything else byte for byte; `None` when it has no value.
    Metadata(Vec<u8>),
    /// Another data frame set by `@setDataFrame` under this name: cache by name and fan out; body without `@setDataFrame`.
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

/// Parses one data message body (AMF0).
///
/// # Errors
/// The `Amf*` variants when the first values cannot be read.
pub fn parse_data(body: &[u8]) -> Result<DataMessage<'_>, ProtocolError> {
    let _ = body;
    todo!()
}
