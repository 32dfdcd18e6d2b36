//! What a daemon holds so that it works alone: its pid file, and the claims on the state file and the lease.

use crate::system::claim::Claim;
use crate::system::pidfile::PidFile;

/// What this daemon holds so that no other daemon uses it. The pid file is released last.
#[derive(Debug)]
pub struct Holds {
    /// The claim on the state file.
    pub state: Option<Claim>,
    /// The claim on the lease file: one daemon a host works under it.
    pub lease: Option<Claim>,
    /// The pid file.
    pub pidfile: Option<PidFile>,
}

impl Holds {
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        let pidfile = self.pidfile.as_ref().and_then(PidFile::warning);
        let claims = [&mut self.state, &mut self.lease].into_iter().flatten();
        let claims: Vec<_> = claims.filter_map(Claim::take_warning).collect();
        pidfile.into_iter().chain(claims).collect()
    }

    /// Tells a daemon that waits for this one's end that no more jobs will start. A drain tells it too, although it can
    /// take long: the waiting daemon has a limit of its own.
    pub(super) fn begin_to_stop(&self) {
        for claim in [&self.state, &self.lease].into_iter().flatten() {
            claim.begin_to_stop();
        }
        if let Some(pidfile) = &self.pidfile {
            pidfile.begin_to_stop();
        }
    }
}
