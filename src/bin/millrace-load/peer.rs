//! One connection of the load: socket, client session, and what it is there for.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use millrace::rtmp::session::{ClientConfig, ClientEvent, ClientSession, MediaKind};
use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use crate::inbound::{Arrival, Inbound};
use crate::latency::Latencies;

/// What a connection is there for.
#[derive(Debug)]
pub(crate) enum Role {
    /// Publishes.
    Publisher,
    /// Plays and reads.
    Player(Box<Inbound>),
    /// Plays and stops reading.
    Stuck,
    /// Connects and stays.
    Idle,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not where it wants to be.
    Starting,
    /// Published, playing, or connected where that is all.
    Started,
    /// Gone.
    Closed,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The socket, non-blocking.
    pub(crate) stream: TcpStream,
    /// What it is there for.
    pub(crate) role: Role,
    /// How far it has come.
    pub(crate) state: State,
    /// Why it was refused.
    pub(crate) refused: Option<String>,
    session: ClientSession,
    out: Vec<u8>,
    sent: usize,
}

/// Begins a connection, from 127.0.0.`source` where that is not 0.
///
/// # Errors
/// What the kernel says.
pub(crate) fn connect(server: SocketAddr, source: u8) -> io::Result<TcpStream> {
    if source == 0 {
        return TcpStream::connect(server);
    }
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0));
    socket.bind(&from.into())?;
    socket.set_nonblocking(true)?;
    match socket.connect(&server.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

impl Peer {
    /// A session on a connection that has just begun.
    pub(crate) fn new(stream: TcpStream, role: Role, config: Arc<ClientConfig>, seed: u64) -> Self {
        // A failure costs latency only.
        let _ = stream.set_nodelay(true);
        let mut out = Vec::new();
        let session = ClientSession::start(config, seed, &mut out);
        let state = State::Starting;
        Self { stream, role, state, refused: None, session, out, sent: 0 }
    }

    /// Whether a stuck player has come to where it stops reading.
    pub(crate) fn is_stuck(&self) -> bool {
        matches!(self.role, Role::Stuck) && self.state == State::Started
    }

    /// Appends a message of the publisher.
    pub(crate) fn send(&mut self, kind: MediaKind, timestamp: u32, body: &[u8]) {
        self.session.send_media(kind, timestamp, body, &mut self.out);
    }

    /// Appends the explicit end.
    pub(crate) fn send_end(&mut self) {
        self.session.send_end(&mut self.out);
    }

    /// Bytes that wait for the socket.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(unsent) = self.out.get(self.sent..).filter(|unsent| !unsent.is_empty()) {
            match self.stream.write(unsent) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads what is there; `clock` tells the time of each read. A short read means empty, unless
    /// FIN is behind it: `until_empty`.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        until_empty: bool,
        clock: &impl Fn() -> Arrival,
        latencies: &mut Latencies,
    ) -> io::Result<()> {
        while !self.is_stuck() {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    let input = buffer.get(..count).unwrap_or_default();
                    self.handle_input(input, clock(), latencies)?;
                    self.flush()?;
                    if count < buffer.len() && !until_empty {
                        return Ok(());
                    }
                }
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn handle_input(
        &mut self,
        mut input: &[u8],
        arrival: Arrival,
        latencies: &mut Latencies,
    ) -> io::Result<()> {
        loop {
            let event = self.session.handle_input(&mut input, &mut self.out);
            let event = event.map_err(|error| io::Error::other(format!("{error:?}")))?;
            match event {
                None => return Ok(()),
                Some(ClientEvent::Media(piece)) => {
                    if let Role::Player(inbound) = &mut self.role {
                        inbound.take(&piece, arrival, latencies);
                    }
                }
                Some(ClientEvent::Connected) => {
                    if matches!(self.role, Role::Idle) {
                        self.state = State::Started;
                    }
                }
                Some(ClientEvent::Started) => self.state = State::Started,
                Some(ClientEvent::Status { code, is_error }) if is_error => {
                    self.refused = Some(String::from_utf8_lossy(&code).into_owned());
                }
                Some(
                    ClientEvent::Status { .. } | ClientEvent::StreamEof | ClientEvent::Data { .. },
                ) => {}
            }
        }
    }
}

/// Empty, full, or not connected yet.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}
