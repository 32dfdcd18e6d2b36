//! A campaign: for some seconds all kinds of trouble happen together in random order. Then everything that must hold is
//! checked from outside. The seed is printed; `BUILDD_SEQUENCER_SEED` repeats a campaign as far as timing allows, and
//! `BUILDD_SEQUENCER_CAMPAIGN_SECONDS` makes it longer.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod common;

use std::collections::HashMap;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Daemon, Place, Signal, job, wait_for};
use nix::fcntl::OFlag;
use nix::unistd::{geteuid, pipe2};

/// Splitmix64: random enough for this, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// What a short run does.
const QUICK: [&str; 18] = [
    ":",
    ":",
    ":",
    ":",
    "exit 1",
    "exit 1",
    "exit 77",
    "echo said; echo complained >&2; exit 255",
    "kill -9 $$",
    "kill -11 $$",
    "kill -15 $$",
    "kill -35 $$",
    "kill -9 0",
    "head -c 3000000 /dev/zero; exit 1",
    "yes | head -n 20000; exit 1",
    "exec >&- 2>&-; sleep 0.05",
    "kill -HUP $PPID; kill -HUP $PPID; exit 4",
    // A line that looks like one of the daemon's, and bytes that are no text.
    r"printf '2026-11-24T00:00:00+0000 [-] Running fake\n\000\377\303(\n \033[2J'; exit 9",
];

/// What a run does that takes a while or would never end.
const SLOW: [&str; 6] = [
    "sleep 60",
    "trap '' TERM; sleep 60; sleep 60",
    "kill -STOP $$",
    "trap 'exit 0' TERM; kill -HUP $PPID; sleep 60",
    "LEFT_BEHIND=1 sleep 3 9>&- & exit 0",
    "LEFT_BEHIND=1 sleep 3 9>&- & exit 6",
];

/// What a run does that becomes root for a second, which a daemon that is not root may not signal: what a stopped
/// shell leaves behind without a pipe, and the run's own process.
const STRANGE: [&str; 2] = [
    "{dir}/stranger --reuid 0 --regid 0 --clear-groups sleep 1 >/dev/null 2>&1",
    "exec {dir}/stranger --reuid 0 --regid 0 --clear-groups sleep 1",
];

/// Whom the daemon becomes if root starts it.
const USER: u32 = 60_872;

/// Has the daemon run as an ordinary user, and gives it jobs that become root, where that can be had. setpriv(1) as a
/// set-user-ID program makes anybody root; it stands in a directory that only this user may enter.
fn make_stranger(place: &Place) -> bool {
    let copied = geteuid().is_root() && {
        let found = ["/usr/bin/setpriv", "/bin/setpriv"];
        let found = found.iter().find(|path| fs::exists(path).unwrap_or(false));
        found.is_some_and(|path| fs::copy(path, place.path("stranger")).is_ok())
    };
    if copied {
        let mode = fs::Permissions::from_mode(0o4755);
        fs::set_permissions(place.path("stranger"), mode).unwrap();
        let all = fs::read_dir(place.dir()).unwrap();
        let all = all.map(|entry| entry.unwrap().path());
        for path in all.chain([place.path("")]) {
            if !path.ends_with("stranger") {
                chown(path, Some(USER), Some(USER)).unwrap();
            }
        }
    }
    copied
}

/// What the runs do, one after the other.
fn moods(dice: &mut Dice, strange: bool) -> String {
    let mut mood = || {
        let mood = match dice.below(24) {
            0 if strange => dice.pick(&STRANGE),
            0 | 1 => dice.pick(&SLOW),
            _ => dice.pick(&QUICK),
        };
        format!("{mood}\n")
    };
    (0..500).map(|_| mood()).collect()
}

