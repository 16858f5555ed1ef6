//! The chunk reader and writer under random traffic: against an encoder that knows what it encodes,
//! against a naive reader on damaged bytes, and against each other.
mod support;

use std::collections::BTreeMap;

use millrace::rtmp::chunk::{ChunkReader, ChunkWriter, MessageHeader, MessageLimits};
use millrace::rtmp::{Csid, Msid, ProtocolError};
use proptest::collection::vec;
use proptest::prelude::*;
use support::naive_reader::{Message, NaiveReader};

const LIMITS: MessageLimits =
    MessageLimits { media: 100_000, command: 20_000, data: 30_000, control: 256 };

fn max(message_type: u8) -> u32 {
    match message_type {
        1..=6 => 256,
        15 | 18 => 30_000,
        16 | 17 | 19 | 20 => 20_000,
        _ => 100_000,
    }
}

/// What the reader under test makes of `bytes`, `cuts` giving the lengths of its inputs.
fn read(bytes: &[u8], cuts: &[usize]) -> (Vec<Message>, Result<(), ProtocolError>) {
    let mut messages = Vec::new();
    let mut reader = ChunkReader::new(LIMITS);
    let mut bodies = vec![Vec::new(); 64];
    let (mut rest, mut index) = (bytes, 0);
    while !rest.is_empty() {
        let cut = cuts.get(index % cuts.len().max(1)).copied().unwrap_or(rest.len());
        let (mut part, later) = rest.split_at(cut.clamp(1, rest.len()));
        (rest, index) = (later, index + 1);
        if let Err(error) = read_part(&mut reader, &mut part, &mut bodies, &mut messages) {
            return (messages, Err(error));
        }
        assert!(part.is_empty());
    }
    (messages, Ok(()))
}

fn read_part(
    reader: &mut ChunkReader,
    part: &mut &[u8],
    bodies: &mut [Vec<u8>],
    messages: &mut Vec<Message>,
) -> Result<(), ProtocolError> {
    while let Some(piece) = reader.read(part)? {
        let body = &mut bodies[piece.slot];
        if piece.is_first() {
            body.clear();
        }
        body.extend_from_slice(&piece.bytes);
        if !piece.is_last() {
            continue;
        }
        let MessageHeader { csid, timestamp, message_type, msid, .. } = piece.header;
        match (message_type, body.first_chunk()) {
            (1, Some(size)) => reader.set_chunk_size(u32::from_be_bytes(*size))?,
            (2, Some(csid)) => drop(reader.abort(u32::from_be_bytes(*csid))),
            _ => {}
        }
        messages.push((csid.0, timestamp, message_type, msid.0, body.clone()));
    }
    Ok(())
}

/// One step of a sender.
#[derive(Debug, Clone)]
enum Step {
    /// The next chunk of the message on this chunk stream, or the first of a new one.
    Chunk {
        stream: usize,
        chunk_type: u8,
        time: u32,
        length: usize,
        kind: u8,
    },
    ChunkSize(u32),
    Abort(usize),
}

const CSIDS: [u32; 7] = [3, 5, 63, 64, 319, 320, 65_599];

fn time() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..50_u32,
        0..2000_u32,
        0xFF_FF00..0x100_0100_u32,
        0x7FFF_FF00..0x8000_0100_u32,
        0xFFFF_FF00..=0xFFFF_FFFF_u32,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = prop_oneof![Just(8_u8), Just(9), Just(18), Just(20), Just(22), Just(99)];
    let lengths = prop_oneof![Just(0_usize), 1..10_usize, 100..600_usize];
    let chunk = (0..CSIDS.len(), 0..4_u8, time(), lengths, kinds).prop_map(
        |(stream, chunk_type, time, length, kind)| Step::Chunk {
            stream,
            chunk_type,
            time,
            length,
            kind,
        },
    );
    let sizes = prop_oneof![1..5_u32, 50..300_u32, Just(0x7FFF_FFFF)];
    prop_oneof![
        20 => chunk,
        1 => sizes.prop_map(Step::ChunkSize),
        1 => (0..CSIDS.len()).prop_map(Step::Abort),
    ]
}

#[derive(Debug, Clone, Default)]
struct Sent {
    timestamp: u32,
    delta: u32,
    extended: Option<u32>,
    kind: u8,
    msid: u32,
    length: usize,
    after_type_0: bool,
    /// The body under way and how much of it is sent.
    body: Option<(Vec<u8>, usize)>,
}

/// A sender that keeps to the rules, and what a receiver must get.
#[derive(Default)]
struct Sender {
    streams: BTreeMap<u32, Sent>,
    chunk_size: usize,
    wire: Vec<u8>,
    messages: Vec<Message>,
}

