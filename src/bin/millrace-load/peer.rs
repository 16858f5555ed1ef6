//! One connection of the load: socket, client session, and what it is there for.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use millrace::rtmp::session::{ClientConfig, ClientEvent, ClientSession, MediaKind};
use mio::net::TcpStream;

use crate::inbound::{Arrival, Inbound};
use crate::latency::Samples;
use crate::socket::{self, Receiver};
use crate::streams::Stream;

/// LIMIT: arrivals noted between two reads; more of them count as one, the last.
const ARRIVALS_MAX: usize = 256;

/// What a connection is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Publishes.
    Publisher,
    /// Plays and parses everything.
    Player {
        /// It tells where frames end: [`crate::streams`].
        is_reference: bool,
    },
    /// Plays, and parses until the reference knows where it stopped.
    Drained,
    /// Plays and reads so much a second.
    Slow,
    /// Plays and stops reading.
    Stuck,
    /// Connects and stays.
    Idle,
    /// Plays until the first keyframe: one of many joins.
    Guest {
        /// It came with all others in one moment.
        is_storm: bool,
    },
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not where it wants to be.
    Starting,
    /// Published, playing with a first keyframe, or connected where that is all.
    Begun,
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
    /// Number of its live stream.
    pub(crate) of: usize,
    /// How far it has come.
    pub(crate) state: State,
    /// Why it was refused.
    pub(crate) refused: Option<String>,
    /// From the call of connect until it had begun, µs.
    pub(crate) join_us: Option<u64>,
    /// When it began to connect, µs.
    pub(crate) opened_us: u64,
    /// What it has got.
    pub(crate) inbound: Option<Box<Inbound>>,
    /// Nobody parses any more what it gets.
    pub(crate) is_drained: bool,
    /// It is read by the clock; events tell only when something has come.
    pub(crate) is_clocked: bool,
    /// Bytes received.
    pub(crate) received: u64,
    /// What has come and is not read: bytes received with it, and when it came.
    arrivals: VecDeque<(u64, Arrival)>,
    /// Frame that it got whole at last, and the bytes received with it.
    pub(crate) mark: Option<(u32, u64)>,
    session: ClientSession,
    out: Vec<u8>,
    sent: usize,
}

/// What reading leads to.
pub(crate) struct Sinks<'a> {
    /// Latencies.
    pub(crate) samples: &'a mut Samples,
    /// Positions of references.
    pub(crate) streams: &'a mut [Stream],
    /// Frames sent before are not measured, µs.
    pub(crate) measured_from_us: Option<u64>,
}

