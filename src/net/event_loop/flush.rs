//! The flush pass: one vectored write per connection with everything pending.
//!
//! ```text
//!   | rest of the frame in flight | replies | frames of player 1 | frames of player 2 | ...
//!     never interrupted (N3)        only at message boundaries
//! ```

use std::io::{self, IoSlice, Write};

use mio::net::TcpStream;

use super::input::socket_error;
use super::{EventLoop, find, push_flush, push_ready};
use crate::limits::{
    FLUSH_SLICE_WRITES, MESSAGE_STREAMS_MAX, STREAM_END_FIN_MS, WRITE_BYTES_MAX, WRITE_SLICES_MAX,
};
use crate::media::cursor::Pending;
use crate::media::frame::SHARED_MSID;
use crate::net::connection::Connection;
use crate::rtmp::chunk::header::HEADER_BYTES_MAX;
use crate::rtmp::session::Status;
use crate::service::CloseReason;
use crate::service::live::Live;
use crate::service::publisher::ConnectionId;

/// What one write took and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flushed {
    /// Everything pending is out.
    All,
    /// The socket took all it was offered, and more is pending.
    More,
    /// The socket is full.
    Blocked,
}

impl EventLoop {
    /// Players whose stream is due, then one slice of the flush list.
    pub(super) fn flush_due(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.live.take_due(self.now, &mut due);
        for id in due.drain(..) {
            let Some(connection) = find(&mut self.connections, id) else { continue };
            push_flush(&mut self.flush, connection, id);
        }
        self.due = due;
        for _ in 0..FLUSH_SLICE_WRITES.min(self.flush.len()) {
            let Some(id) = self.flush.pop_front() else { break };
            self.flush_connection(id);
        }
        self.read_clock();
        self.settle_live();
    }

    fn flush_connection(&mut self, id: ConnectionId) {
        let lag_ms = self.shared.live.lag_ms;
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.in_flush = false;
        if connection.is_blocked {
            return;
        }
        for &slot in &connection.players {
            let Some((player, log)) = self.live.player(slot) else { continue };
            let skips = player.cursor.skips();
            player.cursor.prepare(log, lag_ms, &self.shared.budget, self.now);
            self.counters.skips += u64::from(player.cursor.skips() - skips);
        }
        match write_pending(connection, &mut self.live) {
            Ok((0, Flushed::All)) => {}
            Ok((written, flushed)) => {
                connection.bytes_out += written as u64;
                self.counters.bytes_out += written as u64;
                self.counters.writes += 1;
                self.after_write(id, written, flushed);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                push_flush(&mut self.flush, connection, id);
            }
            Err(error) => return self.close(id, socket_error(&error)),
        }
        self.finish_players(id);
        self.advance_closing(id);
    }

    fn after_write(&mut self, id: ConnectionId, written: usize, flushed: Flushed) {
        let now = self.now;
        let Some(connection) = find(&mut self.connections, id) else { return };
        if flushed == Flushed::Blocked {
            connection.is_blocked = true;
            if written > 0 || connection.blocked_since.is_none() {
                connection.blocked_since = Some(now);
            }
            return self.arm(id);
        }
        connection.blocked_since = None;
        if flushed == Flushed::More {
            push_flush(&mut self.flush, connection, id);
        }
        if connection.held.is_some() || connection.is_readable {
            // Input may have waited for room in the out queue.
            push_ready(&mut self.ready, connection, id);
        }
    }

    /// Players that have got their last frame: the stream has ended, or their duration is over.
    fn finish_players(&mut self, id: ConnectionId) {
        // At the end of the process nobody publishes again: there is nothing to wait for.
        let fin_at =
            if self.shutdown.is_some() { self.now } else { self.now.plus(STREAM_END_FIN_MS) };
        let Some(connection) = find(&mut self.connections, id) else { return };
        let (mut ended, mut stopped) = (false, None);
        for &slot in &connection.players {
            let Some((player, log)) = self.live.player(slot) else { continue };
            if !player.cursor.is_finished(log) {
                continue;
            }
            let status =
                if player.is_ending { Status::PlayUnpublishNotify } else { Status::PlayStop };
            connection.session.notify(player.msid, status, connection.out.buffer(), self.now);
            ended |= player.is_ending;
            stopped = Some(slot);
        }
        let Some(slot) = stopped else { return };
        connection.players.retain(|&other| other != slot);
        let shared = std::sync::Arc::clone(&self.shared);
        self.live.stop(&mut shared.directory(), slot);
        self.settle_out(id);
        let Some(connection) = find(&mut self.connections, id) else { return };
        if ended && connection.players.is_empty() && connection.publishers.is_empty() {
            let down = self.shutdown.is_some();
            let reason = if down { CloseReason::Shutdown } else { CloseReason::StreamEnded };
            self.close_after_flush(id, reason, fin_at);
        }
    }
}

/// Slices of one write. Bounded in number and bytes.
struct Batch<'a> {
    slices: [IoSlice<'a>; WRITE_SLICES_MAX],
    len: usize,
    bytes: usize,
}

impl<'a> Batch<'a> {
    fn new() -> Self {
        Self { slices: [IoSlice::new(&[]); WRITE_SLICES_MAX], len: 0, bytes: 0 }
    }

    fn has_room(&self) -> bool {
        self.len < WRITE_SLICES_MAX && self.bytes < WRITE_BYTES_MAX
    }

    /// Adds bytes; false when there was no slice left for them.
    fn push(&mut self, bytes: &'a [u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let Some(slice) = self.slices.get_mut(self.len) else { return false };
        *slice = IoSlice::new(bytes);
        self.len += 1;
        self.bytes += bytes.len();
        true
    }

