//! The clients of a listening socket, Unix or TCP: takes one request from each and gives one answer back. It never
//! blocks and its memory is bounded, so that no client can delay a job. It does not know what a request means; where it
//! ends is the protocol's to say.

mod connection;
mod listener;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::poll::{PollFd, PollTimeout, poll};

use connection::{Connection, Then};
pub use listener::Listener;

/// The most clients at a time.
pub const MAX_CLIENTS: usize = 16;
/// How long a client may take to send its request, and how long it may take nothing of its answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// After this time in which nothing more of its answer could be written to a client another may have its place. Whoever
/// has waited as long for a place gets one even if all take their answers: a health check has 2 s.
const STALLED: Duration = Duration::from_millis(500);
/// How long after an error of accept(2) it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// How long after all slots were taken accept(2) is tried again.
const SLOT_RETRY: Duration = Duration::from_millis(10);

/// What the clients of a socket are to send.
#[derive(Debug)]
pub struct Protocol {
    /// The most bytes of a request, its end included.
    pub longest: usize,
    /// The length of the request at the beginning of these bytes, its end included, if it is complete.
    pub end: fn(&[u8]) -> Option<usize>,
    /// Whether a client that has its answer may go on sending for a while. Over TCP, unread bytes of a client that is
    /// closed could cost it the answer (RFC 9112, 9.6).
    pub lingers: bool,
}

/// One client's request.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Tells the client from all others, to answer it.
    pub client: u64,
    /// Its socket.
    pub socket: BorrowedFd<'a>,
    /// Its bytes, the end included where the client has sent one; `None` if it was too long.
    pub request: Option<Vec<u8>>,
}

/// The listening socket, if there is one, and its clients.
#[derive(Debug)]
pub struct Clients {
    protocol: &'static Protocol,
    listener: Option<Listener>,
    clients: [Option<Connection>; MAX_CLIENTS],
    /// The number of the next client or request.
    next_number: u64,
    first: Token,
    retry_at: Option<Instant>,
    /// Since when a new client waits for a slot.
    full_since: Option<Instant>,
}

impl Clients {
    /// How many tokens are used: one for each client, and one for the socket.
    pub const TOKENS: usize = MAX_CLIENTS + 1;

    /// No socket and no clients; the tokens from `first` on are used.
    pub fn new(protocol: &'static Protocol, first: Token) -> Clients {
        Clients {
            protocol,
            listener: None,
            clients: [const { None }; MAX_CLIENTS],
            next_number: 0,
            first,
            retry_at: None,
            full_since: None,
        }
    }

    /// Accepts clients of this socket from now on, instead of those of another one. Clients that are connected stay.
    pub fn listen(&mut self, listener: Listener, registry: &Registry) -> io::Result<()> {
        listener.set_nonblocking()?;
        let fd = listener.as_fd().as_raw_fd();
        registry.register(
            &mut SourceFd(&fd),
            self.token(MAX_CLIENTS),
            Interest::READABLE,
        )?;
        self.listener = Some(listener);
        Ok(())
    }

    /// Accepts no more clients. Those that are connected still get their answers.
    pub fn close(&mut self) {
        self.listener = None;
    }

    fn token(&self, slot: usize) -> Token {
        Token(self.first.0 + slot)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Accepts new clients. If all slots are taken, a new client replaces the one that has been silent longest. A
    /// client whose request is here keeps its slot until it is answered, and for a while if it takes its answer.
    pub fn accept(&mut self, registry: &Registry, now: Instant) {
        self.retry_at = None;
        // Bounded, so that a client that connects in an endless loop cannot keep the daemon here.
        for _ in 0..MAX_CLIENTS {
            let Some(slot) = self.free_slot(now) else {
                self.full_since.get_or_insert(now);
                self.retry_at = Some(now + SLOT_RETRY);
                return;
            };
            self.full_since = None;
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok(stream) => self.admit(slot, stream, registry, now),
                Err(error) => {
                    self.retry_at = retry_after(&error).map(|time| now + time);
                    if error.kind() == ErrorKind::WouldBlock || self.retry_at.is_some() {
                        return;
                    }
                }
            }
        }
        if let Some(listener) = &self.listener {
            // Connections that wait already are reported again: each is reported only once.
            let fd = listener.as_fd().as_raw_fd();
            let token = self.token(MAX_CLIENTS);
            let _ = registry.reregister(&mut SourceFd(&fd), token, Interest::READABLE);
        }
    }

