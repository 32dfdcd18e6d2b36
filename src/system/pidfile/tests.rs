#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{PoisonError, RwLockReadGuard};
use std::time::Instant;

use super::*;
use crate::system::STARTING;
use crate::system::lock::NoPatience;

/// As long as this lives, no other test starts a process.
fn alone() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

fn taker(pid: u32) -> Taker<'static> {
    Taker {
        pid,
        starter: None,
        user: None,
        is_daemon: |_| true,
    }
}

fn take(path: &Path, pid: u32) -> Result<PidFile, Error> {
    PidFile::take(path, taker(pid), &mut NoPatience)
}

#[test]
fn a_held_file_is_refused_and_a_stale_one_taken_over() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    for stale in [
        "",
        "nonsense",
        "1 2",
        "4000000000",
        "-1",
        "99999999999999999999",
    ] {
        fs::write(&path, stale).unwrap();
        let held = take(&path, 4_000_000).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "4000000\n");
        let error = take(&path, 4_000_001).unwrap_err().to_string();
        assert!(
            error.starts_with("another instance holds pid file"),
            "{error}"
        );
        assert!(error.ends_with("(process 4000000)"), "{error}");
        drop(held);
        assert!(!path.exists());
    }
}

/// A twistd locks nothing, so it cannot show that it is stopping.
#[test]
fn a_twistd_is_given_five_seconds() {
    struct Clock(Instant, u32);
    impl Patience for Clock {
        fn now(&self) -> Instant {
            self.0
        }
        fn pause(&mut self, time: Duration) -> bool {
            self.0 += time;
            self.1 += 1;
            true
        }
        fn waits_for(&mut self, _: &Path, _: Duration) {}
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let mut running = called("twistd");
    let _alone = alone();
    let named = format!("{}\n", running.id());
    fs::write(&path, &named).unwrap();
    let mut clock = Clock(Instant::now(), 0);
    let error = PidFile::take(&path, taker(4_000_000), &mut clock).unwrap_err();
    running.kill().unwrap();
    running.wait().unwrap();
    let text = error.to_string();
    assert!(
        text.ends_with(&format!("(process {})", running.id())),
        "{text}"
    );
    assert_eq!(clock.1, 100);
    assert_eq!(fs::read_to_string(&path).unwrap(), named);
}

/// Starts a process of this name that waits.
fn called(name: &str) -> Child {
    let _alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let mut shell = Command::new("sh");
    shell.arg0(name).args(["-c", "read line"]);
    let child = shell.stdin(Stdio::piped()).spawn().unwrap();
    // The kernel lets vfork(2)'s parent go on before the new program's arguments can be read.
    let command_line = format!("/proc/{}/cmdline", child.id());
    while fs::read(&command_line).unwrap().is_empty() {
        std::thread::yield_now();
    }
    child
}

fn is(words: &[&str]) -> Option<Program> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    program(&words, |arguments| arguments != ["check"])
}

#[test]
fn a_daemon_is_known_by_its_command_line() {
    for words in [
        &["twistd"][..],
        &["/usr/bin/twistd", "-y", "x.tac"],
        &["/usr/bin/python2.7", "-u", "/usr/bin/twistd", "-n"],
        &["python3", "-W", "ignore", "twistd3"],
        &["python3", "-bWonce", "twistd3"],
        &["/usr/bin/python", "-OO", "--", "twistd"],
        &["pypy", "/opt/twistd-2.7"],
        &["/bin/sh", "-e", "/srv/twistd"],
    ] {
        assert_eq!(is(words), Some(Program::Twistd), "{words:?}");
    }
    for words in [
        &["buildd-sequencer"][..],
        &["/usr/bin/buildd-sequencer", "--daemon"],
    ] {
        assert_eq!(is(words), Some(Program::Sequencer), "{words:?}");
    }
}

#[test]
fn who_has_the_word_in_its_arguments_is_no_daemon() {
    for words in [
        &["buildd-sequencer", "check"][..],
        &["grep", "twistd", "log"],
        &["less", "/usr/bin/twistd"],
        &["tail", "-f", "twistd.log"],
        &["vi", "buildd-sequencer"],
        &["man", "buildd-sequencer"],
        &["sh", "-c", "twistd"],
        &["bash", "-ec", "twistd"],
        &["python3", "-m", "twistd"],
        &["python3", "x.py", "twistd"],
        &["python3"],
        &["twistd.log"],
        &["mytwistd"],
        &[""],
        &[],
    ] {
        assert_eq!(is(words), None, "{words:?}");
    }
}

#[test]
fn its_own_and_its_starters_number_are_stale() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid");
    let mut running = called("buildd-sequencer");
    let _alone = alone();
    let named = running.id();
    let stranger = taker(4_000_000);
    let is_refused = |taker| {
        fs::write(&path, format!("{named}\n")).unwrap();
        PidFile::take(&path, taker, &mut NoPatience).is_err()
    };
    let own = Taker {
        pid: named,
        ..stranger
    };
    let started = Taker {
        starter: Some(named),
        ..stranger
    };
    assert_eq!(
        [stranger, own, started].map(is_refused),
        [true, false, false]
    );
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
fn a_directory_in_its_place_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let error = take(directory.path(), 1).unwrap_err().to_string();
    assert!(error.ends_with("Is a directory"), "{error}");
}
