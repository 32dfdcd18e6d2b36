//! One delivery at a time: a message on its way into a sendmail process. It delays no job and loses no report:
//! what mail does not take goes to the log whole.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::rc::Rc;
use std::time::Instant;

use mio::Interest;
use mio::unix::pipe::{Receiver, Sender};
use nix::unistd::Pid;

use super::{Daemon, MAIL_INPUT, MAIL_OUTPUT, READ_SIZE, READS_PER_TURN};
use crate::config::Job;
use crate::life::Exit;
use crate::log::Level;
use crate::mail::{Dropped, Failure, MAX_SAID, TRY_TIME, Verdict};
use crate::process;
use crate::report::{Kind, Message, Report};
use crate::words;

/// A sendmail process and the message it is fed.
#[derive(Debug)]
pub struct Delivering {
    /// Its process, and its process group.
    pub pid: Pid,
    input: Option<Sender>,
    output: Option<Receiver>,
    message: Message,
    chunk: Vec<u8>,
    written: usize,
    said: Vec<u8>,
    deadline: Instant,
    timed_out: bool,
    /// A pipe was left for the sake of others before it was full or empty; no event will call us back.
    more: bool,
}

impl Daemon {
    /// Gives a report to each of a job's recipients: `-` is the log.
    pub(super) fn send_report(
        &mut self,
        report: Rc<Report>,
        job: &Job,
        level: Level,
        now: Instant,
    ) {
        let targets: Vec<Box<str>> = match self.config.recipients(job) {
            [] => vec!["-".into()],
            named => named.to_vec(),
        };
        for target in targets {
            if &*target == "-" {
                self.say_report(level, report.log_parts("-", 0));
                continue;
            }
            self.say(Level::Info, &format!("Mailing report to: {target}"));
            for dropped in self.queue.push(Rc::clone(&report), &target, now) {
                self.not_mailed(&dropped, "the queue is full");
            }
        }
    }

    fn say_report(&mut self, level: Level, (headers, body): (String, &[u8])) {
        self.say_parts(level, &[headers.as_bytes(), body]);
    }

    /// A report that left the queue unsent goes to the log whole, once, and its job's next failure is mailed.
    fn not_mailed(&mut self, dropped: &Dropped, why: &str) {
        self.log_unsent(dropped, why);
        self.forget_mailed([&*dropped.unsent.report]);
    }

    pub(super) fn log_unsent(&mut self, dropped: &Dropped, why: &str) {
        self.counters.mails_given_up += 1;
        if !dropped.logged {
            let to = &dropped.unsent.to;
            self.say(
                Level::Error,
                &format!("Mail to {to} was not sent: {why}, the report follows"),
            );
            self.say_report(Level::Error, dropped.unsent.log_parts());
        }
    }

