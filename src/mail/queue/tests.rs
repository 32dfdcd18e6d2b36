//! Tests of `queue`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::job::outcome::{Cause, Outcome};
use crate::mail::report::{Failed, Origin, Run};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::SystemTime;

fn log_text(unsent: &Unsent) -> Vec<u8> {
    [unsent.log_headers().as_bytes(), unsent.report.body()].concat()
}

const MIB: usize = 1 << 20;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A report of about `size` bytes, told apart by its job's name.
fn report(job: &str, size: usize) -> Rc<Report> {
    let run = Run {
        job,
        command: "scan",
        started: SystemTime::UNIX_EPOCH,
        took: s(1),
    };
    let outcome = Outcome {
        code: 1,
        cause: Cause::Exited,
    };
    let failed = Failed {
        outcome: &outcome,
        repeat: None,
        stdout: vec![b'\n'; size].into(),
        // One byte shows at once that it needs encoding, so that large reports take the test no time.
        stderr: vec![0xff].into(),
    };
    let origin = Origin {
        from: "launchpad@lists.canonical.com",
        host: "cocoplum",
        name: None,
        pid: 1,
        number: 1,
        now: SystemTime::UNIX_EPOCH,
    };
    Rc::new(Report::failure(&run, failed, &origin))
}

fn exits(status: i32) -> Result<(), Failure> {
    Err(Failure::Exited(status, String::new()))
}

/// The recipients of what left the queue, in order.
fn recipients(dropped: &[Dropped]) -> Vec<&str> {
    dropped.iter().map(|d| d.unsent.to.as_str()).collect()
}

/// Starts the delivery that is due and ends it with `result`. Returns its recipient.
fn deliver(queue: &mut Queue, result: Result<(), Failure>, now: Instant) -> Option<String> {
    let to = queue.start(now)?.to;
    assert!(queue.finished(result, now).is_some());
    Some(to)
}

#[test]
fn a_report_is_due_at_once_and_gone_when_it_is_sent() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    assert_eq!(queue.next_due(), None);
    assert!(queue.start(t0).is_none());
    let report = report("scan", 10);
    assert!(
        queue
            .push(Rc::clone(&report), "ops@example.com", t0)
            .is_empty()
    );
    assert_eq!((queue.len(), queue.bytes), (1, report.size()));
    assert_eq!(queue.next_due(), Some(t0));
    assert_eq!(queue.start(t0).unwrap().to, "ops@example.com");
    assert_eq!(queue.len(), 1, "the one under way counts");
    let verdict = queue.finished(Ok(()), t0 + s(1));
    assert!(matches!(verdict, Some(Verdict::Sent)));
    assert!(queue.is_empty());
    assert_eq!((queue.bytes, queue.next_due()), (0, None));
    assert!(
        queue.finished(Ok(()), t0 + s(1)).is_none(),
        "nothing is under way"
    );
}

#[test]
fn one_message_at_a_time_is_under_way() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    let report = report("scan", 10);
    for to in ["a@example.com", "b@example.com"] {
        queue.push(Rc::clone(&report), to, t0);
    }
    assert_eq!(queue.start(t0).unwrap().to, "a@example.com");
    assert!(queue.start(t0 + s(100)).is_none());
    assert_eq!(queue.next_due(), None);
    queue.finished(Ok(()), t0 + s(1));
    assert_eq!(queue.next_due(), Some(t0));
    assert_eq!(queue.start(t0 + s(1)).unwrap().to, "b@example.com");
}

