//! Tells a supervisor how the daemon is doing: systemd's notification protocol (sd_notify(3)) over the datagram
//! socket that `NOTIFY_SOCKET` names. Never blocks: what the socket does not take now is sent a moment later.

use std::collections::VecDeque;
use std::env;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// When what could not be sent is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// Least time between two `STATUS` messages.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// A supervisor that takes nothing is not told more than this.
const MOST_WAITING: usize = 16;

/// The supervisor, if there is one.
#[derive(Debug)]
pub struct Supervisor {
    connection: Option<(UnixDatagram, SocketAddr)>,
    waiting: VecDeque<String>,
    retry_at: Option<Instant>,
    /// Half of `WATCHDOG_USEC`, and when the next sign of life is due.
    watchdog: Option<(Duration, Instant)>,
    status: String,
    /// When the next `STATUS` may go at the earliest.
    status_from: Instant,
    status_is_news: bool,
}

impl Supervisor {
    /// The supervisor that the environment names.
    pub fn from_environment(now: Instant) -> Supervisor {
        let connection = address().and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        let watchdog = watchdog_interval()
            .filter(|_| connection.is_some())
            .map(|interval| (interval, now));
        Supervisor {
            connection,
            waiting: VecDeque::new(),
            retry_at: None,
            watchdog,
            status: String::new(),
            status_from: now,
            status_is_news: false,
        }
    }

    /// Whether anybody wants to know.
    pub fn listens(&self) -> bool {
        self.connection.is_some()
    }

    /// The daemon is up, or has finished reloading.
    pub fn ready(&mut self, now: Instant) {
        self.send("READY=1".to_string(), now);
    }

    /// The daemon begins to reload; one datagram, as `Type=notify-reload` wants it.
    pub fn reloading(&mut self, now: Instant) {
        let microseconds = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
            let time = Duration::from(t);
            time.as_micros()
        });
        self.send(format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"), now);
    }

    /// The daemon begins to stop.
    pub fn stopping(&mut self, now: Instant) {
        self.send("STOPPING=1".to_string(), now);
    }

    /// One line on what the daemon does; told at most once a second, the last one always.
    pub fn status(&mut self, line: String) {
        if self.listens() && line != self.status {
            self.status = line;
            self.status_is_news = true;
        }
    }

    /// Sends what is due at `now`: a sign of life, the status, what could not be sent before.
    pub fn act(&mut self, now: Instant) {
        if let Some((interval, due)) = self.watchdog
            && now >= due
        {
            self.watchdog = Some((interval, now + interval));
            self.send("WATCHDOG=1".to_string(), now);
        }
        if self.status_due().is_some_and(|at| now >= at) {
            self.status_from = now + STATUS_INTERVAL;
            self.status_is_news = false;
            self.send(format!("STATUS={}", self.status), now);
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.flush(now);
        }
    }

    fn status_due(&self) -> Option<Instant> {
        self.status_is_news.then_some(self.status_from)
    }

    /// When `act` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let watchdog = self.watchdog.map(|(_, due)| due);
        [watchdog, self.status_due(), self.retry_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn send(&mut self, message: String, now: Instant) {
        if self.connection.is_none() {
            return;
        }
        if self.waiting.len() < MOST_WAITING {
            self.waiting.push_back(message);
        }
        self.flush(now);
    }

    fn flush(&mut self, now: Instant) {
        self.retry_at = None;
        let Some((socket, address)) = &self.connection else {
            return;
        };
        while let Some(message) = self.waiting.front() {
            match socket.send_to_addr(message.as_bytes(), address) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.retry_at = Some(now + RETRY);
                    return;
                }
                // Sent, or nobody is there any more: either way there is nothing left to do with it.
                Ok(_) | Err(_) => drop(self.waiting.pop_front()),
            }
        }
    }
}

/// `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
fn address() -> Option<SocketAddr> {
    let name = env::var_os("NOTIFY_SOCKET")?;
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(&name).ok(),
        _ => None,
    }
}

/// Half of `WATCHDOG_USEC`, if it is meant for this process.
fn watchdog_interval() -> Option<Duration> {
    let meant_for = env::var("WATCHDOG_PID").ok();
    if meant_for.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    let microseconds: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (microseconds > 1).then(|| Duration::from_micros(microseconds / 2))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn the_first_status_goes_at_once_and_the_last_one_a_second_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut received = [0; 64];
        let mut told = || {
            let length = listener.recv(&mut received).unwrap_or(0);
            String::from_utf8(received[..length].to_vec()).unwrap()
        };
        let t0 = Instant::now();
        let mut supervisor = Supervisor {
            connection: Some((
                UnixDatagram::unbound().unwrap(),
                SocketAddr::from_pathname(&path).unwrap(),
            )),
            waiting: VecDeque::new(),
            retry_at: None,
            watchdog: None,
            status: String::new(),
            status_from: t0,
            status_is_news: false,
        };
        assert_eq!(supervisor.deadline(), None);
        supervisor.status("one".to_string());
        supervisor.act(t0);
        assert_eq!(told(), "STATUS=one");
        assert_eq!(supervisor.deadline(), None);

        supervisor.status("two".to_string());
        supervisor.status("three".to_string());
        supervisor.act(t0);
        assert_eq!(told(), "");
        assert_eq!(supervisor.deadline(), Some(t0 + STATUS_INTERVAL));
        supervisor.act(t0 + STATUS_INTERVAL);
        assert_eq!(told(), "STATUS=three");
        assert_eq!(supervisor.deadline(), None);
    }
}