impl Sender {
    fn basic(&mut self, chunk_type: u8, csid: u32) {
        let fmt = chunk_type << 6;
        match csid {
            2..64 => self.wire.push(fmt | csid as u8),
            64..320 => self.wire.extend([fmt, (csid - 64) as u8]),
            _ => {
                self.wire.push(fmt | 1);
                self.wire.extend(((csid - 64) as u16).to_le_bytes());
            }
        }
    }

    fn u24(&mut self, value: u32) {
        self.wire.extend(&value.to_be_bytes()[1..]);
    }

    fn control(&mut self, kind: u8, value: u32) {
        self.wire.extend([2, 0, 0, 0, 0, 0, 4, kind, 0, 0, 0, 0]);
        let bytes = value.to_be_bytes();
        for (index, byte) in bytes.chunks(self.chunk_size).enumerate() {
            if index > 0 {
                self.wire.push(0xC2);
            }
            self.wire.extend(byte);
        }
        self.messages.push((2, 0, kind, 0, bytes.to_vec()));
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::ChunkSize(size) => {
                self.control(1, size);
                self.chunk_size = size as usize;
            }
            Step::Abort(stream) => {
                self.control(2, CSIDS[stream]);
                if let Some(sent) = self.streams.get_mut(&CSIDS[stream]) {
                    sent.body = None;
                }
            }
            Step::Chunk { stream, chunk_type, time, length, kind } => {
                let csid = CSIDS[stream];
                let known = self.streams.get(&csid).cloned();
                let mut sent = match known {
                    Some(sent) if sent.body.is_some() => {
                        self.basic(3, csid);
                        self.wire.extend(sent.extended.iter().flat_map(|time| time.to_be_bytes()));
                        sent
                    }
                    Some(sent) => self.begin(csid, sent, chunk_type, time, (length, kind)),
                    None => self.begin(csid, Sent::default(), 0, time, (length, kind)),
                };
                self.body(csid, &mut sent);
                self.streams.insert(csid, sent);
            }
        }
    }

    fn begin(
        &mut self,
        csid: u32,
        mut sent: Sent,
        mut chunk_type: u8,
        time: u32,
        (length, kind): (usize, u8),
    ) -> Sent {
        // Receivers take a jump of an hour that ends near the old time for an absolute time.
        let misread = time > 3_600_000 && time.abs_diff(sent.timestamp) <= 10_000;
        if misread && matches!(chunk_type, 1 | 2) {
            chunk_type = 0;
        }
        self.basic(chunk_type, csid);
        let extended = (time >= 0xFF_FFFF).then_some(time);
        if chunk_type < 3 {
            self.u24(time.min(0xFF_FFFF));
            sent.extended = extended;
        }
        if chunk_type < 2 {
            (sent.length, sent.kind) = (length, kind);
            self.u24(length as u32);
            self.wire.push(kind);
        }
        match chunk_type {
            0 => {
                (sent.timestamp, sent.msid, sent.after_type_0) = (time, csid * 3, true);
                self.wire.extend(sent.msid.to_le_bytes());
            }
            1 | 2 => {
                (sent.delta, sent.after_type_0) = (time, false);
                sent.timestamp = sent.timestamp.wrapping_add(time);
            }
            _ => {
                if sent.after_type_0 && sent.timestamp < 1000 {
                    sent.delta = sent.timestamp;
                }
                sent.after_type_0 = false;
                sent.timestamp = sent.timestamp.wrapping_add(sent.delta);
            }
        }
        self.wire.extend(sent.extended.iter().flat_map(|time| time.to_be_bytes()));
        let body = (0..sent.length).map(|index| (index * 7 + sent.timestamp as usize) as u8);
        sent.body = Some((body.collect(), 0));
        sent
    }

    fn body(&mut self, csid: u32, sent: &mut Sent) {
        let Some((body, at)) = &mut sent.body else { return };
        let end = body.len().min(*at + self.chunk_size);
        self.wire.extend(&body[*at..end]);
        *at = end;
        if end == body.len() {
            let body = std::mem::take(body);
            self.messages.push((csid, sent.timestamp, sent.kind, sent.msid, body));
            sent.body = None;
        }
    }
}

