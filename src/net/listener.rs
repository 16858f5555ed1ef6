//! Listening sockets and the options of accepted ones.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Options of accepted sockets; sizes in bytes, 0 leaves the kernel's default.
#[derive(Debug, Clone, Copy)]
pub struct SocketOptions {
    /// TCP_NODELAY.
    pub nodelay: bool,
    /// SO_SNDBUF.
    pub sndbuf: usize,
    /// SO_RCVBUF.
    pub rcvbuf: usize,
    /// TCP_NOTSENT_LOWAT: without it a stuck player is noticed 3.9 MB too late.
    pub notsent_lowat: u32,
}

impl SocketOptions {
    /// Applies them.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        socket.set_tcp_nodelay(self.nodelay)?;
        if self.sndbuf > 0 {
            socket.set_send_buffer_size(self.sndbuf)?;
        }
        if self.rcvbuf > 0 {
            socket.set_recv_buffer_size(self.rcvbuf)?;
        }
        if self.notsent_lowat > 0 {
            socket.set_tcp_notsent_lowat(self.notsent_lowat)?;
        }
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60));
        socket.set_tcp_keepalive(&keepalive)
    }
}

/// Binds and listens. `[::]` without IPv6 on the host falls back to `0.0.0.0`.
///
/// # Errors
/// What the kernel says.
pub fn bind(address: SocketAddr, backlog: i32, reuseport: bool) -> io::Result<TcpListener> {
    listen(address, backlog, reuseport).or_else(|error| match fallback(address, &error) {
        Some(address) => listen(address, backlog, reuseport),
        None => Err(error),
    })
}

/// Where to listen instead when `address` means everywhere and the host has no IPv6.
#[must_use]
pub fn fallback(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    const EAFNOSUPPORT: i32 = 97;
    const EADDRNOTAVAIL: i32 = 99;
    let no_family = matches!(error.raw_os_error(), Some(EAFNOSUPPORT | EADDRNOTAVAIL));
    let is_everywhere = address.is_ipv6() && address.ip().is_unspecified();
    (is_everywhere && no_family).then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

fn listen(address: SocketAddr, backlog: i32, reuseport: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if reuseport {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(TcpListener::from_std(socket.into()))
}
