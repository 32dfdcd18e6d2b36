//! What is measured with one job or a few.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::contender::{ALONE, Contender, Lines, Spent, program, take_turns};
use crate::figures::{Figures, Table, short};

const JOB: &str = "/bin/true";

fn job(name: &str, lines: &str) -> String {
    format!("[buildsequencer_job.{name}]\n{lines}\n")
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Runs a second, CPU and sleeps a run, beside the floor.
pub fn runs(table: &mut Table) {
    let without_delay = format!("command: {JOB}\nmindelay: 0");
    let daemon = Contender::daemon(&format!("{ALONE}{}", job("a", &without_delay)));
    let floor = Contender::floor(&[JOB]);
    std::thread::sleep(seconds(0.5));
    let spent = take_turns(&mut [floor, daemon], 15, seconds(0.1));
    let each = |which: usize, figure: fn(&Spent) -> f64| -> Figures {
        spent[which].iter().map(figure).collect()
    };
    let ratio = |figure: fn(&Spent) -> f64| -> Figures {
        let pairs = spent[0].iter().zip(&spent[1]);
        pairs
            .map(|(floor, daemon)| figure(daemon) / figure(floor))
            .collect()
    };
    let speed: fn(&Spent) -> f64 = Spent::runs_per_second;
    let cpu: fn(&Spent) -> f64 = Spent::cpu_per_run;
    let sleeps = |spent: &Spent| spent.sleeps as f64 / spent.runs as f64;
    let beside = format!("floor {}", each(0, speed).show());
    table.row("runs a second", &each(1, speed).show(), &beside);
    table.row("runs a second, of the floor's", &ratio(speed).show(), "");
    let beside = format!("floor {}", each(0, cpu).show());
    table.row("own CPU a run, µs", &each(1, cpu).show(), &beside);
    table.row("own CPU a run, of the floor's", &ratio(cpu).show(), "");
    let beside = format!("floor {}", each(0, sleeps).show());
    table.row("sleeps a run", &each(1, sleeps).show(), &beside);
}

/// Own CPU a run, with the state file and its history and without.
pub fn history(table: &mut Table) {
    let jobs = job("a", &format!("command: {JOB}\nmindelay: 0"));
    let without = Contender::daemon(&format!("{ALONE}{jobs}"));
    let with = Contender::daemon(&format!("{ALONE}statefile: state\n{jobs}"));
    std::thread::sleep(seconds(0.5));
    let spent = take_turns(&mut [without, with], 15, seconds(0.1));
    let cpu = |which: usize| -> Figures { spent[which].iter().map(Spent::cpu_per_run).collect() };
    let beside = format!("without {}", cpu(0).show());
    table.row(
        "own CPU a run with a state file, µs",
        &cpu(1).show(),
        &beside,
    );
}

/// Two gigabytes from a job, beside `cat`. The job itself tells the time.
pub fn output(table: &mut Table) {
    let mut ratios = Figures::default();
    let (mut daemon, mut cat) = (Figures::default(), Figures::default());
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let took = |file: &str| {
            let text = fs::read_to_string(directory.path().join(file)).unwrap_or_default();
            let moments: Vec<f64> = text.lines().filter_map(|line| line.parse().ok()).collect();
            (moments.len() == 2).then(|| moments[1] - moments[0])
        };
        let script = |file: &str, to: &str| {
            let file = directory.path().join(file);
            let file = file.display();
            format!(
                "exec 3>{file}; date +%s.%N >&3; head -c 2G /dev/zero{to}; date +%s.%N >&3; echo >&3"
            )
        };
        let shell = script("cat", " | cat >/dev/null");
        let status = Command::new("sh").args(["-c", &shell]).status().unwrap();
        assert!(status.success());
        let shell = script("daemon", "");
        let lines = format!("command: sh -c '{shell}'\nstartdelay: 0\nmindelay: 1h");
        let _daemon = Contender::daemon(&format!("{ALONE}{}", job("a", &lines)));
        let until = Instant::now() + seconds(120.0);
        while took("daemon").is_none() && Instant::now() < until {
            std::thread::sleep(seconds(0.05));
        }
        let (one, other) = (took("daemon").unwrap(), took("cat").unwrap());
        daemon.0.push(one);
        cat.0.push(other);
        ratios.0.push(one / other);
    }
    let beside = format!("`head -c 2G \\| cat` {}", cat.show());
    table.row("2 GB of job output, s", &daemon.show(), &beside);
    table.row("2 GB of job output, of cat's time", &ratios.show(), "");
}

