//! The clients that have asked for the status, and when to make it. It is made only on request, so it is never out of
//! date. It is made once for all clients that have asked by then, and seldom enough that even a crowd of them delays no
//! job. What is given over HTTP is given for a second.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::waiters::MAX_WAITERS;
use crate::cli::History;
use crate::clock::Moment;
use crate::status::{Reader, View, history, job, json, metrics, page, table};
use crate::system::http::{Answer, PLAIN};

/// At most one part in this many of the time is spent on making the status.
const SHARE: u32 = 10;
/// A form that costs little lowers what is expected of the next one by this part: the next may be one that costs much.
const FORGETTING: u32 = 8;
/// How long a client waits at most for a moment in which no job could be delayed. Where jobs are always due there may
/// be no such moment.
const PATIENCE: Duration = Duration::from_millis(100);
/// A wait for the status that a health check, which is given up after 2 s, should not have to share.
const LONG: Duration = Duration::from_millis(500);
/// How long a page is given to all who ask for it.
const SHARED: Duration = Duration::from_secs(1);

/// The media type of metrics, which tells their format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Has a browser draw the page again every 5 seconds.
const AGAIN: &str = "Refresh: 5\r\n";

/// What is shown, and in which form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form {
    Table {
        failed: bool,
    },
    Json {
        failed: bool,
    },
    History(History),
    Job {
        name: String,
        json: bool,
    },
    Metrics,
    /// A page over HTTP, or its head alone.
    Page {
        page: Page,
        head: bool,
    },
}

/// What is read over HTTP, by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Metrics,
    Ready,
    Json,
    Lane,
}

/// A page that was made a moment ago.
#[derive(Debug)]
struct Kept {
    page: Page,
    answer: Answer,
    until: Instant,
}

/// A client that has asked for the status.
#[derive(Debug)]
struct Viewer {
    client: u64,
    form: Form,
    asked: Instant,
}

/// All such clients, and how long making the status took.
#[derive(Debug, Default)]
pub(super) struct Showing {
    viewers: Vec<Viewer>,
    /// How long making the status may take, judged by the last times: its forms differ.
    cost: Duration,
    /// The status is not made again before this moment.
    not_before: Option<Instant>,
    kept: Vec<Kept>,
}

impl Showing {
    pub(super) fn add(&mut self, client: u64, form: Form, now: Moment) {
        self.viewers.push(Viewer {
            client,
            form,
            asked: now.instant,
        });
    }

    /// When the status may be made, if any client waits for it, or a page is to be forgotten.
    pub(super) fn deadline(&self, next_start: Option<Instant>, now: Instant) -> Option<Instant> {
        let old = self.kept.iter().map(|kept| kept.until);
        old.chain(self.due(next_start, now)).min()
    }

    /// When the status may be made, if any client waits for it. The moments before a job is due, at `next_start`, are
    /// left free.
    fn due(&self, next_start: Option<Instant>, now: Instant) -> Option<Instant> {
        let first = self.viewers.first()?;
        let at = self.not_before.map_or(now, |at| at.max(now));
        match next_start {
            Some(start) if start < at + self.cost => Some(at.max(first.asked + PATIENCE)),
            _ => Some(at),
        }
    }

    /// Whether a client that asks now, while so many wait already, is not to be kept. The last connection is for clients
    /// that need not wait for long.
    pub(super) fn is_full(&self, waiting: usize, now: Instant) -> bool {
        waiting >= MAX_WAITERS && self.not_before.is_some_and(|at| at > now + LONG)
    }

    /// If it is time: the clients to answer now, of those that are still `there`, and the form that they want.
    pub(super) fn take(
        &mut self,
        next_start: Option<Instant>,
        there: impl Fn(u64, &Form) -> bool,
        now: Instant,
    ) -> Option<(Vec<u64>, Form)> {
        self.kept.retain(|kept| kept.until > now);
        self.viewers
            .retain(|viewer| there(viewer.client, &viewer.form));
        if self.due(next_start, now)? > now {
            return None;
        }
        self.take_first()
    }

    /// The first clients to answer and their form, without waiting for the right time.
    pub(super) fn take_first(&mut self) -> Option<(Vec<u64>, Form)> {
        let mut all = std::mem::take(&mut self.viewers).into_iter();
        let first = all.next()?;
        let (alike, others): (Vec<Viewer>, _) = all.partition(|viewer| viewer.form == first.form);
        self.viewers = others;
        let alike = alike.iter().map(|viewer| viewer.client);
        Some((
            [first.client].into_iter().chain(alike).collect(),
            first.form,
        ))
    }

    /// Notes that the status was made by `now` and took `cost` of processor time.
    pub(super) fn made(&mut self, cost: Duration, now: Instant) {
        self.cost = cost.max(self.cost - self.cost / FORGETTING);
        self.not_before = Some(now + cost * SHARE);
    }

    /// The page as it was made within the last second.
    pub(super) fn kept(&self, page: Page, now: Instant) -> Option<Answer> {
        let mut kept = self.kept.iter();
        let kept = kept.find(|kept| kept.page == page && kept.until > now);
        kept.map(|kept| kept.answer.clone())
    }

    /// Gives this to all who ask for the page within the next second.
    pub(super) fn keep(&mut self, page: Page, answer: Answer, now: Instant) {
        self.kept.retain(|kept| kept.page != page);
        self.kept.push(Kept {
            page,
            answer,
            until: now + SHARED,
        });
    }
}

