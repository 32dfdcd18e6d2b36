//! Signals as something to read: what the daemon acts on stays blocked and waits in a signalfd. It decides
//! nothing: which signal came is all it says.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use signal_hook::consts::{SIGCHLD, SIGXFSZ};

/// A signal the daemon acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Reload the configuration.
    Hangup,
    /// Stop.
    Terminate,
    /// Stop, from a terminal.
    Interrupt,
    /// Let the running job end, then stop.
    Quit,
    /// Rotate or reopen the log.
    User1,
    /// Write the status to the log.
    User2,
    /// A child has ended.
    Child,
}

const WATCHED: [(Signal, Number); 7] = [
    (Signal::Hangup, Number::SIGHUP),
    (Signal::Terminate, Number::SIGTERM),
    (Signal::Interrupt, Number::SIGINT),
    (Signal::Quit, Number::SIGQUIT),
    (Signal::User1, Number::SIGUSR1),
    (Signal::User2, Number::SIGUSR2),
    (Signal::Child, Number::SIGCHLD),
];

/// SIGHUP, blocked before anything else is done, so that an early one is kept instead of killing the program.
#[derive(Debug)]
pub struct Hangup {
    before: SigSet,
}

impl Hangup {
    /// To be called first thing in `main`.
    pub fn watch() -> io::Result<Hangup> {
        let mut hangup = SigSet::empty();
        hangup.add(Number::SIGHUP);
        let before = hangup.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Hangup { before })
    }

    /// Gives SIGHUP its usual effect back, for commands that are not the daemon.
    pub fn make_fatal(self) {
        let _ = self.before.thread_set_mask();
    }
}

/// All watched signals.
#[derive(Debug)]
pub struct Signals {
    fd: SignalFd,
}

impl Signals {
    /// Watches all signals and unblocks all others, whatever a parent has left blocked.
    pub fn watch(_hangup: Hangup) -> io::Result<Signals> {
        // A parent may have left SIGCHLD ignored, and then children vanish unseen (wait(2)). A handler ends that,
        // though it never runs.
        signal_hook::flag::register(SIGCHLD, Arc::new(AtomicBool::new(false)))?;
        // A log that has reached its file size limit is to be an error of write(2), not a death.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        let mut watched = SigSet::empty();
        for (_, number) in WATCHED {
            watched.add(number);
        }
        // Blocked signals arrive here even if a parent has left them ignored, and even at process 1.
        watched.thread_set_mask()?;
        let fd = SignalFd::with_flags(&watched, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Signals { fd })
    }

    /// Has `registry` report under this token that signals have come.
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let fd = self.fd.as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
    }

    /// The next signal that has come; any number of the same is one.
    pub fn take(&self) -> Option<Signal> {
        loop {
            let number = match self.fd.read_signal() {
                Ok(Some(came)) => came.ssi_signo,
                Err(Errno::EINTR) => continue,
                Ok(None) | Err(_) => return None,
            };
            let mut watched = WATCHED.into_iter();
            if let Some((signal, _)) = watched.find(|(_, known)| *known as u32 == number) {
                return Some(signal);
            }
        }
    }
}
