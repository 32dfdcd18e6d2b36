//! The status as one JSON object for programs. Fields are added and never removed or renamed. Times are RFC 3339 in
//! UTC, durations are seconds, and an unknown value is null.

use super::{Reader, Row, View};
use crate::json::{Object, quote};

/// The whole object and a line feed; of the jobs only those that fail if that is asked. A reader who may not know all
/// gets the same without some fields.
pub fn json(view: &View<'_>, failed: bool, reader: Reader) -> String {
    let mut text = String::new();
    let mut object = Object::begin(&mut text);
    object.text("version", env!("CARGO_PKG_VERSION"));
    if let Some(name) = &view.config.name {
        object.text("name", name);
    }
    object.text("host", view.host);
    object.number("pid", u64::from(view.pid));
    object.time("started", Some(view.started.wall));
    object.text("configuration", &view.file.to_string_lossy());
    object.time("configured", Some(view.configured.wall));
    object.text("state", view.doing.word());
    running(view, object.name("running"));
    object.number("waiting", view.waiting().map_or(0, |(n, ..)| n as u64));
    mail(view, reader, object.name("mail"));
    reload(view, reader, object.name("reload"));
    object.maybe("not_listening", view.not_listening);
    object.number("log_lines_dropped", view.lines_dropped);
    object.display("lease_seconds_left", view.lease);
    busy(view, object.name("busy"));
    summary(view, object.name("summary"));
    jobs(view, failed, object.name("jobs"));
    object.end();
    text.push('\n');
    text
}

pub(super) fn running(view: &View<'_>, text: &mut String) {
    let Some(run) = view.running else {
        return text.push_str("null");
    };
    let mut object = Object::begin(text);
    object.text("job", &run.job.name);
    object.number("pid", u64::try_from(run.pid).unwrap_or(0));
    object.time("started", Some(run.began.wall));
    object.duration("seconds", Some(view.running_for()));
    object.boolean("stuck", view.stuck());
    object.maybe("cannot_be_signalled", run.refusal);
    object.end();
}

fn mail(view: &View<'_>, reader: Reader, text: &mut String) {
    let failing = view.queue.failing_since().map(|at| view.wall_time(at));
    let mut object = Object::begin(text);
    object.number("queued", view.queue.len() as u64);
    if reader == Reader::Operator {
        object.maybe("last_error", view.queue.last_error());
    }
    object.time("failing_since", failing);
    let given_up = view.queue.last_given_up();
    object.time("given_up", given_up.map(|at| view.wall_time(at)));
    object.end();
}

fn reload(view: &View<'_>, reader: Reader, text: &mut String) {
    let Some((ok, at)) = view.counters.last_reload else {
        return text.push_str("null");
    };
    let mut object = Object::begin(text);
    object.boolean("ok", ok);
    object.time("at", Some(at.wall));
    object.number("fault_count", view.counters.fault_count as u64);
    if reader == Reader::Anybody {
        return object.end();
    }
    let text = object.name("faults");
    text.push('[');
    for (n, fault) in view.counters.faults.iter().enumerate() {
        text.push_str(if n == 0 { "" } else { ", " });
        quote(text, fault);
    }
    text.push(']');
    object.end();
}

fn busy(view: &View<'_>, text: &mut String) {
    let busy = view.busy();
    let mut object = Object::begin(text);
    object.number("window", busy.window.as_secs());
    share(&mut object, busy.share);
    let text = object.name("jobs");
    text.push('[');
    for (n, (name, of_job)) in busy.jobs.iter().enumerate() {
        text.push_str(if n == 0 { "" } else { ", " });
        let mut job = Object::begin(text);
        job.text("name", name);
        share(&mut job, *of_job);
        job.end();
    }
    text.push(']');
    object.end();
}

/// Parts per 10,000 as a number from 0 to 1.
fn share(object: &mut Object<'_>, parts: u32) {
    let (whole, rest) = (parts / 10_000, parts % 10_000);
    object.display("share", Some(format_args!("{whole}.{rest:04}")));
}

fn summary(view: &View<'_>, text: &mut String) {
    let summary = view.summary();
    let mut object = Object::begin(text);
    object.number("jobs", summary.jobs as u64);
    object.number("failing", summary.failing as u64);
    object.number("paused", summary.paused as u64);
    object.number("late", summary.late as u64);
    object.end();
}

fn jobs(view: &View<'_>, failed: bool, text: &mut String) {
    text.push('[');
    let wanted = |row: &Row<'_>| !failed || row.is_failing();
    for (n, row) in view.rows().filter(wanted).enumerate() {
        text.push_str(if n == 0 { "\n  " } else { ",\n  " });
        job(view, &row, text);
    }
    text.push_str("\n]");
}

