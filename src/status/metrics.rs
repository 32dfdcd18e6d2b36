//! The status as numbers in Prometheus' text exposition format (version 0.0.4): names by its conventions, base
//! units, no timestamps; a value that is not known is absent.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Row, State, View};
use crate::record::Reason;
use crate::text::seconds;

/// The whole file.
pub fn metrics(view: &View<'_>) -> String {
    let mut text = String::new();
    daemon(view, &mut text);
    let rows: Vec<Row<'_>> = (0..view.config.jobs.len())
        .filter_map(|place| view.row(place))
        .collect();
    for metric in &JOB_METRICS {
        let mut written = false;
        for row in &rows {
            let Some(value) = (metric.value)(view, row) else {
                continue;
            };
            if !written {
                header(&mut text, metric.name, metric.kind, metric.help);
                written = true;
            }
            let _ = writeln!(
                text,
                "buildd_sequencer_{}{{job=\"{}\"}} {value}",
                metric.name, row.job.name
            );
        }
    }
    header(
        &mut text,
        "job_failures_total",
        "counter",
        "Failed runs by reason.",
    );
    for row in &rows {
        for (reason, name) in Reason::ALL {
            let (job, count) = (&row.job.name, row.record.failures_for(reason));
            let _ = writeln!(
                text,
                "buildd_sequencer_job_failures_total{{job=\"{job}\",reason=\"{name}\"}} {count}"
            );
        }
    }
    text
}

fn daemon(view: &View<'_>, text: &mut String) {
    let counters = view.counters;
    header(
        text,
        "build_info",
        "gauge",
        "Always 1; the version is a label.",
    );
    let _ = writeln!(
        text,
        "buildd_sequencer_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
    single(
        text,
        "start_time_seconds",
        "gauge",
        "When the daemon started, in seconds since 1970.",
        stamp(view.started),
    );
    if let Some((ok, at)) = counters.last_reload {
        single(
            text,
            "last_reload_successful",
            "gauge",
            "Whether the last reload was adopted.",
            u8::from(ok),
        );
        single(
            text,
            "last_reload_timestamp_seconds",
            "gauge",
            "When the last reload was, in seconds since 1970.",
            stamp(at),
        );
    }
    header(text, "reloads_total", "counter", "Reloads by result.");
    for (result, count) in [
        ("success", counters.reloads_done),
        ("refused", counters.reloads_refused),
    ] {
        let _ = writeln!(
            text,
            "buildd_sequencer_reloads_total{{result=\"{result}\"}} {count}"
        );
    }
    single(
        text,
        "mails_sent_total",
        "counter",
        "Messages that sendmail took.",
        counters.mails_sent,
    );
    single(
        text,
        "mail_tries_failed_total",
        "counter",
        "Tries to send a message that failed.",
        counters.mail_tries_failed,
    );
    single(
        text,
        "mails_given_up_total",
        "counter",
        "Messages that went to the log instead.",
        counters.mails_given_up,
    );
    single(
        text,
        "mail_queue_length",
        "gauge",
        "Messages that wait for sendmail.",
        view.queue.len(),
    );
    single(
        text,
        "log_lines_dropped_total",
        "counter",
        "Log lines lost because the log could not be written.",
        view.lines_dropped,
    );
    single(
        text,
        "jobs",
        "gauge",
        "Jobs in the configuration.",
        view.config.jobs.len(),
    );
    let paused = (0..view.config.jobs.len())
        .filter(|&place| view.schedule.timing(place).is_some_and(|t| t.paused));
    single(
        text,
        "jobs_paused",
        "gauge",
        "Jobs that an operator holds.",
        paused.count(),
    );
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(
        text,
        "# HELP buildd_sequencer_{name} {help}\n# TYPE buildd_sequencer_{name} {kind}\n"
    );
}

fn single(text: &mut String, name: &str, kind: &str, help: &str, value: impl Display) {
    header(text, name, kind, help);
    let _ = writeln!(text, "buildd_sequencer_{name} {value}");
}

/// A number for each job.
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
        value: |_, row| row.record.ended_at().map(stamp),
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
        help: "Whether a run is under way for longer than stuckafter.",
        value: |_, row| flag(row.state == State::Stuck),
    },
    JobMetric {
        name: "job_paused",
        kind: "gauge",
        help: "Whether an operator holds the job.",
        value: |_, row| flag(row.timing.paused),
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
