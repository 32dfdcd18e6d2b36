//! One client's connection: reads its request and writes its answer, without ever blocking. It does not know what the
//! request means.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};

use super::listener::Stream;
use super::{PATIENCE, Protocol};

/// How many bytes one read takes.
const READ: usize = 4096;
/// How often a client is read that goes on sending after its request. One that sends more is not waited for.
const MOST_READS: usize = 16;
/// How much of an answer is written at once. This delays a job by a few microseconds at most.
const PIECE: usize = 64 * 1024;

/// What a connection is doing.
#[derive(Debug)]
enum Stage {
    /// It reads the request, which is not complete.
    Reading(Vec<u8>),
    /// The request is complete, or too long, and has this number in the order of requests.
    Asked(u64, Option<Vec<u8>>),
    /// The request has been handed on. There is no time limit for its answer.
    Held,
    /// The answer is being written.
    Answering {
        answer: Answer,
        /// Whether the connection can take more, as far as is known.
        writable: bool,
    },
    /// The answer is written. What the client still sends is thrown away until it closes the connection.
    Ending,
}

/// What is left of an answer: first its head, then the text, which several clients may share.
#[derive(Debug)]
struct Answer {
    head: Vec<u8>,
    text: Rc<Vec<u8>>,
    written: usize,
}

/// A client.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: u64,
    stream: Stream,
    protocol: &'static Protocol,
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
    pub(super) fn new(
        id: u64,
        stream: Stream,
        protocol: &'static Protocol,
        now: Instant,
    ) -> Connection {
        Connection {
            id,
            stream,
            protocol,
            stage: Stage::Reading(Vec::new()),
            heard: now,
        }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// When it will have been silent for too long. The bytes of an unfinished request do not renew it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let is_awaited = !matches!(self.stage, Stage::Asked(..) | Stage::Held);
        is_awaited.then(|| self.heard + PATIENCE)
    }

    /// Since when it has been silent, if it may have to make room for another client. One that has its answer written to
    /// it may if nothing could be written since `stalled`.
    pub(super) fn silent_since(&self, stalled: Instant) -> Option<Instant> {
        let may_go = match self.stage {
            Stage::Reading(_) | Stage::Ending => true,
            Stage::Asked(..) | Stage::Held => false,
            // Where more could be written, it is the daemon that is slow.
            Stage::Answering { writable, .. } => !writable && self.heard <= stalled,
        };
        may_go.then_some(self.heard)
    }

    /// Handles an event: reads what has come of the request, which gets the number `turn` once it is complete, or notes
    /// that more can be written.
    pub(super) fn event(&mut self, turn: u64, now: Instant) -> Then {
        match &mut self.stage {
            Stage::Reading(_) => return self.read_request(turn, now),
            Stage::Ending => return self.read_on(),
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
    /// side is another way to end the request.
    pub(super) fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut fds, PollTimeout::ZERO).is_ok()
            && fds[0].revents().is_some_and(|told| told.intersects(gone))
    }

    /// Its number in the order of requests, if its request is complete.
    pub(super) fn turn(&self) -> Option<u64> {
        match self.stage {
            Stage::Asked(turn, _) => Some(turn),
            _ => None,
        }
    }

    /// Whether its request has been handed on, and its answer is not here yet.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.stage, Stage::Held)
    }

    /// Hands on its request, or that it was too long. From then on there is no time limit for its answer.
    pub(super) fn take_request(&mut self) -> Option<Option<Vec<u8>>> {
        match std::mem::replace(&mut self.stage, Stage::Held) {
            Stage::Asked(_, request) => Some(request),
            other => {
                self.stage = other;
                None
            }
        }
    }

    pub(super) fn answer(&mut self, head: &str, text: Rc<Vec<u8>>, now: Instant) {
        let answer = Answer {
            head: head.into(),
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

    fn read_request(&mut self, turn: u64, now: Instant) -> Then {
        let Stage::Reading(request) = &mut self.stage else {
            return Then::Stays;
        };
        let mut buffer = [0; READ];
        let end = loop {
            match self.stream.read(&mut buffer) {
                // A client that closes its sending side has said everything, whether or not that looks like an end.
                Ok(0) if request.is_empty() => return Then::Goes,
                Ok(0) => break Some(request.len()),
                Ok(n) => {
                    request.extend_from_slice(&buffer[..n]);
                    let end = (self.protocol.end)(request);
                    if end.unwrap_or(request.len() + 1) > self.protocol.longest {
                        break None;
                    }
                    if end.is_some() {
                        break end;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Then::Stays,
                Err(_) => return Then::Goes,
            }
        };
        let request = end.map(|end| {
            request.truncate(end);
            std::mem::take(request)
        });
        self.stage = Stage::Asked(turn, request);
        self.heard = now;
        Then::Stays
    }

    /// Throws away what the client sends although it has its answer.
    fn read_on(&mut self) -> Then {
        let mut buffer = [0; READ];
        for _ in 0..MOST_READS {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Then::Goes,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Then::Stays,
                Err(_) => return Then::Goes,
            }
        }
        Then::Goes
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
        if answer.left() > 0 {
            return Then::Stays;
        }
        let fd = self.stream.as_raw_fd();
        if !self.protocol.lingers || shutdown(fd, Shutdown::Write).is_err() {
            // The rest of what was too long: unread, it would end the answer in ECONNRESET instead of end of file.
            let _ = self.read_on();
            return Then::Goes;
        }
        self.stage = Stage::Ending;
        self.read_on()
    }

    /// Handles a client whose time is up. This turn may come late (the daemon was stopped, or a disk was slow), so what
    /// the client has sent or taken meanwhile counts.
    pub(super) fn time_is_up(&mut self, turn: u64, now: Instant) -> Then {
        let heard = self.heard;
        let then = match &self.stage {
            Stage::Reading(_) => self.read_request(turn, now),
            Stage::Answering { .. } => self.write_piece(now),
            Stage::Asked(..) | Stage::Held | Stage::Ending => Then::Stays,
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
        (self.head.len() + self.text.len()).saturating_sub(self.written)
    }

    /// Writes a piece of the rest.
    fn write_to(&mut self, stream: &mut Stream) -> Result<(), ErrorKind> {
        let head = &self.head[self.written.min(self.head.len())..];
        let text = &self.text[self.written.saturating_sub(self.head.len())..];
        let piece = &text[..text.len().min(PIECE)];
        match stream.write_vectored(&[IoSlice::new(head), IoSlice::new(piece)]) {
            Ok(0) => Err(ErrorKind::WriteZero),
            Ok(n) => {
                self.written += n;
                Ok(())
            }
            Err(error) => Err(error.kind()),
        }
    }
}
