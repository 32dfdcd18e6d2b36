//! What is different between two configurations, in lines for the log and for whoever asked for a reload. Pure.

use std::collections::HashMap;
use std::rc::Rc;

use super::values::on_one_line;
use super::{Config, Job, keys};

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
pub fn difference(old: &Config, new: &Config) -> Difference {
    let mut difference = Difference::default();
    for key in &keys::SEQUENCER {
        let (was, is) = ((key.show)(old), (key.show)(new));
        if was == is {
            continue;
        }
        match key.name {
            "mailproblemsto" => difference.lines.extend(mailer_targets(&new.mailproblemsto)),
            name => {
                let (was, is) = (on_one_line(&was), on_one_line(&is));
                let line = format!("Changed {name}: {was} -> {is}");
                difference.lines.push(line);
            }
        }
    }
    let before: HashMap<&str, &Rc<Job>> = old.jobs.iter().map(|job| (&*job.name, job)).collect();
    let after: HashMap<&str, &Rc<Job>> = new.jobs.iter().map(|job| (&*job.name, job)).collect();
    for job in old
        .jobs
        .iter()
        .filter(|job| !after.contains_key(&*job.name))
    {
        difference.job(format!("Removed job {}", job.name));
    }
    for job in &new.jobs {
        match before.get(&*job.name) {
            None => difference.job(format!("Added job {}", job.name)),
            Some(was) if **was != *job => difference.job(changed(was, job)),
            Some(_) => {}
        }
    }
    let kept = |config: &Config, other: &HashMap<&str, &Rc<Job>>| -> Vec<Box<str>> {
        config
            .jobs
            .iter()
            .filter(|job| other.contains_key(&*job.name))
            .map(|job| job.name.clone())
            .collect()
    };
    if kept(old, &after) != kept(new, &before) {
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
        let (was, is) = (on_one_line(&(key.show)(was)), on_one_line(&(key.show)(is)));
        (was != is).then(|| format!("{} {was} -> {is}", key.name))
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
