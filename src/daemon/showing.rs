//! Clients that want to see the status. It is made when a client has asked and not before, so it is never out of
//! date; and it is made once for all who have asked by then, and seldom enough for a crowd of them to cost jobs
//! nothing.

use std::time::{Duration, Instant};

use crate::clock::Moment;
use crate::status::{View, json, table};
use crate::system::control::Server;

/// Of this many parts of the time at most one is spent on making the status.
const SHARE: u32 = 10;
/// A client does not wait for longer than this for a moment in which no job could be delayed. Where jobs are always
/// due there may be none.
const PATIENCE: Duration = Duration::from_millis(100);

/// A form of the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    Json,
}

/// A client that has asked for the status.
#[derive(Debug)]
struct Viewer {
    client: u64,
    form: Form,
    asked: Instant,
}

/// All of them, and what the status has cost.
#[derive(Debug, Default)]
pub(super) struct Showing {
    viewers: Vec<Viewer>,
    /// How long it took the last time.
    cost: Duration,
    /// Not to be made again before.
    not_before: Option<Instant>,
}

impl Showing {
    pub(super) fn add(&mut self, client: u64, form: Form, now: Moment) {
        self.viewers.push(Viewer {
            client,
            form,
            asked: now.instant,
        });
    }

    /// When the status may be made, if anybody wants it: not in the moments before a job is due, at `next_start`.
    pub(super) fn deadline(&self, next_start: Option<Instant>, now: Instant) -> Option<Instant> {
        let first = self.viewers.first()?;
        let at = self.not_before.map_or(now, |at| at.max(now));
        match next_start {
            Some(start) if start < at + self.cost => Some(at.max(first.asked + PATIENCE)),
            _ => Some(at),
        }
    }

    /// Whom to show which form, if it is time.
    pub(super) fn take(
        &mut self,
        next_start: Option<Instant>,
        control: &Server,
        now: Instant,
    ) -> Option<(Vec<u64>, Form)> {
        self.viewers.retain(|viewer| control.holds(viewer.client));
        if self.deadline(next_start, now)? > now {
            return None;
        }
        self.take_first()
    }

    /// The same without waiting for the right time.
    pub(super) fn take_first(&mut self) -> Option<(Vec<u64>, Form)> {
        let form = self.viewers.first()?.form;
        let all = std::mem::take(&mut self.viewers);
        let (alike, others) = all.into_iter().partition(|viewer| viewer.form == form);
        self.viewers = others;
        let alike: Vec<Viewer> = alike;
        Some((alike.iter().map(|viewer| viewer.client).collect(), form))
    }

    /// It has been made, by now, and took that much time of the processor.
    pub(super) fn made(&mut self, cost: Duration, now: Instant) {
        self.cost = cost;
        self.not_before = Some(now + cost * SHARE);
    }
}

impl Form {
    pub(super) fn make(self, view: &View<'_>) -> String {
        match self {
            Form::Table => table::table(view),
            Form::Json => json::json(view),
        }
    }
}
