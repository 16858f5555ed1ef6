//! Millrace: an RTMP edge server. (The architecture page is written here.)
#![forbid(unsafe_code)]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("millrace runs on Linux 5.6 or later, on x86-64 and aarch64 only");

pub mod budget;
pub mod cli;
pub mod host;
pub mod limits;
pub mod media;
pub mod net;
pub mod rtmp;
pub mod service;
pub mod time;
