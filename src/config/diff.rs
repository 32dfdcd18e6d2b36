//! The differences between two configurations, as lines for the log and for the client that asked for the reload. Pure.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Job, Sequencer, keys};
use crate::text::harmless;

/// Compares the configuration before and after, one line a difference: first the daemon's own settings, then the jobs
/// of the old one that are gone, then those of the new one that are new or changed.
pub fn differences(
    (old, old_jobs): (&Sequencer, &[Rc<Job>]),
    (new, new_jobs): (&Sequencer, &[Rc<Job>]),
) -> Vec<String> {
    let mut lines = Vec::new();
    for key in &keys::SEQUENCER {
        let (was, is) = ((key.show)(old), (key.show)(new));
        if was == is {
            continue;
        }
        match key.name {
            "mailproblemsto" => lines.extend(mailer_targets(&new.mailproblemsto)),
            name => {
                let (was, is) = (harmless(&was), harmless(&is));
                let line = format!("Changed {name}: {was} -> {is}");
                lines.push(line);
            }
        }
    }
    let before: HashMap<&str, &Rc<Job>> = old_jobs.iter().map(|job| (&*job.name, job)).collect();
    let after: HashMap<&str, &Rc<Job>> = new_jobs.iter().map(|job| (&*job.name, job)).collect();
    for job in old_jobs
        .iter()
        .filter(|job| !after.contains_key(&*job.name))
    {
        lines.push(format!("Removed job {}", job.name));
    }
    for job in new_jobs {
        match before.get(&*job.name) {
            None => lines.push(format!("Added job {}", job.name)),
            Some(was) if **was != *job => lines.push(changed(was, job)),
            Some(_) => {}
        }
    }
    let kept_before = old_jobs.iter().map(|job| &*job.name);
    let kept_after = new_jobs.iter().map(|job| &*job.name);
    if !kept_before
        .filter(|name| after.contains_key(name))
        .eq(kept_after.filter(|name| before.contains_key(name)))
    {
        lines.push("Changed the order of the jobs".to_string());
    }
    lines
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

/// The lines that say where reports go, in the original's words.
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
mod tests;
