//! What is different between two configurations, in lines for the log and for whoever asked for a reload. Pure.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Job, Sequencer, keys};
use crate::text::harmless;

/// The differences, in the order in which they are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// One line each.
    pub lines: Vec<String>,
    /// Names of jobs that are new, removed or changed.
    pub jobs: usize,
}

/// Compares the configuration before and after: first the daemon's own settings, then the jobs of the old one
/// that are gone, then those of the new one that are new or changed.
pub fn difference(
    (old, old_jobs): (&Sequencer, &[Rc<Job>]),
    (new, new_jobs): (&Sequencer, &[Rc<Job>]),
) -> Difference {
    let mut difference = Difference::default();
    for key in &keys::SEQUENCER {
        let (was, is) = ((key.show)(old), (key.show)(new));
        if was == is {
            continue;
        }
        match key.name {
            "mailproblemsto" => difference.lines.extend(mailer_targets(&new.mailproblemsto)),
            name => {
                let (was, is) = (harmless(&was), harmless(&is));
                let line = format!("Changed {name}: {was} -> {is}");
                difference.lines.push(line);
            }
        }
    }
    let before: HashMap<&str, &Rc<Job>> = old_jobs.iter().map(|job| (&*job.name, job)).collect();
    let after: HashMap<&str, &Rc<Job>> = new_jobs.iter().map(|job| (&*job.name, job)).collect();
    for job in old_jobs
        .iter()
        .filter(|job| !after.contains_key(&*job.name))
    {
        difference.job(format!("Removed job {}", job.name));
    }
    for job in new_jobs {
        match before.get(&*job.name) {
            None => difference.job(format!("Added job {}", job.name)),
            Some(was) if **was != *job => difference.job(changed(was, job)),
            Some(_) => {}
        }
    }
    let kept_before = old_jobs.iter().map(|job| &*job.name);
    let kept_after = new_jobs.iter().map(|job| &*job.name);
    if !kept_before
        .filter(|name| after.contains_key(name))
        .eq(kept_after.filter(|name| before.contains_key(name)))
    {
        difference
            .lines
            .push("Changed the order of the jobs".to_string());
    }
    difference
}

impl Difference {
    fn job(&mut self, line: String) {
        self.jobs += 1;
        self.lines.push(line);
    }
}

fn changed(was: &Job, is: &Job) -> String {
    let settings = keys::JOB.iter().filter_map(|key| {
        let (was, is) = ((key.show)(was), (key.show)(is));
        (was != is).then(|| format!("{} {} -> {}", key.name, harmless(&was), harmless(&is)))
    });
    format!(
        "Changed job {}: {}",
        is.name,
        settings.collect::<Vec<_>>().join(", ")
    )
}

/// The lines that tell where reports go, as the original has them.
pub fn mailer_targets(targets: &[Box<str>]) -> Vec<String> {
    let log: Box<str> = "-".into();
    let targets = if targets.is_empty() {
        std::slice::from_ref(&log)
    } else {
        targets
    };
    let named = targets.iter().map(|target| format!("   ... {target}"));
    std::iter::once("Mailer targets set to:".to_string())
        .chain(named)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::made::read;

    const JOBS: &str =
        "[buildsequencer_job.a]\ncommand: x\n[buildsequencer_job.b]\ncommand: y\nmindelay: 5\n";

    /// What is told of these further lines over the same two jobs.
    fn compare(old: &Config, new: &Config) -> Difference {
        difference((&old.sequencer, &old.jobs), (&new.sequencer, &new.jobs))
    }

    fn told(before: &str, after: &str) -> Vec<String> {
        let (before, after) = (format!("{JOBS}{before}"), format!("{JOBS}{after}"));
        compare(&read(&before), &read(&after)).lines
    }

    #[test]
    fn the_same_configuration_has_no_differences() {
        for text in [
            "",
            "mailproblemsto: a@x\n[buildsequencer]\nlogfile: x\nmailproblemsto: b@x -",
        ] {
            assert!(told(text, text).is_empty(), "{text}");
        }
        // Written differently, and the same.
        assert!(told("timeout: 90", "timeout: 1.5m\nmaxdelay: none").is_empty());
        assert!(told("mailproblemsto:", "mailproblemsto: -").is_empty());
        assert!(told("", "[buildsequencer]\nmailproblemsto: -\nlogsize: 1000000").is_empty());
    }

    #[test]
    fn jobs_that_were_added_removed_and_changed_are_named() {
        let old = read(&format!("{JOBS}[buildsequencer_job.c]\ncommand: z"));
        let new = read(
            "[buildsequencer_job.b]\ncommand: y\nmindelay: 7\ntimeout: 1m\n[buildsequencer_job.d]\ncommand: z\n\
             [buildsequencer_job.a]\ncommand: x -v",
        );
        let difference = compare(&old, &new);
        assert_eq!(
            difference.lines,
            [
                "Removed job c",
                "Changed job b: mindelay 5 -> 7, timeout 0 -> 60",
                "Added job d",
                "Changed job a: command x -> x -v",
                "Changed the order of the jobs",
            ]
        );
        assert_eq!(difference.jobs, 4);
    }

    #[test]
    fn a_new_job_between_others_does_not_change_their_order() {
        let new = JOBS.replace(
            "[buildsequencer_job.b]",
            "[buildsequencer_job.n]\ncommand: n\n[buildsequencer_job.b]",
        );
        let lines = compare(&read(JOBS), &read(&new)).lines;
        assert_eq!(lines, ["Added job n"]);
    }

    #[test]
    fn settings_are_told_as_old_and_new_value() {
        assert_eq!(
            told(
                "[buildsequencer]\nlogsize: 1K\nspew: yes\nlogfile: x",
                "[buildsequencer]\nstatefile: /s\ncontrolsocket: none",
            ),
            [
                "Changed logfile: x -> -",
                "Changed spew: true -> false",
                "Changed logsize: 1024 -> 1000000",
                "Changed statefile: none -> /s",
                "Changed controlsocket: /run/buildd-sequencer/control.sock -> none",
            ]
        );
        assert_eq!(
            told("", "startdelay: 5\nmailproblemsto: - a@x\nmailinterval: 1h"),
            [
                "Changed job b: startdelay none -> 5, mailproblemsto none -> - a@x, mailinterval none -> 3600"
            ]
        );
    }

    #[test]
    fn changed_recipients_are_a_new_list_of_targets() {
        let targets = "[buildsequencer]\nmailproblemsto: a@x\n  -";
        assert_eq!(
            told("", targets),
            ["Mailer targets set to:", "   ... a@x", "   ... -"]
        );
        assert_eq!(told(targets, ""), ["Mailer targets set to:", "   ... -"]);
    }

    #[test]
    fn the_default_stuckafter_set_by_hand_is_a_change() {
        assert_eq!(
            told("", "stuckafter: 1h"),
            ["Changed job b: stuckafter none -> 3600"]
        );
        assert_eq!(
            told("stuckafter: 3600", "stuckafter: none"),
            ["Changed job b: stuckafter 3600 -> none"]
        );
    }

    #[test]
    fn a_command_of_several_lines_is_told_on_one() {
        assert_eq!(
            told("", "command: sh -c '\n  a\n  b'"),
            [r"Changed job b: command y -> sh -c '\na\nb'"]
        );
    }
}
