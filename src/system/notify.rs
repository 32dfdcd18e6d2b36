//! Tells a supervisor how the daemon is doing: systemd's notification protocol (sd_notify(3)) over the datagram socket
//! that `NOTIFY_SOCKET` names. It never blocks: a message that the socket does not take now is sent a moment later.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How long after a failed try a message is sent again.
const RETRY: Duration = Duration::from_millis(100);
/// The least time between two `STATUS` messages.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// The most messages that wait for a supervisor that takes none.
const MOST_WAITING: usize = 16;

/// The supervisor, if there is one.
#[derive(Debug)]
pub struct Supervisor {
    connection: Option<(UnixDatagram, SocketAddr)>,
    waiting: VecDeque<String>,
    retry_at: Option<Instant>,
    /// Half of `WATCHDOG_USEC`, and when the next watchdog message is due.
    watchdog: Option<(Duration, Instant)>,
    /// Whether it has been told that the daemon stops. After that it hears of no reload.
    stopping: bool,
    status: String,
    status_is_news: bool,
    /// The earliest moment for the next `STATUS`.
    status_next: Instant,
}

impl Supervisor {
    /// The supervisor that the environment names.
    pub fn from_environment(now: Instant) -> Supervisor {
        let socket = env::var_os("NOTIFY_SOCKET").and_then(|name| address(&name));
        Supervisor::at(socket, watchdog_interval(), now)
    }

    fn at(address: Option<SocketAddr>, watchdog: Option<Duration>, now: Instant) -> Supervisor {
        let connection = address.and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        let watchdog = watchdog
            .filter(|_| connection.is_some())
            .map(|interval| (interval, now));
        Supervisor {
            connection,
            waiting: VecDeque::new(),
            retry_at: None,
            watchdog,
            stopping: false,
            status: String::new(),
            status_is_news: false,
            status_next: now,
        }
    }

    /// Whether there is a supervisor to tell.
    pub fn listens(&self) -> bool {
        self.connection.is_some()
    }

    /// Tells that the daemon is up, or has finished reloading.
    pub fn ready(&mut self, now: Instant) {
        if !self.stopping {
            self.send("READY=1".to_string(), now);
        }
    }

    /// Tells that the daemon begins to reload, in one datagram, as `Type=notify-reload` demands.
    pub fn reloading(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        let microseconds = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
            let time = Duration::from(t);
            time.as_micros()
        });
        self.send(format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"), now);
    }

    /// Tells that the daemon begins to stop; only once.
    pub fn stopping(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.stopping, true) {
            self.send("STOPPING=1".to_string(), now);
        }
    }

    /// Tells in one line what the daemon does. A line is sent at most once a second, and the last one always is.
    pub fn status(&mut self, line: String) {
        if self.listens() && line != self.status {
            self.status = line;
            self.status_is_news = true;
        }
    }

    /// Sends what is due at `now`: a watchdog message, the status, and what could not be sent before.
    pub fn act(&mut self, now: Instant) {
        if let Some((interval, _)) = self.watchdog.filter(|&(_, due)| now >= due) {
            self.watchdog = Some((interval, now + interval));
            self.send("WATCHDOG=1".to_string(), now);
        }
        if self.status_due().is_some_and(|at| now >= at) {
            self.status_next = now + STATUS_INTERVAL;
            self.status_is_news = false;
            self.send(format!("STATUS={}", self.status), now);
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.flush(now);
        }
    }

    fn status_due(&self) -> Option<Instant> {
        self.status_is_news.then_some(self.status_next)
    }

    /// When `act` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let watchdog = self.watchdog.map(|(_, due)| due);
        [watchdog, self.status_due(), self.retry_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn send(&mut self, datagram: String, now: Instant) {
        if self.connection.is_none() {
            return;
        }
        // Of these messages only the newest matters; of the others the newest matters most.
        for once in ["WATCHDOG=", "STATUS="] {
            if datagram.starts_with(once) {
                self.waiting.retain(|waiting| !waiting.starts_with(once));
            }
        }
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(datagram);
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
                // It was sent, or nobody is there any more. Either way it is done with.
                Ok(_) | Err(_) => drop(self.waiting.pop_front()),
            }
        }
    }
}

