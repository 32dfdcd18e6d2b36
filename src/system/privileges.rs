//! Becomes another user, for good or for one act. For good comes with the proof that there is no way back. Looks users
//! up by name or number. It knows nothing of what is opened before or after.

use std::fmt;
use std::io;

use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};

use crate::system::errors::{error_text, system_text};
use crate::system::users::{self, User};

const REGAINED: &str = "root's privileges could be regained after they were given up; not starting";

/// The user and groups to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    uid: Uid,
    gid: Gid,
    /// Supplementary groups. `None` keeps those of now, because only the group changes.
    groups: Option<Vec<Gid>>,
}

impl Account {
    /// Looks up what `--uid` and `--gid` name. Without a group it is the user's own. `None` if neither is given.
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Account>, String> {
        let named_gid = group.map(find_group).transpose()?;
        let Some(user) = user else {
            let uid = unistd::getuid();
            return Ok(named_gid.map(|gid| Account {
                uid,
                gid,
                groups: None,
            }));
        };
        let entry = find_user(user)?;
        let (uid, own_gid) = match (&entry, number(user)) {
            (Some(entry), _) => (entry.uid, Some(entry.gid)),
            (None, Some(number)) => (Uid::from_raw(number), None),
            (None, None) => {
                return Err(format!(
                    "there is no user '{user}'; give a number if users cannot be looked up here"
                ));
            }
        };
        let gid = named_gid.or(own_gid).ok_or_else(|| {
            format!("user {user} is not known here, so neither is its group; give one with --gid")
        })?;
        let groups = match &entry {
            // If groups cannot be listed, the user is only in its own.
            Some(entry) => users::groups_of(&entry.name, gid).unwrap_or_else(|_| vec![gid]),
            None => vec![gid],
        };
        Ok(Some(Account {
            uid,
            gid,
            groups: Some(groups),
        }))
    }

    /// The user and group that own what is made for the daemon.
    pub fn owner(&self) -> (Uid, Gid) {
        (self.uid, self.gid)
    }

    /// Whether to become this user is to give up root.
    pub fn leaves_root(&self) -> bool {
        unistd::geteuid().is_root() && !self.uid.is_root()
    }

    /// Calls `act` with this user's rights, supplementary groups included, and becomes root again. The effective ids
    /// are the whole process's, which is safe because there is only one thread.
    pub fn act_as<T>(&self, act: impl FnOnce() -> T) -> Result<T, String> {
        let (root, own_group) = (unistd::geteuid(), unistd::getegid());
        let own_groups = unistd::getgroups().map_err(|error| self.not_become(error))?;
        let groups = self.groups.as_ref().unwrap_or(&own_groups);
        let acted = self.try_on(groups).map(|gave_up| gave_up.then(act));
        unistd::seteuid(root)
            .and_then(|()| unistd::setegid(own_group))
            .and_then(|()| unistd::setgroups(&own_groups))
            .map_err(|error| format!("cannot become root again: {}", system_text(error)))?;
        acted
            .map_err(|error| self.not_become(error))?
            .ok_or_else(|| REGAINED.to_string())
    }

    /// Sets the effective ids; the saved ones are the way back. Returns whether root's rights went with them: where
    /// capabilities stay (capabilities(7), SECBIT_NO_SETUID_FIXUP), groups can still be set.
    fn try_on(&self, groups: &[Gid]) -> nix::Result<bool> {
        unistd::setgroups(groups)?;
        unistd::setegid(self.gid)?;
        unistd::seteuid(self.uid)?;
        Ok(unistd::setgroups(groups).is_err())
    }

    fn not_become(&self, error: Errno) -> String {
        let hint = if unistd::geteuid().is_root() {
            ""
        } else {
            "; only root can"
        };
        format!(
            "cannot become user {} and group {}: {}{hint}",
            self.uid,
            self.gid,
            system_text(error)
        )
    }

    /// Becomes this user and group, irrevocably.
    pub fn assume(&self) -> Result<(), String> {
        let (uid, gid) = (self.uid, self.gid);
        // A daemon that is already this user needs no right to change.
        let unchanged = (unistd::getuid(), unistd::geteuid()) == (uid, uid)
            && (unistd::getgid(), unistd::getegid()) == (gid, gid);
        if unchanged && !uid.is_root() {
            return Ok(());
        }
        self.change().map_err(|error| self.not_become(error))?;
        let root = Uid::from_raw(0);
        if !uid.is_root()
            && (unistd::setresuid(root, root, root).is_ok() || unistd::setuid(root).is_ok())
        {
            return Err(REGAINED.to_string());
        }
        Ok(())
    }

    /// Changes the groups first: only root can change them.
    fn change(&self) -> nix::Result<()> {
        if let Some(groups) = &self.groups {
            unistd::setgroups(groups)?;
        }
        unistd::setresgid(self.gid, self.gid, self.gid)?;
        unistd::setresuid(self.uid, self.uid, self.uid)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.uid)
    }
}

/// The user database's entry for a name or, if there is no such name, a number.
fn find_user(user: &str) -> Result<Option<User>, String> {
    match (users::user_named(user), number(user)) {
        (Ok(Some(entry)), _) => Ok(Some(entry)),
        // A number needs no entry, so a database that cannot be read does not matter.
        (_, Some(number)) => Ok(users::user_numbered(Uid::from_raw(number)).unwrap_or(None)),
        (by_name, None) => by_name.map_err(|error| no_database("user", user, &error)),
    }
}

fn find_group(group: &str) -> Result<Gid, String> {
    match (users::group_named(group), number(group)) {
        (Ok(Some(gid)), _) => Ok(gid),
        (_, Some(number)) => Ok(Gid::from_raw(number)),
        (Err(error), None) => Err(no_database("group", group, &error)),
        (Ok(None), None) => Err(format!(
            "there is no group '{group}'; give a number if groups cannot be looked up here"
        )),
    }
}

fn no_database(what: &str, name: &str, error: &io::Error) -> String {
    let why = error_text(error);
    format!("cannot look up {what} '{name}': {why}; give a number")
}

/// A user's or group's number. The highest one is invalid: to setresuid(2) it means no change.
fn number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|&number| number != u32::MAX);
    number.filter(|_| digits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_means_no_change_is_no_number() {
        assert_eq!(number("4294967294"), Some(4_294_967_294));
        for text in [
            "4294967295",
            "4294967296",
            "-1",
            "+1",
            "0x1",
            " 1",
            "1 ",
            "",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_need_no_database() {
        let account = Account::find(Some("3999999998"), Some("3999999999"));
        let (uid, gid) = (Uid::from_raw(3_999_999_998), Gid::from_raw(3_999_999_999));
        let expected = Account {
            uid,
            gid,
            groups: Some(vec![gid]),
        };
        assert_eq!(account, Ok(Some(expected)));
        assert_eq!(Account::find(None, None), Ok(None));
    }

    #[test]
    fn who_is_not_known_is_named() {
        for (user, group, expected) in [
            (
                Some("no such one"),
                None,
                "there is no user 'no such one'; give a number if users cannot be looked up here",
            ),
            (
                Some("0"),
                Some("no such one"),
                "there is no group 'no such one'; give a number if groups cannot be looked up here",
            ),
            (
                Some("3999999998"),
                None,
                "user 3999999998 is not known here, so neither is its group; give one with --gid",
            ),
        ] {
            let error = Account::find(user, group).unwrap_err();
            assert_eq!(error, expected);
        }
    }
}
