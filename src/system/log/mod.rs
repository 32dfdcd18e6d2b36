//! The log: twistd's line format, a file or standard output, rotation, and what happens to lines that nobody takes. It
//! never blocks, never fails towards its caller, and knows nothing of what the lines mean. This file holds the lines
//! until they are written: `buffer` keeps them whole, `sink` writes to each kind of log, `file` opens and `rotation`
//! rotates a file, `json` knows the form of messages for programs, `journal` that of lines in the journal, and `own` is
//! what the log says of itself.

mod buffer;
mod file;
mod journal;
mod json;
mod own;
mod place;
mod rotation;
mod sink;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::message::{Format, Level, Message, Rank};
use crate::system::privileges::Account;
use crate::text::{Utc, unix_seconds};

pub use file::OpenError;
pub use own::Own;
pub use rotation::Rotation;
pub use sink::leads_to_stdout;

use buffer::Buffer;
use file::LogFile;
use sink::Sink;

/// How many bytes may wait for a log that cannot be written. Beyond that, lines are dropped.
const MOST_WAITING: usize = 1 << 20;
/// How long after an error the log is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many bytes a turn gathers before it writes them.
const BATCH: usize = 64 * 1024;

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
    /// What matters less is not logged.
    pub level: Level,
    /// How messages are written from now on. Those that wait stay as they are.
    pub format: Format,
    waiting: Buffer,
    /// Lines that wait behind those of `tell_first`; `None` if nothing is held.
    held: Option<Buffer>,
    dropped: u64,
    dropped_in_all: u64,
    trouble: Option<Trouble>,
    /// A line that standard output has in part went whole to a file instead. When the log comes back it is ended first.
    stdout_is_torn: bool,
    /// The second of the last message, and that second as twistd writes it.
    stamp: (i64, String),
    /// The words of the message that is being added.
    words: String,
}

/// Why lines wait.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    since: Instant,
    retry_at: Instant,
    /// Whether the descriptor will report that it takes more.
    announced: bool,
    /// Whether the file may not grow any more (RLIMIT_FSIZE).
    is_at_limit: bool,
}

impl Log {
    /// Opens the file at `path`; or standard output, if there is no path or the path names it. `user` is the one that
    /// the daemon is going to become.
    pub fn open(
        path: Option<&Path>,
        rotation: Rotation,
        user: Option<&Account>,
    ) -> Result<Log, OpenError> {
        let mut log = match path.filter(|path| !sink::leads_to_stdout(path)) {
            None => Log::to_stdout(),
            Some(path) => Log::new(Sink::File(LogFile::open(path, rotation, user)?), false),
        };
        log.path = path.map(Path::to_path_buf);
        log.rotation = rotation;
        Ok(log)
    }

    /// Whether the file at `path` could be opened, unless it is standard output. It makes nothing.
    pub fn look(path: &Path, user: Option<&Account>) -> Result<(), OpenError> {
        if sink::leads_to_stdout(path) {
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
            level: Level::Info,
            format: Format::Twistd,
            waiting: Buffer::default(),
            held: None,
            dropped: 0,
            dropped_in_all: 0,
            trouble: None,
            stdout_is_torn: false,
            stamp: (i64::MIN, String::new()),
            words: String::new(),
        }
    }

    /// Logs a message with the present time, if its level matters enough; else it is not even put into words. It is
    /// written once enough has come together, or by `flush`.
    pub fn tell(&mut self, message: &dyn Message) {
        if self.wants(message) {
            let wall = SystemTime::now();
            self.add(wall, message);
            self.write_batch(wall);
        }
    }

    fn wants(&self, message: &dyn Message) -> bool {
        let matters = || message.head().1 >= self.level;
        match message.rank() {
            Rank::Always => true,
            Rank::ByLevel => matters(),
            Rank::Decision => self.spew && matters(),
        }
    }

    /// Adds a message. Nothing is written before `flush`.
    fn add(&mut self, now: SystemTime, message: &dyn Message) {
        if self.end().len() >= MOST_WAITING {
            let lines = self.lines_of(message);
            self.dropped += lines;
            self.dropped_in_all += lines;
            return;
        }
        if self.dropped > 0 {
            self.add_dropped_notice(now);
        }
        self.append(now, message);
    }

