//! Delivers mail: feeds one message at a time to a sendmail process. It never delays a job and never loses a report: a
//! report that cannot be mailed goes to the log whole. It knows nothing of jobs; its owner hears which reports were
//! lost.

use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::unix::pipe::{Receiver, Sender};
use nix::unistd::Pid;

use super::ready::Ready;
use super::{Os, READ_SIZE, READS_PER_TURN};
use crate::config::{Sequencer, command};
use crate::event::{Decision, Event, Who};
use crate::exit::Exit;
use crate::mail::queue::{DYING_TIME, Dropped, Failure, MAX_SAID, Queue, Unsent, Verdict};
use crate::mail::report::{Message, Report};
use crate::message::Level;
use crate::system::log::Log;
use crate::system::process::{self, Signalled};

/// A sendmail process and the message that it reads.
#[derive(Debug)]
struct Delivering {
    /// The process id, which is also the process group's.
    pid: Pid,
    input: Option<Sender>,
    output: Option<Receiver>,
    message: Message,
    chunk: Vec<u8>,
    written: usize,
    said: Vec<u8>,
    began: Instant,
    /// How long it may take.
    time: Duration,
    /// What became of SIGKILL, if it was sent because the time was over, and when it is left behind.
    killed: Option<(Signalled, Instant)>,
    /// This turn left a pipe before it was full or empty, so that others get their turn. No event will report the rest.
    more: bool,
}

/// Reports that were not mailed. The next failure of the same kind has to be mailed whatever `mailinterval` says.
pub(super) type Lost = Vec<Rc<Report>>;

/// The queue, and the delivery under way.
#[derive(Debug)]
pub(super) struct Mailer {
    pub(super) queue: Queue,
    delivering: Option<Delivering>,
    /// The sendmail of which it was said last that it cannot be started.
    missing: Option<Box<str>>,
}

impl Mailer {
    pub(super) fn new() -> Mailer {
        Mailer {
            queue: Queue::new(),
            delivering: None,
            missing: None,
        }
    }

