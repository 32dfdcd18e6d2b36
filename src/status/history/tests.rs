//! Past runs as table, JSON and picture, of made-up state.

use std::rc::Rc;

use super::*;
use crate::clock::Stamp;
use crate::job::outcome::{Brief, Cause, Outcome};
use crate::status::made::{Made, s};
use serde_json::{Value, json as value};

fn shown(made: &Made, at: Duration, asked: History) -> String {
    history(&made.view(at), &asked)
}

/// Runs of two jobs, one of which fails every third time.
fn made() -> Made {
    let mut made = Made::three();
    made.runs(1, s(900), s(965), 0);
    for n in 0..30 {
        let code = if n % 3 == 0 { 3 } else { 0 };
        made.runs(0, s(970 + 10 * n), s(971 + 10 * n), code);
    }
    made
}

#[test]
fn nothing_is_said_to_be_nothing() {
    let made = Made::three();
    let asked = |failed, form| History {
        failed,
        form,
        ..History::default()
    };
    let nothing = |failed, form| shown(&made, s(1), asked(failed, form));
    assert_eq!(nothing(false, Form::Table), "no run is known\n");
    assert_eq!(nothing(true, Form::Table), "no failed run is known\n");
    assert_eq!(nothing(false, Form::Json), "{\"runs\": []}\n");
    assert!(nothing(false, Form::Svg).contains("no run is known yet"));
}

#[test]
fn the_table_tells_the_last_runs_oldest_first() {
    let mut made = made();
    made.begins(2, s(3600));
    made.ends(s(3700), 137, Cause::Killed(9));
    let asked = History {
        most: Some(3),
        ..History::default()
    };
    assert_eq!(
        shown(&made, s(4000), asked),
        "\
BEGAN (UTC)          JOB              TOOK  LATE BY  OUTCOME
2026-11-23 23:57:27  slave_scanner    1.0s     4.0s  ok
2026-11-23 23:57:37  slave_scanner    1.0s     4.0s  ok
2026-11-24 00:36:37  cleanup         1m40s     0.0s  SIGKILL
"
    );
    let all = shown(&made, s(4000), History::default());
    assert_eq!(all.lines().count(), 1 + RUNS);
}

#[test]
fn with_the_longest_names_it_is_eighty_columns_wide() {
    let name = "a".repeat(25);
    let mut made = Made::new(&[(&name, 5)]);
    made.begins(0, s(86_400 * 999));
    made.ends(s(86_400 * 1_998), 143, Cause::TimedOut(s(1)));
    let text = shown(&made, s(86_400 * 1_999), History::default());
    assert!(
        text.contains("999d00h") && text.contains("timeout"),
        "{text}"
    );
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
}

