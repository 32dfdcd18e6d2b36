#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

/// Somebody who is neither root nor, most likely, who runs the tests.
const STRANGER: u32 = 3_999_999_998;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    (directory, path)
}

fn refused(result: Result<File, Error>) -> String {
    result.unwrap_err().to_string()
}

/// What the rule for the way of root that is given up says, and for root that stays.
fn walked(path: &Path, rule: Rule) -> Result<File, String> {
    let walk = Walk::to(path, true, rule).and_then(|walk| walk.open(&LOG, None));
    walk.map_err(|stop| match stop {
        Stop::System(errno) => system_text(errno),
        Stop::Danger(danger) => danger.to_string(),
    })
}

#[test]
fn a_file_is_made_with_its_mode_and_kept_as_it_is() {
    let (_directory, path) = place();
    let lock = open(&path, &LOCK, None).unwrap();
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    fs::write(&path, "old\n").unwrap();
    open(&path, &LOG, None)
        .unwrap()
        .write_all(b"new\n")
        .unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");
}

#[test]
fn a_link_is_followed_only_where_that_is_wanted() {
    let (directory, path) = place();
    symlink("target", &path).unwrap();
    for what in [&LOCK, &PID_FILE] {
        assert_eq!(
            refused(open(&path, what, None)),
            "Too many levels of symbolic links"
        );
    }
    open(&path, &LOG, None).unwrap();
    assert!(directory.path().join("target").exists());
}

#[test]
fn links_in_a_circle_end() {
    let (directory, path) = place();
    symlink("other", &path).unwrap();
    symlink("file", directory.path().join("other")).unwrap();
    let expected = "Too many levels of symbolic links";
    assert_eq!(refused(open(&path, &LOG, None)), expected);
    assert_eq!(look(&path, &LOG, None).unwrap_err().to_string(), expected);
}

#[test]
fn what_is_no_file_is_told_as_open_2_does() {
    let (directory, path) = place();
    fs::write(&path, "").unwrap();
    for (path, expected) in [
        (directory.path().to_path_buf(), "Is a directory"),
        (directory.path().join("."), "Is a directory"),
        (PathBuf::from("/"), "Is a directory"),
        (path.join("x"), "Not a directory"),
        (directory.path().join("gone/x"), "No such file or directory"),
    ] {
        for what in [&LOG, &PID_FILE] {
            assert_eq!(refused(open(&path, what, None)), expected, "{path:?}");
            let looked = look(&path, what, None).unwrap_err();
            assert_eq!(looked.to_string(), expected, "{path:?}");
        }
    }
}

#[test]
fn only_a_regular_file_can_be_a_pid_file_and_looking_opens_no_pipe() {
    let (_directory, path) = place();
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    assert_eq!(refused(open(&path, &PID_FILE, None)), "Invalid argument");
    let looked = look(&path, &PID_FILE, None).unwrap_err();
    assert_eq!(looked.to_string(), "Invalid argument");
    // Somebody reads it, so that it could be opened.
    let reading = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
    let _reader = open_path(&path, reading, Mode::empty()).unwrap();
    open(&path, &LOG, None).unwrap();
    let looked = look(&path, &LOG, None).unwrap_err();
    assert_eq!(looked.to_string(), "No such device or address");
    open(Path::new("/dev/null"), &LOG, None).unwrap();
    look(Path::new("/dev/null"), &LOG, None).unwrap();
}

#[test]
fn looking_makes_nothing_and_goes_where_a_link_leads() {
    let (directory, path) = place();
    look(&path, &LOG, None).unwrap();
    symlink("gone/target", &path).unwrap();
    let looked = look(&path, &LOG, None).unwrap_err();
    assert_eq!(looked.to_string(), "No such file or directory");
    fs::create_dir(directory.path().join("gone")).unwrap();
    look(&path, &LOG, None).unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
    assert!(!directory.path().join("gone/target").exists());
}

