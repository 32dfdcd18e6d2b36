#![allow(clippy::unwrap_used, reason = "a test may")]
use super::super::made::{Made, s};
use super::*;
use crate::job::outcome::Cause;
use crate::mail::queue::Failure;
use crate::status::Doing;

/// The table without its first line, which is checked here, and without the lines about all jobs, which have a test of
/// their own.
fn rest(made: &Made, at: Duration, first: &str) -> String {
    let text = table(&made.view(at), false);
    let (line, rest) = text.split_once('\n').unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let start = format!("buildd-sequencer {version} on build1: pid 4711, ");
    assert_eq!(line.strip_prefix(&start), Some(first));
    let about_all = |line: &&str| line.starts_with("JOBS ") || line.starts_with("BUSY ");
    let lines = rest.split_inclusive('\n');
    lines.filter(|line| !about_all(line)).collect()
}

#[test]
fn three_jobs_before_and_after_their_runs() {
    let mut made = Made::three();
    assert_eq!(
        rest(&made, s(1), "up 1s, read /etc/a\\n.conf 1s ago"),
        "
JOB            STATE       DUE  ENDED  TOOK  LAST  RUNS  FAILED
slave_scanner  waiting      4s      -     -  -        0       0
queue_builder  waiting  14m59s      -     -  -        0       0
cleanup        waiting  59m59s      -     -  -        0       0
"
    );
    for n in 1..=12 {
        made.runs(0, s(10 * n), s(10 * n + 2), 3);
    }
    made.runs(1, s(900), s(965), 0);
    made.runs(0, s(966), s(967), 0);
    made.runs(1, s(1900), s(1901), 1);
    assert_eq!(
        rest(&made, s(1902), "up 31m42s, read /etc/a\\n.conf 31m42s ago"),
        "
JOB            STATE       DUE   ENDED  TOOK  LAST    RUNS  FAILED
slave_scanner  waiting      0s  15m35s  1.0s  ok        13      12
queue_builder  waiting  14m59s      1s  1.0s  exit 1     2       1
cleanup        waiting  28m18s       -     -  -          0       0
"
    );
}

#[test]
fn failures_in_a_row_are_counted() {
    let mut made = Made::three();
    for n in 1..=12 {
        made.runs(0, s(10 * n), s(10 * n + 2), 3);
    }
    let text = table(&made.view(s(123)), false);
    let line = text.lines().find(|l| l.starts_with("slave")).unwrap();
    assert_eq!(
        line,
        "slave_scanner  waiting      4s     1s  2.0s  exit 3 x12    12      12"
    );
}

#[test]
fn a_hung_job_is_on_top_and_those_behind_it_say_so() {
    let mut made = Made::three();
    made.runs(0, s(5), s(6), 0);
    made.begins(1, s(900));
    assert_eq!(
        rest(&made, s(1000), "up 16m40s, read /etc/a\\n.conf 16m40s ago"),
        "\
RUNNING queue_builder, pid 20417, for 1m40s
WAITING 1 job, slave_scanner longest (16m29s)

JOB            STATE                          DUE   ENDED  TOOK  LAST  RUNS  FAILED
queue_builder  running                          -       -     -  -        0       0
slave_scanner  late behind queue_builder  -16m29s  16m34s  1.0s  ok       1       0
cleanup        waiting                     43m20s       -     -  -        0       0
"
    );
    made.set(1, |settings| settings.timeout = s(7200));
    made.requests(2, s(1000));
    assert_eq!(
        rest(&made, s(5000), "up 1h23m, read /etc/a\\n.conf 1h23m ago"),
        "\
RUNNING queue_builder, pid 20417, for 1h08m: STUCK (over 1h00m, no timeout set)
WAITING 2 jobs, slave_scanner longest (1h23m)

JOB            STATE                          DUE  ENDED  TOOK  LAST  RUNS  FAILED
queue_builder  STUCK                            -      -     -  -        0       0
cleanup        next behind queue_builder  -23m20s      -     -  -        0       0
slave_scanner  late behind queue_builder   -1h23m  1h23m  1.0s  ok       1       0
"
    );
}

#[test]
fn a_timeout_is_told_with_the_run_that_has_it() {
    let mut made = Made::three();
    made.set(0, |settings| settings.timeout = s(7200));
    made.begins(0, s(5));
    let text = table(&made.view(s(3700)), false);
    assert!(
        text.contains("for 1h01m: STUCK (over 1h00m, timeout 2h00m)\n"),
        "{text}"
    );
}