fn send(steps: &[Step]) -> Sender {
    let mut sender = Sender { chunk_size: 128, ..Sender::default() };
    steps.iter().for_each(|step| sender.step(step));
    sender
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_reader_gets_what_a_lawful_sender_sends(
        steps in vec(step(), 1..60),
        cuts in vec(1..200_usize, 0..6),
    ) {
        let sender = send(&steps);
        let (messages, verdict) = read(&sender.wire, &cuts);
        prop_assert_eq!(verdict, Ok(()));
        prop_assert_eq!(&messages, &sender.messages);
        let mut naive = NaiveReader::new(&sender.wire, max);
        prop_assert_eq!(naive.read(), Ok(()));
        prop_assert_eq!(naive.messages, messages);
    }

    #[test]
    fn the_reader_and_a_naive_one_agree_on_damaged_bytes(
        steps in vec(step(), 1..30),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        lost in vec(any::<prop::sample::Index>(), 0..3),
        cuts in vec(1..50_usize, 0..6),
    ) {
        let mut wire = send(&steps).wire;
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] = byte;
        }
        for at in lost {
            if wire.len() > 1 {
                wire.remove(at.index(wire.len()));
            }
        }
        let mut naive = NaiveReader::new(&wire, max);
        let verdict = naive.read();
        prop_assert_eq!(read(&wire, &cuts), (naive.messages, verdict));
    }

    #[test]
    fn the_reader_and_a_naive_one_agree_on_noise(
        wire in vec(prop_oneof![any::<u8>(), Just(0), Just(0xFF), Just(0xC3), Just(3)], 0..300),
        cuts in vec(1..50_usize, 0..6),
    ) {
        let mut naive = NaiveReader::new(&wire, max);
        let verdict = naive.read();
        prop_assert_eq!(read(&wire, &cuts), (naive.messages, verdict));
    }

    #[test]
    fn what_the_writer_writes_is_read_again_interleaved_at_any_chunk_size(
        messages in vec((0..CSIDS.len(), time(), 0..500_usize, 8..10_u8), 1..30),
        chunk_size in prop_oneof![1..10_u32, 100..200_u32, Just(60_000)],
        order in vec(0..CSIDS.len(), 1..50),
        cuts in vec(1..200_usize, 0..6),
    ) {
        let mut writer = ChunkWriter::new();
        writer.set_chunk_size(chunk_size);
        // Each chunk stream's chunks in order; streams are then mixed chunk by chunk.
        let mut chunks: Vec<Vec<Vec<u8>>> = vec![Vec::new(); CSIDS.len()];
        let mut expected: Vec<Vec<Message>> = vec![Vec::new(); CSIDS.len()];
        for (stream, timestamp, length, kind) in messages {
            let csid = CSIDS[stream];
            let body = vec![length as u8; length];
            let header = MessageHeader {
                csid: Csid(csid), timestamp, length: 0, message_type: kind, msid: Msid(1),
            };
            let mut out = Vec::new();
            writer.emit(&header, &body, &mut out);
            let whole: Vec<u8> = chunks[stream].concat();
            chunks[stream].extend(split(&whole, &out, csid, length, chunk_size as usize));
            expected[stream].push((csid, timestamp, kind, 1, body));
        }
        let mut wire = [&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0][..], &chunk_size.to_be_bytes()].concat();
        chunks.iter_mut().for_each(|chunks| chunks.reverse());
        for stream in order.into_iter().cycle().take(20_000).chain(0..CSIDS.len()) {
            if let Some(chunk) = chunks[stream].pop() {
                wire.extend(chunk);
            }
        }
        for rest in &mut chunks {
            while let Some(chunk) = rest.pop() {
                wire.extend(chunk);
            }
        }
        let (messages, verdict) = read(&wire, &cuts);
        prop_assert_eq!(verdict, Ok(()));
        for (stream, expected) in expected.into_iter().enumerate() {
            let of_stream = messages.iter().filter(|message| message.0 == CSIDS[stream]).cloned();
            prop_assert_eq!(of_stream.collect::<Vec<_>>(), expected);
        }
    }
}

/// The chunks of one message. `before`: what its chunk stream has written so far.
fn split(before: &[u8], out: &[u8], csid: u32, length: usize, chunk_size: usize) -> Vec<Vec<u8>> {
    let basic = match csid {
        0..64 => 1,
        64..320 => 2,
        _ => 3,
    };
    let count = length.div_ceil(chunk_size).max(1);
    // A continuation has an extended timestamp or it has not: the lengths tell.
    let fields = [11, 7, 3, 0][usize::from(out[0] >> 6)];
    let is_extended = match out[0] >> 6 {
        3 => out.len() != basic * count + length,
        _ => out[basic..basic + 3] == [255; 3],
    };
    let extended = if is_extended { 4 } else { 0 };
    let (first, next) = (basic + fields + extended, basic + extended);
    assert_eq!(out.len(), first + length + next * (count - 1), "behind {} bytes", before.len());
    let mut chunks = Vec::new();
    let mut rest = out;
    for index in 0..count {
        let payload = chunk_size.min(length - index * chunk_size);
        let (chunk, later) = rest.split_at(if index == 0 { first } else { next } + payload);
        chunks.push(chunk.to_vec());
        rest = later;
    }
    chunks
}
