//! The files that the daemon writes, by the keys that name them. They must be apart from each other, and from what the
//! configuration is read from. Pure: whether two names lead to one file is for the caller to find out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Sequencer;

/// The history file beside a state file: `NAME.history`.
pub fn history_beside(state: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(state.file_name()?);
    name.push(".history");
    Some(state.with_file_name(name))
}

/// The file beside one that a daemon claims, whose lock is the claim: `.NAME.lock`.
pub fn lock_beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".lock");
    path.with_file_name(name)
}

/// The files that the daemon writes, replaces or makes, and the lease, each with its key.
pub fn written(config: &Sequencer) -> Vec<(&'static str, PathBuf)> {
    let state = config.statefile.as_deref();
    let history = state.and_then(history_beside);
    let lease = config.leasefile.as_deref();
    let locks = [state, lease].map(|path| path.map(lock_beside));
    let mut written = Vec::new();
    for (key, path) in [
        ("logfile", config.logfile.as_deref()),
        ("statefile", state),
        ("statefile", history.as_deref()),
        ("statefile", locks[0].as_deref()),
        ("metricsfile", config.metricsfile.as_deref()),
        ("leasefile", lease),
        ("leasefile", locks[1].as_deref()),
        ("controlsocket", config.controlsocket.configured()),
    ] {
        if let Some(path) = path {
            written.push((key, path.to_path_buf()));
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ControlSocket;

    #[test]
    fn all_that_is_written_is_listed_with_its_key() {
        let config = Sequencer {
            logfile: Some("l".into()),
            statefile: Some("d/s".into()),
            controlsocket: ControlSocket::At("c".into()),
            ..Sequencer::default()
        };
        let written = written(&config);
        let shown: Vec<_> = written
            .iter()
            .map(|(key, path)| (*key, path.to_string_lossy().into_owned()))
            .collect();
        let expected = [
            ("logfile", "l"),
            ("statefile", "d/s"),
            ("statefile", "d/s.history"),
            ("statefile", "d/.s.lock"),
            ("controlsocket", "c"),
        ];
        assert_eq!(shown, expected.map(|(key, path)| (key, path.to_string())));
    }
}
