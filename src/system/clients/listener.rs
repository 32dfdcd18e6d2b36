//! A listening socket and what it accepts, whichever family it is of.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::socket::{setsockopt, sockopt};

/// A connected socket. Once it is connected only its descriptor matters: read(2) and write(2) do for any family, and
/// SIGPIPE is ignored in this process.
pub(super) type Stream = File;

/// How much of an answer the kernel keeps for a TCP client (the kernel doubles it, socket(7)). Left alone it grows to
/// megabytes (`tcp_wmem`, tcp(7)), also while the client takes nothing, which then looks as if it took some.
const SEND_BUFFER: usize = 128 * 1024;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// It has a path.
    Unix(UnixListener),
    /// It has an address and a port.
    Tcp(TcpListener),
}

impl Listener {
    pub(super) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Listener::Unix(listener) => listener.set_nonblocking(true),
            Listener::Tcp(listener) => listener.set_nonblocking(true),
        }
    }

    /// Accepts a connection, which does not block either.
    pub(super) fn accept(&self) -> io::Result<Stream> {
        let stream: OwnedFd = match self {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                stream.into()
            }
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                setsockopt(&stream, sockopt::SndBuf, &SEND_BUFFER)?;
                stream.into()
            }
        };
        Ok(stream.into())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Unix(listener) => listener.as_fd(),
            Listener::Tcp(listener) => listener.as_fd(),
        }
    }
}
