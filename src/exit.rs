//! How processes end: the exit statuses of this program, those that stand for a command that could not be started,
//! and what the kernel says of a process that has ended.

/// All went well.
pub const OK: u8 = 0;
/// The system refused something at run time, or the daemon refused a command.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// No daemon answers.
pub const NO_DAEMON: u8 = 3;
/// The lease has run out (EX_TEMPFAIL, sysexits.h).
pub const NO_LEASE: u8 = 75;
/// The configuration is wrong (EX_CONFIG, sysexits.h).
pub const CONFIG: u8 = 78;

/// Exit code of a command that was not found, as shells report it (POSIX XCU 2.8.2).
pub const NOT_FOUND: i32 = 127;
/// Exit code of a command that was found but could not be started, as shells report it.
pub const NOT_STARTED: i32 = 126;

/// How the kernel says a process ended (wait(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It exited with this status.
    Code(i32),
    /// This signal killed it; 0 if that was a real-time signal whose number is not known.
    Signal(i32),
}

impl Exit {
    /// The exit code as a shell shows it: 128+N for signal N.
    pub fn code(self) -> i32 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128_i32.saturating_add(signal),
        }
    }
}
