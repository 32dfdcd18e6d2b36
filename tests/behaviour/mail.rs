//! Mail: what sendmail gets, what becomes of a report that it does not take, and that no job waits for it.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::at_once;
use crate::common::{
    ALONE, Daemon, Mail, Place, Signal, Within, is_running, job, once, place_of, tick, wait_for,
    wait_for_file,
};

/// A daemon's section with one recipient.
fn to_ops(sendmail: &str) -> String {
    format!("{ALONE}mailproblemsto: ops@example.com\n{sendmail}\n")
}

/// Waits for some more runs of `tick`.
#[track_caller]
fn wait_for_ticks(daemon: &Daemon<'_>) {
    let end = "Job tick completed with exit code 0\n";
    let before = daemon.log().matches(end).count();
    daemon.wait_for_log_times(end, before + 5);
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    crate::common::stdout(&crate::common::finish(command))
        .trim()
        .to_string()
}

/// The bytes that a quoted-printable text stands for (RFC 2045, 6.7), or the text itself where it says 7bit.
fn decoded(mail: &Mail) -> Vec<u8> {
    let at = mail.bytes.windows(2).position(|w| w == b"\n\n").unwrap() + 2;
    let body = &mail.bytes[at..];
    if mail.header("Content-Transfer-Encoding") == "7bit" {
        return body.to_vec();
    }
    assert_eq!(mail.header("Content-Transfer-Encoding"), "quoted-printable");
    let mut bytes = Vec::new();
    let mut rest = body.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let high = rest.next().unwrap();
        if high != b'\n' {
            let digits = [high, rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
        }
    }
    bytes
}

pub fn mail_that_takes_its_time() {
    at_once!(
        a_sendmail_that_hangs_delays_no_job_and_the_end_by_three_seconds,
        at_the_end_all_reports_reach_a_log_that_is_read,
        within_mailinterval_an_outcome_is_mailed_once_another_at_once_and_then_the_recovery,
        mail_that_is_queued_when_the_stop_comes_still_leaves,
        after_mailinterval_a_repeat_is_mailed_and_says_how_many_were_not
    );
}

