//! One job as text and as JSON, of made-up state.

use super::*;
use crate::status::made::{Made, s};
use serde_json::{Value, json as value};
use std::time::Duration;

fn text(made: &Made, at: Duration, name: &str) -> String {
    job(&made.view(at), name, false)
}

fn parsed(made: &Made, at: Duration, name: &str) -> Value {
    serde_json::from_str(&job(&made.view(at), name, true)).unwrap()
}

const SETTINGS: &str = "\
[buildsequencer_job.slave_scanner]
command: true
mindelay: 5
alwayslog: false
timeout: 0
killdelay: 5
stuckafter: 3600
startdelay: 5
mailproblemsto: -
mailinterval: 0
maxdelay: 0
maxoutput: 1048576
livelog: false
";

#[test]
fn of_a_job_that_never_ran_its_settings_are_told() {
    let made = Made::three();
    let expected = format!(
        "JOB slave_scanner: waiting\nDUE in 4s\nRUNS 0: 0 failed\n\n{SETTINGS}\n\
         LAST RUNS\nno run is known\n\nLAST FAILURES\nno failed run is known\n"
    );
    assert_eq!(text(&made, s(1), "slave_scanner"), expected);
    assert_eq!(text(&made, s(1), "slave_scaner"), "");
    let told = parsed(&made, s(1), "slave_scanner");
    assert_eq!(told["job"]["name"], "slave_scanner");
    assert_eq!(told["settings"]["command"], "true");
    assert_eq!(told["settings"]["maxoutput"], "1048576");
    assert_eq!(
        (&told["removed"], &told["running"], &told["failed"]),
        (&value!(false), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&told["runs"], &told["failures"]),
        (&value!([]), &value!([]))
    );
}

#[test]
fn its_past_and_what_its_last_failed_run_printed_are_told() {
    let mut made = Made::three();
    made.runs(0, s(5), s(6), 0);
    made.fails(0, s(20), b"old", b"old");
    let long = [
        b"x".repeat(5000),
        b"\nthe\tend\r\n\nJOB a: \x1b[1mfine\xff".to_vec(),
    ]
    .concat();
    made.fails(0, s(40), b"", &long);
    let told = text(&made, s(50), "slave_scanner");
    let expected = format!(
        "JOB slave_scanner: waiting\nDUE 4s ago\n\
         RUNS 3: 2 failed, the last 2 in a row; last success 44s ago\n\n{SETTINGS}\n\
         LAST RUNS\n\
         BEGAN (UTC)            TOOK  LATE BY  OUTCOME\n\
         2026-11-23 23:36:42    1.0s     0.0s  ok\n\
         2026-11-23 23:36:57    1.0s     9.0s  exit 3\n\
         2026-11-23 23:37:17    1.0s    14.0s  exit 3\n\n\
         LAST FAILURES\n\
         BEGAN (UTC)            TOOK  LATE BY  OUTCOME\n\
         2026-11-23 23:36:57    1.0s     9.0s  exit 3\n\
         2026-11-23 23:37:17    1.0s    14.0s  exit 3\n\n\
         OUTPUT of the failed run of 2026-11-23 23:37:17 UTC, exit 3\n\
         standard error, the end of 5027 bytes:\n\t{}\n\
         \tthe\tend\n\t\n\tJOB a: \\u{{1b}}[1mfine\u{fffd}\nstandard output: nothing\n",
        "x".repeat(4096 - 27)
    );
    assert_eq!(told, expected);
    let told = parsed(&made, s(50), "slave_scanner");
    assert_eq!(told["runs"].as_array().unwrap().len(), 3);
    assert_eq!(told["failures"].as_array().unwrap().len(), 2);
    let failed = &told["failed"];
    assert_eq!(
        (&failed["job"], &failed["started"], &failed["outcome"]),
        (
            &value!("slave_scanner"),
            &value!("2026-11-23T23:37:17Z"),
            &value!("exit 3")
        )
    );
    assert_eq!(failed["stdout"], value!({"bytes": 0, "end": ""}));
    assert_eq!(failed["stderr"]["bytes"], 5027);
    let end = failed["stderr"]["end"].as_str().unwrap();
    assert!(
        end.ends_with("x\nthe\tend\r\n\nJOB a: \u{1b}[1mfine\u{fffd}"),
        "{end}"
    );
}

#[test]
fn it_says_what_it_is_doing() {
    let mut made = Made::three();
    made.begins(1, s(900));
    let first = |made: &Made, at, name: &str| {
        let text = text(made, at, name);
        let lines: Vec<&str> = text.lines().take(3).collect();
        lines.join("|")
    };
    assert_eq!(
        first(&made, s(910), "slave_scanner"),
        "JOB slave_scanner: late behind queue_builder|DUE 15m05s ago|RUNS 0: 0 failed"
    );
    assert_eq!(
        first(&made, s(910), "queue_builder"),
        "JOB queue_builder: running|RUNNING queue_builder, pid 20417, for 10s|RUNS 0: 0 failed"
    );
    made.pauses(2, s(900), 1000);
    assert_eq!(
        first(&made, s(910), "cleanup"),
        "JOB cleanup: paused 10s by uid 1000|RUNS 0: 0 failed|"
    );
    let told = parsed(&made, s(910), "queue_builder");
    assert_eq!(told["running"]["pid"], 20_417);
    assert_eq!(
        parsed(&made, s(910), "cleanup")["running"],
        Value::Null,
        "another runs"
    );
}

#[test]
fn of_a_job_that_a_reload_removed_as_it_ran_it_is_told_what_is_known() {
    let mut made = Made::three();
    made.fails(0, s(20), b"", b"gone with the job");
    made.begins(0, s(30));
    made.removes_running();
    let told = text(&made, s(40), "slave_scanner");
    let start = format!(
        "JOB slave_scanner: no longer in the configuration, its last run goes on\n\
         RUNNING slave_scanner, pid 20417, for 10s\n\n{SETTINGS}\nLAST RUNS\n"
    );
    assert!(told.starts_with(&start), "{told}");
    assert!(!told.contains("OUTPUT"), "{told}");
    let told = parsed(&made, s(40), "slave_scanner");
    assert_eq!(
        told["job"],
        value!({"name": "slave_scanner", "state": "running"})
    );
    assert_eq!(
        (&told["removed"], &told["failed"]),
        (&value!(true), &Value::Null)
    );
    assert_eq!(told["running"]["job"], "slave_scanner");
}
