//! The mail queue: which message goes to sendmail next, when a failed one is tried again, and which reports have to go
//! to the log instead. It also says how long a try may take, and which exit statuses mean a permanent fault. Pure and
//! bounded: it starts no process and writes no log.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::job::outcome::signal_name;
use crate::mail::report::{Message, Report};
use crate::text::{harmless, seconds};

/// The most messages queued, the one under way included.
const MAX_MESSAGES: usize = 256;
/// The most bytes of reports queued. A report counts once, however many recipients it has.
const MAX_BYTES: usize = 16 << 20;
/// How long sendmail may take for one message.
pub const TRY_TIME: Duration = Duration::from_secs(60);
/// How long it may take at least where the time left is shared among all that is queued.
const LEAST_TRY_TIME: Duration = Duration::from_secs(10);
/// How long a sendmail that was killed for its time-out may still take to end.
pub const DYING_TIME: Duration = Duration::from_secs(5);
/// How long after each failed try the next one follows. After the last of these the message is given up.
const RETRY_AFTER: [Duration; 6] = [
    Duration::from_secs(30),
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(240),
    Duration::from_secs(480),
    Duration::from_secs(960),
];
/// How many bytes of sendmail's own words are kept.
pub const MAX_SAID: usize = 1000;

/// Why a try failed. sendmail may print any bytes; they are made harmless when they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// sendmail could not be started, for this reason in the system's words.
    NotStarted(String),
    /// It exited with this status, not 0, and printed this.
    Exited(i32, String),
    /// This signal killed it. It had printed this.
    Killed(i32, String),
    /// It was stopped after this time. It had printed this.
    TimedOut(Duration, String),
    /// It was killed after this time and was still there `DYING_TIME` later. Holds the system's words if it may not be
    /// signalled, and what it had printed.
    LeftBehind(Duration, Option<String>, String),
}

impl Failure {
    /// Whether another try is unlikely to help (sysexits.h: 64 to 68, 77, 78), so that the report goes to the log at
    /// once.
    fn permanent(&self) -> bool {
        match self {
            Failure::NotStarted(_) => true,
            Failure::Exited(status, _) => matches!(status, 64..=68 | 77 | 78),
            Failure::Killed(..) | Failure::TimedOut(..) | Failure::LeftBehind(..) => false,
        }
    }
}

/// For example `sendmail exited with 75: mail system is down`, on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = match self {
            Failure::NotStarted(why) => {
                write!(f, "sendmail could not be started")?;
                why
            }
            Failure::Exited(status, said) => {
                write!(f, "sendmail exited with {status}")?;
                said
            }
            Failure::Killed(signal, said) => {
                write!(f, "sendmail was killed by {}", signal_name(*signal))?;
                said
            }
            Failure::TimedOut(time, said) => {
                write!(f, "sendmail took longer than {} seconds", seconds(*time))?;
                said
            }
            Failure::LeftBehind(time, why, said) => {
                let time = seconds(*time);
                write!(f, "sendmail took longer than {time} seconds and ")?;
                match why {
                    Some(why) => write!(f, "cannot be signalled ({why})")?,
                    None => write!(f, "does not die of SIGKILL")?,
                }
                said
            }
        };
        let said = one_line(said);
        if said.is_empty() {
            return Ok(());
        }
        write!(f, ": {said}")
    }
}

/// `said` on one line, at most `MAX_SAID` bytes. White space becomes one space.
fn one_line(said: &str) -> String {
    let mut line = String::new();
    for word in said.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&harmless(word));
        if line.len() > MAX_SAID {
            break;
        }
    }
    let mut end = line.len().min(MAX_SAID);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(line[..end].trim_end().len());
    line
}

/// One recipient's copy of a report that mail has not carried (yet).
#[derive(Debug, Clone)]
pub struct Unsent {
    /// The report.
    pub report: Rc<Report>,
    /// Its recipient.
    pub to: String,
    copy: u64,
}

impl Unsent {
    /// The report's headers as they are logged, before its body.
    pub fn log_headers(&self) -> String {
        self.report.log_headers(&self.to, self.copy)
    }
}

/// A report that left the queue unsent. Its throttle has to hear of it, and so does the log unless it has it already.
#[derive(Debug, Clone)]
pub struct Dropped {
    /// The report and its recipient.
    pub unsent: Unsent,
    /// Whether it has been logged already, because of a permanent fault.
    pub logged: bool,
}

/// A message to hand to sendmail.
#[derive(Debug)]
pub struct Delivery {
    /// The recipient.
    pub to: String,
    /// What sendmail reads.
    pub message: Message,
}