#[test]
fn a_sender_that_a_reload_has_changed_is_that_of_header_and_envelope() {
    let place = Place::new();
    let sendmail = place.sendmail("while ! [ -e go ]; do sleep 0.05; done");
    let config = |from: &str| {
        let failing = once("a", "false");
        format!("{ALONE}mailproblemsto: one@x two@x\n{sendmail}\nfromaddress: {from}\n{failing}")
    };
    let daemon = place.daemon(&config("a.long.old.one@example.com"));
    place.wait_for_mails(1);
    place.write("conf", &config("new@example.com"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Changed fromaddress");
    place.let_go();
    let mails = place.wait_for_mails(2);
    for (mail, from, to) in [
        (&mails[0], "a.long.old.one@example.com", "one@x"),
        (&mails[1], "new@example.com", "two@x"),
    ] {
        assert_eq!(mail.arguments, format!("-i -f {from} -- {to}"));
        let header = format!("Launchpad Build Daemon Sequencer <{from}>");
        assert_eq!(mail.header("From"), header);
        assert_eq!(mail.header("To"), to);
    }
    daemon.stop();
}

#[test]
fn a_report_is_as_it_should_be_to_the_byte() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.script(
        "job",
        "echo 'queue: database is locked' >&2; echo 'queue: 2 builds'; exit 3",
    );
    let began = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let daemon = place.daemon(&format!(
        "{}fromaddress: buildd@example.org\n{}",
        to_ops(&sendmail),
        once("queue_builder", "./job 'one two'")
    ));
    let mail = place.wait_for_mails(1).remove(0);
    assert_eq!(
        mail.arguments,
        "-i -f buildd@example.org -- ops@example.com"
    );
    let date = mail.header("Date");
    let id = mail.header("Message-ID");
    let started = mail.header("X-Buildd-Started");
    let took = mail.header("X-Buildd-Duration");
    let host = output_of("uname", &["-n"]);
    let expected = format!(
        "From: Launchpad Build Daemon Sequencer <buildd@example.org>\n\
         To: ops@example.com\n\
         Subject: Job queue_builder exited with code 3\n\
         X-Launchpad: yes\n\
         X-Buildd: yes\n\
         X-Buildd-Host: {host}\n\
         X-Buildd-Job: queue_builder\n\
         X-Buildd-Started: {started}\n\
         X-Buildd-Duration: {took}\n\
         Date: {date}\n\
         Message-ID: {id}\n\
         Auto-Submitted: auto-generated\n\
         Precedence: bulk\n\
         MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 7bit\n\
         \n\
         Job: queue_builder\n\
         Command: ./job 'one two'\n\
         Exit code: 3\n\
         Standard Error:\n\
         \n\
         queue: database is locked\n\
         \n\
         \n\
         Standard Output:\n\
         \n\
         queue: 2 builds\n\
         \n"
    );
    assert_eq!(mail.text(), expected);
    for time in [&date, &started] {
        let seconds: u64 = output_of("date", &["-d", time, "+%s"]).parse().unwrap();
        assert!((began..=began + 60).contains(&seconds), "{time}");
    }
    assert!(
        date.ends_with(" +0000") && started.ends_with('Z'),
        "{date} {started}"
    );
    assert!(took.parse::<f64>().unwrap() < 60.0, "{took}");
    assert!(
        id.starts_with('<') && id.ends_with('>') && id.contains('@'),
        "{id}"
    );
    // What sendmail took is nobody else's business.
    assert!(!daemon.stop().contains("Subject:"));
}

#[test]
fn any_output_arrives_in_a_seven_bit_mail_with_no_byte_changed() {
    let long_line = "x".repeat(1200);
    let cases: [(&str, &[u8], bool); 8] = [
        (
            "plain",
            b"seven bits, 100 = 100, >From here, not From there \t\n.\n..\n",
            false,
        ),
        ("latin", b"caf\xe9\n", true),
        ("utf8", "na\u{ef}ve \u{20ac} \u{1f600}".as_bytes(), true),
        ("half", b"half a character \xe2\x82", true),
        ("nul", b"a\0b", true),
        ("cr", b"progress 1%\rprogress 2%\r\n", true),
        ("from", b"first\nFrom here\n", true),
        ("long", long_line.as_bytes(), true),
    ];
    let place = Place::new();
    let sendmail = place.sendmail("");
    let mut config = to_ops(&sendmail);
    for (name, output, _) in cases {
        std::fs::write(place.path(name), output).unwrap();
        config += &once(name, &format!("sh -c 'cat {name}; cat {name} >&2; exit 1'"));
    }
    let daemon = place.daemon(&config);
    let mails = place.wait_for_mails(cases.len());
    for ((name, output, encoded), mail) in cases.iter().zip(&mails) {
        assert_eq!(mail.header("X-Buildd-Job"), *name);
        let mut expected = format!(
            "Job: {name}\nCommand: sh -c 'cat {name}; cat {name} >&2; exit 1'\nExit code: 1\nStandard Error:\n\n"
        )
        .into_bytes();
        expected.extend_from_slice(output);
        expected.extend_from_slice(b"\n\nStandard Output:\n\n");
        expected.extend_from_slice(output);
        expected.push(b'\n');
        assert_eq!(decoded(mail), expected, "{name}");
        let encoding = mail.header("Content-Transfer-Encoding");
        assert_eq!(
            encoding,
            if *encoded { "quoted-printable" } else { "7bit" },
            "{name}"
        );
        assert!(
            mail.bytes
                .iter()
                .all(|&b| b == b'\n' || b == b'\t' || (32..127).contains(&b)),
            "{name}"
        );
        let longest = mail.body().lines().map(str::len).max();
        assert!(longest <= Some(if *encoded { 76 } else { 998 }), "{name}");
        assert!(!mail.body().contains("\nFrom "), "{name}");
    }
    daemon.stop();
}

#[test]
fn a_line_of_998_bytes_goes_as_it_is() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.script("job", "printf '%0998d\\n' 0; exit 1");
    let _daemon = place.daemon(&format!("{}{}", to_ops(&sendmail), once("a", "./job")));
    let mail = place.wait_for_mails(1).remove(0);
    assert_eq!(mail.header("Content-Transfer-Encoding"), "7bit");
    assert!(mail.body().contains(&format!("\n\n{}\n", "0".repeat(998))));
}

