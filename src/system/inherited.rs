//! The descriptors that the daemon's parent left open, for example a start script's lock. They stay open in the daemon
//! as long as it lives, and are closed in every process that it starts.

use std::collections::BinaryHeap;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{SockaddrStorage, getsockname};
use nix::unistd;

use crate::system::paths::OWN_DESCRIPTORS;

/// The first descriptor after the standard streams.
const FIRST: RawFd = 3;

/// Where the search ends if there is no `/proc` to ask. select(2) knows no higher number, and shells and start
/// scripts use the lowest.
const END_OF_SEARCH: RawFd = 1024;

/// The descriptors that a started process has to close: those that are open now and not close-on-exec.
pub fn to_close() -> Vec<RawFd> {
    let mut numbers = listed().unwrap_or_else(open_numbers);
    // The C library refuses numbers from RLIMIT_NOFILE on, and nix does not say so; the limit has been lowered since
    // they were opened. No job may have these either, so the daemon closes them itself.
    #[allow(clippy::useless_conversion, reason = "32 bits on some machines")]
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| u64::from(soft));
    numbers.retain(|&fd| {
        let is_within = u64::try_from(fd).is_ok_and(|fd| fd < limit);
        if !is_within {
            let _ = unistd::close(fd);
        }
        is_within
    });
    numbers
}

/// The descriptors that `/proc` lists (proc_pid_fd(5), proc_pid_fdinfo(5)).
fn listed() -> Option<Vec<RawFd>> {
    let entries = fs::read_dir(OWN_DESCRIPTORS).ok()?;
    let numbers = entries.map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<RawFd> = numbers.collect::<Option<_>>()?;
    numbers.retain(|&fd| fd >= FIRST && reaches_children(fd));
    Some(BinaryHeap::from(numbers).into_sorted_vec())
}

/// Whether a process that is started would get this descriptor, as far as is known.
fn reaches_children(fd: RawFd) -> bool {
    match fs::read_to_string(format!("/proc/self/fdinfo/{fd}")) {
        Ok(info) => !info.lines().any(closes_on_exec),
        // The listing's own descriptor is closed by now.
        Err(error) => error.kind() != ErrorKind::NotFound,
    }
}

/// Whether this line holds `flags:` and the octal flags of open(2) with O_CLOEXEC among them.
fn closes_on_exec(line: &str) -> bool {
    let flags = line.strip_prefix("flags:").map(str::trim);
    let flags = flags.and_then(|octal| i32::from_str_radix(octal, 8).ok());
    flags.is_some_and(|flags| OFlag::from_bits_retain(flags).contains(OFlag::O_CLOEXEC))
}

/// All open descriptors. No safe call tells which are close-on-exec; closing those too does no harm.
fn open_numbers() -> Vec<RawFd> {
    (FIRST..END_OF_SEARCH).filter(|&fd| is_open(fd)).collect()
}

/// Any answer but EBADF comes from an open descriptor.
fn is_open(fd: RawFd) -> bool {
    getsockname::<SockaddrStorage>(fd) != Err(Errno::EBADF)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_is_close_on_exec_needs_no_closing_and_what_is_not_does() {
        let ours = File::open("/dev/null").unwrap();
        let (inherited, _) = unistd::pipe().unwrap();
        let numbers = to_close();
        assert!(!numbers.contains(&ours.as_raw_fd()));
        assert!(numbers.contains(&inherited.as_raw_fd()));
    }

    #[test]
    fn without_proc_open_descriptors_of_any_kind_are_told_from_closed_ones() {
        let file = File::open("/dev/null").unwrap();
        let (pipe, _) = unistd::pipe().unwrap();
        let (socket, _) = UnixStream::pair().unwrap();
        let open = open_numbers();
        for fd in [file.as_raw_fd(), pipe.as_raw_fd(), socket.as_raw_fd()] {
            assert!(open.contains(&fd));
        }
        // The number is far from those that other tests open meanwhile.
        assert!(!open.contains(&(END_OF_SEARCH - 1)));
    }
}
