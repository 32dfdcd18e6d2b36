//! The control socket: takes one line from each client and gives a text back. Non-blocking and bounded, so that
//! no client can delay a job; what the lines mean is not known here.

mod binding;
mod connection;
mod listening;
mod permission;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;

use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

pub use binding::{BindError, fit, try_connect};
use connection::{Connection, Then};
use listening::Listening;
pub use permission::who_may_connect;

/// Clients at a time.
pub const MAX_CLIENTS: usize = 16;
/// The longest line a client may send, its line feed included.
pub const MAX_LINE: usize = 4096;
/// How long a client may take to send its line, and how long it may take nothing of an answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// When connections that the system would not let us take are tried again.
const RETRY: Duration = Duration::from_millis(200);
/// The same for connections that have to wait for a client's place.
const PLACE_RETRY: Duration = Duration::from_millis(10);

/// Who is at the other end of a connection (SO_PEERCRED, unix(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// User id.
    pub uid: u32,
    /// Process id, as seen from here; 0 for one from elsewhere.
    pub pid: i32,
}

/// One client's request, told apart from all others by `client`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whom to answer.
    pub client: u64,
    /// Who asks.
    pub peer: Peer,
    /// The line, without its end.
    pub line: String,
}

/// The socket, if there is one, and its clients.
#[derive(Debug)]
pub struct Server {
    listening: Option<Listening>,
    clients: [Option<Connection>; MAX_CLIENTS],
    /// For the next client, and for the next line.
    next_number: u64,
    first: Token,
    retry_at: Option<Instant>,
}

impl Server {
    /// How many tokens a server takes: one for the socket, then one for each client.
    pub const TOKENS: usize = 1 + MAX_CLIENTS;

    /// A server without a socket, which will use the tokens from `first` on.
    pub fn new(first: Token) -> Server {
        Server {
            listening: None,
            clients: [const { None }; MAX_CLIENTS],
            next_number: 0,
            first,
            retry_at: None,
        }
    }

    /// Listens at `path`, mode 0660 from its first moment on, and has `registry` tell of it. A socket whose daemon
    /// is dead is replaced. Clients of a socket elsewhere stay; that one is removed once this one is there.
    pub fn listen(&mut self, path: &Path, registry: &Registry) -> Result<(), BindError> {
        if let Some(listening) = &mut self.listening {
            if listening.goes_by(path) {
                return Ok(());
            }
        }
        self.listening = Some(Listening::at(path, registry, self.listener())?);
        Ok(())
    }

    /// Takes no more clients and removes the socket; those that are there get their answers.
    pub fn close(&mut self) {
        self.listening = None;
    }

    /// Where it listens.
    pub fn path(&self) -> Option<&Path> {
        self.listening.as_ref().map(Listening::path)
    }

    fn listener(&self) -> Token {
        Token(self.first.0 + MAX_CLIENTS)
    }

