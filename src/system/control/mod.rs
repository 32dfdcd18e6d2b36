//! The control socket: takes one line from each client and gives a text back. Non-blocking and bounded, so that
//! no client can delay a job; what the lines mean is not known here.

mod listening;

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use listening::Listening;
pub use listening::{BindError, try_connect};

/// Clients at a time.
pub const MAX_CLIENTS: usize = 16;
/// The longest line a client may send, its line feed included.
pub const MAX_LINE: usize = 4096;
/// How long a client may take to send its line, and how long it may take nothing of an answer.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// When connections that the system would not let us take are tried again.
const RETRY: Duration = Duration::from_millis(200);
/// The answer to a line that does not end.
const TOO_LONG: &[u8] = b"2\nthe request is longer than 4096 bytes\n";

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

#[derive(Debug)]
enum Stage {
    /// The line is not complete.
    Reading(Vec<u8>),
    /// It has been handed on; the answer is awaited for as long as it takes.
    Held,
    /// The answer is on its way.
    Answering { text: Vec<u8>, written: usize },
}

#[derive(Debug)]
struct Client {
    id: u64,
    stream: UnixStream,
    peer: Peer,
    stage: Stage,
    /// When it last sent or took something.
    heard: Instant,
}

/// The socket, if there is one, and its clients.
#[derive(Debug)]
pub struct Server {
    listening: Option<Listening>,
    clients: [Option<Client>; MAX_CLIENTS],
    next_id: u64,
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
            next_id: 0,
            first,
            retry_at: None,
        }
    }

    /// Listens at `path`, mode 0660 from its first moment on, and has `registry` tell of it. A socket whose daemon
    /// is dead is replaced. Clients of a socket elsewhere stay; that one is removed once this one is there.
    pub fn listen(&mut self, path: &Path, registry: &Registry) -> Result<(), BindError> {
        let in_place = |listening: &Listening| listening.path() == path && listening.is_in_place();
        if self.listening.as_ref().is_some_and(in_place) {
            return Ok(());
        }
        self.listening = Some(Listening::at(path, registry, self.first)?);
        Ok(())
    }

    /// Takes no more clients and removes the socket; those that are there get their answers.
    pub fn close(&mut self) {
        self.listening = None;
    }

    /// Gives clients this long to take what is left of their answers, before the daemon ends.
    pub fn finish_answers(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        for client in self.clients.iter_mut().flatten() {
            client.finish_answer(until);
        }
    }

    /// Where it listens.
    pub fn path(&self) -> Option<&Path> {
        self.listening.as_ref().map(Listening::path)
    }

    fn token(&self, slot: usize) -> Token {
        Token(self.first.0 + 1 + slot)
    }

    /// Takes new clients. One more than there is room for takes the place of the one silent longest; one that
    /// waits for a run keeps its place.
    pub fn accept(&mut self, registry: &Registry, now: Instant) {
        self.retry_at = None;
        // Bounded: whoever connects in an endless loop must not keep the daemon here.
        for _ in 0..MAX_CLIENTS {
            let Some(listening) = &self.listening else {
                return;
            };
            match listening.accept() {
                Ok(stream) => self.admit(stream, registry, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(_) => {
                    // No descriptor is free, say. Nothing will tell when that has changed.
                    self.retry_at = Some(now + RETRY);
                    return;
                }
            }
        }
        if let Some(listening) = &self.listening {
            listening.tell_again(registry, self.first);
        }
    }

    fn admit(&mut self, stream: UnixStream, registry: &Registry, now: Instant) {
        let Some(slot) = self.free_slot() else { return };
        let Ok(credentials) = getsockopt(&stream, PeerCredentials) else {
            return;
        };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        if registry
            .register(
                &mut SourceFd(&stream.as_raw_fd()),
                self.token(slot),
                interest,
            )
            .is_err()
        {
            return;
        }
        self.next_id += 1;
        let peer = Peer {
            uid: credentials.uid(),
            pid: credentials.pid(),
        };
        let stage = Stage::Reading(Vec::new());
        self.clients[slot] = Some(Client {
            id: self.next_id,
            stream,
            peer,
            stage,
            heard: now,
        });
    }

    fn free_slot(&mut self) -> Option<usize> {
        if let Some(free) = self.clients.iter().position(Option::is_none) {
            return Some(free);
        }
        let clients = self.clients.iter().enumerate();
        let silent =
            clients.filter_map(|(slot, client)| Some((client.as_ref()?.deadline()?, slot)));
        let (_, slot) = silent.min()?;
        self.clients[slot] = None;
        Some(slot)
    }

    /// Deals with an event of the client in `slot` and returns its request once that is complete. `gone`: the
    /// connection is closed in both directions, so that nobody is left to be answered.
    pub fn client_event(&mut self, slot: usize, gone: bool, now: Instant) -> Option<Asked> {
        let client = self.clients.get_mut(slot)?.as_mut()?;
        match &client.stage {
            Stage::Reading(_) => {
                let read = client.read_line(now);
                let asked = match read {
                    Line::NotYet => return None,
                    Line::TooLong => {
                        self.answer_with(slot, TOO_LONG.to_vec(), now);
                        return None;
                    }
                    Line::None => None,
                    Line::Complete(line) => Some(Asked {
                        client: client.id,
                        peer: client.peer,
                        line,
                    }),
                };
                client.stage = Stage::Held;
                if gone || asked.is_none() {
                    self.clients[slot] = None;
                }
                asked
            }
            Stage::Held => {
                if gone {
                    self.clients[slot] = None;
                }
                None
            }
            Stage::Answering { .. } => {
                self.write(slot, now);
                None
            }
        }
    }

    /// Gives a client its answer, unless it has gone.
    pub fn answer(&mut self, client: u64, status: u8, text: &[u8], now: Instant) {
        let place = self
            .clients
            .iter()
            .position(|c| c.as_ref().is_some_and(|c| c.id == client));
        let Some(slot) = place else { return };
        let mut answer = format!("{status}\n").into_bytes();
        answer.extend_from_slice(text);
        self.answer_with(slot, answer, now);
    }

    fn answer_with(&mut self, slot: usize, text: Vec<u8>, now: Instant) {
        if let Some(client) = &mut self.clients[slot] {
            client.stage = Stage::Answering { text, written: 0 };
            client.heard = now;
        }
        self.write(slot, now);
    }

    /// Whether a client is still there.
    pub fn holds(&self, client: u64) -> bool {
        self.clients.iter().flatten().any(|c| c.id == client)
    }

    /// How many clients wait for a run to end.
    pub fn held(&self) -> usize {
        let stages = self.clients.iter().flatten().map(|c| &c.stage);
        stages.filter(|stage| matches!(stage, Stage::Held)).count()
    }

    fn write(&mut self, slot: usize, now: Instant) {
        if self.clients[slot]
            .as_mut()
            .is_some_and(|client| client.write_answer(now))
        {
            self.clients[slot] = None;
        }
    }

    /// When `act` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let clients = self.clients.iter().flatten();
        let patience = clients.filter_map(Client::deadline).min();
        patience.into_iter().chain(self.retry_at).min()
    }

    /// Drops clients that have been silent for too long, and tries again to take those that could not be taken.
    pub fn act(&mut self, registry: &Registry, now: Instant) {
        for place in &mut self.clients {
            let deadline = place.as_ref().and_then(Client::deadline);
            if deadline.is_some_and(|at| now >= at) {
                *place = None;
            }
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.accept(registry, now);
        }
    }
}

