//! The file of a listening socket. It is removed at the end, unless it is another socket's by then.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::binding::{self, BindError, Spot};
use crate::system::stat::Identity;

/// The file of a listening socket.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

impl SocketFile {
    /// Listens at `path`, mode 0660 from its first moment on. A dead daemon's socket is replaced.
    pub(super) fn bind(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
        let (listener, identity) = binding::bind(path)?;
        let path = path.to_path_buf();
        Ok((listener, SocketFile { path, identity }))
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

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Ok(spot) = Spot::of(&self.path) {
            spot.remove_own(self.identity);
        }
    }
}
