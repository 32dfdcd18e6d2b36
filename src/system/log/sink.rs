//! The kinds of files that take the log's bytes, and how to write to each without blocking. Standard output is shared
//! with other processes, so O_NONBLOCK is never set on it.

use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

use super::file::LogFile;

/// How many bytes a pipe takes in one write without blocking once it polls writable (pipe(7), PIPE_BUF).
const PIPE_BUF: usize = 4096;
/// Where the kernel lists this process's open files (proc(5)).
const OWN_DESCRIPTORS: &str = "/proc/self/fd";
/// The most links that are followed to see whether they lead to standard output.
const MOST_LINKS: usize = 8;

/// What the log's lines are written to.
#[derive(Debug)]
pub(super) enum Sink {
    /// A file opened by name, which can be rotated.
    File(LogFile),
    /// Standard output through a file description of our own that does not block.
    Own(File),
    /// Standard output as it was inherited: a regular file, which never blocks.
    Inherited,
    /// Standard output as it was inherited, which could block. It is written only as far as poll(2) allows.
    Polled,
    /// Standard output is a socket. Each call can ask it not to block.
    Socket,
}

impl Sink {
    /// The sink for a standard output of this kind.
    pub(super) fn stdout(kind: Option<FileType>) -> Sink {
        match kind {
            Some(kind) if kind.is_file() => Sink::Inherited,
            Some(kind) if kind.is_socket() => Sink::Socket,
            Some(_) => reopen_stdout().map_or(Sink::Polled, Sink::Own),
            None => Sink::Inherited,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::File(file) => file.write(bytes),
            Sink::Own(file) => file.write(bytes),
            Sink::Inherited => Ok(nix::unistd::write(io::stdout(), bytes)?),
            Sink::Polled => {
                let stdout = io::stdout();
                let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut ready, PollTimeout::ZERO)? == 0 {
                    return Err(Errno::EAGAIN.into());
                }
                Ok(nix::unistd::write(
                    &stdout,
                    &bytes[..bytes.len().min(PIPE_BUF)],
                )?)
            }
            Sink::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                Ok(send(io::stdout().as_raw_fd(), bytes, flags)?)
            }
        }
    }

    /// The descriptor to watch for room, if it can report that.
    pub(super) fn watchable(&self) -> Option<RawFd> {
        match self {
            Sink::File(file) => file.watchable(),
            Sink::Own(file) => Some(file.as_raw_fd()),
            Sink::Inherited => None,
            Sink::Polled | Sink::Socket => Some(io::stdout().as_raw_fd()),
        }
    }
}

/// Whether this is a name of our own standard output, itself or through links.
pub fn is_stdout(path: &Path) -> bool {
    let own = fs::canonicalize(OWN_DESCRIPTORS);
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Some(directory) = path.parent() else {
            return false;
        };
        let is_own =
            matches!((fs::canonicalize(directory), &own), (Ok(here), Ok(own)) if here == *own);
        if is_own && path.file_name() == Some("1".as_ref()) {
            return true;
        }
        match fs::read_link(&path) {
            Ok(target) => path = directory.join(target),
            Err(_) => return false,
        }
    }
    false
}

fn reopen_stdout() -> Option<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open("/proc/self/fd/1")
        .ok()
}
