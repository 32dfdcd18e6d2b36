use std::cell::RefCell;
use std::os::unix::fs::{chown, symlink};

use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;

/// A directory, and the path `file` in it.
fn empty_directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    (directory, path)
}

/// A kept file. No mask of a test leaves its mode as it is.
fn kept(path: &Path) -> Kept {
    Kept::new(path.to_path_buf(), 0o666, true)
}

fn write(kept: &mut Kept, text: &str) -> Result<(), String> {
    let result = kept.write(text.as_bytes(), Instant::now());
    result.map_err(|NotWritten { error, .. }| error.to_string())
}

/// The names in a directory, in order.
fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_by_a_new_one_with_its_own_mode() {
    let (directory, path) = empty_directory();
    fs::write(&path, "old").unwrap();
    let old = fs::File::open(&path).unwrap();
    let mut kept = kept(&path);
    write(&mut kept, "new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    let there = fs::metadata(&path).unwrap();
    assert_eq!(there.permissions().mode() & 0o7777, 0o666);
    assert_ne!(there.ino(), old.metadata().unwrap().ino());
    assert_eq!(names(&directory), ["file"]);
}

#[test]
fn only_a_regular_file_is_replaced() {
    let (directory, path) = empty_directory();
    let target = directory.path().join("target");
    fs::write(&target, "precious").unwrap();
    type Prepare = fn(&Path);
    let cases: [(Prepare, Unfit); 6] = [
        (|path| fs::create_dir(path).unwrap(), Unfit::Directory),
        (|path| symlink("target", path).unwrap(), Unfit::Link),
        (|path| symlink("nowhere", path).unwrap(), Unfit::Link),
        (|path| symlink("/dev/null", path).unwrap(), Unfit::Link),
        (
            |path| mkfifo(path, Mode::S_IRUSR).unwrap(),
            Unfit::NotRegular,
        ),
        (
            // Like a socket of bind(2), without its limit to a path's length.
            |path| mknod(path, SFlag::S_IFSOCK, Mode::S_IRUSR, 0).unwrap(),
            Unfit::NotRegular,
        ),
    ];
    for (prepare, unfit) in cases {
        prepare(&path);
        let before = fs::symlink_metadata(&path).unwrap();
        assert_eq!(fit(&path), Err(unfit));
        let mut kept = kept(&path);
        for is_news in [true, false] {
            let refused = kept.write(b"x", Instant::now()).unwrap_err();
            assert!(matches!(refused.error, Error::Unfit(why) if why == unfit));
            assert_eq!(refused.is_news, is_news, "it is told once");
        }
        kept.remove();
        let after = fs::symlink_metadata(&path).unwrap();
        assert_eq!(after.ino(), before.ino());
        assert_eq!(after.ctime_nsec(), before.ctime_nsec());
        assert_eq!(names(&directory), ["file", "target"]);
        fs::remove_file(&path)
            .or_else(|_| fs::remove_dir(&path))
            .unwrap();
    }
    assert_eq!(fs::read_to_string(target).unwrap(), "precious");
    assert_eq!(fit(Path::new("/dev/null")), Err(Unfit::NotRegular));
    assert_eq!(fit(Path::new("/dev/null/x")), Ok(()), "the system refuses");
}

#[test]
fn what_is_no_left_over_of_ours_stays_beside_it() {
    type Prepare = fn(&Path);
    let cases: [Prepare; 5] = [
        |path| fs::create_dir(path).unwrap(),
        |path| mkfifo(path, Mode::S_IRUSR).unwrap(),
        |path| symlink("target", path).unwrap(),
        |path| symlink("nowhere", path).unwrap(),
        |path| {
            fs::write(path, "somebody else's").unwrap();
            if geteuid().is_root() {
                chown(path, Some(65_534), None).unwrap();
            } else {
                // Only root can make another user's file.
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
        },
    ];
    for prepare in cases {
        let (directory, path) = empty_directory();
        let target = directory.path().join("target");
        fs::write(&target, "precious").unwrap();
        let in_the_way = directory.path().join(".file.new");
        prepare(&in_the_way);
        let before = fs::symlink_metadata(&in_the_way).unwrap();
        let mut kept = kept(&path);
        for text in ["one", "two"] {
            write(&mut kept, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let after = fs::symlink_metadata(&in_the_way).unwrap();
        assert_eq!(
            (after.ino(), after.len(), after.ctime_nsec()),
            (before.ino(), before.len(), before.ctime_nsec())
        );
        assert_eq!(fs::read_to_string(target).unwrap(), "precious");
        assert_eq!(names(&directory), [".file.new", "file", "target"]);
    }
}

#[test]
fn what_a_crash_left_behind_goes() {
    let (directory, path) = empty_directory();
    fs::write(directory.path().join(".file.new"), "half").unwrap();
    write(&mut kept(&path), "whole").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
    assert_eq!(names(&directory), ["file"]);
    // A hard link is only a name. Under its other names the file stays as it is.
    let other = directory.path().join("other");
    fs::write(&other, "precious").unwrap();
    fs::hard_link(&other, directory.path().join(".file.new")).unwrap();
    fs::remove_file(&path).unwrap();
    fs::hard_link(&other, &path).unwrap();
    write(&mut kept(&path), "whole").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
    assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
    assert_eq!(names(&directory), ["file", "other"]);
}

#[test]
fn where_every_name_beside_it_is_taken_the_error_says_what_to_remove() {
    let (directory, path) = empty_directory();
    for number in 0..TEMPORARY_NAMES {
        fs::create_dir(beside(&path, number)).unwrap();
    }
    let mut kept = kept(&path);
    let shown = directory.path().join(".file.new");
    assert_eq!(
        write(&mut kept, "x"),
        Err(format!(
            "what is at '{}' is in the way (remove it)",
            shown.display()
        ))
    );
    fs::remove_dir(beside(&path, TEMPORARY_NAMES - 1)).unwrap();
    write(&mut kept, "x").unwrap();
    assert!(!path.with_file_name(".file.9.new").exists());
}

#[test]
fn only_what_was_put_there_is_removed() {
    let (directory, path) = empty_directory();
    // Nothing of ours has been put there yet.
    fs::write(&path, "somebody else's").unwrap();
    kept(&path).remove();
    assert!(path.exists());

    let mut ours = kept(&path);
    write(&mut ours, "ours").unwrap();
    write(&mut ours, "ours again").unwrap();
    // Neither another name of the file nor another file of its name is removed.
    let link = directory.path().join("link");
    fs::hard_link(&path, &link).unwrap();
    ours.remove();
    assert!(!path.exists() && link.exists());
    fs::remove_file(&link).unwrap();

    type Replace = fn(&Path);
    let cases: [Replace; 4] = [
        |path| {
            let new = path.with_file_name("new");
            fs::write(&new, "").unwrap();
            fs::rename(&new, path).unwrap();
        },
        // Some file systems give the new one the number of the old one.
        |path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "").unwrap();
        },
        |path| {
            fs::rename(path, path.with_file_name("moved")).unwrap();
            symlink("moved", path).unwrap();
        },
        |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        },
    ];
    for replace in cases {
        let (_directory, path) = empty_directory();
        let mut ours = kept(&path);
        write(&mut ours, "ours").unwrap();
        replace(&path);
        ours.remove();
        assert!(fs::symlink_metadata(&path).is_ok());
    }
}

#[test]
fn a_write_that_fails_leaves_the_old_file_and_nothing_beside_it() {
    let (directory, path) = empty_directory();
    let mut kept = kept(&path);
    write(&mut kept, "old").unwrap();
    let disk = Disk {
        sync_data: |_| Err(io::Error::other("no disk")),
        ..DISK
    };
    for is_news in [true, false] {
        let failed = kept
            .write_to(&disk, b"new", Instant::now(), &mut || true)
            .unwrap_err();
        assert_eq!(failed.error.to_string(), "no disk");
        assert_eq!(failed.is_news, is_news);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(&directory), ["file"]);
    }
    let soon = Instant::now() + std::time::Duration::from_secs(60);
    assert!(kept.allows(soon), "it stays out of date");
    kept.remove();
    assert!(!path.exists(), "the old one is still ours");
}