    /// How many lines it would be.
    fn lines_of(&self, message: &dyn Message) -> u64 {
        let mut lines = 0;
        match self.format {
            Format::Twistd => {
                let words = message.to_string();
                lines = 1
                    + line_feeds(&[words.as_bytes()])
                    + line_feeds(&message.bytes().unwrap_or_default());
            }
            Format::Json => json::lines("", message, &mut |_| lines += 1),
        }
        lines as u64
    }

    /// Holds back all messages until `release`, behind those of `tell_first`. Those are so many that they are put into
    /// words only as the log takes them.
    pub fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Logs a message ahead of the held ones, with the time `at`.
    pub fn tell_first(&mut self, at: SystemTime, message: &dyn Message) {
        if self.wants(message) {
            let held = self.held.take();
            self.append(at, message);
            self.held = held;
            self.write_batch(at);
        }
    }

    /// Puts the held messages behind those of `tell_first`.
    pub fn release(&mut self) {
        if let Some(held) = self.held.take() {
            self.waiting.take(held);
        }
    }

    /// Whether more messages would be written soon: the log takes what it gets, and little is held.
    pub fn takes_more(&self) -> bool {
        self.trouble.is_none() && self.held.as_ref().is_none_or(|held| held.len() < BATCH)
    }

    /// Whether `tell_first` may log more.
    pub fn takes_more_first(&self) -> bool {
        self.trouble.is_none()
    }

    /// The buffer that new messages go to.
    fn end(&mut self) -> &mut Buffer {
        self.held.as_mut().unwrap_or(&mut self.waiting)
    }

    fn append(&mut self, now: SystemTime, message: &dyn Message) {
        let second = unix_seconds(now);
        if self.stamp.0 != second {
            self.stamp = (second, Utc::from(now).log_stamp() + " [-] ");
        }
        match self.format {
            Format::Twistd => self.append_words(message),
            Format::Json => self.append_objects(now, message),
        }
    }

    fn append_words(&mut self, message: &dyn Message) {
        let (_, level) = message.head();
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        let _ = write!(words, "{message}");
        let mut parts = [words.as_bytes(), b"", b"", b"", b"", b""];
        if let Some(bytes) = message.bytes() {
            parts[1..].copy_from_slice(&bytes);
        }
        let used = parts.iter().rposition(|part| !part.is_empty());
        let parts = &parts[..used.map_or(0, |last| last + 1)];
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
        // What the words of one large message needed is given back.
        if words.capacity() <= BATCH {
            self.words = words;
        }
    }

    fn append_objects(&mut self, now: SystemTime, message: &dyn Message) {
        let (_, level) = message.head();
        let prefix = if self.journal {
            journal::prefix(level)
        } else {
            b""
        };
        let time = Utc::rfc3339_millis(now);
        let to = self.end().end();
        json::lines(&time, message, &mut |line| {
            to.extend_from_slice(prefix);
            to.extend_from_slice(line.as_bytes());
            to.push(b'\n');
        });
    }

    fn write_batch(&mut self, wall: SystemTime) {
        if self.waiting.len() >= BATCH {
            self.flush(Instant::now(), wall);
        }
    }

    /// Writes the waiting lines, as far as the log takes them. `wall` stamps the line that reports dropped ones.
    pub fn flush(&mut self, now: Instant, wall: SystemTime) {
        if !self.may_take_more(now) {
            return;
        }
        self.rotate_if_grown(wall);
        self.write_waiting(now);
        if self.waiting.is_empty() && self.held.is_none() && self.dropped > 0 {
            self.add_dropped_notice(wall);
            self.write_waiting(now);
        }
    }

