//! Signals as readable pipes, one for each signal. It decides nothing: which signal came is all it says.
//! SIGHUP is watched from the first moment of `main` on; the others once the configuration has been read, whatever
//! mask the parent has left, and with them SIGXFSZ, so that a log at its size limit is an error and not a death.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use mio::unix::pipe::{self, Receiver};
use mio::{Interest, Registry, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};

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

const WATCHED: [(Signal, i32); 7] = [
    (Signal::Hangup, SIGHUP),
    (Signal::Terminate, SIGTERM),
    (Signal::Interrupt, SIGINT),
    (Signal::Quit, SIGQUIT),
    (Signal::User1, SIGUSR1),
    (Signal::User2, SIGUSR2),
    (Signal::Child, SIGCHLD),
];

/// SIGHUP, watched before anything else is done, so that an early one is kept instead of killing the program.
#[derive(Debug)]
pub struct Hangup {
    pipe: Receiver,
    fatal: Arc<AtomicBool>,
}

impl Hangup {
    /// To be called first thing in `main`.
    pub fn watch() -> io::Result<Hangup> {
        let fatal = Arc::new(AtomicBool::new(false));
        let pipe = watch(SIGHUP)?;
        signal_hook::flag::register_conditional_default(SIGHUP, Arc::clone(&fatal))?;
        Ok(Hangup { pipe, fatal })
    }

    /// Whether one has come already.
    pub fn has_come(&self) -> bool {
        let mut pipe = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut pipe, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Gives SIGHUP its usual effect back, for commands that are not the daemon.
    pub fn make_fatal(self) {
        self.fatal.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The readable ends of all watched signals.
#[derive(Debug)]
pub struct Signals {
    pipes: Vec<(Signal, Receiver)>,
}

impl Signals {
    /// How many tokens `register` takes.
    pub const TOKENS: usize = WATCHED.len();

    /// Watches all signals, then empties the signal mask: a parent may have left SIGCHLD or SIGHUP blocked, and
    /// what has been pending arrives now, at a handler.
    pub fn watch(hangup: Hangup) -> io::Result<Signals> {
        let mut pipes = vec![(Signal::Hangup, hangup.pipe)];
        for (signal, number) in WATCHED {
            if signal != Signal::Hangup {
                pipes.push((signal, watch(number)?));
            }
        }
        // A log that has reached its file size limit is to be an error of write(2), not a death.
        signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        SigSet::empty().thread_set_mask().map_err(io::Error::from)?;
        Ok(Signals { pipes })
    }

    /// Has `registry` report the signals under the tokens from `first` on.
    pub fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        for (index, (_, pipe)) in self.pipes.iter_mut().enumerate() {
            registry.register(pipe, Token(first.0 + index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Waits at most this long for a signal that ends the program, and leaves it to be taken; false once there is one.
    pub fn pause(&self, time: Duration) -> bool {
        let ends = |signal| matches!(signal, Signal::Terminate | Signal::Interrupt | Signal::Quit);
        let mut pipes: Vec<_> = self
            .pipes
            .iter()
            .filter(|(signal, _)| ends(*signal))
            .map(|(_, pipe)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN))
            .collect();
        let at_most = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        let came = poll(&mut pipes, at_most);
        !came.is_ok_and(|count| count > 0)
    }

    /// The signal behind the token `first` + `index`, if it did come; any number of the same is one.
    pub fn take(&mut self, index: usize) -> Option<Signal> {
        let (signal, pipe) = self.pipes.get_mut(index)?;
        let mut came = None;
        let mut bytes = [0; 64];
        loop {
            match pipe.read(&mut bytes) {
                Ok(0) => return came,
                // Less than was asked for: the pipe is empty, and what comes next is an event (epoll(7)).
                Ok(n) if n < bytes.len() => return Some(*signal),
                Ok(_) => came = Some(*signal),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return came,
            }
        }
    }
}

fn watch(signal: i32) -> io::Result<Receiver> {
    let (sender, receiver) = pipe::new()?;
    signal_hook::low_level::pipe::register(signal, sender)?;
    Ok(receiver)
}