/// Each run holds the lock, which only one can, and its end frees it, however it ends. It prints its identity first.
const JOB: &str = "exec 9>>{dir}/lock
flock -n 9 || echo \"$1\" >>{dir}/overlaps
mood=$(sed -n \"$(($(wc -l <{dir}/runs) % 500 + 1))p\" {dir}/moods)
id=$1.$$.$(date +%s%N)
echo \"id $id\"
echo \"$id\" >>{dir}/runs
eval \"$mood\"";

/// Keeps a message if, and only if, its exit status says so.
const SENDMAIL: &str = "for to; do :; done
case $(cat {dir}/mood) in
75) exit 75 ;;
77) echo no such user; exit 77 ;;
dies) kill -9 $$ ;;
unread) exec <&-; exit 75 ;;
hangs) sleep 60 ;;
slow) cat >{dir}/part; sleep 0.3 ;;
early) head -c 2000 >{dir}/part ;;
*) cat >{dir}/part ;;
esac
{ echo \"$to\"; cat {dir}/part; } >{dir}/part.whole
n=$(date +%s%N)
mv {dir}/part.whole {dir}/mails/$n";

const JOBS: [&str; 5] = ["ape", "bee", "cat", "dog", "gone"];

/// With fewer in each of the two lives there would be nothing to look at. A life goes on until there are as many:
/// how fast they follow each other is up to the machine, and to what trouble it is.
const LEAST_RUNS: usize = 10;

/// The environment variable that all processes of this campaign have.
const MARK: &str = "BUILDD_SEQUENCER_CAMPAIGN";

struct Campaign<'a> {
    place: &'a Place,
    daemon: &'a Daemon<'a>,
    dice: Dice,
    clients: Vec<UnixStream>,
    /// How many pieces of the log the daemon has closed, oldest first.
    pieces: usize,
    log: LogTo,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LogTo {
    /// A file of its own.
    File,
    /// Standard output, which somebody reads slowly.
    Reader,
}

fn config(place: &Place, dice: &mut Dice, log: LogTo) -> String {
    let targets = ["-", "ops@example.com", "ops@example.com a@b -", "", "a@b"];
    let mut text = format!(
        "[buildsequencer]\ncontrolsocket: {0}/socket\nlogfile: {3}\nlogsize: 0\nsendmail: {0}/sendmail\n\
         statefile: {0}/state\nmetricsfile: {0}/metrics.prom\nmailproblemsto: {1}\nspew: {2}\n\
         [buildsequencer_job.template]\nalwayslog: yes\ntimeout: 0.4\nkilldelay: 0.1\n",
        place.dir(),
        dice.pick(&targets),
        dice.pick(&["yes", "no"]),
        match log {
            LogTo::File => format!("{}/log", place.dir()),
            LogTo::Reader => "-".to_string(),
        },
    );
    let first = dice.below(JOBS.len());
    for n in 0..1 + dice.below(JOBS.len()) {
        let name = JOBS[(first + n) % JOBS.len()];
        let command = format!(
            "{}/{}",
            place.dir(),
            if name == "gone" { "gone" } else { "job" }
        );
        let delay = dice.pick(&["0", "0.01", "0.05", "0.1"]);
        let more = match dice.below(4) {
            0 => format!("mailproblemsto: {}\n", dice.pick(&targets)),
            1 => "maxoutput: 4K\n".to_string(),
            2 => "livelog: yes\n".to_string(),
            _ => String::new(),
        };
        text += &job(
            name,
            &format!("command: {command} {name}\nmindelay: {delay}\n{more}"),
        );
    }
    text
}

impl Campaign<'_> {
    fn trouble(&mut self) {
        match self.dice.below(20) {
            0..=2 => self.reload_sound(),
            3 => self.reload_broken(),
            4 if self.log == LogTo::File => self.turn_log_over(),
            4 => self.daemon.signal(Signal::SIGUSR1),
            5 => self.daemon.signal(Signal::SIGUSR2),
            6..=7 => self.change_sendmail(),
            8..=13 => self.ask(),
            14 => self.crowd(),
            15 => {
                self.daemon.signal(Signal::SIGSTOP);
                self.rest(50);
                self.daemon.signal(Signal::SIGCONT);
            }
            _ => self.rest(100),
        }
    }

    /// Gives the daemon time. This waits for nothing in particular.
    fn rest(&mut self, at_most: usize) {
        let pause = self.dice.below(at_most) as u64;
        std::thread::sleep(Duration::from_millis(pause));
    }

    fn reload_sound(&mut self) {
        let text = config(self.place, &mut self.dice, self.log);
        self.place.write("conf", &text);
        self.daemon.signal(Signal::SIGHUP);
        if self.dice.below(3) == 0 {
            self.daemon.signal(Signal::SIGHUP);
        }
    }

    fn reload_broken(&mut self) {
        match self.dice.below(3) {
            0 => drop(self.place.write("conf", "[buildsequencer]\nlogfile\n")),
            1 => drop(self.place.write("conf", "")),
            _ => fs::remove_file(self.place.path("conf")).unwrap_or_default(),
        }
        self.daemon.signal(Signal::SIGHUP);
    }

    /// Rotates the log by the daemon alone, as logrotate does it, or by removing the file. Each piece is kept.
    fn turn_log_over(&mut self) {
        let (log, piece) = (self.place.path("log"), self.next_piece());
        match self.dice.below(3) {
            0 => {
                self.daemon.signal(Signal::SIGUSR1);
                let rotated = self.place.path("log.1");
                common::wait_for_file(&rotated);
                fs::rename(rotated, piece).unwrap();
            }
            1 => {
                fs::rename(&log, piece).unwrap();
                self.daemon.signal(Signal::SIGUSR1);
            }
            _ => {
                fs::hard_link(&log, piece).unwrap();
                fs::remove_file(&log).unwrap();
                self.daemon.signal(Signal::SIGUSR1);
            }
        }
        common::wait_for_file(&log);
    }

    fn next_piece(&mut self) -> std::path::PathBuf {
        self.pieces += 1;
        self.place.path(&format!("piece.{}", self.pieces))
    }

    fn change_sendmail(&mut self) {
        let moods = ["", "", "", "75", "77", "dies", "unread", "slow", "early"];
        let mood = self.dice.pick(&moods);
        self.place.write("mood", mood);
        let (there, gone) = (
            self.place.path("sendmail"),
            self.place.path("sendmail.gone"),
        );
        if self.dice.below(5) == 0 {
            let _ = fs::rename(there, gone);
        } else {
            let _ = fs::rename(gone, there);
        }
    }

    fn ask(&mut self) {
        let name = self.dice.pick(&JOBS);
        let lines = [
            "status",
            "status --json",
            "healthcheck",
            "healthcheck --alive",
            "reload",
            "kill",
            "kill",
            "kill JOB",
            "pause",
            "pause JOB",
            "resume JOB",
            "resume",
            "run JOB",
            "run --wait JOB",
            "run nobody",
            "\x1b[2J\0\x7f",
            "run",
        ];
        let line = self.dice.pick(&lines).replace("JOB", name);
        if line == "kill" && self.dice.below(2) == 0 {
            // A second one hurries the stop that the first has begun.
            let mut first = UnixStream::connect(self.place.path("socket")).unwrap();
            first.write_all(b"kill\n").unwrap();
            self.clients.push(first);
        }
        let waits = line.contains("--wait");
        let mut client = UnixStream::connect(self.place.path("socket")).unwrap();
        client.write_all(format!("{line}\n").as_bytes()).unwrap();
        if waits || self.dice.below(4) == 0 {
            // The client may wait, or never read its answer.
            self.clients.push(client);
            return;
        }
        client.set_read_timeout(Some(common::LIMIT)).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        let status = answer.split(|&byte| byte == b'\n').next().unwrap();
        assert!(
            matches!(status, b"0" | b"1" | b"2" | b"78"),
            "{line}: {}",
            String::from_utf8_lossy(&answer)
        );
    }

    /// Connects more clients than there are slots. Most send nothing or half a line.
    fn crowd(&mut self) {
        for n in 0..self.dice.below(24) {
            let mut client = UnixStream::connect(self.place.path("socket")).unwrap();
            let _ = client.write_all(&b"status"[..n % 7]);
            self.clients.push(client);
        }
        if self.dice.below(2) == 0 {
            self.clients.clear();
        }
    }
}