#[test]
fn megabytes_arrive_whole() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.script("job", "seq 1 300000; exit 1");
    let _daemon = place.daemon(&format!(
        "{}{}maxoutput: 3M\n",
        to_ops(&sendmail),
        once("a", "./job")
    ));
    let body = place.wait_for_mails(1).remove(0).body();
    let output = body.split_once("Standard Output:\n\n").unwrap().1;
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(output == expected + "\n", "{} bytes", output.len());
}

#[test]
fn each_recipient_gets_a_mail_of_its_own_from_one_process_at_a_time() {
    let place = Place::new();
    let sendmail = place.sendmail(
        "mkdir {dir}/busy || echo overlap >>{dir}/overlaps\nsleep 0.05\nrmdir {dir}/busy",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: a@example.com - b@example.com\n  c@example.com\n{sendmail}\n{}",
        once("failure", "false")
    ));
    let mails = place.wait_for_mails(3);
    let recipients = ["a@example.com", "b@example.com", "c@example.com"];
    for (mail, to) in mails.iter().zip(recipients) {
        assert_eq!(mail.header("To"), to);
        assert!(
            mail.arguments.ends_with(&format!(" -- {to}")),
            "{}",
            mail.arguments
        );
        let one = mail
            .text()
            .replace(to, "")
            .replace(&mail.header("Message-ID"), "");
        let other = &mails[0];
        let other_text = other.text().replace(recipients[0], "");
        assert_eq!(one, other_text.replace(&other.header("Message-ID"), ""));
    }
    let ids: HashSet<String> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert_eq!(ids.len(), 3, "each message is one of its own: {ids:?}");
    let log = daemon.stop();
    assert_eq!(place.read("overlaps"), "");
    assert_eq!(log.matches("\tTo: -\n").count(), 1, "{log}");
    assert_eq!(log.matches("Subject:").count(), 1, "{log}");
    let messages = crate::common::messages(&log);
    let mailing = recipients.map(|to| place_of(&messages, &format!("Mailing report to: {to}")));
    let ended = place_of(&messages, "Job failure completed");
    let next = place_of(&messages[ended..], "Scheduling failure") + ended;
    assert!(
        mailing.is_sorted() && mailing.iter().all(|at| (ended..next).contains(at)),
        "{log}"
    );
}

#[test]
fn a_jobs_own_recipients_win_empty_is_the_log_and_none_is_the_daemons() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    let daemon = place.daemon(&format!(
        "{}{}mailproblemsto: one@example.com two@example.com\n{}mailproblemsto:\n{}mailproblemsto: none\n{}mailproblemsto: -\n{}",
        to_ops(&sendmail),
        once("own", "false"),
        once("silent", "false"),
        once("as_ever", "false"),
        once("dash", "false"),
        once("plain", "false"),
    ));
    let mails = place.wait_for_mails(4);
    let sent: Vec<(String, String)> = mails
        .iter()
        .map(|mail| (mail.header("X-Buildd-Job"), mail.header("To")))
        .collect();
    let expected = [
        ("own", "one@example.com"),
        ("own", "two@example.com"),
        ("as_ever", "ops@example.com"),
        ("plain", "ops@example.com"),
    ];
    assert_eq!(
        sent,
        expected.map(|(job, to)| (job.to_string(), to.to_string()))
    );
    let log = daemon.stop();
    for name in ["silent", "dash"] {
        assert!(
            log.contains(&format!(
                "\tTo: -\n\tSubject: Job {name} exited with code 1\n"
            )),
            "{log}"
        );
    }
    assert_eq!(log.matches("\tTo: -\n").count(), 2, "{log}");
}

#[test]
fn reports_leave_in_the_order_of_the_failures() {
    let place = Place::new();
    let sendmail = place.sendmail("sleep 0.05");
    let jobs: String = (1..=8).map(|n| once(&format!("j{n}"), "false")).collect();
    let _daemon = place.daemon(&format!("{}{jobs}", to_ops(&sendmail)));
    let mails = place.wait_for_mails(8);
    let order: Vec<String> = mails
        .iter()
        .map(|mail| mail.header("X-Buildd-Job"))
        .collect();
    assert_eq!(order, (1..=8).map(|n| format!("j{n}")).collect::<Vec<_>>());
}

