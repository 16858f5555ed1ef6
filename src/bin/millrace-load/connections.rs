//! All connections of a run: opening, polling, closing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace::rtmp::session::{ClientConfig, ClientRole};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::inbound::Inbound;
use crate::options::Options;
use crate::peer::{Peer, Role};
use crate::socket::{self, Receiver};
use crate::streams::Stream;

/// Chunk size for sending.
const CHUNK_SIZE: u32 = 60_000;

/// See the module documentation.
pub(crate) struct Connections {
    poll: Poll,
    /// The connections, by their token.
    pub(crate) peers: Slab<Peer>,
    /// What reads from them.
    pub(crate) receiver: Receiver,
    server: SocketAddr,
    sources: u64,
    mss: u32,
    opened: u64,
    /// Publishing and playing, by stream.
    configs: Vec<[Arc<ClientConfig>; 2]>,
    idle: Arc<ClientConfig>,
}

impl Connections {
    /// None yet.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(options: &Options, streams: &[Stream]) -> io::Result<Self> {
        let of_stream = |stream: &Stream| {
            let name = || stream.name.clone().into_bytes();
            let roles = [ClientRole::Publish { name: name() }, ClientRole::Play { name: name() }];
            roles.map(|role| Arc::new(config(options, role)))
        };
        Ok(Self {
            poll: Poll::new()?,
            peers: Slab::new(),
            receiver: Receiver::new(),
            server: options.server,
            sources: options.sources as u64,
            mss: options.mss,
            opened: 0,
            configs: streams.iter().map(of_stream).collect(),
            idle: Arc::new(config(options, ClientRole::Idle)),
        })
    }

    /// Begins a connection for stream number `of`; its key.
    ///
    /// # Errors
    /// What the kernel says, such as that there are too many.
    pub(crate) fn open(
        &mut self,
        role: Role,
        of: usize,
        inbound: Option<Inbound>,
        now_us: u64,
    ) -> io::Result<usize> {
        let config = match (role, self.configs.get(of)) {
            (Role::Idle, _) | (_, None) => &self.idle,
            (Role::Publisher, Some([publish, _])) => publish,
            (_, Some([_, play])) => play,
        };
        let source = match self.sources {
            1 => 0,
            sources => u8::try_from(1 + self.opened % sources).unwrap_or(1),
        };
        self.opened += 1;
        let mut stream = socket::connect(self.server, source, self.mss)?;
        let entry = self.peers.vacant_entry();
        let key = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(key), interest)?;
        let inbound = inbound.map(Box::new);
        entry.insert(Peer::new(stream, (role, of), inbound, Arc::clone(config), now_us));
        Ok(key)
    }

    /// Waits for events.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn wait(&mut self, events: &mut Events, longest: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(longest)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Events of this connection are not wanted any more.
    pub(crate) fn silence(&mut self, key: usize) {
        if let Some(peer) = self.peers.get_mut(key) {
            // Not registered any more is the aim.
            let _ = self.poll.registry().deregister(&mut peer.stream);
        }
    }

    /// Closes a connection and forgets it.
    pub(crate) fn remove(&mut self, key: usize) {
        self.silence(key);
        self.peers.try_remove(key);
    }
}

fn config(options: &Options, role: ClientRole) -> ClientConfig {
    let Options { server, app, .. } = options;
    ClientConfig {
        app: app.clone().into_bytes(),
        tc_url: format!("rtmp://{server}/{app}").into_bytes(),
        flash_ver: b"FMLE/3.0 (compatible; millrace-load)".to_vec(),
        digest: false,
        chunk_size: CHUNK_SIZE,
        role,
    }
}