/// One message of the log. Its further lines are without their tab.
#[derive(Debug)]
struct Message {
    first: String,
    rest: Vec<String>,
}

impl Message {
    fn is_report(&self) -> bool {
        self.first
            .starts_with("From: Launchpad Build Daemon Sequencer")
    }

    fn value(&self, header: &str) -> Option<&str> {
        self.rest.iter().find_map(|line| line.strip_prefix(header))
    }
}

fn is_stamp(bytes: &[u8]) -> bool {
    let like = b"dddd-dd-ddTdd:dd:dd+0000 [-] ";
    let fits = |(byte, like): (&u8, &u8)| match like {
        b'd' => byte.is_ascii_digit(),
        like => byte == like,
    };
    bytes.len() >= like.len() && bytes.iter().zip(like).all(fits)
}

/// Splits the whole log into messages. No line may be torn.
fn messages(log: &[u8]) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    let log = log.strip_suffix(b"\n").unwrap();
    for line in log.split(|&byte| byte == b'\n') {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if let Some(more) = line.strip_prefix(b"\t") {
            messages.last_mut().unwrap().rest.push(text(more));
        } else {
            assert!(is_stamp(line), "torn: {}", text(line));
            let first = text(&line["2026-11-23T23:36:37+0000 [-] ".len()..]);
            let rest = Vec::new();
            messages.push(Message { first, rest });
        }
    }
    messages
}

