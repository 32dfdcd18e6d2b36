//! The control socket: takes one line from each client and gives a text back. Non-blocking and bounded, so that
//! no client can delay a job; what the lines mean is not known here.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use nix::sys::stat::{Mode, umask};

/// Clients at a time.
pub const MAX_CLIENTS: usize = 16;
/// The longest line a client may send, its line feed included.
pub const MAX_LINE: usize = 4096;
/// How long a client may take to send its line, and how long it may take nothing of an answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

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

/// Why there is no socket.
#[derive(Debug)]
pub enum BindError {
    /// A daemon answers there.
    Taken,
    /// The system's words.
    System(io::Error),
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

/// The socket and its clients.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket's file.
    identity: Option<(u64, u64)>,
    clients: [Option<Client>; MAX_CLIENTS],
    next_id: u64,
    first: Token,
}

impl Server {
    /// How many tokens a server takes: one for the socket, then one for each client.
    pub const TOKENS: usize = 1 + MAX_CLIENTS;

    /// Listens at `path`, mode 0660 from its first moment on, and has `registry` report it under the tokens from
    /// `first` on. A socket whose daemon is dead is replaced.
    pub fn bind(path: &Path, registry: &Registry, first: Token) -> Result<Server, BindError> {
        if answers(path) {
            return Err(BindError::Taken);
        }
        let listener = listen(path).map_err(BindError::System)?;
        listener.set_nonblocking(true).map_err(BindError::System)?;
        let identity = fs::symlink_metadata(path).ok().map(|m| (m.dev(), m.ino()));
        let server = Server {
            listener,
            path: path.to_path_buf(),
            identity,
            clients: [const { None }; MAX_CLIENTS],
            next_id: 0,
            first,
        };
        let fd = server.listener.as_raw_fd();
        registry
            .register(&mut SourceFd(&fd), first, Interest::READABLE)
            .map_err(BindError::System)?;
        Ok(server)
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has clients reported under other tokens, so that a server that takes this one's place can have its own.
    fn token(&self, slot: usize) -> Token {
        Token(self.first.0 + 1 + slot)
    }

    /// Takes new clients. One more than there is room for takes the place of the one silent longest; one that
    /// waits for a run keeps its place.
    pub fn accept(&mut self, registry: &Registry, now: Instant) {
        // Bounded: whoever connects in an endless loop must not keep the daemon here.
        for _ in 0..MAX_CLIENTS {
            match self.listener.accept() {
                Ok((stream, _)) => self.admit(stream, registry, now),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
        // Edge-triggered: more may wait without another event, so the event is asked for anew.
        let fd = self.listener.as_raw_fd();
        let _ = registry.reregister(&mut SourceFd(&fd), self.first, Interest::READABLE);
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
        let heard = |client: &Option<Client>| {
            client
                .as_ref()
                .filter(|c| !matches!(c.stage, Stage::Held))
                .map(|c| c.heard)
        };
        let silent = self
            .clients
            .iter()
            .enumerate()
            .filter_map(|(slot, client)| Some((heard(client)?, slot)));
        let (_, slot) = silent.min()?;
        self.clients[slot] = None;
        Some(slot)
    }

    /// Deals with an event of the client in `slot` and returns its request once that is complete. `gone`: the
    /// connection is closed in both directions.
    pub fn client_event(&mut self, slot: usize, gone: bool, now: Instant) -> Option<Asked> {
        let client = self.clients.get_mut(slot)?.as_mut()?;
        match &client.stage {
            Stage::Reading(_) => match client.read_line(now) {
                Ok(None) => None,
                Ok(Some(line)) => {
                    client.stage = Stage::Held;
                    Some(Asked {
                        client: client.id,
                        peer: client.peer,
                        line,
                    })
                }
                Err(()) => {
                    self.clients[slot] = None;
                    None
                }
            },
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
        if let Some(client) = &mut self.clients[slot] {
            client.stage = Stage::Answering {
                text: answer,
                written: 0,
            };
            client.heard = now;
        }
        self.write(slot, now);
    }

    /// Whether a client is still there.
    pub fn holds(&self, client: u64) -> bool {
        self.clients.iter().flatten().any(|c| c.id == client)
    }

    fn write(&mut self, slot: usize, now: Instant) {
        if self.clients[slot]
            .as_mut()
            .is_some_and(|client| client.write_answer(now))
        {
            self.clients[slot] = None;
        }
    }

    /// When `expire` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let waited_for = self
            .clients
            .iter()
            .flatten()
            .filter(|c| !matches!(c.stage, Stage::Held));
        waited_for.map(|c| c.heard + PATIENCE).min()
    }

    /// Drops clients that have been silent for too long.
    pub fn expire(&mut self, now: Instant) {
        for place in &mut self.clients {
            if place
                .as_ref()
                .is_some_and(|c| !matches!(c.stage, Stage::Held) && now >= c.heard + PATIENCE)
            {
                *place = None;
            }
        }
    }
}

impl Drop for Server {
    /// Removes the socket's file, if it is still this server's.
    fn drop(&mut self) {
        let named = fs::symlink_metadata(&self.path)
            .ok()
            .map(|m| (m.dev(), m.ino()));
        if named.is_some() && named == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Client {
    /// `Ok(None)`: the line is not complete yet. `Err`: there will be none.
    fn read_line(&mut self, now: Instant) -> Result<Option<String>, ()> {
        let Stage::Reading(line) = &mut self.stage else {
            return Ok(None);
        };
        let mut buffer = [0; 512];
        loop {
            match self.stream.read(&mut buffer) {
                // A client that closes its side has said all it wants to, line feed or not.
                Ok(0) if line.is_empty() => return Err(()),
                Ok(0) => break,
                Ok(n) => {
                    // The time to send the line runs from the connection on: no renewal for each byte.
                    line.extend_from_slice(&buffer[..n]);
                    if line.contains(&b'\n') {
                        break;
                    }
                    if line.len() >= MAX_LINE {
                        return Err(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Err(()),
            }
        }
        self.heard = now;
        let end = line
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(line.len());
        if end >= MAX_LINE {
            return Err(());
        }
        Ok(Some(
            String::from_utf8_lossy(&line[..end])
                .trim_end_matches('\r')
                .to_string(),
        ))
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

/// Whether a living daemon has the socket. One too busy to take the connection is alive.
fn answers(path: &Path) -> bool {
    matches!(
        try_connect(path),
        Ok(_) | Err(Errno::EAGAIN | Errno::EACCES | Errno::EPERM)
    )
}

/// Connects without waiting.
pub fn try_connect(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    // bind(2) gives the socket its mode by the mask alone; a chmod after it would come too late.
    let mask = umask(Mode::from_bits_truncate(0o117));
    let bound = UnixListener::bind(path);
    let bound = match bound {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_socket(path) => {
            fs::remove_file(path).and_then(|()| UnixListener::bind(path))
        }
        other => other,
    };
    umask(mask);
    bound
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket())
}
