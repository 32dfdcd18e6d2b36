//! Users and groups. The C library looks them up; a static binary reads /etc/passwd and /etc/group itself. A statically
//! linked C library would load what nsswitch.conf(5) names from the machine's own C library, which may be another
//! version, and that would take longer than the rest of this program's start.

use std::io;

use nix::unistd::{Gid, Uid};

#[cfg(target_feature = "crt-static")]
pub use files::{group_named, group_numbered, groups_of, user_named, user_numbered};
#[cfg(not(target_feature = "crt-static"))]
pub use library::{group_named, group_numbered, groups_of, user_named, user_numbered};

/// A user's entry in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The user id.
    pub uid: Uid,
    /// The id of its own group.
    pub gid: Gid,
}

#[cfg(not(target_feature = "crt-static"))]
mod library {
    use std::ffi::CString;

    use nix::unistd::{self, Group};

    use super::*;

    /// The user of this name. An error means that the database could not be read, and not that there is no such user.
    pub fn user_named(name: &str) -> io::Result<Option<User>> {
        Ok(unistd::User::from_name(name)?.map(User::from))
    }

    /// The user of this number.
    pub fn user_numbered(uid: Uid) -> io::Result<Option<User>> {
        Ok(unistd::User::from_uid(uid)?.map(User::from))
    }

    /// The number of the group of this name.
    pub fn group_named(name: &str) -> io::Result<Option<Gid>> {
        Ok(Group::from_name(name)?.map(|group| group.gid))
    }

    /// The name of the group of this number.
    pub fn group_numbered(gid: Gid) -> io::Result<Option<String>> {
        Ok(Group::from_gid(gid)?.map(|group| group.name))
    }

    /// All groups of a user, `gid` as its own among them.
    pub fn groups_of(user: &str, gid: Gid) -> io::Result<Vec<Gid>> {
        let user = CString::new(user)?;
        Ok(unistd::getgrouplist(&user, gid)?)
    }

    impl From<unistd::User> for User {
        fn from(user: unistd::User) -> User {
            User {
                name: user.name,
                uid: user.uid,
                gid: user.gid,
            }
        }
    }
}

