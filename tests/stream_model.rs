//! A stream log and a player against a naive model: plain lists, nothing shared, nothing clever.
mod support;

use std::collections::VecDeque;

use millrace::media::log::{GopMode, LogLimits, StreamLog};
use millrace::rtmp::session::MediaKind::{Audio, Video};
use millrace::time::Millis;
use proptest::prelude::*;
use support::body;
use support::frames::{Reader, frame};
use support::player_wire::Heard;

const LAG_MS: u64 = 5_000;
const BYTES_MAX: u64 = 1_500;
const GOP_MS: u64 = 8_000;
const HEADER_BYTES: usize = 12 + 13;
const FRAME_BYTES: usize = 12 + 40;

/// One message by its letter: `K`, `P`, `A` with their index, `v` with its version.
type Word = (char, u64);

#[derive(Debug, Clone, Copy)]
enum Step {
    Append(char),
    Header(u8),
    Epoch,
    Read(usize),
    Wait(u64),
    Pause(bool),
    Receive(bool, bool),
    Cut,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop_oneof![Just('K'), Just('P'), Just('P'), Just('A')].prop_map(Step::Append),
        1 => (0..3_u8).prop_map(Step::Header),
        1 => Just(Step::Epoch),
        6 => prop_oneof![Just(1_usize), Just(30), Just(60), Just(200), Just(10_000)]
            .prop_map(Step::Read),
        3 => prop_oneof![Just(40_u64), Just(900), Just(3_000), Just(5_001)].prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Pause),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(video, on)| Step::Receive(video, on)),
        1 => Just(Step::Cut),
    ]
}

/// Everything ever appended, and what a log would still know of it.
#[derive(Default)]
struct Naive {
    sent: Vec<(char, u64, u64)>,
    starts: Vec<usize>,
    base: usize,
    gop: Option<usize>,
    key: Option<usize>,
    headers: Option<u64>,
    headers_from: usize,
    has_video: bool,
    changes: u32,
}

impl Naive {
    fn append(&mut self, word: Word, now: u64) {
        let at = self.sent.len();
        self.has_video |= word.0 != 'A';
        if word.0 == 'v' && self.headers != Some(word.1) {
            if self.headers.is_some() {
                (self.gop, self.key, self.headers_from) = (None, None, at);
            }
            self.headers = Some(word.1);
            self.changes += 1;
        }
        if word.0 == 'K' {
            (self.gop, self.key) = (Some(at), Some(at));
        }
        self.sent.push((word.0, word.1, now));
        if self.gop.is_some_and(|gop| now - self.sent[gop].2 > GOP_MS) {
            self.gop = None;
        }
        while self.base + 1 < self.sent.len() {
            let in_gop = self.gop.is_some_and(|gop| self.base >= gop);
            let is_young = now - self.sent[self.base].2 <= LAG_MS;
            if (in_gop || is_young) && self.bytes() <= BYTES_MAX {
                break;
            }
            self.forget_oldest();
        }
    }

    fn bytes(&self) -> u64 {
        self.sent[self.base..].iter().map(|word| len(word.0) as u64).sum()
    }

    fn forget_oldest(&mut self) {
        self.base += 1;
        self.gop = self.gop.filter(|&gop| gop >= self.base);
        self.key = self.key.filter(|&key| key >= self.base);
    }

    fn epoch(&mut self) {
        (self.gop, self.key, self.headers, self.has_video) = (None, None, None, false);
        self.headers_from = self.sent.len();
        self.starts.push(self.sent.len());
        self.changes += 1;
    }

    fn newest_audio(&self) -> Option<usize> {
        (self.base..self.sent.len()).rev().find(|&at| self.sent[at].0 == 'A')
    }
}

fn len(letter: char) -> usize {
    if letter == 'v' { HEADER_BYTES } else { FRAME_BYTES }
}