/// What became of a try.
#[derive(Debug)]
pub enum Verdict {
    /// sendmail took the message.
    Sent,
    /// It will be tried again.
    Retry {
        /// The line for the log.
        line: String,
        /// How long from now.
        after: Duration,
        /// The report.
        unsent: Unsent,
        /// Whether the report is to be logged at once: the fault is permanent and it has not been logged yet.
        log: bool,
    },
    /// That was the last try; the message is given up.
    GaveUp {
        /// The line for the log. The report follows it, unless it has been logged before.
        line: String,
        /// The report.
        dropped: Dropped,
    },
}

/// What became of all messages so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Messages that sendmail took.
    pub sent: u64,
    /// Tries that failed.
    pub tries_failed: u64,
    /// Messages that went to the log instead.
    pub given_up: u64,
}

/// The messages that wait for sendmail, oldest first, and the one under way.
#[derive(Debug, Default)]
pub struct Queue {
    /// What became of earlier messages.
    pub counts: Counts,
    entries: VecDeque<Entry>,
    bytes: usize,
    copies: u64,
    /// The daemon ends. Each message gets one more try, and none after that.
    closing: bool,
    /// By when all tries are to be over, if each is to have a share of the time left.
    until: Option<Instant>,
    last_error: Option<(String, Instant)>,
    failing_since: Option<Instant>,
    last_given_up: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    unsent: Unsent,
    logged: bool,
    due: Instant,
    failed_tries: usize,
    under_way: bool,
    /// The try under way had begun before the daemon was told to end, so another one is due if it fails.
    one_more: bool,
}

impl Queue {
    /// An empty queue.
    pub fn new() -> Queue {
        Queue::default()
    }

    /// Queues a report for one recipient, due at once. Returns what had to leave to make room: the oldest messages, but
    /// never the one under way. A report larger than `MAX_BYTES` is still queued, on its own.
    pub fn push(&mut self, report: Rc<Report>, to: &str, now: Instant) -> Vec<Dropped> {
        let dropped = self.make_room(&report);
        self.gave_up(dropped.len(), now);
        if !self.holds(&report) {
            self.bytes = self.bytes.saturating_add(report.size());
        }
        self.copies += 1;
        self.entries.push_back(Entry {
            unsent: Unsent {
                report,
                to: to.to_string(),
                copy: self.copies,
            },
            logged: false,
            due: now,
            failed_tries: 0,
            under_way: false,
            one_more: false,
        });
        dropped
    }

    fn make_room(&mut self, report: &Rc<Report>) -> Vec<Dropped> {
        let under_way = self.entries.iter().find(|e| e.under_way);
        let under_way = under_way.map(|e| Rc::clone(&e.unsent.report));
        let mut dropped = Vec::new();
        loop {
            let more = if self.holds(report) { 0 } else { report.size() };
            let too_many = self.entries.len() >= MAX_MESSAGES;
            if !too_many && self.bytes.saturating_add(more) <= MAX_BYTES {
                return dropped;
            }
            // A report stays if another copy of it is being pushed or is under way: dropping it would free no bytes.
            let stays = |r: &Rc<Report>| {
                Rc::ptr_eq(r, report) || under_way.as_ref().is_some_and(|u| Rc::ptr_eq(r, u))
            };
            let may_go = |e: &Entry| !e.under_way && (too_many || !stays(&e.unsent.report));
            let Some(oldest) = self.entries.iter().position(may_go) else {
                return dropped;
            };
            dropped.extend(self.remove(oldest).map(Entry::dropped));
        }
    }

    /// When the next delivery should start; `None` while one is under way or nothing is queued.
    pub fn next_due(&self) -> Option<Instant> {
        if self.under_way().is_some() {
            return None;
        }
        self.entries.iter().map(|e| e.due).min()
    }

