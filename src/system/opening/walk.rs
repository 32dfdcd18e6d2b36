//! Walks a path as root, part by part. Each part is looked at before the next one, and a part that anybody but root
//! controls is refused, as far as the rule asks. Each directory is held open once it has been looked at, so nobody can
//! exchange it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, metadata};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::fchown;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open as open_path, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{AccessFlags, Gid, Uid, faccessat};

use super::{Wanted, directory_flags};
use crate::system::paths::{MOST_LINKS, OWN_DESCRIPTORS};
use crate::system::stat::{STICKY, Stat};

/// How often a name may change between looking and opening before that counts as an error.
const MOST_TRIES: u32 = 16;
/// The mode bits that let others than the owner write.
const OTHERS_MAY_WRITE: u32 = 0o022;

/// Something on a path that somebody other than root controls.
#[derive(Debug)]
pub struct Danger {
    at: PathBuf,
    what: What,
}

#[derive(Debug)]
enum What {
    Directory,
    LinkOf(u32),
    Names(u64),
    NotRegular,
    FileOf(u32),
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.display();
        match self.what {
            What::Directory => write!(f, "others than root may write in directory '{at}'"),
            What::LinkOf(uid) => write!(f, "'{at}' is a symbolic link of user {uid}"),
            What::Names(count) => write!(f, "'{at}' is one of {count} hard links to its file"),
            What::NotRegular => write!(f, "'{at}' is not a regular file"),
            What::FileOf(uid) => write!(
                f,
                "'{at}' is a file of user {uid} in a directory in which everybody may make files"
            ),
        }
    }
}

/// Who may have put the files on the path there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Root alone. Every directory is root's, others may not write in one that holds the file or a link on the path,
    /// and the file has only one name.
    RootAlone,
    /// Anybody, as long as the path stays within what is theirs. It may hold no link of others', no hard link where
    /// others may make one, and no file of others' in a sticky directory, where it may lie in wait for a name.
    LinksOfRoot,
    /// Anybody. The kernel allows no more than this user may do.
    OwnRights,
}

/// Why a walk ended.
#[derive(Debug)]
pub(super) enum Stop {
    System(Errno),
    Danger(Danger),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::System(errno)
    }
}

/// Where a walk has got to: an open directory and a name in it.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) directory: OwnedFd,
    /// The directory's path, for messages.
    shown: PathBuf,
    /// Whether only root may write in it.
    is_roots: bool,
    /// The owner of the directory, if everybody may make files in it and remove only their own.
    sticky_of: Option<u32>,
    pub(super) name: OsString,
    /// The file that has the name, if any. It is no link, unless to one of our own descriptors.
    pub(super) named: Option<Stat>,
    pub(super) is_own_descriptor: bool,
    rule: Rule,
}

