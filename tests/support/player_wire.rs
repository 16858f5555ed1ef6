//! A naive reader of a player's byte stream: type 0 first, type 3 to go on, nothing else.

use millrace::media::frame::Frame;

/// One message as a player sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// 8 audio, 9 video, 18 data.
    pub message_type: u8,
    /// ms.
    pub timestamp: u32,
    /// Message stream id.
    pub msid: u32,
    /// Whole body.
    pub body: Vec<u8>,
}

/// Reads what was written to one player.
#[derive(Debug, Clone)]
pub struct WireReader {
    chunk_size: usize,
    bytes: Vec<u8>,
}

impl WireReader {
    /// A player that knows the outgoing chunk size.
    pub fn new(chunk_size: u32) -> Self {
        Self { chunk_size: chunk_size as usize, bytes: Vec::new() }
    }

    /// Takes bytes; the messages they complete. Panics on anything but the wire image of frames.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Heard> {
        self.bytes.extend_from_slice(bytes);
        let mut heard = Vec::new();
        let mut at = 0;
        while let Some((message, used)) = self.message(&self.bytes[at..]) {
            at += used;
            heard.push(message);
        }
        self.bytes.drain(..at);
        heard
    }

    /// Whether the stream ends with a whole message.
    pub fn is_at_boundary(&self) -> bool {
        self.bytes.is_empty()
    }

    fn message(&self, bytes: &[u8]) -> Option<(Heard, usize)> {
        let header = bytes.get(..12)?;
        let csid = header[0];
        assert!(matches!(csid, 5..=7), "a message begins with a type-0 header: {csid:02x}");
        let length = u32::from_be_bytes([0, header[4], header[5], header[6]]) as usize;
        let short = u32::from_be_bytes([0, header[1], header[2], header[3]]);
        let msid = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let mut at = 12;
        let extended =
            (short == 0x00FF_FFFF).then(|| bytes.get(12..16)).map_or(Some(None), |e| {
                at += 4;
                e.map(Some)
            })?;
        let timestamp =
            extended.map_or(short, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
        let mut body = Vec::with_capacity(length);
        loop {
            let piece = self.chunk_size.min(length - body.len());
            body.extend_from_slice(bytes.get(at..at + piece)?);
            at += piece;
            if body.len() == length {
                let message_type = header[7];
                return Some((Heard { message_type, timestamp, msid, body }, at));
            }
            assert_eq!(*bytes.get(at)?, 0xC0 | csid, "type 3 goes on");
            at += 1;
            if let Some(extended) = extended {
                assert_eq!(bytes.get(at..at + 4)?, extended, "the extended timestamp is repeated");
                at += 4;
            }
        }
    }
}

/// The whole wire image of a frame.
pub fn image(frame: &Frame) -> Vec<u8> {
    frame.segments().flatten().copied().collect()
}