#[test]
fn a_failed_delivery_is_tried_again_after_30_seconds_and_1_2_4_8_16_minutes() {
    let mut now = Instant::now();
    let mut queue = Queue::new();
    queue.push(report("scan", 10), "ops@example.com", now);
    let what = "Mail to ops@example.com failed: sendmail exited with 75: mail system is down";
    let mut identities = BTreeSet::new();
    for wait in [30, 60, 120, 240, 480, 960] {
        let mut message = Vec::new();
        queue.start(now).unwrap().message.fill(&mut message, 1);
        identities.insert(message);
        // The wait counts from the end of the try.
        now += s(7);
        let failure = Failure::Exited(75, "mail system\n is down\n".to_string());
        match queue.finished(Err(failure), now).unwrap() {
            Verdict::Retry {
                line, after, log, ..
            } => {
                assert_eq!(line, format!("{what}, next try in {wait} seconds"));
                assert_eq!(after, s(wait));
                assert!(!log);
            }
            other => unreachable!("{other:?}"),
        }
        assert_eq!(queue.next_due(), Some(now + s(wait)));
        assert!(
            queue
                .start(now + s(wait) - Duration::from_nanos(1))
                .is_none()
        );
        now += s(wait);
    }
    assert_eq!(identities.len(), 1, "a retry is the same message");
    queue.start(now).unwrap();
    let failure = Failure::Exited(75, "mail system is down".to_string());
    match queue.finished(Err(failure), now).unwrap() {
        Verdict::GaveUp { line, dropped } => {
            assert_eq!(line, format!("{what}, giving up, the report follows"));
            assert!(!dropped.logged);
            let log = log_text(&dropped.unsent);
            assert!(log.ends_with(b"\n\n\n\n\n\n\n\n\n\n\n"), "whole");
            assert!(String::from_utf8_lossy(&log).contains("\nTo: ops@example.com\n"));
        }
        other => unreachable!("{other:?}"),
    }
    assert_eq!((queue.len(), queue.bytes, queue.next_due()), (0, 0, None));
}

#[test]
fn each_copy_has_an_identity_of_its_own_in_the_log_as_in_the_mail() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    let report = report("scan", 10);
    let mut identities = BTreeSet::new();
    let identity = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("Message-ID: "));
        line.unwrap().to_string()
    };
    for to in ["a@example.com", "b@example.com"] {
        queue.push(Rc::clone(&report), to, t0);
        let mut headers = Vec::new();
        queue.start(t0).unwrap().message.fill(&mut headers, 1);
        let dropped = queue.drain();
        assert_eq!(identity(&log_text(&dropped[0].unsent)), identity(&headers));
        identities.insert(identity(&headers));
    }
    assert_eq!(identities.len(), 2);
}

#[test]
fn permanent_faults_are_those_the_contract_names() {
    let said = String::new;
    for status in 0..=256 {
        let permanent = [64, 65, 66, 67, 68, 77, 78].contains(&status);
        assert_eq!(
            Failure::Exited(status, said()).permanent(),
            permanent,
            "{status}"
        );
    }
    assert!(Failure::NotStarted(said()).permanent());
    assert!(!Failure::Killed(9, said()).permanent());
    assert!(!Failure::TimedOut(TRY_TIME, said()).permanent());
}

#[test]
fn a_permanent_fault_is_logged_at_once_and_never_again_while_the_tries_go_on() {
    let mut now = Instant::now();
    let mut queue = Queue::new();
    queue.push(report("scan", 10), "gone@example.com", now);
    let mut logged = Vec::new();
    for status in [75, 67, 67, 75, 67, 78] {
        queue.start(now).unwrap();
        match queue.finished(exits(status), now).unwrap() {
            Verdict::Retry { after, log, .. } => {
                logged.push(log);
                now += after;
            }
            other => unreachable!("{other:?}"),
        }
    }
    assert_eq!(logged, [false, true, false, false, false, false]);
    queue.start(now).unwrap();
    match queue.finished(exits(67), now).unwrap() {
        Verdict::GaveUp { line, dropped } => {
            assert!(dropped.logged);
            assert!(
                line.ends_with(", giving up, the report was logged before"),
                "{line}"
            );
        }
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_dead_address_holds_up_nobody_else() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    for i in 0..5 {
        queue.push(report(&format!("scan{i}"), 10), "dead@example.com", t0);
    }
    assert_eq!(
        deliver(&mut queue, exits(75), t0).unwrap(),
        "dead@example.com"
    );
    queue.push(report("late", 10), "ops@example.com", t0 + s(50));
    let next = deliver(&mut queue, Ok(()), t0 + s(60));
    assert_eq!(
        next.unwrap(),
        "ops@example.com",
        "pushed last, but it works"
    );
}

#[test]
fn one_failed_try_does_not_put_an_address_behind_all_of_a_dead_ones_mail() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    queue.push(report("hiccup", 10), "ops@example.com", t0);
    deliver(&mut queue, exits(75), t0);
    for i in 0..50 {
        queue.push(report(&format!("scan{i}"), 10), "dead@example.com", t0);
    }
    let mut now = t0;
    let mut tries = 0;
    loop {
        let to = queue.start(now).unwrap().to;
        if to == "ops@example.com" {
            break;
        }
        now += TRY_TIME;
        queue.finished(Err(Failure::TimedOut(TRY_TIME, String::new())), now);
        tries += 1;
    }
    assert_eq!(
        tries, 2,
        "only until the dead address has failed more often"
    );
}