/// The report of the job `failure`, whole, as it stands in the log when mail did not carry it.
const IN_LOG: &str = "\tTo: ops@example.com\n\tSubject: Job failure exited with code 3\n";

fn failure() -> String {
    once(
        "failure",
        "sh -c 'echo the output; echo the errors >&2; exit 3'",
    )
}

/// Checks that the report is in the log, once, from its first header to its last line.
#[track_caller]
fn assert_reported_once(log: &str) {
    assert_eq!(log.matches(IN_LOG).count(), 1, "{log}");
    assert_eq!(log.matches("From: Launchpad").count(), 1, "{log}");
    let body = "\tExit code: 3\n\tStandard Error:\n\t\n\tthe errors\n\t\n\t\n\tStandard Output:\n\t\n\tthe output\n\t\n";
    assert!(log.contains(body), "{log}");
}

#[test]
fn a_sendmail_that_cannot_be_started_sends_the_report_to_the_log_at_once_and_once() {
    let place = Place::new();
    place.write("plain", "");
    for (sendmail, why) in [
        ("./missing -i", "No such file or directory"),
        ("./plain -i", "Permission denied"),
    ] {
        std::fs::write(place.path("log"), "").unwrap();
        let sendmail = format!("sendmail: {sendmail}");
        let daemon = place.daemon(&format!("{}{}", to_ops(&sendmail), failure()));
        daemon.wait_for_log(&format!(
            "Mail to ops@example.com failed: sendmail could not be started: {why}, next try in 30 seconds\n"
        ));
        daemon.wait_for_log(IN_LOG);
        let log = daemon.stop();
        assert_reported_once(&log);
        // The name of the key is before the program.
        let hint = format!(
            "sendmail is '{}' here; set it to a program that sends mail",
            &sendmail[10..]
        );
        assert_eq!(log.matches(&hint).count(), 1, "{log}");
    }
}

#[test]
fn a_passing_fault_is_tried_again_and_at_the_end_the_report_goes_to_the_log_once() {
    let place = Place::new();
    let sendmail = place.sendmail("echo mail system; echo is down >&2; exit 75");
    let daemon = place.daemon(&format!("{}{}{}", to_ops(&sendmail), failure(), tick()));
    daemon.wait_for_log(
        "Mail to ops@example.com failed: sendmail exited with 75: mail system is down, next try in 30 seconds\n",
    );
    wait_for_ticks(&daemon);
    assert!(!daemon.log().contains(IN_LOG), "{}", daemon.log());
    let log = daemon.stop();
    assert_reported_once(&log);
    // The end is a try as well, with the same message.
    let mails = place.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].bytes, mails[1].bytes);
    assert!(log.ends_with("Main loop terminated.\n"), "{log}");
}

#[test]
fn a_lasting_fault_sends_the_report_to_the_log_at_once_and_once() {
    for status in [64, 65, 66, 67, 68, 77, 78] {
        let place = Place::new();
        let sendmail = place.sendmail(&format!("exit {status}"));
        let daemon = place.daemon(&format!("{}{}", to_ops(&sendmail), failure()));
        daemon.wait_for_log(&format!(
            "Mail to ops@example.com failed: sendmail exited with {status}, next try in 30 seconds\n"
        ));
        daemon.wait_for_log(IN_LOG);
        assert_reported_once(&daemon.stop());
    }
}

#[test]
fn a_report_in_the_log_is_not_logged_again_when_the_last_try_hangs() {
    let place = Place::new();
    let sendmail = place.sendmail("test $n = 0 && exit 64; echo >{dir}/hangs; exec sleep 60");
    let daemon = place.daemon(&format!("{}{}", to_ops(&sendmail), failure()));
    daemon.wait_for_log(IN_LOG);
    daemon.signal(Signal::SIGTERM);
    wait_for_file(&place.path("hangs"));
    // The second one ends what hangs.
    assert_reported_once(&daemon.stop());
}

