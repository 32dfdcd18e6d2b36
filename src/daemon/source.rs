//! Where the configuration comes from, at the start and at each reload, and what of the command line wins over it.

use std::path::PathBuf;

use crate::config::values::is_stdout;
use crate::config::{ControlSocket, Sequencer};
use crate::system::files;
use crate::system::log::leads_to_stdout;
use crate::wire::ConfigFile;

/// Which configuration file to read, and the command line's settings that win over it. A reload uses them too.
#[derive(Debug, Clone)]
pub struct Source {
    /// The configuration file's path as the command line names it.
    pub path: PathBuf,
    /// The directory that a relative `path` starts from.
    pub from: PathBuf,
    /// The file's device and inode at the start. Later the daemon's user may be unable to see the file.
    pub identity: Option<(u64, u64)>,
    /// The command line's log file, which wins over the configuration's.
    pub logfile: Option<PathBuf>,
    /// The command line's name for the daemon, which wins over the configuration's.
    pub name: Option<Box<str>>,
    /// The command line's control socket, which wins over the configuration's.
    pub socket: Option<PathBuf>,
    /// Whether the daemon has detached. It has no standard output then, so the log has to be a file.
    pub detached: bool,
    /// The command line's `--spew`.
    pub spew: bool,
}

/// The log of a detached daemon whose configuration names none. Like twistd's, it is in the run directory.
const TWISTD_LOG: &str = "twistd.log";

impl Source {
    /// The configuration file as it is now.
    pub(super) fn file(&self) -> ConfigFile {
        let path = self.from.join(&self.path);
        ConfigFile {
            identity: files::identity(&path).or(self.identity),
            path: std::path::absolute(&path).unwrap_or(path),
        }
    }

    /// Lets the command line's settings replace the file's.
    pub fn overrule(&self, config: &mut Sequencer) {
        if let Some(path) = &self.logfile {
            config.logfile = Some(path.clone()).filter(|path| !is_stdout(path));
        }
        // What leads to standard output would lead to /dev/null.
        if self.detached && config.logfile.as_deref().is_none_or(leads_to_stdout) {
            config.logfile = Some(PathBuf::from(TWISTD_LOG));
        }
        if let Some(name) = &self.name {
            config.name = Some(name.clone());
        }
        if let Some(path) = &self.socket {
            config.controlsocket = ControlSocket::At(path.clone());
        }
        config.spew |= self.spew;
    }
}
