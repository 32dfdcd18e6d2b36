//! The log: twistd's line format, a file or standard output, rotation, and what happens to lines that nobody takes. It
//! never blocks, never fails towards its caller, and knows nothing of what the lines mean. This file holds the lines
//! until they are written: `buffer` keeps them whole, `sink` writes to each kind of log, `file` opens and `rotation`
//! rotates a file, `journal` knows the form of lines in the journal.

mod buffer;
mod file;
mod journal;
mod place;
mod rotation;
mod sink;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::system::privileges::Identity;
use crate::text::{Utc, unix_seconds};

pub use file::OpenError;
pub use rotation::Rotation;
pub use sink::is_stdout;

use buffer::Buffer;
use file::LogFile;
use sink::Sink;

/// How many bytes may wait for a log that cannot be written. Beyond that, lines are dropped.
const MOST_WAITING: usize = 1 << 20;
/// How long after an error the log is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many bytes a turn gathers before it writes them.
const BATCH: usize = 64 * 1024;

/// How much a line matters. On a standard output that is the journal it becomes a priority (sd-daemon(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `<6>`: the ordinary course of things.
    Info,
    /// `<4>`: a failed run, or something an operator should look at.
    Warning,
    /// `<3>`: lost mail, a stuck job, a refused reload.
    Error,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    /// The path that it was opened by; `None` for standard output.
    path: Option<PathBuf>,
    rotation: Rotation,
    /// Whether standard output is the journal, which reads a priority at the start of each line.
    journal: bool,
    /// Whether decisions are logged as well.
    pub spew: bool,
    waiting: Buffer,
    /// Lines that wait behind those of `say_first`; `None` if nothing is held.
    held: Option<Buffer>,
    dropped: u64,
    dropped_in_all: u64,
    trouble: Option<Trouble>,
    stamp: (i64, String),
}

/// Why lines wait.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    since: Instant,
    retry_at: Instant,
    /// Whether the descriptor will report that it takes more.
    announced: bool,
}

impl Log {
    /// Opens the file at `path`; or standard output, if there is no path or the path names it. `user` is the one that
    /// the daemon is going to become.
    pub fn open(
        path: Option<&Path>,
        rotation: Rotation,
        user: Option<&Identity>,
    ) -> Result<Log, OpenError> {
        let mut log = match path.filter(|path| !sink::is_stdout(path)) {
            None => Log::to_stdout(),
            Some(path) => Log::new(Sink::File(LogFile::open(path, rotation, user)?), false),
        };
        log.path = path.map(Path::to_path_buf);
        log.rotation = rotation;
        Ok(log)
    }

    /// Whether the file at `path` could be opened, unless it is standard output. It makes nothing.
    pub fn look(path: &Path, user: Option<&Identity>) -> Result<(), OpenError> {
        if sink::is_stdout(path) {
            return Ok(());
        }
        file::look(path, user)
    }

    /// Opens standard output. This has to happen before privileges are dropped, because only then may `/proc/self/fd/1`
    /// be opened again. O_NONBLOCK is never set on the inherited file description, which other processes share.
    fn to_stdout() -> Log {
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        let metadata = stdout.and_then(|stdout| stdout.metadata()).ok();
        let sink = Sink::stdout(metadata.as_ref().map(fs::Metadata::file_type));
        Log::new(sink, metadata.is_some_and(|m| journal::names(&m)))
    }

    fn new(sink: Sink, journal: bool) -> Log {
        Log {
            sink,
            path: None,
            rotation: Rotation { size: 0, keep: 0 },
            journal,
            spew: false,
            waiting: Buffer::default(),
            held: None,
            dropped: 0,
            dropped_in_all: 0,
            trouble: None,
            stamp: (i64::MIN, String::new()),
        }
    }

    /// Logs a message with the present time. It is written once enough has come together, or by `flush`.
    pub fn say(&mut self, level: Level, message: &str) {
        self.say_parts(level, &[message.as_bytes()]);
    }

    /// Logs a message that comes in parts, with the present time.
    pub fn say_parts(&mut self, level: Level, parts: &[&[u8]]) {
        let wall = SystemTime::now();
        self.add_parts(wall, level, parts);
        self.write_batch(wall);
    }

