//! One client's connection: reads its line and writes its answer, without ever blocking. It does not know what the line
//! means.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{MAX_LINE, PATIENCE, Peer};

/// The answer to a line that is too long.
const TOO_LONG: &[u8] = b"the request is longer than 4096 bytes\n";
/// Its exit status: wrong usage.
const TOO_LONG_STATUS: u8 = 2;
/// How much of an answer is written at once. This delays a job by a few microseconds at most.
const PIECE: usize = 64 * 1024;

/// What a connection is doing.
#[derive(Debug)]
enum Stage {
    /// It reads the line, which is not complete.
    Reading(Vec<u8>),
    /// The line is complete, and has this number in the order of requests.
    Asked(u64, String),
    /// The line has been handed on. There is no time limit for its answer.
    Held,
    /// The answer is being written.
    Answering {
        answer: Answer,
        /// Whether the connection can take more, as far as is known.
        writable: bool,
    },
}

/// What is left of an answer: first the exit status on a line of its own, then the text, which several clients may
/// share.
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
    /// When the client last sent or took something.
    heard: Instant,
}

/// Whether a client is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It stays.
    Stays,
    /// It has its answer or has gone.
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

    /// When it will have been silent for too long. Each byte of the line does not renew the time for sending it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let is_awaited = matches!(self.stage, Stage::Reading(_) | Stage::Answering { .. });
        is_awaited.then(|| self.heard + PATIENCE)
    }

    /// Handles an event: reads what has come of the line, which gets the number `turn` once it is complete, or notes
    /// that more can be written.
    pub(super) fn event(&mut self, turn: u64, now: Instant) -> Then {
        match &mut self.stage {
            Stage::Reading(_) => return self.read_line(turn, now),
            Stage::Asked(..) | Stage::Held => {
                if self.has_hung_up() {
                    return Then::Goes;
                }
            }
            Stage::Answering { .. } => self.may_write(),
        }
        Then::Stays
    }

    /// Whether the client has closed both directions, so that nobody is left to be answered. Closing only its sending
    /// side is another way to end the line.
    pub(super) fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut fds, PollTimeout::ZERO).is_ok()
            && fds[0].revents().is_some_and(|told| told.intersects(gone))
    }

    /// Its number in the order of requests, if its line is complete.
    pub(super) fn turn(&self) -> Option<u64> {
        match self.stage {
            Stage::Asked(turn, _) => Some(turn),
            _ => None,
        }
    }

    /// Hands on its line. From then on there is no time limit for its answer.
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

    /// How many bytes of its answer are left, if some can be written now, as far as is known.
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
                // A client that closes its sending side has said everything, with or without a line feed.
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

    /// Handles a client whose time is up. This turn may come late (the daemon was stopped, or a disk was slow), so what
    /// the client has sent or taken meanwhile counts.
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

    /// What to wait for before more of its answer can be written, if it has one.
    pub(super) fn room(&self) -> Option<PollFd<'_>> {
        let is_answered = matches!(self.stage, Stage::Answering { .. });
        is_answered.then(|| PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT))
    }

    /// More of its answer may be written now.
    pub(super) fn may_write(&mut self) {
        if let Stage::Answering { writable, .. } = &mut self.stage {
            *writable = true;
        }
    }
}

impl Answer {
    fn left(&self) -> usize {
        (self.status.len() + self.text.len()).saturating_sub(self.written)
    }

    /// Writes a piece of the rest.
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
