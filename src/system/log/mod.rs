//! The log: twistd's line format, its file or standard output, rotation, and a bounded wait when nobody takes
//! the lines. It never blocks, never fails towards its caller, and knows nothing of what the lines mean.
//! This file holds the lines until they are written; `sink` knows the kinds of places that take them, `file` opens and
//! rotates a file, `journal` knows when lines carry priorities.

mod file;
mod journal;
mod sink;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, fchown};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd::{Gid, Uid};

use crate::system::errors::error_text;
use crate::text::{Utc, unix_seconds};

pub use file::Rotation;

use file::{appending, open_append, shift};
use sink::{Sink, reopen_stdout};

/// How many bytes wait for a log that cannot be written before lines are dropped.
const MOST_WAITING: usize = 1 << 20;
/// How long after an error the log is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes that are gathered within a turn before they are written.
pub const BATCH: usize = 64 * 1024;
/// A buffer that had to grow for one large message is given back beyond this.
const KEEP_BUFFER: usize = 64 * 1024;

/// How much a line matters; becomes a priority where standard output is the journal (sd-daemon(3)).
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
    rotation: Rotation,
    /// Standard output is the journal, which reads a priority before each line.
    journal: bool,
    /// Whether decisions are logged as well.
    pub spew: bool,
    waiting: Vec<u8>,
    /// How much of the first line in `waiting` has been written already.
    written: usize,
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
    /// Whether the descriptor itself will tell when it takes more.
    announced: bool,
}

impl Log {
    /// Standard output. Has to be called before privileges are dropped: only then may `/proc/self/fd/1` be
    /// opened anew. O_NONBLOCK is never set on the inherited description, which other processes share.
    pub fn to_stdout() -> Log {
        let stdout = io::stdout();
        let kind = File::from(match stdout.as_fd().try_clone_to_owned() {
            Ok(fd) => fd,
            Err(_) => return Log::new(Sink::Inherited, false),
        });
        let metadata = kind.metadata().ok();
        let sink = match metadata.as_ref().map(fs::Metadata::file_type) {
            Some(t) if t.is_file() => Sink::Inherited,
            Some(t) if t.is_socket() => Sink::Socket,
            _ => reopen_stdout().map_or(Sink::Polled, Sink::Own),
        };
        let journal = metadata.is_some_and(|m| journal::names(&m));
        Log::new(sink, journal)
    }

    /// A file. One that was not there is given to `owner`. The error is the system's.
    pub fn to_file(path: &Path, rotation: Rotation, owner: Option<(Uid, Gid)>) -> io::Result<Log> {
        let (file, size) = match appending().create_new(true).open(path) {
            Ok(new) => {
                if let Some((uid, gid)) = owner {
                    // Failure is not fatal: the file is open already.
                    let _ = fchown(&new, Some(uid.as_raw()), Some(gid.as_raw()));
                }
                (new, 0)
            }
            // Whatever is there already is not given away: it may be a link to something precious.
            Err(_) => open_append(path)?,
        };
        let mut log = Log::new(
            Sink::File {
                path: path.to_path_buf(),
                file,
                size,
                rotate_at: rotation.size,
            },
            false,
        );
        log.rotation = rotation;
        Ok(log)
    }

    fn new(sink: Sink, journal: bool) -> Log {
        Log {
            sink,
            rotation: Rotation { size: 0, keep: 0 },
            journal,
            spew: false,
            waiting: Vec::new(),
            written: 0,
            dropped: 0,
            dropped_in_all: 0,
            trouble: None,
            stamp: (i64::MIN, String::new()),
        }
    }

    /// Logs a message, now; writes once enough has come together.
    pub fn say(&mut self, level: Level, message: &str) {
        self.say_parts(level, &[message.as_bytes()]);
    }

    /// The same for a message that comes in parts.
    pub fn say_parts(&mut self, level: Level, parts: &[&[u8]]) {
        let wall = SystemTime::now();
        self.add_parts(wall, level, parts);
        if self.waiting.len() >= BATCH {
            self.flush(Instant::now(), wall);
        }
    }

    /// A decision, where these are wanted; not even put into words otherwise.
    pub fn spew(&mut self, decision: impl FnOnce() -> String) {
        if self.spew {
            self.say(Level::Info, &decision());
        }
    }

    /// Adds a message; further lines of it get a tab. Nothing is written before `flush`.
    pub fn add(&mut self, now: SystemTime, level: Level, message: &[u8]) {
        self.add_parts(now, level, &[message]);
    }

