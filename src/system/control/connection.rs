//! One client's connection: its line comes in, its answer goes out, neither faster than it can be without waiting.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{MAX_LINE, PATIENCE, Peer};

/// The answer to a line that does not end.
const TOO_LONG: &[u8] = b"the request is longer than 4096 bytes\n";
/// Its exit status: wrong usage.
const TOO_LONG_STATUS: u8 = 2;
/// What is written of an answer at once: a piece of work that delays a job by a few microseconds at most.
const PIECE: usize = 64 * 1024;

/// What a client is at.
#[derive(Debug)]
enum Stage {
    /// The line is not complete.
    Reading(Vec<u8>),
    /// It is, and is the client's turn by this number.
    Asked(u64, String),
    /// It has been handed on; the answer is awaited for as long as it takes.
    Held,
    /// The answer is on its way.
    Answering {
        answer: Answer,
        /// Whether the connection takes more, as far as is known.
        writable: bool,
    },
}

/// What is left of an answer: first the exit status on a line of its own, then the text, which others may get too.
#[derive(Debug)]
struct Answer {
    status: Vec<u8>,
    text: Rc<Vec<u8>>,
    written: usize,
}

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) peer: Peer,
    stream: UnixStream,
    stage: Stage,
    /// When it last sent or took something.
    heard: Instant,
}

/// Whether a client is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It stays.
    Stays,
    /// It has its answer, or has gone.
    Goes,
}

impl Connection {
    pub(super) fn new(id: u64, peer: Peer, stream: UnixStream, now: Instant) -> Connection {
        Connection {
            id,
            peer,
            stream,
            stage: Stage::Reading(Vec::new()),
            heard: now,
        }
    }

    /// When it will have been silent for too long. The time to send the line is not renewed by each byte of it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let is_awaited = matches!(self.stage, Stage::Reading(_) | Stage::Answering { .. });
        is_awaited.then(|| self.heard + PATIENCE)
    }

    /// Deals with what the poll loop tells of it: reads what there is of the line, which gets the number `turn` once
    /// it is complete, or notes that more can be written.
    pub(super) fn event(&mut self, turn: u64, now: Instant) -> Then {
        match &mut self.stage {
            Stage::Reading(_) => return self.read_line(turn, now),
            Stage::Asked(..) | Stage::Held => {
                if self.has_hung_up() {
                    return Then::Goes;
                }
            }
            Stage::Answering { writable, .. } => *writable = true,
        }
        Then::Stays
    }

    /// Whether it has closed both directions, so that nobody is left to be answered. Closing only its sending side
    /// is another way to end the line.
    pub(super) fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut fds, PollTimeout::ZERO).is_ok()
            && fds[0].revents().is_some_and(|told| told.intersects(gone))
    }

    /// The number of its turn, if its line is complete.
    pub(super) fn turn(&self) -> Option<u64> {
        match self.stage {
            Stage::Asked(turn, _) => Some(turn),
            _ => None,
        }
    }

    /// Hands on its line. From then on it is awaited for as long as it takes.
    pub(super) fn take_line(&mut self) -> Option<String> {
        match std::mem::replace(&mut self.stage, Stage::Held) {
            Stage::Asked(_, line) => Some(line),
            other => {
                self.stage = other;
                None
            }
        }
    }

    pub(super) fn answer(&mut self, status: u8, text: Rc<Vec<u8>>, now: Instant) {
        let answer = Answer {
            status: format!("{status}\n").into_bytes(),
            text,
            written: 0,
        };
        self.stage = Stage::Answering {
            answer,
            writable: true,
        };
        self.heard = now;
    }

    /// How much of its answer is left, in bytes, if some of it can be written now, as far as is known.
    pub(super) fn can_write(&self) -> Option<usize> {
        match &self.stage {
            Stage::Answering {
                answer,
                writable: true,
            } => Some(answer.left()),
            _ => None,
        }
    }

    fn read_line(&mut self, turn: u64, now: Instant) -> Then {
        let Stage::Reading(line) = &mut self.stage else {
            return Then::Stays;
        };
        let mut buffer = [0; MAX_LINE];
        let end = loop {
            match self.stream.read(&mut buffer) {
                // A client that closes its side has said all it wants to, line feed or not.
                Ok(0) if line.is_empty() => return Then::Goes,
                Ok(0) => break line.len(),
                Ok(n) => {
                    line.extend_from_slice(&buffer[..n]);
                    let end = line.iter().position(|&byte| byte == b'\n');
                    if end.unwrap_or(line.len()) >= MAX_LINE {
                        self.answer(TOO_LONG_STATUS, Rc::new(TOO_LONG.to_vec()), now);
                        return Then::Stays;
                    }
                    if let Some(end) = end {
                        break end;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Then::Stays,
                Err(_) => return Then::Goes,
            }
        };
        let line = String::from_utf8_lossy(&line[..end]);
        let line = line.trim_end_matches('\r').to_string();
        self.stage = Stage::Asked(turn, line);
        self.heard = now;
        Then::Stays
    }

    /// Writes one piece of its answer.
    pub(super) fn write_piece(&mut self, now: Instant) -> Then {
        let Stage::Answering { answer, writable } = &mut self.stage else {
            return Then::Stays;
        };
        match answer.write_to(&mut self.stream) {
            Ok(()) => self.heard = now,
            Err(ErrorKind::Interrupted) => {}
            Err(ErrorKind::WouldBlock) => *writable = false,
            Err(_) => return Then::Goes,
        }
        match answer.left() {
            0 => Then::Goes,
            _ => Then::Stays,
        }
    }

    /// A client whose time is up. This turn may come late (the daemon was stopped, or a disk was slow), so what it
    /// has sent or taken meanwhile counts.
    pub(super) fn is_silent(&mut self, turn: u64, now: Instant) -> Then {
        let heard = self.heard;
        let then = match &self.stage {
            Stage::Reading(_) => self.read_line(turn, now),
            Stage::Answering { .. } => self.write_piece(now),
            Stage::Asked(..) | Stage::Held => Then::Stays,
        };
        if self.heard == heard {
            Then::Goes
        } else {
            then
        }
    }

    /// Writes what is left of an answer, and waits for the client to take it, but not beyond `until`.
    pub(super) fn finish_answer(&mut self, until: Instant) {
        let Stage::Answering { answer, .. } = &mut self.stage else {
            return;
        };
        if self.stream.set_nonblocking(false).is_err() {
            return;
        }
        while answer.left() > 0 {
            let left = until.saturating_duration_since(Instant::now());
            // A time of nothing would be one without end.
            if left < Duration::from_micros(1) || self.stream.set_write_timeout(Some(left)).is_err()
            {
                return;
            }
            match answer.write_to(&mut self.stream) {
                Ok(()) | Err(ErrorKind::Interrupted) => {}
                Err(_) => return,
            }
        }
    }
}

impl Answer {
    fn left(&self) -> usize {
        (self.status.len() + self.text.len()).saturating_sub(self.written)
    }

    /// Writes a piece of what is left.
    fn write_to(&mut self, stream: &mut UnixStream) -> Result<(), ErrorKind> {
        let status = &self.status[self.written.min(self.status.len())..];
        let text = &self.text[self.written.saturating_sub(self.status.len())..];
        let piece = &text[..text.len().min(PIECE)];
        match stream.write_vectored(&[IoSlice::new(status), IoSlice::new(piece)]) {
            Ok(0) => Err(ErrorKind::WriteZero),
            Ok(n) => {
                self.written += n;
                Ok(())
            }
            Err(error) => Err(error.kind()),
        }
    }
}
