#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLockReadGuard};

use tempfile::TempDir;

use super::*;
use crate::system::STARTING;
use crate::system::opening::LOCK;

/// A patience whose time passes only in its pauses. In one of them something may happen.
struct Told<F> {
    now: Instant,
    pauses: u32,
    waited: Vec<Duration>,
    happens: F,
}

impl<F: FnMut(u32) -> bool> Told<F> {
    fn new(happens: F) -> Self {
        Told {
            now: Instant::now(),
            pauses: 0,
            waited: Vec::new(),
            happens,
        }
    }
}

impl<F: FnMut(u32) -> bool> Patience for Told<F> {
    fn now(&self) -> Instant {
        self.now
    }

    fn pause(&mut self, time: Duration) -> bool {
        self.now += time;
        self.pauses += 1;
        (self.happens)(self.pauses)
    }

    fn waits_for(&mut self, _: &Path, waited: Duration) {
        self.waited.push(waited);
    }
}

fn never() -> Told<impl FnMut(u32) -> bool> {
    Told::new(|_| panic!("nothing to wait for"))
}

/// A directory that no other test starts a process beside.
struct Place {
    _alone: RwLockReadGuard<'static, ()>,
    _directory: TempDir,
}

/// A directory, and a path in it.
fn empty_directory() -> (Place, PathBuf) {
    let alone = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lock");
    let place = Place {
        _alone: alone,
        _directory: directory,
    };
    (place, path)
}

fn take(path: &Path, patience: &mut impl Patience) -> Result<Lock, Error> {
    Lock::take(path, &LOCK, None, patience)
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn one_that_works_is_not_waited_for() {
    let (_directory, path) = empty_directory();
    let first = take(&path, &mut never()).unwrap();
    assert_eq!(first.unsupported(), None);
    assert!(matches!(take(&path, &mut never()), Err(Error::Held(_))));
    drop(first);
    take(&path, &mut never()).unwrap();
}

/// The child is between fork and exec, so it still has open what its parent had.
#[test]
fn the_child_of_one_that_was_killed_is_waited_for_but_not_for_long() {
    let (_directory, path) = empty_directory();
    let mut child = Some(take(&path, &mut never()).unwrap());
    let killed = 2_000_000_000;
    child.as_ref().unwrap().name(killed).unwrap();
    let mut patience = Told::new(|_| true);
    assert!(matches!(take(&path, &mut patience), Err(Error::Held(_))));
    assert_eq!(patience.pauses, 20, "somebody else has it");
    let mut patience = Told::new(|pauses| {
        if pauses == 2 {
            child = None;
        }
        true
    });
    let next = take(&path, &mut patience).unwrap();
    assert_eq!(
        patience.waited,
        [Duration::ZERO; 0],
        "it is not told: nobody stops"
    );
    next.name(std::process::id()).unwrap();
    assert!(matches!(take(&path, &mut never()), Err(Error::Held(_))));
}

#[test]
fn one_that_stops_is_waited_for() {
    let (_directory, path) = empty_directory();
    let mut first = Some(take(&path, &mut never()).unwrap());
    first.as_ref().unwrap().begin_to_stop();
    let mut patience = Told::new(|pauses| {
        if pauses == 3 {
            first = None;
        }
        true
    });
    let second = take(&path, &mut patience).unwrap();
    assert_eq!(patience.waited, [0, 50, 100].map(Duration::from_millis));
    // The new holder has both bytes again.
    assert!(matches!(take(&path, &mut never()), Err(Error::Held(_))));
    drop(second);
}

#[test]
fn one_that_goes_on_stopping_is_waited_for_half_a_minute() {
    let (_directory, path) = empty_directory();
    let first = take(&path, &mut never()).unwrap();
    first.begin_to_stop();
    let mut patience = Told::new(|_| true);
    first.name(77).unwrap();
    let held = |error| match error {
        Error::Held(holder) => holder.to_string(),
        other => panic!("{other:?}"),
    };
    let error = take(&path, &mut patience).unwrap_err();
    assert_eq!(held(error), " (process 77), and is still stopping");
    assert_eq!(patience.pauses, 600);
    let error = take(&path, &mut NoPatience).unwrap_err();
    assert_eq!(held(error), " (process 77), and is still stopping");
}

#[test]
fn the_wait_can_be_ended() {
    let (_directory, path) = empty_directory();
    let first = take(&path, &mut never()).unwrap();
    first.begin_to_stop();
    let mut patience = Told::new(|pauses| pauses < 2);
    assert!(matches!(take(&path, &mut patience), Err(Error::Ended)));
    assert_eq!(patience.pauses, 2);
}

#[test]
fn of_two_that_wait_the_second_is_told_of_the_first() {
    let (_directory, path) = empty_directory();
    let mut first = Some(take(&path, &mut never()).unwrap());
    first.as_ref().unwrap().begin_to_stop();
    let mut other = None;
    let mut patience = Told::new(|_| {
        first = None;
        other = Some(take(&path, &mut never()).unwrap());
        true
    });
    assert!(matches!(take(&path, &mut patience), Err(Error::Held(_))));
}

/// When it is locked, the opened file may have lost its name.
#[test]
fn a_file_that_its_holder_removes_is_not_taken_over() {
    let (_directory, path) = empty_directory();
    let mut first = Some(take(&path, &mut never()).unwrap());
    first.as_ref().unwrap().begin_to_stop();
    let mut patience = Told::new(|_| {
        fs::remove_file(&path).unwrap();
        first = None;
        true
    });
    let second = take(&path, &mut patience).unwrap();
    assert!(opening::names(&path, second.file()));
}

/// Anybody who may read the file can have a read lock.
#[test]
fn a_read_lock_does_not_count() {
    let (_directory, path) = empty_directory();
    for (first, length) in [(0, 0), (WHOLE_LIFE, 1), (WORKING, 1)] {
        fs::write(&path, "").unwrap();
        let reader = File::open(&path).unwrap();
        set(&reader, libc::F_RDLCK, first, length).unwrap();
        let before = inode(&path);
        let lock = take(&path, &mut never()).unwrap();
        assert!(opening::names(&path, lock.file()));
        assert_ne!(inode(&path), before, "it is another file");
        drop(lock);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_read_lock_on_the_byte_that_one_who_stops_has_let_go_changes_nothing() {
    let (_directory, path) = empty_directory();
    let mut first = Some(take(&path, &mut never()).unwrap());
    first.as_ref().unwrap().begin_to_stop();
    let mut reader = Some(File::open(&path).unwrap());
    set(reader.as_ref().unwrap(), libc::F_RDLCK, WORKING, 1).unwrap();
    let before = inode(&path);
    let mut patience = Told::new(|_| {
        (first, reader) = (None, None);
        true
    });
    take(&path, &mut patience).unwrap();
    assert_eq!(patience.pauses, 1);
    assert_eq!(inode(&path), before);
}

#[test]
fn a_write_lock_of_any_program_counts() {
    let (_directory, path) = empty_directory();
    for (first, length) in [(0, 0), (WORKING, 1)] {
        fs::write(&path, "").unwrap();
        let other = OpenOptions::new().write(true).open(&path).unwrap();
        set(&other, libc::F_WRLCK, first, length).unwrap();
        assert!(matches!(take(&path, &mut never()), Err(Error::Held(_))));
    }
}

#[test]
fn what_is_no_regular_file_is_not_locked() {
    let error = take(Path::new("/dev/full"), &mut never()).unwrap_err();
    let Error::Opening(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.to_string(), "Invalid argument");
}