impl Form {
    pub(super) fn make(&self, view: &View<'_>) -> String {
        match self {
            Form::Table { failed } => table::table(view, *failed),
            Form::Json { failed } => json::json(view, *failed, Reader::Operator),
            Form::History(asked) => history::history(view, asked),
            Form::Job { name, json } => job::job(view, name, *json),
            Form::Metrics => metrics::metrics(view),
            Form::Page { .. } => String::new(),
        }
    }
}

impl Page {
    pub(super) fn make(self, view: &View<'_>) -> Answer {
        let (mut status, mut fields) = (200, "");
        let (kind, text) = match self {
            Page::Metrics => (METRICS, metrics::metrics(view)),
            Page::Json => ("application/json", json::json(view, false, Reader::Anybody)),
            Page::Lane => {
                fields = AGAIN;
                ("text/html; charset=utf-8", page::page(view))
            }
            Page::Ready => {
                let (Ok(mut line) | Err(mut line)) = view
                    .health_for(Reader::Anybody)
                    .inspect_err(|_| status = 503);
                line.push('\n');
                (PLAIN, line)
            }
        };
        Answer {
            status,
            kind,
            fields,
            text: Rc::new(text.into_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Two who want the table and, asking between them, one who wants JSON, at this moment.
    fn three(at: Instant) -> Showing {
        let mut showing = Showing::default();
        let at = Moment {
            instant: at,
            wall: std::time::UNIX_EPOCH,
        };
        showing.add(1, Form::Table { failed: false }, at);
        showing.add(2, Form::Json { failed: false }, at);
        showing.add(3, Form::Table { failed: false }, at);
        showing
    }

    #[test]
    fn whoever_wants_the_same_gets_it_at_once_and_together() {
        let t0 = Instant::now();
        let mut showing = three(t0);
        assert_eq!(showing.deadline(None, t0), Some(t0));
        let there = |_, _: &Form| true;
        let taken = showing.take(None, there, t0);
        assert_eq!(taken, Some((vec![1, 3], Form::Table { failed: false })));
        let taken = showing.take(None, there, t0);
        assert_eq!(taken, Some((vec![2], Form::Json { failed: false })));
        assert_eq!(showing.take(None, there, t0), None);
        assert_eq!(showing.deadline(None, t0), None);
    }

    #[test]
    fn it_is_not_made_for_those_who_have_gone() {
        let t0 = Instant::now();
        let mut showing = three(t0);
        let taken = showing.take(None, |client, _| client == 2, t0);
        assert_eq!(taken, Some((vec![2], Form::Json { failed: false })));
        assert_eq!(showing.deadline(None, t0), None);
    }

    #[test]
    fn of_the_time_a_tenth_is_spent_on_it() {
        let t0 = Instant::now();
        let mut showing = three(t0);
        let there = |_, _: &Form| true;
        assert!(showing.take(None, there, t0).is_some());
        showing.made(ms(3), t0 + ms(5));
        let next = t0 + ms(35);
        assert_eq!(showing.deadline(None, t0 + ms(6)), Some(next));
        assert_eq!(showing.take(None, there, next - ms(1)), None);
        assert!(showing.take(None, there, next).is_some());
    }

    #[test]
    fn a_cheap_form_does_not_hide_what_the_next_one_may_cost() {
        let t0 = Instant::now();
        let there = |_, _: &Form| true;
        let mut showing = three(t0);
        showing.made(ms(40), t0 - ms(500));
        showing.made(ms(0), t0 - ms(50));
        let start = Some(t0 + ms(30));
        assert_eq!(showing.take(start, there, t0), None);
        // It is forgotten, though.
        for _ in 0..20 {
            showing.made(ms(0), t0 - ms(10));
        }
        assert!(showing.take(start, there, t0).is_some());
    }

    #[test]
    fn whoever_would_take_the_last_place_for_long_is_not_kept() {
        let t0 = Instant::now();
        let mut showing = Showing::default();
        assert!(!showing.is_full(MAX_WAITERS, t0));
        showing.made(ms(60), t0);
        assert!(showing.is_full(MAX_WAITERS, t0 + ms(99)));
        assert!(!showing.is_full(MAX_WAITERS - 1, t0 + ms(99)));
        assert!(
            !showing.is_full(MAX_WAITERS, t0 + ms(100)),
            "500 ms are left"
        );
    }

    #[test]
    fn it_is_made_after_a_start_that_is_near_but_a_client_has_not_to_wait_for_ever() {
        let t0 = Instant::now();
        let there = |_, _: &Form| true;
        let mut showing = three(t0);
        showing.made(ms(3), t0 - ms(100));
        let start = Some(t0 + ms(2));
        assert_eq!(showing.take(start, there, t0), None);
        assert_eq!(showing.deadline(start, t0), Some(t0 + ms(100)));
        // The job has been started: no other can be before its end.
        assert!(showing.take(None, there, t0 + ms(2)).is_some());
        // What is made before it is due delays nothing.
        assert!(showing.take(Some(t0 + ms(6)), there, t0 + ms(3)).is_some());
        // Jobs that cannot be started, thousands of them, are due all the time.
        let mut showing = three(t0);
        showing.made(ms(3), t0 - ms(100));
        for passed in [0, 50, 99] {
            let now = t0 + ms(passed);
            assert_eq!(showing.take(Some(now), there, now), None);
        }
        let now = t0 + ms(100);
        assert!(showing.take(Some(now), there, now).is_some());
    }
}
