//! Becoming another user for good: looked up by name or number, supplementary groups first, then group, then
//! user, and then the proof that there is no way back. Knows nothing of what is opened before or after.

use std::ffi::CString;
use std::path::Path;

use nix::unistd::{self, Gid, Group, Uid, User};

use crate::process::system_text;

/// Whom to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    uid: Uid,
    gid: Gid,
    /// Supplementary groups; `None`: they stay, because only the group changes.
    groups: Option<Vec<Gid>>,
}

impl Identity {
    /// Looks up what `--uid` and `--gid` name. Without a group it is the user's own; `None` if neither is given.
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, String> {
        let named_gid = group.map(find_group).transpose()?;
        let Some(user) = user else {
            let uid = unistd::getuid();
            return Ok(named_gid.map(|gid| Identity {
                uid,
                gid,
                groups: None,
            }));
        };
        let entry = find_user(user)?;
        let (uid, own_gid) = match (&entry, user.parse()) {
            (Some(entry), _) => (entry.uid, Some(entry.gid)),
            (None, Ok(number)) => (Uid::from_raw(number), None),
            (None, Err(_)) => {
                return Err(format!(
                    "there is no user '{user}'; give a number if users cannot be looked up here"
                ));
            }
        };
        let gid = named_gid.or(own_gid).ok_or_else(|| {
            format!("user {user} is not known here, so neither is its group; give one with --gid")
        })?;
        let groups = match &entry {
            Some(entry) => supplementary(&entry.name, gid),
            None => vec![gid],
        };
        Ok(Some(Identity {
            uid,
            gid,
            groups: Some(groups),
        }))
    }

    /// The user to own what is created for the daemon.
    pub fn owner(&self) -> (Uid, Gid) {
        (self.uid, self.gid)
    }

    /// Becomes this user and group, irrevocably.
    pub fn assume(&self) -> Result<(), String> {
        let refused = |what: &str, error| format!("cannot {what}: {}", system_text(error));
        let (uid, gid) = (self.uid, self.gid);
        // A daemon that is this user already needs no right to change.
        let unchanged = (unistd::getuid(), unistd::geteuid()) == (uid, uid)
            && (unistd::getgid(), unistd::getegid()) == (gid, gid);
        if unchanged && !uid.is_root() {
            return Ok(());
        }
        if let Some(groups) = &self.groups {
            unistd::setgroups(groups).map_err(|e| refused("set supplementary groups", e))?;
        }
        unistd::setresgid(gid, gid, gid).map_err(|e| refused(&format!("become group {gid}"), e))?;
        unistd::setresuid(uid, uid, uid).map_err(|e| refused(&format!("become user {uid}"), e))?;
        let root = Uid::from_raw(0);
        if !uid.is_root()
            && (unistd::setresuid(root, root, root).is_ok() || unistd::setuid(root).is_ok())
        {
            return Err(
                "root's privileges could be regained after they were given up; not starting"
                    .to_string(),
            );
        }
        Ok(())
    }

    /// Gives a file that was created for the daemon to its user. Failure is not fatal: the file is open already.
    pub fn give(&self, path: &Path) {
        let _ = unistd::chown(path, Some(self.uid), Some(self.gid));
    }
}

/// The user database's entry for a name or, if there is no such name, a number.
fn find_user(user: &str) -> Result<Option<User>, String> {
    let by_name = User::from_name(user).map_err(|e| {
        format!(
            "cannot look up user '{user}': {}; give a number",
            system_text(e)
        )
    });
    match (by_name, user.parse()) {
        (Ok(Some(entry)), _) => Ok(Some(entry)),
        // A number needs no entry, so a database that cannot be read does not matter.
        (_, Ok(number)) => Ok(User::from_uid(Uid::from_raw(number)).ok().flatten()),
        (by_name, Err(_)) => by_name,
    }
}

fn find_group(group: &str) -> Result<Gid, String> {
    let by_name = Group::from_name(group).map_err(|e| {
        format!(
            "cannot look up group '{group}': {}; give a number",
            system_text(e)
        )
    });
    match (by_name, group.parse()) {
        (Ok(Some(entry)), _) => Ok(entry.gid),
        (_, Ok(number)) => Ok(Gid::from_raw(number)),
        (Err(error), Err(_)) => Err(error),
        (Ok(None), Err(_)) => Err(format!(
            "there is no group '{group}'; give a number if groups cannot be looked up here"
        )),
    }
}

/// All groups of a user with `gid` as its own (initgroups(3)).
fn supplementary(name: &str, gid: Gid) -> Vec<Gid> {
    let groups = CString::new(name)
        .ok()
        .and_then(|name| unistd::getgrouplist(&name, gid).ok());
    groups.unwrap_or_else(|| vec![gid])
}
