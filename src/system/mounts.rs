//! Mount points, which rename(2) can neither move nor replace (EBUSY).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::system::paths::directory_of;

/// Whether `path` itself is a mount point, for example a single file that a container gets (`-v
/// ./state:/var/lib/state`). It does not follow a symbolic link.
///
/// A file is a mount point if it belongs to another mount than its directory. Without /proc only the devices tell
/// mounts apart, and a bind mount from the same file system goes unnoticed.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let file = open(path, OFlag::O_NOFOLLOW)?;
    let directory = open(directory_of(path), OFlag::empty())?;
    Ok(match (mount_id(&file), mount_id(&directory)) {
        (Some(file), Some(directory)) => file != directory,
        _ => file.metadata()?.dev() != directory.metadata()?.dev(),
    })
}

/// Opens a descriptor that only names the file (open(2), O_PATH). That needs no right to read it and never blocks.
fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_PATH | flags).bits())
        .open(path)
}

/// The mount that an open file belongs to, from proc_pid_fdinfo(5).
fn mount_id(file: &File) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let number = text
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))?
        .trim();
    number.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_mount_of_its_directory_is_no_mount_point() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert_eq!(
            is_mount_point(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        fs::write(&path, "").unwrap();
        assert!(!is_mount_point(&path).unwrap());
        // Open the link itself and not what it leads to.
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        assert!(!is_mount_point(&link).unwrap());
    }

    #[test]
    fn where_a_file_system_begins_is_a_mount_point() {
        let proc = Path::new("/proc");
        if mount_id(&File::open(proc).unwrap()).is_some() {
            assert!(is_mount_point(proc).unwrap());
        }
    }
}
