//! Bodies of media messages as publishers send them.

/// onMetaData as ffmpeg sends it, with `@setDataFrame` in front.
pub fn metadata() -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = millrace::rtmp::amf0::Writer::new(&mut out);
    writer.string(b"@setDataFrame").string(b"onMetaData").ecma_array(2);
    writer.key(b"width").number(640.0).key(b"height").number(360.0).end();
    out
}

/// AVC sequence header; `version` makes different ones.
pub fn avc_header(version: u8) -> Vec<u8> {
    vec![0x17, 0, 0, 0, 0, 1, 0x42, 0, version, 0xFF, 0xE1, 0, 0]
}

/// AVC keyframe that carries `number` and is `len` bytes long (at least 13).
pub fn key(number: u64, len: usize) -> Vec<u8> {
    video(0x17, number, len)
}

/// AVC inter frame, as [`key`].
pub fn inter(number: u64, len: usize) -> Vec<u8> {
    video(0x27, number, len)
}

fn video(first: u8, number: u64, len: usize) -> Vec<u8> {
    let mut body = vec![first, 1, 0, 0, 0];
    body.extend_from_slice(&number.to_be_bytes());
    fill(&mut body, number, len);
    body
}

/// AAC sequence header.
pub fn aac_header() -> Vec<u8> {
    vec![0xAF, 0, 0x12, 0x10]
}

/// AAC frame that carries `number` and is `len` bytes long (at least 10).
pub fn audio(number: u64, len: usize) -> Vec<u8> {
    let mut body = vec![0xAF, 1];
    body.extend_from_slice(&number.to_be_bytes());
    fill(&mut body, number, len);
    body
}

/// Bytes that depend on their place and on `number`, so that a wrong or missing one is seen.
fn fill(body: &mut Vec<u8>, number: u64, len: usize) {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while body.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.push((state >> 24) as u8);
    }
}

/// The number in a body made by [`key`], [`inter`] or [`audio`]; panics when a byte is wrong.
pub fn number(body: &[u8]) -> u64 {
    let (at, made): (usize, fn(u64, usize) -> Vec<u8>) = match body[0] {
        0x17 => (5, key),
        0x27 => (5, inter),
        _ => (2, audio),
    };
    let number = u64::from_be_bytes(body[at..at + 8].try_into().unwrap());
    assert!(body == made(number, body.len()), "corrupt body of frame {number}");
    number
}

/// Whether a body of [`key`], [`inter`], [`audio`], [`avc_header`] … is a sequence header.
pub fn is_header(body: &[u8]) -> bool {
    body.get(1) == Some(&0)
}
