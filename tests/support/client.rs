//! A blocking client on the library's client session: publishes, plays, and keeps what comes.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession, MediaKind};

use super::{PATIENCE, is_silence};

/// One media or data message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Audio, video, data.
    pub kind: MediaKind,
    /// Absolute, ms.
    pub timestamp: u32,
    /// Body.
    pub body: Vec<u8>,
}

/// What a client can get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// connect was accepted.
    Connected,
    /// Publish.Start or Play.Start.
    Started,
    /// Another status, by its code.
    Status(String),
    /// User control Stream EOF.
    StreamEof,
    /// A message.
    Message(Message),
    /// FIN.
    Closed,
    /// RST or another failure of the socket.
    Reset,
}

/// A client and its connection.
pub struct Client {
    /// The socket, blocking, with a short read timeout.
    pub stream: TcpStream,
    session: ClientSession,
    partial: HashMap<usize, Vec<u8>>,
    inbox: VecDeque<Got>,
    out: Vec<u8>,
}

impl Client {
    /// Connects and publishes `path` (`app/name`); returns when Publish.Start is there.
    pub fn publish(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::begin_publish(address, path);
        client.expect(&Got::Started);
        client
    }

    /// Connects and asks to publish; what comes is for the caller to see.
    pub fn begin_publish(address: SocketAddr, path: &str) -> Self {
        let (app, name) = path.split_once('/').unwrap();
        Self::with(address, app, ClientRole::Publish { name: name.into() })
    }

    /// Connects and plays `path`; returns when Play.Start is there.
    pub fn play(address: SocketAddr, path: &str) -> Self {
        let mut client = Self::begin_play(address, path);
        client.expect(&Got::Started);
        client
    }

    /// Connects and asks to play.
    pub fn begin_play(address: SocketAddr, path: &str) -> Self {
        let (app, name) = path.split_once('/').unwrap();
        Self::with(address, app, ClientRole::Play { name: name.into() })
    }

    /// Connects only; returns when connect was accepted.
    pub fn idle(address: SocketAddr) -> Self {
        let mut client = Self::with(address, "live", ClientRole::Idle);
        client.expect(&Got::Connected);
        client
    }

    /// Starts a session on a new connection.
    pub fn with(address: SocketAddr, app: &str, role: ClientRole) -> Self {
        Self::on(TcpStream::connect_timeout(&address, PATIENCE).unwrap(), app, role)
    }

    /// Starts a session on a connection of the caller's making (options set, source bound).
    pub fn on(stream: TcpStream, app: &str, role: ClientRole) -> Self {
        let config = ClientConfig {
            app: app.into(),
            tc_url: format!("rtmp://{}/{app}", stream.peer_addr().unwrap()).into(),
            flash_ver: b"FMLE/3.0 (compatible; test)".into(),
            digest: false,
            chunk_size: 4096,
            role,
        };
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut out = Vec::new();
        let session = ClientSession::start(Arc::new(config), 7, &mut out);
        let (partial, inbox) = (HashMap::new(), VecDeque::new());
        let mut client = Self { stream, session, partial, inbox, out };
        client.flush();
        client
    }

    /// Sends one message of a publisher. Panics when the server does not take it.
    pub fn send(&mut self, kind: MediaKind, timestamp: u32, body: &[u8]) {
        self.session.send_media(kind, timestamp, body, &mut self.out);
        self.stream.write_all(&self.out).unwrap();
        self.out.clear();
    }

    /// As [`Client::send`], video.
    pub fn video(&mut self, timestamp: u32, body: &[u8]) {
        self.send(MediaKind::Video, timestamp, body);
    }

    /// As [`Client::send`], audio.
    pub fn audio(&mut self, timestamp: u32, body: &[u8]) {
        self.send(MediaKind::Audio, timestamp, body);
    }

    /// The bytes of one message, for tests that send only part of them.
    pub fn encode(&mut self, kind: MediaKind, timestamp: u32, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.session.send_media(kind, timestamp, body, &mut out);
        out
    }

