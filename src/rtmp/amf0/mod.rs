//! AMF0, bounded: values borrowed from the message body (AMF0 specification, Dec 2007).

pub mod reader;
pub mod writer;

pub use reader::{Reader, Value};
pub use writer::Writer;