    /// The process of the delivery under way.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.delivering.as_ref().map(|delivering| delivering.pid)
    }

    /// Whether there is nothing to send.
    pub(super) fn is_idle(&self) -> bool {
        self.delivering.is_none() && self.queue.is_empty()
    }

    /// Queues a report for each of these recipients. For `-`, and where there are no recipients, it goes to the log.
    pub(super) fn post(
        &mut self,
        report: &Rc<Report>,
        targets: &[Box<str>],
        level: Level,
        log: &mut Log,
        now: Instant,
    ) -> Lost {
        let mut lost = Lost::new();
        let nobody = ["-".into()];
        for target in if targets.is_empty() { &nobody } else { targets } {
            if &**target == "-" {
                log.tell(&Event::Report { level, report });
                continue;
            }
            log.tell(&Event::Mailing { report, to: target });
            for dropped in self.queue.push(Rc::clone(report), target, now) {
                log_unsent(log, &dropped, "the queue is full");
                lost.push(dropped.unsent.report);
            }
        }
        lost
    }

    /// Whether a delivery is due and none is under way.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.delivering.is_none() && self.queue.next_due().is_some_and(|at| at <= now)
    }

    /// Starts the next delivery that is due. `Some` means that it is over already.
    pub(super) fn start(
        &mut self,
        config: &Sequencer,
        os: &mut Os,
        log: &mut Log,
        now: Instant,
    ) -> Option<Lost> {
        if self.delivering.is_some() {
            return None;
        }
        let mut delivery = self.queue.start(now)?;
        delivery.message.send_from(&config.fromaddress);
        let mut argv = command::split(&config.sendmail).unwrap_or_default();
        argv.extend(["-f", &config.fromaddress, "--", &delivery.to].map(str::to_string));
        let started = match os.spawner.filter(&argv) {
            Ok(started) => started,
            Err(error) => {
                let is_missing = error.is_of_the_command();
                let lost = self.over(Err(Failure::NotStarted(error.to_string())), log, now);
                if is_missing {
                    self.say_what_is_missing(config, log);
                }
                return Some(lost);
            }
        };
        let mut output = Receiver::from(started.output);
        let mut input = Sender::from(started.stdin);
        let registry = os.poll.registry();
        // If this fails, no event reports sendmail's words, but the time limit still ends the delivery.
        let _ = registry.register(&mut output, Ready::MailOutput.token(), Interest::READABLE);
        let _ = registry.register(&mut input, Ready::MailInput.token(), Interest::WRITABLE);
        log.tell(&Event::Decision(Decision::Delivering {
            to: &delivery.to,
            pid: started.pid.as_raw(),
        }));
        let mut delivering = Delivering {
            pid: started.pid,
            input: Some(input),
            output: Some(output),
            message: delivery.message,
            chunk: Vec::new(),
            written: 0,
            said: Vec::new(),
            began: now,
            time: self.queue.try_time(now),
            killed: None,
            more: false,
        };
        delivering.feed();
        self.delivering = Some(delivering);
        None
    }

    /// Once for each program: which one it is, and what to do without.
    fn say_what_is_missing(&mut self, config: &Sequencer, log: &mut Log) {
        if self.missing.as_ref() == Some(&config.sendmail) {
            return;
        }
        self.missing = Some(config.sendmail.clone());
        log.tell(&Event::NoSendmail(&config.sendmail));
    }

    pub(super) fn event(&mut self, ready: Ready, os: &mut Os) {
        match &mut self.delivering {
            Some(delivering) if ready == Ready::MailInput => delivering.feed(),
            Some(delivering) => delivering.read(&mut os.buffer),
            None => {}
        }
    }

    /// When there is something to do; `starts` says whether deliveries are still started.
    pub(super) fn deadline(&self, starts: bool) -> Option<Instant> {
        match &self.delivering {
            Some(delivering) => Some(delivering.deadline()),
            None => self.queue.next_due().filter(|_| starts),
        }
    }

    /// Does what is due at `now`. `Some` means that this has ended the delivery.
    pub(super) fn act(&mut self, os: &mut Os, log: &mut Log, now: Instant) -> Option<Lost> {
        self.delivering.as_mut()?.act(os, now);
        let left = self
            .delivering
            .take_if(|delivering| delivering.is_to_be_left(now))?;
        // When it ends at last, it is reaped like an orphan.
        let said = left.said();
        let why = left.killed.and_then(|(signalled, _)| signalled.refusal());
        let failure = Failure::LeftBehind(left.time, why, said);
        Some(self.over(Err(failure), log, now))
    }

    /// Ends the delivery: its process has been reaped.
    pub(super) fn reaped(&mut self, exit: Exit, os: &mut Os, log: &mut Log, now: Instant) -> Lost {
        let Some(mut delivering) = self.delivering.take() else {
            return Lost::new();
        };
        delivering.read(&mut os.buffer);
        let said = delivering.said();
        let result = match exit {
            _ if delivering.killed.is_some() => Err(Failure::TimedOut(delivering.time, said)),
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => Err(Failure::Exited(code, said)),
            Exit::Signal(signal) => Err(Failure::Killed(signal, said)),
        };
        self.over(result, log, now)
    }

    fn over(&mut self, result: Result<(), Failure>, log: &mut Log, now: Instant) -> Lost {
        match self.queue.finished(result, now) {
            None => {}
            Some(Verdict::Sent) => log.tell(&Event::Decision(Decision::Delivered)),
            Some(Verdict::Retry {
                line,
                unsent,
                log: in_full,
                ..
            }) => tell_failed(log, Level::Warning, &unsent, &line, in_full),
            Some(Verdict::GaveUp { line, dropped }) => {
                tell_failed(log, Level::Error, &dropped.unsent, &line, !dropped.logged);
                return vec![dropped.unsent.report];
            }
        }
        Lost::new()
    }

    /// Tells that the daemon ends once the queue is empty, in a drain at the latest `until` then.
    pub(super) fn close(&mut self, now: Instant, until: Option<Instant>) {
        self.queue.close(now, until);
        let share = self.queue.try_time(now);
        if let Some(delivering) = &mut self.delivering {
            let taken = now.saturating_duration_since(delivering.began);
            delivering.time = delivering.time.min(taken + share);
        }
    }

    /// Ends a delivery that the stop cannot wait for. Whether the message arrives is uncertain.
    pub(super) fn abandon(&mut self, log: &mut Log) {
        let Some(delivering) = self.delivering.take() else {
            return;
        };
        if let Some(why) = process::kill(delivering.pid, true).refusal() {
            log.tell(&Event::Unkillable {
                who: Who::Sendmail,
                pid: delivering.pid.as_raw(),
                why: Some(&why),
                left: true,
            });
        }
    }

    /// Empties the queue at the end and returns what was in it.
    pub(super) fn give_up_all(&mut self, log: &mut Log) -> Vec<Dropped> {
        self.abandon(log);
        self.queue.drain()
    }
}