#[test]
fn mail_has_a_line_only_where_there_is_any() {
    let mut made = Made::three();
    made.mails(s(10), None);
    let text = rest(&made, s(11), "up 11s, read /etc/a\\n.conf 11s ago");
    assert!(text.starts_with("MAIL    1 queued\n\nJOB"), "{text}");
    let mut made = Made::three();
    let failure = Failure::Exited(75, "try\nlater".to_string());
    made.mails(s(10), Some(failure));
    made.mails(s(11), None);
    let text = rest(&made, s(71), "up 1m11s, read /etc/a\\n.conf 1m11s ago");
    let line = "MAIL    2 queued; last error 1m01s ago: sendmail exited with 75: try later\n\n";
    assert!(text.starts_with(line), "{text}");
    // One after another is given up.
    while let Some(due) = made.queue.next_due() {
        made.queue.start(due).unwrap();
        let failure = Failure::Exited(64, String::new());
        made.queue.finished(Err(failure), due);
    }
    let at = made.queue.last_given_up().unwrap() - made.t0 + s(4);
    let text = table(&made.view(at), false);
    assert!(
        text.contains("\nMAIL    0 queued; given up 4s ago"),
        "{text}"
    );
}

#[test]
fn paused_jobs_are_last_with_who_holds_them_and_since_when() {
    let mut made = Made::three();
    made.pauses(0, s(60), 1000);
    assert_eq!(
        rest(&made, s(3725), "up 1h02m, read /etc/a\\n.conf 1h02m ago"),
        "
JOB            STATE                     DUE  ENDED  TOOK  LAST  RUNS  FAILED
queue_builder  waiting                    0s      -     -  -        0       0
cleanup        waiting                    0s      -     -  -        0       0
slave_scanner  paused 1h01m by uid 1000    -      -     -  -        0       0
"
    );
}

#[test]
fn a_paused_job_that_runs_all_the_same_is_shown_as_both() {
    let mut made = Made::three();
    made.pauses(0, s(5), 1000);
    made.begins(0, s(10));
    let text = table(&made.view(s(20)), false);
    assert!(text.contains("\nJOBS 3: 1 paused\n"), "{text}");
    let row = text.lines().find(|line| line.starts_with("slave_scanner "));
    let words: Vec<&str> = row.unwrap().split_whitespace().take(3).collect();
    assert_eq!(words, ["slave_scanner", "running,", "paused"], "{text}");
    // So does one that comes next.
    made.pauses(1, s(20), 1000);
    made.requests(1, s(20));
    let text = table(&made.view(s(21)), false);
    assert!(text.contains(" next, paused "), "{text}");
}

#[test]
fn a_daemon_that_ends_says_so() {
    let mut made = Made::three();
    for (doing, end) in [
        (Doing::Draining, ", draining"),
        (Doing::Stopping, ", stopping"),
    ] {
        made.doing = doing;
        let first = format!("up 1s, read /etc/a\\n.conf 1s ago{end}");
        rest(&made, s(1), &first);
    }
}

#[test]
fn a_run_of_a_job_that_was_removed_is_still_shown() {
    let mut made = Made::three();
    made.begins(0, s(5));
    made.removes_running();
    let text = table(&made.view(s(1000)), false);
    assert!(
        text.contains("\nRUNNING slave_scanner, pid 20417, for 16m35s\n"),
        "{text}"
    );
    assert!(
        text.contains("\nqueue_builder  late behind slave_scanner"),
        "{text}"
    );
    assert!(!text.contains("\nslave_scanner"), "{text}");
}

#[test]
fn a_clock_that_was_stepped_back_shows_nothing_absurd() {
    let mut made = Made::three();
    made.runs(0, s(5), s(6), 0);
    made.pauses(1, s(10), 0);
    let mut view = made.view(s(20));
    view.now.wall -= s(86_400);
    let text = table(&view, false);
    assert!(text.contains("read /etc/a\\n.conf 20s ago"), "{text}");
    assert!(text.contains("paused 0s by uid 0"), "{text}");
    assert!(text.contains("14s  1.0s  ok"), "by the other clock: {text}");
}

#[test]
fn columns_stay_columns_with_names_of_any_length() {
    let long = "x".repeat(200);
    let mut made = Made::new(&[("a", 1), (&long, 2)]);
    made.runs(0, s(1), s(100), 1);
    let text = table(&made.view(s(101)), false);
    let lines: Vec<&str> = text.split_once("\n\n").unwrap().1.lines().collect();
    let ends: Vec<usize> = lines.iter().map(|line| line.len()).collect();
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    assert!(lines.iter().all(|line| !line.ends_with(' ')));
}

#[test]
fn a_run_that_was_killed_names_the_signal() {
    let mut made = Made::three();
    made.begins(0, s(5));
    made.ends(s(6), 137, Cause::Killed(9));
    assert!(table(&made.view(s(7)), false).contains("  1.0s  SIGKILL  "));
}

