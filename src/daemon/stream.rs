//! One of a run's two outputs: reads its pipe within bounds, keeps what `job::output` keeps of it, and logs it line by
//! line where the job wants that. When the run ends is not for it to say.

use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;

use mio::unix::pipe::Receiver;
use mio::{Interest, Registry};

use super::READS_PER_TURN;
use super::ready::Ready;
use crate::config::Job;
use crate::event::{Event, Name};
use crate::job::output::{Capture, LineSplitter};
use crate::system::log::Log;
use crate::system::process::{self, OutputPipe};

/// How often one turn reads a pipe whose lines are logged: lines of one byte cost so much that others would wait for a
/// noticeable time.
const LIVE_READS_PER_TURN: usize = 2;

/// One of a run's two outputs, on its way to log and mail.
#[derive(Debug)]
pub(super) struct Stream {
    name: Name,
    pipe: Option<Receiver>,
    /// The end that the process writes to. It stays open here until the process has been reaped: otherwise each process
    /// that ends would wake the daemon three times, by each pipe's end and by SIGCHLD.
    theirs: Option<OwnedFd>,
    pub(super) capture: Capture,
    lines: Option<LineSplitter>,
    /// This turn left the pipe before it was empty, so that others get their turn. No event will report the rest.
    pub(super) more: bool,
    /// It is read until the pipe is empty or at its end: the writer has been reaped or has closed it, and no event may
    /// report the end.
    pub(super) hung_up: bool,
    /// The pipe was full once and was given a larger buffer.
    widened: bool,
}

impl Stream {
    pub(super) fn open(
        pipe: OutputPipe,
        output: Ready,
        job: &Job,
        registry: &Registry,
    ) -> std::io::Result<Stream> {
        let mut ours = Receiver::from(pipe.ours);
        registry.register(&mut ours, output.token(), Interest::READABLE)?;
        Ok(Stream {
            name: match output {
                Ready::Stderr => Name::Stderr,
                _ => Name::Stdout,
            },
            pipe: Some(ours),
            theirs: Some(pipe.theirs),
            capture: Capture::new(job.settings.maxoutput),
            lines: job.settings.livelog.then(LineSplitter::new),
            more: false,
            hung_up: false,
            widened: false,
        })
    }

    /// Reads within bounds. True at the end of the pipe.
    pub(super) fn read(&mut self, job: &str, buffer: &mut [u8], log: &mut Log) -> bool {
        let Some(pipe) = &mut self.pipe else {
            return false;
        };
        self.more = false;
        let mut closed = false;
        let most = match self.lines {
            Some(_) => LIVE_READS_PER_TURN,
            None => READS_PER_TURN,
        };
        for turn in 0.. {
            if turn == most {
                self.more = true;
                break;
            }
            match pipe.read(buffer) {
                Ok(0) => closed = true,
                Ok(n) => {
                    self.capture.push(&buffer[..n]);
                    if let Some(lines) = &mut self.lines {
                        // Lines are logged as they are cut, because one turn's lines are too many to keep.
                        lines.push(&buffer[..n], |line| tell_line(log, job, self.name, line));
                    }
                    if n == buffer.len() && !self.widened {
                        self.widened = true;
                        process::widen(&*pipe);
                    }
                    // A read that returned less than was asked for has emptied the pipe; an event reports what comes
                    // next (epoll(7)).
                    if n == buffer.len() || self.hung_up {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => closed = error.kind() != ErrorKind::WouldBlock,
            }
            break;
        }
        if closed {
            self.finish_lines(job, log);
            self.pipe = None;
        }
        closed
    }

    /// Notes that the process has been reaped: the pipe now comes to its end, unless another process holds it.
    pub(super) fn reaped(&mut self) {
        self.theirs = None;
        self.hung_up = true;
    }

    /// Whether its end has not been read yet.
    pub(super) fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    pub(super) fn finish_lines(&mut self, job: &str, log: &mut Log) {
        if let Some(lines) = &mut self.lines {
            lines.finish(|line| tell_line(log, job, self.name, line));
        }
    }
}

fn tell_line(log: &mut Log, job: &str, stream: Name, line: &[u8]) {
    log.tell(&Event::Line { job, stream, line });
}
