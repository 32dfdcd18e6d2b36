//! The log: twistd's line format, its file or standard output, rotation, and a bounded wait when nobody takes
//! the lines. It never blocks, never fails towards its caller, and knows nothing of what the lines mean.
//! How not to block on standard output, which is shared with others and so never gets O_NONBLOCK, and when lines
//! carry the journal's priorities, is its business as well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::{Gid, Uid};

use crate::system::errors::error_text;
use crate::text::{Utc, unix_seconds};

/// How many bytes wait for a log that cannot be written before lines are dropped.
const MOST_WAITING: usize = 1 << 20;
/// What a pipe takes in one write without blocking once it polls writable (pipe(7), PIPE_BUF).
const PIPE_BUF: usize = 4096;
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

impl Level {
    fn prefix(self) -> &'static str {
        match self {
            Level::Info => "<6>",
            Level::Warning => "<4>",
            Level::Error => "<3>",
        }
    }
}

/// Where lines go.
#[derive(Debug)]
enum Sink {
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

/// When a file is rotated, and how many old ones stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes a log file may have; zero: any number.
    pub size: u64,
    /// Rotated files that stay; zero: all.
    pub keep: u32,
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
        let journal = metadata.is_some_and(|m| {
            std::env::var("JOURNAL_STREAM")
                .is_ok_and(|stream| stream == format!("{}:{}", m.dev(), m.ino()))
        });
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

impl Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
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

fn line_feeds(parts: &[&[u8]]) -> usize {
    let in_part = |part: &&[u8]| part.iter().filter(|&&byte| byte == b'\n').count();
    parts.iter().map(in_part).sum()
}

fn reopen_stdout() -> Option<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    OpenOptions::new()
        .write(true)
        .custom_flags(flags.bits())
        .open("/proc/self/fd/1")
        .ok()
}

/// O_NONBLOCK so that a log that is a named pipe cannot stop the daemon.
fn appending() -> OpenOptions {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.append(true).mode(0o666).custom_flags(flags.bits());
    options
}

