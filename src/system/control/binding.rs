//! How the socket gets its path. It is made under another name and listens there before it is linked to its path, so
//! that whoever finds it is answered. It replaces a dead daemon's socket and nothing else.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, SFlag, umask};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::system::errors::error_text;
use crate::system::lock::write_lock;
use crate::system::opening;
use crate::system::stat::{Identity, Stat};

/// The mask for bind(2), which leaves mode 0660.
const SOCKET_MASK: u32 = 0o117;
/// The mask for making the lock, which leaves mode 0600: only a user who may replace the socket can hold the lock.
const LOCK_MASK: u32 = 0o177;
/// The longest path that bind(2) and connect(2) take, in bytes (unix(7)).
const LONGEST: usize = 107;
/// How long to wait while another daemon replaces a dead socket, which takes it less than a millisecond.
const TURN_TIME: Duration = Duration::from_secs(1);
/// How often to look whether it is done.
const TURN_AGAIN: Duration = Duration::from_millis(5);
/// How many names are tried for the socket before it is linked to its path.
const NAMES: usize = 100;
/// How often another file may appear at the path before this gives up.
const TRIES: usize = 10;

/// Why there is no socket.
#[derive(Debug)]
pub enum BindError {
    /// A daemon answers at the path.
    Taken,
    /// The file at the path is no socket.
    InTheWay,
    /// The file at the path is a socket, but of a kind that no daemon like this one leaves.
    OtherKind,
    /// The path is too long for a client to connect to.
    TooLong,
    /// The system refused.
    System(io::Error),
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BindError::Taken => f.write_str("another daemon answers there"),
            BindError::InTheWay => f.write_str("something that is not a socket is there"),
            BindError::OtherKind => f.write_str("a socket of another kind is there"),
            BindError::TooLong => write!(f, "the path is longer than {LONGEST} bytes"),
            BindError::System(error) => f.write_str(&error_text(error)),
        }
    }
}

impl From<opening::Error> for BindError {
    fn from(error: opening::Error) -> BindError {
        BindError::System(error.into())
    }
}

impl From<Errno> for BindError {
    fn from(errno: Errno) -> BindError {
        BindError::System(errno.into())
    }
}

