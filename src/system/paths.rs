//! Paths as the kernel follows them (path_resolution(7)). Nothing here opens what a path names.

use std::path::Path;

/// The most links on one path.
pub const MOST_LINKS: usize = 40;

/// Where the kernel lists this process's open files (proc(5)). The links there lead where no path does.
pub const OWN_DESCRIPTORS: &str = "/proc/self/fd";

/// The path of the directory that holds `path`.
pub fn directory_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_directory_is_one_of_the_working_directory() {
        for (path, directory) in [("state", "."), ("a/state", "a"), ("/state", "/")] {
            assert_eq!(directory_of(Path::new(path)), Path::new(directory));
        }
    }
}
