//! A log that nobody reads, or that is read slowly. It delays neither jobs nor the start nor the end, and every line
//! that is lost is counted.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::at_once;
use crate::common::socket::{SOCKET, idle_job};
use crate::common::{
    ALONE, Daemon, Place, Signal, Within, job, messages, once, place_of, ran, wait_for,
};
use crate::log::has_stamp;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::stat::Mode;

/// Thirty jobs that run once each: 2.9 MB of log, each message larger than a pipe, and a line of `ran` each.
fn chatty_jobs(place: &Place) -> String {
    place.write(
        "job",
        "yes 0123456789 | head -n 8000; echo ran >>{dir}/ran\n",
    );
    let jobs = (1..=30).map(|n| format!("{}alwayslog: yes\n", once(&format!("j{n}"), "sh job")));
    ALONE.to_string() + &jobs.collect::<String>()
}

/// Waits until all have run; a log that nobody reads must not have held them up, not even for a second each.
#[track_caller]
fn wait_for_chatty_jobs(place: &Place, daemon: &Daemon<'_>) {
    let mut not_held_up = Within::seconds(25.0);
    place.wait_for_lines("ran", 30);
    wait_for("the last run's end", || {
        daemon.children().is_empty().then_some(())
    });
    not_held_up.is_kept();
}

/// How many lines the log has where it takes all of them.
fn undisturbed_lines() -> usize {
    let place = Place::new();
    let config = chatty_jobs(&place);
    let daemon = place.daemon(&config);
    daemon.wait_for_log("Scheduling j1 for 3.6e+03");
    daemon.stop().lines().count()
}

/// Lines that are there, and lines that are said to be missing.
fn accounted(log: &str) -> (usize, usize) {
    let notices: Vec<usize> = messages(log)
        .iter()
        .filter_map(|m| {
            let lines = m.strip_suffix(" dropped here because the log could not be written")?;
            lines
                .strip_suffix(" log lines were")
                .or_else(|| lines.strip_suffix(" log line was"))
        })
        .map(|count| count.parse().unwrap())
        .collect();
    let lines = log.lines().count() - notices.len();
    (lines, notices.iter().sum())
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    let flags = fcntl(fd, FcntlArg::F_GETFL).unwrap();
    OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK)
}

/// A reader that came late, on a thread of its own.
struct Late {
    text: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Late {
    fn reads(mut from: impl Read + Send + 'static) -> Late {
        let text = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            loop {
                match from.read(&mut buffer).unwrap() {
                    0 => return,
                    n => read.lock().unwrap().extend_from_slice(&buffer[..n]),
                }
            }
        });
        Late { text, thread }
    }

    fn so_far(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    /// All of it, once every writer has gone.
    fn whole(self) -> String {
        self.thread.join().unwrap();
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }
}

