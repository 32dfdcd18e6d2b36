//! The socket's file: made with the right mode, told from a dead one, removed at the end.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, umask};

use crate::system::errors::error_text;

/// What bind(2) leaves of the mode: 0660.
const MASK: u32 = 0o117;

/// Why there is no socket.
#[derive(Debug)]
pub enum BindError {
    /// A daemon answers there.
    Taken,
    /// Something else has the name.
    InTheWay,
    /// The system's words.
    System(io::Error),
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BindError::Taken => f.write_str("another daemon answers there"),
            BindError::InTheWay => f.write_str("something that is not a socket is there"),
            BindError::System(error) => f.write_str(&error_text(error)),
        }
    }
}

/// A socket that listens, and its file.
#[derive(Debug)]
pub(super) struct Listening {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket's file.
    identity: Option<(u64, u64)>,
}

impl Listening {
    /// Listens at `path`, mode 0660 from its first moment on. A socket whose daemon is dead is replaced.
    pub(super) fn at(path: &Path, registry: &Registry, token: Token) -> Result<Self, BindError> {
        let listener = bind(path)?;
        listener.set_nonblocking(true).map_err(BindError::System)?;
        let listening = Listening {
            listener,
            path: path.to_path_buf(),
            identity: identity(path),
        };
        let fd = listening.listener.as_raw_fd();
        registry
            .register(&mut SourceFd(&fd), token, Interest::READABLE)
            .map_err(BindError::System)?;
        Ok(listening)
    }

    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// Has the registry tell again of connections that are waiting already: it tells of each but once.
    pub(super) fn tell_again(&self, registry: &Registry, token: Token) {
        let fd = self.listener.as_raw_fd();
        let _ = registry.reregister(&mut SourceFd(&fd), token, Interest::READABLE);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file at the path is this socket's.
    pub(super) fn is_in_place(&self) -> bool {
        self.identity.is_some() && identity(&self.path) == self.identity
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

fn bind(path: &Path) -> Result<UnixListener, BindError> {
    match bind_new(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {}
        other => return other.map_err(BindError::System),
    }
    if !fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket()) {
        return Err(BindError::InTheWay);
    }
    match try_connect(path) {
        // One too busy to take the connection is alive.
        Ok(_) | Err(Errno::EAGAIN) => return Err(BindError::Taken),
        // It may be alive: who it is cannot be told.
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
            return Err(BindError::System(errno.into()));
        }
        Err(_) => {}
    }
    fs::remove_file(path)
        .and_then(|()| bind_new(path))
        .map_err(BindError::System)
}

fn bind_new(path: &Path) -> io::Result<UnixListener> {
    // bind(2) gives the socket its mode by the mask alone; a chmod after it would come too late.
    let mask = umask(Mode::from_bits_truncate(MASK));
    let bound = UnixListener::bind(path);
    umask(mask);
    bound
}

/// Connects without waiting.
pub fn try_connect(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}
