//! The publishers of a run: each sends its frames when they are due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::connections::Connections;
use crate::peer::State;
use crate::source::Source;

/// LIMIT: bytes that a server which does not read lets pile up here.
const UNSENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Publishers do not send in step: over this time they begin one after the other, µs.
const SPREAD_US: u64 = 33_333;

/// See the module documentation.
pub(crate) struct Publishers<'a> {
    list: Vec<Publisher<'a>>,
    /// When the next frame of which is due, µs.
    due: BinaryHeap<Reverse<(u64, usize)>>,
    body: Vec<u8>,
    /// Frames published.
    pub(crate) frames_sent: u64,
    /// Most that one was late, µs.
    pub(crate) late_us: u64,
}

struct Publisher<'a> {
    key: usize,
    source: Source<'a>,
    began_us: u64,
}

impl<'a> Publishers<'a> {
    /// None yet.
    pub(crate) fn new() -> Self {
        let (list, due, body) = (Vec::new(), BinaryHeap::new(), Vec::new());
        Self { list, due, body, frames_sent: 0, late_us: 0 }
    }

    /// One more, on the connection with this key.
    pub(crate) fn add(&mut self, key: usize, source: Source<'a>) {
        self.list.push(Publisher { key, source, began_us: 0 });
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.list.len()
    }

    /// Metadata and sequence headers of all; the first frames are due soon.
    pub(crate) fn begin(&mut self, connections: &mut Connections, now_us: u64) {
        let count = self.list.len() as u64;
        for (index, publisher) in self.list.iter_mut().enumerate() {
            publisher.began_us = now_us + SPREAD_US * index as u64 / count;
            self.due.push(Reverse((publisher.began_us, index)));
            let Some(peer) = connections.peers.get_mut(publisher.key) else { continue };
            for header in publisher.source.headers() {
                peer.send(header.kind, 0, &header.body);
            }
        }
    }

    /// No more frames.
    pub(crate) fn end(&mut self) {
        self.due.clear();
    }

    /// Number of the last frame of a publisher; `None` before the first.
    pub(crate) fn last_sequence(&self, index: usize) -> Option<u32> {
        self.list.get(index)?.source.sequence().checked_sub(1)
    }

    /// When the next frame is due, µs.
    pub(crate) fn due_us(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due_us, _))| *due_us)
    }

    /// Sends every frame that is due, those of a publisher in one write; a publisher whose
    /// connection is lost.
    pub(crate) fn send_due(&mut self, connections: &mut Connections, now_us: u64) -> Option<usize> {
        while let Some(Reverse((due_us, index))) = self.due.peek().copied() {
            if due_us > now_us {
                break;
            }
            self.due.pop();
            self.late_us = self.late_us.max(now_us - due_us);
            let Some(publisher) = self.list.get_mut(index) else { continue };
            let Some(peer) = connections.peers.get_mut(publisher.key) else { continue };
            if peer.state == State::Closed {
                continue;
            }
            let mut due_us = due_us;
            while due_us <= now_us {
                let (kind, timestamp) = publisher.source.next(now_us, &mut self.body);
                peer.send(kind, timestamp, &self.body);
                self.frames_sent += 1;
                due_us = publisher.began_us + publisher.source.due_ms() * 1000;
            }
            self.due.push(Reverse((due_us, index)));
            if peer.flush().is_err() || peer.unsent_bytes() > UNSENT_BYTES_MAX {
                return Some(publisher.key);
            }
        }
        None
    }

    /// Says goodbye.
    pub(crate) fn leave(&mut self, connections: &mut Connections) {
        for publisher in &self.list {
            let Some(peer) = connections.peers.get_mut(publisher.key) else { continue };
            if peer.state == State::Begun {
                peer.send_end();
                // The connection ends next, which ends the stream too.
                let _ = peer.flush();
            }
        }
    }
}
