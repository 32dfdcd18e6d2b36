//! Why a user may not connect to the control socket, and who may: the words for a refused command.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::unistd::{AccessFlags, Gid, Uid, access};

use crate::system::users;

/// The permission bit that connecting needs on the socket (unix(7)).
const WRITE: u32 = 0o2;
const SEARCH: u32 = 0o1;

/// Why this user cannot connect to `socket`, whose it is, and who can: `control socket '/run/a/control.sock' belongs to
/// user root and group lp (mode 0660); run this as root or as a member of group lp`.
pub fn who_may_connect(socket: &Path) -> String {
    let place = std::path::absolute(socket).unwrap_or_else(|_| socket.to_path_buf());
    let mut directories: Vec<&Path> = place.ancestors().skip(1).collect();
    directories.reverse();
    let closed = directories
        .into_iter()
        .find(|directory| access(*directory, AccessFlags::X_OK).is_err());
    let obstacle = closed.unwrap_or(&place);
    match fs::metadata(obstacle) {
        Ok(metadata) => told(obstacle, &metadata),
        Err(_) => format!("'{}'", socket.display()),
    }
}

fn told(path: &Path, metadata: &Metadata) -> String {
    let (what, bit) = match metadata.file_type() {
        kind if kind.is_socket() => ("control socket ", WRITE),
        kind if kind.is_dir() => ("directory ", SEARCH),
        _ => ("", WRITE),
    };
    let mode = metadata.mode() & 0o7777;
    let user = user_name(metadata.uid());
    let group = group_name(metadata.gid());
    let advice = advice(&user, &group, mode, bit);
    format!(
        "{what}'{}' belongs to user {user} and group {group} (mode {mode:04o}); {advice}",
        path.display()
    )
}

fn advice(user: &str, group: &str, mode: u32, bit: u32) -> String {
    if mode & bit != 0 {
        return "everybody may by these, so something else forbids it, such as SELinux or AppArmor"
            .to_string();
    }
    let mut who = vec!["root".to_string()];
    if user != "root" && mode & (bit << 6) != 0 {
        who.insert(0, user.to_string());
    }
    if mode & (bit << 3) != 0 {
        who.push(format!("a member of group {group}"));
    }
    format!("run this as {}", who.join(" or as "))
}

fn user_name(uid: u32) -> String {
    let user = users::user_numbered(Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn group_name(gid: u32) -> String {
    let group = users::group_numbered(Gid::from_raw(gid)).ok().flatten();
    group.unwrap_or_else(|| gid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_may_are_named() {
        for (user, mode, bit, advice_expected) in [
            (
                "root",
                0o660,
                WRITE,
                "run this as root or as a member of group lp",
            ),
            (
                "lp",
                0o660,
                WRITE,
                "run this as lp or as root or as a member of group lp",
            ),
            ("lp", 0o600, WRITE, "run this as lp or as root"),
            ("root", 0o700, SEARCH, "run this as root"),
            (
                "root",
                0o750,
                SEARCH,
                "run this as root or as a member of group lp",
            ),
            (
                "lp",
                0o070,
                SEARCH,
                "run this as root or as a member of group lp",
            ),
        ] {
            assert_eq!(advice(user, "lp", mode, bit), advice_expected, "{mode:o}");
        }
        for (mode, bit) in [(0o666, WRITE), (0o755, SEARCH)] {
            assert!(advice("root", "lp", mode, bit).contains("SELinux"));
        }
    }
}