    /// Logs a decision if `spew` is on. Otherwise it is not even put into words.
    pub fn spew(&mut self, decision: impl FnOnce() -> String) {
        if self.spew {
            self.say(Level::Info, &decision());
        }
    }

    /// Adds a message; its further lines begin with a tab. Nothing is written before `flush`.
    pub fn add(&mut self, now: SystemTime, level: Level, message: &[u8]) {
        self.add_parts(now, level, &[message]);
    }

    /// Adds a message that comes in parts, so that nobody has to copy a large one together.
    pub fn add_parts(&mut self, now: SystemTime, level: Level, parts: &[&[u8]]) {
        if self.end().len() >= MOST_WAITING {
            let lines = 1 + line_feeds(parts) as u64;
            self.dropped += lines;
            self.dropped_in_all += lines;
            return;
        }
        if self.dropped > 0 {
            self.add_dropped_notice(now);
        }
        self.append(now, level, parts);
    }

    /// Holds back all messages until `release`, behind those of `say_first`. Those are so many that they are put into
    /// words only as the log takes them.
    pub fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Logs a message ahead of the held ones, with the time `at`.
    pub fn say_first(&mut self, at: SystemTime, level: Level, message: &str) {
        let held = self.held.take();
        self.append(at, level, &[message.as_bytes()]);
        self.held = held;
        self.write_batch(at);
    }

