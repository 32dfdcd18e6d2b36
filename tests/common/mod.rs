//! What the tests share: a daemon under test in a directory of its own, and a fake sendmail. A test waits for a
//! condition, never for a time. The limits are generous because machines can be slow.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may"
)]

pub mod socket;

use std::cell::Cell;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
pub use nix::sys::signal::Signal;
use nix::sys::signal::{SigSet, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
pub use nix::unistd::Pid;
use tempfile::{TempDir, TempPath};

/// How long anything may take before a test fails. That is only how long to wait for what does not come.
pub const LIMIT: Duration = Duration::from_secs(180);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_buildd-sequencer");

/// The user that root becomes to have no rights.
const NOBODY: u32 = 65_534;

/// A daemon's section without control socket, so that tests running side by side do not meet there.
pub const ALONE: &str = "[buildsequencer]\ncontrolsocket: none\n";

/// Held while a script is written and while a process is started: a child that is between fork and exec has
/// every file of ours open, and a script that is open for writing cannot be run (ETXTBSY).
static STARTING: Mutex<()> = Mutex::new(());

fn starting() -> MutexGuard<'static, ()> {
    STARTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts `command`, and not while another thread writes a script.
pub fn spawn(command: &mut Command) -> Child {
    let _starting = starting();
    command.spawn().unwrap()
}

/// A pipe: the end to read and the end to write.
pub fn pipe() -> (File, File) {
    let (out, into) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    (out.into(), into.into())
}

/// Prints what could not be tested here, even if the output of passing tests is captured.
#[track_caller]
pub fn not_tested(why: &str) {
    use std::io::Write;
    let location = std::panic::Location::caller();
    let _ = writeln!(std::io::stderr(), "not tested: {why} ({location})");
}

/// Runs `body` for each case, all at the same time. The cases mostly wait, so many take no longer than one.
pub fn each_at_once<T: Send>(cases: impl IntoIterator<Item = T>, body: impl Fn(T) + Sync) {
    let body = &body;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || body(case));
        }
    });
}

/// Runs tests at the same time. They mostly wait, so many take no longer than one. Each thread has its test's name, which
/// is told if the test fails.
pub fn run_at_once(tests: &[(&str, fn())]) {
    std::thread::scope(|scope| {
        for (name, test) in tests {
            let thread = std::thread::Builder::new().name((*name).to_string());
            thread.spawn_scoped(scope, test).unwrap();
        }
    });
}

/// `run_at_once` by the names of the functions.
#[macro_export]
macro_rules! at_once {
    ($($test:path),+ $(,)?) => {
        $crate::common::run_at_once(&[$((stringify!($test), $test as fn())),+])
    };
}

/// A time limit, measured by processes that sleep as long in all, one after the other: on a machine that is busy or
/// stops for a moment, they are as late as what they measure, which is as many things one after the other.
pub struct Within {
    seconds: f64,
    sleep: Child,
}

/// How long each of them sleeps, in seconds.
const NAP: f64 = 0.25;

impl Within {
    /// A limit of this many seconds from now.
    pub fn seconds(seconds: f64) -> Within {
        let mut command = Command::new("sh");
        let (naps, rest) = ((seconds / NAP).floor(), seconds % NAP);
        let nap = format!("while test $n -gt 0; do sleep {NAP}; n=$((n - 1)); done");
        command.args(["-c", &format!("sleep {rest:.3}; n={naps}; {nap}")]);
        // A group of its own, so that the nap under way ends with it.
        let sleep = spawn(command.process_group(0));
        Within { seconds, sleep }
    }

    /// Checks that the time has not passed yet.
    #[track_caller]
    pub fn is_kept(&mut self) {
        let in_time = self.has_not_passed();
        assert!(in_time, "it has taken {} seconds and more", self.seconds);
    }

