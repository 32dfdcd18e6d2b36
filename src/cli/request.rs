//! What a running daemon can be asked, and the words for it. Pure.

use std::fmt;

/// What a running daemon can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The status table, or all about one job.
    Status {
        /// The job; all of them if none is named.
        job: Option<String>,
        /// JSON instead of text.
        json: bool,
        /// Only of jobs that fail.
        failed: bool,
    },
    /// The runs of the past.
    History(History),
    /// Make a job due now.
    Run {
        /// Its name.
        job: String,
        /// Wait for the run's end, print its output and exit with its code.
        wait: bool,
    },
    /// Stop the running run, of this job if one is named.
    Kill(Option<String>),
    /// Hold one job or all.
    Pause(Option<String>),
    /// Let one job or all go on.
    Resume(Option<String>),
    /// Read the configuration again.
    Reload,
    /// Say whether all is well.
    Healthcheck {
        /// Only whether the loop answers.
        alive: bool,
    },
    /// The numbers for Prometheus.
    Metrics,
}

/// Which runs of the past are asked for, and in which form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Only this job's.
    pub job: Option<String>,
    /// The last so many.
    pub most: Option<usize>,
    /// Only those that failed.
    pub failed: bool,
    /// In which form.
    pub form: Form,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Lines for people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// A picture, as SVG.
    Svg,
}

impl Form {
    /// The option that asks for it, with a blank before it.
    fn option(self) -> &'static str {
        match self {
            Form::Table => "",
            Form::Json => " --json",
            Form::Svg => " --svg",
        }
    }
}

/// The request as the line that goes over the control socket: the command as one would type it.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name must not become two words or two lines. No job has a name with such characters, and the daemon says
        // so. `--` keeps a name from being read as an option.
        let name = |job: &str| {
            let dashes = if job.starts_with('-') { "-- " } else { "" };
            let word = job.replace(|c: char| c.is_whitespace() || c.is_control(), "?");
            format!("{dashes}{word}")
        };
        let of = |word: &str, job: &Option<String>| match job {
            Some(job) => format!("{word} {}", name(job)),
            None => word.to_string(),
        };
        let line = match self {
            Request::Status { job, json, failed } => {
                let json = if *json { " --json" } else { "" };
                let failed = if *failed { " --failed" } else { "" };
                of(&format!("status{json}{failed}"), job)
            }
            Request::History(history) => {
                let most = history.most.map(|most| format!(" -n {most}"));
                let word = format!(
                    "history{}{}{}",
                    most.unwrap_or_default(),
                    if history.failed { " --failed" } else { "" },
                    history.form.option(),
                );
                of(&word, &history.job)
            }
            Request::Run { job, wait: false } => format!("run {}", name(job)),
            Request::Run { job, wait: true } => format!("run --wait {}", name(job)),
            Request::Kill(job) => of("kill", job),
            Request::Pause(job) => of("pause", job),
            Request::Resume(job) => of("resume", job),
            Request::Reload => "reload".to_string(),
            Request::Healthcheck { alive: false } => "healthcheck".to_string(),
            Request::Healthcheck { alive: true } => "healthcheck --alive".to_string(),
            Request::Metrics => "metrics".to_string(),
        };
        f.write_str(&line)
    }
}