    /// Has the next failures of the same kind mailed at once. One pass over the jobs for any number of reports.
    pub(super) fn forget_mailed<'a>(&mut self, reports: impl IntoIterator<Item = &'a Report>) {
        let mut lost: HashMap<&str, Vec<&str>> = HashMap::new();
        for report in reports {
            if let Kind::Failure(word) = report.kind() {
                lost.entry(report.job()).or_default().push(word);
            }
        }
        if lost.is_empty() {
            return;
        }
        for (job, record) in self.config.jobs.iter().zip(&mut self.records) {
            for word in lost.get(&*job.name).into_iter().flatten() {
                record.throttle.lost(word);
            }
        }
    }

    pub(super) fn start_delivery(&mut self, now: Instant) {
        let Some(delivery) = self.queue.start(now) else {
            return;
        };
        let mut argv = words::split(&self.config.sendmail).unwrap_or_default();
        argv.extend(["-f", &self.config.fromaddress, "--", &delivery.to].map(str::to_string));
        let started = match self.spawner.filter(&argv) {
            Ok(started) => started,
            Err(error) => {
                return self.delivery_over(Err(Failure::NotStarted(error.to_string())), now);
            }
        };
        let mut output = Receiver::from(started.output);
        let mut input = Sender::from(started.stdin);
        let registry = self.poll.registry();
        // Without events the time limit still ends the delivery.
        let _ = registry.register(&mut output, MAIL_OUTPUT, Interest::READABLE);
        let _ = registry.register(&mut input, MAIL_INPUT, Interest::WRITABLE);
        self.spew(|| format!("Mail to {} goes to process {}", delivery.to, started.pid));
        self.delivering = Some(Delivering {
            pid: started.pid,
            input: Some(input),
            output: Some(output),
            message: delivery.message,
            chunk: Vec::new(),
            written: 0,
            said: Vec::new(),
            deadline: now + TRY_TIME,
            timed_out: false,
            more: false,
        });
        self.feed_delivery();
    }

    /// Writes as much of the message as sendmail takes now.
    pub(super) fn feed_delivery(&mut self) {
        let Some(delivering) = &mut self.delivering else {
            return;
        };
        for turn in 0.. {
            let Some(input) = &mut delivering.input else {
                return;
            };
            if turn == READS_PER_TURN {
                delivering.more = true;
                return;
            }
            if delivering.written == delivering.chunk.len() {
                delivering.chunk.clear();
                delivering.written = 0;
                if !delivering.message.fill(&mut delivering.chunk, READ_SIZE) {
                    delivering.input = None;
                    return;
                }
            }
            match input.write(&delivering.chunk[delivering.written..]) {
                Ok(n) => delivering.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // It closed its input early; whether that was right, its exit status will tell.
                Err(_) => delivering.input = None,
            }
        }
    }

    /// Reads what sendmail says, and keeps the beginning.
    pub(super) fn read_delivery(&mut self) {
        let Some(delivering) = &mut self.delivering else {
            return;
        };
        let Some(output) = &mut delivering.output else {
            return;
        };
        for turn in 0.. {
            if turn == READS_PER_TURN {
                delivering.more = true;
                return;
            }
            match output.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(n) => {
                    let room = MAX_SAID.saturating_sub(delivering.said.len());
                    delivering
                        .said
                        .extend_from_slice(&self.buffer[..n.min(room)]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        delivering.output = None;
    }

    pub(super) fn delivery_deadline(&self) -> Option<Instant> {
        match &self.delivering {
            Some(delivering) if delivering.more => Some(delivering.deadline - TRY_TIME),
            Some(delivering) => (!delivering.timed_out).then_some(delivering.deadline),
            None => self.queue.next_due(),
        }
    }

    pub(super) fn act_on_delivery(&mut self, now: Instant) {
        if let Some(delivering) = &mut self.delivering
            && std::mem::take(&mut delivering.more)
        {
            self.feed_delivery();
            self.read_delivery();
        }
        if let Some(delivering) = &mut self.delivering
            && !delivering.timed_out
            && now >= delivering.deadline
        {
            delivering.timed_out = true;
            delivering.input = None;
            process::kill(delivering.pid);
        }
    }

    pub(super) fn delivery_reaped(&mut self, exit: Exit, now: Instant) {
        self.read_delivery();
        let Some(delivering) = self.delivering.take() else {
            return;
        };
        let said = String::from_utf8_lossy(&delivering.said).into_owned();
        let result = match exit {
            _ if delivering.timed_out => Err(Failure::TimedOut(said)),
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => Err(Failure::Exited(code, said)),
            Exit::Signal(signal) => Err(Failure::Killed(signal, said)),
        };
        self.delivery_over(result, now);
    }

    fn delivery_over(&mut self, result: Result<(), Failure>, now: Instant) {
        match &result {
            Ok(()) => self.counters.mails_sent += 1,
            Err(_) => self.counters.mail_tries_failed += 1,
        }
        let verdict = self.queue.finished(result, now);
        self.changed();
        match verdict {
            None => {}
            Some(Verdict::Sent) => self.spew(|| "sendmail took the message".to_string()),
            Some(Verdict::Retry { line, log, .. }) => {
                self.say(Level::Warning, &line);
                if let Some(unsent) = log {
                    self.say_report(Level::Error, unsent.log_parts());
                }
            }
            Some(Verdict::GaveUp { line, dropped }) => {
                self.say(Level::Error, &line);
                self.counters.mails_given_up += 1;
                if !dropped.logged {
                    self.say_report(Level::Error, dropped.unsent.log_parts());
                }
                self.forget_mailed([&*dropped.unsent.report]);
            }
        }
    }

    /// Ends a delivery that the stop cannot wait for; whether the message arrives is uncertain.
    pub(super) fn abandon_delivery(&mut self) {
        if let Some(delivering) = self.delivering.take() {
            process::kill(delivering.pid);
        }
    }
}
