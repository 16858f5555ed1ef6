//! Hostile and slow peers: `hostile SERVER KIND SECONDS CONNECTIONS`.
//!
//! Each kind fills the server's memory another way; a peer that is closed comes back. The server's
//! promise (bounded memory, others never notice) is checked by `scripts/prove-memory.sh`.
//!
//! | kind | what a peer does |
//! |---|---|
//! | huge | sends 8 MiB messages but for the last byte |
//! | names | publishes a name of its own: headers of 1 MiB, a GOP that never ends |
//! | stuck | plays a stream of 2 MB frames and never reads; every fifth publishes it |
//! | replies | asks for answers and never reads them |
//! | tiny | publishes a name of its own: frames of two bytes, without end |
//! | handshakes | sends half a handshake, then nothing, then comes back |
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a load generator reads the clock")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::rtmp::amf0::Writer;
use millrace::rtmp::chunk::MessageHeader;
use millrace::rtmp::chunk::writer::emit_message;
use millrace::rtmp::session::{ClientConfig, ClientEvent, ClientRole, ClientSession, MediaKind};
use millrace::rtmp::{Csid, Msid};
use socket2::SockRef;

/// A peer and what it may do until when.
#[derive(Debug, Clone, Copy)]
struct Attack {
    server: SocketAddr,
    index: usize,
    end: Instant,
}

type Kind = fn(&Attack) -> std::io::Result<()>;

const KINDS: [(&str, Kind); 6] = [
    ("huge", huge),
    ("names", names),
    ("stuck", stuck),
    ("replies", replies),
    ("tiny", tiny),
    ("handshakes", handshakes),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [server, kind, seconds, connections] = args.as_slice() else {
        panic!("usage: hostile SERVER KIND SECONDS CONNECTIONS");
    };
    let server: SocketAddr = server.parse().expect("an address and a port");
    let (_, kind) = KINDS.iter().find(|(name, _)| name == kind).expect("a kind");
    let end = Instant::now() + Duration::from_secs(seconds.parse().expect("seconds"));
    // Without it fewer connections fit.
    let _ = millrace::host::raise_nofile();
    std::thread::scope(|scope| {
        for index in 0..connections.parse().expect("a number") {
            std::thread::Builder::new()
                .stack_size(128 << 10)
                .spawn_scoped(scope, move || attack(Attack { server, index, end }, *kind))
                .expect("a thread");
        }
    });
}

