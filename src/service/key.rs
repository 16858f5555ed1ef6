//! Stream names: the same stream whatever way a client splits its URL.
//!
//! The key is `app/name` joined: query, `_definst_`, doubled and trailing slashes removed; the
//! host takes no part, only an explicit `vhost=` parameter adds a prefix. ffmpeg sends
//! `/live/a/b` as app `live/a` and name `b`, OBS as app `live` and name `a/b`: one key.

use std::fmt;
use std::sync::Arc;

use crate::limits::{APP_BYTES_MAX, STREAM_NAME_BYTES_MAX};

/// The normalised name of a live stream. Bytes: old encoders send names in GBK or Latin-1.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamKey(Arc<[u8]>);

/// A name or app that is too long, empty, or has control characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadName;

impl StreamKey {
    /// Joins `app` of connect and `name` of publish or play.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn new(app: &[u8], name: &[u8]) -> Result<Self, BadName> {
        if app.len() > APP_BYTES_MAX || name.len() > STREAM_NAME_BYTES_MAX {
            return Err(BadName);
        }
        let (app_path, app_query) = split_query(app);
        let (name_path, name_query) = split_query(name);
        let mut key = Vec::with_capacity(app.len() + name.len() + 2);
        if let Some(vhost) = parameter(name_query, b"vhost").or(parameter(app_query, b"vhost")) {
            key.extend_from_slice(vhost);
            key.push(b':');
        }
        for (index, part) in parts(app_path).chain(parts(name_path)).enumerate() {
            if index > 0 {
                key.push(b'/');
            }
            key.extend_from_slice(part);
        }
        if parts(name_path).next().is_none() || key.iter().any(u8::is_ascii_control) {
            return Err(BadName);
        }
        Ok(Self(key.into()))
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The app that `--app` compares: query, `_definst_` and surplus slashes removed.
#[must_use]
pub fn normal_app(app: &[u8]) -> Vec<u8> {
    parts(split_query(app).0).collect::<Vec<_>>().join(&b'/')
}

/// The parts of a path that tell streams apart.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b"_definst_")
}

fn split_query(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&b| b == b'?') {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
        None => (text, b""),
    }
}

fn parameter<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query
        .split(|&b| b == b'&' || b == b'?')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
        .filter(|value| !value.is_empty())
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