impl Walk {
    /// Walks to the last part of `path`. With `follow` it also follows the links that the last part may be.
    pub(super) fn to(path: &Path, follow: bool, rule: Rule) -> Result<Walk, Stop> {
        let mut rest = parts(path);
        let mut walk = Walk::start(path, rule)?;
        let mut links = 0;
        loop {
            let Some(part) = rest.pop_front() else {
                return Err(Stop::System(Errno::EISDIR));
            };
            let entry = openat(&walk.directory, &*part, entry_flags(), Mode::empty());
            let entry = match entry {
                Err(Errno::ENOENT) if rest.is_empty() => return walk.arrived(part, None),
                entry => entry?,
            };
            let named = Stat::of(&entry)?;
            if named.kind != SFlag::S_IFLNK {
                if rest.is_empty() {
                    return walk.arrived(part, Some(named));
                }
                walk.enter(&part, entry, &named)?;
                continue;
            }
            if rest.is_empty() && !follow {
                return Err(Stop::System(Errno::ELOOP));
            }
            walk.examine_link(&part, &named)?;
            if rest.is_empty() && walk.is_at_own_descriptors() {
                walk.is_own_descriptor = true;
                return walk.arrived(part, Some(named));
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Stop::System(Errno::ELOOP));
            }
            let target = PathBuf::from(readlinkat(&entry, "")?);
            let mut longer = parts(&target);
            longer.append(&mut rest);
            rest = longer;
            if target.is_absolute() {
                walk = Walk::start(&target, rule)?;
            }
        }
    }

    fn start(path: &Path, rule: Rule) -> Result<Walk, Stop> {
        let shown = Path::new(if path.is_absolute() { "/" } else { "." });
        let directory = open_path(shown, directory_flags(), Mode::empty())?;
        let found = Stat::of(&directory)?;
        let mut walk = Walk {
            directory,
            shown: shown.to_path_buf(),
            is_roots: false,
            sticky_of: None,
            name: OsString::new(),
            named: None,
            is_own_descriptor: false,
            rule,
        };
        walk.judge(&found)?;
        Ok(walk)
    }

    fn enter(&mut self, part: &OsStr, entry: OwnedFd, found: &Stat) -> Result<(), Stop> {
        if found.kind != SFlag::S_IFDIR {
            return Err(Stop::System(Errno::ENOTDIR));
        }
        self.directory = entry;
        self.shown.push(part);
        self.judge(found)
    }

    /// Refuses a directory that others may write in, unless the rule allows that. In a sticky directory only root's
    /// entries may lead on: nobody else can rename or remove those.
    fn judge(&mut self, found: &Stat) -> Result<(), Stop> {
        let is_roots = found.owner == 0;
        let others_may_write = found.mode & OTHERS_MAY_WRITE != 0;
        let is_sticky = others_may_write && found.mode & STICKY != 0;
        self.is_roots = is_roots && !others_may_write;
        self.sticky_of = is_sticky.then_some(found.owner);
        if self.rule == Rule::RootAlone && !(self.is_roots || is_roots && is_sticky) {
            return Err(self.danger_here());
        }
        Ok(())
    }

    /// Whether a link may be followed. If one of root's links has other names, somebody has made a hard link to it.
    fn examine_link(&self, part: &OsStr, link: &Stat) -> Result<(), Stop> {
        match self.rule {
            Rule::OwnRights => Ok(()),
            _ if link.owner != 0 => Err(self.danger(part, What::LinkOf(link.owner))),
            _ if self.is_roots => Ok(()),
            Rule::RootAlone => Err(self.danger_here()),
            Rule::LinksOfRoot if link.links == 1 => Ok(()),
            Rule::LinksOfRoot => Err(self.danger(part, What::Names(link.links))),
        }
    }

    fn arrived(mut self, name: OsString, named: Option<Stat>) -> Result<Walk, Stop> {
        if self.rule == Rule::RootAlone && !self.is_roots {
            return Err(self.danger_here());
        }
        (self.name, self.named) = (name, named);
        Ok(self)
    }

    fn is_at_own_descriptors(&self) -> bool {
        match (Stat::of(&self.directory), metadata(OWN_DESCRIPTORS)) {
            (Ok(here), Ok(own)) => here.identity == Stat::from(&own).identity,
            _ => false,
        }
    }

    fn danger_here(&self) -> Stop {
        Stop::Danger(Danger {
            at: self.shown.clone(),
            what: What::Directory,
        })
    }

    fn danger(&self, part: &OsStr, what: What) -> Stop {
        Stop::Danger(Danger {
            at: self.shown.join(part),
            what,
        })
    }

    /// Whether the file, as it was looked at or as it is open, may be opened.
    fn examine(&self, file: &Stat) -> Result<(), Stop> {
        if file.kind == SFlag::S_IFDIR {
            return Err(Stop::System(Errno::EISDIR));
        }
        let regular = file.kind == SFlag::S_IFREG;
        match self.rule {
            Rule::RootAlone if !regular => Err(self.danger(&self.name, What::NotRegular)),
            Rule::OwnRights => Ok(()),
            _ if !regular => Ok(()),
            // The kernel has the same rule for O_CREAT (proc_sys_fs(5), protected_regular).
            Rule::LinksOfRoot if self.is_strangers(file) => {
                Err(self.danger(&self.name, What::FileOf(file.owner)))
            }
            _ if file.links == 1 => Ok(()),
            Rule::LinksOfRoot if self.is_roots => Ok(()),
            // Nobody can make another name for a file that has none.
            _ if file.links == 0 => Ok(()),
            _ => Err(self.danger(&self.name, What::Names(file.links))),
        }
    }

    /// Whether another user may have made the file so that we take it for ours.
    fn is_strangers(&self, file: &Stat) -> bool {
        let owner = file.owner;
        self.sticky_of
            .is_some_and(|directory| owner != 0 && owner != directory)
    }

    /// Opens the file or makes it. A new file is given to `owner`.
    pub(super) fn open(mut self, wanted: &Wanted, owner: Option<(Uid, Gid)>) -> Result<File, Stop> {
        let flags = wanted.flags();
        if self.is_own_descriptor {
            return Ok(File::from(openat(
                &self.directory,
                &*self.name,
                flags,
                Mode::empty(),
            )?));
        }
        let flags = flags | OFlag::O_NOFOLLOW;
        for _ in 0..MOST_TRIES {
            let Some(named) = &self.named else {
                let exclusively = flags | OFlag::O_CREAT | OFlag::O_EXCL;
                match openat(&self.directory, &*self.name, exclusively, wanted.mode) {
                    Err(Errno::EEXIST) => self.look_again()?,
                    new => {
                        let new = File::from(new?);
                        if let Some((uid, gid)) = owner {
                            // Failure is not fatal: the file is open already.
                            let _ = fchown(&new, Some(uid.as_raw()), Some(gid.as_raw()));
                        }
                        return Ok(new);
                    }
                }
                continue;
            };
            // Before it is opened, because opening a device can do something.
            self.examine(named)?;
            if wanted.regular {
                wanted.judge(named)?;
            }
            match openat(&self.directory, &*self.name, flags, Mode::empty()) {
                Err(Errno::ENOENT) => self.named = None,
                opened => {
                    let opened = File::from(opened?);
                    self.examine(&Stat::of(&opened)?)?;
                    return Ok(opened);
                }
            }
        }
        Err(Stop::System(Errno::EAGAIN))
    }

    /// Looks at the name again, because it has just changed.
    fn look_again(&mut self) -> Result<(), Stop> {
        self.named = match Stat::at(&self.directory, &self.name) {
            Ok(named) if named.kind == SFlag::S_IFLNK => return Err(Stop::System(Errno::ELOOP)),
            Ok(named) => Some(named),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(Stop::System(errno)),
        };
        Ok(())
    }

    pub(super) fn look(self, wanted: &Wanted) -> Result<(), Stop> {
        let Some(named) = &self.named else {
            let flags = AtFlags::AT_EACCESS;
            return Ok(faccessat(&self.directory, ".", AccessFlags::W_OK, flags)?);
        };
        if self.is_own_descriptor {
            return Ok(());
        }
        self.examine(named)?;
        wanted.judge(named)?;
        let flags = wanted.flags() | OFlag::O_NOFOLLOW;
        openat(&self.directory, &*self.name, flags, Mode::empty())?;
        Ok(())
    }
}

/// The flags to open a link itself and not what it leads to.
fn entry_flags() -> OFlag {
    OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

/// The parts of a path below its start. A path that ends in a slash (`x/`) gets `.` as its last part.
fn parts(path: &Path) -> VecDeque<OsString> {
    let mut parts: VecDeque<OsString> = path
        .components()
        .filter(|part| !matches!(part, Component::RootDir | Component::Prefix(_)))
        .map(|part| part.as_os_str().to_os_string())
        .collect();
    let bytes = path.as_os_str().as_bytes();
    if bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        parts.push_back(OsString::from("."));
    }
    parts
}