#[test]
fn in_a_drain_each_message_gets_one_more_try_and_none_takes_all_the_time() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    for n in 0..3 {
        queue.push(report("scan", 10), &format!("r{n}@example.com"), t0);
    }
    assert_eq!(queue.try_time(t0), TRY_TIME);
    queue.start(t0).unwrap();
    // The try under way had begun before.
    queue.close(t0 + s(1), Some(t0 + s(61)));
    assert_eq!(queue.try_time(t0 + s(1)), s(20));
    assert_eq!(queue.try_time(t0 + s(52)), LEAST_TRY_TIME);
    let verdict = queue.finished(exits(75), t0 + s(2)).unwrap();
    let told = match verdict {
        Verdict::Retry { line, after, .. } => Some((line, after)),
        _ => None,
    };
    let (line, after) = told.unwrap();
    assert!(line.ends_with(", next try in 0 seconds"), "{line}");
    assert_eq!(after, Duration::ZERO);
    // The others come first.
    for to in ["r1@example.com", "r2@example.com", "r0@example.com"] {
        assert_eq!(queue.start(t0 + s(2)).unwrap().to, to);
        let verdict = queue.finished(exits(75), t0 + s(2)).unwrap();
        assert!(matches!(verdict, Verdict::GaveUp { .. }), "{to}");
    }
    assert!(queue.is_empty());
}

#[test]
fn at_a_stop_and_where_no_try_helps_what_fails_under_way_is_given_up() {
    let t0 = Instant::now();
    for (until, status) in [(None, 75), (Some(t0 + s(60)), 67)] {
        let mut queue = Queue::new();
        queue.push(report("scan", 10), "ops@example.com", t0);
        queue.start(t0).unwrap();
        queue.close(t0, until);
        let verdict = queue.finished(exits(status), t0).unwrap();
        assert!(matches!(verdict, Verdict::GaveUp { .. }), "{status}");
    }
}

#[test]
fn the_oldest_leave_a_queue_of_256_but_not_the_one_under_way() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    let to = |i: usize| format!("r{i}@example.com");
    for i in 0..256 {
        assert!(queue.push(report("scan", 10), &to(i), t0).is_empty(), "{i}");
    }
    assert_eq!(queue.start(t0).unwrap().to, to(0));
    for i in 256..600 {
        let dropped = queue.push(report("scan", 10), &to(i), t0);
        assert_eq!(recipients(&dropped), [to(i - 255)]);
        assert_eq!(queue.len(), 256);
    }
    assert!(matches!(queue.finished(Ok(()), t0), Some(Verdict::Sent)));
    assert!(queue.push(report("scan", 10), &to(600), t0).is_empty());
}