/// What the log says of one run.
#[derive(Debug, Default)]
struct Told {
    job: String,
    id: Option<String>,
    outcome: String,
    logged: usize,
    mailed_to: Vec<String>,
    /// In which of the daemon's lives.
    life: usize,
}

impl Told {
    /// `None` if it was stopped at shutdown: that is neither success nor failure.
    fn failed(&self) -> Option<bool> {
        (!self.outcome.contains("stopped at shutdown")).then_some(self.outcome != "0")
    }
}

/// Follows the log. Each run that begins ends before the next one begins, and is then reported.
fn runs(messages: &[Message]) -> Vec<Told> {
    let mut runs: Vec<Told> = Vec::new();
    let mut under_way: Option<String> = None;
    let mut after_mail_trouble = false;
    let mut life = 0;
    for message in messages {
        let first = &message.first;
        if let Some(job) = first.strip_prefix("Running ") {
            assert_eq!(under_way, None, "{job} begins while another runs");
            under_way = Some(job.to_string());
        } else if let Some((job, outcome)) = first
            .strip_prefix("Job ")
            .and_then(|rest| rest.split_once(" completed with exit code "))
        {
            assert_eq!(under_way.take().as_deref(), Some(job), "it ends");
            runs.push(Told {
                job: job.to_string(),
                outcome: outcome.to_string(),
                life,
                ..Told::default()
            });
        } else if first == "Job output was:" {
            runs.last_mut().unwrap().id = message.value("id ").map(str::to_string);
        } else if let Some(to) = first.strip_prefix("Mailing report to: ") {
            runs.last_mut().unwrap().mailed_to.push(to.to_string());
        } else if message.is_report() && !after_mail_trouble {
            assert_eq!(message.value("To: "), Some("-"), "{message:?}");
            let run = runs.last_mut().unwrap();
            assert_eq!(message.value("X-Buildd-Job: "), Some(&*run.job));
            assert_eq!(message.value("id ").map(str::to_string), run.id);
            run.logged += 1;
        } else if first == "Main loop terminated." {
            life += 1;
        }
        after_mail_trouble = first.starts_with("Mail to ");
    }
    assert_eq!(under_way, None, "it ends");
    runs
}

/// How often each copy of a report is in the log because mail did not take it, for good or before another try.
fn not_mailed(messages: &[Message]) -> HashMap<(String, String), (usize, usize)> {
    let mut found: HashMap<_, (usize, usize)> = HashMap::new();
    for pair in messages.windows(2) {
        let told = &pair[0].first;
        if told.starts_with("Mail to ") && pair[1].is_report() {
            let value = |header| pair[1].value(header).unwrap_or_default().to_string();
            let count = found.entry((value("id "), value("To: "))).or_default();
            if told.ends_with("the report follows") {
                count.0 += 1;
            } else {
                count.1 += 1;
            }
        }
    }
    found
}

/// How often each copy of a report was taken by sendmail.
fn taken(place: &Place) -> HashMap<(String, String), usize> {
    let mut taken = HashMap::new();
    for entry in fs::read_dir(place.path("mails")).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let to = text.lines().next().unwrap().to_string();
        let id = text.lines().find_map(|line| line.strip_prefix("id "));
        *taken
            .entry((id.unwrap_or_default().to_string(), to))
            .or_default() += 1;
    }
    taken
}