/// Opens the file that is there, or makes one. Not both in one call: a sticky directory may refuse that for
/// another user's file (proc_sys_fs(5), protected_regular).
fn open_append(path: &Path) -> io::Result<(File, u64)> {
    let file = match appending().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            appending().create(true).open(path)?
        }
        opened => opened?,
    };
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Renames `LOG.1` to `LOG.2` and so on, highest first, then `LOG` to `LOG.1`; what is beyond `keep` goes.
fn shift(path: &Path, keep: u32) -> Result<(), String> {
    let mut numbers = rotated(path).map_err(|e| {
        format!(
            "cannot list the directory of log '{}': {}; writing on to the same file",
            path.display(),
            error_text(&e)
        )
    })?;
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let name = |number: u32| {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in numbers {
        if keep > 0 && number >= keep {
            let _ = fs::remove_file(name(number));
        } else if number < u32::MAX {
            rename(&name(number), &name(number + 1))?;
        }
    }
    rename(path, &name(1))
}

fn rename(from: &Path, to: &Path) -> Result<(), String> {
    fs::rename(from, to).map_err(|e| {
        format!(
            "cannot rename log '{}' to '{}': {}; writing on to the same file",
            from.display(),
            to.display(),
            error_text(&e)
        )
    })
}

/// The numbers of the rotated files that are there.
fn rotated(path: &Path) -> io::Result<Vec<u32>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut prefix = path.file_name().unwrap_or_default().to_os_string();
    prefix.push(".");
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes());
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        // No leading zero or sign: only names that this module would have given.
        if let Some(number) = number.and_then(|text| {
            text.parse::<u32>()
                .ok()
                .filter(|n| n.to_string() == text && *n > 0)
        }) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const STAMP: &str = "2026-11-23T23:36:37+0000 [-] ";

    fn wall() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_476_997)
    }

    fn log_in(directory: &Path, size: u64, keep: u32) -> Log {
        Log::to_file(&directory.join("log"), Rotation { size, keep }, None).unwrap()
    }

    fn write(log: &mut Log, message: &str) {
        log.add(wall(), Level::Info, message.as_bytes());
        log.flush(Instant::now(), wall());
    }

    fn text(path: impl AsRef<Path>) -> String {
        fs::read_to_string(path).unwrap()
    }

    // As original/two-jobs.log has it for `Job output was:\n<output>\n`.
    #[test]
    fn further_lines_of_a_message_begin_with_a_tab() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log_in(directory.path(), 0, 0);
        write(&mut log, "Job output was:\nscanned\n\n1 idle\n\n");
        assert_eq!(
            text(directory.path().join("log")),
            format!("{STAMP}Job output was:\n\tscanned\n\t\n\t1 idle\n\t\n\t\n")
        );
    }

    #[test]
    fn a_file_past_its_size_is_rotated_and_only_so_many_stay() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = log_in(directory.path(), 10, 2);
        for message in ["one", "two", "three", "four"] {
            write(&mut log, message);
        }
        let path = directory.path().join("log");
        assert_eq!(text(&path), format!("{STAMP}four\n"));
        assert_eq!(text(path.with_extension("1")), format!("{STAMP}three\n"));
        assert_eq!(text(path.with_extension("2")), format!("{STAMP}two\n"));
        assert!(!path.with_extension("3").exists());
    }

    #[test]
    fn with_nothing_set_all_rotated_files_stay_and_strangers_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for stranger in ["log.gz", "log.01", "log.1.gz", "log.-3"] {
            fs::write(directory.path().join(stranger), stranger).unwrap();
        }
        let mut log = log_in(directory.path(), 0, 0);
        for message in ["one", "two", "three"] {
            write(&mut log, message);
            assert_eq!(log.rotate_or_reopen(), Ok(true));
        }
        assert_eq!(text(path.with_extension("3")), format!("{STAMP}one\n"));
        assert_eq!(text(path.with_extension("1")), format!("{STAMP}three\n"));
        assert_eq!(text(directory.path().join("log.01")), "log.01");
        assert_eq!(text(directory.path().join("log.1.gz")), "log.1.gz");
    }

    #[test]
    fn a_log_that_somebody_moved_is_only_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = log_in(directory.path(), 0, 0);
        write(&mut log, "one");
        fs::rename(&path, directory.path().join("moved")).unwrap();
        write(&mut log, "two");
        assert_eq!(log.rotate_or_reopen(), Ok(true));
        write(&mut log, "three");
        assert_eq!(
            text(directory.path().join("moved")),
            format!("{STAMP}one\n{STAMP}two\n")
        );
        assert_eq!(text(&path), format!("{STAMP}three\n"));
        assert!(!path.with_extension("1").exists());
    }

    #[test]
    fn a_file_that_was_cut_is_not_rotated_before_it_has_grown_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let line = STAMP.len() as u64 + 4;
        let mut log = log_in(directory.path(), 2 * line, 0);
        write(&mut log, "one");
        write(&mut log, "two");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(0)
            .unwrap();
        for message in ["3rd", "4th", "5th"] {
            write(&mut log, message);
        }
        assert_eq!(text(&path), format!("{STAMP}5th\n"));
        assert_eq!(
            text(path.with_extension("1")),
            format!("{STAMP}3rd\n{STAMP}4th\n")
        );
    }

    #[test]
    fn a_grown_file_that_somebody_moved_is_only_opened_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = log_in(directory.path(), 10, 0);
        write(&mut log, "one");
        fs::rename(&path, directory.path().join("moved")).unwrap();
        write(&mut log, "two");
        assert_eq!(text(&path), format!("{STAMP}two\n"));
        assert!(!path.with_extension("1").exists());
    }

    #[test]
    fn a_grown_file_that_cannot_be_rotated_says_so_once_per_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = log_in(directory.path(), 200, 1);
        // A directory can be neither removed nor replaced as a file can.
        fs::create_dir(directory.path().join("log.1")).unwrap();
        for _ in 0..20 {
            write(&mut log, "x");
        }
        let log = text(&path);
        assert_eq!(log.matches("] x\n").count(), 20);
        let refusals = log.matches("cannot rename log").count() as u64;
        assert!((2..=log.len() as u64 / 200).contains(&refusals), "{log}");
        assert!(log.contains("; writing on to the same file\n"), "{log}");
    }

    #[test]
    fn a_directory_that_is_gone_is_reported_and_the_old_file_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let mut log = log_in(&inner, 0, 0);
        fs::remove_dir_all(&inner).unwrap();
        let error = log.rotate_or_reopen().unwrap_err();
        assert!(
            error.contains("No such file or directory; writing on to the old file"),
            "{error}"
        );
        write(&mut log, "still alive");
        assert_eq!(log.stuck_since(), None);
    }

    #[test]
    fn a_full_disk_holds_lines_back_and_counts_the_dropped_ones() {
        let rotation = Rotation { size: 0, keep: 0 };
        let Ok(mut log) = Log::to_file(Path::new("/dev/full"), rotation, None) else {
            return;
        };
        let line = "x".repeat(1000);
        let t0 = Instant::now();
        for _ in 0..2000 {
            log.add(wall(), Level::Info, line.as_bytes());
        }
        log.flush(t0, wall());
        assert_eq!(log.stuck_since(), Some(t0));
        assert_eq!(log.deadline(), Some(t0 + RETRY));
        let kept = MOST_WAITING.div_ceil(STAMP.len() + line.len() + 1);
        assert_eq!(log.lines_dropped(), 2000 - kept as u64);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (file, size) = open_append(&path).unwrap();
        log.sink = Sink::File {
            path: path.clone(),
            file,
            size,
            rotate_at: 0,
        };
        log.flush(t0 + RETRY, wall());
        assert_eq!(log.stuck_since(), None);
        let text = text(&path);
        assert_eq!(text.lines().count(), kept + 1);
        assert!(text.ends_with(&format!(
            "{STAMP}{} log lines were dropped here because the log could not be written\n",
            2000 - kept
        )));
    }
}
