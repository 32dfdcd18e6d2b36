//! A process that is measured: the daemon or the floor. Contenders take turns: all but one are stopped.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::floor;

/// A process under measurement, in a directory of its own. Killed when dropped.
#[derive(Debug)]
pub struct Contender {
    child: Child,
    directory: TempDir,
    log: PathBuf,
    read_up_to: u64,
    runs: u64,
    is_floor: bool,
}

/// What a process had done at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub at: Instant,
    /// Its own CPU time, without children.
    pub cpu: Duration,
    pub runs: u64,
    /// Times that it went to sleep.
    pub sleeps: u64,
}

/// What a process did between two samples.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    pub wall: Duration,
    pub cpu: Duration,
    pub runs: u64,
    pub sleeps: u64,
}

impl Spent {
    pub fn runs_per_second(&self) -> f64 {
        self.runs as f64 / self.wall.as_secs_f64()
    }

    fn add(&mut self, other: Spent) {
        self.wall += other.wall;
        self.cpu += other.cpu;
        self.runs += other.runs;
        self.sleeps += other.sleeps;
    }

    pub fn cpu_per_run(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.runs as f64
    }
}

/// The binary that is measured.
pub fn program() -> PathBuf {
    std::env::var_os("BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_buildd-sequencer")),
        PathBuf::from,
    )
}

/// A daemon's section with its log in the file `log` and nothing that would reach out of the directory.
pub const ALONE: &str = "[buildsequencer]\nlogfile: log\nlogsize: 0\ncontrolsocket: none\n";

impl Contender {
    /// The daemon with this configuration.
    pub fn daemon(config: &str) -> Contender {
        Contender::daemon_with(config, Stdio::null()).0
    }

    /// The daemon with this configuration, which leaves the log on standard output, and the moments at which each of
    /// its lines arrives.
    pub fn daemon_on_pipe(config: &str) -> (Contender, Lines) {
        let (contender, stdout) = Contender::daemon_with(config, Stdio::piped());
        (contender, Lines(BufReader::new(stdout.unwrap())))
    }

    /// The same, started by another program with these words, which becomes it.
    pub fn daemon_by(words: &[&str], config: &str) -> (Contender, Lines) {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(program());
        let (contender, stdout) = Contender::daemon_of(command, config, Stdio::piped());
        (contender, Lines(BufReader::new(stdout.unwrap())))
    }

    fn daemon_with(config: &str, stdout: Stdio) -> (Contender, Option<ChildStdout>) {
        Contender::daemon_of(Command::new(program()), config, stdout)
    }

