//! Signals as readable descriptors, one for each signal. It only says which signal came, and which real-time signal
//! killed a child; what to do is decided elsewhere.
//! SIGHUP is watched from the first moment of `main` on. Once the program knows that it is the daemon, and until it
//! watches the other signals, they end it. They are watched once the configuration has been read, whatever mask the
//! parent has left. SIGXFSZ is watched too, so that a log at its size limit is an error and does not kill the daemon.

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::unix::pipe::{self, Receiver};
use mio::{Interest, Registry, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::flag;

use crate::exit;

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

/// All but SIGCHLD.
const PIPED: [(Signal, i32); 6] = [
    (Signal::Hangup, SIGHUP),
    (Signal::Terminate, SIGTERM),
    (Signal::Interrupt, SIGINT),
    (Signal::Quit, SIGQUIT),
    (Signal::User1, SIGUSR1),
    (Signal::User2, SIGUSR2),
];

/// The signals that end a program which does not handle them. The kernel does not even send these to process 1
/// (pid_namespaces(7)).
const ENDING: [i32; 3] = [SIGTERM, SIGINT, SIGQUIT];

/// The signals that are watched before the program knows what it is to do.
#[derive(Debug)]
pub struct Early {
    hangup: Receiver,
    /// Whether SIGHUP has its usual effect.
    hangup_is_fatal: Arc<AtomicBool>,
    /// Whether the signals that end a program end this one at once.
    loading: Arc<AtomicBool>,
}

impl Early {
    /// Watches SIGHUP, so that an early one is kept and does not kill the program. `main` calls this first.
    pub fn watch() -> io::Result<Early> {
        let hangup_is_fatal = Arc::new(AtomicBool::new(false));
        let hangup = watch(SIGHUP)?;
        flag::register_conditional_default(SIGHUP, Arc::clone(&hangup_is_fatal))?;
        Ok(Early {
            hangup,
            hangup_is_fatal,
            loading: Arc::new(AtomicBool::new(true)),
        })
    }

    /// Whether SIGHUP has come already.
    pub fn hangup_has_come(&self) -> bool {
        let mut pipe = [PollFd::new(self.hangup.as_fd(), PollFlags::POLLIN)];
        poll(&mut pipe, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// For the daemon: makes a signal before the start is complete a clean end, even while a file is being read. Those
    /// that ask for something have no effect yet: there is no log to rotate and nothing to be told.
    pub fn stop_cleanly(&self) -> io::Result<()> {
        for signal in [SIGUSR1, SIGUSR2] {
            flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
        for signal in ENDING {
            flag::register_conditional_shutdown(
                signal,
                i32::from(exit::OK),
                Arc::clone(&self.loading),
            )?;
        }
        Ok(())
    }

    /// For commands that are not the daemon: gives SIGHUP its usual effect back, and as process 1 also gives the other
    /// ending signals theirs.
    pub fn make_fatal(self) -> io::Result<()> {
        if std::process::id() != 1 {
            self.hangup_is_fatal.store(true, Ordering::Relaxed);
            return Ok(());
        }
        for signal in ENDING.into_iter().chain([SIGHUP]) {
            let status = exit::Exit::Signal(signal).code();
            flag::register_conditional_shutdown(signal, status, Arc::clone(&self.loading))?;
        }
        Ok(())
    }
}

/// How a child died, as far as SIGCHLD tells.
#[derive(Debug, Clone, Copy)]
struct Death {
    child: Pid,
    signal: i32,
}

/// The readable ends of all watched signals.
#[derive(Debug)]
pub struct Signals {
    pipes: Vec<(Signal, Receiver)>,
    /// SIGCHLD, which is blocked: to read it takes one system call where a handler and a pipe take three.
    children: SignalFd,
    last_death: Option<Death>,
}

impl Signals {
    /// How many tokens `register` takes.
    pub const TOKENS: usize = PIPED.len() + 1;

    /// Watches all signals, then empties the signal mask except for SIGCHLD. A parent may have left SIGTERM or SIGHUP
    /// blocked; a pending one arrives now, at a handler.
    pub fn watch(early: Early) -> io::Result<Signals> {
        let mut pipes = vec![(Signal::Hangup, early.hangup)];
        for (signal, number) in PIPED {
            if signal != Signal::Hangup {
                pipes.push((signal, watch(number)?));
            }
        }
        early.loading.store(false, Ordering::Relaxed);
        // With a handler, a log that has reached its file size limit is an error of write(2) and not a death.
        flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
        // The parent may have left SIGCHLD ignored; the kernel would then reap the children itself.
        flag::register(SIGCHLD, Arc::new(AtomicBool::new(false)))?;
        let mask = SigSet::from(Number::SIGCHLD);
        mask.thread_set_mask().map_err(io::Error::from)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let children = SignalFd::with_flags(&mask, flags).map_err(io::Error::from)?;
        Ok(Signals {
            pipes,
            children,
            last_death: None,
        })
    }

    /// Registers the signals under the tokens from `first` on.
    pub fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        for (index, (_, pipe)) in self.pipes.iter_mut().enumerate() {
            registry.register(pipe, Token(first.0 + index), Interest::READABLE)?;
        }
        let token = Token(first.0 + PIPED.len());
        let children = self.children.as_raw_fd();
        registry.register(&mut SourceFd(&children), token, Interest::READABLE)
    }

    /// Waits at most this long for a signal that ends the program, and leaves it to be taken. False once there is one.
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

    /// Takes the signal with the token `first` + `index`, if it came. Several of the same count as one.
    pub fn take(&mut self, index: usize) -> Option<Signal> {
        let Some((signal, pipe)) = self.pipes.get_mut(index) else {
            return self.take_child().then_some(Signal::Child);
        };
        let mut came = None;
        let mut bytes = [0; 64];
        loop {
            match pipe.read(&mut bytes) {
                Ok(0) => return came,
                // A read that returned less than was asked for has emptied the pipe; an event reports what comes next
                // (epoll(7)).
                Ok(n) if n < bytes.len() => return Some(*signal),
                Ok(_) => came = Some(*signal),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return came,
            }
        }
    }

    /// Takes SIGCHLD, if it came. At most one is pending, so one read empties the descriptor.
    fn take_child(&mut self) -> bool {
        let Ok(Some(info)) = self.children.read_signal() else {
            return false;
        };
        let pid = i32::try_from(info.ssi_pid);
        self.last_death = pid.ok().map(|pid| Death {
            child: Pid::from_raw(pid),
            signal: info.ssi_status,
        });
        true
    }

    /// The signal that killed this child, if the last SIGCHLD was about it. If several children die at once, only one
    /// is reported (signal(7)).
    pub fn killed(&mut self, child: Pid) -> Option<i32> {
        let mut signal = None;
        loop {
            let told = self.last_death.filter(|death| death.child == child);
            signal = told.map(|death| death.signal).or(signal);
            if !self.take_child() {
                return signal;
            }
        }
    }
}

fn watch(signal: i32) -> io::Result<Receiver> {
    let (sender, receiver) = pipe::new()?;
    signal_hook::low_level::pipe::register(signal, sender)?;
    Ok(receiver)
}
