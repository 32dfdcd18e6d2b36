//! The commands that ask a running daemon: finds its socket, makes sure that the right daemon listens there, sends the
//! command and returns the answer. It blocks, because it is a program of its own, and it does not know what the daemon
//! does with the line.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf, absolute};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cli::{self, Options, Request};
use crate::config::{self, ControlSocket};
use crate::exit;
use crate::system::control::{self, MAX_LINE, who_may_connect};
use crate::system::errors::{errno_of, error_text, system_text};
use crate::system::files::{self, Files};
use crate::text::harmless;
use crate::wire::{Asker, ConfigFile, Line};

/// How long `healthcheck` may take in all: less than the 2 s after which its callers give up.
const HEALTHCHECK_TIME: Duration = Duration::from_millis(1800);
/// How long other commands wait for a daemon that takes the connection but does not answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// How long `reload` waits: with a million jobs a reload takes a while.
const RELOAD_TIME: Duration = Duration::from_secs(60);
/// How long a command asks again after another client has taken its place.
const DISPLACED_TIME: Duration = Duration::from_secs(1);
/// How long to wait before connecting again to a daemon that was too busy.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// The daemon's answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The exit status for the command.
    pub status: u8,
    /// The text, with its last line feed.
    pub text: Vec<u8>,
    /// A line about the text: how the run ended whose output the text is.
    pub about: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The named configuration cannot be opened.
    Configuration(String),
    /// No daemon is there, or none that understands.
    NoDaemon(String),
    /// This user may not ask.
    NotPermitted(String),
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, why) = match self {
            Unanswered::Configuration(why) => ("cannot open configuration", why),
            Unanswered::NoDaemon(why) => ("no daemon answers:", why),
            Unanswered::NotPermitted(why) => ("not permitted to ask the daemon:", why),
        };
        write!(f, "{what} {}", harmless(why))
    }
}

impl Unanswered {
    /// The exit status of the command.
    pub fn status(&self, request: &Request) -> u8 {
        match self {
            Unanswered::Configuration(_) => exit::CONFIG,
            // For a health check, a daemon that does not answer is unhealthy.
            Unanswered::NoDaemon(_) if !matches!(request, Request::Healthcheck { .. }) => {
                exit::NO_DAEMON
            }
            Unanswered::NoDaemon(_) | Unanswered::NotPermitted(_) => exit::FAILURE,
        }
    }
}

/// Asks the daemon.
pub fn ask(options: &Options, request: &Request) -> Result<Answer, Unanswered> {
    let (limit, first_limit) = match request {
        Request::Run { wait: true, .. } => (None, ANSWER_TIME),
        Request::Reload => (Some(RELOAD_TIME), ANSWER_TIME),
        Request::Healthcheck { .. } => (Some(HEALTHCHECK_TIME), HEALTHCHECK_TIME),
        _ => (Some(ANSWER_TIME), ANSWER_TIME),
    };
    let found = Found::by(options)?;
    let begun = Instant::now();
    let until = limit.map(|limit| begun + limit);
    let mut line = Line {
        asker: Asker::Anybody,
        request: request.clone(),
    };
    let waits = matches!(request, Request::Run { wait: true, .. });
    if found.meant.is_some() || waits {
        let asker = Asker::Command(found.meant.clone());
        let first = Line {
            asker: asker.clone(),
            request: Request::Healthcheck { alive: true },
        };
        // Nothing is changed before it is known which daemon this is. A daemon too old to tell is taken for the right
        // one.
        let first = exchange(&found.socket, &first, Some(begun + first_limit))?;
        match first.status {
            exit::OK => line.asker = asker,
            exit::USAGE => {}
            _ if waits => return Ok(without_output(first)),
            _ => return Ok(first),
        }
    }
    let mut answer = exchange(&found.socket, &line, until)?;
    if answer.status == exit::USAGE && !waits {
        // The line is sound, so the daemon is one that does not know the command yet. What waits may have a run's code.
        let line = format!(
            "the daemon does not know '{request}': it is of another version than this program; restart it\n"
        );
        answer.text = line.into_bytes();
    }
    let has_outcome = waits && line.asker != Asker::Anybody;
    Ok(if has_outcome {
        with_outcome(answer)
    } else {
        answer
    })
}

/// Turns the answer into a refusal: a message, no output.
fn without_output(answer: Answer) -> Answer {
    Answer {
        about: answer.text,
        text: Vec::new(),
        ..answer
    }
}

/// Splits the answer: first the line that says how the run ended, or why there was none, then its output.
fn with_outcome(mut answer: Answer) -> Answer {
    let end = answer.text.iter().position(|&byte| byte == b'\n');
    let output = answer.text.split_off(end.map_or(0, |end| end + 1));
    answer.about = std::mem::replace(&mut answer.text, output);
    answer
}

/// The socket to ask at.
struct Found {
    socket: PathBuf,
    /// Which daemon is meant to listen there, if the command line says.
    meant: Option<ConfigFile>,
}

