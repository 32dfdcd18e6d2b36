//! The effective configuration as text, and what in it is legal but unwise. The text is itself a configuration:
//! read again it prints as the same. Pure; whether commands and directories exist is for `verify` to see.

use std::fmt::Write as _;

use super::{Config, FROM_ADDRESS, Job, dialect, keys};
use crate::text::seconds;

/// The effective configuration: every key with its value, jobs in order, nothing left to inherit.
pub fn print(config: &Config) -> String {
    let mut text = String::from("[buildsequencer]\n");
    for key in &keys::SEQUENCER {
        line(&mut text, key.name, &(key.show)(config));
    }
    for job in &config.jobs {
        let _ = write!(text, "\n[buildsequencer_job.{}]\n", job.name);
        for key in &keys::JOB {
            line(&mut text, key.name, &effective(config, job, key));
        }
    }
    text
}

/// The value of a job's key, with what it takes over from elsewhere filled in.
fn effective(config: &Config, job: &Job, key: &keys::Key<Job>) -> String {
    match key.name {
        "startdelay" => seconds(job.start_delay()),
        "mailproblemsto" => keys::show_targets(config.recipients(job)),
        "mailinterval" => seconds(config.mail_interval(job)),
        "stuckafter" => seconds(job.settings.stuckafter),
        _ => (key.show)(job),
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    let start = if dialect::stands_beside_key(value) {
        " "
    } else {
        "\n    "
    };
    // Further lines have to be indented to be read as such.
    let _ = writeln!(text, "{key}:{start}{}", value.replace('\n', "\n    "));
}

/// What is legal but most likely not meant, a line each.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    for job in &config.jobs {
        let (name, settings) = (&job.name, &job.settings);
        if settings.mindelay.is_zero() {
            warnings.push(format!(
                "job {name}: mindelay 0 starts it again and again without a pause"
            ));
        }
        if settings.stuckafter_by_hand
            && !settings.timeout.is_zero()
            && settings.stuckafter > settings.timeout
        {
            let (stuck, timeout) = (seconds(settings.stuckafter), seconds(settings.timeout));
            warnings.push(format!(
                "job {name}: stuckafter {stuck} is beyond timeout {timeout}, so it never has an effect"
            ));
        }
    }
    if config.mails() && &*config.fromaddress == FROM_ADDRESS {
        warnings.push(format!(
            "reports are mailed from the built-in {FROM_ADDRESS}; set fromaddress to one of yours"
        ));
    }
    if let Some(path) = config
        .metricsfile
        .as_ref()
        .filter(|path| path.extension().is_none_or(|e| e != "prom"))
    {
        let path = path.display();
        warnings.push(format!(
            "metricsfile '{path}' does not end in .prom, so node_exporter will not read it"
        ));
    }
    warnings
}
