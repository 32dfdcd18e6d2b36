//! The kinds of places that take the log's bytes, and how to write to each without blocking. Standard output is shared
//! with others, so O_NONBLOCK is never set on it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};

/// What a pipe takes in one write without blocking once it polls writable (pipe(7), PIPE_BUF).
const PIPE_BUF: usize = 4096;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    /// A file opened by name, which can be rotated.
    File {
        path: PathBuf,
        file: File,
        size: u64,
        rotate_at: u64,
    },
    /// Standard output through a file description of our own that does not block.
    Own(File),
    /// Standard output as it was inherited: a regular file, which never blocks.
    Inherited,
    /// Standard output as it was inherited, which could block: written only as far as poll(2) allows.
    Polled,
    /// Standard output is a socket, which can be asked per call not to block.
    Socket,
}

impl Sink {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::File { file, size, .. } => {
                let n = file.write(bytes)?;
                *size += n as u64;
                Ok(n)
            }
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
}

pub(super) fn reopen_stdout() -> Option<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open("/proc/self/fd/1")
        .ok()
}