    /// Puts the held messages behind those of `say_first`.
    pub fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.waiting.take(held);
        }
    }

    /// Whether more messages would be written soon: the log takes what it gets, and little is held.
    pub fn takes_more(&self) -> bool {
        self.trouble.is_none() && self.held.as_ref().is_none_or(|held| held.len() < BATCH)
    }

    /// Whether `say_first` may log more.
    pub fn takes_more_first(&self) -> bool {
        self.trouble.is_none()
    }

    /// The buffer that new messages go to.
    fn end(&mut self) -> &mut Buffer {
        self.held.as_mut().unwrap_or(&mut self.waiting)
    }

    fn append(&mut self, now: SystemTime, level: Level, parts: &[&[u8]]) {
        let second = unix_seconds(now);
        if self.stamp.0 != second {
            self.stamp = (second, Utc::from(now).log_stamp() + " [-] ");
        }
        let buffer = self.held.as_mut().unwrap_or(&mut self.waiting);
        let stamp = self.stamp.1.as_bytes();
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if size > BATCH {
            // Reserve exactly: doubling could take twice what a large message needs.
            let more = match self.journal {
                true => journal::more_bytes(parts),
                false => line_feeds(parts),
            };
            buffer.end().reserve_exact(size + more + BATCH);
        }
        if self.journal {
            journal::append(buffer.end(), level, stamp, parts);
        } else {
            append_plainly(buffer.end(), stamp, parts);
        }
    }

    fn write_batch(&mut self, wall: SystemTime) {
        if self.waiting.len() >= BATCH {
            self.flush(Instant::now(), wall);
        }
    }

    /// Writes the waiting lines, as far as the log takes them. `wall` stamps the line that reports dropped ones.
    pub fn flush(&mut self, now: Instant, wall: SystemTime) {
        if self.trouble.is_some_and(|t| now < t.retry_at) {
            return;
        }
        self.rotate_if_grown(wall);
        self.write_waiting(now);
        if self.waiting.is_empty() && self.held.is_none() && self.dropped > 0 {
            self.add_dropped_notice(wall);
            self.write_waiting(now);
        }
    }

    /// Writes more: the descriptor has reported that it takes more.
    pub fn flush_ready(&mut self, now: Instant, wall: SystemTime) {
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = now;
        }
        self.flush(now, wall);
    }

    /// Whether everything is written.
    pub fn is_written(&self) -> bool {
        self.waiting.is_empty() && self.held.is_none()
    }

    fn add_dropped_notice(&mut self, wall: SystemTime) {
        let lines = match self.dropped {
            1 => "1 log line was".to_string(),
            n => format!("{n} log lines were"),
        };
        let notice = format!("{lines} dropped here because the log could not be written");
        self.dropped = 0;
        self.append(wall, Level::Error, &[notice.as_bytes()]);
    }

    fn write_waiting(&mut self, now: Instant) {
        let mut progress = false;
        let mut failed = None;
        while failed.is_none() && !self.waiting.unwritten().is_empty() {
            match self.sink.write(self.waiting.unwritten()) {
                Ok(0) => failed = Some(io::ErrorKind::WriteZero),
                Ok(n) => {
                    self.waiting.wrote(n);
                    progress = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => failed = Some(error.kind()),
            }
        }
        self.trouble = failed.map(|kind| Trouble {
            since: self.trouble.filter(|_| !progress).map_or(now, |t| t.since),
            retry_at: now + RETRY,
            announced: matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe),
        });
    }

    fn rotate_if_grown(&mut self, wall: SystemTime) {
        let Sink::File(file) = &mut self.sink else {
            return;
        };
        if self.waiting.is_within_a_line() || !file.has_grown(self.rotation) {
            return;
        }
        match file.turn(self.rotation) {
            Ok(notes) => self.turned(&notes, wall),
            Err(error) => self.append(wall, Level::Error, &[error.as_bytes()]),
        }
    }

    /// Goes on in another file, which takes the waiting lines at once, also those that the old one has refused.
    fn turned(&mut self, notes: &[String], wall: SystemTime) {
        self.waiting.begin_line_anew();
        self.trouble = None;
        for note in notes {
            self.append(wall, Level::Warning, &[note.as_bytes()]);
        }
    }

    /// The descriptor to watch for room, if it can report that.
    pub fn watchable(&self) -> Option<RawFd> {
        self.sink.watchable()
    }

    /// When to flush again even if nothing new comes: lines wait, and no descriptor will report room.
    pub fn deadline(&self) -> Option<Instant> {
        let trouble = self
            .trouble
            .filter(|t| !t.announced && !self.waiting.is_empty())?;
        Some(trouble.retry_at)
    }

    /// Since when lines wait; `None` when none do.
    pub fn stuck_since(&self) -> Option<Instant> {
        if self.waiting.is_empty() {
            None
        } else {
            self.trouble.map(|t| t.since)
        }
    }

    /// How many lines were dropped since the start.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped_in_all
    }

    /// The path that the log was opened by; `None` for standard output.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Sets other limits after a reload.
    pub fn set_rotation(&mut self, rotation: Rotation) {
        self.rotation = rotation;
        if let Sink::File(file) = &mut self.sink {
            file.set_rotation(rotation);
        }
    }

    /// Does what SIGUSR1 asks for: rotates a file, or opens it again if somebody else (logrotate) has moved it.
    /// `Ok(false)` means that the log is standard output.
    pub fn rotate_or_reopen(&mut self) -> Result<bool, String> {
        let Sink::File(file) = &mut self.sink else {
            return Ok(false);
        };
        let notes = file.turn(self.rotation)?;
        self.turned(&notes, SystemTime::now());
        Ok(true)
    }

    /// Moves to the file `path`, or to standard output, and takes the waiting lines along. On failure nothing changes.
    pub fn move_to(&mut self, path: Option<&Path>) -> Result<(), String> {
        let new = Log::open(path, self.rotation, None).map_err(|error| {
            let path = path.unwrap_or(Path::new("-")).display();
            format!("cannot open log '{path}': {error}; the log stays where it is")
        })?;
        if self.journal != new.journal {
            let make = match new.journal {
                true => journal::put_on,
                false => journal::take_off,
            };
            for lines in [Some(&mut self.waiting), self.held.as_mut()] {
                lines.into_iter().for_each(|lines| lines.remake(make));
            }
        }
        (self.sink, self.journal, self.path) = (new.sink, new.journal, new.path);
        self.turned(&[], SystemTime::now());
        Ok(())
    }
}

/// Adds a message as twistd does: the first line with the stamp, each further one with a tab.
fn append_plainly(to: &mut Vec<u8>, stamp: &[u8], parts: &[&[u8]]) {
    to.extend_from_slice(stamp);
    for part in parts {
        let mut lines = part.split(|&byte| byte == b'\n');
        if let Some(first) = lines.next() {
            to.extend_from_slice(first);
        }
        for line in lines {
            to.extend_from_slice(b"\n\t");
            to.extend_from_slice(line);
        }
    }
    to.push(b'\n');
}

fn line_feeds(parts: &[&[u8]]) -> usize {
    let in_part = |part: &&[u8]| part.iter().filter(|&&byte| byte == b'\n').count();
    parts.iter().map(in_part).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