fn attack(attack: Attack, kind: Kind) {
    while attack.goes_on() {
        // Being closed is what a hostile peer expects.
        let _ = kind(&attack);
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

impl Attack {
    fn goes_on(&self) -> bool {
        Instant::now() < self.end
    }

    fn socket(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.server, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        stream.set_write_timeout(Some(Duration::from_millis(200)))?;
        // What nobody reads is to fill the server's memory, not this kernel's.
        SockRef::from(&stream).set_recv_buffer_size(8 * 1024)?;
        Ok(stream)
    }

    /// A session that has started in `role`.
    fn start(&self, role: ClientRole) -> std::io::Result<(TcpStream, ClientSession)> {
        let mut stream = self.socket()?;
        let config = ClientConfig {
            app: b"hostile".to_vec(),
            tc_url: b"rtmp://localhost/hostile".to_vec(),
            flash_ver: b"hostile".to_vec(),
            digest: false,
            chunk_size: 65_536,
            role,
        };
        let is_idle = config.role == ClientRole::Idle;
        let mut out = Vec::new();
        let mut session = ClientSession::start(Arc::new(config), 1, &mut out);
        let mut buffer = [0; 16 * 1024];
        let patience = Instant::now() + Duration::from_secs(10);
        while Instant::now() < patience {
            stream.write_all(&out)?;
            out.clear();
            let count = match stream.read(&mut buffer) {
                Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
                Ok(count) => count,
                Err(error) if is_patience(&error) => continue,
                Err(error) => return Err(error),
            };
            let mut input = &buffer[..count];
            while let Ok(Some(event)) = session.handle_input(&mut input, &mut out) {
                match event {
                    ClientEvent::Started => return Ok((stream, session)),
                    ClientEvent::Connected if is_idle => return Ok((stream, session)),
                    ClientEvent::Status { is_error: true, .. } => {
                        return Err(ErrorKind::PermissionDenied.into());
                    }
                    _ => {}
                }
            }
        }
        Err(ErrorKind::TimedOut.into())
    }

    fn publish(&self, name: &str) -> std::io::Result<(TcpStream, ClientSession)> {
        self.start(ClientRole::Publish { name: name.into() })
    }

    /// Writes all of it, however long the server takes.
    fn write(&self, stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() && self.goes_on() {
            match stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_patience(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Stays, without reading, until the server closes.
    fn stay(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        while self.goes_on() {
            std::thread::park_timeout(Duration::from_millis(500));
            if stream.take_error()?.is_some() {
                break;
            }
            // A ping's answer: an empty message of an unknown type; fails once the server is gone.
            match stream.write(&[3, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 0]) {
                Err(error) if !is_patience(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_patience(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn huge(attack: &Attack) -> std::io::Result<()> {
    let (mut stream, mut session) = attack.publish(&format!("huge{}", attack.index))?;
    let mut bytes = Vec::new();
    session.send_media(MediaKind::Video, 0, &vec![0x27; 8 << 20], &mut bytes);
    bytes.truncate(bytes.len() - 1);
    attack.write(&mut stream, &bytes)?;
    // Nothing may follow inside the message: silence.
    while attack.goes_on() && stream.read(&mut [0; 64]).map_or(true, |count| count > 0) {}
    Ok(())
}

fn names(attack: &Attack) -> std::io::Result<()> {
    let (mut stream, mut session) = attack.publish(&format!("{:0>900}", attack.index))?;
    let mut bytes = Vec::new();
    for number in 0..4 {
        let mut body = Vec::new();
        let name = format!("headers {number}");
        Writer::new(&mut body).string(b"@setDataFrame").string(name.as_bytes());
        body.push(12);
        body.extend_from_slice(&250_000_u32.to_be_bytes());
        body.resize(body.len() + 250_000, b'h');
        session.send_media(MediaKind::Data, 0, &body, &mut bytes);
    }
    session.send_media(MediaKind::Video, 0, &[0x17; 40_000], &mut bytes);
    attack.write(&mut stream, &bytes)?;
    for timestamp in 0.. {
        bytes.clear();
        session.send_media(MediaKind::Video, timestamp, &[0x27; 20_000], &mut bytes);
        attack.write(&mut stream, &bytes)?;
        if !attack.goes_on() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Ok(())
}

fn stuck(attack: &Attack) -> std::io::Result<()> {
    let name = format!("stuck{}", attack.index / 20);
    if !attack.index.is_multiple_of(20) {
        let (mut stream, _) = attack.start(ClientRole::Play { name: name.into() })?;
        return attack.stay(&mut stream);
    }
    let (mut stream, mut session) = attack.publish(&name)?;
    let mut bytes = Vec::new();
    for timestamp in (0..).step_by(1000) {
        bytes.clear();
        let mut body = vec![0x17; 2_000_000];
        body[1] = 1;
        session.send_media(MediaKind::Video, timestamp, &body, &mut bytes);
        attack.write(&mut stream, &bytes)?;
        if !attack.goes_on() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(500));
    }
    Ok(())
}

fn replies(attack: &Attack) -> std::io::Result<()> {
    let (mut stream, _) = attack.start(ClientRole::Idle)?;
    let mut body = Vec::new();
    Writer::new(&mut body).string(b"chat.send").number(9.0).null();
    let header =
        MessageHeader { csid: Csid(3), timestamp: 0, length: 0, message_type: 20, msid: Msid(0) };
    let mut bytes = Vec::new();
    emit_message(&header, &body, 65_536, &mut bytes);
    let bytes = bytes.repeat(1_000);
    while attack.goes_on() {
        match stream.write(&bytes) {
            Err(error) if is_patience(&error) => {
                std::thread::park_timeout(Duration::from_millis(500));
            }
            // A short write tears a message; whatever the server makes of it is an answer too.
            result => drop(result?),
        }
    }
    Ok(())
}

fn tiny(attack: &Attack) -> std::io::Result<()> {
    let (mut stream, mut session) = attack.publish(&format!("tiny{}", attack.index))?;
    let mut bytes = Vec::new();
    session.send_media(MediaKind::Video, 0, &[0x17, 1], &mut bytes);
    for timestamp in 1..1_000 {
        session.send_media(MediaKind::Video, timestamp, &[0x27, 1], &mut bytes);
    }
    let mut more = Vec::new();
    for timestamp in 1..1_000 {
        session.send_media(MediaKind::Video, timestamp, &[0x27, 1], &mut more);
    }
    attack.write(&mut stream, &bytes)?;
    while attack.goes_on() {
        attack.write(&mut stream, &more)?;
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}

fn handshakes(attack: &Attack) -> std::io::Result<()> {
    let mut stream = attack.socket()?;
    let mut hello = [0; 1_500];
    hello[0] = 3;
    stream.write_all(&hello)?;
    std::thread::park_timeout(Duration::from_millis(1_000));
    Ok(())
}