    /// Adds a message that comes in parts, so that nobody has to copy a large one together.
    pub fn add_parts(&mut self, now: SystemTime, level: Level, parts: &[&[u8]]) {
        if self.waiting.len() >= MOST_WAITING {
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

    fn append(&mut self, now: SystemTime, level: Level, parts: &[&[u8]]) {
        let second = unix_seconds(now);
        if self.stamp.0 != second {
            self.stamp = (second, Utc::from(now).log_stamp());
        }
        let prefix = if self.journal { level.prefix() } else { "" };
        let size: usize = parts.iter().map(|part| part.len()).sum();
        if size > KEEP_BUFFER {
            // Doubling could take twice of what a large message needs.
            let more = (1 + prefix.len()) * line_feeds(parts);
            self.waiting.reserve_exact(size + more + KEEP_BUFFER);
        }
        self.waiting.extend_from_slice(prefix.as_bytes());
        self.waiting.extend_from_slice(self.stamp.1.as_bytes());
        self.waiting.extend_from_slice(b" [-] ");
        for part in parts {
            let mut lines = part.split(|&byte| byte == b'\n');
            if let Some(first) = lines.next() {
                self.waiting.extend_from_slice(first);
            }
            for line in lines {
                self.waiting.push(b'\n');
                self.waiting.extend_from_slice(prefix.as_bytes());
                self.waiting.push(b'\t');
                self.waiting.extend_from_slice(line);
            }
        }
        self.waiting.push(b'\n');
    }

    /// Writes what waits, as far as the log takes it now. `wall` stamps the line that tells of dropped ones.
    pub fn flush(&mut self, now: Instant, wall: SystemTime) {
        if self.trouble.is_some_and(|t| now < t.retry_at) {
            return;
        }
        if let Err(error) = self.rotate_if_grown() {
            self.append(wall, Level::Error, &[error.as_bytes()]);
        }
        self.write_waiting(now);
        if self.waiting.is_empty() && self.dropped > 0 {
            self.add_dropped_notice(wall);
            self.write_waiting(now);
        }
    }

    /// The descriptor says that it takes more.
    pub fn flush_ready(&mut self, now: Instant, wall: SystemTime) {
        if let Some(trouble) = &mut self.trouble {
            trouble.retry_at = now;
        }
        self.flush(now, wall);
    }

    /// Writes what waits and is willing to wait for it: as long as the log takes something every `patience`.
    /// For the beginning and the end, when no job can be delayed.
    pub fn flush_patiently(&mut self, patience: Duration) {
        let mut last_progress = Instant::now();
        loop {
            let before = (self.waiting.len(), self.written);
            self.flush_ready(Instant::now(), SystemTime::now());
            if self.waiting.is_empty() {
                return;
            }
            if (self.waiting.len(), self.written) != before {
                last_progress = Instant::now();
            }
            let left = patience.saturating_sub(last_progress.elapsed());
            if left.is_zero() || self.wait_for_room(left).is_none() {
                return;
            }
        }
    }

    fn wait_for_room(&self, at_most: Duration) -> Option<()> {
        let milliseconds = u16::try_from(at_most.as_millis())
            .unwrap_or(u16::MAX)
            .max(1);
        let stdout = io::stdout();
        let fd = match &self.sink {
            Sink::File { file, .. } | Sink::Own(file) => file.as_fd(),
            Sink::Polled | Sink::Socket => stdout.as_fd(),
            Sink::Inherited => return None,
        };
        self.watchable()?;
        let _ = poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], milliseconds);
        Some(())
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn add_dropped_notice(&mut self, wall: SystemTime) {
        let notice = format!(
            "{} log lines were dropped here because the log could not be written",
            self.dropped
        );
        self.dropped = 0;
        self.append(wall, Level::Error, &[notice.as_bytes()]);
    }

    fn write_waiting(&mut self, now: Instant) {
        let mut done = self.written;
        let mut failed = None;
        while done < self.waiting.len() {
            match self.sink.write(&self.waiting[done..]) {
                Ok(0) => failed = Some(io::ErrorKind::WriteZero),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => failed = Some(error.kind()),
            }
            if failed.is_some() {
                break;
            }
        }
        let progress = done > self.written;
        self.forget_written(done);
        self.trouble = failed.map(|kind| Trouble {
            since: self.trouble.filter(|_| !progress).map_or(now, |t| t.since),
            retry_at: now + RETRY,
            announced: matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::BrokenPipe),
        });
    }