/// Reads passwd(5) and group(5). A line that is no entry is skipped, as the C library does.
#[cfg(any(test, target_feature = "crt-static"))]
mod files {
    #![cfg_attr(
        not(target_feature = "crt-static"),
        allow(dead_code, reason = "compiled for its tests alone")
    )]

    use std::fs;

    use super::*;

    const USERS: &str = "/etc/passwd";
    const GROUPS: &str = "/etc/group";

    /// The user of this name. An error means that the file could not be read, and not that there is no such user.
    pub fn user_named(name: &str) -> io::Result<Option<User>> {
        Ok(find_user(&fs::read(USERS)?, |user| user.name == name))
    }

    /// The user of this number.
    pub fn user_numbered(uid: Uid) -> io::Result<Option<User>> {
        Ok(find_user(&fs::read(USERS)?, |user| user.uid == uid))
    }

    /// The number of the group of this name.
    pub fn group_named(name: &str) -> io::Result<Option<Gid>> {
        Ok(find_group(&fs::read(GROUPS)?, name))
    }

    /// The name of the group of this number.
    pub fn group_numbered(gid: Gid) -> io::Result<Option<String>> {
        let groups = fs::read(GROUPS)?;
        Ok(find_group_numbered(&groups, gid))
    }

    /// All groups of a user, `gid` as its own among them.
    pub fn groups_of(user: &str, gid: Gid) -> io::Result<Vec<Gid>> {
        Ok(list_groups(&fs::read(GROUPS)?, user, gid))
    }

    pub(super) fn find_user(passwd: &[u8], wanted: impl Fn(&User) -> bool) -> Option<User> {
        let text = String::from_utf8_lossy(passwd);
        text.lines().filter_map(user).find(wanted)
    }

    fn user(line: &str) -> Option<User> {
        let mut fields = fields(line)?;
        let name = fields.next()?.to_string();
        let _password = fields.next()?;
        Some(User {
            name,
            uid: Uid::from_raw(fields.next()?.parse().ok()?),
            gid: Gid::from_raw(fields.next()?.parse().ok()?),
        })
    }

    pub(super) fn find_group(groups: &[u8], name: &str) -> Option<Gid> {
        let text = String::from_utf8_lossy(groups);
        let mut entries = text.lines().filter_map(group);
        entries.find(|entry| entry.0 == name).map(|entry| entry.1)
    }

    pub(super) fn find_group_numbered(groups: &[u8], gid: Gid) -> Option<String> {
        let text = String::from_utf8_lossy(groups);
        let mut entries = text.lines().filter_map(group);
        entries
            .find(|entry| entry.1 == gid)
            .map(|entry| entry.0.to_string())
    }

    pub(super) fn list_groups(groups: &[u8], user: &str, gid: Gid) -> Vec<Gid> {
        let text = String::from_utf8_lossy(groups);
        let mut list = vec![gid];
        for (_, number, members) in text.lines().filter_map(group) {
            if members.split(',').any(|member| member.trim() == user) && !list.contains(&number) {
                list.push(number);
            }
        }
        list
    }

    /// Name, number, members.
    fn group(line: &str) -> Option<(&str, Gid, &str)> {
        let mut fields = fields(line)?;
        let name = fields.next()?;
        let _password = fields.next()?;
        let gid = Gid::from_raw(fields.next()?.parse().ok()?);
        Some((name, gid, fields.next().unwrap_or_default()))
    }

    /// The fields of an entry. `None` for a comment, a line without a name, and a line that stands for another database
    /// (`+`, `-`).
    fn fields(line: &str) -> Option<impl Iterator<Item = &str>> {
        let line = line.trim_start();
        (!line.is_empty() && !line.starts_with(['#', '+', '-', ':'])).then(|| line.split(':'))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::files::{find_group, find_group_numbered, find_user, list_groups};
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\n# old:x:7:7:::\n+lp:x:8:8:::\n\nbroken\nshort:x:9\n\
        minus:x:-1:1:::\nhuge:x:4294967296:1:::\nlatin\xe9:x:10:11:::\n  lp:x:12:13::/:\nlp:x:14:15:::\nbare:x:16:17";

    const GROUP: &[u8] = b"root:x:0:\nlp:x:13:\nadm:x:4:root,lp\nno:x:no:lp\n#tape:x:26:lp\naudio:x:29: other , lp \n\
        again:x:4:lp\nplugdev:x:46:lpadmin\nown:x:13:lp\nbare:x:50";

    fn named(name: &str) -> Option<(u32, u32)> {
        find_user(PASSWD, |user| user.name == name)
            .map(|user| (user.uid.as_raw(), user.gid.as_raw()))
    }

    #[test]
    fn a_user_is_the_first_entry_of_its_name() {
        assert_eq!(named("root"), Some((0, 0)));
        assert_eq!(named("lp"), Some((12, 13)));
        assert_eq!(named("bare"), Some((16, 17)));
        let numbered = find_user(PASSWD, |user| user.uid.as_raw() == 14);
        assert_eq!(numbered.map(|user| user.name), Some("lp".to_string()));
    }

    #[test]
    fn what_is_no_entry_is_no_user() {
        for name in [
            "", "# old", "old", "+lp", "broken", "short", "minus", "huge", "x",
        ] {
            assert_eq!(named(name), None, "{name}");
        }
        assert_eq!(find_user(b"", |_| true), None);
        assert_eq!(find_user(b":::\n::0:0\n\0\xff\n", |_| true), None);
    }

    #[test]
    fn a_group_is_found_with_and_without_members() {
        for (name, expected) in [
            ("lp", Some(13)),
            ("adm", Some(4)),
            ("bare", Some(50)),
            ("no", None),
            ("tape", None),
            ("", None),
        ] {
            assert_eq!(find_group(GROUP, name).map(Gid::as_raw), expected, "{name}");
        }
    }

    #[test]
    fn a_group_is_found_by_its_number() {
        for (gid, expected) in [(13, Some("lp")), (4, Some("adm")), (26, None), (7, None)] {
            let found = find_group_numbered(GROUP, Gid::from_raw(gid));
            assert_eq!(found.as_deref(), expected, "{gid}");
        }
    }

    #[test]
    fn a_users_groups_are_its_own_first_and_each_other_once() {
        let list = |user, gid| -> Vec<u32> {
            let groups = list_groups(GROUP, user, Gid::from_raw(gid));
            groups.into_iter().map(Gid::as_raw).collect()
        };
        assert_eq!(list("lp", 13), [13, 4, 29]);
        assert_eq!(list("lp", 100), [100, 4, 29, 13]);
        assert_eq!(list("nobody", 5), [5]);
    }

    #[test]
    fn the_files_and_the_c_library_agree_about_root() {
        let files = files::user_named("root").unwrap();
        assert_eq!(files, super::user_named("root").unwrap());
        assert_eq!(files, files::user_numbered(Uid::from_raw(0)).unwrap());
    }
}