/// The player of the model.
struct Player {
    next: usize,
    started: bool,
    paused: bool,
    audio: bool,
    video: bool,
    key_seen: bool,
    seen_changes: Option<u32>,
    burst: u64,
    headers: VecDeque<Word>,
    in_flight: Option<(Word, usize)>,
}

impl Player {
    fn join(log: &Naive) -> Self {
        Self {
            next: log.gop.unwrap_or(log.sent.len()),
            started: false,
            paused: false,
            audio: true,
            video: true,
            key_seen: false,
            seen_changes: None,
            burst: 0,
            headers: VecDeque::new(),
            in_flight: None,
        }
    }

    fn needs_key(&self, log: &Naive) -> bool {
        log.has_video && self.video
    }

    /// Passes the frame at `next`; whether the player wants it.
    fn pass(&mut self, log: &Naive) -> bool {
        let letter = log.sent[self.next].0;
        self.key_seen &= !log.starts.contains(&self.next);
        self.key_seen |= letter == 'K';
        self.next += 1;
        match letter {
            'v' => true,
            'A' => self.audio,
            _ => self.video && self.key_seen,
        }
    }

    fn prepare(&mut self, log: &Naive, now: u64) {
        if self.paused {
            return;
        }
        while self.started
            && self.headers.is_empty()
            && self.next >= log.base
            && self.next < log.sent.len()
        {
            let before = (self.next, self.key_seen);
            if self.pass(log) {
                (self.next, self.key_seen) = before;
                break;
            }
        }
        if self.started && self.next >= log.sent.len() && self.headers.is_empty() {
            (self.seen_changes, self.burst) = (Some(log.changes), 0);
            return;
        }
        let lag = log.sent.get(self.next.max(log.base)).map_or(0, |frame| now - frame.2);
        if self.started && (self.next < log.base || lag > LAG_MS + self.burst) {
            let newest = if self.needs_key(log) { log.key } else { log.newest_audio() };
            self.next = newest.filter(|&at| at > self.next).unwrap_or(log.sent.len());
            self.started = false;
        }
        if !self.started {
            self.start(log, now);
        }
    }

    fn start(&mut self, log: &Naive, now: u64) {
        self.next = self.next.max(log.base);
        let from = self.next.max(log.headers_from);
        let point = if self.needs_key(log) {
            log.key.filter(|&key| key >= self.next)
        } else {
            (from..log.sent.len()).find(|&at| log.sent[at].0 == 'A')
        };
        let Some(point) = point else { return };
        let stale = self.seen_changes != Some(log.changes) || !self.headers.is_empty();
        self.headers =
            log.headers.filter(|_| stale).map(|version| ('v', version)).into_iter().collect();
        (self.next, self.started, self.key_seen) = (point, true, false);
        (self.seen_changes, self.burst) = (Some(log.changes), now - log.sent[point].2);
    }

    fn upcoming(&mut self, log: &Naive) -> Option<Word> {
        if self.paused || !self.started {
            return None;
        }
        if let Some(word) = self.headers.pop_front() {
            return Some(word);
        }
        while self.next < log.sent.len() {
            let (letter, number, _) = log.sent[self.next];
            if self.pass(log) {
                return Some((letter, number));
            }
        }
        None
    }

    fn read(&mut self, log: &Naive, mut room: usize, now: u64) -> Vec<Word> {
        self.prepare(log, now);
        let mut heard = Vec::new();
        while room > 0 {
            let kept = (self.next, self.key_seen);
            let Some((word, left)) = self
                .in_flight
                .take()
                .or_else(|| self.upcoming(log).map(|word| (word, len(word.0))))
            else {
                // Nothing was taken: what was passed on the way stays for the next look.
                (self.next, self.key_seen) = kept;
                break;
            };
            if room < left {
                self.in_flight = Some((word, left - room));
                break;
            }
            room -= left;
            heard.push(word);
        }
        heard
    }
}

