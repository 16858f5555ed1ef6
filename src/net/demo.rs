//! `--demo`: a thread that publishes a built-in clip over loopback as `live/demo`, for ever.
//!
//! A client like any other, on [`ClientSession`]: it shows that the server works and proves
//! nothing about its insides. Paced by the monotonic clock; while it waits for the next frame it
//! reads, so acknowledgements and pings are answered. What ends a connection (another publisher
//! took the name, the app is not allowed) is logged once, and tried again every second. The thread
//! ends with the process. `scripts/make-demo-clip.sh` made the clip.
//!
//! No event loop: it may block.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::media::clip::Clip;
use crate::media::flv::FlvTag;
use crate::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession};

/// H.264 and AAC, 640x360, 5.12 s.
static CLIP: &[u8] = include_bytes!("demo.flv");

const APP: &str = "live";
const NAME: &str = "demo";
const CHUNK_SIZE: u32 = 4096;
const READ_BYTES: usize = 4096;
/// Pause before the next try.
const RETRY: Duration = Duration::from_secs(1);
/// How long the server may take to answer, or to accept a frame.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Starts the publisher of `live/demo` on a server of this host that listens on `address`.
///
/// # Errors
/// The thread cannot be started.
pub fn start(address: SocketAddr) -> io::Result<()> {
    let server = reachable(address);
    thread::Builder::new().name("demo".into()).spawn(move || run(server)).map(drop)
}

/// Where a listener on `address` is reached from this host.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn run(server: SocketAddr) {
    let Some(clip) = Clip::parse(CLIP) else {
        log::error!("the demo clip is not an FLV file");
        return;
    };
    let mut told = String::new();
    loop {
        let Err(error) = publish(server, &clip);
        let why = error.to_string();
        if why != told {
            log::info!("the demo publisher was stopped: {why}");
            told = why;
        }
        // Waking early costs one try more.
        thread::park_timeout(RETRY);
    }
}

/// Publishes until something goes wrong.
fn publish(server: SocketAddr, clip: &Clip<'_>) -> io::Result<Infallible> {
    let mut publisher = Publisher::connect(server)?;
    publisher.begin()?;
    for header in clip.headers() {
        publisher.send(header)?;
    }
    let began = now();
    let mut index = 0;
    loop {
        let due = began + Duration::from_millis(clip.due_ms(index));
        publisher.read_until(due)?;
        publisher.send(&clip.frame(index))?;
        index += 1;
    }
}

/// The demo's side of one connection.
struct Publisher {
    stream: TcpStream,
    session: ClientSession,
    out: Vec<u8>,
    has_started: bool,
}

impl Publisher {
    fn connect(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&server, ANSWER_WAIT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(ANSWER_WAIT))?;
        let config = ClientConfig {
            app: APP.into(),
            tc_url: format!("rtmp://{server}/{APP}").into(),
            flash_ver: b"FMLE/3.0 (compatible; millrace demo)".to_vec(),
            digest: false,
            chunk_size: CHUNK_SIZE,
            role: ClientRole::Publish { name: NAME.into() },
        };
        let mut out = Vec::new();
        let session = ClientSession::start(Arc::new(config), 0, &mut out);
        Ok(Self { stream, session, out, has_started: false })
    }

    /// From the handshake to Publish.Start.
    fn begin(&mut self) -> io::Result<()> {
        self.flush()?;
        let deadline = now() + ANSWER_WAIT;
        while !self.has_started {
            if now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.read_before(deadline)?;
        }
        Ok(())
    }

    fn send(&mut self, tag: &FlvTag<'_>) -> io::Result<()> {
        let Some(kind) = tag.kind() else { return Ok(()) };
        self.session.send_media(kind, tag.timestamp, tag.body, &mut self.out);
        self.flush()
    }

    /// Waits for a moment, and handles what the server says meanwhile.
    fn read_until(&mut self, moment: Instant) -> io::Result<()> {
        while now() < moment {
            self.read_before(moment)?;
        }
        Ok(())
    }

    /// Handles what comes next, if it comes before `deadline`.
    fn read_before(&mut self, deadline: Instant) -> io::Result<()> {
        let left = deadline.saturating_duration_since(now());
        // A timeout of zero would be none at all.
        self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.handle_input(buffer.get(..count).unwrap_or_default()),
            Err(error) if is_timeout(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn handle_input(&mut self, mut input: &[u8]) -> io::Result<()> {
        loop {
            let event = self.session.handle_input(&mut input, &mut self.out);
            match event.map_err(|error| io::Error::other(format!("{error:?}")))? {
                None => return self.flush(),
                Some(ClientEvent::Started) => self.has_started = true,
                // A refusal, or the end of what was accepted.
                Some(ClientEvent::Status { code, .. }) => {
                    return Err(io::Error::other(String::from_utf8_lossy(&code).into_owned()));
                }
                Some(
                    ClientEvent::Connected
                    | ClientEvent::StreamEof
                    | ClientEvent::Media(_)
                    | ClientEvent::Data { .. },
                ) => {}
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

fn now() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "a thread of its own, paced by real time")]
    Instant::now()
}
