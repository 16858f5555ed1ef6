//! A peer that sees and sends single RTMP messages: what the client session hides.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use millrace::rtmp::amf0::{Reader, Value, Writer};
use millrace::rtmp::chunk::{ChunkReader, ChunkWriter, MessageHeader, MessageLimits};
use millrace::rtmp::message::type_id;
use millrace::rtmp::{Csid, Msid};

use super::{PATIENCE, is_silence};

/// One message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    pub csid: u32,
    pub msid: u32,
    pub message_type: u8,
    pub timestamp: u32,
    pub body: Vec<u8>,
}

impl Packet {
    pub fn is_media(&self) -> bool {
        matches!(self.message_type, type_id::AUDIO | type_id::VIDEO)
    }

    /// The name of a command or data message.
    pub fn name(&self) -> String {
        let is_amf = matches!(self.message_type, type_id::COMMAND_AMF0 | type_id::DATA_AMF0);
        match Reader::new(&self.body).next() {
            Ok(Some(Value::String(name))) if is_amf => String::from_utf8(name.to_vec()).unwrap(),
            _ => String::new(),
        }
    }

    /// The `code` of an onStatus or of a command result, wherever it stands.
    pub fn code(&self) -> String {
        let mut reader = Reader::new(&self.body);
        while let Ok(Some(value)) = reader.next() {
            if let Value::Object(object) = value
                && let Some(code) = object.find("code").and_then(|code| code.string())
            {
                return String::from_utf8(code.to_vec()).unwrap();
            }
        }
        String::new()
    }

    /// Transaction id of a command.
    pub fn transaction(&self) -> f64 {
        let mut reader = Reader::new(&self.body);
        let _name = reader.next();
        reader.next().ok().flatten().and_then(|value| value.number()).unwrap_or(-1.0)
    }

    /// User control: event type and the first u32.
    pub fn event(&self) -> Option<(u16, u32)> {
        let is_event = self.message_type == type_id::USER_CONTROL && self.body.len() >= 6;
        let event = || u16::from_be_bytes(self.body[..2].try_into().unwrap());
        is_event.then(|| (event(), u32::from_be_bytes(self.body[2..6].try_into().unwrap())))
    }
}

/// What comes: a message, or how the connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    Packet(Packet),
    Closed,
    Reset,
}

/// See the module documentation.
pub struct Wire {
    pub stream: TcpStream,
    /// Every byte received after the handshake.
    pub raw: Vec<u8>,
    pub writer: ChunkWriter,
    reader: ChunkReader,
    partial: HashMap<usize, Vec<u8>>,
    inbox: VecDeque<Packet>,
    transaction: f64,
}

/// A connection from a source address of the caller's choice.
pub fn connect_from(source: &str, to: SocketAddr) -> TcpStream {
    use socket2::{Domain, Socket, Type};
    let source = SocketAddr::new(source.parse::<IpAddr>().unwrap(), 0);
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect_timeout(&to.into(), PATIENCE).unwrap();
    socket.into()
}

impl Wire {
    /// Handshake and connect to app `live`; returns when the `_result` is there.
    pub fn connect(to: SocketAddr) -> Self {
        let mut wire = Self::handshake(TcpStream::connect_timeout(&to, PATIENCE).unwrap());
        wire.connect_app("live");
        wire
    }

    /// The plain handshake only.
    pub fn handshake(mut stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut hello = vec![3];
        hello.resize(1537, 0);
        stream.write_all(&hello).unwrap();
        let mut answer = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while answer.len() < 3073 {
            assert!(Instant::now() < deadline, "no handshake");
            let mut buffer = vec![0; 3073 - answer.len()];
            if let Ok(len) = stream.read(&mut buffer) {
                assert!(len > 0, "closed in the handshake");
                answer.extend_from_slice(&buffer[..len]);
            }
        }
        stream.write_all(&answer[1..1537]).unwrap();
        let limit = 0x00FF_FFFF;
        let limits = MessageLimits { media: limit, command: limit, data: limit, control: limit };
        Self {
            stream,
            raw: Vec::new(),
            writer: ChunkWriter::new(),
            reader: ChunkReader::new(limits),
            partial: HashMap::new(),
            inbox: VecDeque::new(),
            transaction: 0.0,
        }
    }

    /// connect with an `app`; returns the code of the answer.
    pub fn connect_app(&mut self, app: &str) -> String {
        self.command(0, "connect", |writer| {
            writer.object().text("app", app.as_bytes()).end();
        });
        self.until(|packet| matches!(packet.name().as_str(), "_result" | "_error")).code()
    }