    /// Whether it may take something. After it has refused, it is not asked again at once.
    fn may_take_more(&self, now: Instant) -> bool {
        self.trouble.is_none_or(|t| now >= t.retry_at)
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

    fn add_own(&mut self, wall: SystemTime, message: &Own<'_>) {
        if self.wants(message) {
            self.append(wall, message);
        }
    }

    fn add_dropped_notice(&mut self, wall: SystemTime) {
        let dropped = std::mem::take(&mut self.dropped);
        self.append(wall, &Own::Dropped(dropped));
    }

    fn write_waiting(&mut self, now: Instant) {
        let mut progress = false;
        let mut failed = None;
        while failed.is_none() && !self.waiting.unwritten().is_empty() {
            // The rest of a line alone could look like a line of its own.
            if self.waiting.is_within_a_line() && self.sink.is_cut() {
                self.waiting.begin_line_anew();
            }
            let ends_torn = self.stdout_is_torn && !matches!(self.sink, Sink::File(_));
            let bytes = if ends_torn {
                b"\n"
            } else {
                self.waiting.unwritten()
            };
            match self.sink.write(bytes) {
                Ok(0) => failed = Some(io::ErrorKind::WriteZero),
                Ok(_) if ends_torn => self.stdout_is_torn = false,
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
            announced: match kind {
                io::ErrorKind::WouldBlock => true,
                io::ErrorKind::BrokenPipe => !self.sink.may_get_another_reader(),
                _ => false,
            },
            is_at_limit: kind == io::ErrorKind::FileTooLarge,
        });
    }

    /// Turns a file that has grown past its size, once there is a line for the next one: a signal that comes before
    /// that line would else turn the empty one, and so push an old log out.
    fn rotate_if_grown(&mut self, wall: SystemTime) {
        let Sink::File(file) = &mut self.sink else {
            return;
        };
        if self.waiting.is_empty() {
            return;
        }
        // At its size limit it takes nothing more; a full disk may take the rest of the line later.
        let is_at_limit = self.trouble.is_some_and(|trouble| trouble.is_at_limit);
        // A line that no file can hold would turn one file after the other.
        if is_at_limit && self.waiting.is_within_a_line() && file.gives_line_up(self.waiting.part())
        {
            self.waiting.drop_line();
            self.dropped += 1;
            self.dropped_in_all += 1;
        }
        let goes_on = !is_at_limit && self.waiting.is_within_a_line();
        if goes_on || !file.has_grown(self.rotation) {
            return;
        }
        match file.turn(self.rotation) {
            Ok(notes) => self.turned(&notes, wall),
            Err(error) => self.add_own(wall, &Own::File(Level::Error, &error)),
        }
    }

    /// Goes on in another file, which takes the waiting lines at once, also those that the old one has refused.
    fn turned(&mut self, notes: &[String], wall: SystemTime) {
        self.waiting.begin_line_anew();
        self.trouble = None;
        for note in notes {
            self.add_own(wall, &Own::File(Level::Warning, note));
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

    /// Does what SIGUSR1 asks for: rotates a file, or opens it again if somebody else (logrotate) has moved it. Lines
    /// that wait still belong to the old file. If that has grown past its size, this is its turn, and not one more.
    /// `Ok(false)` means that the log is standard output.
    pub fn rotate_or_reopen(&mut self, now: Instant, wall: SystemTime) -> Result<bool, String> {
        if !matches!(self.sink, Sink::File(_)) {
            return Ok(false);
        }
        if self.may_take_more(now) {
            self.write_waiting(now);
        }
        let Sink::File(file) = &mut self.sink else {
            return Ok(false);
        };
        let notes = file.turn(self.rotation)?;
        self.turned(&notes, wall);
        Ok(true)
    }

    /// Moves to the file `path`, or to standard output, and takes the waiting lines along. On failure nothing changes.
    pub fn move_to(&mut self, path: Option<&Path>) -> Result<(), String> {
        let new = Log::open(path, self.rotation, None).map_err(|error| {
            let path = path.unwrap_or(Path::new("-")).display();
            format!("cannot open log '{path}': {error}; the log stays where it is")
        })?;
        let was_stdout = !matches!(self.sink, Sink::File(_));
        self.stdout_is_torn |= was_stdout && self.waiting.is_within_a_line();
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
        let mut rest = *part;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            to.extend_from_slice(&rest[..=end]);
            to.push(b'\t');
            rest = &rest[end + 1..];
        }
        to.extend_from_slice(rest);
    }
    to.push(b'\n');
}

fn line_feeds(parts: &[&[u8]]) -> usize {
    let in_part = |part: &&[u8]| part.iter().filter(|&&byte| byte == b'\n').count();
    parts.iter().map(in_part).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests;
