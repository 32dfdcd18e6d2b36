//! A listening socket and its file. The file is removed at the end, unless it is another socket's by then.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::binding::{self, BindError, Identity, Spot};

/// A listening socket and its file.
#[derive(Debug)]
pub(super) struct Listening {
    listener: UnixListener,
    path: PathBuf,
    identity: Identity,
}

impl Listening {
    /// Listens at `path`, mode 0660 from its first moment on. A dead daemon's socket is replaced.
    pub(super) fn at(path: &Path, registry: &Registry, token: Token) -> Result<Self, BindError> {
        let (listener, identity) = binding::bind(path)?;
        let listening = Listening {
            listener,
            path: path.to_path_buf(),
            identity,
        };
        let listener = &listening.listener;
        listener.set_nonblocking(true).map_err(BindError::System)?;
        registry
            .register(
                &mut SourceFd(&listener.as_raw_fd()),
                token,
                Interest::READABLE,
            )
            .map_err(BindError::System)?;
        Ok(listening)
    }

    pub(super) fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().map(|(stream, _)| stream)
    }

    /// Registers the socket again, so that connections that wait already are reported again: each is reported only
    /// once.
    pub(super) fn tell_again(&self, registry: &Registry, token: Token) {
        let fd = self.listener.as_raw_fd();
        let _ = registry.reregister(&mut SourceFd(&fd), token, Interest::READABLE);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file at `path` is this socket's. If so, it is known by that path from then on.
    pub(super) fn goes_by(&mut self, path: &Path) -> bool {
        let is_own = Spot::of(path).is_ok_and(|spot| spot.identity() == Some(self.identity));
        if is_own {
            self.path = path.to_path_buf();
        }
        is_own
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        if let Ok(spot) = Spot::of(&self.path) {
            spot.remove_own(self.identity);
        }
    }
}