#[test]
fn a_report_with_more_recipients_than_places_gives_up_its_first_copies() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    let report = report("scan", 10);
    let mut dropped = Vec::new();
    for i in 0..300 {
        dropped.extend(queue.push(Rc::clone(&report), &format!("r{i}@example.com"), t0));
    }
    assert_eq!(dropped.len(), 44);
    assert_eq!(dropped[43].unsent.to, "r43@example.com");
    assert_eq!((queue.len(), queue.bytes), (256, report.size()));
}

#[test]
fn a_report_counts_once_however_many_recipients_it_has() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    let big = report("big", 10 * MIB);
    for to in ["a@example.com", "b@example.com", "c@example.com"] {
        assert!(queue.push(Rc::clone(&big), to, t0).is_empty());
        assert_eq!(queue.bytes, big.size());
    }
    let small = report("small", 5 * MIB);
    assert!(
        queue
            .push(Rc::clone(&small), "a@example.com", t0)
            .is_empty()
    );
    deliver(&mut queue, Ok(()), t0);
    assert_eq!(queue.bytes, big.size() + small.size());
    let dropped = queue.push(report("next", 2 * MIB), "a@example.com", t0);
    assert_eq!(
        recipients(&dropped),
        ["b@example.com", "c@example.com"],
        "only the last copy frees the bytes"
    );
    assert!(queue.bytes < 8 * MIB);
}

#[test]
fn a_queue_holds_16_mib_and_not_a_byte_more() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    let headers = report("a", 0).size();
    let full = report("a", 16 * MIB - 2 * headers - 1);
    assert!(queue.push(full, "a@example.com", t0).is_empty());
    assert!(queue.push(report("b", 1), "b@example.com", t0).is_empty());
    assert_eq!(queue.bytes, 16 * MIB);
    let dropped = queue.push(report("c", 0), "c@example.com", t0);
    assert_eq!(recipients(&dropped), ["a@example.com"]);
}

#[test]
fn nothing_is_pushed_out_that_would_free_no_bytes() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    let under_way = report("first", 10 * MIB);
    queue.push(Rc::clone(&under_way), "a@example.com", t0);
    queue.push(under_way, "b@example.com", t0);
    queue.push(report("second", MIB), "c@example.com", t0);
    queue.start(t0);
    let third = report("third", 6 * MIB);
    let dropped = queue.push(Rc::clone(&third), "d@example.com", t0);
    assert_eq!(recipients(&dropped), ["c@example.com"]);
    assert!(queue.push(third, "e@example.com", t0).is_empty());
    assert_eq!(queue.len(), 4);
}

#[test]
fn a_report_over_the_limit_is_queued_alone() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    queue.push(report("scan", 10), "a@example.com", t0);
    queue.push(report("scan", 10), "b@example.com", t0);
    let huge = report("huge", 17 * MIB);
    let dropped = queue.push(Rc::clone(&huge), "ops@example.com", t0);
    assert_eq!(recipients(&dropped), ["a@example.com", "b@example.com"]);
    assert!(
        queue
            .push(Rc::clone(&huge), "root@example.com", t0)
            .is_empty()
    );
    assert_eq!((queue.len(), queue.bytes), (2, huge.size()));
    let dropped = queue.push(report("scan", 10), "a@example.com", t0);
    assert_eq!(
        recipients(&dropped),
        ["ops@example.com", "root@example.com"]
    );
}

#[test]
fn shutdown_empties_the_queue_in_order_and_the_end_of_the_last_try_changes_nothing() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    for to in ["a@example.com", "b@example.com", "gone@example.com"] {
        queue.push(report("scan", 10), to, t0);
    }
    deliver(&mut queue, Ok(()), t0);
    deliver(&mut queue, exits(67), t0);
    queue.start(t0);
    let dropped = queue.drain();
    assert_eq!(recipients(&dropped), ["b@example.com", "gone@example.com"]);
    let logged: Vec<bool> = dropped.iter().map(|d| d.logged).collect();
    assert_eq!(logged, [true, false]);
    assert_eq!((queue.len(), queue.bytes, queue.next_due()), (0, 0, None));
    assert!(queue.finished(Ok(()), t0).is_none());
}