#[test]
fn a_sendmail_that_a_signal_kills_has_failed() {
    let place = Place::new();
    let sendmail = place.sendmail("kill -SEGV $$");
    let daemon = place.daemon_after(
        "ulimit -c 0",
        &format!("{}{}", to_ops(&sendmail), failure()),
        |_| {},
    );
    daemon.wait_for_log(
        "Mail to ops@example.com failed: sendmail was killed by SIGSEGV, next try in 30 seconds\n",
    );
    assert_reported_once(&daemon.stop());
}

#[test]
fn a_sendmail_that_reads_nothing_is_judged_by_its_exit_status_alone() {
    let long = once("long", "sh -c 'printf %0300000d 0; exit 3'");
    let place = Place::new();
    place.script("sendmail", "exec <&-; echo read >>{dir}/done; exit 0");
    let daemon = place.daemon(&format!(
        "{}{long}{}",
        to_ops("sendmail: ./sendmail"),
        failure()
    ));
    place.wait_for_lines("done", 2);
    let log = daemon.stop();
    assert!(
        !log.contains("Mail to") && !log.contains("Subject"),
        "{log}"
    );

    let place = Place::new();
    place.script("sendmail", "exec <&-; exit 1");
    let daemon = place.daemon(&format!("{}{long}", to_ops("sendmail: ./sendmail")));
    daemon.wait_for_log(
        "Mail to ops@example.com failed: sendmail exited with 1, next try in 30 seconds\n",
    );
    daemon.stop();
}

#[test]
fn of_what_sendmail_says_a_thousand_bytes_are_logged_and_only_when_it_failed() {
    let place = Place::new();
    let sendmail = place.sendmail(
        "yes abcdefghi | head -c 1000000; yes jklmnopqr | head -c 1000000 >&2; test $to = fine@example.com",
    );
    let daemon = place.daemon(&format!(
        "{}{}mailproblemsto: fine@example.com\n{}",
        to_ops(&sendmail),
        once("first", "false"),
        failure()
    ));
    let log = daemon.wait_for_log("next try in");
    let line = log
        .lines()
        .find(|line| line.contains("Mail to ops"))
        .unwrap();
    let said = line.split_once("exited with 1: ").unwrap().1;
    let said = said.strip_suffix(", next try in 30 seconds").unwrap();
    assert_eq!(said, "abcdefghi ".repeat(100).trim_end());
    let log = daemon.stop();
    assert_eq!(
        log.matches("abcdefghi").count(),
        2 * 100,
        "one try, and one at the end"
    );
}

#[test]
fn what_sendmail_says_cannot_break_a_line_of_the_log() {
    let place = Place::new();
    let sendmail =
        place.sendmail("printf 'a\\n2026-11-23T23:36:37+0000 [-] fake\\r\\n\\033[2J\\351'; exit 1");
    let daemon = place.daemon(&format!("{}{}", to_ops(&sendmail), failure()));
    daemon.wait_for_log(
        "exited with 1: a 2026-11-23T23:36:37+0000 [-] fake \\u{1b}[2J\u{fffd}, next try in 30 seconds\n",
    );
}

/// It writes faster than anybody reads, and for ever.
#[test]
fn a_sendmail_that_never_stops_talking_delays_no_job_and_no_stop() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{}{}{}",
        to_ops("sendmail: yes"),
        failure(),
        tick()
    ));
    daemon.wait_for_log("Mailing report to");
    wait_for_ticks(&daemon);
    // Three seconds are what a stop gives to mail.
    let mut in_time = Within::seconds(20.0);
    assert_reported_once(&daemon.stop());
    in_time.is_kept();
}