#[test]
fn a_descriptor_of_our_own_is_no_path() {
    let (_directory, path) = place();
    let file = open(&path, &LOG, None).unwrap();
    let by_number = format!("/proc/self/fd/{}", file.as_raw_fd());
    let by_number = Path::new(&by_number);
    if !by_number.exists() {
        return;
    }
    fs::remove_file(&path).unwrap();
    open(by_number, &LOG, None).unwrap();
    look(by_number, &LOG, None).unwrap();
    assert!(find(by_number).unwrap().is_none());
    if geteuid().is_root() {
        walked(by_number, Rule::RootAlone).unwrap();
    }
}

#[test]
fn only_the_name_of_that_file_is_removed() {
    let (directory, path) = place();
    let file = open(&path, &PID_FILE, None).unwrap();
    assert!(names(&path, &file));
    let moved = directory.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    assert!(!names(&path, &file));
    fs::write(&path, "another's").unwrap();
    assert!(!names(&path, &file));
    remove(&path, &file, None).unwrap_err();
    assert!(path.exists());
    remove(&moved, &file, None).unwrap();
    assert!(!moved.exists());
}

#[test]
fn root_goes_through_no_directory_that_others_may_write() {
    let (directory, path) = place();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let danger = |at: &Path| {
        let at = at.display();
        Err(format!("others than root may write in directory '{at}'"))
    };
    let is_root = geteuid().is_root();
    let told = |path: &Path| walked(path, Rule::RootAlone).map(drop);
    if !is_root {
        // Somewhere on the way there is one of ours.
        assert!(told(&path).unwrap_err().starts_with("others than root"));
        return;
    }
    told(&path).unwrap();
    for mode in [0o775, 0o757, 0o777, 0o1777] {
        fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(told(&inner.join("x")), danger(&inner), "{mode:o}");
    }
    // A sticky one may lead on, as /tmp does.
    let beyond = inner.join("beyond");
    fs::create_dir(&beyond).unwrap();
    told(&beyond.join("x")).unwrap();
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(told(&beyond.join("x")), danger(&inner));
    fs::set_permissions(&inner, fs::Permissions::from_mode(0o1777)).unwrap();
    chown(&beyond, Some(STRANGER), None).unwrap();
    assert_eq!(told(&beyond.join("x")), danger(&beyond));
    chown(&inner, Some(STRANGER), None).unwrap();
    assert_eq!(told(&beyond.join("x")), danger(&inner));
}

#[test]
fn root_follows_no_link_of_others() {
    let (directory, path) = place();
    symlink(directory.path().join("target"), &path).unwrap();
    if geteuid().is_root() {
        for rule in [Rule::RootAlone, Rule::LinksOfRoot] {
            walked(&path, rule).unwrap();
        }
        std::os::unix::fs::lchown(&path, Some(STRANGER), None).unwrap();
    }
    let owner = fs::symlink_metadata(&path).unwrap().uid();
    let expected = format!("'{}' is a symbolic link of user {owner}", path.display());
    assert_eq!(
        walked(&path, Rule::LinksOfRoot).map(drop),
        Err(expected),
        "by whoever follows as root"
    );
    walked(&path, Rule::OwnRights).unwrap();
}

#[test]
fn root_writes_to_no_hard_link_that_others_may_have_made() {
    let (directory, path) = place();
    fs::write(&path, "").unwrap();
    let other = directory.path().join("other");
    fs::hard_link(&path, &other).unwrap();
    let expected = format!("'{}' is one of 2 hard links to its file", path.display());
    if geteuid().is_root() {
        assert_eq!(
            walked(&path, Rule::RootAlone).map(drop),
            Err(expected.clone())
        );
        // In a directory of root's alone the other name is root's own work.
        walked(&path, Rule::LinksOfRoot).unwrap();
        chown(directory.path(), Some(STRANGER), None).unwrap();
    }
    assert_eq!(walked(&path, Rule::LinksOfRoot).map(drop), Err(expected));
    walked(&path, Rule::OwnRights).unwrap();
    fs::remove_file(other).unwrap();
    walked(&path, Rule::LinksOfRoot).unwrap();
}