    /// Starts the next message that is due, unless one is under way. Recipients whose queued messages have failed least
    /// often come first, so that a dead address holds up nobody else. Among those, the message that was due earliest
    /// comes first, then the oldest.
    pub fn start(&mut self, now: Instant) -> Option<Delivery> {
        if self.under_way().is_some() {
            return None;
        }
        let failed = self.failed_tries();
        let rank = |e: &Entry| (failed.get(e.unsent.to.as_str()), e.due);
        let due = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, e)| e.due <= now);
        let (index, _) = due.min_by_key(|(_, e)| rank(e))?;
        let entry = self.entries.get_mut(index)?;
        entry.under_way = true;
        let Unsent { report, to, copy } = &entry.unsent;
        Some(Delivery {
            to: to.clone(),
            message: Message::new(Rc::clone(report), to, *copy),
        })
    }

    /// Notes how the delivery under way ended; `None` if there was none.
    pub fn finished(&mut self, result: Result<(), Failure>, now: Instant) -> Option<Verdict> {
        let index = self.under_way()?;
        let failure = match result {
            Ok(()) => {
                self.remove(index);
                self.counts.sent += 1;
                self.last_error = None;
                self.failing_since = None;
                return Some(Verdict::Sent);
            }
            Err(failure) => failure,
        };
        self.counts.tries_failed += 1;
        let entry = self.entries.get_mut(index)?;
        entry.under_way = false;
        let start = format!("Mail to {} failed: {failure}", entry.unsent.to);
        self.last_error = Some((failure.to_string(), now));
        self.failing_since.get_or_insert(now);
        let next_try = RETRY_AFTER.get(entry.failed_tries).copied();
        let one_more = std::mem::take(&mut entry.one_more) && !failure.permanent();
        let next_try = if self.closing {
            one_more.then_some(Duration::ZERO)
        } else {
            next_try
        };
        let Some(after) = next_try else {
            let dropped = self.remove(index)?.dropped();
            self.gave_up(1, now);
            let rest = match dropped.logged {
                true => "the report was logged before",
                false => "the report follows",
            };
            let line = format!("{start}, giving up, {rest}");
            return Some(Verdict::GaveUp { line, dropped });
        };
        entry.failed_tries += 1;
        entry.due = now + after;
        let log = failure.permanent() && !entry.logged;
        entry.logged |= log;
        let line = format!("{start}, next try in {} seconds", seconds(after));
        Some(Verdict::Retry {
            line,
            after,
            unsent: entry.unsent.clone(),
            log,
        })
    }

    fn gave_up(&mut self, messages: usize, now: Instant) {
        if messages == 0 {
            return;
        }
        self.counts.given_up += messages as u64;
        self.last_given_up = Some(now);
        if self.entries.is_empty() {
            // The queue is empty: nothing is left that could fail or succeed.
            self.failing_since = None;
        }
    }

    /// Tells that the daemon ends once the queue is empty. Everything is due now, and what fails is given up. Where there
    /// is time `until` then, no message may take all of it, and one whose try is under way has another one.
    pub fn close(&mut self, now: Instant, until: Option<Instant>) {
        self.closing = true;
        self.until = until;
        for entry in &mut self.entries {
            entry.due = entry.due.min(now);
            entry.one_more = entry.under_way && until.is_some();
        }
    }

    /// How long a try that begins now may take.
    pub fn try_time(&self, now: Instant) -> Duration {
        let Some(until) = self.until else {
            return TRY_TIME;
        };
        let queued = u32::try_from(self.entries.len()).unwrap_or(u32::MAX).max(1);
        let share = until.saturating_duration_since(now) / queued;
        share.clamp(LEAST_TRY_TIME, TRY_TIME)
    }

    /// Empties the queue at shutdown. The message under way is included; whether it arrives is uncertain.
    pub fn drain(&mut self) -> Vec<Dropped> {
        self.bytes = 0;
        self.counts.given_up += self.entries.len() as u64;
        self.entries.drain(..).map(Entry::dropped).collect()
    }

    /// Messages queued, the one under way included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is queued or under way.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Why the last try failed; `None` if it did not.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_ref().map(|(error, _)| error.as_str())
    }

    /// When the last try failed; `None` if it did not.
    pub fn last_error_at(&self) -> Option<Instant> {
        self.last_error.as_ref().map(|(_, at)| *at)
    }

    /// When mail began to fail: the first failed try since sendmail last took a message or the queue was empty. `None`
    /// if the queue is empty or the last try did not fail.
    pub fn failing_since(&self) -> Option<Instant> {
        self.failing_since
    }

    /// When a message was last given up, after its last try or because the queue was full.
    pub fn last_given_up(&self) -> Option<Instant> {
        self.last_given_up
    }

    fn under_way(&self) -> Option<usize> {
        self.entries.iter().position(|e| e.under_way)
    }

    fn holds(&self, report: &Rc<Report>) -> bool {
        let mut held = self.entries.iter().map(|e| &e.unsent.report);
        held.any(|r| Rc::ptr_eq(r, report))
    }

    /// How often queued messages have failed, by recipient. Recipients without a failure are absent.
    fn failed_tries(&self) -> BTreeMap<&str, usize> {
        let mut failed = BTreeMap::new();
        for entry in self.entries.iter().filter(|e| e.failed_tries > 0) {
            *failed.entry(entry.unsent.to.as_str()).or_insert(0) += entry.failed_tries;
        }
        failed
    }

    fn remove(&mut self, index: usize) -> Option<Entry> {
        let entry = self.entries.remove(index)?;
        if !self.holds(&entry.unsent.report) {
            self.bytes = self.bytes.saturating_sub(entry.unsent.report.size());
        }
        Some(entry)
    }
}

impl Entry {
    fn dropped(self) -> Dropped {
        Dropped {
            unsent: self.unsent,
            logged: self.logged,
        }
    }
}

#[cfg(test)]
mod tests;