fn a_sendmail_that_hangs_delays_no_job_and_the_end_by_three_seconds() {
    let place = Place::new();
    // It reads nothing, and what it has started holds its pipes.
    place.script("sendmail", "sleep 60 & echo $! >{dir}/pid; wait");
    let long = once("long", "sh -c 'printf %0300000d 0; exit 3'");
    let daemon = place.daemon(&format!(
        "{}{}{long}{}",
        to_ops("sendmail: ./sendmail"),
        failure(),
        tick()
    ));
    place.wait_for_lines("pid", 1);
    daemon.wait_for_log_times("Mailing report to", 2);
    wait_for_ticks(&daemon);
    let mut in_time = Within::seconds(20.0);
    let told = Instant::now();
    let log = daemon.stop();
    in_time.is_kept();
    assert!(
        told.elapsed() >= Duration::from_secs(3),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(log.matches(IN_LOG).count(), 1, "{log}");
    assert_eq!(
        log.matches("\tSubject: Job long exited with code 3\n")
            .count(),
        1
    );
    let pid = place.read("pid").trim().parse().unwrap();
    wait_for("the end of all that sendmail started", || {
        (!is_running(pid)).then_some(())
    });
}

#[test]
fn what_sendmail_leaves_in_the_background_holds_nothing_up() {
    let place = Place::new();
    let sendmail = place.sendmail("sleep 60 & echo $! >>{dir}/pids");
    let daemon = place.daemon(&format!(
        "{}{}{}",
        to_ops(&sendmail),
        failure(),
        once("b", "false")
    ));
    place.wait_for_mails(2);
    // Three seconds would be a delivery that is taken for one under way.
    let mut at_once = Within::seconds(2.5);
    assert!(!daemon.stop().contains("Subject"));
    at_once.is_kept();
    for pid in place.lines("pids") {
        let pid = crate::common::Pid::from_raw(pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
    }
}

fn mail_that_is_queued_when_the_stop_comes_still_leaves() {
    let place = Place::new();
    let sendmail = place.sendmail("until test -e {dir}/go; do sleep 0.02; done");
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: a@example.com b@example.com c@example.com\n{sendmail}\n{}",
        failure()
    ));
    daemon.wait_for_log("Mailing report to: c@example.com");
    place.wait_for_mails(1);
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log("Received SIGTERM");
    place.let_go();
    assert_eq!(daemon.wait().code(), Some(0));
    let log = daemon.log();
    assert_eq!(place.mails().len(), 3);
    assert!(!log.contains("Subject"), "{log}");
}

/// 256 messages may wait, the one under way included. What that pushes out is the oldest that is not under way.
#[test]
fn what_a_full_queue_pushes_out_goes_to_the_log_whole_and_once() {
    let place = Place::new();
    place.script("hanging", "exec sleep 60");
    let jobs: String = (1..=260).map(|n| once(&format!("j{n}"), "false")).collect();
    let daemon = place.daemon(&format!("{}{jobs}", to_ops("sendmail: ./hanging")));
    daemon.wait_for_log("Scheduling j1 for 3.6e+03");
    let reported = |log: &str| -> Vec<String> {
        let subjects = log
            .lines()
            .filter_map(|line| line.strip_prefix("\tSubject: Job "));
        subjects
            .map(|rest| rest.split(' ').next().unwrap().to_string())
            .collect()
    };
    assert_eq!(reported(&daemon.log()), ["j2", "j3", "j4", "j5"]);
    // The second one stops at once; then all the others are there as well.
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log("Received SIGTERM, shutting down.");
    let mut all = reported(&daemon.stop());
    assert_eq!(all.len(), 260);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 260);
}

/// A job that exits with what the file `mode` says, again and again.
fn moody(place: &Place, settings: &str) -> String {
    place.write("mode", "3");
    place.script("job", "exit $(cat {dir}/mode)");
    job(
        "a",
        &format!("command: ./job\nmindelay: 0.05\nstartdelay: 0\n{settings}"),
    )
}

#[track_caller]
fn wait_for_more(daemon: &Daemon<'_>, text: &str, count: usize) {
    let before = daemon.log().matches(text).count();
    daemon.wait_for_log_times(text, before + count);
}

#[test]
fn without_mailinterval_every_failure_is_mailed_and_no_recovery() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    let daemon = place.daemon(&format!("{}{}", to_ops(&sendmail), moody(&place, "")));
    place.wait_for_mails(3);
    place.write("mode", "0");
    wait_for_more(&daemon, "exit code 0\n", 2);
    // A slow machine is behind with them; a stop would not wait for all.
    place.wait_for_mails(daemon.log().matches("exit code 3\n").count());
    let log = daemon.stop();
    let failures = log.matches("exit code 3\n").count();
    let mails = place.mails();
    assert_eq!(mails.len(), failures);
    for mail in mails {
        assert_eq!(mail.header("Subject"), "Job a exited with code 3");
        assert!(!mail.body().contains("in a row"));
    }
}

