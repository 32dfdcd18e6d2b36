//! The commands that ask a running daemon: finds its socket, sends one line, prints the answer. Blocking, since
//! it is a program of its own; it knows nothing of what the daemon makes of the line.

use std::env;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cli::{self, Options, Request};
use crate::config::{self, ControlSocket};
use crate::exit;
use crate::system::control::{self, MAX_LINE};
use crate::system::errors::{error_text, system_text};
use crate::system::files;

/// How long `healthcheck` may take in all: less than the 2 s after which its callers lose patience.
const HEALTHCHECK_TIME: Duration = Duration::from_millis(1800);
/// How long other commands wait for a daemon that takes the connection but does not answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// The same for a reload, which takes its time with a million jobs.
const RELOAD_TIME: Duration = Duration::from_secs(60);
/// How often a daemon too busy to take the connection is tried again.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// What the daemon said.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Exit status for the command.
    pub status: u8,
    /// Text, complete with its last line feed.
    pub text: Vec<u8>,
}

/// Asks the daemon. The error is the exit status where none answers, and why none does.
pub fn ask(options: &Options, request: &Request) -> Result<Answer, (u8, String)> {
    let is_healthcheck = matches!(request, Request::Healthcheck { .. });
    let limit = match request {
        Request::Run { wait: true, .. } => None,
        Request::Reload => Some(RELOAD_TIME),
        _ if is_healthcheck => Some(HEALTHCHECK_TIME),
        _ => Some(ANSWER_TIME),
    };
    // To a health check a daemon that does not answer is one that is not well.
    let status = if is_healthcheck {
        exit::FAILURE
    } else {
        exit::NO_DAEMON
    };
    let answer = socket_path(options).and_then(|socket| exchange(&socket, request, limit));
    answer.map_err(|why| (status, format!("no daemon answers: {why}")))
}

/// The socket that is named, else that of the configuration as far as it can be read, else the default.
fn socket_path(options: &Options) -> Result<PathBuf, String> {
    let set = env::var_os("BUILDD_SEQUENCER_SOCKET")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    if let Some(path) = options.socket.clone().or(set) {
        return Ok(path);
    }
    let path = cli::config_path(options.config.clone(), |name| env::var_os(name));
    match config::control_socket(&path, Path::new(""), &files::source) {
        ControlSocket::At(path) => Ok(path),
        ControlSocket::Default => Ok(PathBuf::from(config::CONTROL_SOCKET)),
        ControlSocket::Off => Err(format!(
            "configuration '{}' says 'controlsocket: none'",
            path.display()
        )),
    }
}

fn exchange(socket: &Path, request: &Request, limit: Option<Duration>) -> Result<Answer, String> {
    let until = limit.map(|limit| Instant::now() + limit);
    let at = |why: &dyn std::fmt::Display| format!("'{}': {why}", socket.display());
    // Also a command that waits for a run does not wait for ever for a daemon that is too busy to listen.
    let connected_by = until.unwrap_or_else(|| Instant::now() + ANSWER_TIME);
    let mut stream = connect(socket, connected_by).map_err(|errno| match errno {
        Errno::EAGAIN => at(&"it is too busy to take a connection"),
        errno => at(&system_text(errno)),
    })?;
    let mut line = request.to_string().into_bytes();
    // A name that is cut is no job's either, and the daemon says so.
    line.truncate(MAX_LINE - 1);
    line.push(b'\n');
    stream
        .write_all(&line)
        .map_err(|error| at(&error_text(&error)))?;
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(at(&"it takes the connection, but says nothing in time"));
        }
        stream
            .set_read_timeout(left)
            .map_err(|error| at(&error_text(&error)))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(at(&error_text(&error))),
        }
    }
    let end = answer
        .iter()
        .position(|&byte| byte == b'\n')
        .ok_or_else(|| at(&"the connection was closed"))?;
    let status = std::str::from_utf8(&answer[..end])
        .ok()
        .and_then(|text| text.parse().ok());
    let status = status.ok_or_else(|| at(&"it does not speak this program's language"))?;
    Ok(Answer {
        status,
        text: answer.split_off(end + 1),
    })
}

fn connect(socket: &Path, until: Instant) -> Result<UnixStream, Errno> {
    loop {
        match control::try_connect(socket) {
            Ok(fd) => return blocking(fd),
            Err(Errno::EAGAIN) if Instant::now() < until => thread::sleep(CONNECT_AGAIN),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn blocking(fd: OwnedFd) -> Result<UnixStream, Errno> {
    let stream = UnixStream::from(fd);
    stream
        .set_nonblocking(false)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    Ok(stream)
}