#[test]
fn mail_is_failing_from_the_first_failed_try_until_sendmail_takes_something() {
    let t0 = Instant::now();
    let mut queue = Queue::new();
    queue.push(report("scan", 10), "a@example.com", t0);
    assert_eq!((queue.last_error(), queue.failing_since()), (None, None));
    deliver(&mut queue, exits(75), t0 + s(5));
    assert_eq!(queue.last_error(), Some("sendmail exited with 75"));
    deliver(
        &mut queue,
        Err(Failure::Killed(9, String::new())),
        t0 + s(35),
    );
    assert_eq!(queue.last_error(), Some("sendmail was killed by SIGKILL"));
    assert_eq!(queue.failing_since(), Some(t0 + s(5)), "the first counts");
    deliver(&mut queue, Ok(()), t0 + s(100));
    assert_eq!((queue.last_error(), queue.failing_since()), (None, None));
}

#[test]
fn failures_say_what_sendmail_said_on_one_line() {
    let said = |text: &str| text.to_string();
    for (failure, text) in [
        (
            Failure::NotStarted(said("No such file or directory")),
            "sendmail could not be started: No such file or directory",
        ),
        (Failure::Exited(75, said("")), "sendmail exited with 75"),
        (Failure::Exited(1, said(" \n\t ")), "sendmail exited with 1"),
        (
            Failure::Exited(1, said("\n no\r\n\n\troute\u{85}to host\n")),
            "sendmail exited with 1: no route to host",
        ),
        (
            Failure::Killed(15, said("\u{1b}[31mred\0\u{7f}")),
            r"sendmail was killed by SIGTERM: \u{1b}[31mred\u{0}\u{7f}",
        ),
        (
            Failure::TimedOut(TRY_TIME, said("220 hello")),
            "sendmail took longer than 60 seconds: 220 hello",
        ),
    ] {
        assert_eq!(failure.to_string(), text);
    }
    let long = "word ".repeat(1 << 16);
    assert_eq!(one_line(&long), "word ".repeat(200).trim_end());
    assert_eq!(one_line(&"\u{20ac}".repeat(1000)), "\u{20ac}".repeat(333));
}

// A loop within a loop over all entries would still pass. A third one would not.
#[test]
fn a_full_queue_of_failing_addresses_stays_cheap() {
    let begun = Instant::now();
    let mut queue = Queue::new();
    for i in 0..MAX_MESSAGES {
        queue.push(
            report("scan", 10),
            &format!("recipient{i:04}@example.com"),
            begun,
        );
    }
    let mut tries = 0;
    while let Some(now) = queue.next_due() {
        queue.start(now).unwrap();
        queue.finished(exits(75), now).unwrap();
        tries += 1;
    }
    assert_eq!(tries, 7 * MAX_MESSAGES);
    let each = begun.elapsed() / u32::try_from(tries).unwrap();
    assert!(each < Duration::from_millis(20), "{each:?} each");
}

const RECIPIENTS: [&str; 6] = ["ops", "dead", "hangs", "gone", "flaky", "root"];

/// How sendmail treats a recipient, and how long that takes.
fn sendmail(to: &str, chance: u64) -> (Result<(), Failure>, Duration) {
    let said = String::new;
    let short = s(chance % 7);
    match (to, chance % 4) {
        ("dead", _) => (Err(Failure::Exited(75, said())), short),
        ("gone", _) => (Err(Failure::Exited(67, said())), short),
        ("hangs", _) => (Err(Failure::TimedOut(TRY_TIME, said())), TRY_TIME),
        ("flaky", 0) => (Err(Failure::NotStarted(said())), s(0)),
        ("flaky", 1) => (Err(Failure::Killed(9, said())), short),
        ("flaky", 2) => (Err(Failure::Exited(78, said())), short),
        _ => (Ok(()), short),
    }
}

/// A job, which has only this one report, and a recipient.
type Copy = (String, String);