/// Checks that each failed run's report has arrived once for each recipient, in the log or by mail.
fn check_reports(place: &Place, messages: &[Message], runs: &[Told]) {
    let (taken, not_mailed) = (taken(place), not_mailed(messages));
    let mut uncertain = [0; 2];
    for run in runs {
        let told = run.logged + run.mailed_to.len();
        match run.failed() {
            Some(true) => assert!(told > 0, "no report: {run:?}"),
            Some(false) => assert_eq!(told, 0, "nothing to report: {run:?}"),
            None => {}
        }
        assert!(run.logged <= 1, "{run:?}");
        // A run that was stopped before it printed its identity cannot be followed.
        let Some(id) = &run.id else { continue };
        for to in &run.mailed_to {
            let copy = (id.clone(), to.clone());
            let mails = taken.get(&copy).copied().unwrap_or_default();
            let (given_up, tried_on) = not_mailed.get(&copy).copied().unwrap_or_default();
            let (logged, all) = (given_up + tried_on, given_up + tried_on + mails);
            assert!(all >= 1, "the report to {to} is lost: {run:?}");
            assert!(logged <= 1 && mails <= 1, "{mails} and {logged}: {run:?}");
            if mails == 1 && given_up == 1 {
                // The stop killed sendmail after it had taken the message and before it said so.
                uncertain[run.life] += 1;
            }
        }
    }
    // Each life ends once.
    assert!(
        uncertain.iter().all(|&reports| reports <= 1),
        "{uncertain:?} reports in both mail and log"
    );
}

/// How many runs have said who they are.
fn identities(place: &Place) -> usize {
    place.lines("runs").len()
}

/// Whether a process has this in its environment.
fn has(pid: impl Display, variable: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut variables = environment.split(|&byte| byte == 0);
    variables.any(|it| it == variable.as_bytes())
}

/// Processes of this campaign that should have ended.
fn left_processes(mark: &str) -> Vec<String> {
    let mark = format!("{MARK}={mark}");
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if has(&pid, &mark) && !has(&pid, "LEFT_BEHIND=1") {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            left.push(format!(
                "{:?} {}",
                entry.file_name(),
                String::from_utf8_lossy(&command)
            ));
        }
    }
    left
}

/// The fewest descriptors that the daemon has had open within a while, since runs, deliveries and clients come and go.
fn fewest_descriptors(daemon: &Daemon<'_>) -> usize {
    let counts = (0..100).map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        daemon.descriptors()
    });
    counts.min().unwrap()
}

fn whole_log(place: &Place, pieces: usize) -> Vec<u8> {
    let mut log = Vec::new();
    for n in 1..=pieces {
        log.extend(place.bytes(&format!("piece.{n}")));
    }
    log.extend(place.bytes("log"));
    log
}

/// What the daemon answers to this command, which has to succeed.
fn told(place: &Place, command: &str) -> String {
    let mut client = UnixStream::connect(place.path("socket")).unwrap();
    client.set_read_timeout(Some(common::LIMIT)).unwrap();
    client.write_all(format!("{command}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (status, text) = answer.split_once('\n').unwrap();
    assert_eq!(status, "0", "{command}: {text}");
    text.to_string()
}

fn is_paused(place: &Place, name: &str) -> bool {
    let status = told(place, "status --json");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let jobs = status["jobs"].as_array().unwrap();
    let job = jobs.iter().find(|job| job["name"] == name).unwrap();
    job["paused"].as_bool().unwrap()
}

/// Moves all the times of a state file as if the clock had been set by this much: `SECONDS.NANOSECONDS`.
fn set_clock(place: &Place, by: i64) {
    let mut moved = String::new();
    let state = place.read("state");
    let mut rest = &*state;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let digits = number.find(|c: char| !c.is_ascii_digit());
        let (number, after) = number.split_at(digits.unwrap_or(number.len()));
        moved += before;
        match number.parse::<i64>() {
            Ok(seconds) if number.len() >= 9 && after.starts_with('.') => {
                moved += &(seconds - by).max(0).to_string();
                // The nanoseconds are no time of their own.
                let decimals = after[1..].find(|c: char| !c.is_ascii_digit());
                let end = decimals.map_or(after.len(), |end| end + 1);
                moved += &after[..end];
                rest = &after[end..];
            }
            _ => {
                moved += number;
                rest = after;
            }
        }
    }
    moved += rest;
    let owner = fs::metadata(place.path("state")).unwrap();
    place.write("state", &moved);
    if geteuid().is_root() {
        chown(place.path("state"), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
}

/// Reads a daemon's standard output 4 KiB at a time, with a rest after each, to the end.
fn read_slowly(mut output: File, rest: Duration, mut log: File) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match output.read(&mut buffer).unwrap() {
                0 => return,
                n => log.write_all(&buffer[..n]).unwrap(),
            }
            std::thread::sleep(rest);
        }
    })
}