/// From the start of the program to its first job.
pub fn start(table: &mut Table) {
    let jobs = job("a", &format!("command: {JOB}\nstartdelay: 0\nmindelay: 1h"));
    let config = format!("[buildsequencer]\ncontrolsocket: none\n{jobs}");
    let took: Figures = (0..20)
        .map(|_| {
            let began = Instant::now();
            let (_daemon, mut lines) = Contender::daemon_on_pipe(&config);
            (lines.wait_for("Running a") - began).as_secs_f64() * 1e3
        })
        .collect();
    table.row("start to the first `Running`, ms", &took.show(), "");
}

/// Memory with a few jobs, and sleeps while nothing happens.
pub fn quiet(table: &mut Table) {
    let few = ["a", "b", "c"].map(|name| {
        job(
            name,
            &format!("command: {JOB}\nmindelay: 0.01\nstartdelay: 0"),
        )
    });
    let mut daemon = Contender::daemon(&format!("{ALONE}{}", few.concat()));
    daemon.spend(seconds(2.0));
    let kib = daemon.status("VmRSS") as f64;
    let size = fs::metadata(program()).unwrap().len() as f64;
    let beside = format!("binary {} MB", short(size / 1e6));
    let shown = short(kib * 1024.0 / 1e6);
    table.row("resident, three jobs, MB", &shown, &beside);
    drop(daemon);

    let idle = job("a", &format!("command: {JOB}\nmindelay: 1h"));
    let mut daemon = Contender::daemon(&format!("{ALONE}{idle}"));
    daemon.wait_for("Scheduling");
    let spent = daemon.spend(seconds(5.0));
    table.row(
        "wake-ups in 5 s without a run",
        &spent.sleeps.to_string(),
        "",
    );
    drop(daemon);

    let silent = job("a", "command: sleep 3\nstartdelay: 0\nmindelay: 1h");
    let mut daemon = Contender::daemon(&format!("{ALONE}{silent}"));
    daemon.wait_for("Running");
    std::thread::sleep(seconds(0.3));
    let before = daemon.sample();
    std::thread::sleep(seconds(2.0));
    let during = daemon.sample();
    daemon.wait_for("Scheduling");
    let after = daemon.sample();
    table.row(
        "wake-ups in 2 s of a silent run",
        &(during.sleeps - before.sleeps).to_string(),
        &format!("at its end {}", after.sleeps - during.sleeps),
    );
}

/// How long after its due time a job's start is in the log. The kernel's timers are asked for whole milliseconds.
pub fn lateness(table: &mut Table) {
    let jobs = job("a", &format!("command: {JOB}\nmindelay: 0.025"));
    let config = format!("[buildsequencer]\ncontrolsocket: none\n{jobs}");
    let (_daemon, mut lines) = Contender::daemon_on_pipe(&config);
    let late = late_starts(&mut lines, 0.025, 100);
    table.row("lateness of starts, ms", &late.show(), "");
}

/// By how many milliseconds the job `a` starts later than this delay, in seconds, after its end.
fn late_starts(lines: &mut Lines, delay: f64, times: usize) -> Figures {
    lines.wait_for("Running a");
    (0..times)
        .map(|_| {
            let ended = lines.wait_for("completed");
            let began = lines.wait_for("Running a");
            ((began - ended).as_secs_f64() - delay) * 1e3
        })
        .collect()
}

/// The same with 10,000 other jobs, while sixteen clients ask for the status again and again, beside the same daemon
/// without them a moment before.
pub fn clients(table: &mut Table) {
    const CLIENTS: usize = 16;
    const OTHERS: usize = 10_000;
    let others: String = (0..OTHERS)
        .map(|n| {
            job(
                &format!("other-{n}"),
                &format!("command: {JOB}\nmindelay: 1d"),
            )
        })
        .collect();
    let config = format!(
        "[buildsequencer]\ncontrolsocket: socket\n{}{others}",
        job(
            "a",
            &format!("command: {JOB}\nmindelay: 0.025\nstartdelay: 0")
        )
    );
    let (daemon, mut lines) = Contender::daemon_on_pipe(&config);
    let socket = daemon.path("socket");
    let (mut alone, mut crowded) = (Figures::default(), Figures::default());
    let (mut ratios, mut answers) = (Figures::default(), Figures::default());
    for _ in 0..9 {
        let undisturbed = late_starts(&mut lines, 0.025, 40);
        let stop = AtomicBool::new(false);
        let count = AtomicU64::new(0);
        let disturbed = std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        count.fetch_add(u64::from(asks(&socket)), Ordering::Relaxed);
                    }
                });
            }
            let began = Instant::now();
            let disturbed = late_starts(&mut lines, 0.025, 40);
            let time = began.elapsed().as_secs_f64();
            answers.0.push(count.load(Ordering::Relaxed) as f64 / time);
            stop.store(true, Ordering::Relaxed);
            disturbed
        });
        ratios.0.push(disturbed.median() / undisturbed.median());
        alone.0.push(undisturbed.median());
        crowded.0.push(disturbed.median());
    }
    let what = format!("lateness of starts, {CLIENTS} ask for the status, ms");
    let beside = format!("without them {}", alone.show());
    table.row(&what, &crowded.show(), &beside);
    let beside = format!("{} answers a second of {OTHERS} jobs", answers.show());
    table.row("the same, of that without them", &ratios.show(), &beside);
}

