//! The effective configuration as text, and what in it is legal but unwise. The text is itself a configuration:
//! read again it prints the same, although the control socket and `stuckafter` count as set by hand then. Pure:
//! `verify` looks whether commands and directories exist.

use std::fmt::Write as _;
use std::rc::Rc;

use super::{About, Config, FROM_ADDRESS, Job, Loaded, Sequencer, Settings, dialect, keys};
use crate::text::seconds;

/// The effective configuration: every key with its value, jobs in order, all defaults filled in.
pub fn print(config: &Config) -> String {
    let mut text = String::from("[buildsequencer]\n");
    for key in &keys::SEQUENCER {
        line(&mut text, key.name, &(key.show)(&config.sequencer));
    }
    // Most jobs have the settings of the one before them.
    let mut known: Option<(&Rc<Settings>, String)> = None;
    for job in &config.jobs {
        text.push('\n');
        head(&mut text, job);
        let same = known.take_if(|(settings, _)| Rc::ptr_eq(settings, &job.settings));
        let (_, lines) =
            known.insert(same.unwrap_or_else(|| (&job.settings, settings(&config.sequencer, job))));
        text.push_str(lines);
    }
    text
}

/// One job's section.
pub fn print_job(sequencer: &Sequencer, job: &Job) -> String {
    let mut text = String::new();
    head(&mut text, job);
    text + &settings(sequencer, job)
}

fn head(text: &mut String, job: &Job) {
    let _ = writeln!(text, "[buildsequencer_job.{}]", job.name);
    line(text, "command", &job.command);
}

/// A job's settings.
fn settings(sequencer: &Sequencer, job: &Job) -> String {
    let mut text = String::new();
    for (key, value) in values(sequencer, job).skip(1) {
        line(&mut text, key, &value);
    }
    text
}

/// A job's keys, its command first, and their values, with defaults and the template's values filled in.
pub fn values(sequencer: &Sequencer, job: &Job) -> impl Iterator<Item = (&'static str, String)> {
    keys::JOB.iter().map(|key| {
        let value = match key.name {
            "startdelay" => seconds(job.start_delay()),
            "mailproblemsto" => keys::show_targets(sequencer.recipients(job)),
            "mailinterval" => seconds(sequencer.mail_interval(job)),
            "stuckafter" => seconds(job.settings.stuckafter),
            _ => (key.show)(job),
        };
        (key.name, value)
    })
}

fn line(text: &mut String, key: &str, value: &str) {
    let start = if dialect::stands_beside_key(value) {
        " "
    } else {
        "\n    "
    };
    text.push_str(key);
    text.push(':');
    text.push_str(start);
    for (place, line) in value.split('\n').enumerate() {
        // Further lines of a value are indented, as the grammar wants.
        text.push_str(if place > 0 { "\n    " } else { "" });
        text.push_str(line);
    }
    text.push('\n');
}

/// How many bytes of output are more than one would expect to be held in memory.
const MUCH_OUTPUT: u64 = 256 << 20;

/// All that is legal but most likely not meant, one line each with its place: at most `most` lines, and the number of
/// those left out.
pub fn all_warnings(loaded: &Loaded, most: usize) -> Vec<String> {
    let (told, mut more) = loaded.warnings(most);
    let mut lines: Vec<String> = told.iter().map(|line| format!("warning: {line}")).collect();
    for notice in warnings(&loaded.config) {
        if lines.len() < most {
            lines.push(format!("warning: {}", loaded.origins.locate(notice)));
        } else {
            more += 1;
        }
    }
    lines.extend(super::warnings::and_more(more));
    lines
}

/// Values that are legal but most likely not meant, one line each.
pub fn warnings(config: &Config) -> Vec<(About, String)> {
    let mut warnings = Vec::new();
    for (place, job) in config.jobs.iter().enumerate() {
        let (name, settings) = (&job.name, &job.settings);
        if settings.mindelay.is_zero() {
            warnings.push((
                About::Job(place),
                format!("job {name}: mindelay 0 starts it again and again without a pause"),
            ));
        }
        if !settings.maxdelay.is_zero() && settings.maxdelay <= settings.mindelay {
            let (most, least) = (seconds(settings.maxdelay), seconds(settings.mindelay));
            warnings.push((About::Job(place), format!(
                "job {name}: maxdelay {most} is not beyond mindelay {least}, so it never has an effect"
            )));
        }
        if settings.maxoutput > MUCH_OUTPUT {
            let most = settings.maxoutput;
            warnings.push((About::Job(place), format!(
                "job {name}: maxoutput {most} is memory, for each stream and once more for a report; where there is too little, the daemon is ended"
            )));
        }
        if settings.stuckafter_by_hand
            && !settings.timeout.is_zero()
            && settings.stuckafter > settings.timeout
        {
            let (stuck, timeout) = (seconds(settings.stuckafter), seconds(settings.timeout));
            warnings.push((About::Job(place), format!(
                "job {name}: stuckafter {stuck} is beyond timeout {timeout}, so it never has an effect"
            )));
        }
    }
    let mailed = config
        .mailed()
        .filter(|_| &*config.sequencer.fromaddress == FROM_ADDRESS);
    if let Some(about) = mailed {
        warnings.push((about, format!(
            "reports are mailed from the built-in {FROM_ADDRESS}; set fromaddress to one of yours"
        )));
    }
    if let Some(path) = config
        .sequencer
        .metricsfile
        .as_ref()
        .filter(|path| path.extension().is_none_or(|e| e != "prom"))
    {
        let path = path.display();
        warnings.push((
            About::Key("metricsfile"),
            format!(
                "metricsfile '{path}' does not end in .prom, so node_exporter will not read it"
            ),
        ));
    }
    let lease = config.sequencer.leasefile.as_ref();
    if let Some(path) =
        lease.filter(|path| !path.starts_with("/run") && !path.starts_with("/var/run"))
    {
        let path = path.display();
        warnings.push((
            About::Key("leasefile"),
            format!(
                "leasefile '{path}' is not below /run; on a disk a lease outlives the machine's start, and the clock \
                 that it counts by does not"
            ),
        ));
    }
    warnings
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
