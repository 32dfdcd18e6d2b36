//! The status as numbers in Prometheus' text exposition format (version 0.0.4). Names follow its conventions, units are
//! base units, and there are no timestamps. An unknown value is absent.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Row, State, View};
use crate::job::record::Reason;
use crate::text::seconds;

/// The whole metrics file.
pub fn metrics(view: &View<'_>) -> String {
    let mut text = Text {
        text: String::new(),
        sequencer: view.config.name.as_deref(),
    };
    daemon(view, &mut text);
    let rows: Vec<Row<'_>> = view.jobs.all().map(|job| view.row(job)).collect();
    for metric in &JOB_METRICS {
        let mut written = false;
        for row in &rows {
            let Some(value) = (metric.value)(view, row) else {
                continue;
            };
            if !written {
                text.header(metric.name, metric.kind, metric.help);
                written = true;
            }
            text.sample(metric.name, &[("job", &row.job.name)], &value);
        }
    }
    let failures = "job_failures_total";
    text.header(failures, "counter", "Failed runs by reason.");
    for row in &rows {
        for (reason, name) in Reason::ALL {
            let labels = [("job", &*row.job.name), ("reason", name)];
            text.sample(failures, &labels, &row.record.failures_for(reason));
        }
    }
    text.text
}

/// The text while it is written.
struct Text<'a> {
    text: String,
    /// What this sequencer is called: a label of every sample.
    sequencer: Option<&'a str>,
}

impl Text<'_> {
    fn header(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(
            self.text,
            "# HELP buildd_sequencer_{name} {help}\n# TYPE buildd_sequencer_{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: &dyn Display) {
        self.text.extend(["buildd_sequencer_", name]);
        let mut before = "{";
        let sequencer = self.sequencer.map(|name| ("sequencer", name));
        for (label, value) in sequencer.iter().chain(labels) {
            // No label's value holds anything that would have to be escaped.
            self.text.extend([before, label, "=\"", value, "\""]);
            before = ",";
        }
        let end = if before == "," { "} " } else { " " };
        let _ = writeln!(self.text, "{end}{value}");
    }

    /// A metric with one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: &dyn Display) {
        self.header(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn daemon(view: &View<'_>, text: &mut Text<'_>) {
    let counters = view.counters;
    text.header("build_info", "gauge", "Always 1; the version is a label.");
    text.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], &1);
    text.single(
        "start_time_seconds",
        "gauge",
        "When the daemon started, in seconds since 1970.",
        &stamp(view.started.wall),
    );
    if let Some((ok, at)) = counters.last_reload {
        text.single(
            "last_reload_successful",
            "gauge",
            "Whether the last reload was adopted.",
            &u8::from(ok),
        );
        text.single(
            "last_reload_timestamp_seconds",
            "gauge",
            "When the last reload was, in seconds since 1970.",
            &stamp(at.wall),
        );
    }
    text.header("reloads_total", "counter", "Reloads by result.");
    for (result, count) in [
        ("success", counters.reloads_done),
        ("refused", counters.reloads_refused),
    ] {
        text.sample("reloads_total", &[("result", result)], &count);
    }
    text.single(
        "mails_sent_total",
        "counter",
        "Messages that sendmail took.",
        &view.queue.counts.sent,
    );
    text.single(
        "mail_tries_failed_total",
        "counter",
        "Tries to send a message that failed.",
        &view.queue.counts.tries_failed,
    );
    text.single(
        "mails_given_up_total",
        "counter",
        "Messages that went to the log instead.",
        &view.queue.counts.given_up,
    );
    text.single(
        "mail_queue_length",
        "gauge",
        "Messages that wait for sendmail.",
        &view.queue.len(),
    );
    text.single(
        "log_lines_dropped_total",
        "counter",
        "Log lines lost because the log could not be written.",
        &view.lines_dropped,
    );
    if let Some(left) = view.lease {
        text.single(
            "lease_seconds",
            "gauge",
            "Seconds until the lease runs out, if it is not extended.",
            &left,
        );
    }
    text.single(
        "jobs",
        "gauge",
        "Jobs in the configuration.",
        &view.jobs.len(),
    );
    let paused = view.jobs.all().filter(|&job| view.jobs.is_paused(job));
    text.single(
        "jobs_paused",
        "gauge",
        "Jobs that an operator holds.",
        &paused.count(),
    );
}

