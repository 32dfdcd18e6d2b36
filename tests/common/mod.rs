//! What the tests share: a daemon under test in a directory of its own, a fake sendmail, and patience.
//! A test waits for a condition, never for a time; the limits are generous because machines are slow at times.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may"
)]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

pub use nix::sys::signal::Signal;
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_buildd-sequencer");

/// Waits until `condition` gives something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < until,
            "waited {LIMIT:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A directory for one test, removed at its end.
pub struct Place {
    directory: TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The directory's own path, as text.
    pub fn dir(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    /// Writes a file; `{dir}` in it stands for the directory.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Written elsewhere and renamed, so that a daemon never sees half of it.
        let new = path.with_extension("new");
        fs::write(&new, text.replace("{dir}", self.dir())).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    /// Writes an executable shell script.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.write(name, &format!("#!/bin/sh\n{body}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// Lines of a file that jobs write to.
    pub fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(str::to_string).collect()
    }

    #[track_caller]
    pub fn wait_for_lines(&self, name: &str, count: usize) -> Vec<String> {
        wait_for(&format!("{count} lines in {name}"), || {
            Some(self.lines(name)).filter(|l| l.len() >= count)
        })
    }

    /// A command of this program with a clean environment, in this directory.
    pub fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.current_dir(self.directory.path()).env_clear();
        command.env(
            "PATH",
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()),
        );
        command
    }

    /// Runs the program with `arguments` to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        finish(command)
    }

    /// A daemon in this directory with this configuration, its log in the file `log`.
    #[track_caller]
    pub fn daemon(&self, config: &str) -> Daemon<'_> {
        self.daemon_with(config, |_| {})
    }

    /// The same, with more arguments or another environment.
    #[track_caller]
    pub fn daemon_with(&self, config: &str, prepare: impl FnOnce(&mut Command)) -> Daemon<'_> {
        self.write("conf", config);
        let mut command = self.command();
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.path("log"))
            .unwrap();
        let errors = File::options()
            .append(true)
            .create(true)
            .open(self.path("stderr"))
            .unwrap();
        command
            .args(["-c", "conf"])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .process_group(0);
        prepare(&mut command);
        let child = command.spawn().unwrap();
        Daemon { place: self, child }
    }

    /// A sendmail that keeps each message; `extra` is shell code run before it answers, with the recipient in $to
    /// and the message's file in $file. Returns the configuration line that uses it.
    pub fn sendmail(&self, extra: &str) -> String {
        fs::create_dir_all(self.path("mail")).unwrap();
        let body = format!(
            "for to; do :; done\nn=$(ls {0}/mail | grep -c '')\nfile={0}/mail/$n\n\
             {{ echo \"$*\"; cat; }} >{0}/mail.part\nmv {0}/mail.part \"$file\"\n{extra}",
            self.dir()
        );
        let path = self.script("sendmail", &body);
        format!("sendmail: {} -i", path.display())
    }

    /// The messages that the fake sendmail got, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        (0..)
            .map_while(|n| fs::read(self.path(&format!("mail/{n}"))).ok())
            .map(|text| {
                let end = text.iter().position(|&b| b == b'\n').unwrap();
                let arguments = String::from_utf8_lossy(&text[..end]).into_owned();
                Mail {
                    arguments,
                    bytes: text[end + 1..].to_vec(),
                }
            })
            .collect()
    }

    #[track_caller]
    pub fn wait_for_mails(&self, count: usize) -> Vec<Mail> {
        wait_for(&format!("{count} mails"), || {
            Some(self.mails()).filter(|mails| mails.len() >= count)
        })
    }
}

/// One message as the fake sendmail got it.
#[derive(Debug, Clone)]
pub struct Mail {
    pub arguments: String,
    pub bytes: Vec<u8>,
}

impl Mail {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> String {
        let text = self.text();
        let head = text.split("\n\n").next().unwrap_or_default();
        let start = format!("{name}: ");
        head.lines()
            .find_map(|line| line.strip_prefix(&start))
            .unwrap_or_default()
            .to_string()
    }

    pub fn body(&self) -> String {
        self.text()
            .split_once("\n\n")
            .map(|(_, body)| body.to_string())
            .unwrap_or_default()
    }
}

/// A running daemon; it and its jobs are killed when the test is over.
pub struct Daemon<'a> {
    place: &'a Place,
    child: Child,
}

impl Daemon<'_> {
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// All that the daemon has logged.
    pub fn log(&self) -> String {
        self.place.read("log")
    }

    /// The log's messages without their stamps; further lines of a message keep their tab.
    pub fn messages(&self) -> Vec<String> {
        messages(&self.log())
    }

    /// Waits until the log holds `text`, and returns the log.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_log_times(text, 1)
    }

    /// Waits until the log holds `text` that many times.
    #[track_caller]
    pub fn wait_for_log_times(&self, text: &str, times: usize) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            let log = self.log();
            if log.matches(text).count() >= times {
                return log;
            }
            let errors = self.place.read("stderr");
            assert!(
                Instant::now() < until,
                "no {times} times {text:?} in the log:\n{log}\n{errors}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the daemon's end", || self.child.try_wait().unwrap())
    }

    /// SIGTERM, and a clean end.
    #[track_caller]
    pub fn stop(mut self) -> String {
        self.signal(Signal::SIGTERM);
        let status = self.wait();
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Its children, by the kernel's account.
    pub fn children(&self) -> Vec<Pid> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .map(|pid| Pid::from_raw(pid.parse().unwrap()))
            .collect()
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid()))
            .map(Iterator::count)
            .unwrap_or(0)
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            for child in self.children() {
                let _ = killpg(child, Signal::SIGKILL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs a prepared command to its end; a test fails if that does not come.
#[track_caller]
pub fn finish(mut command: Command) -> Output {
    let output = tempfile::tempfile().unwrap();
    let errors = tempfile::tempfile().unwrap();
    command
        .stdout(output.try_clone().unwrap())
        .stderr(errors.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let until = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= until {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{command:?} does not end; it said {}",
                text_of(output) + &text_of(errors)
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Output {
        status,
        stdout: text_of(output).into_bytes(),
        stderr: text_of(errors).into_bytes(),
    }
}

fn text_of(mut file: File) -> String {
    use std::io::{Read, Seek};
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The lines of a log without their stamps.
pub fn messages(log: &str) -> Vec<String> {
    log.lines()
        .map(|line| match line.split_once(" [-] ") {
            Some((stamp, message)) if stamp.len() == "2026-11-23T23:36:37+0000".len() => {
                message.to_string()
            }
            _ => line.to_string(),
        })
        .collect()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a process is there (a zombie is).
pub fn exists(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

/// Whether `path` is there, told by waiting.
#[track_caller]
pub fn wait_for_file(path: &Path) {
    wait_for(&format!("{}", path.display()), || {
        path.exists().then_some(())
    });
}