#[test]
fn a_directory_that_is_missing_is_told_once_until_it_is_there() {
    let (directory, _) = empty_directory();
    let path = directory.path().join("later/file");
    let mut kept = kept(&path);
    for is_news in [true, false, false] {
        let failed = kept.write(b"x", Instant::now()).unwrap_err();
        assert_eq!(failed.error.to_string(), "No such file or directory");
        assert_eq!(failed.is_news, is_news);
    }
    fs::create_dir(directory.path().join("later")).unwrap();
    write(&mut kept, "x").unwrap();
    fs::remove_dir_all(directory.path().join("later")).unwrap();
    assert!(kept.write(b"x", Instant::now()).unwrap_err().is_news);
}

thread_local! {
    /// The calls made to the disk, and whether the file had its name by then.
    static ASKED: RefCell<Vec<(&'static str, bool)>> = const { RefCell::new(Vec::new()) };
}

/// A disk that records the calls made to it. Its directories cannot be synced while `REFUSES` says so.
const NOTES: Disk = Disk {
    sync_data: |file| {
        let whole = file.metadata()?.len() == 3 && file.metadata()?.nlink() == 1;
        ASKED.with_borrow_mut(|asked| asked.push(("data", whole)));
        Ok(())
    },
    sync_directory: |directory| {
        let text = fs::read_to_string(directory.join("file"))?;
        ASKED.with_borrow_mut(|asked| asked.push(("name", text == "new")));
        if directory.join("refuses").exists() {
            return Err(io::Error::other("no disk"));
        }
        Ok(())
    },
};

fn asked(kept: &mut Kept) -> Vec<(&'static str, bool)> {
    let _ = kept.write_to(&NOTES, b"new", Instant::now(), &mut || true);
    ASKED.take()
}

#[test]
fn the_text_is_on_the_disk_before_the_name_and_the_name_where_that_is_asked_for() {
    let (directory, path) = empty_directory();
    let (data, name) = (("data", true), ("name", true));
    let mut durable = kept(&path);
    assert!(durable.is_owed());
    assert_eq!(asked(&mut durable), [data, name], "the file may be new");
    assert!(!durable.is_owed());
    assert_eq!(asked(&mut durable), [data]);
    // A write that fails is owed until one succeeds.
    let refuses = directory.path().join("refuses");
    fs::write(&refuses, "").unwrap();
    durable.owed = true;
    for _ in 0..2 {
        assert_eq!(asked(&mut durable), [data, name]);
        assert!(durable.is_owed());
    }
    fs::remove_file(refuses).unwrap();
    assert_eq!(asked(&mut durable), [data, name]);
    assert_eq!(asked(&mut durable), [data]);

    let mut quick = Kept::new(path, 0o644, false);
    assert!(!quick.is_owed());
    assert_eq!(asked(&mut quick), []);
}

#[test]
fn a_write_through_is_owed_until_it_is_made() {
    let (directory, _) = empty_directory();
    let path = directory.path().join("later/file");
    let mut kept = Kept::new(path, 0o600, true);
    kept.write_while(b"x", Instant::now(), Through::Yes, &mut || true)
        .unwrap_err();
    assert!(kept.is_owed());
    fs::create_dir(directory.path().join("later")).unwrap();
    write(&mut kept, "x").unwrap();
    assert!(!kept.is_owed());
    kept.write_while(b"x", Instant::now(), Through::Yes, &mut || true)
        .unwrap();
    assert!(!kept.is_owed());
    fs::remove_dir_all(directory.path().join("later")).unwrap();
    write(&mut kept, "x").unwrap_err();
    assert!(!kept.is_owed(), "nobody waited for it");
    kept.write_while(b"x", Instant::now(), Through::Yes, &mut || true)
        .unwrap_err();
    assert!(kept.is_owed());
}

#[test]
fn what_is_not_ours_any_more_once_the_text_is_on_the_disk_stays() {
    let (directory, path) = empty_directory();
    let mut kept = Kept::new(path.clone(), 0o600, true);
    write(&mut kept, "old").unwrap();
    let temporary = beside(&path, 0);
    let mut asked = 0;
    let failed = kept.write_while(b"new", Instant::now(), Through::Yes, &mut || {
        asked += 1;
        assert_eq!(fs::read(&temporary).unwrap(), b"new", "the disk has it");
        false
    });
    assert!(matches!(failed.unwrap_err().error, Error::Withheld));
    assert_eq!((asked, fs::read(&path).unwrap()), (1, b"old".to_vec()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_directory_that_cannot_be_synced_is_a_failure_unless_none_can_be() {
    let (directory, path) = empty_directory();
    sync_directory(directory.path()).unwrap();
    assert!(sync_directory(&path).is_err(), "there is none");
    for kind in [PermissionDenied, InvalidInput, Unsupported] {
        tolerable(Err(kind.into())).unwrap();
    }
    for errno in [nix::errno::Errno::EIO, nix::errno::Errno::ENOSPC] {
        tolerable(Err(errno.into())).unwrap_err();
    }
}

#[test]
fn what_slow_writes_rest_is_counted_from_their_end() {
    let (_directory, path) = empty_directory();
    let mut kept = kept(&path);
    let long = std::time::Duration::from_secs(3600);
    let began = Instant::now() - std::time::Duration::from_secs(2);
    kept.write(b"x", began).unwrap();
    kept.touch();
    let at = kept.deadline(Instant::now(), &Upcoming::default()).unwrap();
    let rest = at.saturating_duration_since(Instant::now());
    assert!(rest > std::time::Duration::from_secs(30), "{rest:?}");
    assert!(rest < long);
}