fn words(heard: &[Heard]) -> Vec<Word> {
    let word = |message: &Heard| match (message.message_type, message.body[0], message.body[1]) {
        (9, 0x17, 0) => ('v', u64::from(message.body[8])),
        (9, 0x17, _) => ('K', body::number(&message.body)),
        (9, ..) => ('P', body::number(&message.body)),
        _ => ('A', body::number(&message.body)),
    };
    heard.iter().map(word).collect()
}

fn append(log: &mut StreamLog, naive: &mut Naive, word: Word, now: u64) {
    let (letter, number) = word;
    let frame = match letter {
        'K' => frame(Video, 0, &body::key(number, 40)),
        'P' => frame(Video, 0, &body::inter(number, 40)),
        'A' => frame(Audio, 0, &body::audio(number, 40)),
        _ => frame(Video, 0, &body::avc_header(number as u8)),
    };
    log.append(&frame, Millis(now));
    naive.append(word, now);
}

fn run(steps: &[Step], join_at: usize) {
    let limits = LogLimits { gop: GopMode::Gop, bytes: BYTES_MAX, gop_ms: GOP_MS, lag_ms: LAG_MS };
    let mut log = StreamLog::new(limits);
    let mut naive = Naive { starts: vec![0], ..Naive::default() };
    let mut now = 1_000;
    let mut players: Option<(Reader, Player)> = None;
    for (index, step) in steps.iter().enumerate() {
        if index == join_at {
            players = Some((Reader::join(&log, None), Player::join(&naive)));
        }
        match *step {
            Step::Append(letter) => {
                let number = naive.sent.len() as u64;
                append(&mut log, &mut naive, (letter, number), now);
            }
            Step::Header(version) => append(&mut log, &mut naive, ('v', u64::from(version)), now),
            Step::Epoch => {
                log.forget_publisher();
                naive.epoch();
            }
            Step::Wait(ms) => now += ms,
            Step::Cut => {
                let half = log.cuttable_bytes() / 2;
                log.cut(half);
                while (naive.base as u64) < log.base() {
                    naive.forget_oldest();
                }
            }
            Step::Read(_) | Step::Pause(_) | Step::Receive(..) => {
                let Some((reader, player)) = &mut players else { continue };
                play(*step, &mut log, &naive, (reader, player), now);
            }
        }
        assert_eq!(log.base(), naive.base as u64);
        assert_eq!(log.head(), naive.sent.len() as u64);
        assert_eq!(log.gop_start(), naive.gop.map(|at| at as u64));
        assert_eq!(log.last_key(), naive.key.map(|at| at as u64));
        assert_eq!(log.bytes(), naive.bytes());
    }
}

fn play(step: Step, log: &mut StreamLog, naive: &Naive, who: (&mut Reader, &mut Player), now: u64) {
    let (reader, player) = who;
    match step {
        Step::Read(room) => {
            let heard = words(&reader.take(log, room, Millis(now)));
            assert_eq!(heard, player.read(naive, room, now));
            assert_eq!(reader.cursor.is_mid_frame(), player.in_flight.is_some());
        }
        Step::Pause(paused) => {
            reader.cursor.pause(log, paused);
            if player.paused && !paused {
                player.next = naive.gop.unwrap_or(naive.sent.len());
                (player.started, player.seen_changes) = (false, None);
            }
            player.paused = paused;
        }
        Step::Receive(true, on) => {
            reader.cursor.receive(Video, on);
            player.key_seen &= on && player.video;
            player.video = on;
        }
        Step::Receive(false, on) => {
            reader.cursor.receive(Audio, on);
            player.audio = on;
        }
        Step::Append(_) | Step::Header(_) | Step::Epoch | Step::Wait(_) | Step::Cut => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn log_and_player_do_what_the_naive_model_does(
        steps in prop::collection::vec(step(), 1..120),
        join_at in 0_usize..40,
    ) {
        run(&steps, join_at);
    }
}