/// A metric that each job has.
struct JobMetric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&View<'_>, &Row<'_>) -> Option<String>,
}

const JOB_METRICS: [JobMetric; 15] = [
    JobMetric {
        name: "job_runs_total",
        kind: "counter",
        help: "Runs that have ended.",
        value: |_, row| Some(row.record.runs().to_string()),
    },
    JobMetric {
        name: "job_run_seconds_total",
        kind: "counter",
        help: "Time of all runs together.",
        value: |_, row| Some(seconds(row.record.run_time())),
    },
    JobMetric {
        name: "job_last_duration_seconds",
        kind: "gauge",
        help: "Time of the last run.",
        value: |_, row| row.record.took().map(seconds),
    },
    JobMetric {
        name: "job_last_exit_code",
        kind: "gauge",
        help: "Exit code of the last run, 128+N for signal N.",
        value: |_, row| row.last().map(|last| last.code.to_string()),
    },
    JobMetric {
        name: "job_last_start_timestamp_seconds",
        kind: "gauge",
        help: "When the last run began, in seconds since 1970.",
        value: |_, row| row.record.started().map(stamp),
    },
    JobMetric {
        name: "job_last_end_timestamp_seconds",
        kind: "gauge",
        help: "When the last run ended, in seconds since 1970.",
        value: |_, row| row.timing.ended.time().map(stamp),
    },
    JobMetric {
        name: "job_last_success_timestamp_seconds",
        kind: "gauge",
        help: "When a run last succeeded, in seconds since 1970.",
        value: |_, row| row.record.succeeded().map(stamp),
    },
    JobMetric {
        name: "job_next_due_timestamp_seconds",
        kind: "gauge",
        help: "When the job is due, in seconds since 1970; absent while it runs or is paused.",
        value: |view, row| row.due().map(|due| stamp(view.wall_time(due))),
    },
    JobMetric {
        name: "job_consecutive_failures",
        kind: "gauge",
        help: "Failed runs since the last success.",
        value: |_, row| Some(row.timing.failures.to_string()),
    },
    JobMetric {
        name: "job_last_lateness_seconds",
        kind: "gauge",
        help: "How long after its due time the last run began.",
        value: |_, row| row.record.lateness().map(seconds),
    },
    JobMetric {
        name: "job_lateness_seconds_total",
        kind: "counter",
        help: "How long after their due times all runs began, together.",
        value: |_, row| Some(seconds(row.record.lateness_in_all())),
    },
    JobMetric {
        name: "job_running",
        kind: "gauge",
        help: "Whether a run is under way.",
        value: |_, row| flag(matches!(row.state, State::Running | State::Stuck)),
    },
    JobMetric {
        name: "job_stuck",
        kind: "gauge",
        help: "Whether a run is under way for longer than stuckafter, or cannot be signalled.",
        value: |_, row| flag(row.state == State::Stuck),
    },
    JobMetric {
        name: "job_paused",
        kind: "gauge",
        help: "Whether an operator holds the job.",
        value: |_, row| flag(row.record.paused_by().is_some()),
    },
    JobMetric {
        name: "job_output_left_out_bytes_total",
        kind: "counter",
        help: "Output beyond maxoutput, which was not kept.",
        value: |_, row| Some(row.record.left_out().to_string()),
    },
];

fn flag(value: bool) -> Option<String> {
    Some(u8::from(value).to_string())
}

