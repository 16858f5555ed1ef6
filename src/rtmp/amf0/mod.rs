//! AMF0, bounded: values borrowed from the message body (AMF 0 specification, December 2007).
//!
//! Owns reading and writing of values; knows no command. AMF3 values (marker 0x11) are skipped
//! as a whole, scalars among them can be read. Entry points: [`Reader`], [`Writer`].

mod amf3;
pub mod reader;
pub mod writer;

pub use reader::{Object, Reader, Value};
pub use writer::Writer;