/// What has become of one recipient's copy of a report.
#[derive(Debug)]
struct Fate {
    size: usize,
    due: Instant,
    tries: usize,
    sent: usize,
    logged: usize,
    permanent: bool,
}

/// A queue with a log, a sendmail and a ledger of all that was ever pushed.
struct World {
    queue: Queue,
    now: Instant,
    reports: usize,
    /// The copy that sendmail has, its result, and when that comes.
    under_way: Option<(Copy, Result<(), Failure>, Instant)>,
    queued: BTreeMap<Copy, Fate>,
    left: BTreeMap<Copy, Fate>,
    chance: u64,
}

impl World {
    fn new(chance: u64) -> World {
        World {
            queue: Queue::new(),
            now: Instant::now(),
            reports: 0,
            under_way: None,
            queued: BTreeMap::new(),
            left: BTreeMap::new(),
            chance,
        }
    }

    fn is_under_way(&self, copy: &Copy) -> bool {
        self.under_way.as_ref().is_some_and(|(c, ..)| c == copy)
    }

    fn push(&mut self, size: usize, recipients: u8) {
        let job = format!("job{}", self.reports);
        self.reports += 1;
        let report = report(&job, size);
        for (i, to) in RECIPIENTS.iter().enumerate() {
            if recipients & (1 << i) == 0 {
                continue;
            }
            let fate = Fate {
                size: report.size(),
                due: self.now,
                tries: 0,
                sent: 0,
                logged: 0,
                permanent: false,
            };
            self.queued.insert((job.clone(), (*to).to_string()), fate);
            for dropped in self.queue.push(Rc::clone(&report), to, self.now) {
                let copy = self.drops(&dropped);
                assert!(!self.is_under_way(&copy), "sendmail has it");
            }
            self.check_room(&job);
        }
        self.check_accounts();
    }

    /// Moves a copy that left the queue unsent from the ledger to the log.
    fn drops(&mut self, dropped: &Dropped) -> Copy {
        let copy = (
            dropped.unsent.report.job().to_string(),
            dropped.unsent.to.clone(),
        );
        let mut fate = self.queued.remove(&copy).unwrap();
        fate.logged += usize::from(!dropped.logged);
        assert_eq!(dropped.logged, fate.permanent);
        self.left.insert(copy.clone(), fate);
        copy
    }

    /// Checks that the queue is over its limit only because of reports that cannot make room.
    fn check_room(&self, pushed: &str) {
        assert!(self.queue.len() <= MAX_MESSAGES);
        let under_way = self.under_way.as_ref().map(|((job, _), ..)| job);
        let mut jobs = self.queued.keys().map(|(job, _)| job);
        assert!(
            self.queue.bytes <= MAX_BYTES
                || jobs.all(|job| job == pushed || Some(job) == under_way),
            "{} bytes",
            self.queue.bytes
        );
    }

    fn check_accounts(&self) {
        assert_eq!(self.queue.len(), self.queued.len());
        let mut bytes = 0;
        let mut last = "";
        for ((job, _), fate) in &self.queued {
            bytes += if job == last { 0 } else { fate.size };
            last = job;
        }
        assert_eq!(self.queue.bytes, bytes);
        let due = self.queued.values().map(|fate| fate.due).min();
        assert_eq!(
            self.queue.next_due(),
            due.filter(|_| self.under_way.is_none())
        );
    }