impl Found {
    /// The socket that the command line names, else the environment, else the configuration if it can be read, else the
    /// default.
    fn by(options: &Options) -> Result<Found, Unanswered> {
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let by_name = options.socket.clone();
        // Whoever names a socket means whatever daemon listens there.
        let meant = options.config.as_deref().filter(|_| by_name.is_none());
        let meant = meant.map(config_file).transpose()?;
        let by_name = by_name.or_else(|| set("BUILDD_SEQUENCER_SOCKET").map(PathBuf::from));
        let socket = match by_name {
            Some(socket) => socket,
            None => configured_socket(options, set)?,
        };
        Ok(Found { socket, meant })
    }
}

fn configured_socket(
    options: &Options,
    set: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, Unanswered> {
    let path = cli::config_path(options.config.clone(), &set);
    if options.config.is_none() && set("BUILDD_SEQUENCER_CONFIG").is_some() {
        config_file(&path)?;
    }
    match config::control_socket(&path, Path::new(""), &Files { streams: false }) {
        ControlSocket::At(path) => Ok(path),
        ControlSocket::Default => Ok(PathBuf::from(config::CONTROL_SOCKET)),
        ControlSocket::Off => Err(Unanswered::NoDaemon(format!(
            "configuration '{}' says 'controlsocket: none'",
            path.display()
        ))),
    }
}

/// The configuration that the command line names. If it cannot be opened, that is an error: a typing mistake must not
/// lead to the daemon of another one.
fn config_file(path: &Path) -> Result<ConfigFile, Unanswered> {
    files::can_open(path).map_err(|error| {
        Unanswered::Configuration(format!("'{}': {}", path.display(), error_text(&error)))
    })?;
    Ok(ConfigFile {
        identity: files::identity(path),
        path: absolute(path).unwrap_or_else(|_| path.to_path_buf()),
    })
}

/// The line's bytes as they are sent.
fn bytes_of(line: &Line) -> Vec<u8> {
    let mut bytes = line.to_string().into_bytes();
    if bytes.len() >= MAX_LINE {
        if let Asker::Command(Some(file)) = &line.asker {
            // The line is too long, so leave the path out: device and inode identify the file as well.
            let file = ConfigFile {
                path: PathBuf::new(),
                ..file.clone()
            };
            bytes = Line {
                asker: Asker::Command(Some(file)),
                request: line.request.clone(),
            }
            .to_string()
            .into_bytes();
        }
    }
    // No job has a name this long, so cutting it does no harm: the daemon says that there is no such job.
    bytes.truncate(MAX_LINE - 1);
    bytes.push(b'\n');
    bytes
}

/// Why a try brought no answer.
enum Failed {
    /// The daemon closed the connection before it had read the line, or before the client had all that was to be read:
    /// one more client takes the place of the one silent longest. Nothing was changed, so asking again does no harm.
    Displaced(String),
    /// Another try would fare no better.
    Finally(Unanswered),
}

fn exchange(socket: &Path, line: &Line, until: Option<Instant>) -> Result<Answer, Unanswered> {
    // Even a command that waits for a run gives up on a daemon that is too busy to accept.
    let connected_by = until.unwrap_or_else(|| Instant::now() + ANSWER_TIME);
    let mut displaced = None;
    loop {
        match try_exchange(socket, line, connected_by, until) {
            Ok(answer) => return Ok(answer),
            Err(Failed::Displaced(why)) => {
                let now = Instant::now();
                let since = *displaced.get_or_insert(now);
                if now >= connected_by.min(since + DISPLACED_TIME) {
                    return Err(no_daemon(socket, &why));
                }
                thread::sleep(CONNECT_AGAIN);
            }
            Err(Failed::Finally(why)) => return Err(why),
        }
    }
}

fn no_daemon(socket: &Path, why: &dyn fmt::Display) -> Unanswered {
    Unanswered::NoDaemon(format!("'{}': {why}", socket.display()))
}

fn try_exchange(
    socket: &Path,
    line: &Line,
    connected_by: Instant,
    until: Option<Instant>,
) -> Result<Answer, Failed> {
    let at = |why: &dyn fmt::Display| Failed::Finally(no_daemon(socket, why));
    let mut stream = connect(socket, connected_by).map_err(|errno| match errno {
        Errno::EAGAIN => at(&"it is too busy to take a connection"),
        Errno::EACCES | Errno::EPERM => {
            Failed::Finally(Unanswered::NotPermitted(who_may_connect(socket)))
        }
        errno => at(&system_text(errno)),
    })?;
    match stream.write_all(&bytes_of(line)) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            return Err(Failed::Displaced(error_text(&error)));
        }
        written => written.map_err(|error| at(&error_text(&error)))?,
    }
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
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // It was closed with the line still unread (unix(7)).
            Err(error) if error.kind() == ErrorKind::ConnectionReset && answer.is_empty() => {
                return Err(Failed::Displaced(error_text(&error)));
            }
            Err(error) => return Err(at(&error_text(&error))),
        }
    }
    // What is shown is long, ends with a line feed, and can be asked for again. A cut at the end of a line is not seen.
    if is_shown(&line.request) && answer.last() != Some(&b'\n') {
        return Err(Failed::Displaced("the answer has no end".to_string()));
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
        about: Vec::new(),
    })
}

/// Whether a request changes nothing, and its answer is the daemon's own text.
fn is_shown(request: &Request) -> bool {
    matches!(
        request,
        Request::Status { .. } | Request::History(_) | Request::Metrics
    )
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
        .map_err(|error| errno_of(&error))?;
    Ok(stream)
}