/// Has jobs fill a log that nobody reads, looks that they go on and that the description of `ours`, which others
/// share, stays as it was; then reads `theirs` and counts what came and what is said to be missing.
fn check_a_log_nobody_reads(
    place: &Place,
    command: Command,
    ours: OwnedFd,
    theirs: impl Read + Send + 'static,
) {
    let stdout = ours.try_clone().unwrap();
    let daemon = place.daemon_by(command, &chatty_jobs(place), |command| {
        command.stdout(stdout);
    });
    wait_for_chatty_jobs(place, &daemon);
    assert!(!is_nonblocking(&ours));
    drop(ours);
    let reader = Late::reads(theirs);
    wait_for("the number of dropped lines", || {
        reader.so_far().contains("lines were dropped").then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    drop(daemon);
    let log = reader.whole();
    assert!(log.ends_with(" [-] Main loop terminated.\n"));
    assert!(log.len() > 1 << 20, "1 MiB waits: {}", log.len());
    assert!(log.len() < 1500 << 10, "no more waits: {}", log.len());
    let (there, dropped) = accounted(&log);
    assert_eq!(there + dropped, undisturbed_lines());
    for line in log.lines() {
        assert!(line.starts_with('\t') || has_stamp(line), "{line}");
    }
}

pub fn ends_that_wait_for_a_reader() {
    at_once!(
        a_stop_that_has_taken_its_time_still_lets_the_log_be_read_to_its_end,
        all_is_over_nine_seconds_after_the_signal_however_slow_the_log,
        at_the_end_a_log_that_is_read_slowly_is_given_three_seconds,
        reports_that_were_not_mailed_are_all_read_at_the_end,
        at_the_end_a_log_that_nobody_reads_is_given_a_second,
        a_reader_that_has_gone_stops_neither_jobs_nor_the_end
    );
}

/// The kernel does not tell the writer that a named pipe is read again.
#[test]
fn a_named_pipe_whose_reader_was_replaced_gets_what_has_waited_though_nothing_else_happens() {
    let place = Place::new();
    let path = place.path("fifo");
    nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
    let reader = || {
        let flags = OFlag::O_NONBLOCK.bits();
        let mut options = File::options();
        options.read(true).custom_flags(flags).open(&path).unwrap()
    };
    let first = reader();
    let ours = File::options().write(true).open(&path).unwrap();
    let config = format!("{SOCKET}{}", idle_job("a", "true"));
    let _daemon = place.daemon_with(&config, |command| {
        command.stdout(ours);
    });
    wait_for("the start", || {
        place.ask("healthcheck").status.success().then_some(())
    });
    drop(first);
    place.told("pause a");
    let mut second = reader();
    let mut log = Vec::new();
    wait_for("what has waited", || {
        let _ = second.read_to_end(&mut log);
        String::from_utf8_lossy(&log)
            .contains("Asked to pause a")
            .then_some(())
    });
}

#[test]
fn a_pipe_nobody_reads_holds_up_no_job_and_its_dropped_lines_are_counted() {
    let (theirs, ours) = crate::common::pipe();
    let place = Place::new();
    check_a_log_nobody_reads(&place, place.command(), ours.into(), theirs);
}

#[test]
fn a_socket_nobody_reads_holds_up_no_job_and_its_dropped_lines_are_counted() {
    let (theirs, ours) = UnixStream::pair().unwrap();
    let place = Place::new();
    check_a_log_nobody_reads(&place, place.command(), ours.into(), theirs);
}

/// It keeps messages apart, and refuses one that is larger than its buffer.
#[test]
fn nor_does_a_socket_that_keeps_messages_apart() {
    let (theirs, ours) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap();
    let place = Place::new();
    // What is not read of a message at once is lost.
    let theirs = BufReader::with_capacity(1 << 20, File::from(theirs));
    check_a_log_nobody_reads(&place, place.command(), ours, theirs);
}

/// What a permission refuses cannot be opened anew.
#[test]
fn a_pipe_that_cannot_be_opened_anew_holds_up_no_job_either() {
    let place = Place::public();
    let fifo = place.path("fifo");
    nix::unistd::mkfifo(&fifo, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let flags = OFlag::O_NONBLOCK.bits();
    let theirs = File::options().read(true).custom_flags(flags).open(&fifo);
    let theirs = theirs.unwrap();
    fcntl(&theirs, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    let ours = File::options().write(true).open(&fifo).unwrap();
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o000)).unwrap();
    place.give_away("");
    let command = place.command_without_rights();
    check_a_log_nobody_reads(&place, command, ours.into(), theirs);
}

fn at_the_end_a_log_that_nobody_reads_is_given_a_second() {
    let (_theirs, ours) = crate::common::pipe();
    let place = Place::new();
    let jobs = chatty_jobs(&place);
    let daemon = place.daemon_with(&jobs, |command| {
        command.stdout(ours);
    });
    wait_for_chatty_jobs(&place, &daemon);
    // One that is read, but slowly, would have three.
    let mut no_longer = Within::seconds(2.8);
    let took = time_to_stop(&daemon);
    no_longer.is_kept();
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

fn a_reader_that_has_gone_stops_neither_jobs_nor_the_end() {
    let (theirs, ours) = crate::common::pipe();
    let place = Place::new();
    let jobs = chatty_jobs(&place);
    let daemon = place.daemon_with(&jobs, |command| {
        command.stdout(ours);
    });
    drop(theirs);
    wait_for_chatty_jobs(&place, &daemon);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
}

pub fn a_full_disk_stops_neither_jobs_nor_the_end() {
    for option in [&["-l", "/dev/full"][..], &[]] {
        let place = Place::new();
        let daemon = place.daemon_with(&chatty_jobs(&place), |command| {
            command
                .args(option)
                .stdout(File::options().write(true).open("/dev/full").unwrap());
        });
        wait_for_chatty_jobs(&place, &daemon);
        let used = daemon.processor_time();
        assert!(used < Duration::from_secs(5), "{used:?}");
        let mut no_longer = Within::seconds(2.8);
        time_to_stop(&daemon);
        no_longer.is_kept();
    }
}

/// Reads 4 KiB each 0.3 s, on a thread of its own, for ever.
fn read_slowly(mut from: impl Read + Send + 'static) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while from.read(&mut buffer).unwrap() > 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
    });
}

fn time_to_stop(daemon: &Daemon<'_>) -> Duration {
    let told = Instant::now();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    told.elapsed()
}

fn at_the_end_a_log_that_is_read_slowly_is_given_three_seconds() {
    let (theirs, ours) = crate::common::pipe();
    let place = Place::new();
    let daemon = place.daemon_with(&chatty_jobs(&place), |command| {
        command.stdout(ours);
    });
    read_slowly(theirs);
    wait_for_chatty_jobs(&place, &daemon);
    // To its end it would be read in over a minute.
    let mut in_time = Within::seconds(20.0);
    let took = time_to_stop(&daemon);
    in_time.is_kept();
    assert!(took >= Duration::from_secs(3), "{took:?}");
}

/// A daemon that does not obey takes three seconds.
#[test]
fn a_further_signal_ends_the_wait_for_the_log() {
    let (theirs, ours) = crate::common::pipe();
    let place = Place::new();
    let config = chatty_jobs(&place).replace("controlsocket: none", "controlsocket: socket");
    let daemon = place.daemon_with(&config, |command| {
        command.stdout(ours);
    });
    read_slowly(theirs);
    wait_for_chatty_jobs(&place, &daemon);
    let mut at_once = Within::seconds(2.8);
    daemon.signal(Signal::SIGTERM);
    wait_for("the end of all but the log", || {
        (!place.path("socket").exists()).then_some(())
    });
    time_to_stop(&daemon);
    at_once.is_kept();
}

/// Many jobs, a few of which run at once.
fn many_jobs(place: &Place, count: usize) -> String {
    place.script("job", "echo x >>{dir}/ran");
    let later = "command: true\nmindelay: 3600";
    let jobs = (0..count).map(|n| match n {
        0..5 => once(&format!("j{n}"), "./job"),
        n => job(&format!("j{n}"), later),
    });
    jobs.collect()
}

/// The names in the lines about loaded jobs, and the first message after them.
fn loaded(messages: &[String]) -> (Vec<&str>, &str) {
    assert_eq!(messages[0], "Loading jobs...");
    let names = messages[1..]
        .iter()
        .map_while(|message| message.strip_prefix("   ...loaded "));
    let names: Vec<&str> = names.collect();
    let next = &messages[1 + names.len()];
    (names, next)
}

/// So many lines at the start that they do not fit anywhere. Jobs do not wait for them to be read, nor do those who
/// ask, and when they are read none is missing and all are in order.
pub fn a_log_that_nobody_reads_does_not_hold_up_a_start_with_many_jobs() {
    let (theirs, ours) = crate::common::pipe();
    let place = Place::new();
    let jobs = many_jobs(&place, 40_000);
    let config = format!("[buildsequencer]\ncontrolsocket: socket\n{jobs}");
    let daemon = place.daemon_with(&config, |command| {
        command.stdout(ours);
    });
    place.wait_for_lines("ran", 5);
    let status = place.run(&["status", "-s", "socket"]);
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    // The jobs of the start are there no longer.
    place.write(
        "conf",
        &format!("{config}{}", once("new", "./job"))
            .replace("[buildsequencer_job.j39", "[buildsequencer_job.k39"),
    );
    let reload = place.run(&["reload", "-s", "socket"]);
    assert_eq!(reload.status.code(), Some(0), "{reload:?}");
    let reader = Late::reads(theirs);
    wait_for("the last line", || {
        reader.so_far().contains("Job new completed").then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    drop(daemon);
    let log = reader.whole();
    let messages = messages(&log);
    let (names, next) = loaded(&messages);
    let expected: Vec<String> = (0..40_000).map(|n| format!("j{n}")).collect();
    assert_eq!(names, expected);
    assert_eq!(next, "Mailer targets set to:");
    assert_eq!(accounted(&log).1, 0);
    assert_eq!(ran(&messages), ["j0", "j1", "j2", "j3", "j4", "new"]);
    let stamps: Vec<&str> = log.lines().map(|line| &line[..24]).collect();
    assert!(stamps.is_sorted(), "{stamps:?}");
    assert!(log.ends_with("Main loop terminated.\n"));
}

pub fn a_stop_is_obeyed_while_the_log_has_not_taken_the_lines_of_the_start() {
    let (theirs, ours) = crate::common::pipe();
    let place = Place::new();
    let daemon = place.daemon_with(
        &format!("{ALONE}{}", many_jobs(&place, 40_000)),
        |command| {
            command.stdout(ours);
        },
    );
    read_slowly(theirs);
    place.wait_for_lines("ran", 1);
    // No wait of the daemon's lasts as long.
    let mut in_time = Within::seconds(20.0);
    time_to_stop(&daemon);
    in_time.is_kept();
}

#[test]
fn a_start_with_very_many_jobs_loses_no_line_in_a_file_or_to_a_reader() {
    for piped in [false, true] {
        let place = Place::new();
        let config = format!("{ALONE}logsize: 0\n{}", many_jobs(&place, 60_000));
        let (theirs, ours) = crate::common::pipe();
        let reader = Late::reads(theirs);
        let daemon = place.daemon_with(&config, |command| {
            if piped {
                command.stdout(ours);
            } else {
                command.args(["-l", "log"]);
            }
        });
        place.wait_for_lines("ran", 5);
        let read = || match piped {
            true => reader.so_far(),
            false => daemon.log(),
        };
        let log = wait_for("the last run", || {
            // It takes longer to look through than to wait for.
            std::thread::sleep(Duration::from_millis(50));
            Some(read()).filter(|log| log.contains("Job j4 completed with exit code 0\n"))
        });
        let messages = messages(&log);
        let (names, next) = loaded(&messages);
        assert_eq!((names.len(), next), (60_000, "Mailer targets set to:"));
        assert_eq!(accounted(&log).1, 0);
        daemon.stop_with(Signal::SIGTERM);
    }
}

/// Far more than waits for a log otherwise; a reader that is there gets all of it, before the last line.
fn reports_that_were_not_mailed_are_all_read_at_the_end() {
    let (theirs, ours) = crate::common::pipe();
    let place = Place::new();
    place.script(
        "job",
        "head -c 900000 /dev/zero | tr '\\\\0' x; echo; echo end of $1; exit 1",
    );
    let jobs: String = (0..3)
        .map(|n| once(&format!("j{n}"), &format!("./job j{n}")))
        .collect();
    let sendmail = place.script("sendmail", "exec sleep 1000");
    let config = format!(
        "{ALONE}mailproblemsto: ops@example.com\nsendmail: {}\n{jobs}",
        sendmail.display()
    );
    let daemon = place.daemon_with(&config, |command| {
        command.stdout(ours);
    });
    let reader = Late::reads(theirs);
    wait_for("three failures", || {
        let queued = reader.so_far().matches("Mailing report to: ").count();
        (queued == 3).then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    drop(daemon);
    let log = reader.whole();
    for n in 0..3 {
        assert_eq!(log.matches(&format!("\tend of j{n}\n")).count(), 1);
    }
    assert_eq!(accounted(&log).1, 0);
    assert!(log.ends_with(" [-] Main loop terminated.\n"));
}

/// What a reload says is what an operator looks for in the new log, however much the old one has refused.
#[test]
fn a_reload_that_leaves_a_stuck_log_says_all_in_the_new_one() {
    let (_theirs, ours) = crate::common::pipe();
    let place = Place::new();
    let jobs = chatty_jobs(&place);
    let daemon = place.daemon_with(&jobs, |command| {
        command.stdout(ours);
    });
    wait_for_chatty_jobs(&place, &daemon);
    let section = format!("{ALONE}logfile: new\nlogsize: 0\n");
    place.write("conf", &jobs.replacen(ALONE, &section, 1));
    daemon.signal(Signal::SIGHUP);
    wait_for("the new log", || {
        place.read("new").contains("Changed logsize").then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0));
    let log = place.read("new");
    let (there, dropped) = accounted(&log);
    let all = messages(&log);
    let place_of = |start: &str| place_of(&all, start);
    let notice = all
        .iter()
        .position(|message| message.contains("lines were dropped here"));
    assert!(there > 10_000 && dropped > 10_000, "{there} and {dropped}");
    assert!(notice.unwrap() < place_of("Received SIGHUP"));
    assert!(place_of("Received SIGHUP") < place_of("Changed logfile: - -> new"));
    assert!(place_of("Changed logfile") < place_of("Received SIGTERM"));
    assert!(
        log.lines()
            .all(|line| line.starts_with('\t') || has_stamp(line))
    );
}

/// A job that only SIGKILL ends and a sendmail that hangs take eight seconds; a log that would be given three gets what
/// is left of nine. A daemon that gives it more never ends within ten.
fn all_is_over_nine_seconds_after_the_signal_however_slow_the_log() {
    let one_of_three = (0..3).any(|_| {
        let (theirs, ours) = crate::common::pipe();
        let place = Place::new();
        let sendmail = place.script("sendmail", "exec sleep 1000");
        place.script(
            "stays",
            "trap '' TERM; echo >{dir}/begun; while :; do sleep 0.1; done",
        );
        let chatty = chatty_jobs(&place);
        let mails = format!(
            "mailproblemsto: ops@example.com\nsendmail: {}\n",
            sendmail.display()
        );
        let config = chatty.replacen(ALONE, &format!("{ALONE}{mails}"), 1);
        let config = format!("{config}{}{}", once("fails", "false"), once("z", "./stays"));
        let daemon = place.daemon_with(&config, |command| {
            command.stdout(ours);
        });
        read_slowly(theirs);
        place.wait_for_begin();
        let took = time_to_stop(&daemon);
        assert!(took > Duration::from_millis(7900), "{took:?}");
        took < Duration::from_secs(10)
    });
    assert!(one_of_three);
}

/// The run alone takes longer than all is to take; what it has said is more than a pipe holds.
fn a_stop_that_has_taken_its_time_still_lets_the_log_be_read_to_its_end() {
    let (theirs, ours) = crate::common::pipe();
    let place = Place::new();
    place.script(
        "stays",
        "trap '' TERM; seq 20000; echo >{dir}/begun; while :; do sleep 0.1; done",
    );
    let config = format!(
        "{ALONE}{}alwayslog: yes\nkilldelay: 9\n",
        once("a", "./stays")
    );
    let daemon = place.daemon_with(&config, |command| {
        command.stdout(ours);
    });
    let reader = Late::reads(theirs);
    place.wait_for_begin();
    let took = time_to_stop(&daemon);
    assert!(took > Duration::from_millis(8900), "{took:?}");
    drop(daemon);
    let log = reader.whole();
    assert!(log.contains("\t20000\n"));
    assert!(
        log.ends_with(" [-] Main loop terminated.\n"),
        "{:?}",
        log.lines().last()
    );
}

#[test]
fn a_line_that_standard_output_has_in_part_ends_there_when_the_log_comes_back() {
    let place = Place::new();
    let (theirs, ours) = crate::common::pipe();
    place.script(
        "job",
        "seq -f 'a line of a job %.0f' 20000; echo ran >>{dir}/ran",
    );
    let config = |logfile: &str| {
        let chatty = once("a", "./job");
        format!(
            "[buildsequencer]\ncontrolsocket: none\nlogfile: {logfile}\n{chatty}alwayslog: yes\n"
        )
    };
    let daemon = place.daemon_with(&config("-"), |command| {
        command.stdout(OwnedFd::from(ours));
    });
    // More than a pipe holds.
    place.wait_for_lines("ran", 1);
    wait_for("the end of the run", || {
        daemon.children().is_empty().then_some(())
    });
    let reload = |logfile: &str| {
        place.write("conf", &config(logfile));
        daemon.signal(Signal::SIGHUP);
    };
    reload("log");
    wait_for("the rest of the log", || {
        place.read("log").contains("Changed logfile").then_some(())
    });
    reload("-");
    let late = Late::reads(theirs);
    wait_for("the log to come back", || {
        let all = place.read("log") + &late.so_far();
        (all.matches("Changed logfile").count() == 2).then_some(())
    });
    daemon.stop();
    let log = late.whole();
    let is_line = |line: &&str| line.starts_with('\t') || has_stamp(line);
    assert_eq!(log.lines().find(|line| !is_line(line)), None);
    let joined = |line: &&str| {
        line.get(1..)
            .is_some_and(|it| it.contains("+0000 [-] ") && line.starts_with('\t'))
    };
    assert_eq!(log.lines().find(joined), None);
}
