//! Why the load could not run; broken promises are no errors but results.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the load could not run.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// The result cannot be written there.
    Output(PathBuf, io::Error),
    /// It is no FLV file, or one whose frames cannot be stamped.
    NoFlv,
    /// The kernel refused.
    System(io::Error),
    /// The publisher was not accepted.
    NoPublisher(String),
    /// The process with this number cannot be measured.
    NoServer(u32, io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Output(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::NoFlv => write!(f, "--flv: not an FLV file of single-track frames"),
            Self::System(error) => write!(f, "{error}"),
            Self::NoPublisher(why) => write!(f, "the publisher was not accepted: {why}"),
            Self::NoServer(pid, error) => {
                write!(f, "--server-pid {pid}: no process that can be measured: {error}")
            }
        }
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}