    /// Adds the pending bytes of a frame, its first bytes replaced by `header` where that is set.
    fn push_frame(&mut self, pending: Pending<'a>, header: &'a [u8]) {
        let mut skip = pending.offset;
        let head = header.get(skip.min(header.len())..).unwrap_or_default();
        if !self.push(head) {
            return;
        }
        skip = skip.max(header.len());
        for segment in pending.frame.segments() {
            let from = skip.min(segment.len());
            skip -= from;
            if !self.push(segment.get(from..).unwrap_or_default()) {
                return;
            }
        }
    }
}

/// The type-0 header a player on another msid than the shared one needs for its next frame.
type PatchedHeader = ([u8; HEADER_BYTES_MAX], usize);

/// One vectored write of what a connection has pending. Returns the bytes accepted.
fn write_pending(connection: &mut Connection, live: &mut Live) -> io::Result<(usize, Flushed)> {
    let Connection { stream, out, players, .. } = connection;
    let in_flight = players
        .iter()
        .position(|&slot| live.player(slot).is_some_and(|(p, _)| p.cursor.is_mid_frame()));
    if let Some(at) = in_flight
        && let Some(&slot) = players.get(at)
        && (!out.is_empty() || players.len() > 1)
    {
        // Whatever else there is must wait for the rest of this frame: it goes alone.
        return write_player(stream, live, slot, 1);
    }
    if !out.is_empty() && players.is_empty() {
        let offered = out.unsent().len();
        return accepted(stream.write(out.unsent()), offered, false).inspect(|(n, _)| {
            out.consume(*n);
        });
    }
    let mut total = (0, Flushed::All);
    if !out.is_empty() {
        if let &mut [slot] = players.as_mut_slice() {
            return write_replies_and_player(stream, out, live, slot);
        }
        let offered = out.unsent().len();
        total = accepted(stream.write(out.unsent()), offered, false)?;
        out.consume(total.0);
    }
    for &slot in players.iter().take(MESSAGE_STREAMS_MAX) {
        if total.1 == Flushed::Blocked {
            break;
        }
        let (bytes, flushed) = write_player(stream, live, slot, usize::MAX)?;
        total = (total.0 + bytes, if flushed == Flushed::All { total.1 } else { flushed });
        if live.player(slot).is_some_and(|(p, _)| p.cursor.is_mid_frame()) {
            break;
        }
    }
    Ok(total)
}

/// Replies, then the player's frames, in one write: the usual case at the start of play.
fn write_replies_and_player(
    stream: &mut TcpStream,
    out: &mut crate::net::out_queue::OutQueue,
    live: &mut Live,
    slot: usize,
) -> io::Result<(usize, Flushed)> {
    let replies = out.unsent().len();
    let Some((player, log)) = live.player(slot) else { return Ok((0, Flushed::All)) };
    let header = patched_header(player, log);
    let patched =
        header.as_ref().map_or(&[][..], |(bytes, len)| bytes.get(..*len).unwrap_or(bytes));
    let mut batch = Batch::new();
    batch.push(out.unsent());
    let more = fill(&mut batch, player.cursor.pending(log), patched, usize::MAX);
    let offered = batch.bytes;
    let written = stream.write_vectored(batch.slices.get(..batch.len).unwrap_or_default());
    let (written, flushed) = accepted(written, offered, more)?;
    out.consume(written.min(replies));
    let media = written.saturating_sub(replies);
    player.cursor.advance(log, media);
    player.bytes += media as u64;
    Ok((written, flushed))
}

/// At most `frames` frames of one player in one write.
fn write_player(
    stream: &mut TcpStream,
    live: &mut Live,
    slot: usize,
    frames: usize,
) -> io::Result<(usize, Flushed)> {
    let Some((player, log)) = live.player(slot) else { return Ok((0, Flushed::All)) };
    let header = patched_header(player, log);
    let patched =
        header.as_ref().map_or(&[][..], |(bytes, len)| bytes.get(..*len).unwrap_or(bytes));
    let mut batch = Batch::new();
    let more = fill(&mut batch, player.cursor.pending(log), patched, frames);
    if batch.len == 0 {
        return Ok((0, Flushed::All));
    }
    let offered = batch.bytes;
    let written = stream.write_vectored(batch.slices.get(..batch.len).unwrap_or_default());
    let (written, flushed) = accepted(written, offered, more)?;
    player.cursor.advance(log, written);
    player.bytes += written as u64;
    Ok((written, flushed))
}

/// Fills the batch; whether more is pending than went in.
fn fill<'a>(
    batch: &mut Batch<'a>,
    pending: impl Iterator<Item = Pending<'a>>,
    patched: &'a [u8],
    frames: usize,
) -> bool {
    // A patched header belongs to one frame only.
    let frames = if patched.is_empty() { frames } else { 1 };
    for (taken, next) in pending.enumerate() {
        if taken == frames || !batch.has_room() {
            return true;
        }
        batch.push_frame(next, patched);
    }
    !batch.has_room()
}

fn patched_header(
    player: &crate::service::live::Player,
    log: &crate::media::log::StreamLog,
) -> Option<PatchedHeader> {
    let next = player.cursor.pending(log).next().filter(|_| player.msid != SHARED_MSID)?;
    Some(next.frame.patched_header(player.msid))
}

/// Sorts out the result of a write: what it took, and whether the socket is full now.
fn accepted(
    written: io::Result<usize>,
    offered: usize,
    more: bool,
) -> io::Result<(usize, Flushed)> {
    match written {
        Ok(count) if count < offered => Ok((count, Flushed::Blocked)),
        Ok(count) => Ok((count, if more { Flushed::More } else { Flushed::All })),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((0, Flushed::Blocked)),
        Err(error) => Err(error),
    }
}
