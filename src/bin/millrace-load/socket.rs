//! Sockets of the load: connecting from several addresses, reading with the kernel's time of
//! arrival, and throwing bytes away without copying them.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::net::TcpStream;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, SockRef, Socket, Type};

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// Bytes thrown away at once: more than a receive buffer holds, so one call empties it.
const DISCARD_BYTES: usize = 16 * 1024 * 1024;
/// MSG_TRUNC of Linux.
const MSG_TRUNC: i32 = MsgFlags::MSG_TRUNC.bits();

/// Begins a connection, from 127.0.0.`source` where that is not 0, with segments of at most `mss`
/// bytes where that is not 0. It tells arrival times, and a reset ends it, so that no port stays in
/// TIME_WAIT.
///
/// # Errors
/// What the kernel says.
pub(crate) fn connect(server: SocketAddr, source: u8, mss: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    if source > 0 {
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0));
        socket.bind(&from.into())?;
    }
    if mss > 0 {
        socket.set_tcp_mss(mss)?;
    }
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    // Without it times are those of reading, which the result tells.
    let _ = setsockopt(&socket, sockopt::ReceiveTimestampns, &true);
    let pending = rustix::io::Errno::INPROGRESS.raw_os_error();
    match socket.connect(&server.into()) {
        Err(error) if error.raw_os_error() != Some(pending) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Makes the kernel acknowledge what is read when it is read, as for a player that only plays.
///
/// Whoever has sent something seems interactive to it: it then waits with acknowledgements until
/// it has waited 40 ms in vain, which happens to the players of one server sooner than of another,
/// and until then the server's CPU does what is the reader's work.
pub(crate) fn acknowledge_reads(stream: &TcpStream) {
    // Figures are less alike without it, nothing else.
    let _ = SockRef::from(stream).set_tcp_quickack(true);
}

/// What reads from all sockets; counts their bytes.
#[derive(Debug)]
pub(crate) struct Receiver {
    buffer: Vec<u8>,
    control: Vec<u8>,
    discarded: Vec<u8>,
    /// Bytes received from all sockets.
    pub(crate) bytes: u64,
}

/// Bytes read.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// Them.
    pub(crate) bytes: &'a [u8],
    /// When the last segment read to its end came to the kernel, µs of the wall clock; `None`:
    /// the kernel has not told.
    pub(crate) arrived_us: Option<u64>,
    /// Nothing is left, unless FIN is.
    pub(crate) is_last: bool,
}

impl Receiver {
    /// One for all sockets.
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; READ_BYTES],
            control: nix::cmsg_space!(TimeSpec),
            // Never touched: the kernel writes nothing there.
            discarded: Vec::with_capacity(DISCARD_BYTES),
            bytes: 0,
        }
    }

    /// Reads what is there.
    ///
    /// # Errors
    /// Nothing is there (`WouldBlock`), or the connection is gone.
    pub(crate) fn read(&mut self, stream: &TcpStream) -> io::Result<Received<'_>> {
        let (count, arrived_us) = self.receive(stream, MsgFlags::empty())?;
        self.bytes += count as u64;
        Ok(Received {
            bytes: self.buffer.get(..count).unwrap_or_default(),
            arrived_us,
            is_last: count < READ_BYTES,
        })
    }

    /// How many bytes wait, and when the last of them came, as [`Received::arrived_us`]. They stay,
    /// and the peer gets no acknowledgement for this.
    ///
    /// # Errors
    /// Nothing is there (`WouldBlock`), or the connection is gone.
    pub(crate) fn look(&mut self, stream: &TcpStream) -> io::Result<(usize, Option<u64>)> {
        self.receive(stream, MsgFlags::MSG_PEEK | MsgFlags::MSG_TRUNC)
    }

    fn receive(&mut self, stream: &TcpStream, flags: MsgFlags) -> io::Result<(usize, Option<u64>)> {
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut self.control), flags)?;
        let arrived =
            message.cmsgs().ok().into_iter().flatten().find_map(|control| match control {
                ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
                _ => None,
            });
        let arrived_us = arrived.and_then(|time| u64::try_from(time.as_micros()).ok());
        match message.bytes {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok((count, arrived_us)),
        }
    }

    /// Throws away up to `limit` bytes; how many.
    ///
    /// # Errors
    /// Nothing is there (`WouldBlock`), or the connection is gone.
    pub(crate) fn discard(&mut self, stream: &TcpStream, limit: usize) -> io::Result<usize> {
        let room = self.discarded.spare_capacity_mut();
        let room = room.get_mut(..limit.min(DISCARD_BYTES)).unwrap_or_default();
        match SockRef::from(stream).recv_with_flags(room, MSG_TRUNC)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                self.bytes += count as u64;
                Ok(count)
            }
        }
    }
}
