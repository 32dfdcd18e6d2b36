//! Clients of a control socket, well-behaved and not.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Daemon, LIMIT, Place, wait_for};

/// A daemon's section with a control socket in the test's directory.
pub const SOCKET: &str = "[buildsequencer]\ncontrolsocket: socket\n";

/// A job that never runs by itself.
pub fn idle_job(name: &str, command: &str) -> String {
    super::job(
        name,
        &format!("command: {command}\nmindelay: 1d\nstartdelay: 1d"),
    )
}

impl Place {
    /// Starts a daemon in this directory and waits until it listens.
    #[track_caller]
    pub fn listening(&self, config: &str) -> Daemon<'_> {
        let before = self.read("log").matches("Loaded.").count();
        let daemon = self.daemon(config);
        daemon.wait_for_log_times("Loaded.", before + 1);
        daemon
    }

    /// Connects to the control socket once it is there.
    #[track_caller]
    pub fn connect(&self) -> UnixStream {
        self.connect_to("socket")
    }

    #[track_caller]
    pub fn connect_to(&self, name: &str) -> UnixStream {
        let path = self.path(name);
        let stream = wait_for("the socket", || UnixStream::connect(&path).ok());
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Sends these bytes and returns the whole answer.
    #[track_caller]
    pub fn say(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        answer(&mut stream)
    }

    /// Runs a command against the daemon whose configuration is `conf`. A health check that a busy machine has made
    /// wait for two seconds is repeated.
    #[track_caller]
    pub fn ask(&self, command: &str) -> Output {
        let words: Vec<&str> = command.split(' ').collect();
        wait_for("an answer in time", || {
            let output = self.run(&[&["-c", "conf"], &words[..]].concat());
            let late = command.starts_with("healthcheck")
                && super::stderr(&output).contains("says nothing in time");
            (!late).then_some(output)
        })
    }

    /// Does the same with a command that is to succeed, and returns what it prints.
    #[track_caller]
    pub fn told(&self, command: &str) -> String {
        let output = self.ask(command);
        let text = super::stdout(&output);
        let errors = super::stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{command}: {text}{errors}");
        text
    }

    /// Does the same with a command that is to be refused, and returns its exit status and the error.
    #[track_caller]
    pub fn refused(&self, command: &str) -> (i32, String) {
        let output = self.ask(command);
        assert_eq!(super::stdout(&output), "", "{command}");
        (output.status.code().unwrap(), super::stderr(&output))
    }
}

/// Reads everything until the daemon closes the connection, of whatever kind.
#[track_caller]
pub fn answer(stream: &mut impl Read) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            // The system does not resume a wait with a limit (signal(7)).
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // The daemon closed the connection before it had read everything of ours.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("no end of the answer: {error}"),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads some bytes and returns how many; zero at the end. The system does not resume a wait with a limit (signal(7)).
#[track_caller]
pub fn read_some(stream: &mut UnixStream, buffer: &mut [u8]) -> usize {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other.unwrap(),
        }
    }
}

/// Closes the sending side of a client, which still listens.
pub fn half_close(stream: &UnixStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

/// How many connections a test may make at once: a thousand, and fewer where this process may not have as many files
/// open beside what else it does. It asks for as many as it can have, for all tests.
pub fn many_connections() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let limit = soft.max(hard.min(4096));
    setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
    usize::try_from(limit / 2).unwrap().min(1000)
}

/// Connects without waiting until the socket takes no more. The clients are gone by then, but still count.
pub fn fill_backlog(path: &std::path::Path) {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let address = UnixAddr::new(path).unwrap();
    for _ in 0..100_000 {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let client = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        if connect(client.as_raw_fd(), &address).is_err() {
            return;
        }
    }
    panic!("there is always room for one more");
}

/// Repeats `act` until `stop` is set. The machine is for the daemon and the job, too.
pub fn until_set(stop: &AtomicBool, act: impl Fn()) {
    while !stop.load(Ordering::Relaxed) {
        act();
        std::thread::sleep(Duration::from_millis(1));
    }
}