/// Makes a listening socket at `path` with mode 0660 from its first moment on. Returns it and its file's identity.
pub(super) fn bind(path: &Path) -> Result<(UnixListener, Identity), BindError> {
    if path.as_os_str().len() > LONGEST {
        return Err(BindError::TooLong);
    }
    let spot = Spot::of(path)?;
    let hidden = Hidden::bind(&spot)?;
    for _ in 0..TRIES {
        match hidden.link() {
            Ok(()) => return Ok((hidden.listener, hidden.identity)),
            Err(Errno::EEXIST) => {}
            // A file system without hard links, or a policy that forbids them; each has an error of its own.
            Err(_) => {
                let _turn = Turn::take(&spot)?;
                spot.clear()?;
                hidden.rename()?;
                return Ok((hidden.listener, hidden.identity));
            }
        }
        // A daemon that finds a dead socket and removes it must not remove the one that another daemon has just put
        // there.
        let _turn = Turn::take(&spot)?;
        spot.clear()?;
        match hidden.link() {
            Ok(()) => return Ok((hidden.listener, hidden.identity)),
            Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(BindError::Taken)
}

/// Whether a socket can be made at `path`, as far as can be told without connecting to one that is there. It makes
/// nothing.
pub fn fit(path: &Path) -> Result<(), BindError> {
    if path.as_os_str().len() > LONGEST {
        return Err(BindError::TooLong);
    }
    match Stat::at(AT_FDCWD, path.as_os_str()) {
        Ok(there) if there.kind != SFlag::S_IFSOCK => Err(BindError::InTheWay),
        _ => Ok(()),
    }
}

/// Connects without blocking.
pub fn try_connect(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd)
}

/// The socket's path, as a name in its directory. The directory stays open, so that every step happens in the same one,
/// even if its path leads elsewhere meanwhile.
#[derive(Debug)]
pub(super) struct Spot {
    directory: OwnedFd,
    path: PathBuf,
    name: OsString,
}

impl Spot {
    pub(super) fn of(path: &Path) -> Result<Spot, opening::Error> {
        let name = path.file_name().ok_or(Errno::EISDIR)?;
        Ok(Spot {
            directory: opening::open_directory_of(path)?,
            path: path.to_path_buf(),
            name: name.to_os_string(),
        })
    }

    fn look_at(&self, name: &OsStr) -> Result<Stat, Errno> {
        Stat::at(&self.directory, name)
    }

    /// The identity of the file that has the socket's name; of a link itself and not what it leads to.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.look_at(&self.name).ok().map(|stat| stat.identity)
    }

    fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes the socket's name if it is this socket's.
    pub(super) fn remove_own(&self, own: Identity) {
        if self.identity() == Some(own) {
            let _ = self.remove(&self.name);
        }
    }

    /// Clears the name. It removes only a socket that refuses connections, which is of no use to anybody.
    fn clear(&self) -> Result<(), BindError> {
        let there = match self.look_at(&self.name) {
            Ok(stat) => stat,
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if there.kind != SFlag::S_IFSOCK {
            return Err(BindError::InTheWay);
        }
        match try_connect(&self.path) {
            // A daemon too busy to accept is alive.
            Ok(_) | Err(Errno::EAGAIN) => return Err(BindError::Taken),
            Err(Errno::ENOENT) => return Ok(()),
            // A datagram socket, for example a log daemon's.
            Err(Errno::EPROTOTYPE) => return Err(BindError::OtherKind),
            Err(Errno::ECONNREFUSED) => {}
            // Its daemon may be alive; this error does not tell.
            Err(errno) => return Err(errno.into()),
        }
        if self.identity() != Some(there.identity) {
            return Ok(());
        }
        match self.remove(&self.name) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A socket that listens under a temporary name. The name is removed when this value is dropped.
#[derive(Debug)]
struct Hidden<'a> {
    spot: &'a Spot,
    name: Name<'a>,
    listener: UnixListener,
    identity: Identity,
}

/// A name that is removed when this value is dropped.
#[derive(Debug)]
struct Name<'a>(&'a Spot, OsString);

impl Drop for Name<'_> {
    fn drop(&mut self) {
        let _ = self.0.remove(&self.1);
    }
}

impl<'a> Hidden<'a> {
    fn bind(spot: &'a Spot) -> Result<Hidden<'a>, BindError> {
        for salt in 0..NAMES {
            let name = hidden_name(&spot.name, salt);
            if name == spot.name {
                continue;
            }
            let path = spot.path.with_file_name(&name);
            // bind(2) gives the socket its mode by the mask alone; a chmod after it would come too late.
            let listener = match with_umask(SOCKET_MASK, || UnixListener::bind(&path)) {
                Ok(listener) => listener,
                Err(error) if error.kind() == ErrorKind::AddrInUse => continue,
                Err(error) => return Err(BindError::System(error)),
            };
            let name = Name(spot, name);
            let there = spot.look_at(&name.1)?;
            if there.kind != SFlag::S_IFSOCK {
                return Err(BindError::InTheWay);
            }
            return Ok(Hidden {
                spot,
                name,
                listener,
                identity: there.identity,
            });
        }
        Err(Errno::EADDRINUSE.into())
    }

    /// Links the socket to its name. Fails if the name is taken.
    fn link(&self) -> Result<(), Errno> {
        let directory = &self.spot.directory;
        let name = self.name.1.as_os_str();
        let wanted = self.spot.name.as_os_str();
        linkat(directory, name, directory, wanted, AtFlags::empty())
    }

    /// Renames the socket to its name and replaces whatever has that.
    fn rename(&self) -> Result<(), Errno> {
        let directory = &self.spot.directory;
        let name = self.name.1.as_os_str();
        renameat(directory, name, directory, self.spot.name.as_os_str())
    }
}

/// A temporary name. It resembles the socket's, so that it is recognised in lists of sockets, and is no longer, so that
/// it fits wherever that does.
fn hidden_name(name: &OsStr, salt: usize) -> OsString {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let length = name.len();
    let random = RandomState::new().hash_one(salt);
    let letters = (0..length.min(4)).map(|n| LETTERS[((random >> (5 * n)) % 32) as usize]);
    let start = match length {
        0..5 => &[][..],
        _ => &[b".", &name.as_bytes()[..length - 5]].concat()[..],
    };
    OsString::from_vec(start.iter().copied().chain(letters).collect())
}

fn with_umask<T>(mask: u32, act: impl FnOnce() -> T) -> T {
    // The mask belongs to the whole process, and unit tests are threads of one process.
    if cfg!(test) {
        return act();
    }
    let before = umask(Mode::from_bits_truncate(mask));
    let result = act();
    umask(before);
    result
}

/// The turn of one of several daemons that find the same dead socket. It is a write lock on a file beside the socket,
/// which exists only meanwhile.
#[derive(Debug)]
struct Turn<'a> {
    /// The lock file's name, which is removed before the descriptor, and its lock with it, is closed.
    _name: Name<'a>,
    _lock: File,
}