pub(super) fn job(view: &View<'_>, row: &Row<'_>, text: &mut String) {
    let record = row.record;
    let last = row.last();
    let paused_by = record.paused_by();
    let mut object = Object::begin(text);
    object.text("name", &row.job.name);
    object.text("state", row.state.lower_case());
    object.maybe("behind", view.behind(row));
    object.time("due", row.due().map(|due| view.wall_time(due)));
    object.time("started", record.started());
    object.time("ended", row.timing.ended.time());
    object.time("succeeded", record.succeeded());
    object.duration("took", record.took());
    object.maybe("outcome", last.map(|last| &*last.word));
    object.display("code", last.map(|last| last.code));
    object.number("in_a_row", u64::from(row.timing.failures));
    object.number("runs", u64::from(record.runs()));
    object.number("failures", record.failures());
    object.boolean("paused", paused_by.is_some());
    object.time("paused_since", paused_by.map(|(since, _)| since));
    object.display("paused_by_uid", paused_by.map(|(_, uid)| uid));
    object.end();
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::super::made::{Made, s};
    use super::*;
    use crate::mail::queue::Failure;
    use serde_json::{Value, json as value};
    use std::time::Duration;

    fn parsed(made: &Made, at: Duration) -> Value {
        let text = json(&made.view(at), false, Reader::Operator);
        assert!(text.ends_with("}\n"));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_is_not_known_yet_is_null() {
        let made = Made::new(&[("a", 5)]);
        assert_eq!(
            parsed(&made, s(1)),
            value!({
                "version": env!("CARGO_PKG_VERSION"), "host": "build1", "pid": 4_711,
                "started": "2026-11-23T23:36:37Z", "configuration": "/etc/a\n.conf", "configured": "2026-11-23T23:36:37Z",
                "state": "working", "running": null, "waiting": 0,
                "mail": {"queued": 0, "last_error": null, "failing_since": null, "given_up": null},
                "reload": null, "not_listening": null, "log_lines_dropped": 0, "lease_seconds_left": null, "busy": {"window": 1, "share": 0.0, "jobs": []},
                "summary": {"jobs": 1, "failing": 0, "paused": 0, "late": 0},
                "jobs": [{
                    "name": "a", "state": "waiting", "behind": null, "due": "2026-11-23T23:36:42Z",
                    "started": null, "ended": null, "succeeded": null, "took": null,
                    "outcome": null, "code": null, "in_a_row": 0, "runs": 0, "failures": 0,
                    "paused": false, "paused_since": null, "paused_by_uid": null,
                }],
            })
        );
    }

    #[test]
    fn what_is_known_is_told() {
        let mut made = Made::three();
        made.set(1, |settings| settings.stuckafter = s(60));
        made.runs(0, s(5), s(6), 0);
        made.runs(0, s(20), s(21) + Duration::from_millis(250), 3);
        made.pauses(2, s(30), 1000);
        made.mails(
            s(40),
            Some(Failure::Exited(75, "a \"b\" \\ c\u{7f}".to_string())),
        );
        made.counters.last_reload = Some((false, made.at(s(50))));
        made.counters.faults = vec!["/etc/a.conf:3: \"x\"".into(), "b:1: y".into()];
        made.counters.fault_count = 2_000;
        made.lines_dropped = 7;
        made.lease = Some(12);
        made.begins(1, s(900));
        made.doing = crate::status::Doing::Draining;
        made.config.name = Some("east".into());
        let all = parsed(&made, s(1000));
        assert_eq!(all["name"], "east");
        assert_eq!(all["state"], "draining");
        assert_eq!(
            all["running"],
            value!({"job": "queue_builder", "pid": 20417, "started": "2026-11-23T23:51:37Z",
                    "seconds": 100, "stuck": true, "cannot_be_signalled": null})
        );
        assert_eq!(all["waiting"], 1);
        assert_eq!(all["log_lines_dropped"], 7);
        assert_eq!(all["lease_seconds_left"], 12);
        assert_eq!(
            all["mail"],
            value!({"queued": 1, "last_error": "sendmail exited with 75: a \"b\" \\ c\\u{7f}",
                    "failing_since": "2026-11-23T23:37:17Z", "given_up": null})
        );
        assert_eq!(
            all["reload"],
            value!({"ok": false, "at": "2026-11-23T23:37:27Z", "fault_count": 2000,
                    "faults": ["/etc/a.conf:3: \"x\"", "b:1: y"]})
        );
        assert_eq!(
            all["summary"],
            value!({"jobs": 3, "failing": 1, "paused": 1, "late": 1})
        );
        assert_eq!(
            all["busy"],
            value!({"window": 1000, "share": 0.1023, "jobs": [
                {"name": "queue_builder", "share": 0.1}, {"name": "slave_scanner", "share": 0.0023}]})
        );
        let failing: Value =
            serde_json::from_str(&json(&made.view(s(1000)), true, Reader::Operator)).unwrap();
        let names: Vec<_> = failing["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| &job["name"])
            .collect();
        assert_eq!(names, ["slave_scanner"]);
        let jobs = all["jobs"].as_array().unwrap();
        let names: Vec<_> = jobs
            .iter()
            .map(|job| job["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["queue_builder", "slave_scanner", "cleanup"]);
        assert_eq!(
            (&jobs[0]["state"], &jobs[0]["due"]),
            (&value!("stuck"), &Value::Null)
        );
        assert_eq!(
            jobs[1],
            value!({
                "name": "slave_scanner", "state": "late", "behind": "queue_builder",
                "due": "2026-11-23T23:37:03Z", "started": "2026-11-23T23:36:57Z",
                "ended": "2026-11-23T23:36:58Z", "succeeded": "2026-11-23T23:36:43Z", "took": 1.25,
                "outcome": "exit 3", "code": 3, "in_a_row": 1, "runs": 2, "failures": 1,
                "paused": false, "paused_since": null, "paused_by_uid": null,
            })
        );
        assert_eq!(jobs[2]["state"], "paused");
        assert_eq!(jobs[2]["paused_since"], "2026-11-23T23:37:07Z");
        assert_eq!(jobs[2]["paused_by_uid"], 1000);
        assert_eq!(jobs[2]["due"], Value::Null);
    }
}