    fn daemon_of(
        mut command: Command,
        config: &str,
        stdout: Stdio,
    ) -> (Contender, Option<ChildStdout>) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("conf"), config).unwrap();
        command.args(["-c", "conf"]).stdout(stdout);
        Contender::start(command, directory, false)
    }

    /// Where a file in its directory is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file in its directory; nothing if it is not there.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }

    /// The floor, with this command.
    pub fn floor(command: &[&str]) -> Contender {
        let directory = tempfile::tempdir().unwrap();
        let mut bench = Command::new(std::env::current_exe().unwrap());
        let out = File::create(directory.path().join("log")).unwrap();
        bench.arg(floor::WORD).args(command).stdout(out);
        Contender::start(bench, directory, true).0
    }

    fn start(
        mut command: Command,
        directory: TempDir,
        is_floor: bool,
    ) -> (Contender, Option<ChildStdout>) {
        command.current_dir(directory.path()).env_clear();
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take();
        let log = directory.path().join("log");
        let contender = Contender {
            child,
            directory,
            log,
            read_up_to: 0,
            runs: 0,
            is_floor,
        };
        (contender, stdout)
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// SIGTERM; how long it takes to end.
    pub fn stop(&mut self) -> Duration {
        let told = Instant::now();
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap();
        told.elapsed()
    }

    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap()
    }

    /// Its user and system time without its children's, to the nanosecond where the kernel keeps that.
    pub fn cpu(&self) -> Duration {
        let nanoseconds: Option<u64> =
            fs::read_to_string(format!("/proc/{}/schedstat", self.pid()))
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok());
        if let Some(nanoseconds) = nanoseconds {
            return Duration::from_nanos(nanoseconds);
        }
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
        let ticks = |field: usize| fields[field].parse::<u64>().unwrap();
        Duration::from_millis(10 * (ticks(12) + ticks(13)))
    }

    /// A number from `/proc/PID/status`.
    pub fn status(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// What has been logged since this was asked last.
    pub fn news(&mut self) -> String {
        let Ok(mut log) = File::open(&self.log) else {
            return String::new();
        };
        let mut text = String::new();
        log.seek(SeekFrom::Start(self.read_up_to)).unwrap();
        log.read_to_string(&mut text).unwrap();
        self.read_up_to += text.len() as u64;
        text
    }

    /// Waits until the log says `words`.
    pub fn wait_for(&mut self, words: &str) {
        let until = Instant::now() + Duration::from_secs(120);
        // The words may come in two parts.
        let mut end = String::new();
        while !end.contains(words) {
            assert!(Instant::now() < until, "waited in vain for '{words}'");
            std::thread::sleep(Duration::from_millis(2));
            let kept = end.len().saturating_sub(words.len());
            end = end.split_off(kept) + &self.news();
        }
    }

    pub fn sample(&mut self) -> Sample {
        let news = self.news();
        self.runs += if self.is_floor {
            news.len() as u64
        } else {
            news.matches(" completed with ").count() as u64
        };
        Sample {
            at: Instant::now(),
            cpu: self.cpu(),
            runs: self.runs,
            sleeps: self.status("voluntary_ctxt_switches"),
        }
    }

    /// What it does in `time` from now on.
    pub fn spend(&mut self, time: Duration) -> Spent {
        let before = self.sample();
        std::thread::sleep(time);
        let after = self.sample();
        Spent {
            wall: after.at - before.at,
            cpu: after.cpu - before.cpu,
            runs: after.runs - before.runs,
            sleeps: after.sleeps - before.sleeps,
        }
    }
}

impl Drop for Contender {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Turns that make one measurement together. They are short, so that whatever else the machine does hits all
/// contenders alike.
const TURNS: usize = 10;

/// Lets the contenders have `TURNS` of `turn` each, `rounds` times over; what each spent in each round.
pub fn take_turns(contenders: &mut [Contender], rounds: usize, turn: Duration) -> Vec<Vec<Spent>> {
    for contender in contenders.iter() {
        contender.signal(Signal::SIGSTOP);
    }
    let mut spent: Vec<Vec<Spent>> = vec![Vec::new(); contenders.len()];
    for number in 0..rounds * TURNS {
        for (contender, spent) in contenders.iter_mut().zip(&mut spent) {
            contender.signal(Signal::SIGCONT);
            let now = contender.spend(turn);
            contender.signal(Signal::SIGSTOP);
            match spent.last_mut() {
                Some(round) if number % TURNS > 0 => round.add(now),
                _ => spent.push(now),
            }
        }
    }
    spent
}

/// The lines of a log on a pipe as they come.
#[derive(Debug)]
pub struct Lines(BufReader<ChildStdout>);

impl Lines {
    /// Waits for a line that has these words; the moment it was read.
    pub fn wait_for(&mut self, words: &str) -> Instant {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(
                self.0.read_line(&mut line).unwrap() > 0,
                "the daemon has ended"
            );
        }
        Instant::now()
    }

    /// Reads on, on a thread of its own, so many bytes at a time at most, and a pause after each.
    pub fn read_slowly(self, bytes: usize, pause: Duration) {
        std::thread::spawn(move || {
            let (mut from, mut buffer) = (self.0.into_inner(), vec![0; bytes]);
            while from.read(&mut buffer).is_ok_and(|read| read > 0) {
                std::thread::sleep(pause);
            }
        });
    }
}