    fn token(&self, slot: usize) -> Token {
        Token(self.first.0 + slot)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Takes new clients. One more than there is room for takes the place of the one silent longest; one whose
    /// request is here keeps its place until it is answered.
    pub fn accept(&mut self, registry: &Registry, now: Instant) {
        self.retry_at = None;
        // Bounded: whoever connects in an endless loop must not keep the daemon here.
        for _ in 0..MAX_CLIENTS {
            let Some(slot) = self.free_slot() else {
                self.retry_at = Some(now + PLACE_RETRY);
                return;
            };
            let Some(listening) = &self.listening else {
                return;
            };
            match listening.accept() {
                Ok(stream) => self.admit(slot, stream, registry, now),
                Err(error) => {
                    self.retry_at = retry_after(&error).map(|time| now + time);
                    if error.kind() == ErrorKind::WouldBlock || self.retry_at.is_some() {
                        return;
                    }
                }
            }
        }
        if let Some(listening) = &self.listening {
            listening.tell_again(registry, self.listener());
        }
    }

    fn admit(&mut self, slot: usize, stream: UnixStream, registry: &Registry, now: Instant) {
        let Ok(credentials) = getsockopt(&stream, PeerCredentials) else {
            return;
        };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        let mut source = SourceFd(&stream.as_raw_fd());
        if registry
            .register(&mut source, self.token(slot), interest)
            .is_err()
        {
            return;
        }
        let peer = Peer {
            uid: credentials.uid(),
            pid: credentials.pid(),
        };
        let id = self.number();
        self.clients[slot] = Some(Connection::new(id, peer, stream, now));
        // Most have sent their line by now. Where turns take long, that it waits for no other is worth much.
        self.client_event(slot, now);
    }

    /// An empty place, or that of the client that has been silent longest.
    fn free_slot(&self) -> Option<usize> {
        if let Some(free) = self.clients.iter().position(Option::is_none) {
            return Some(free);
        }
        let clients = self.clients.iter().enumerate();
        let silent =
            clients.filter_map(|(slot, client)| Some((client.as_ref()?.deadline()?, slot)));
        silent.min().map(|(_, slot)| slot)
    }

    /// Deals with an event of the client in `slot`. Its request, once that is complete, is to be had from
    /// `next_request`.
    pub fn client_event(&mut self, slot: usize, now: Instant) {
        let turn = self.number();
        self.with(slot, |client| client.event(turn, now));
    }

    fn with(&mut self, slot: usize, act: impl FnOnce(&mut Connection) -> Then) {
        if let Some(place) = self.clients.get_mut(slot) {
            if place.as_mut().map(act) == Some(Then::Goes) {
                *place = None;
            }
        }
    }

    /// The request that has waited longest. A client that has hung up both ways has given up, so what it asked for
    /// is forgotten, however late this is called.
    pub fn next_request(&mut self) -> Option<Asked> {
        loop {
            let clients = self.clients.iter_mut();
            let (_, place) = clients
                .filter_map(|place| Some((place.as_ref()?.turn()?, place)))
                .min_by_key(|(turn, _)| *turn)?;
            let client = place.as_mut()?;
            if client.has_hung_up() {
                *place = None;
                continue;
            }
            return Some(Asked {
                client: client.id,
                peer: client.peer,
                line: client.take_line()?,
            });
        }
    }

    /// Gives a client its answer, unless it has gone: exit status and text.
    pub fn answer(&mut self, client: u64, status: u8, text: Vec<u8>, now: Instant) {
        self.answer_all(&[client], status, text, now);
    }

    /// Gives the same answer to each of these clients, as far as they are there.
    pub fn answer_all(&mut self, clients: &[u64], status: u8, text: Vec<u8>, now: Instant) {
        let text = Rc::new(text);
        for client in self.clients.iter_mut().flatten() {
            if clients.contains(&client.id) {
                client.answer(status, Rc::clone(&text), now);
            }
        }
    }

    /// Writes answers, piece by piece, until there is nothing more to write or `is_enough` says so; that is asked after
    /// each piece. Those of which least is left come first. Not all at once: of many who read at the same time each
    /// would take the processor from this one.
    pub fn write_answers(&mut self, now: Instant, mut is_enough: impl FnMut() -> bool) {
        while let Some(slot) = self.next_to_write() {
            self.with(slot, |client| client.write_piece(now));
            if is_enough() {
                return;
            }
        }
    }

    fn next_to_write(&self) -> Option<usize> {
        let clients = self.clients.iter().enumerate();
        let left = clients.filter_map(|(slot, client)| Some((client.as_ref()?.can_write()?, slot)));
        left.min().map(|(_, slot)| slot)
    }

    /// Whether a client is still there.
    pub fn holds(&self, client: u64) -> bool {
        self.clients.iter().flatten().any(|c| c.id == client)
    }

    /// When there is something to do: `now` while there is a request, or answers can be written.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let mut first = self.retry_at;
        for client in self.clients.iter().flatten() {
            if client.can_write().is_some() || client.turn().is_some() {
                return Some(now);
            }
            first = first.into_iter().chain(client.deadline()).min();
        }
        first
    }

    /// Drops clients that have been silent for too long, and tries again to take those that could not be taken.
    pub fn act(&mut self, registry: &Registry, now: Instant) {
        for slot in 0..MAX_CLIENTS {
            let deadline = self.clients[slot].as_ref().and_then(Connection::deadline);
            if deadline.is_some_and(|at| now >= at) {
                let turn = self.number();
                self.with(slot, |client| client.is_silent(turn, now));
            }
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.accept(registry, now);
        }
    }

    /// Gives clients this long to take what is left of their answers, before the daemon ends.
    pub fn finish_answers(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        for client in self.clients.iter_mut().flatten() {
            client.finish_answer(until);
        }
    }
}

/// After what time a connection that could not be taken is worth another try without being told of it. That no
/// descriptor is free, say, ends without a word.
fn retry_after(error: &io::Error) -> Option<Duration> {
    match error.kind() {
        // Of the next one that comes the registry tells.
        ErrorKind::WouldBlock => None,
        // The next connection may be there already.
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted => None,
        _ => Some(RETRY),
    }
}