    fn admit(&mut self, slot: usize, stream: listener::Stream, registry: &Registry, now: Instant) {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let fd = stream.as_raw_fd();
        let token = self.token(slot);
        if registry
            .register(&mut SourceFd(&fd), token, interest)
            .is_err()
        {
            return;
        }
        let id = self.number();
        self.clients[slot] = Some(Connection::new(id, stream, self.protocol, now));
        // Most clients have sent their request by now. Reading it at once saves a turn, which may be long.
        self.client_event(slot, now);
    }

    /// An empty slot, or the slot of the client that has been silent longest.
    fn free_slot(&self, now: Instant) -> Option<usize> {
        if let Some(free) = self.clients.iter().position(Option::is_none) {
            return Some(free);
        }
        let has_waited = self.full_since.is_some_and(|at| now >= at + STALLED);
        let stalled = if has_waited {
            now
        } else {
            now.checked_sub(STALLED)?
        };
        let clients = self.clients.iter().enumerate();
        let silent = clients
            .filter_map(|(slot, client)| Some((client.as_ref()?.silent_since(stalled)?, slot)));
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
    pub fn next_request(&mut self) -> Option<Asked<'_>> {
        loop {
            let clients = self.clients.iter().enumerate();
            let turns = clients.filter_map(|(slot, client)| Some((client.as_ref()?.turn()?, slot)));
            let (_, slot) = turns.min()?;
            if self.clients[slot].as_ref()?.has_hung_up() {
                self.clients[slot] = None;
                continue;
            }
            let client = self.clients[slot].as_mut()?;
            let request = client.take_request()?;
            return Some(Asked {
                client: client.id,
                socket: client.socket(),
                request,
            });
        }
    }

    /// Answers each of these clients that is still there with the same `head` and `text`.
    pub fn answer_all(&mut self, clients: &[u64], head: &str, text: &Rc<Vec<u8>>, now: Instant) {
        for client in self.clients.iter_mut().flatten() {
            if clients.contains(&client.id) {
                client.answer(head, Rc::clone(text), now);
            }
        }
    }

    /// Writes answers piece by piece until nothing more can be written or `is_enough`, which is asked after each piece,
    /// says so. The answers with the least left come first. They are not written all at once, because many clients that
    /// read at the same time would take the processor from this process.
    pub fn write_answers(&mut self, now: Instant, is_enough: &dyn Fn() -> bool) {
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

    /// How many clients wait for an answer to a request that was handed on.
    pub fn held(&self) -> usize {
        let clients = self.clients.iter().flatten();
        clients.filter(|client| client.is_held()).count()
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
                self.with(slot, |client| client.time_is_up(turn, now));
            }
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.accept(registry, now);
        }
    }

    /// Gives clients until then to take what is left of their answers, before the daemon ends, and lets them go.
    pub fn finish_answers(&mut self, until: Instant) {
        loop {
            self.write_answers(Instant::now(), &|| Instant::now() >= until);
            let clients = self.clients.iter().flatten();
            let mut waiting: Vec<PollFd<'_>> = clients.filter_map(Connection::room).collect();
            let left = until.saturating_duration_since(Instant::now());
            if waiting.is_empty() || left.is_zero() {
                break;
            }
            // Rounded up, so that the last part of a millisecond is slept away, too.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1));
            match poll(&mut waiting, timeout.unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => break,
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