impl Peer {
    /// A session on a connection that began at `opened_us`.
    pub(crate) fn new(
        stream: TcpStream,
        (role, of): (Role, usize),
        inbound: Option<Box<Inbound>>,
        config: Arc<ClientConfig>,
        opened_us: u64,
    ) -> Self {
        let mut out = Vec::new();
        let session = ClientSession::start(config, opened_us, &mut out);
        Self {
            stream,
            role,
            of,
            state: State::Starting,
            refused: None,
            join_us: None,
            opened_us,
            inbound,
            is_drained: false,
            is_clocked: false,
            received: 0,
            arrivals: VecDeque::new(),
            mark: None,
            session,
            out,
            sent: 0,
        }
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
        if self.sent > 0 && matches!(self.role, Role::Player { .. } | Role::Drained) {
            socket::acknowledge_reads(&self.stream);
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads what is there; `now_us` tells the time of each read. A short read means empty, unless
    /// FIN is behind it: `until_empty`.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn read(
        &mut self,
        receiver: &mut Receiver,
        until_empty: bool,
        now_us: &impl Fn() -> u64,
        sinks: &mut Sinks<'_>,
    ) -> io::Result<()> {
        while !self.is_deaf() {
            match receiver.read(&self.stream) {
                Ok(input) => {
                    let read_us = now_us();
                    let arrival = Arrival {
                        at_us: input.arrived_us.unwrap_or(read_us),
                        seen_us: read_us,
                        is_kernel: input.arrived_us.is_some(),
                        measured_from_us: sinks.measured_from_us,
                    };
                    let is_last = input.is_last && !until_empty;
                    self.handle_input(input.bytes, arrival, sinks)?;
                    self.flush()?;
                    if is_last {
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

    /// Notes when the bytes came that wait to be read.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn note_arrival(&mut self, receiver: &mut Receiver, now_us: u64) -> io::Result<()> {
        let (count, arrived_us) = match receiver.look(&self.stream) {
            Err(error) if is_not_yet(&error) => return Ok(()),
            seen => seen?,
        };
        let end = self.received + count as u64;
        if self.arrivals.back().is_some_and(|&(last, _)| last >= end) {
            return Ok(());
        }
        if self.arrivals.len() == ARRIVALS_MAX {
            self.arrivals.pop_back();
        }
        let arrival = Arrival {
            at_us: arrived_us.unwrap_or(now_us),
            seen_us: now_us,
            is_kernel: arrived_us.is_some(),
            measured_from_us: None,
        };
        self.arrivals.push_back((end, arrival));
        Ok(())
    }

    /// When the last byte received came; `read` is when it was read.
    fn arrival(&mut self, read: Arrival) -> Arrival {
        while self.arrivals.front().is_some_and(|&(end, _)| end < self.received) {
            self.arrivals.pop_front();
        }
        let noted = self.arrivals.front();
        noted.map_or(read, |&(_, noted)| Arrival {
            measured_from_us: read.measured_from_us,
            ..noted
        })
    }

    /// Throws away up to `limit` bytes and acknowledges them; how many. `alive`: acknowledge even
    /// if it is not due.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn discard(
        &mut self,
        receiver: &mut Receiver,
        limit: usize,
        alive: bool,
    ) -> io::Result<usize> {
        let count = match receiver.discard(&self.stream, limit) {
            Ok(count) => count,
            Err(error) if is_not_yet(&error) => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        self.received += count as u64;
        self.session.skip_input(count, &mut self.out);
        match alive {
            true => self.speak()?,
            false if !self.out.is_empty() => self.flush()?,
            false => {}
        }
        Ok(count)
    }

    /// Acknowledges though it is not due. A server that has closed this connection answers with a
    /// reset, even if its FIN waits behind bytes that nobody here reads.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn speak(&mut self) -> io::Result<()> {
        // Never more than one message waits for a server that does not read.
        if self.out.is_empty() {
            self.session.acknowledge(&mut self.out);
        }
        self.flush()
    }

    /// Whether the server has reset the connection.
    pub(crate) fn is_reset(&self) -> bool {
        !matches!(self.stream.take_error(), Ok(None))
    }

    /// Whether it is one of those that stop parsing, and has come so far. The drained ones are told
    /// by [`crate::drain`].
    pub(crate) fn is_deaf(&self) -> bool {
        matches!(self.role, Role::Slow | Role::Stuck) && self.state == State::Begun
    }

    /// Whether it is connected and all that it gets is looked at.
    pub(crate) fn is_parsing(&self) -> bool {
        self.state != State::Closed && !self.is_drained
    }

    fn handle_input(
        &mut self,
        mut input: &[u8],
        arrival: Arrival,
        sinks: &mut Sinks<'_>,
    ) -> io::Result<()> {
        loop {
            let before = input.len();
            let event = self.session.handle_input(&mut input, &mut self.out);
            self.received += (before - input.len()) as u64;
            let event = event.map_err(|error| io::Error::other(format!("{error:?}")))?;
            match event {
                None => return Ok(()),
                Some(ClientEvent::Media(piece)) => {
                    let arrival = self.arrival(arrival);
                    let Some(inbound) = &mut self.inbound else { continue };
                    inbound.take(&piece, arrival, sinks.samples);
                    if piece.is_last() {
                        self.finish_message(sinks.streams);
                    }
                }
                Some(ClientEvent::Connected) => {
                    if self.role == Role::Idle {
                        self.begin(arrival.at_us);
                    }
                }
                Some(ClientEvent::Started) => {
                    if matches!(self.role, Role::Publisher | Role::Slow | Role::Stuck) {
                        self.begin(arrival.at_us);
                    }
                }
                Some(ClientEvent::Status { code, is_error }) if is_error => {
                    self.refused = Some(String::from_utf8_lossy(&code).into_owned());
                }
                Some(
                    ClientEvent::Status { .. } | ClientEvent::StreamEof | ClientEvent::Data { .. },
                ) => {}
            }
        }
    }

    fn finish_message(&mut self, streams: &mut [Stream]) {
        let Some(inbound) = &self.inbound else { return };
        let (last, begun_us) = (inbound.last(), inbound.begun_us());
        // What does not move it on, such as a sequence header, belongs to the next frame.
        if let Some(last) = last.filter(|&last| self.mark.is_none_or(|(mark, _)| mark != last)) {
            self.mark = Some((last, self.received));
            if self.role == (Role::Player { is_reference: true })
                && let Some(stream) = streams.get_mut(self.of)
            {
                stream.add(last, self.session.media_bytes());
            }
        }
        if let (Some(begun_us), State::Starting) = (begun_us, self.state) {
            self.begin(begun_us);
        }
    }

    fn begin(&mut self, at_us: u64) {
        self.state = State::Begun;
        self.join_us = Some(at_us.saturating_sub(self.opened_us));
    }
}

/// Empty, full, or not connected yet.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use millrace::rtmp::session::ClientRole;
    use socket2::SockRef;

    use super::*;

    #[test]
    fn a_player_that_answers_still_acknowledges_what_it_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let config = ClientConfig {
            app: b"live".to_vec(),
            tc_url: Vec::new(),
            flash_ver: Vec::new(),
            digest: false,
            chunk_size: 4096,
            role: ClientRole::Play { name: b"load".to_vec() },
        };
        let stream = TcpStream::from_std(stream);
        let mut peer = Peer::new(stream, (Role::Drained, 0), None, Arc::new(config), 0);
        peer.flush().unwrap();
        let mut hello = [0; 1537];
        server.read_exact(&mut hello).unwrap();
        server.write_all(b"answer").unwrap();
        let mut receiver = Receiver::new();
        while peer.discard(&mut receiver, usize::MAX, false).unwrap() == 0 {}
        peer.out.extend_from_slice(b"answer to it");
        peer.flush().unwrap();
        assert!(SockRef::from(&peer.stream).tcp_quickack().unwrap());
    }
}