/// Asks for the status; whether there was one.
fn asks(socket: &Path) -> bool {
    let Ok(mut client) = UnixStream::connect(socket) else {
        return false;
    };
    let mut size = 0;
    let mut buffer = [0; 64 * 1024];
    let _ = client.write_all(b"status\n");
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        size += n;
    }
    size > buffer.len()
}

/// The same with a state file on a disk that takes its time, as strace makes it, beside one that does not.
pub fn slow_disk(table: &mut Table) {
    const WHAT: &str = "lateness of starts, syncs take 300 ms, ms";
    const DELAY: f64 = 0.15;
    let jobs = job("a", &format!("command: sleep 0.35\nmindelay: {DELAY}"));
    let config = format!("[buildsequencer]\ncontrolsocket: none\nstatefile: state\n{jobs}");
    let works = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        table.row(
            WHAT,
            "not measured",
            "there is no strace, or it may not trace",
        );
        return;
    }
    let late = |delay: &str| {
        let inject = format!("inject=fdatasync:delay_enter={delay}");
        let words = [
            "strace",
            "-D",
            "-o",
            "trace",
            "-e",
            "trace=fdatasync",
            "-e",
            &inject,
        ];
        let (daemon, mut lines) = Contender::daemon_by(&words, &config);
        let late = late_starts(&mut lines, DELAY, 60);
        let greatest = late.0.iter().copied().fold(f64::MIN, f64::max);
        let syncs = daemon.read("trace").matches("fdatasync(").count();
        format!(
            "{}, greatest {}, {syncs} syncs",
            late.show(),
            short(greatest)
        )
    };
    let (quick, slow) = (late("1"), late("300000"));
    table.row(WHAT, &slow, &format!("without delay {quick}"));
}

/// What a mail costs the daemon: CPU of a failing run that is mailed, less that of one that is not.
pub fn mail(table: &mut Table) {
    let daemon = |interval: &str| {
        let daemon = format!(
            "{ALONE}mailproblemsto: ops@example.com\nfromaddress: a@example.com\nmailinterval: {interval}\n\
             sendmail: sh -c 'exec cat >/dev/null' --\n"
        );
        let failing = job("a", "command: /bin/false\nmindelay: 0.015");
        Contender::daemon(&(daemon + &failing))
    };
    let mut both = [daemon("1h"), daemon("0")];
    std::thread::sleep(seconds(0.5));
    let spent = take_turns(&mut both, 9, seconds(0.1));
    let pairs = spent[0].iter().zip(&spent[1]);
    let mails: Figures = pairs
        .map(|(unmailed, mailed)| mailed.cpu_per_run() - unmailed.cpu_per_run())
        .collect();
    let unmailed: Figures = spent[0].iter().map(Spent::cpu_per_run).collect();
    let beside = format!("the failing run itself {}", unmailed.show());
    table.row("own CPU a mail, µs", &mails.show(), &beside);
}

/// From SIGTERM to the end, with more in the log than its reader will take, beside a log that is read at once.
pub fn stop(table: &mut Table) {
    let talks =
        "command: sh -c 'seq 300000; echo >done'\nalwayslog: true\nmindelay: 1h\nstartdelay: 0";
    let config = format!("[buildsequencer]\ncontrolsocket: none\n{}", job("a", talks));
    let stop = |pause: f64| -> Figures {
        let took = |_| {
            let (mut daemon, lines) = Contender::daemon_on_pipe(&config);
            lines.read_slowly(4096, seconds(pause));
            while daemon.read("done").is_empty() {
                std::thread::sleep(seconds(0.01));
            }
            // For what the pipes still hold.
            std::thread::sleep(seconds(0.5));
            daemon.stop().as_secs_f64()
        };
        (0..5).map(took).collect()
    };
    let beside = format!("read at once {}", stop(0.0).show());
    let what = "stop, the log's reader takes 4 KiB each 0.3 s, s";
    table.row(what, &stop(0.3).show(), &beside);
}