    /// Forgets whole lines only: a line that was cut by a full disk is written whole to the next file.
    fn forget_written(&mut self, done: usize) {
        if done == self.waiting.len() {
            self.waiting.clear();
            self.waiting.shrink_to(KEEP_BUFFER);
            self.written = 0;
            return;
        }
        let whole = self.waiting[..done]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        self.waiting.drain(..whole);
        self.written = done - whole;
    }

    /// On failure the same file goes on, and grows by as much again before the next try.
    fn rotate_if_grown(&mut self) -> Result<(), String> {
        let Sink::File {
            file,
            size,
            rotate_at,
            ..
        } = &mut self.sink
        else {
            return Ok(());
        };
        if self.rotation.size == 0 || *size < *rotate_at || self.written > 0 {
            return Ok(());
        }
        // It may have been cut since (logrotate's copytruncate); what is no regular file has no length.
        *size = file.metadata().map_or(*size, |metadata| metadata.len());
        if *size < *rotate_at {
            return Ok(());
        }
        *rotate_at = size.saturating_add(self.rotation.size);
        self.rotate_or_reopen().map(drop)
    }

    /// The descriptor to watch for room, if it is of a kind that says so.
    pub fn watchable(&self) -> Option<RawFd> {
        match &self.sink {
            Sink::File { file, .. } => file
                .metadata()
                .is_ok_and(|m| !m.is_file())
                .then(|| file.as_raw_fd()),
            Sink::Own(file) => Some(file.as_raw_fd()),
            Sink::Inherited => None,
            Sink::Polled | Sink::Socket => Some(io::stdout().as_raw_fd()),
        }
    }

    /// When to flush again although nothing new has come: lines wait and no descriptor will say when.
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

    /// Lines that were dropped since the start.
    pub fn lines_dropped(&self) -> u64 {
        self.dropped_in_all
    }

    /// The log's file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.sink {
            Sink::File { path, .. } => Some(path),
            _ => None,
        }
    }

    /// Takes on other limits after a reload.
    pub fn set_rotation(&mut self, rotation: Rotation) {
        self.rotation = rotation;
        if let Sink::File { rotate_at, .. } = &mut self.sink {
            *rotate_at = rotation.size;
        }
    }

    /// What SIGUSR1 asks for. If the path still names the open file, it is rotated as twistd does; otherwise
    /// someone else (logrotate) has moved it, and it is only opened anew. `Ok(false)`: the log is no file.
    pub fn rotate_or_reopen(&mut self) -> Result<bool, String> {
        let Sink::File { path, file, .. } = &self.sink else {
            return Ok(false);
        };
        let open = file.metadata().map(|m| (m.dev(), m.ino())).ok();
        let named = fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        if named.is_some() && named == open {
            self.rotate()
        } else {
            self.reopen()
        }
        .map(|()| true)
    }

    /// Goes on in the file `path`, or on standard output, with the lines that wait. On failure nothing changes.
    pub fn move_to(&mut self, path: Option<&Path>) -> Result<(), String> {
        let new = match path {
            None => Log::to_stdout(),
            Some(path) => Log::to_file(path, self.rotation, None).map_err(|e| {
                format!(
                    "cannot open log '{}': {}; the log stays where it is",
                    path.display(),
                    error_text(&e)
                )
            })?,
        };
        (self.sink, self.journal) = (new.sink, new.journal);
        (self.written, self.trouble) = (0, None);
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), String> {
        let Sink::File { path, file, .. } = &self.sink else {
            return Ok(());
        };
        if file.metadata().is_ok_and(|m| !m.is_file()) {
            return Ok(());
        }
        shift(path, self.rotation.keep)?;
        self.reopen()
    }

    fn reopen(&mut self) -> Result<(), String> {
        let Sink::File {
            path,
            file,
            size,
            rotate_at,
        } = &mut self.sink
        else {
            return Ok(());
        };
        let (new, new_size) = open_append(path).map_err(|e| {
            format!(
                "cannot open log '{}': {}; writing on to the old file",
                path.display(),
                error_text(&e)
            )
        })?;
        (*file, *size, *rotate_at) = (new, new_size, self.rotation.size);
        // What the old file refused the new one may take, and at once.
        (self.written, self.trouble) = (0, None);
        Ok(())
    }
}

fn line_feeds(parts: &[&[u8]]) -> usize {
    let in_part = |part: &&[u8]| part.iter().filter(|&&byte| byte == b'\n').count();
    parts.iter().map(in_part).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