/// The conditions of a whole campaign.
struct Field<'a> {
    place: &'a Place,
    mark: String,
    log: LogTo,
    /// Whether the daemon runs as an ordinary user, among whose jobs are some that become root.
    strange: bool,
    /// How long the reader of the log rests after each 4 KiB.
    rest: Duration,
}

impl Field<'_> {
    /// One life of a daemon, from its start to its end, with trouble in between; what is rolled next, and how many
    /// pieces of the log there are. `ends` says whether it is the last.
    fn life(&self, dice: Dice, pieces: usize, seconds: f64, ends: bool) -> (Dice, usize) {
        let place = self.place;
        let text = place.read("conf");
        let mut reader = None;
        let daemon = place.daemon_with(&text, |command| {
            command.env(MARK, &self.mark);
            if self.strange {
                let user = USER.to_string();
                command.args(["-u", &user, "-g", &user]);
            }
            if self.log == LogTo::Reader {
                let (output, daemons) = pipe2(OFlag::O_CLOEXEC).unwrap();
                command.stdout(daemons);
                let log = place.append_to(if ends { "log.second" } else { "log.first" });
                reader = Some(read_slowly(output.into(), self.rest, log));
            }
        });
        wait_for("the socket", || {
            let errors = place.read("stderr");
            assert_eq!((daemon.ended(), &*errors), (None, ""));
            place.path("socket").exists().then_some(())
        });
        let before = fewest_descriptors(&daemon);
        let mut campaign = Campaign {
            place,
            daemon: &daemon,
            dice,
            clients: Vec::new(),
            pieces,
            log: self.log,
        };
        self.has_gone_on(&mut campaign);
        let (begun, enough) = (Instant::now(), identities(place) + LEAST_RUNS);
        while begun.elapsed().as_secs_f64() < seconds || identities(place) < enough {
            let too_long = seconds + common::LIMIT.as_secs_f64();
            assert!(begun.elapsed().as_secs_f64() < too_long, "hardly any runs");
            campaign.trouble();
        }
        campaign.clients.clear();
        // With runs and mails that follow each other at once there would never be as few.
        place.write("mood", "");
        told(place, "pause");
        wait_for("as few descriptors as before", || {
            (fewest_descriptors(&daemon) <= before).then_some(())
        });
        // Besides the run and sendmail, what a stopped run has left and may not be signalled.
        let most = 2 + usize::from(self.strange);
        wait_for("no more processes than that", || {
            let all = daemon.children();
            let left_behind = all.iter().filter(|pid| has(pid, "LEFT_BEHIND=1"));
            (all.len() - left_behind.count() <= most).then_some(())
        });
        told(place, "resume");
        self.end(&mut campaign, ends);
        let Campaign { dice, pieces, .. } = campaign;
        if let Some(reader) = reader {
            reader.join().unwrap();
        }
        (dice, pieces)
    }

    /// A pause outlives a restart, whatever the clock, and whoever is let go runs soon.
    fn has_gone_on(&self, campaign: &mut Campaign<'_>) {
        let place = self.place;
        let paused = place.read("paused");
        if paused.is_empty() {
            return;
        }
        assert!(is_paused(place, &paused), "{paused} is no longer paused");
        told(place, "resume");
        if place.read("conf").contains("/job ") {
            let before = identities(place);
            wait_for("a run after the restart", || {
                (identities(place) > before).then_some(())
            });
        }
        campaign.rest(10);
    }

    fn end(&self, campaign: &mut Campaign<'_>, ends: bool) {
        let (place, daemon) = (self.place, campaign.daemon);
        if ends {
            // Not in the middle: that would hang for a minute and leave the other trouble no time.
            if campaign.dice.below(2) == 0 {
                place.write("mood", "hangs");
                campaign.rest(1000);
            }
        } else {
            let text = config(place, &mut campaign.dice, self.log);
            place.write("conf", &text);
            told(place, "reload");
            let jobs = text.split("[buildsequencer_job.").skip(2);
            let names: Vec<&str> = jobs.map(|job| job.split(']').next().unwrap()).collect();
            let name = campaign.dice.pick(&names);
            told(place, &format!("pause {name}"));
            place.write("paused", name);
        }
        let mut in_time = common::Within::seconds(9.0);
        match campaign.dice.below(4) {
            0 => daemon.signal(Signal::SIGINT),
            1 => {
                daemon.signal(Signal::SIGQUIT);
                daemon.signal(Signal::SIGTERM);
            }
            _ => daemon.signal(Signal::SIGTERM),
        }
        let status = daemon.wait();
        assert_eq!(status.code(), Some(0), "{}", place.read("stderr"));
        in_time.is_kept();
        wait_for("the end of all its processes", || {
            left_processes(&self.mark).is_empty().then_some(())
        });
        assert!(!place.path("socket").exists() && !place.path("metrics.prom").exists());
        if !ends {
            let hour = 3600;
            let steps = [0, 1, -1, 30, -30, hour, -hour, 9000 * hour, -9000 * hour];
            let step = steps[campaign.dice.below(steps.len())];
            set_clock(place, step);
        }
    }
}