/// Logs why a try has failed, and the report `in_full` if that is asked.
fn tell_failed(log: &mut Log, level: Level, unsent: &Unsent, line: &str, in_full: bool) {
    log.tell(&Event::MailFailed {
        level,
        unsent,
        line,
    });
    if in_full {
        log.tell(&Event::UnsentReport(unsent));
    }
}

/// Logs a report that left the queue unsent, whole and only once.
pub(super) fn log_unsent(log: &mut Log, dropped: &Dropped, why: &str) {
    if !dropped.logged {
        let unsent = &dropped.unsent;
        log.tell(&Event::MailNotSent { unsent, why });
        log.tell(&Event::UnsentReport(unsent));
    }
}

impl Delivering {
    /// Writes as much of the message as sendmail takes now.
    fn feed(&mut self) {
        for turn in 0.. {
            let Some(input) = &mut self.input else { return };
            if turn == READS_PER_TURN {
                self.more = true;
                return;
            }
            if self.written == self.chunk.len() {
                self.chunk.clear();
                self.written = 0;
                if !self.message.fill(&mut self.chunk, READ_SIZE) {
                    self.input = None;
                    return;
                }
            }
            match input.write(&self.chunk[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // sendmail closed its input early. Its exit status will tell whether that was right.
                Err(_) => self.input = None,
            }
        }
    }

    /// Reads what sendmail prints and keeps the beginning of it.
    fn read(&mut self, buffer: &mut [u8]) {
        let Some(output) = &mut self.output else {
            return;
        };
        for turn in 0.. {
            if turn == READS_PER_TURN {
                self.more = true;
                return;
            }
            match output.read(buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let room = MAX_SAID.saturating_sub(self.said.len());
                    self.said.extend_from_slice(&buffer[..n.min(room)]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.output = None;
    }

    /// What sendmail has printed so far.
    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    /// When it is killed; once it has been, when it is left behind. What has more to read or write is due at once.
    fn deadline(&self) -> Instant {
        match self.killed {
            _ if self.more => self.began,
            Some((_, left_at)) => left_at,
            None => self.began + self.time,
        }
    }

    fn act(&mut self, os: &mut Os, now: Instant) {
        if std::mem::take(&mut self.more) {
            self.feed();
            self.read(&mut os.buffer);
        }
        if self.killed.is_none() && now >= self.began + self.time {
            self.input = None;
            self.killed = Some((process::kill(self.pid, true), now + DYING_TIME));
        }
    }

    fn is_to_be_left(&self, now: Instant) -> bool {
        self.killed.is_some_and(|(_, left_at)| now >= left_at)
    }
}

#[cfg(test)]
mod tests;
