//! Serves the clients of both sockets, a little each turn: takes a request, shows the status to those who wait for it,
//! writes answers. What a request does is in `commands` and `web`, when the status is made in `showing`.

use std::time::{Duration, Instant};

use super::Daemon;
use super::showing::Form;
use crate::clock::Moment;
use crate::exit;
use crate::status::job;
use crate::system;

/// How long one turn writes answers before it serves anything else. A job's end is noticed at most this much later.
const ANSWERING_TIME: Duration = Duration::from_micros(200);

impl Daemon {
    /// Executes one request and, if it is time, sends the status to the clients that have asked for it. It takes one
    /// request a turn, so that the next run starts, and the end of one is noticed, before the next request.
    pub(super) fn serve(&mut self, now: Moment) {
        if let Some(asked) = self.control.next_request(now.instant) {
            self.execute(&asked, now);
            // It may have changed the choice, and no event brings another turn.
            self.announce(now);
        }
        self.serve_http(now);
        let next_start = self.next_start(now);
        let there = |client, form: &Form| match form {
            Form::Page { .. } => self.http.clients.holds(client),
            _ => self.control.clients.holds(client),
        };
        let taken = self.showing.take(next_start, there, now.instant);
        if let Some((clients, form)) = taken {
            self.show(&clients, &form);
        }
    }

    fn show(&mut self, clients: &[u64], form: &Form) {
        if let Form::Page { page, head } = *form {
            return self.show_page(clients, page, head);
        }
        let (now, before) = (system::now(), system::processor_time());
        let view = self.view_with_lease(now);
        // A job may have been removed since it was asked for.
        let (status, text) = match form {
            Form::Job { name, .. } if job::find(&view, name).is_none() => self.unknown_job(name),
            form => (exit::OK, form.make(&view)),
        };
        let cost = system::processor_time().saturating_sub(before);
        let ended = Instant::now();
        self.showing.made(cost, ended);
        self.control
            .answer_all(clients, status, text.into_bytes(), ended);
    }

    /// Sends the status to all clients that wait for it, before the daemon ends.
    pub(super) fn show_all(&mut self) {
        while let Some((clients, form)) = self.showing.take_first() {
            self.show(&clients, &form);
        }
    }

    /// Writes answers for `ANSWERING_TIME`, or until a job is due, whichever comes first.
    pub(super) fn write_answers(&mut self, now: Moment) {
        let enough = now.instant + ANSWERING_TIME;
        let until = self.next_start(now).map_or(enough, |at| at.min(enough));
        let is_enough = || Instant::now() >= until;
        for clients in [&mut self.control.clients, &mut self.http.clients] {
            clients.write_answers(now.instant, &is_enough);
        }
    }
}