#[test]
fn what_is_to_be_said_of_all_jobs_stands_above_the_table() {
    let mut made = Made::three();
    let above = |made: &Made, at: Duration| {
        let text = table(&made.view(at), false);
        let (above, _) = text.split_once("\n\n").unwrap();
        let lines = above.lines().skip(1);
        lines.map(str::to_string).collect::<Vec<_>>()
    };
    assert!(above(&made, s(1)).is_empty(), "nothing to say");
    made.runs(0, s(5), s(35), 3);
    made.runs(1, s(40), s(50), 0);
    assert_eq!(
        above(&made, s(100)),
        [
            "JOBS 3: 1 failing",
            "BUSY 40% of the last 1m40s: slave_scanner 30%, queue_builder 10%"
        ]
    );
    made.pauses(2, s(100), 0);
    made.begins(1, s(5_000));
    made.counters.last_reload = Some((false, made.at(s(6_808))));
    made.counters.faults = vec!["/a.conf:3: x\n".into(), "/a.conf:4: y".into()];
    made.counters.fault_count = 2;
    assert_eq!(
        above(&made, s(7_000))[2..],
        [
            "JOBS 3: 1 failing, 1 paused, 1 late",
            "BUSY 56% of the last hour: queue_builder 56%",
            "RELOAD refused 3m12s ago: /a.conf:3: x\\n (and 1 more)"
        ]
    );
    made.counters.last_reload = Some((true, made.at(s(6_900))));
    assert!(!above(&made, s(7_000)).concat().contains("RELOAD"));
}

#[test]
fn what_others_say_is_folded_to_the_width_of_a_terminal() {
    let mut made = Made::three();
    let failure = Failure::NotStarted("No such file or directory".to_string());
    made.mails(s(10), Some(failure));
    made.counters.last_reload = Some((false, made.at(s(10))));
    let fault = "unknown key 'logfil' in [buildsequencer] (did you mean 'logfile'?)";
    made.counters.faults = vec![format!("/etc/buildd.conf:3: {fault}")];
    made.counters.fault_count = 1;
    let lines = [
        "MAIL    1 queued; last error 1s ago: sendmail could not be started: No such file",
        "    or directory",
        "RELOAD refused 1s ago: /etc/buildd.conf:3: unknown key 'logfil' in",
        "    [buildsequencer] (did you mean 'logfile'?)",
    ];
    let above = |made: &Made| {
        let text = super::above(&made.view(s(11)), Reader::Operator);
        let lines = text.lines().skip(1);
        lines.map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(above(&made), lines);
    // A place is not torn, however long it is.
    let place = format!("/{}/c:3:", "x".repeat(90));
    made.counters.faults = vec![format!("{place} missing")];
    let first = format!("RELOAD refused 1s ago: {place}");
    assert_eq!(above(&made)[2..], [&*first, "    missing"]);
}

#[test]
fn the_busiest_with_long_names_stay_within_the_width_of_a_terminal() {
    let names: Vec<String> = (1..=5).map(|n| format!("{}_{n}", "x".repeat(23))).collect();
    let jobs: Vec<(&str, u64)> = names.iter().map(|name| (&**name, 900)).collect();
    let mut made = Made::new(&jobs);
    for job in 0..5 {
        let from = s(900 + 100 * job);
        made.runs(
            usize::try_from(job).unwrap(),
            from,
            from + s(90 - job * 10),
            0,
        );
    }
    let text = table(&made.view(s(1800)), false);
    let busy = text.split_once("BUSY ").unwrap().1;
    let busy = busy.split_once("\n\n").unwrap().0;
    let x = "x".repeat(23);
    assert_eq!(
        busy,
        format!(
            "19% of the last 30m00s: {x}_1 5%,\n     {x}_2 4%, {x}_3 4%,\n     {x}_4 3%, {x}_5 3%"
        )
    );
    for line in text.lines().skip(1) {
        assert!(line.len() <= 80, "{line}");
    }
}

#[test]
fn only_what_fails_if_that_is_asked() {
    let mut made = Made::three();
    let failing = |made: &Made, at: Duration| {
        let text = table(&made.view(at), true);
        text.split_once("\n\n").unwrap().1.to_string()
    };
    assert_eq!(failing(&made, s(1)), "no job is failing\n");
    made.runs(0, s(5), s(6), 3);
    made.runs(1, s(900), s(901), 0);
    let text = failing(&made, s(1000));
    let names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names, ["JOB", "slave_scanner"]);
    made.runs(0, s(1001), s(1002), 0);
    assert_eq!(failing(&made, s(1003)), "no job is failing\n");
}