/// A whole campaign: two lives of a daemon. What became of it all is for the caller to look at.
fn campaign(place: &Place, log: LogTo, share: f64) -> usize {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = from_environment("BUILDD_SEQUENCER_SEED").unwrap_or(now.subsec_nanos().into());
    let seconds = from_environment("BUILDD_SEQUENCER_CAMPAIGN_SECONDS").unwrap_or(3);
    let seconds = share * seconds as f64;
    println!("BUILDD_SEQUENCER_SEED={seed} (log: {log:?})");
    let mut dice = Dice(seed);

    fs::create_dir(place.path("mails")).unwrap();
    place.script("job", JOB);
    place.script("sendmail", SENDMAIL);
    for empty in ["mood", "runs", "paused"] {
        place.write(empty, "");
    }
    // The daemon's log begins as its standard output, which is made by whoever starts it.
    place.append_to("log");
    let strange = dice.below(2) == 0 && make_stranger(place);
    place.write("moods", &moods(&mut dice, strange));
    place.write("conf", &config(place, &mut dice, log));
    let field = Field {
        place,
        mark: format!("{seed}.{}.{log:?}", std::process::id()),
        log,
        strange,
        rest: Duration::from_millis([1, 20, 300][dice.below(3)]),
    };
    let (dice, pieces) = field.life(dice, 0, seconds / 2.0, false);
    let (_, pieces) = field.life(dice, pieces, seconds / 2.0, true);
    assert_eq!(place.read("overlaps"), "", "two runs at once");
    assert_eq!(place.read("stderr"), "");
    pieces
}

#[test]
fn whatever_happens_nothing_is_lost_and_nothing_is_stuck() {
    let place = Place::new();
    let pieces = campaign(&place, LogTo::File, 1.0);
    let messages = messages(&whole_log(&place, pieces));
    assert_eq!(messages.last().unwrap().first, "Main loop terminated.");
    let runs = runs(&messages);
    check_reports(&place, &messages, &runs);
    let strangers = messages
        .iter()
        .filter(|message| message.first.contains("cannot be signalled"));
    println!(
        "{} runs, {} mails, {pieces} turns of the log, {} times nobody who may be signalled",
        runs.len(),
        taken(&place).len(),
        strangers.count()
    );
    // Each run that printed its identity is in the log, in the same order.
    let logged = runs.iter().filter_map(|run| run.id.clone());
    let logged: Vec<String> = logged.collect();
    let said = place.lines("runs");
    assert!(said.len() >= 2 * LEAST_RUNS && runs.len() >= said.len());
    let in_log = said.iter().filter(|id| logged.contains(id));
    assert!(
        in_log.eq(said.iter()),
        "not in the log: {said:?} {logged:?}"
    );
    // One that was killed between the two has not said so.
    let places = logged
        .iter()
        .filter_map(|id| said.iter().position(|said| said == id));
    assert!(places.is_sorted());
}

/// Lines may be dropped then, but none is torn, nothing waits for the reader, and each life ends in time.
#[test]
fn whatever_happens_a_slow_reader_of_the_log_holds_nothing_up() {
    let place = Place::new();
    campaign(&place, LogTo::Reader, 0.5);
    for life in ["log.first", "log.second"] {
        let mut log = place.bytes(life);
        // The end of a life may cut its last line.
        log.truncate(log.iter().rposition(|&byte| byte == b'\n').unwrap() + 1);
        let messages = messages(&log);
        assert_eq!(messages[0].first, "Loading jobs...");
        println!("{} bytes, {} messages", log.len(), messages.len());
    }
    assert!(identities(&place) >= 2 * LEAST_RUNS);
}