fn within_mailinterval_an_outcome_is_mailed_once_another_at_once_and_then_the_recovery() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    let daemon = place.daemon(&format!(
        "{}mailinterval: 1h\n{}",
        to_ops(&sendmail),
        moody(&place, "")
    ));
    wait_for_more(&daemon, "completed with exit code 3\n", 4);
    place.write("mode", "4");
    wait_for_more(&daemon, "completed with exit code 4\n", 4);
    place.write("mode", "0");
    wait_for_more(&daemon, "completed with exit code 0\n", 3);
    // The notice has cleared what was mailed.
    place.write("mode", "3");
    wait_for_more(&daemon, "completed with exit code 3\n", 3);
    place.wait_for_mails(4);
    let log = daemon.stop();
    let row = log.split("code 0\n").next().unwrap();
    let row = row.matches("exit code 3\n").count() + row.matches("exit code 4\n").count();
    let mails = place.mails();
    let subjects: Vec<String> = mails.iter().map(|mail| mail.header("Subject")).collect();
    assert_eq!(
        subjects,
        [
            "Job a exited with code 3".to_string(),
            "Job a exited with code 4".to_string(),
            format!("Job a recovered after {row} failures"),
            "Job a exited with code 3".to_string(),
        ]
    );
    assert!(
        mails
            .iter()
            .all(|mail| mail.header("To") == "ops@example.com")
    );
}

fn after_mailinterval_a_repeat_is_mailed_and_says_how_many_were_not() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    let daemon = place.daemon(&format!(
        "{}{}",
        to_ops(&sendmail),
        moody(&place, "mailinterval: 0.4")
    ));
    let mail = place.wait_for_mails(2).remove(1);
    assert_eq!(mail.header("Subject"), "Job a exited with code 3");
    let body = mail.body();
    let line = body
        .lines()
        .find(|line| line.starts_with("Exit code: "))
        .unwrap();
    let said = line
        .strip_prefix("Exit code: 3 (")
        .unwrap()
        .strip_suffix(" not mailed)")
        .unwrap();
    let (failures, rest) = said.split_once(" failures in a row since ").unwrap();
    let (since, not_mailed) = rest.split_once(", ").unwrap();
    let failures: usize = failures.parse().unwrap();
    let log = daemon.stop();
    let before_the_mail = log.split("Mailing report").nth(1).unwrap();
    let logged = 1 + before_the_mail
        .matches("completed with exit code 3\n")
        .count();
    assert_eq!(failures, logged, "{log}");
    // All but the first, which was mailed, and this one.
    assert_eq!(not_mailed.parse(), Ok(failures - 2));
    // The first run failed as it ended, perhaps not in the second in which it began.
    let [first, this] = [0, 1].map(|n| place.mails()[n].header("X-Buildd-Started"));
    assert!(
        first.as_str() <= since && since <= this.as_str(),
        "{first} {since} {this}"
    );
}

#[test]
fn a_run_that_takes_too_long_is_mailed_as_well_as_logged() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.gated("gated", "");
    let daemon = place.daemon(&format!(
        "{}{}stuckafter: 0.1\n{}",
        to_ops(&sendmail),
        once("slow", "./gated"),
        once("waits", "true"),
    ));
    let mail = place.wait_for_mails(1).remove(0);
    assert_eq!(
        mail.header("Subject"),
        "Job slow still running after 0.1 seconds"
    );
    let body = mail.body();
    assert!(body.starts_with("Job: slow\nCommand: ./gated\n"), "{body}");
    assert!(body.contains("1 job waits, waits longest ("), "{body}");
    place.let_go();
    daemon.wait_for_log("Job slow completed with exit code 0");
}

