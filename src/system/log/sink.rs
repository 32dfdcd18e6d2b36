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
use crate::system::paths::{MOST_LINKS, OWN_DESCRIPTORS};

/// How many bytes a pipe takes in one write without blocking once it polls writable (pipe(7), PIPE_BUF).
const PIPE_BUF: usize = 4096;
/// How many bytes of text a terminal surely takes when it polls writable: a pseudo-terminal has room in steps of 256.
const LEAST_ROOM: usize = 128;

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
    Polled {
        /// Whether it is a terminal.
        terminal: bool,
    },
    /// Standard output is a socket. Each call can ask it not to block.
    Socket,
}

impl Sink {
    /// The sink for a standard output of this kind.
    pub(super) fn stdout(kind: Option<FileType>) -> Sink {
        match kind {
            Some(kind) if kind.is_file() => Sink::Inherited,
            Some(kind) if kind.is_socket() => Sink::Socket,
            Some(kind) => reopen_stdout().map_or_else(
                || Sink::Polled {
                    terminal: kind.is_char_device(),
                },
                Sink::Own,
            ),
            None => Sink::Inherited,
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::File(file) => file.write(bytes),
            Sink::Own(file) => file.write(bytes),
            Sink::Inherited => Ok(nix::unistd::write(io::stdout(), bytes)?),
            Sink::Polled { terminal } => {
                let stdout = io::stdout();
                let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut ready, PollTimeout::ZERO)? == 0 {
                    return Err(Errno::EAGAIN.into());
                }
                let length = if *terminal {
                    length_for_terminal(bytes)
                } else {
                    bytes.len().min(PIPE_BUF)
                };
                Ok(nix::unistd::write(&stdout, &bytes[..length])?)
            }
            Sink::Socket => {
                let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
                let send = |bytes| send(io::stdout().as_raw_fd(), bytes, flags);
                let sent = match send(bytes) {
                    // It keeps messages apart and takes none of this size (unix(7)).
                    Err(Errno::EMSGSIZE) => send(&bytes[..bytes.len().min(PIPE_BUF)]),
                    sent => sent,
                };
                Ok(sent?)
            }
        }
    }

    /// Whether what was written last has been cut off by somebody.
    pub(super) fn is_cut(&mut self) -> bool {
        match self {
            Sink::File(file) => file.is_cut(),
            Sink::Own(_) | Sink::Inherited | Sink::Polled { .. } | Sink::Socket => false,
        }
    }

    /// Whether somebody may open what nobody reads any more: a pipe that has a name, where one without is over. No event
    /// tells of that (epoll(7) has none for the writer).
    pub(super) fn may_get_another_reader(&self) -> bool {
        let descriptor = match self {
            Sink::Own(file) => file.as_raw_fd(),
            Sink::Polled { .. } => io::stdout().as_raw_fd(),
            Sink::File(_) | Sink::Inherited | Sink::Socket => return false,
        };
        let name = fs::read_link(format!("{OWN_DESCRIPTORS}/{descriptor}"));
        !name.is_ok_and(|name| name.as_os_str().as_encoded_bytes().starts_with(b"pipe:"))
    }

    /// The descriptor to watch for room, if it can report that.
    pub(super) fn watchable(&self) -> Option<RawFd> {
        match self {
            Sink::File(file) => file.watchable(),
            Sink::Own(file) => Some(file.as_raw_fd()),
            Sink::Inherited => None,
            Sink::Polled { .. } | Sink::Socket => Some(io::stdout().as_raw_fd()),
        }
    }
}

/// Whether this is a name of our own standard output, itself or through links.
pub fn leads_to_stdout(path: &Path) -> bool {
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

/// How much of this a terminal takes in one piece. It waits for room anew at each control character, such as a line
/// feed, so that one is a piece of its own.
fn length_for_terminal(bytes: &[u8]) -> usize {
    let text = bytes.iter().take(LEAST_ROOM);
    let text = text.take_while(|byte| !byte.is_ascii_control()).count();
    text.max(bytes.len().min(1))
}

fn reopen_stdout() -> Option<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open("/proc/self/fd/1")
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_up_to_a_line_feed_and_that_alone() {
        assert_eq!(length_for_terminal(b"text\r\nmore"), 4);
        assert_eq!(length_for_terminal(b"\nmore"), 1);
        assert_eq!(length_for_terminal("\u{e4}\t".as_bytes()), 2);
        assert_eq!(length_for_terminal(&[b'x'; 500]), LEAST_ROOM);
        assert_eq!(length_for_terminal(b""), 0);
    }
}
