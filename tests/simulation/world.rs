//! The simulated process: directory, loops with their mailboxes, publishers, players, one clock.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use millrace::budget::Budget;
use millrace::media::log::{GopMode, LogLimits};
use millrace::net::mailbox::{Letter, Mailbox, Outbox, Wake, mailbox};
use millrace::rtmp::Msid;
use millrace::rtmp::chunk::PieceBytes;
use millrace::rtmp::session::{MediaKind, MediaPiece};
use millrace::service::StreamKey;
use millrace::service::directory::{Claim, Directory, DirectoryLimits, Takeover};
use millrace::service::live::{Action, Live, LiveConfig, PlayAnswer, PublishAnswer};
use millrace::service::message::{Ending, Epoch, LiveMessage, LoopId};
use millrace::service::publisher::{ConnectionId, PublisherSetup};
use millrace::service::stream::LocalStream;
use millrace::time::Millis;

use super::rng::Rng;
use super::source::{Class, Sent, Source};
use super::viewer::{Told, Viewer};
use crate::support::frames::write;

const MSID: Msid = Msid(1);

/// What loops send each other here.
#[derive(Debug)]
pub struct Mail(LiveMessage);

impl Letter for Mail {
    fn may_be_lost(&self) -> bool {
        self.0.may_be_lost()
    }
}

/// Counts wake-ups.
#[derive(Debug, Default)]
pub struct Alarm(AtomicU64);

impl Wake for Alarm {
    fn wake(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

struct Loop {
    live: Live,
    mailbox: Mailbox<Mail>,
    outbox: Outbox<Mail, Alarm>,
    own_mail: VecDeque<LiveMessage>,
    posts_seen: usize,
}

/// How far a publisher has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The directory said: ask again.
    Waits,
    /// The name is its own, the predecessor has not handed over.
    Awaits(usize),
    Ready(usize),
    /// Evicted in this turn: its connection does not know yet and goes on sending.
    Gone,
}

pub struct Publisher {
    pub on: usize,
    pub key: usize,
    pub state: State,
    connection: usize,
    epoch: Epoch,
    asked: Millis,
    address: IpAddr,
    source: Source,
}

/// See the module documentation.
pub struct World {
    pub rng: Rng,
    pub now: Millis,
    directory: Directory,
    loops: Vec<Loop>,
    pub keys: usize,
    pub publishers: Vec<Publisher>,
    pub viewers: Vec<Viewer>,
    budget: Arc<Budget>,
    connections: usize,
    chunk_size: u32,
    gop: GopMode,
    hold_ms: u64,
    lag_ms: u64,
    flush_ms: u64,
    merge_ms: u64,
    frame_bytes_max: usize,
    epochs: Vec<(Epoch, usize)>,
    ended: Vec<Epoch>,
    posted: usize,
    delivered: usize,
}

fn stream_key(key: usize) -> StreamKey {
    StreamKey::new(b"live", format!("s{key}").as_bytes()).unwrap()
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let budget = Budget::new(1 << 30);
        let loops = 1 + rng.below(4);
        let chunk_size = rng.pick(&[128, 4096, 60_000]);
        let gop = rng.pick(&[GopMode::Gop, GopMode::Gop, GopMode::Keyframe, GopMode::Off]);
        let hold_ms = rng.pick(&[0, 50, 1_000, 10_000]);
        let lag_ms = rng.pick(&[50, 500, 5_000]);
        let (flush_ms, merge_ms) = (rng.pick(&[0, 40, 40]), rng.pick(&[0, 0, 30]));
        let bytes = rng.pick(&[4_000, 100_000, 32 << 20]);
        let config = LiveConfig {
            log: LogLimits { gop, bytes, gop_ms: rng.pick(&[200, 20_000]), lag_ms },
            flush_ms,
            merge_ms,
            lag_ms,
            hold_ms,
            wait_for_publisher: rng.chance(80),
            wait_ms: 30_000,
            setup: PublisherSetup { chunk_size, budget: Arc::clone(&budget) },
        };
        let directory = Directory::new(DirectoryLimits {
            takeover: rng.pick(&[
                Takeover::Idle,
                Takeover::Always,
                Takeover::Always,
                Takeover::Never,
            ]),
            hold_ms,
            hold_always: rng.chance(20),
            publishers: 0,
            streams: 0,
        });
        let capacity = rng.pick(&[1, 1, 2, 8, 64]);
        let ends: Vec<_> =
            (0..loops).map(|_| mailbox(capacity, Arc::new(Alarm::default()))).collect();
        let addresses: Vec<_> = ends.iter().map(|(address, _)| address.clone()).collect();
        let make = |(id, (_, mailbox)): (usize, (_, Mailbox<Mail>))| Loop {
            live: Live::new(LoopId(id), config.clone()),
            mailbox,
            outbox: Outbox::new(addresses.clone(), false),
            own_mail: VecDeque::new(),
            posts_seen: 0,
        };
        let loops = ends.into_iter().enumerate().map(make).collect();
        let keys = 1 + rng.below(2);
        let frame_bytes_max = rng.pick(&[20, 300, 3_000]);
        Self {
            rng,
            now: Millis(1_000),
            directory,
            loops,
            keys,
            publishers: Vec::new(),
            viewers: Vec::new(),
            budget,
            connections: 0,
            chunk_size,
            gop,
            hold_ms,
            lag_ms,
            flush_ms,
            merge_ms,
            frame_bytes_max,
            epochs: Vec::new(),
            ended: Vec::new(),
            posted: 0,
            delivered: 0,
        }
    }

