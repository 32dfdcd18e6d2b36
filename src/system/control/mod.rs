//! The control socket: takes one line from each client and gives a text back. Its clients are served by `clients`; this
//! is the form of what they say and hear, who they are, and the socket's place. It does not know what the lines mean.

mod binding;
mod file;
mod permission;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use mio::{Registry, Token};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::clients::{Clients, Listener, Protocol};
use crate::exit;
pub use binding::{BindError, fit, try_connect};
use file::SocketFile;
pub use permission::who_may_connect;

/// The longest line a client may send, its line feed included.
pub const MAX_LINE: usize = 4096;
/// The answer to a line that is longer.
const TOO_LONG: &str = "the request is longer than 4096 bytes\n";

const PROTOCOL: Protocol = Protocol {
    longest: MAX_LINE,
    end: |bytes| Some(bytes.iter().position(|&byte| byte == b'\n')? + 1),
    lingers: false,
};

/// Who is at the other end of a connection (SO_PEERCRED, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Process id, as seen from here; 0 if the process is in another namespace.
    pub pid: i32,
}

/// One client's request. `client` tells it from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The client to answer.
    pub client: u64,
    /// The process that asks.
    pub peer: Peer,
    /// The line, without its end.
    pub line: String,
}

/// The socket, if there is one, and its clients.
#[derive(Debug)]
pub struct Server {
    /// The clients, who are served whatever they say.
    pub clients: Clients,
    file: Option<SocketFile>,
}

impl Server {
    /// A server without a socket, which uses the tokens from `first` on.
    pub fn new(first: Token) -> Server {
        Server {
            clients: Clients::new(&PROTOCOL, first),
            file: None,
        }
    }

    /// Listens at `path`, mode 0660 from its first moment on, and registers the socket. A dead daemon's socket is
    /// replaced. The clients of an old socket stay; that socket is removed once the new one is there.
    pub fn listen(&mut self, path: &Path, registry: &Registry) -> Result<(), BindError> {
        if let Some(file) = &mut self.file {
            if file.goes_by(path) {
                return Ok(());
            }
        }
        let (listener, file) = SocketFile::bind(path)?;
        self.clients
            .listen(Listener::Unix(listener), registry)
            .map_err(BindError::System)?;
        self.file = Some(file);
        Ok(())
    }

    /// Accepts no more clients and removes the socket. Connected clients still get their answers.
    pub fn close(&mut self) {
        self.file = None;
        self.clients.close();
    }

    /// The path that it listens at.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref().map(SocketFile::path)
    }

    /// Takes the request that has waited longest, of a client that is still there. One that is too long is answered
    /// here.
    pub fn next_request(&mut self, now: Instant) -> Option<Asked> {
        loop {
            let asked = self.clients.next_request()?;
            let client = asked.client;
            let Some(bytes) = asked.request else {
                self.answer(client, exit::USAGE, TOO_LONG.into(), now);
                continue;
            };
            // The system knows the other end of every Unix socket.
            let peer = getsockopt(&asked.socket, PeerCredentials).ok()?;
            let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let line = String::from_utf8_lossy(line);
            return Some(Asked {
                client,
                peer: Peer {
                    uid: peer.uid(),
                    pid: peer.pid(),
                },
                line: line.trim_end_matches('\r').to_string(),
            });
        }
    }

    /// Answers a client with exit status and text, unless it has gone.
    pub fn answer(&mut self, client: u64, status: u8, text: Vec<u8>, now: Instant) {
        self.answer_all(&[client], status, text, now);
    }

    /// Answers each of these clients that is still there with the same text. The exit status goes first, on a line of
    /// its own.
    pub fn answer_all(&mut self, clients: &[u64], status: u8, text: Vec<u8>, now: Instant) {
        let head = format!("{status}\n");
        self.clients.answer_all(clients, &head, &Rc::new(text), now);
    }
}