/// The address in `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
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
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests {
    use super::*;

    /// A supervisor's socket, whose queue is as short as the kernel makes it, and a sender to it.
    fn pair(name: &str, watchdog: Option<Duration>, t0: Instant) -> (UnixDatagram, Supervisor) {
        let name = format!("@buildd-sequencer-test-{}-{name}", std::process::id());
        let address = address(OsStr::new(&name)).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let supervisor = Supervisor::at(Some(address), watchdog, t0);
        (socket, supervisor)
    }

    fn heard(socket: &UnixDatagram) -> Vec<String> {
        let mut buffer = [0; 4096];
        std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|n| buffer[..n].to_vec()))
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .collect()
    }

    /// What a supervisor hears if it reads until nothing is left to be sent. The kernel holds few messages at a time
    /// (net.unix.max_dgram_qlen, 10 unless somebody has set it).
    fn heard_from(t: Instant, socket: &UnixDatagram, supervisor: &mut Supervisor) -> Vec<String> {
        let mut all = Vec::new();
        for n in 0..100 {
            supervisor.act(t + RETRY * n);
            all.extend(heard(socket));
            if supervisor.retry_at.is_none() {
                return all;
            }
        }
        panic!("there is no end to it: {all:?}");
    }

    /// Sends one message until the socket takes no more of anybody.
    fn fill(socket: &UnixDatagram) {
        let address = socket.local_addr().unwrap();
        loop {
            let other = UnixDatagram::unbound().unwrap();
            other.set_nonblocking(true).unwrap();
            if other.send_to_addr(b"FULL", &address).is_err() {
                return;
            }
            while other.send_to_addr(b"FULL", &address).is_ok() {}
        }
    }

    #[test]
    fn the_first_status_goes_at_once_and_the_last_always_follows() {
        let t0 = Instant::now();
        let (socket, mut supervisor) = pair("status", None, t0);
        assert_eq!(supervisor.deadline(), None);
        supervisor.status("one".to_string());
        assert_eq!(supervisor.deadline(), Some(t0));
        supervisor.act(t0);
        assert_eq!(heard(&socket), ["STATUS=one"]);
        supervisor.status("two".to_string());
        supervisor.status("three".to_string());
        supervisor.act(t0 + STATUS_INTERVAL / 2);
        assert_eq!(heard(&socket), [""; 0]);
        assert_eq!(supervisor.deadline(), Some(t0 + STATUS_INTERVAL));
        supervisor.act(t0 + STATUS_INTERVAL);
        assert_eq!(heard(&socket), ["STATUS=three"]);
        supervisor.status("three".to_string());
        assert_eq!(supervisor.deadline(), None);
    }

    #[test]
    fn a_full_socket_is_tried_again_and_gets_the_last_state() {
        let t0 = Instant::now();
        let (socket, mut supervisor) = pair("full", Some(RETRY), t0);
        fill(&socket);
        supervisor.ready(t0);
        for n in 0..1000 {
            supervisor.act(t0 + RETRY * n);
            supervisor.status(format!("turn {n}"));
        }
        supervisor.reloading(t0 + RETRY * 1000);
        supervisor.ready(t0 + RETRY * 1000);
        supervisor.stopping(t0 + RETRY * 1000);
        assert!(supervisor.deadline() <= Some(t0 + RETRY * 1001));
        for passing in ["WATCHDOG", "STATUS"] {
            let waiting = supervisor.waiting.iter();
            let waiting = waiting.filter(|message| message.starts_with(passing));
            assert_eq!(waiting.count(), 1, "{passing}: only the last says anything");
        }
        assert!(heard(&socket).iter().all(|message| message == "FULL"));
        let told = heard_from(t0 + RETRY * 1001, &socket, &mut supervisor);
        let (passing, states): (Vec<_>, Vec<_>) = told
            .into_iter()
            .partition(|message| message.starts_with("WATCHDOG") || message.starts_with("STATUS"));
        assert_eq!(states[0], "READY=1");
        assert!(states[1].starts_with("RELOADING=1\nMONOTONIC_USEC="));
        assert_eq!(states[2..], ["READY=1", "STOPPING=1"]);
        let last_status = passing
            .iter()
            .rfind(|message| message.starts_with("STATUS"));
        assert_eq!(last_status.unwrap(), "STATUS=turn 999");
        assert!(passing.iter().any(|message| message == "WATCHDOG=1"));
    }

    #[test]
    fn a_full_socket_is_tried_again_at_its_time_and_not_before() {
        let t0 = Instant::now();
        let (socket, mut supervisor) = pair("retry", None, t0);
        fill(&socket);
        supervisor.ready(t0);
        assert_eq!(supervisor.deadline(), Some(t0 + RETRY));
        heard(&socket);
        supervisor.act(t0 + RETRY - Duration::from_millis(1));
        assert_eq!(
            heard(&socket),
            [""; 0],
            "whoever is woken often must not try each time"
        );
        assert_eq!(supervisor.deadline(), Some(t0 + RETRY));
        supervisor.act(t0 + RETRY);
        assert_eq!(heard(&socket), ["READY=1"]);
        assert_eq!(supervisor.deadline(), None);
    }

    #[test]
    fn of_many_reloads_that_nobody_heard_the_end_of_the_last_is_told() {
        let t0 = Instant::now();
        let (socket, mut supervisor) = pair("reloads", None, t0);
        fill(&socket);
        for _ in 0..1000 {
            supervisor.reloading(t0);
            supervisor.ready(t0);
        }
        assert_eq!(supervisor.waiting.len(), MOST_WAITING);
        heard(&socket);
        let told = heard_from(t0 + RETRY, &socket, &mut supervisor);
        assert_eq!(told.len(), MOST_WAITING);
        assert_eq!(told.last().unwrap(), "READY=1");
        assert_eq!(supervisor.deadline(), None);
    }

    #[test]
    fn a_socket_that_has_gone_keeps_nothing_waiting() {
        let t0 = Instant::now();
        let (socket, mut supervisor) = pair("gone", None, t0);
        drop(socket);
        supervisor.ready(t0);
        assert_eq!(supervisor.deadline(), None);
        assert!(supervisor.waiting.is_empty());
    }

    #[test]
    fn what_is_no_address_is_nobody() {
        for name in [
            "",
            "relative",
            "vsock:2:1234",
            "@",
            &format!("/{}", "x".repeat(200)),
        ] {
            let address = address(OsStr::new(name));
            let mut supervisor = Supervisor::at(address, Some(RETRY), Instant::now());
            supervisor.ready(Instant::now());
            supervisor.status("nobody hears".to_string());
            assert!(
                !supervisor.listens() && supervisor.deadline().is_none(),
                "{name}"
            );
        }
    }
}
