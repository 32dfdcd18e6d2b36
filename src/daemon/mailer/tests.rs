#![allow(clippy::unwrap_used, reason = "a test may")]

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use mio::Poll;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tempfile::TempDir;

use super::*;
use crate::job::outcome::{Cause, Outcome};
use crate::mail::queue::TRY_TIME;
use crate::mail::report::{Failed, Origin, Run};
use crate::system::STARTING;
use crate::system::log::Rotation;
use crate::system::process::Spawner;

/// A mailer with one report for its sendmail, which is begun at a time that is told: nothing here is waited for.
struct Made {
    mailer: Mailer,
    config: Sequencer,
    os: Os,
    log: Log,
    log_path: PathBuf,
    t0: Instant,
    _directory: TempDir,
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Made {
    fn with_sendmail(sendmail: &str) -> Made {
        let directory = tempfile::tempdir().unwrap();
        let log_path = directory.path().join("log");
        let rotation = Rotation { size: 0, keep: 0 };
        let mut log = Log::open(Some(&log_path), rotation, None).unwrap();
        let config = Sequencer {
            sendmail: sendmail.into(),
            ..Sequencer::default()
        };
        let os = Os {
            poll: Poll::new().unwrap(),
            spawner: Spawner::new().unwrap(),
            buffer: vec![0; READ_SIZE],
        };
        let mut mailer = Mailer::new();
        let t0 = Instant::now();
        let to = ["ops@example.com".into()];
        let lost = mailer.post(&report(), &to, Level::Warning, &mut log, t0);
        assert!(lost.is_empty());
        Made {
            mailer,
            config,
            os,
            log,
            log_path,
            t0,
            _directory: directory,
        }
    }

    /// Starts what is due at this time; the process of the delivery.
    fn start(&mut self, now: Instant) -> Pid {
        let _alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
        let over = self
            .mailer
            .start(&self.config, &mut self.os, &mut self.log, now);
        assert!(over.is_none());
        let pid = self.mailer.pid().unwrap();
        let process = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        // Until it has become its program, or has ended already.
        wait_until(|| !process("cmdline").is_empty() || process("stat").contains(") Z "));
        pid
    }

    fn act(&mut self, now: Instant) -> Option<Lost> {
        self.mailer.act(&mut self.os, &mut self.log, now)
    }

    fn reaped(&mut self, exit: Exit, now: Instant) -> Lost {
        self.mailer.reaped(exit, &mut self.os, &mut self.log, now)
    }

    fn log(&mut self) -> String {
        self.log.flush(Instant::now(), SystemTime::now());
        std::fs::read_to_string(&self.log_path).unwrap()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let Some(pid) = self.mailer.pid() {
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
        }
    }
}

#[track_caller]
fn wait_until(condition: impl Fn() -> bool) {
    let until = Instant::now() + s(30);
    while !condition() {
        assert!(Instant::now() < until, "it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn report() -> Rc<Report> {
    let run = Run {
        job: "a",
        command: "false",
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
        stdout: Vec::new().into(),
        stderr: Vec::new().into(),
    };
    let origin = Origin {
        from: "launchpad@lists.canonical.com",
        host: "here",
        name: None,
        pid: 1,
        number: 1,
        now: SystemTime::UNIX_EPOCH,
    };
    Rc::new(Report::failure(&run, failed, &origin))
}

#[test]
fn a_sendmail_that_hangs_has_a_minute_and_then_all_of_it_is_killed() {
    // What it has started is of its group.
    let mut made = Made::with_sendmail("sh -c 'sleep 1000 & wait'");
    let t0 = made.t0;
    let pid = made.start(t0);
    assert_eq!(made.mailer.deadline(true), Some(t0 + TRY_TIME));
    assert!(made.act(t0 + TRY_TIME - Duration::from_millis(1)).is_none());
    assert_eq!(killpg(pid, None), Ok(()), "it is left alone until then");
    assert!(made.act(t0 + TRY_TIME).is_none());
    let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
    wait_until(|| waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Ok(killed));
    wait_until(|| killpg(pid, None) == Err(Errno::ESRCH));
    assert!(made.reaped(Exit::Signal(9), t0 + TRY_TIME).is_empty());
    let line = "Mail to ops@example.com failed: sendmail took longer than 60 seconds, next try in 30 seconds\n";
    let log = made.log();
    assert!(log.contains(line), "{log}");
    // And others have their turn: this one again, when it is due.
    assert_eq!(made.mailer.pid(), None);
    assert_eq!(made.mailer.deadline(true), Some(t0 + TRY_TIME + s(30)));
    assert_eq!(
        made.mailer.deadline(false),
        None,
        "where no delivery is started any more"
    );
    made.start(t0 + TRY_TIME + s(30));
}

#[test]
fn in_a_drain_a_sendmail_that_hangs_leaves_time_for_others() {
    let mut made = Made::with_sendmail("sh -c 'exec sleep 1000'");
    let t0 = made.t0;
    let pid = made.start(t0);
    made.mailer.queue.push(report(), "other@example.com", t0);
    made.mailer.close(t0 + s(8), Some(t0 + s(68)));
    // Half of the minute.
    assert_eq!(made.mailer.deadline(true), Some(t0 + s(38)));
    assert!(made.act(t0 + s(38)).is_none());
    let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
    wait_until(|| waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Ok(killed));
    assert!(made.reaped(Exit::Signal(9), t0 + s(38)).is_empty());
    let line = "sendmail took longer than 38 seconds, next try in 0 seconds\n";
    assert!(made.log().contains(line), "{}", made.log());
    assert!(made.mailer.is_due(t0 + s(38)));
}

#[test]
fn a_sendmail_that_sigkill_does_not_end_is_left_behind_after_five_seconds() {
    let mut made = Made::with_sendmail("sh -c 'exec sleep 1000'");
    let t0 = made.t0;
    let pid = made.start(t0);
    assert!(made.act(t0 + TRY_TIME).is_none());
    // Nobody has told of its end: as if it hung in the kernel.
    assert_eq!(made.mailer.deadline(true), Some(t0 + TRY_TIME + DYING_TIME));
    let before = t0 + TRY_TIME + DYING_TIME - Duration::from_millis(1);
    assert!(made.act(before).is_none());
    assert_eq!(made.mailer.pid(), Some(pid));
    assert!(made.act(t0 + TRY_TIME + DYING_TIME).is_some());
    assert_eq!(made.mailer.pid(), None);
    let log = made.log();
    assert!(log.contains("Mail to ops@example.com failed: "), "{log}");
    assert!(log.contains(", next try in 30 seconds\n"), "{log}");
    let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
    wait_until(|| waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Ok(killed));
}

#[test]
fn a_sendmail_that_ends_in_time_is_judged_by_its_status() {
    let mut made = Made::with_sendmail("true");
    let pid = made.start(made.t0);
    assert_eq!(waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)));
    assert!(made.reaped(Exit::Code(0), made.t0 + s(1)).is_empty());
    assert!(made.mailer.is_idle());
    assert!(!made.log().contains("failed"));
}