impl<'a> Turn<'a> {
    /// Waits for the turn. `None` if locks are not supported: the daemon goes on without one.
    fn take(spot: &'a Spot) -> Result<Option<Turn<'a>>, BindError> {
        let name = [b".", spot.name.as_bytes(), b".lock"].concat();
        let name = OsString::from_vec(name);
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let until = Instant::now() + TURN_TIME;
        loop {
            let mode = Mode::from_bits_truncate(0o666);
            let opened = with_umask(LOCK_MASK, || {
                openat(
                    &spot.directory,
                    name.as_os_str(),
                    flags | OFlag::O_CLOEXEC,
                    mode,
                )
            });
            let Ok(file) = opened.map(File::from) else {
                return Ok(None);
            };
            match write_lock(&file) {
                // The last holder may have removed the file between our opening and locking it.
                Ok(()) if is_named(spot, &name, &file) => {
                    let _name = Name(spot, name);
                    return Ok(Some(Turn { _name, _lock: file }));
                }
                Ok(()) => {}
                Err(Errno::EAGAIN | Errno::EACCES) if Instant::now() < until => {
                    thread::sleep(TURN_AGAIN);
                }
                Err(Errno::EAGAIN | Errno::EACCES) => return Err(BindError::Taken),
                Err(_) => return Ok(None),
            }
        }
    }
}

fn is_named(spot: &Spot, name: &OsStr, file: &File) -> bool {
    let there = spot.look_at(name).map(|stat| stat.identity);
    there.is_ok() && there == Stat::of(file).map(|stat| stat.identity)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use tempfile::TempDir;

    use super::*;
    use crate::system::short_directory;

    fn directory() -> (TempDir, PathBuf) {
        let directory = short_directory().unwrap();
        let path = directory.path().join("socket");
        (directory, path)
    }

    fn names(directory: &TempDir) -> Vec<OsString> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn dead(path: &Path) {
        drop(UnixListener::bind(path).unwrap());
    }

    #[test]
    fn a_hidden_name_is_as_long_as_the_socket_s_and_not_it() {
        for name in ["s", "so", "soc", "sock", "socks", "control.sock"] {
            for salt in 0..50 {
                let hidden = hidden_name(OsStr::new(name), salt);
                assert_eq!(hidden.len(), name.len());
                assert!(!hidden.as_bytes().contains(&b'/'));
            }
        }
        let hidden = hidden_name(OsStr::new("control.sock"), 0);
        assert!(hidden.as_bytes().starts_with(b".control"), "{hidden:?}");
        let different: std::collections::HashSet<_> = (0..50)
            .map(|salt| hidden_name(OsStr::new("control.sock"), salt))
            .collect();
        assert!(different.len() > 10);
    }

    #[test]
    fn a_name_of_any_length_will_do_also_where_most_are_taken() {
        let (directory, _) = directory();
        for letter in "abcdefghijklmnopqrstuvwxyz2".chars() {
            fs::write(directory.path().join(letter.to_string()), "").unwrap();
        }
        for name in ["7", "so", "soc", "sock", "socks"] {
            let path = directory.path().join(name);
            let (_listener, _) = bind(&path).unwrap();
            UnixStream::connect(&path).unwrap();
        }
        assert_eq!(names(&directory).len(), 27 + 5, "and nothing else is left");
    }

    #[test]
    fn a_path_may_have_107_bytes() {
        let (directory, _) = directory();
        let length = LONGEST - directory.path().as_os_str().len() - 1;
        let path = directory.path().join("x".repeat(length));
        let (_listener, _) = bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
        let path = directory.path().join("y".repeat(length + 1));
        assert!(matches!(bind(&path), Err(BindError::TooLong)));
        assert_eq!(names(&directory).len(), 1);
    }

    #[test]
    fn only_a_dead_socket_gives_way() {
        let (directory, path) = directory();
        dead(&path);
        let (listener, identity) = bind(&path).unwrap();
        assert_eq!(Spot::of(&path).unwrap().identity(), Some(identity));
        assert!(matches!(bind(&path), Err(BindError::Taken)));
        drop(listener);
        fs::remove_file(&path).unwrap();
        let datagrams = UnixDatagram::bind(&path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::OtherKind)));
        drop(datagrams);
        fs::remove_file(&path).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::InTheWay)));
        assert_eq!(names(&directory), ["socket"], "and nothing else is left");
    }

    #[test]
    fn a_link_to_a_dead_socket_is_not_followed() {
        let (directory, path) = directory();
        let other = directory.path().join("other");
        dead(&other);
        symlink(&other, &path).unwrap();
        assert!(matches!(bind(&path), Err(BindError::InTheWay)));
        assert!(other.exists());
    }

    #[test]
    fn of_many_who_find_a_dead_socket_one_has_it_and_the_others_hear_that_it_answers() {
        for _ in 0..20 {
            let (directory, path) = directory();
            dead(&path);
            let results: Vec<_> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| bind(&path))).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            let own = Spot::of(&path).unwrap().identity();
            let (bound, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
            let bound: Vec<_> = bound.into_iter().flatten().collect();
            assert_eq!(bound.len(), 1);
            assert_eq!(own, Some(bound[0].1), "it is the one in the place");
            for refused in refused {
                assert!(matches!(refused, Err(BindError::Taken)), "{refused:?}");
            }
            assert_eq!(names(&directory), ["socket"]);
        }
    }

    #[test]
    fn while_another_replaces_a_dead_socket_this_one_waits_and_then_gives_up() {
        let (directory, path) = directory();
        dead(&path);
        let spot = Spot::of(&path).unwrap();
        let turn = Turn::take(&spot).unwrap().unwrap();
        assert!(matches!(bind(&path), Err(BindError::Taken)));
        let waiting = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| bind(&path));
            drop(turn);
            waiting.join().unwrap()
        });
        assert!(waiting.is_ok(), "{waiting:?}");
        assert_eq!(names(&directory), ["socket"]);
    }

    #[test]
    fn without_hard_links_the_socket_is_renamed() {
        let (directory, path) = directory();
        let spot = Spot::of(&path).unwrap();
        let hidden = Hidden::bind(&spot).unwrap();
        hidden.rename().unwrap();
        let identity = hidden.identity;
        drop(hidden.name);
        assert_eq!(spot.identity(), Some(identity));
        assert_eq!(names(&directory), ["socket"]);
        UnixStream::connect(&path).unwrap();
    }
}
