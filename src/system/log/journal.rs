//! When standard output is the journal, and how it is told a line's priority (sd-daemon(3)).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use super::Level;

/// Whether `$JOURNAL_STREAM` names this file (systemd.exec(5)).
pub(super) fn names(file: &Metadata) -> bool {
    std::env::var("JOURNAL_STREAM")
        .is_ok_and(|stream| stream == format!("{}:{}", file.dev(), file.ino()))
}

impl Level {
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Level::Info => "<6>",
            Level::Warning => "<4>",
            Level::Error => "<3>",
        }
    }
}