    /// The bytes of [`Client::end`], for tests that send them together with others.
    pub fn encode_end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.session.send_end(&mut out);
        out
    }

    /// FCUnpublish and deleteStream (publisher) or deleteStream (player).
    pub fn end(&mut self) {
        self.session.send_end(&mut self.out);
        self.flush();
    }

    /// Bytes as they are. False when the connection is gone.
    pub fn raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// What comes next; panics after [`PATIENCE`].
    #[allow(clippy::should_implement_trait, reason = "never ends, and panics")]
    pub fn next(&mut self) -> Got {
        let got = self.next_before(Instant::now() + PATIENCE);
        got.unwrap_or_else(|| panic!("nothing came in {PATIENCE:?}"))
    }

    /// What comes next, or `None` when nothing does within `time`.
    pub fn next_within(&mut self, time: Duration) -> Option<Got> {
        self.next_before(Instant::now() + time)
    }

    fn next_before(&mut self, deadline: Instant) -> Option<Got> {
        let mut buffer = [0; 64 * 1024];
        loop {
            if let Some(got) = self.inbox.pop_front() {
                return Some(got);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Got::Closed),
                Ok(len) => self.handle(&buffer[..len]),
                Err(error) if is_silence(&error) => {
                    if Instant::now() >= deadline {
                        return None;
                    }
                }
                Err(_) => return Some(Got::Reset),
            }
        }
    }

    /// Skips messages until `wanted` comes; panics when the connection ends first.
    pub fn expect(&mut self, wanted: &Got) {
        loop {
            match self.next() {
                got if got == *wanted => return,
                got @ (Got::Closed | Got::Reset) => panic!("{got:?} instead of {wanted:?}"),
                _ => {}
            }
        }
    }

    /// Skips until the status with `code` comes.
    pub fn expect_status(&mut self, code: &str) {
        self.expect(&Got::Status(code.into()));
    }

    /// Skips everything else until FIN or RST.
    pub fn expect_end(&mut self) -> Got {
        loop {
            if let got @ (Got::Closed | Got::Reset) = self.next() {
                return got;
            }
        }
    }

    /// The next media or data message but RtmpSampleAccess; panics when the connection ends first.
    pub fn message(&mut self) -> Message {
        loop {
            match self.next() {
                Got::Message(message) if !is_sample_access(&message) => return message,
                got @ (Got::Closed | Got::Reset) => panic!("{got:?} instead of a message"),
                _ => {}
            }
        }
    }

    /// The next message of `kind`.
    pub fn message_of(&mut self, kind: MediaKind) -> Message {
        loop {
            let message = self.message();
            if message.kind == kind {
                return message;
            }
        }
    }

    fn flush(&mut self) {
        // A server that has closed is seen by the next read.
        let _ = self.stream.write_all(&self.out);
        self.out.clear();
    }

    fn handle(&mut self, mut input: &[u8]) {
        while let Some(event) = self.session.handle_input(&mut input, &mut self.out).unwrap() {
            let got = match event {
                ClientEvent::Connected => Got::Connected,
                ClientEvent::Started => Got::Started,
                ClientEvent::Status { code, .. } => Got::Status(String::from_utf8(code).unwrap()),
                ClientEvent::StreamEof => Got::StreamEof,
                ClientEvent::Data { timestamp, body } => {
                    let (kind, body) = (MediaKind::Data, body.to_vec());
                    Got::Message(Message { kind, timestamp, body })
                }
                ClientEvent::Media(piece) => {
                    let body = self.partial.entry(piece.slot).or_default();
                    if piece.is_first() {
                        body.clear();
                    }
                    body.extend_from_slice(&piece.bytes);
                    if !piece.is_last() {
                        continue;
                    }
                    let body = std::mem::take(body);
                    Got::Message(Message { kind: piece.kind, timestamp: piece.timestamp, body })
                }
            };
            self.inbox.push_back(got);
        }
        self.flush();
    }
}

fn is_sample_access(message: &Message) -> bool {
    message.kind == MediaKind::Data && message.body[3..].starts_with(b"|RtmpSampleAccess")
}