#[test]
fn one_job_and_failures_alone() {
    let made = made();
    let of = |job: &str, failed| {
        let asked = History {
            job: Some(job.into()),
            failed,
            form: Form::Json,
            ..History::default()
        };
        let text = shown(&made, s(4000), asked);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(
        of("queue_builder", false),
        value!({"runs": [{"job": "queue_builder", "started": "2026-11-23T23:51:37Z", "took": 65, "late": 0,
                          "outcome": "ok", "code": 0}]})
    );
    let failures = of("slave_scanner", true);
    let failures = failures["runs"].as_array().unwrap();
    assert_eq!(failures.len(), 10);
    assert!(
        failures
            .iter()
            .all(|run| run["outcome"] == "exit 3" && run["code"] == 3)
    );
    assert_eq!(of("queue_builder", true), value!({"runs": []}));
}

#[test]
fn the_picture_shows_the_last_hour_who_runs_and_who_waits() {
    let mut made = made();
    made.begins(2, s(6000));
    let asked = |job: Option<&str>, failed, most| History {
        job: job.map(str::to_string),
        failed,
        most,
        form: Form::Svg,
    };
    let all = shown(&made, s(6100), asked(None, false, None));
    assert!(all.starts_with("<svg") && all.contains(">build1</text>"));
    assert!(all.contains("slave_scanner waits for") && all.contains("cleanup: running since"));
    assert!(
        !all.contains("queue_builder: ok"),
        "before the last 20 runs"
    );
    let many = shown(&made, s(6100), asked(None, false, Some(99)));
    assert!(many.contains("queue_builder: ok"));
    let in_the_hour = shown(&made, s(4400), asked(None, false, None));
    assert!(in_the_hour.contains("queue_builder: ok"));
    let one = shown(&made, s(6100), asked(Some("cleanup"), false, None));
    assert!(one.contains("cleanup: running") && !one.contains("slave_scanner"));
    made.config.name = Some("east".into());
    let failed = shown(&made, s(6100), asked(None, true, None));
    assert!(failed.contains(">east on build1</text>"));
    assert!(!failed.contains("running since") && !failed.contains(" waits for"));
    assert!(failed.contains("class=\"bad\""));
}

#[test]
fn the_picture_begins_with_the_first_run_of_the_hour_or_the_twentieth_from_the_end() {
    let svg = |made: &Made, at: u64| {
        let asked = History {
            form: Form::Svg,
            ..History::default()
        };
        shown(made, s(at), asked)
    };
    let mut made = Made::three();
    ran(&mut made, 1, 900, 100, 0, 0);
    ran(&mut made, 2, 1300, 200, 0, 0);
    for n in 0..25 {
        ran(&mut made, 0, 2000 + 10 * n, 1, 0, 0);
    }
    let picture = svg(&made, 5000);
    assert!(picture.contains("cleanup: ok"), "it reaches into the hour");
    assert!(!picture.contains("queue_builder: ok"), "it does not");
    let mut made = Made::three();
    ran(&mut made, 1, 900, 100, 0, 0);
    for n in 0..20 {
        ran(&mut made, 0, 2000 + 10 * n, 1, 0, 0);
    }
    let picture = svg(&made, 90_000);
    assert!(!picture.contains("queue_builder: ok"), "{picture}");
    assert!(picture.matches("slave_scanner: ").count() >= 1, "{picture}");
}

/// A run that has ended, as the history has it.
fn ran(made: &mut Made, job: usize, began: u64, took: u64, late: u64, code: i32) {
    let index = made.job(job);
    let job = Rc::clone(made.jobs.job(index));
    let outcome = Brief::of(&Outcome {
        code,
        cause: Cause::Exited,
    });
    let began = Stamp::at(made.wall(s(began)));
    let run = Run::new(began, s(took), s(late), outcome);
    made.jobs.remember(Some(index), &job, run, made.t0);
}

/// Two long runs, one behind the other, a third that waited for both, and then many short ones.
fn night() -> Made {
    let mut made = Made::three();
    ran(&mut made, 2, 0, 4500, 0, 0);
    ran(&mut made, 1, 4500, 4500, 3000, 1);
    ran(&mut made, 0, 9000, 10, 8000, 1);
    for n in 0..25 {
        ran(&mut made, 2, 9100 + 60 * n, 2, 0, 0);
    }
    made
}

#[test]
fn the_picture_shows_all_that_held_the_lane_since_its_beginning() {
    let asked = History {
        form: Form::Svg,
        ..History::default()
    };
    // The hour begins long after the first two runs had ended.
    let picture = shown(&night(), s(12_600), asked);
    assert!(picture.contains("queue_builder: exit 1"), "{picture}");
    assert!(picture.contains("cleanup: ok"), "{picture}");
    let title = "slave_scanner waited 2h13m behind queue_builder</title>";
    assert!(picture.contains(title), "{picture}");
    // 3500, 4500, 10 and 50 of the 11,600 seconds since the third was due.
    assert!(picture.contains(">69% of 3h13m busy<"), "{picture}");
}

#[test]
fn who_was_in_the_way_is_told_also_where_its_run_is_not_shown() {
    for (job, failed, most, share) in [
        (Some("slave_scanner"), false, None, "slave_scanner"),
        (None, true, None, "failed runs"),
        (
            Some("slave_scanner"),
            true,
            None,
            "failed runs of slave_scanner",
        ),
        (None, false, Some(26), "these runs"),
    ] {
        let asked = History {
            job: job.map(str::to_string),
            failed,
            most,
            form: Form::Svg,
        };
        let picture = shown(&night(), s(12_600), asked);
        let title = "slave_scanner waited 2h13m behind queue_builder</title>";
        assert!(picture.contains(title), "{share}: {picture}");
        let share = format!(" busy with {share}<");
        assert!(picture.contains(&share), "{share}: {picture}");
    }
}

#[test]
fn runs_of_a_clock_that_was_wrong_are_not_in_the_picture_and_the_others_are_in_order() {
    let mut made = Made::three();
    let job = Rc::clone(made.jobs.job(made.job(0)));
    let soon = made.wall(s(90_000));
    let before_1980 = UNIX_EPOCH + s(5);
    for (n, began) in [before_1980, soon, made.wall(s(900)), made.wall(s(500))]
        .into_iter()
        .enumerate()
    {
        let outcome = Brief::of(&Outcome {
            code: n as i32,
            cause: Cause::Exited,
        });
        let run = Run::new(Stamp::at(began), s(2), Duration::ZERO, outcome);
        made.jobs.remember(None, &job, run, made.t0);
    }
    let asked = History {
        form: Form::Svg,
        ..History::default()
    };
    let picture = shown(&made, s(1000), asked);
    assert!(picture.contains(">1% of 8m20s busy<"), "{picture}");
    assert!(!picture.contains(": ok") && !picture.contains(": exit 1,"));
    let place = |outcome: &str| picture.find(outcome).unwrap();
    assert!(place(": exit 3,") < place(": exit 2,"), "{picture}");
}
