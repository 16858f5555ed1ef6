//! Accepting: limits, placement, and the birth of a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use mio::Interest;
use mio::net::TcpStream;

use super::{EventLoop, Message, push_ready, token};
use crate::budget::Charge;
use crate::limits::{ACCEPT_RETRY_MS, ACCEPTS_PER_TURN, GENERATION_MAX};
use crate::net::connection::Connection;
use crate::net::out_queue::OutQueue;
use crate::net::player_slots::PlayerSlots;
use crate::rtmp::session::ServerSession;
use crate::service::CloseReason;
use crate::service::message::LoopId;
use crate::service::publisher::ConnectionId;

/// A socket on its way to the loop that will own it.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, options set.
    pub stream: TcpStream,
    /// The peer.
    pub address: IpAddr,
}

impl EventLoop {
    /// Accepts within the turn's budget; what is left is tried again next turn (N1).
    pub(super) fn accept(&mut self) {
        if self.accept_again.is_some_and(|at| at > self.now) {
            return;
        }
        self.accept_again = None;
        let mut budget = ACCEPTS_PER_TURN;
        while let Some(&index) = self.acceptable.last() {
            let Some(listener) = self.listeners.get(index) else {
                self.acceptable.pop();
                continue;
            };
            if budget == 0 {
                return;
            }
            budget -= 1;
            match listener.accept() {
                Ok((stream, peer)) => {
                    self.accepted(stream, peer);
                    // A flood on one listener keeps nobody from the others.
                    self.acceptable.rotate_right(1);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.acceptable.pop();
                }
                Err(error) if is_peers_fault(&error) => {}
                Err(error) => {
                    // LIMIT: out of descriptors; the listener stays acceptable and is tried again.
                    if self.log_lines.take(self.now) {
                        log::warn!("accept failed: {error}");
                    }
                    self.accept_again = Some(self.now.plus(ACCEPT_RETRY_MS));
                    return;
                }
            }
        }
    }

    fn accepted(&mut self, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        self.counters.accepted += 1;
        if let Err(reason) = self.shared.admit(address) {
            self.count_close(reason);
            if self.log_lines.take(self.now) {
                log::info!("connection from {address} refused: {reason}");
            }
            return;
        }
        if let Err(error) = self.shared.config.socket.apply(&stream) {
            log::debug!("socket options for {address}: {error}");
        }
        let accepted = Accepted { stream, address };
        let target = self.placement();
        if target == self.id {
            return self.adopt(accepted);
        }
        self.shared.load(target).fetch_add(1, Relaxed);
        let message = Message::Accepted(accepted);
        if let Err(Message::Accepted(accepted)) = self.outbox.try_post(target.0, message) {
            self.shared.load(target).fetch_sub(1, Relaxed);
            self.adopt(accepted);
        }
    }

    /// The least loaded loop; this one where the kernel spreads connections already.
    fn placement(&self) -> LoopId {
        if self.shared.config.reuseport {
            return self.id;
        }
        let load = |id: &LoopId| self.shared.load(*id).load(Relaxed);
        (0..self.shared.config.loops).map(LoopId).min_by_key(load).unwrap_or(self.id)
    }

    /// Makes a connection of this loop out of a socket.
    pub(super) fn adopt(&mut self, accepted: Accepted) {
        let Accepted { mut stream, address } = accepted;
        let entry = self.connections.vacant_entry();
        self.next_generation = (self.next_generation + 1) % GENERATION_MAX;
        let id = ConnectionId::new(entry.key(), self.next_generation);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, token(id), interest) {
            log::error!("registering a connection failed: {error}");
            self.shared.dismiss(address);
            return;
        }
        let shared = &self.shared;
        let budget = Arc::clone(&shared.budget);
        let session = ServerSession::new(Arc::clone(&shared.session), budget, self.now);
        let session = Box::new(session);
        let session_id = shared.next_session_id();
        let connection = entry.insert(Connection {
            stream,
            session,
            out: OutQueue::new(&shared.budget),
            rest: None,
            ring: None,
            held: None,
            pending: None,
            players: PlayerSlots::default(),
            publishers: Vec::new(),
            app: Box::default(),
            address,
            session_id,
            generation: id.generation,
            is_readable: true,
            is_read_closed: false,
            in_ready: false,
            in_flush: false,
            is_blocked: false,
            blocked_since: None,
            closing: None,
            timer: None,
            charge: Charge::empty(&shared.budget),
            opened: self.now,
            bytes_in: 0,
            bytes_out: 0,
        });
        push_ready(&mut self.ready, connection, id);
        self.publish_load();
        if self.log_lines.take(self.now) {
            log::info!("session {session_id} from {address} on loop {}", self.id.0);
        }
        if self.shutdown.is_some() {
            self.close(id, CloseReason::Shutdown);
        } else {
            self.arm(id);
        }
    }
}

/// The peer was gone before it was accepted: nothing of ours failed.
fn is_peers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | TimedOut)
}