    /// Lets time pass, in which sendmail works.
    fn let_run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let next = match &self.under_way {
                Some((_, _, end)) => Some(*end),
                None => self.queue.next_due(),
            };
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            match self.under_way.take() {
                Some((copy, result, _)) => self.finish(copy, result),
                None => self.start(),
            }
            self.check_accounts();
        }
    }

    fn start(&mut self) {
        let mut delivery = self.queue.start(self.now).unwrap();
        assert!(self.queue.start(self.now).is_none(), "two at a time");
        let mut headers = Vec::new();
        delivery.message.fill(&mut headers, 1);
        let headers = String::from_utf8(headers).unwrap();
        let value = |name: &str| {
            let mut lines = headers.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .to_string()
        };
        assert_eq!(value("To: "), delivery.to);
        let copy = (value("X-Buildd-Job: "), delivery.to);
        assert!(self.queued[&copy].due <= self.now, "too early");
        let mut failures = BTreeMap::new();
        for ((_, to), fate) in &self.queued {
            *failures.entry(to).or_insert(0) += fate.tries;
        }
        for ((_, to), fate) in &self.queued {
            let waits = fate.due <= self.now;
            assert!(
                !waits || failures[to] >= failures[&copy.1],
                "{to} is held up by {copy:?}"
            );
        }
        self.chance += 1;
        let (result, took) = sendmail(&copy.1, self.chance);
        self.under_way = Some((copy, result, self.now + took));
    }

    fn finish(&mut self, copy: Copy, result: Result<(), Failure>) {
        let permanent = result.as_ref().err().is_some_and(Failure::permanent);
        let fate = self.queued.get_mut(&copy).unwrap();
        fate.tries += 1;
        match self.queue.finished(result, self.now).unwrap() {
            Verdict::Sent => {
                let mut fate = self.queued.remove(&copy).unwrap();
                fate.sent += 1;
                self.left.insert(copy, fate);
            }
            Verdict::Retry { after, log, .. } => {
                assert_eq!(after, s(30 << (fate.tries - 1)));
                fate.due = self.now + after;
                assert_eq!(log, permanent && !fate.permanent);
                fate.permanent |= permanent;
                fate.logged += usize::from(log);
            }
            Verdict::GaveUp { dropped, .. } => {
                assert_eq!(fate.tries, 7);
                assert_eq!(self.drops(&dropped), copy);
            }
        }
    }

    fn shut_down(&mut self) {
        for dropped in self.queue.drain() {
            self.drops(&dropped);
        }
        self.under_way = None;
        self.check_accounts();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize, u8),
    Burst(usize),
    LetRun(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![
        10 => 0_usize..5000,
        4 => Just(MIB),
        4 => Just(5 * MIB),
        1 => Just(17 * MIB)
    ];
    prop_oneof![
        20 => (size, 1_u8..64).prop_map(|(size, to)| Step::Push(size, to)),
        1 => (1_usize..60).prop_map(Step::Burst),
        10 => (0_u64..90).prop_map(Step::LetRun),
        5 => (0_u64..40_000).prop_map(Step::LetRun),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// Days of mail to good, dead, hanging and unsteady recipients. Every copy of every report is sent or logged, and
    /// not both. Only after a permanent fault may a copy be logged and sent later.
    #[test]
    fn every_report_ends_up_sent_or_in_the_log_exactly_once(
        steps in prop::collection::vec(step(), 0..100),
        chance in 0_u64..1000,
    ) {
        let mut world = World::new(chance);
        for step in steps {
            match step {
                Step::Push(size, recipients) => world.push(size, recipients),
                Step::Burst(count) => (0..count).for_each(|_| world.push(10, 0b11_1111)),
                Step::LetRun(seconds) => world.let_run(s(seconds)),
            }
        }
        world.shut_down();
        for (copy, fate) in world.left {
            let once = (fate.sent, fate.logged) == (1, 0) || (fate.sent, fate.logged) == (0, 1);
            let logged_early = fate.permanent && fate.logged == 1 && fate.sent <= 1;
            prop_assert!(once || logged_early, "{:?}: {:?}", copy, fate);
        }
    }

    #[test]
    fn what_sendmail_said_is_one_short_line(said in prop::collection::vec(any::<char>(), 0..2000)) {
        let line = one_line(&String::from_iter(said));
        prop_assert!(line.len() <= 1000);
        prop_assert!(!line.contains(char::is_control));
        prop_assert_eq!(line.trim(), line.as_str());
    }
}