    pub fn loops(&self) -> usize {
        self.loops.len()
    }

    pub fn hold_ms(&self) -> u64 {
        self.hold_ms
    }

    fn connection(&mut self) -> (usize, ConnectionId) {
        self.connections += 1;
        (self.connections, ConnectionId::new(self.connections, 1))
    }

    pub fn add_publisher(&mut self) {
        let (connection, _) = self.connection();
        let serial = u16::try_from(self.publishers.len()).unwrap() + 1;
        let source = Source::new(serial, self.frame_bytes_max, &mut self.rng);
        let publisher = Publisher {
            on: self.rng.below(self.loops.len()),
            key: self.rng.below(self.keys),
            state: State::Waits,
            connection,
            epoch: Epoch(0),
            asked: self.now,
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, self.rng.pick(&[1, 2]))),
            source,
        };
        self.publishers.push(publisher);
        self.ask(self.publishers.len() - 1);
    }

    /// publish, or the same again after a while.
    pub fn ask(&mut self, at: usize) {
        let Self { publishers, loops, directory, now, epochs, .. } = self;
        let publisher = &mut publishers[at];
        assert_eq!(publisher.state, State::Waits);
        let live = &mut loops[publisher.on].live;
        let who = (ConnectionId::new(publisher.connection, 1), MSID);
        let claim =
            Claim { on: LoopId(publisher.on), address: publisher.address, asked: publisher.asked };
        let slot = match live.publish(directory, &stream_key(publisher.key), who, claim, *now) {
            PublishAnswer::Ready(slot) => {
                publisher.state = State::Ready(slot);
                slot
            }
            PublishAnswer::AwaitHandover(slot) => {
                publisher.state = State::Awaits(slot);
                slot
            }
            PublishAnswer::Wait => return,
            PublishAnswer::Refused(..) => return publisher.state = State::Gone,
        };
        publisher.epoch = live.publisher(slot).unwrap().epoch;
        epochs.push((publisher.epoch, publisher.key));
        self.note_posts(self.publishers[at].on);
    }

    /// One message of a publisher, in one or two pieces.
    pub fn emit(&mut self, at: usize, resume: bool) {
        let publisher = &mut self.publishers[at];
        let State::Ready(slot) = publisher.state else { return };
        let rng = &mut self.rng;
        let sent =
            if resume { publisher.source.resume_point(rng) } else { publisher.source.next(rng) };
        let cut = if rng.chance(30) { rng.below(sent.body.len()) } else { 0 };
        let live = &mut self.loops[publisher.on].live;
        feed(live, slot, &sent, cut, self.now);
        self.note_posts(self.publishers[at].on);
    }

    /// Whether its headers are out.
    pub fn is_running(&self, at: usize) -> bool {
        self.publishers[at].source.is_running()
    }

    pub fn leave(&mut self, at: usize, unpublished: bool) {
        let publisher = &mut self.publishers[at];
        let state = std::mem::replace(&mut publisher.state, State::Gone);
        let (State::Awaits(slot) | State::Ready(slot)) = state else { return };
        self.loops[publisher.on].live.unpublish(&mut self.directory, slot, unpublished, self.now);
        self.note_posts(self.publishers[at].on);
    }

    pub fn add_viewer(&mut self) {
        let (_, id) = self.connection();
        let (on, key) = (self.rng.below(self.loops.len()), self.rng.below(self.keys));
        let live = &mut self.loops[on].live;
        let is_live =
            self.publishers.iter().any(|p| p.key == key && matches!(p.state, State::Ready(_)));
        match live.play(&mut self.directory, &stream_key(key), (id, MSID), None, self.now) {
            PlayAnswer::Accepted(slot) => {
                let ends = self.ends(key);
                let who = (on, key, slot);
                let mut viewer = Viewer::new(who, ends, self.chunk_size, self.gop);
                viewer.connection = id;
                self.viewers.push(viewer);
                self.flush(on, &[id]);
            }
            PlayAnswer::Refused(..) => assert!(!is_live, "play of a live stream was refused"),
        }
        self.note_posts(on);
    }

    pub fn remove_viewer(&mut self, at: usize) {
        let viewer = self.viewers.swap_remove(at);
        self.loops[viewer.on].live.stop(&mut self.directory, viewer.slot);
        self.note_posts(viewer.on);
    }

    /// The player's socket takes up to `room` bytes.
    pub fn read(&mut self, at: usize, room: usize) {
        let Self { viewers, loops, budget, publishers, ended, epochs, .. } = self;
        let viewer = &mut viewers[at];
        let (player, log) = loops[viewer.on].live.player(viewer.slot).unwrap();
        player.cursor.prepare(log, self.lag_ms, budget, self.now);
        let bytes = write(&mut player.cursor, log, room);
        let sent = |serial: u16| {
            let publisher = &publishers[usize::from(serial) - 1];
            Told { key: publisher.key, epoch: publisher.epoch, sent: &publisher.source.sent }
        };
        viewer.take(&bytes, sent);
        assert_eq!(player.cursor.is_mid_frame(), !viewer.is_at_boundary());
        if player.is_ending {
            let ends = ended.iter().filter(|e| epochs.contains(&(**e, viewer.key))).count();
            assert!(ends > viewer.ends_before, "ended by something that was over when it joined");
        }
    }

    /// Whether the player has nothing left to get and was told that the stream has ended.
    pub fn is_over(&mut self, at: usize) -> bool {
        let viewer = &self.viewers[at];
        let (player, log) = self.loops[viewer.on].live.player(viewer.slot).unwrap();
        player.is_ending && player.cursor.is_finished(log)
    }

    /// Whether the player waits for somebody to publish.
    pub fn waits(&mut self, at: usize) -> bool {
        let viewer = &self.viewers[at];
        let (player, _) = self.loops[viewer.on].live.player(viewer.slot).unwrap();
        player.waits_until.is_some()
    }

    /// One turn of a loop: at most `mail` messages, timers, decisions, mail out.
    pub fn turn(&mut self, on: usize, mail: usize) {
        for _ in 0..mail {
            let Some(Mail(message)) = self.loops[on].mailbox.take() else { break };
            self.delivered += usize::from(!message.may_be_lost());
            self.handle(on, message);
        }
        let it = &mut self.loops[on];
        if it.live.poll_timeout().is_some_and(|at| at <= self.now) {
            it.live.handle_timeout(&mut self.directory, self.now);
            self.note_posts(on);
        }
        self.settle(on);
        let mut due = Vec::new();
        self.loops[on].live.take_due(self.now, |id| due.push(id));
        self.flush(on, &due);
        self.nobody_waits_too_long(on);
        self.loops[on].outbox.flush();
    }

    /// These connections come onto the flush list: their players get everything up to here.
    fn flush(&mut self, on: usize, due: &[ConnectionId]) {
        let live = &self.loops[on].live;
        for viewer in self.viewers.iter_mut().filter(|viewer| viewer.on == on) {
            if due.contains(&viewer.connection) {
                viewer.flushed = live.playing(viewer.slot).unwrap().1.head();
            }
        }
    }

    /// What a player has not got yet is not due, and the loop wakes up when it is.
    fn nobody_waits_too_long(&self, on: usize) {
        let live = &self.loops[on].live;
        for viewer in self.viewers.iter().filter(|viewer| viewer.on == on) {
            let log = live.playing(viewer.slot).unwrap().1;
            for index in viewer.flushed.max(log.base())..log.head() {
                let kind = log.frame(index).unwrap().kind();
                let wait = match kind {
                    _ if self.merge_ms > 0 => self.merge_ms,
                    // Data stands also before the audio frame that ends a gap, and waits with it.
                    MediaKind::Audio | MediaKind::Data => self.flush_ms,
                    MediaKind::Video => 0,
                };
                let due = log.arrived(index).unwrap().plus(wait);
                assert!(self.now < due, "{kind:?} {index} waits since {due:?}");
                assert!(live.poll_timeout().is_some_and(|at| at <= due), "nobody wakes up");
            }
        }
    }

    /// Memory is short: a loop cuts its logs.
    pub fn cut_logs(&mut self, on: usize) {
        let part = self.rng.below(100);
        self.loops[on].live.cut_logs(part, 100);
    }

    fn handle(&mut self, on: usize, message: LiveMessage) {
        self.loops[on].live.handle(message, &mut self.directory, self.now);
        self.note_posts(on);
    }

    fn settle(&mut self, on: usize) {
        loop {
            let it = &mut self.loops[on];
            it.posts_seen = 0;
            for post in std::mem::take(&mut it.live.posts) {
                if post.to == LoopId(on) {
                    it.own_mail.push_back(post.message);
                } else {
                    self.posted += usize::from(!post.message.may_be_lost());
                    it.outbox.post(post.to.0, Mail(post.message));
                }
            }
            for action in std::mem::take(&mut it.live.actions) {
                self.act(on, action);
            }
            let Some(message) = self.loops[on].own_mail.pop_front() else { break };
            self.handle(on, message);
        }
    }

    fn act(&mut self, on: usize, action: Action) {
        match action {
            Action::PublishReady(id, _) => {
                let Some(publisher) = self.publisher(on, id) else { return };
                if let State::Awaits(slot) = publisher.state {
                    publisher.state = State::Ready(slot);
                }
            }
            Action::PublisherEvicted(id, _) => {
                let Some(publisher) = self.publisher(on, id) else { return };
                if publisher.state != State::Gone {
                    assert!(matches!(publisher.state, State::Ready(_)), "evicted, never answered");
                    self.give_up(on, id);
                }
            }
            Action::PublishRefused(id, _) => {
                let Some(publisher) = self.publisher(on, id) else { return };
                if publisher.state != State::Gone {
                    assert!(
                        matches!(publisher.state, State::Awaits(_)),
                        "refused after its answer"
                    );
                    self.give_up(on, id);
                }
            }
            Action::Notify(..) | Action::Flush(_) => {}
        }
    }

    fn give_up(&mut self, on: usize, id: ConnectionId) {
        let at = self.publishers.iter().position(|p| p.on == on && p.connection == id.slot());
        self.leave(at.unwrap(), false);
    }

    fn publisher(&mut self, on: usize, id: ConnectionId) -> Option<&mut Publisher> {
        self.publishers.iter_mut().find(|p| p.on == on && p.connection == id.slot())
    }

    /// Final ends of a stream so far.
    fn ends(&self, key: usize) -> usize {
        self.ended.iter().filter(|epoch| self.epochs.contains(&(**epoch, key))).count()
    }

    /// Takes note of final ends that a call has decided on.
    fn note_posts(&mut self, on: usize) {
        let it = &mut self.loops[on];
        for post in it.live.posts.get(it.posts_seen..).unwrap_or_default() {
            if let LiveMessage::Ended { epoch, ending: Ending::Final, .. } = post.message
                && !self.ended.contains(&epoch)
            {
                self.ended.push(epoch);
            }
        }
        it.posts_seen = it.live.posts.len();
    }

    /// At most one publisher of a stream may send; the directory knows no more than there are.
    pub fn invariants(&mut self) {
        for key in 0..self.keys {
            let ready = |p: &&Publisher| p.key == key && matches!(p.state, State::Ready(_));
            let ready: Vec<_> =
                self.publishers.iter().filter(ready).map(|p| (p.on, p.connection)).collect();
            let settled = self.loops.iter().all(|it| it.live.actions.is_empty());
            assert!(ready.len() <= 1 || !settled, "two publishers of stream {key}: {ready:?}");
        }
        assert!(self.directory.publishers() <= self.epochs.len());
        assert!(self.directory.streams() <= self.keys);
    }

    /// Turns until no mail is left anywhere.
    pub fn settle_all(&mut self) {
        for _ in 0..10_000 {
            for on in 0..self.loops.len() {
                self.turn(on, 100);
            }
            if self.loops.iter().all(|it| it.mailbox.is_empty()) && self.posted == self.delivered {
                return;
            }
        }
        panic!("control messages were lost (N13): {} of {} arrived", self.delivered, self.posted);
    }

    /// The publisher that sends to `key` now.
    pub fn current(&self, key: usize) -> Option<usize> {
        let ready = |p: &Publisher| p.key == key && matches!(p.state, State::Ready(_));
        self.publishers.iter().position(ready)
    }

    /// For a failing seed: what a player's loop thinks of its stream.
    pub fn describe(&self) -> String {
        let mut text = format!("{:?}\n", self.ended);
        for (id, it) in self.loops.iter().enumerate() {
            for stream in it.live.streams() {
                let log = (stream.log.base(), stream.log.head(), stream.log.last_key());
                let LocalStream { key, id: subscription, epoch, role, players, .. } = stream;
                text += &format!(
                    "loop {id} {key} {subscription:?} {epoch:?} {role:?} {players:?} {log:?}\n"
                );
            }
        }
        text
    }

    /// The place of the newest message of a publisher.
    pub fn newest_place(&self, at: usize) -> (u16, Option<usize>) {
        let serial = u16::try_from(at).unwrap() + 1;
        (serial, self.publishers[at].source.sent.len().checked_sub(1))
    }

    /// When everybody has gone: no name, no stream, no byte is left.
    pub fn assert_empty(&self) {
        assert_eq!(self.directory.publishers(), 0, "publishers in the directory");
        assert_eq!(self.directory.streams(), 0, "a zombie holds a name");
        for it in &self.loops {
            assert_eq!(it.live.streams().count(), 0, "local streams: {}", self.describe());
            assert_eq!(it.live.publishers().count(), 0, "publisher slots");
            assert_eq!(it.live.players().count(), 0, "player slots");
            assert_eq!(it.live.poll_timeout(), None, "a deadline of nobody");
        }
        assert_eq!(self.budget.used(), 0, "bytes charged to nobody");
    }
}

fn feed(live: &mut Live, slot: usize, sent: &Sent, cut: usize, now: Millis) {
    if sent.class == Class::Data {
        return live.data(slot, sent.timestamp, &sent.body, now).unwrap();
    }
    let length = u32::try_from(sent.body.len()).unwrap();
    let (first, rest) = sent.body.split_at(cut);
    for (offset, bytes) in [(0, first), (cut, rest)] {
        if bytes.is_empty() {
            continue;
        }
        let piece = MediaPiece {
            msid: MSID,
            kind: sent.kind,
            timestamp: sent.timestamp,
            length,
            slot: usize::from(sent.kind == MediaKind::Video),
            offset: u32::try_from(offset).unwrap(),
            bytes: PieceBytes::Borrowed(bytes),
        };
        live.media(slot, &piece, now).unwrap();
    }
}
