//! The control socket: takes one line from each client and gives a text back. It never blocks and its memory is
//! bounded, so that no client can delay a job. It does not know what the lines mean.

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
use nix::poll::{PollFd, PollTimeout, poll};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

pub use binding::{BindError, fit, try_connect};
use connection::{Connection, Then};
use listening::Listening;
pub use permission::who_may_connect;

/// The most clients at a time.
pub const MAX_CLIENTS: usize = 16;
/// The longest line a client may send, its line feed included.
pub const MAX_LINE: usize = 4096;
/// How long a client may take to send its line, and how long it may take nothing of its answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long after an error of accept(2) it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// How long after that a connection is tried again that waits for a free slot.
const SLOT_RETRY: Duration = Duration::from_millis(10);

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
    listening: Option<Listening>,
    clients: [Option<Connection>; MAX_CLIENTS],
    /// The number of the next client or line.
    next_number: u64,
    first: Token,
    retry_at: Option<Instant>,
}

impl Server {
    /// How many tokens a server uses: one for the socket, and one for each client.
    pub const TOKENS: usize = 1 + MAX_CLIENTS;

    /// A server without a socket, which uses the tokens from `first` on.
    pub fn new(first: Token) -> Server {
        Server {
            listening: None,
            clients: [const { None }; MAX_CLIENTS],
            next_number: 0,
            first,
            retry_at: None,
        }
    }

    /// Listens at `path`, mode 0660 from its first moment on, and registers the socket. A dead daemon's socket is
    /// replaced. The clients of an old socket stay; that socket is removed once the new one is there.
    pub fn listen(&mut self, path: &Path, registry: &Registry) -> Result<(), BindError> {
        if let Some(listening) = &mut self.listening {
            if listening.goes_by(path) {
                return Ok(());
            }
        }
        self.listening = Some(Listening::at(path, registry, self.listener())?);
        Ok(())
    }

    /// Accepts no more clients and removes the socket. Connected clients still get their answers.
    pub fn close(&mut self) {
        self.listening = None;
    }

    /// The path that it listens at.
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

    /// Accepts new clients. If all slots are taken, a new client replaces the one that has been silent longest. A
    /// client whose request is here keeps its slot until it is answered.
    pub fn accept(&mut self, registry: &Registry, now: Instant) {
        self.retry_at = None;
        // Bounded, so that a client that connects in an endless loop cannot keep the daemon here.
        for _ in 0..MAX_CLIENTS {
            let Some(slot) = self.free_slot() else {
                self.retry_at = Some(now + SLOT_RETRY);
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
        // Most clients have sent their line by now. Reading it at once saves a turn, which may be long.
        self.client_event(slot, now);
    }

    /// An empty slot, or the slot of the client that has been silent longest.
    fn free_slot(&self) -> Option<usize> {
        if let Some(free) = self.clients.iter().position(Option::is_none) {
            return Some(free);
        }
        let clients = self.clients.iter().enumerate();
        let silent =
            clients.filter_map(|(slot, client)| Some((client.as_ref()?.deadline()?, slot)));
        silent.min().map(|(_, slot)| slot)
    }

    /// Handles an event of the client in `slot`. `next_request` returns its request once that is complete.
    pub fn client_event(&mut self, slot: usize, now: Instant) {
        let turn = self.number();
        self.with(slot, |client| client.event(turn, now));
    }

    fn with(&mut self, slot: usize, act: impl FnOnce(&mut Connection) -> Then) {
        if let Some(entry) = self.clients.get_mut(slot) {
            if entry.as_mut().map(act) == Some(Then::Goes) {
                *entry = None;
            }
        }
    }

    /// Takes the request that has waited longest. A client that has closed both directions has given up, so its request
    /// is dropped, however late this is called.
    pub fn next_request(&mut self) -> Option<Asked> {
        loop {
            let clients = self.clients.iter_mut();
            let (_, entry) = clients
                .filter_map(|entry| Some((entry.as_ref()?.turn()?, entry)))
                .min_by_key(|(turn, _)| *turn)?;
            let client = entry.as_mut()?;
            if client.has_hung_up() {
                *entry = None;
                continue;
            }
            return Some(Asked {
                client: client.id,
                peer: client.peer,
                line: client.take_line()?,
            });
        }
    }

    /// Answers a client with exit status and text, unless it has gone.
    pub fn answer(&mut self, client: u64, status: u8, text: Vec<u8>, now: Instant) {
        self.answer_all(&[client], status, text, now);
    }

    /// Answers each of these clients that is still there with the same text.
    pub fn answer_all(&mut self, clients: &[u64], status: u8, text: Vec<u8>, now: Instant) {
        let text = Rc::new(text);
        for client in self.clients.iter_mut().flatten() {
            if clients.contains(&client.id) {
                client.answer(status, Rc::clone(&text), now);
            }
        }
    }

    /// Writes answers piece by piece until nothing more can be written or `is_enough`, which is asked after each piece,
    /// says so. The answers with the least left come first. They are not written all at once, because many clients that
    /// read at the same time would take the processor from this process.
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

    /// Whether a client is still connected.
    pub fn holds(&self, client: u64) -> bool {
        self.clients.iter().flatten().any(|c| c.id == client)
    }

    /// When there is something to do: `now` if there is a request or an answer can be written.
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

    /// Drops clients that have been silent for too long, and tries again to accept those that could not be accepted.
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

    /// Gives clients this long to take what is left of their answers, before the daemon ends, and lets them go.
    pub fn finish_answers(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        loop {
            self.write_answers(Instant::now(), || Instant::now() >= until);
            let clients = self.clients.iter().flatten();
            let mut waiting: Vec<PollFd<'_>> = clients.filter_map(Connection::room).collect();
            let left = until.saturating_duration_since(Instant::now());
            if waiting.is_empty() || left.is_zero() {
                break;
            }
            // Rounded up, so that the last part of a millisecond is slept away, too.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1));
            if poll(&mut waiting, timeout.unwrap_or(PollTimeout::MAX)).is_err() {
                break;
            }
            self.clients
                .iter_mut()
                .flatten()
                .for_each(Connection::may_write);
        }
        for place in &mut self.clients {
            if place.as_ref().is_some_and(|client| client.room().is_some()) {
                *place = None;
            }
        }
    }
}

/// How long after an error of accept(2) another try is worthwhile without an event: for example, no event reports that
/// a descriptor has become free.
fn retry_after(error: &io::Error) -> Option<Duration> {
    match error.kind() {
        // An event reports the next connection.
        ErrorKind::WouldBlock => None,
        // The next connection may be waiting already.
        ErrorKind::Interrupted | ErrorKind::ConnectionAborted => None,
        _ => Some(RETRY),
    }
}
