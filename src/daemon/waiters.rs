//! The clients that wait for the end of a job's next run (`run --wait`). It knows who waits for what; it neither starts
//! runs nor decides their order.

use crate::clock::Moment;
use crate::exit;
use crate::system::clients::MAX_CLIENTS;
use crate::system::control::Server;

/// One connection stays free for clients that only ask, a health check above all.
pub(super) const MAX_WAITERS: usize = MAX_CLIENTS - 1;

/// A client that waits for the next run of a job.
#[derive(Debug)]
struct Waiter {
    client: u64,
    job: Box<str>,
    /// Whether the client wants the line that says how the run ended, before the output.
    wants_outcome: bool,
    /// Whether that run is under way.
    begun: bool,
}

/// All waiting clients.
#[derive(Debug, Default)]
pub(super) struct Waiters(Vec<Waiter>);

impl Waiters {
    /// Whether no more clients may wait. Clients that have gone do not count.
    pub(super) fn is_full(&mut self, control: &Server) -> bool {
        self.0.retain(|waiter| control.clients.holds(waiter.client));
        self.0.len() >= MAX_WAITERS
    }

    pub(super) fn add(&mut self, client: u64, job: Box<str>, wants_outcome: bool) {
        self.0.push(Waiter {
            client,
            job,
            wants_outcome,
            begun: false,
        });
    }

    /// Notes that a run of `job` begins: the clients that wait for that job wait for this run.
    pub(super) fn run_begins(&mut self, job: &str) {
        for waiter in self.0.iter_mut().filter(|waiter| &*waiter.job == job) {
            waiter.begun = true;
        }
    }

    /// Whether anybody waits for the end of this job's run.
    pub(super) fn wait_for(&self, job: &str) -> bool {
        self.0.iter().any(|waiter| waiter.is_done_by(job))
    }

    /// Answers the clients that waited for this run with its output, its exit code and, if they want it, the line that
    /// says how it ended.
    pub(super) fn run_ended(
        &mut self,
        job: &str,
        code: i32,
        line: &str,
        output: &[u8],
        control: &mut Server,
        now: Moment,
    ) {
        let status = u8::try_from(code).unwrap_or(u8::MAX);
        let all = std::mem::take(&mut self.0);
        let (done, others) = all.into_iter().partition(|waiter| waiter.is_done_by(job));
        self.0 = others;
        let done: Vec<Waiter> = done;
        for wants_outcome in [false, true] {
            let alike = done
                .iter()
                .filter(|waiter| waiter.wants_outcome == wants_outcome);
            let clients: Vec<u64> = alike.map(|waiter| waiter.client).collect();
            if clients.is_empty() {
                continue;
            }
            let start = match wants_outcome {
                true => format!("{line}\n"),
                false => String::new(),
            };
            let text = [start.as_bytes(), output].concat();
            control.answer_all(&clients, status, text, now.instant);
        }
    }

    /// Answers the clients whose run will never come, because the daemon stops (no job `may_run`) or because a reload
    /// has removed their job.
    pub(super) fn dismiss(
        &mut self,
        may_run: impl Fn(&str) -> bool,
        control: &mut Server,
        now: Moment,
    ) {
        self.0.retain(|waiter| {
            let stays = waiter.begun || may_run(&waiter.job);
            if !stays {
                let text = format!(
                    "{} will not run: the daemon stops, or a reload has removed the job\n",
                    waiter.job
                );
                control.answer(waiter.client, exit::FAILURE, text.into_bytes(), now.instant);
            }
            stays
        });
    }
}

impl Waiter {
    fn is_done_by(&self, job: &str) -> bool {
        self.begun && &*self.job == job
    }
}