/// What a client has said so far.
enum Line {
    /// Not all of it.
    NotYet,
    /// Nothing, and nothing will come.
    None,
    /// More than `MAX_LINE`.
    TooLong,
    /// Its request, without the end of the line.
    Complete(String),
}

impl Client {
    /// When it has been silent for too long. The time to send the line is not renewed by each byte of it.
    fn deadline(&self) -> Option<Instant> {
        (!matches!(self.stage, Stage::Held)).then(|| self.heard + PATIENCE)
    }

    fn read_line(&mut self, now: Instant) -> Line {
        let Stage::Reading(line) = &mut self.stage else {
            return Line::NotYet;
        };
        let mut buffer = [0; 512];
        let end = loop {
            match self.stream.read(&mut buffer) {
                // A client that closes its side has said all it wants to, line feed or not.
                Ok(0) if line.is_empty() => return Line::None,
                Ok(0) => break line.len(),
                Ok(n) => {
                    line.extend_from_slice(&buffer[..n]);
                    let end = line.iter().position(|&byte| byte == b'\n');
                    if end.unwrap_or(line.len()) >= MAX_LINE {
                        return Line::TooLong;
                    }
                    if let Some(end) = end {
                        break end;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Line::NotYet,
                Err(_) => return Line::None,
            }
        };
        self.heard = now;
        let line = String::from_utf8_lossy(&line[..end]);
        Line::Complete(line.trim_end_matches('\r').to_string())
    }

    /// Writes what is left of an answer, and waits for the client to take it, but not beyond `until`.
    fn finish_answer(&mut self, until: Instant) {
        let Stage::Answering { text, written } = &mut self.stage else {
            return;
        };
        if self.stream.set_nonblocking(false).is_err() {
            return;
        }
        while *written < text.len() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_write_timeout(Some(left)).is_err() {
                return;
            }
            match self.stream.write(&text[*written..]) {
                Ok(n) if n > 0 => *written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    }

    /// Whether the client is done with, all written or gone.
    fn write_answer(&mut self, now: Instant) -> bool {
        let Stage::Answering { text, written } = &mut self.stage else {
            return false;
        };
        while *written < text.len() {
            match self.stream.write(&text[*written..]) {
                Ok(0) => return true,
                Ok(n) => {
                    *written += n;
                    self.heard = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
        true
    }
}
