//! The command line: flags to a checked, immutable [`Config`], and the help text.
//!
//! One table ([`flags::FLAGS`]) makes parsing, `--help` and the README's list. Knows only
//! [`crate::limits`]; facts of the host are passed in.

pub mod config;
pub mod flags;
pub mod memory;
pub mod values;

pub use config::{Command, Config, Host};
pub use flags::{FLAGS, wrap};
pub use memory::{FixedMemory, UnitBytes};
pub use values::UsageError;
