//! A socket that listens, and its file: removed at the end, unless it is another's by then.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::binding::{self, BindError, Identity, Spot};

/// A socket that listens, and its file.
#[derive(Debug)]
pub(super) struct Listening {
    listener: UnixListener,
    path: PathBuf,
    identity: Identity,
}

impl Listening {
    /// Listens at `path`, mode 0660 from its first moment on. A socket whose daemon is dead is replaced.
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

    /// Has the registry tell again of connections that are waiting already: it tells of each but once.
    pub(super) fn tell_again(&self, registry: &Registry, token: Token) {
        let fd = self.listener.as_raw_fd();
        let _ = registry.reregister(&mut SourceFd(&fd), token, Interest::READABLE);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file at `path` is this socket's. From then on it goes by that path.
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