#[test]
fn sendmail_may_be_any_command_with_arguments() {
    let place = Place::new();
    place.script(
        "send mail",
        "printf '%s|' \"$0\" \"$@\" >{dir}/words; cat >{dir}/message",
    );
    let daemon = place.daemon(&format!(
        "{}{}",
        to_ops("sendmail: './send mail' -i \"-o em\" 100%"),
        failure()
    ));
    wait_for("the message", || {
        place
            .read("message")
            .ends_with("the output\n\n")
            .then_some(())
    });
    assert_eq!(
        place.read("words"),
        "./send mail|-i|-o em|100%|-f|launchpad@lists.canonical.com|--|ops@example.com|"
    );
    daemon.stop();
}

/// A log that is read is waited for at the end, however much there is to say.
fn at_the_end_all_reports_reach_a_log_that_is_read() {
    const JOBS: usize = 10;
    let place = Place::new();
    let sendmail = place.sendmail("exec sleep 60");
    let large = "sh -c 'head -c 170000 /dev/zero | tr \"\\0\" x; exit 1'";
    let jobs: String = (0..JOBS).map(|n| once(&format!("j{n}"), large)).collect();
    let (mut theirs, ours) = crate::common::pipe();
    let daemon = place.daemon_with(&format!("{}{jobs}", to_ops(&sendmail)), |command| {
        command.stdout(ours);
    });
    let pid = daemon.pid();
    let reader = std::thread::spawn(move || {
        let mut log = String::new();
        let mut told = false;
        let (mut seen, mut failures) = (0, 0);
        let mut buffer = [0; 4096];
        // The last failure is seen in the log itself, which nobody else can read.
        while let Ok(n @ 1..) = std::io::Read::read(&mut theirs, &mut buffer) {
            log.push_str(&String::from_utf8_lossy(&buffer[..n]));
            // Each 4 KiB are not to cost a look at all that was there before.
            let since = log[seen..].rfind('\n').map_or(seen, |end| seen + end + 1);
            failures += log[seen..since]
                .matches("completed with exit code 1\n")
                .count();
            seen = since;
            if !told && failures == JOBS {
                told = true;
                nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
            }
        }
        log
    });
    assert_eq!(daemon.wait().code(), Some(0));
    let log = reader.join().unwrap();
    assert_eq!(log.matches("\tSubject: Job j").count(), JOBS);
    assert!(!log.contains("were dropped"));
    assert!(log.ends_with("Main loop terminated.\n"));
}

/// One that waits for its next try at the beginning of a drain has it then; so has one whose try is under way.
#[test]
fn in_a_drain_what_was_under_way_is_tried_once_more() {
    let place = Place::new();
    let gate = "until test -e {dir}/go; do sleep 0.02; done";
    let sendmail = place.sendmail(&format!("test $n = 0 || exit 0\n{gate}\nexit 75"));
    let daemon = place.daemon(&format!("{}{}", to_ops(&sendmail), failure()));
    place.wait_for_mails(1);
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_for_log("Received SIGQUIT");
    place.let_go();
    assert_eq!(daemon.wait().code(), Some(0));
    let log = daemon.log();
    assert!(
        log.contains("sendmail exited with 75, next try in 0 seconds\n"),
        "{log}"
    );
    assert!(!log.contains("Subject"), "{log}");
    assert_eq!(place.mails().len(), 2);
}

/// Without descriptors no sendmail can be started, and no child's end would bring another turn of the loop.
#[test]
fn a_drain_ends_although_the_last_mail_could_not_even_be_started() {
    let place = Place::new();
    let config = format!("{}{}", to_ops(&place.sendmail("")), once("a", "false"));
    let probe = place.daemon(&format!(
        "{ALONE}{}",
        job("a", "command: true\nmindelay: 60")
    ));
    probe.wait_for_log("Scheduling");
    let open = probe.descriptor_numbers();
    let limit = (0..).filter(|number| !open.contains(number)).nth(2);
    probe.stop();

    let place = Place::new();
    let limit = format!("ulimit -n {}", limit.unwrap());
    let daemon = place.daemon_after(&limit, &config, |_| {});
    daemon
        .wait_for_log("sendmail could not be started: Too many open files, next try in 30 seconds");
    let log = daemon.stop_with(Signal::SIGQUIT);
    assert_eq!(
        log.matches("\tSubject: Job a exited with code 126").count(),
        1,
        "{log}"
    );
    assert!(
        log.contains("giving up, the report was logged before"),
        "{log}"
    );
}