    pub fn has_not_passed(&mut self) -> bool {
        self.sleep.try_wait().unwrap().is_none()
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        // It leads its group as long as it has not been waited for.
        if let Ok(None) = self.sleep.try_wait() {
            let group = Pid::from_raw(self.sleep.id().try_into().unwrap());
            let _ = killpg(group, Signal::SIGKILL);
        }
        let _ = self.sleep.wait();
    }
}

/// The id of a process that is waited for by its id.
fn pid_of(child: Child) -> Pid {
    Pid::from_raw(child.id().try_into().unwrap())
}

/// Waits until `condition` returns a value.
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

/// Whether the path can stand unquoted in shell text and begin a socket's path (unix(7): at most 107 bytes in all).
fn is_plain(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    bytes.len() <= 64 && bytes.iter().all(plain)
}

/// Directories for what needs a short path or one that every user may reach. The first suitable one is taken.
fn temporary_directories() -> [PathBuf; 4] {
    let others = ["/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from);
    let [a, b, c] = others;
    [std::env::temp_dir(), a, b, c]
}

/// A directory for one test. At the test's end it is removed, and every process in it is killed.
pub struct Place {
    directory: TempDir,
    /// The directory's second name, if its own is not plain.
    link: Option<TempPath>,
}

impl Place {
    /// Makes it below the build directory, where programs can be run; /tmp may be mounted noexec.
    pub fn new() -> Place {
        // Where the system makes pages of 2 MiB of its own accord, a daemon's memory is a matter of its mood. Children
        // inherit this (PR_SET_THP_DISABLE(2const)).
        let _ = nix::sys::prctl::set_thp_disable(true);
        let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(parent).unwrap();
        let directory = tempfile::tempdir_in(parent).unwrap();
        let link_in = |parent: &Path| {
            let mut name = tempfile::Builder::new();
            let name = name.prefix("buildd-sequencer-");
            let link = name.make_in(parent, |path| symlink(directory.path(), path));
            Some(link.ok()?.into_temp_path())
        };
        let link = (!is_plain(directory.path())).then(|| {
            let parents = temporary_directories();
            let mut parents = parents.iter().filter(|parent| is_plain(parent));
            parents
                .find_map(|parent| link_in(parent))
                .expect("a directory with a short name, such as /tmp, that can be written")
        });
        Place { directory, link }
    }

    /// Makes one that every user may enter. If /tmp is mounted noexec, no program can be run there.
    pub fn public() -> Place {
        let parents = temporary_directories();
        let entered_by_all = |parent: &&PathBuf| {
            let mut ancestors = parent.ancestors();
            let all_may = |metadata: fs::Metadata| metadata.permissions().mode() & 0o001 != 0;
            is_plain(parent) && ancestors.all(|path| fs::metadata(path).is_ok_and(all_may))
        };
        let directory = parents
            .iter()
            .filter(entered_by_all)
            .find_map(|parent| tempfile::tempdir_in(parent).ok())
            .expect("a directory for everybody, such as /tmp");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Place {
            directory,
            link: None,
        }
    }

    fn name(&self) -> &Path {
        self.link.as_deref().unwrap_or(self.directory.path())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.name().join(name)
    }

    /// The directory's path, as text without blanks.
    pub fn dir(&self) -> &str {
        self.name().to_str().unwrap()
    }

    /// The path that getcwd(3) returns in this directory.
    pub fn working_directory(&self) -> String {
        let path = fs::canonicalize(self.name()).unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// Writes a file; `{dir}` in it stands for the directory.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // It is written elsewhere and renamed, so that a daemon never sees half of it.
        let new = path.with_extension("new");
        let _starting = starting();
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

    /// Writes a script that reports that it has begun, waits for `let_go`, and then runs `body`.
    pub fn gated(&self, name: &str, body: &str) {
        let wait = "echo >{dir}/begun; until test -e {dir}/go; do sleep 0.02; done";
        self.script(name, &format!("{wait}\n{body}"));
    }

    /// Waits until a gated script has begun.
    #[track_caller]
    pub fn wait_for_begin(&self) {
        wait_for_file(&self.path("begun"));
    }

    /// Lets gated scripts go on.
    pub fn let_go(&self) {
        self.write("go", "");
    }

    /// A file's contents; empty if it is not there.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_default()
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&self.bytes(name)).into_owned()
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
        command.current_dir(self.name()).env_clear();
        command.env("PATH", path_variable());
        command.stdin(Stdio::null());
        command
    }

    /// The same by a user without rights. Root becomes nobody, who may be unable to reach the program and therefore
    /// gets it as an open file. The directory must be a public one.
    pub fn command_without_rights(&self) -> Command {
        let mut command = self.command();
        if nix::unistd::geteuid().is_root() {
            command = Command::new("/proc/self/fd/0");
            command.current_dir(self.name()).env_clear();
            command.env("PATH", path_variable());
            command.stdin(File::open(PROGRAM).unwrap());
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Gives a file to the user of `command_without_rights`.
    pub fn give_away(&self, name: &str) {
        if nix::unistd::geteuid().is_root() {
            let nobody = (Some(NOBODY), Some(NOBODY));
            std::os::unix::fs::chown(self.path(name), nobody.0, nobody.1).unwrap();
        }
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
        self.daemon_by(self.command(), config, prepare)
    }

    /// The same by one of the commands above.
    #[track_caller]
    pub fn daemon_by(
        &self,
        command: Command,
        config: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Daemon<'_> {
        self.write("conf", config);
        self.start(command, prepare)
    }

    /// The same, started by a shell that first does `shell` and then becomes the daemon.
    #[track_caller]
    pub fn daemon_after(
        &self,
        shell: &str,
        config: &str,
        prepare: impl FnOnce(&mut Command),
    ) -> Daemon<'_> {
        self.write("conf", config);
        let mut command = self.command_after(shell);
        command.arg(PROGRAM);
        self.start(command, prepare)
    }

    /// A daemon that this command becomes, with its configuration in `conf`.
    pub fn daemon_of(&self, mut command: Command) -> Daemon<'_> {
        command
            .stdin(Stdio::null())
            .stdout(self.append_to("stdout"));
        command.stderr(self.append_to("stderr")).process_group(0);
        Daemon::new(self, pid_of(spawn(&mut command)))
    }

    /// A shell that first does `shell` and then becomes the command that its arguments give.
    pub fn command_after(&self, shell: &str) -> Command {
        let mut command = Command::new("sh");
        command.current_dir(self.name()).env_clear();
        command.env("PATH", path_variable());
        command.args(["-c", &format!("{shell}\nexec \"$@\""), "sh"]);
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn start(&self, mut command: Command, prepare: impl FnOnce(&mut Command)) -> Daemon<'_> {
        command
            .args(["-c", "conf"])
            .stdout(self.append_to("log"))
            .stderr(self.append_to("stderr"))
            .process_group(0);
        prepare(&mut command);
        Daemon::new(self, pid_of(spawn(&mut command)))
    }

    /// A daemon whose parent left these signals blocked. std empties the mask of what it starts.
    pub fn daemon_with_blocked(&self, blocked: SigSet, config: &str) -> Daemon<'_> {
        self.write("conf", config);
        let shell = "cd \"$1\" || exit 1; shift; exec \"$@\" </dev/null >>log 2>>stderr";
        let words = ["sh", "-c", shell, "sh", self.dir(), PROGRAM, "-c", "conf"];
        let words = words.map(|word| CString::new(word).unwrap());
        let path = path_variable().into_string().unwrap();
        let environment = [CString::new(format!("PATH={path}")).unwrap()];
        let mut attributes = PosixSpawnAttr::init().unwrap();
        let flags =
            PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETPGROUP;
        attributes.set_flags(flags).unwrap();
        attributes.set_sigmask(&blocked).unwrap();
        attributes.set_pgroup(Pid::from_raw(0)).unwrap();
        let actions = PosixSpawnFileActions::init().unwrap();
        let _starting = starting();
        let pid = posix_spawnp(&words[0], &actions, &attributes, &words, &environment);
        Daemon::new(self, pid.unwrap())
    }

    /// A file that is appended to.
    pub fn append_to(&self, name: &str) -> File {
        File::options()
            .append(true)
            .create(true)
            .open(self.path(name))
            .unwrap()
    }

    /// A sendmail that keeps each message; `extra` is shell code run before it answers, with the recipient in $to
    /// and the message's file in $file. Returns the configuration line that uses it.
    pub fn sendmail(&self, extra: &str) -> String {
        fs::create_dir_all(self.path("mail")).unwrap();
        let body = format!(
            "for to; do :; done\nn=0\nwhile test -e {0}/mail/$n; do n=$((n + 1)); done\nfile={0}/mail/$n\n\
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

impl Drop for Place {
    fn drop(&mut self) {
        if let Ok(directory) = fs::canonicalize(self.directory.path()) {
            kill_all_in(&directory);
        }
        // A directory that its owner may not write can only be removed empty.
        open_directories(self.directory.path());
    }
}

/// Kills what works in a directory or below it: what a job has left behind, or a test that failed half-way.
fn kill_all_in(directory: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    for process in processes.flatten() {
        let works_here = fs::read_link(process.path().join("cwd"))
            .is_ok_and(|working_directory| working_directory.starts_with(directory));
        let pid = process
            .file_name()
            .to_str()
            .and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid.filter(|_| works_here) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn open_directories(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_directories(&entry.path());
        }
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
    pid: Pid,
    /// Set once it has been reaped: the number may then be another process's.
    ended: Cell<Option<ExitStatus>>,
}

impl<'a> Daemon<'a> {
    fn new(place: &'a Place, pid: Pid) -> Daemon<'a> {
        let ended = Cell::new(None);
        Daemon { place, pid, ended }
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its exit status, if it has ended.
    pub fn ended(&self) -> Option<ExitStatus> {
        if self.ended.get().is_none() {
            let status = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::Exited(_, code) => Some(ExitStatus::from_raw(code << 8)),
                WaitStatus::Signaled(_, signal, _) => Some(ExitStatus::from_raw(signal as i32)),
                _ => None,
            };
            self.ended.set(status);
        }
        self.ended.get()
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

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        let ended = self.ended();
        assert_eq!(ended, None, "it has ended: {}", self.log());
        kill(self.pid, signal).unwrap();
    }

    /// Waits for the daemon's end.
    #[track_caller]
    pub fn wait(&self) -> ExitStatus {
        wait_for("the daemon's end", || self.ended())
    }

    /// Sends SIGTERM, waits for a clean end, and returns the log.
    #[track_caller]
    pub fn stop(self) -> String {
        self.stop_with(Signal::SIGTERM)
    }

    /// Does the same with another signal that ends the daemon.
    #[track_caller]
    pub fn stop_with(self, signal: Signal) -> String {
        self.signal(signal);
        let status = self.wait();
        let log = self.log();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Its children, as the kernel lists them.
    pub fn children(&self) -> Vec<Pid> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .map(|pid| Pid::from_raw(pid.parse().unwrap()))
            .collect()
    }

    /// The processor time that it has used, without its children (proc_pid_schedstat(5)).
    pub fn processor_time(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.pid)).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    /// How often it has gone to sleep.
    pub fn sleeps(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse().unwrap()
    }

    /// The most memory that it has had resident, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes: u64 = line
            .unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        kilobytes << 10
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        self.descriptor_numbers().len()
    }

    pub fn descriptor_numbers(&self) -> Vec<i32> {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid())) else {
            return Vec::new();
        };
        let number = |name: OsString| name.to_str()?.parse().ok();
        entries
            .filter_map(|entry| number(entry.ok()?.file_name()))
            .collect()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Stop it first, so that it starts nothing while its children are killed.
            let _ = kill(self.pid, Signal::SIGSTOP);
            for child in self.children() {
                let _ = killpg(child, Signal::SIGKILL);
            }
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

/// Runs a prepared command to its end. The test fails if it does not end.
#[track_caller]
pub fn finish(mut command: Command) -> Output {
    let output = tempfile::tempfile().unwrap();
    let errors = tempfile::tempfile().unwrap();
    command
        .stdout(output.try_clone().unwrap())
        .stderr(errors.try_clone().unwrap());
    let mut child = spawn(&mut command);
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

fn path_variable() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into())
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

/// What a check says beside its verdict, which is the last line: `PATH: 2 jobs, 1 warning` or `PATH: 3 faults`.
#[track_caller]
pub fn findings(output: &Output) -> String {
    let said = stderr(output);
    let (start, verdict) = match said.trim_end().rsplit_once('\n') {
        Some((start, verdict)) => (format!("{start}\n"), verdict),
        None => (String::new(), said.trim_end()),
    };
    let counted = verdict.rsplit_once(": ").map_or("", |(_, counted)| counted);
    let word = if output.status.success() {
        " job"
    } else {
        " fault"
    };
    assert!(counted.contains(word), "{said}");
    start
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether a process exists (a zombie does).
pub fn exists(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

/// Waits until `path` exists.
#[track_caller]
pub fn wait_for_file(path: &Path) {
    wait_for(&format!("{}", path.display()), || {
        path.exists().then_some(())
    });
}

/// The jobs' names in the order in which the log says that they ran.
pub fn ran(messages: &[String]) -> Vec<&str> {
    messages
        .iter()
        .filter_map(|message| message.strip_prefix("Running "))
        .collect()
}

/// The jobs that the log announces as next, with their delays in seconds.
#[track_caller]
pub fn scheduled(messages: &[String]) -> Vec<(&str, f64)> {
    let lines = messages
        .iter()
        .filter_map(|message| message.strip_prefix("Scheduling "));
    lines
        .map(|line| {
            let (job, rest) = line.split_once(" for ").unwrap();
            let delay = rest.strip_suffix(" seconds time").unwrap().trim_start();
            (job, delay.parse().unwrap())
        })
        .collect()
}

/// The index of the first message that begins with `start`.
#[track_caller]
pub fn place_of(messages: &[String], start: &str) -> usize {
    messages
        .iter()
        .position(|message| message.starts_with(start))
        .unwrap_or_else(|| {
            let beginnings = messages.iter().map(|m| m.chars().take(200).collect());
            let beginnings: Vec<String> = beginnings.collect();
            panic!("no {start:?} in {beginnings:#?}")
        })
}

/// Whether a process runs; a zombie does not.
pub fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the state comes after it.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some(None | Some('Z' | 'X')))
}

/// Waits until the process whose number a job wrote to the file leads a group of its own, as timeout(1) does soon
/// after its start.
#[track_caller]
pub fn wait_for_own_group(place: &Place, name: &str) -> Pid {
    place.wait_for_lines(name, 1);
    let pid = place.read(name).trim().to_string();
    wait_for("a process group of its own", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let rest = stat.rsplit_once(") ").unwrap().1;
        (rest.split(' ').nth(2) == Some(&pid)).then_some(())
    });
    Pid::from_raw(pid.parse().unwrap())
}

/// One job's section.
pub fn job(name: &str, settings: &str) -> String {
    format!("[buildsequencer_job.{name}]\n{settings}\n")
}

/// A job that runs at once, and not again in this test.
pub fn once(name: &str, command: &str) -> String {
    job(
        name,
        &format!("command: {command}\nmindelay: 3600\nstartdelay: 0"),
    )
}

/// A job whose runs show that jobs go on.
pub fn tick() -> String {
    job("tick", "command: true\nmindelay: 0.05\nstartdelay: 0")
}
