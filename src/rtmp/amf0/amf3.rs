//! AMF3, as far as AMF0 messages need it: skip one value, read a scalar (AMF 3, January 2013).
//!
//! LIMIT: the same depth and element bounds as AMF0. Externalizable objects have no length of
//! their own and cannot be skipped: they are refused.

use crate::limits::{AMF_DEPTH_MAX, AMF_ELEMENTS_MAX};
use crate::rtmp::ProtocolError;

/// Members of a class: sealed count, and whether name-value pairs follow.
#[derive(Debug, Clone, Copy)]
struct Traits {
    sealed: usize,
    dynamic: bool,
}

struct Skipper<'a> {
    rest: &'a [u8],
    elements: usize,
    traits: Vec<Traits>,
}

/// What follows the first AMF3 value of `encoded`.
pub(super) fn skip(encoded: &[u8]) -> Result<&[u8], ProtocolError> {
    let mut skipper = Skipper { rest: encoded, elements: 0, traits: Vec::new() };
    skipper.value(0)?;
    Ok(skipper.rest)
}

/// An integer or double.
pub(super) fn number(encoded: &[u8]) -> Option<f64> {
    match encoded.split_first()? {
        (4, bytes) => {
            let raw = Skipper { rest: bytes, elements: 0, traits: Vec::new() }.u29().ok()?;
            Some(f64::from((raw << 3).cast_signed() >> 3))
        }
        (5, bytes) => Some(f64::from_be_bytes(*bytes.first_chunk()?)),
        _ => None,
    }
}

/// A string that is not a reference.
pub(super) fn string(encoded: &[u8]) -> Option<&[u8]> {
    let (6, bytes) = encoded.split_first()? else { return None };
    let mut skipper = Skipper { rest: bytes, elements: 0, traits: Vec::new() };
    let head = skipper.u29().ok().filter(|head| head & 1 == 1)?;
    skipper.rest.get(..(head >> 1) as usize)
}

impl<'a> Skipper<'a> {
    fn value(&mut self, depth: usize) -> Result<(), ProtocolError> {
        self.elements += 1;
        if self.elements > AMF_ELEMENTS_MAX {
            return Err(ProtocolError::AmfTooManyElements);
        }
        if depth > AMF_DEPTH_MAX {
            return Err(ProtocolError::AmfTooDeep);
        }
        let marker = *self.take(1)?.first().ok_or(ProtocolError::AmfTruncated)?;
        match marker {
            0x00..=0x03 => Ok(()),
            0x04 => self.u29().map(drop),
            0x05 => self.take(8).map(drop),
            0x06 | 0x07 | 0x0b | 0x0c => self.string().map(drop),
            0x08 => self.head()?.map_or(Ok(()), |_| self.take(8).map(drop)),
            0x09 => self.array(depth),
            0x0a => self.object(depth),
            0x0d | 0x0e => self.vector(4),
            0x0f => self.vector(8),
            0x10 => self.object_vector(depth),
            0x11 => self.dictionary(depth),
            _ => Err(ProtocolError::AmfMarker { marker }),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), ProtocolError> {
        let Some(count) = self.head()? else { return Ok(()) };
        self.pairs(depth)?;
        for _ in 0..count {
            self.value(depth + 1)?;
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), ProtocolError> {
        let head = self.u29()?;
        if head & 1 == 0 {
            return Ok(());
        }
        let traits = if head & 2 == 0 {
            let known = self.traits.get((head >> 2) as usize).copied();
            known.ok_or(ProtocolError::AmfTruncated)?
        } else {
            self.new_traits(head)?
        };
        for _ in 0..traits.sealed {
            self.value(depth + 1)?;
        }
        if traits.dynamic { self.pairs(depth) } else { Ok(()) }
    }

    fn new_traits(&mut self, head: u32) -> Result<Traits, ProtocolError> {
        if head & 4 != 0 {
            return Err(ProtocolError::AmfMarker { marker: 0x0a });
        }
        let traits = Traits { sealed: (head >> 4) as usize, dynamic: head & 8 != 0 };
        self.string()?;
        for _ in 0..traits.sealed {
            self.string()?;
        }
        // Bounded: every object counts as an element.
        self.traits.push(traits);
        Ok(traits)
    }

    /// Name-value pairs up to the empty name.
    fn pairs(&mut self, depth: usize) -> Result<(), ProtocolError> {
        while !self.string()? {
            self.value(depth + 1)?;
        }
        Ok(())
    }

    fn vector(&mut self, element_bytes: usize) -> Result<(), ProtocolError> {
        let Some(count) = self.head()? else { return Ok(()) };
        self.take(1 + count.saturating_mul(element_bytes)).map(drop)
    }

    fn object_vector(&mut self, depth: usize) -> Result<(), ProtocolError> {
        let Some(count) = self.head()? else { return Ok(()) };
        self.take(1)?;
        self.string()?;
        for _ in 0..count {
            self.value(depth + 1)?;
        }
        Ok(())
    }

    fn dictionary(&mut self, depth: usize) -> Result<(), ProtocolError> {
        let Some(count) = self.head()? else { return Ok(()) };
        self.take(1)?;
        for _ in 0..count {
            self.value(depth + 1)?;
            self.value(depth + 1)?;
        }
        Ok(())
    }

    /// Skips a string; whether it was the empty one.
    fn string(&mut self) -> Result<bool, ProtocolError> {
        match self.head()? {
            Some(len) => self.take(len).map(<[u8]>::is_empty),
            None => Ok(false),
        }
    }

    /// A length or count; `None` for a reference.
    fn head(&mut self) -> Result<Option<usize>, ProtocolError> {
        let head = self.u29()?;
        Ok((head & 1 == 1).then_some((head >> 1) as usize))
    }

    fn u29(&mut self) -> Result<u32, ProtocolError> {
        let mut value = 0;
        for index in 0..4 {
            let byte = *self.take(1)?.first().ok_or(ProtocolError::AmfTruncated)?;
            if index == 3 {
                return Ok(value << 8 | u32::from(byte));
            }
            value = value << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ProtocolError::AmfTruncated)?;
        self.rest = rest;
        Ok(taken)
    }
}
