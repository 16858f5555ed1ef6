//! Big-endian integers out of slices without panics.

/// u16 at `at`.
#[must_use]
pub fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// u24 at `at`.
#[must_use]
pub fn u24_be(bytes: &[u8], at: usize) -> Option<u32> {
    let [a, b, c] = bytes.get(at..at.checked_add(3)?)?.try_into().ok()?;
    Some(u32::from_be_bytes([0, a, b, c]))
}

/// u32 at `at`.
#[must_use]
pub fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}