/// Seconds since 1970, to the millisecond.
fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    seconds(Duration::from_millis(
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::super::made::{Made, s};
    use super::*;
    use crate::job::outcome::Cause;
    use crate::mail::queue::Failure;

    /// The value of a metric by its name and labels.
    fn value(made: &Made, at: Duration, name: &str) -> Option<String> {
        let text = metrics(&made.view(at));
        let start = format!("buildd_sequencer_{name} ");
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&start));
        let value = lines.next().map(str::to_string);
        assert_eq!(lines.next(), None, "twice: {name}");
        value
    }

    /// What one job's metrics say, by their names.
    fn job(made: &Made, at: Duration, job: &str) -> Vec<(String, String)> {
        let text = metrics(&made.view(at));
        let label = format!("{{job=\"{job}\"}} ");
        let lines = text.lines().filter_map(|line| line.split_once(&label));
        lines
            .map(|(name, value)| {
                let name = name.strip_prefix("buildd_sequencer_job_").unwrap();
                (name.to_string(), value.to_string())
            })
            .collect()
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let pairs = words.chunks(2);
        pairs
            .map(|p| (p[0].to_string(), p[1].to_string()))
            .collect()
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let made = Made::new(&[("a", 5)]);
        let expected = "runs_total 0 run_seconds_total 0 next_due_timestamp_seconds 1795477002
             consecutive_failures 0 lateness_seconds_total 0 running 0 stuck 0 paused 0
             output_left_out_bytes_total 0";
        assert_eq!(job(&made, s(1), "a"), pairs(expected));
        let text = metrics(&made.view(s(1)));
        for absent in ["last_", "reload_successful"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
        assert_eq!(
            value(&made, s(1), "start_time_seconds").unwrap(),
            "1795476997"
        );
        assert_eq!(
            value(&made, s(99), "start_time_seconds").unwrap(),
            "1795476997"
        );
    }

    #[test]
    fn what_is_known_is_told() {
        let mut made = Made::new(&[("a", 5), ("b", 60)]);
        made.runs(0, s(5), s(6), 0);
        made.runs(0, s(12), s(14) + Duration::from_millis(500), 3);
        let expected =
            "runs_total 2 run_seconds_total 3.5 last_duration_seconds 2.5 last_exit_code 3
             last_start_timestamp_seconds 1795477009 last_end_timestamp_seconds 1795477011.5
             last_success_timestamp_seconds 1795477003 next_due_timestamp_seconds 1795477016.5
             consecutive_failures 1 last_lateness_seconds 1 lateness_seconds_total 1
             running 0 stuck 0 paused 0 output_left_out_bytes_total 0";
        assert_eq!(job(&made, s(15), "a"), pairs(expected));
        made.begins(0, s(20));
        made.pauses(1, s(21), 0);
        made.set(0, |settings| settings.stuckafter = s(60));
        let running = job(&made, s(22), "a");
        assert!(
            running.contains(&("running".into(), "1".into())),
            "{running:?}"
        );
        assert!(!running.iter().any(|(name, _)| name.starts_with("next_due")));
        let paused = job(&made, s(22), "b");
        assert!(
            paused.contains(&("paused".into(), "1".into())),
            "{paused:?}"
        );
        assert!(!paused.iter().any(|(name, _)| name.starts_with("next_due")));
        assert_eq!(value(&made, s(22), "jobs_paused").unwrap(), "1");
    }

    #[test]
    fn a_run_past_stuckafter_is_stuck_and_still_running() {
        let mut made = Made::three();
        made.begins(0, s(5));
        let at = |made: &Made, at| {
            ["running", "stuck"].map(|name| {
                value(made, at, &format!("job_{name}{{job=\"slave_scanner\"}}")).unwrap()
            })
        };
        assert_eq!(at(&made, s(3604)), ["1", "0"]);
        assert_eq!(at(&made, s(3605)), ["1", "1"]);
        made.ends(s(3606), 0, Cause::Exited);
        assert_eq!(at(&made, s(3607)), ["0", "0"]);
    }

    #[test]
    fn failures_are_told_by_reason() {
        let mut made = Made::new(&[("a", 5)]);
        for (n, (code, cause)) in (1..).zip([
            (1, Cause::Exited),
            (2, Cause::Exited),
            (137, Cause::Killed(9)),
            (0, Cause::TimedOut(s(1))),
            (127, Cause::NotStarted(String::new())),
            (143, Cause::Operator),
            (137, Cause::Shutdown { forced: true }),
            (0, Cause::Exited),
        ]) {
            made.begins(0, s(10 * n));
            made.ends(s(10 * n + 1), code, cause);
        }
        for (reason, count) in [
            ("exit", "2"),
            ("signal", "1"),
            ("timeout", "1"),
            ("start", "1"),
            ("killed", "2"),
        ] {
            let name = format!("job_failures_total{{job=\"a\",reason=\"{reason}\"}}");
            assert_eq!(
                value(&made, s(100), &name).as_deref(),
                Some(count),
                "{reason}"
            );
        }
        assert_eq!(
            value(&made, s(100), "job_runs_total{job=\"a\"}").unwrap(),
            "8"
        );
    }

    #[test]
    fn the_daemons_own_numbers_are_told() {
        let mut made = Made::three();
        made.mails(s(1), Some(Failure::NotStarted("x".to_string())));
        made.lines_dropped = 9;
        assert_eq!(value(&made, s(9), "lease_seconds"), None);
        made.lease = Some(12);
        made.queue.counts = crate::mail::queue::Counts {
            sent: 1,
            tries_failed: 2,
            given_up: 3,
        };
        made.counters = crate::status::Counters {
            reloads_done: 4,
            reloads_refused: 5,
            last_reload: Some((false, made.at(s(7)))),
            ..crate::status::Counters::default()
        };
        for (name, expected) in [
            ("mails_sent_total", "1"),
            ("mail_tries_failed_total", "2"),
            ("mails_given_up_total", "3"),
            ("reloads_total{result=\"success\"}", "4"),
            ("reloads_total{result=\"refused\"}", "5"),
            ("last_reload_successful", "0"),
            ("last_reload_timestamp_seconds", "1795477004"),
            ("mail_queue_length", "1"),
            ("log_lines_dropped_total", "9"),
            ("lease_seconds", "12"),
            ("jobs", "3"),
            ("jobs_paused", "0"),
        ] {
            assert_eq!(
                value(&made, s(9), name).as_deref(),
                Some(expected),
                "{name}"
            );
        }
        let version = format!("build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&made, s(9), &version).unwrap(), "1");
    }

    #[test]
    fn every_sample_has_the_name_of_a_sequencer_that_has_one() {
        let mut made = Made::three();
        made.runs(0, s(5), s(6), 3);
        made.counters.last_reload = Some((true, made.at(s(7))));
        let without = metrics(&made.view(s(9)));
        assert!(!without.contains("sequencer="), "{without}");
        made.config.name = Some("east".into());
        let with = metrics(&made.view(s(9)));
        assert_eq!(with.lines().count(), without.lines().count());
        for (with, without) in with.lines().zip(without.lines()) {
            // HELP and TYPE have to be the same in all files of a directory.
            let again = with.replace("{sequencer=\"east\",", "{");
            let again = again.replace("{sequencer=\"east\"} ", " ");
            assert_eq!(again, without);
            assert_eq!(with.contains("sequencer=\"east\""), !with.starts_with('#'));
        }
    }

    #[test]
    fn a_job_that_was_removed_while_it_runs_has_no_metrics() {
        let mut made = Made::three();
        made.begins(0, s(5));
        made.removes_running();
        let text = metrics(&made.view(s(6)));
        assert!(!text.contains("slave_scanner"), "{text}");
    }
}
