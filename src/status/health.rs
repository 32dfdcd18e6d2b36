//! Whether all is well: the one rule for the command, the page of HTTP and the table. Pure.

use std::time::Duration;

use super::{Reader, Running, View, jobs_wait};
use crate::text::{brief, seconds};

/// How long mail has to fail before the daemon counts as unhealthy, and how long it counts so after a report was given
/// up.
const MAIL_TIME: Duration = Duration::from_secs(3600);

/// What a daemon says that is only asked whether it answers.
pub const ALIVE: &str = "ok: the daemon answers\n";

impl View<'_> {
    /// How long ago a report was given up, if that was less than `MAIL_TIME` ago.
    pub fn gave_up_mail(&self) -> Option<Duration> {
        let at = self.queue.last_given_up()?;
        let ago = self.now.instant.saturating_duration_since(at);
        (ago < MAIL_TIME).then_some(ago)
    }

    /// What is wrong with mail, if anything.
    fn mail_fault(&self, reader: Reader) -> Option<String> {
        let why = match self.queue.last_error() {
            Some(error) if reader == Reader::Operator => format!(": {error}"),
            _ => String::new(),
        };
        if let Some(since) = self.queue.failing_since() {
            let time = self.now.instant.saturating_duration_since(since);
            if time >= MAIL_TIME {
                return Some(format!("mail has been failing for {}{why}", brief(time)));
            }
        }
        let ago = self.gave_up_mail()?;
        Some(format!("mail was given up {} ago{why}", brief(ago)))
    }

    /// Whether all is well, in one line. `Err` says what is wrong.
    pub fn health(&self) -> Result<String, String> {
        self.health_for(Reader::Operator)
    }

    /// The same, as this reader may know it.
    pub fn health_for(&self, reader: Reader) -> Result<String, String> {
        if let Some(run) = self.running {
            self.health_of(&run)?;
        }
        if let Some(line) = self.mail_fault(reader) {
            return Err(line);
        }
        if let Some((false, at)) = self.counters.last_reload {
            let ago = self.now.since(at);
            return Err(format!(
                "the last reload was refused {} ago; 'buildd-sequencer check' says why",
                brief(ago)
            ));
        }
        Ok(match self.running {
            Some(run) => format!(
                "ok: {} runs for {}",
                run.job.name,
                brief(self.running_for())
            ),
            None => "ok".to_string(),
        })
    }

    /// Whether the run is healthy. One that cannot be stopped never is; one that is stuck is unhealthy only if other
    /// jobs wait for it.
    fn health_of(&self, run: &Running<'_>) -> Result<(), String> {
        let waiting = self.waiting().map(|(n, job, time)| {
            let (who, time) = (jobs_wait(n), brief(time));
            format!(" and {who}, {} longest ({time})", job.name)
        });
        let (job, pid, time) = (&run.job.name, run.pid, brief(self.running_for()));
        if let Some(why) = run.refusal {
            let waiting = waiting.unwrap_or_default();
            return Err(format!(
                "{job} cannot be signalled: {why} (pid {pid}, for {time}){waiting}"
            ));
        }
        match waiting.filter(|_| self.stuck()) {
            None => Ok(()),
            Some(waiting) => {
                let after = seconds(run.job.settings.stuckafter);
                Err(format!(
                    "{job} is stuck (pid {pid}, for {time}, over {after} seconds){waiting}"
                ))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