    /// Sends one message; panics when the server does not take it.
    pub fn send(&mut self, csid: u32, msid: u32, message_type: u8, timestamp: u32, body: &[u8]) {
        let bytes = self.encode(csid, msid, message_type, timestamp, body);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The bytes of one message.
    pub fn encode(
        &mut self,
        csid: u32,
        msid: u32,
        kind: u8,
        timestamp: u32,
        body: &[u8],
    ) -> Vec<u8> {
        let (csid, msid) = (Csid(csid), Msid(msid));
        let header = MessageHeader { csid, timestamp, length: 0, message_type: kind, msid };
        let mut out = Vec::new();
        self.writer.emit(&header, body, &mut out);
        out
    }

    /// Sends a video message on `msid`.
    pub fn video(&mut self, msid: u32, timestamp: u32, body: &[u8]) {
        self.send(6, msid, type_id::VIDEO, timestamp, body);
    }

    /// Sends an audio message on `msid`.
    pub fn audio(&mut self, msid: u32, timestamp: u32, body: &[u8]) {
        self.send(4, msid, type_id::AUDIO, timestamp, body);
    }

    /// Sends a control message that is one u32.
    pub fn control(&mut self, message_type: u8, value: u32) {
        self.send(2, 0, message_type, 0, &value.to_be_bytes());
    }

    /// Set Chunk Size, and from now on chunks of that size.
    pub fn set_chunk_size(&mut self, size: u32) {
        self.control(type_id::SET_CHUNK_SIZE, size);
        self.writer.set_chunk_size(size);
    }

    /// Sends a command; `arguments` begin with the command object. Returns the transaction id.
    pub fn command(
        &mut self,
        msid: u32,
        name: &str,
        arguments: impl FnOnce(&mut Writer<'_>),
    ) -> f64 {
        self.transaction += 1.0;
        let body = command_body(name, self.transaction, arguments);
        self.send(3, msid, type_id::COMMAND_AMF0, 0, &body);
        self.transaction
    }

    /// A command whose arguments are null and a name.
    pub fn call(&mut self, msid: u32, name: &str, argument: &str) -> f64 {
        self.command(msid, name, |writer| {
            writer.null().string(argument.as_bytes());
        })
    }

    /// createStream; the id.
    pub fn create_stream(&mut self) -> u32 {
        let transaction = self.command(0, "createStream", |w| {
            w.null();
        });
        let is_mine = |p: &Packet| p.name() == "_result" && p.transaction() == transaction;
        let body = self.until(is_mine).body;
        let mut reader = Reader::new(&body);
        let values: Vec<_> = std::iter::from_fn(|| reader.next().unwrap()).collect();
        values[3].number().unwrap() as u32
    }

    /// createStream and publish; the id. Returns when Publish.Start is there.
    pub fn publish(&mut self, name: &str) -> u32 {
        let msid = self.create_stream();
        self.call(msid, "publish", name);
        self.status(msid, "NetStream.Publish.Start");
        msid
    }

    /// createStream and play; the id. Returns when Play.Start is there.
    pub fn play(&mut self, name: &str) -> u32 {
        let msid = self.create_stream();
        self.call(msid, "play", name);
        self.status(msid, "NetStream.Play.Start");
        msid
    }

    /// Skips until onStatus with `code` on `msid`.
    pub fn status(&mut self, msid: u32, code: &str) -> Packet {
        self.until(|p| p.msid == msid && p.name() == "onStatus" && p.code() == code)
    }

    /// Skips until a user control event on a message stream.
    pub fn event(&mut self, event: u16, value: u32) {
        self.until(|packet| packet.event() == Some((event, value)));
    }

    /// The next audio or video message.
    pub fn media(&mut self) -> Packet {
        self.until(Packet::is_media)
    }

    /// Skips packets until one `matches`; panics when the connection ends or [`PATIENCE`] is over.
    pub fn until(&mut self, matches: impl Fn(&Packet) -> bool) -> Packet {
        let mut skipped = Vec::new();
        loop {
            match self.arrival_within(PATIENCE) {
                Some(Arrival::Packet(packet)) if matches(&packet) => return packet,
                Some(Arrival::Packet(packet)) => {
                    skipped.push((packet.message_type, packet.msid, packet.name(), packet.code()));
                }
                end => panic!("{end:?} instead of a packet, after {skipped:?}"),
            }
        }
    }

    /// What comes next.
    pub fn arrival(&mut self) -> Arrival {
        self.arrival_within(PATIENCE).unwrap_or_else(|| panic!("nothing came in {PATIENCE:?}"))
    }

    /// Everything that comes until the end, and how it ends.
    pub fn rest(&mut self) -> (Vec<Packet>, Arrival) {
        let mut packets = Vec::new();
        loop {
            match self.arrival() {
                Arrival::Packet(packet) => packets.push(packet),
                end => return (packets, end),
            }
        }
    }

    /// What comes next, or `None` when nothing does within `time`.
    pub fn arrival_within(&mut self, time: Duration) -> Option<Arrival> {
        let deadline = Instant::now() + time;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            if let Some(packet) = self.inbox.pop_front() {
                return Some(Arrival::Packet(packet));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Arrival::Closed),
                Ok(len) => self.handle(&buffer[..len]),
                Err(error) if is_silence(&error) => {
                    if Instant::now() >= deadline {
                        return None;
                    }
                }
                Err(_) => return Some(Arrival::Reset),
            }
        }
    }

    fn handle(&mut self, mut input: &[u8]) {
        self.raw.extend_from_slice(input);
        while let Some(piece) = self.reader.read(&mut input).unwrap() {
            let body = self.partial.entry(piece.slot).or_default();
            if piece.is_first() {
                body.clear();
            }
            body.extend_from_slice(&piece.bytes);
            if !piece.is_last() {
                continue;
            }
            let (header, body) = (piece.header, std::mem::take(body));
            if header.message_type == type_id::SET_CHUNK_SIZE {
                let size = u32::from_be_bytes(body[..4].try_into().unwrap());
                self.reader.set_chunk_size(size).unwrap();
            }
            self.inbox.push_back(Packet {
                csid: header.csid.0,
                msid: header.msid.0,
                message_type: header.message_type,
                timestamp: header.timestamp,
                body,
            });
        }
    }
}

/// The body of a command.
pub fn command_body(
    name: &str,
    transaction: f64,
    arguments: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let mut body = Vec::new();
    let mut writer = Writer::new(&mut body);
    arguments(writer.string(name.as_bytes()).number(transaction));
    body
}
