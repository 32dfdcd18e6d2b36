//! What is given over HTTP, and where. Anybody who can reach the address may read it: nothing can be changed through
//! it, and no command, output or word of another program is shown. An address that cannot be had costs no job anything;
//! it is tried again. How requests and answers travel belongs to `system::http`.

use std::io;
use std::net::TcpListener;
use std::time::Instant;

use super::Daemon;
use super::showing::{Form, Page};
use crate::clock::Moment;
use crate::config::Sequencer;
use crate::config::listen::{Listen, TRY_AGAIN};
use crate::event::Event;
use crate::message::Level;
use crate::status::health::ALIVE;
use crate::system;
use crate::system::errors::error_text;
use crate::system::http::{self, Answer};
use crate::text::seconds;

/// An address that could not be had.
#[derive(Debug)]
pub(super) struct Missing {
    wanted: Listen,
    /// `127.0.0.1:9642: Address already in use`
    pub(super) why: String,
    again: Instant,
}

/// What becomes of a path.
enum Found {
    Page(Page),
    /// `/healthz`: that this is answered is all that is asked.
    Alive,
    Nothing,
}

fn find(path: &str) -> Found {
    Found::Page(match path {
        "/" => Page::Lane,
        "/metrics" => Page::Metrics,
        "/readyz" => Page::Ready,
        "/status.json" => Page::Json,
        "/healthz" => return Found::Alive,
        _ => return Found::Nothing,
    })
}

/// The socket for HTTP, or why it cannot be had, if there is to be one. To be called while root has not been given up.
pub fn bind(config: &Sequencer) -> Option<io::Result<TcpListener>> {
    Some(http::bound(config.listen?))
}

/// Why an address cannot be had: where root was refused first, and its successor may not even ask, what root was told.
fn refusal(of_root: Option<io::Error>, error: io::Error) -> io::Error {
    match of_root {
        Some(of_root) if error.kind() == io::ErrorKind::PermissionDenied => of_root,
        _ => error,
    }
}

impl Daemon {
    /// Takes over the socket that was bound at the start. Without one, another daemon may have ended meanwhile.
    pub(super) fn open_http(
        &mut self,
        bound: Option<io::Result<TcpListener>>,
        now: Instant,
    ) -> Option<String> {
        let bound = bound.zip(self.config.listen);
        let of_root = bound.and_then(|(bound, at)| {
            let registry = self.os.poll.registry();
            bound
                .and_then(|bound| self.http.adopt(bound, at, registry))
                .err()
        });
        self.move_http(of_root, now).map(|(line, _)| line)
    }

    /// Listens where the configuration says, instead of elsewhere. If that cannot be, the line that says so is
    /// returned, with whether it is news.
    fn move_http(&mut self, of_root: Option<io::Error>, now: Instant) -> Option<(String, bool)> {
        let Some(wanted) = self.config.listen else {
            self.http.close();
            self.missing = None;
            return None;
        };
        let result = self.http.listen(wanted, self.os.poll.registry());
        let before = self.missing.take();
        let Err(error) = result else {
            if before.is_some() {
                let line = format!("Listening on {wanted} now.");
                self.log.tell(&Event::Http(Level::Info, &line));
            }
            return None;
        };
        let why = format!("{wanted}: {}", error_text(&refusal(of_root, error)));
        let stays = match self.http.bound() {
            Some(bound) => format!("it stays at {bound}, and this"),
            None => "this".to_string(),
        };
        let after = seconds(TRY_AGAIN);
        let line = format!("Cannot listen on {why}; {stays} is tried again every {after} seconds.");
        let is_news = before.is_none_or(|before| before.wanted != wanted || before.why != why);
        self.missing = Some(Missing {
            wanted,
            why,
            again: now + TRY_AGAIN,
        });
        Some((line, is_news))
    }

    /// Does the same, and logs what is news.
    pub(super) fn follow_http(&mut self, now: Instant) -> Option<String> {
        let (line, is_news) = self.move_http(None, now)?;
        if is_news {
            self.log.tell(&Event::Http(Level::Warning, &line));
        }
        Some(line)
    }

    /// When an address is tried again.
    pub(super) fn http_deadline(&self) -> Option<Instant> {
        self.missing.as_ref().map(|missing| missing.again)
    }

    /// Tries an address again whose time has come.
    pub(super) fn act_on_http(&mut self, now: Instant) {
        if self.http_deadline().is_some_and(|at| at <= now) {
            let _ = self.follow_http(now);
        }
    }

    /// Accepts no more clients.
    pub(super) fn close_http(&mut self) {
        self.http.close();
        self.missing = None;
    }

    /// Takes one request. A page that was made within the last second is given at once, and so is whether all is well;
    /// another one is made when there is time.
    pub(super) fn serve_http(&mut self, now: Moment) {
        let Some(asked) = self.http.next_request(now) else {
            return;
        };
        let answer = match find(&asked.path) {
            Found::Page(page) => match self.showing.kept(page, now.instant) {
                Some(answer) => answer,
                // It is a line, and whoever asks for it gives up soon.
                None if page == Page::Ready => self.make_page(page, now),
                None => {
                    let head = asked.head;
                    let form = Form::Page { page, head };
                    return self.showing.add(asked.client, form, now);
                }
            },
            Found::Alive => Answer::of_text(ALIVE),
            Found::Nothing => Answer::of_status(404),
        };
        self.http.answer(&[asked.client], &answer, asked.head, now);
    }

    /// Gives a page to these clients. It is made if it is older than a second.
    pub(super) fn show_page(&mut self, clients: &[u64], page: Page, head: bool) {
        let now = system::now();
        let answer = self.showing.kept(page, now.instant).unwrap_or_else(|| {
            let before = system::processor_time();
            let answer = self.make_page(page, now);
            let cost = system::processor_time().saturating_sub(before);
            self.showing.made(cost, Instant::now());
            answer
        });
        self.http.answer(clients, &answer, head, now);
    }

    /// Makes a page, which is shared for a second.
    fn make_page(&mut self, page: Page, now: Moment) -> Answer {
        let answer = page.make(&self.view_with_lease(now));
        self.showing.keep(page, answer.clone(), Instant::now());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_told_as_one_that_a_user_may_not_have() {
        let error = |kind: io::ErrorKind| io::Error::from(kind);
        let (taken, denied) = (io::ErrorKind::AddrInUse, io::ErrorKind::PermissionDenied);
        let told =
            |of_root: Option<io::ErrorKind>, now| refusal(of_root.map(error), error(now)).kind();
        assert_eq!(told(Some(taken), denied), taken);
        assert_eq!(told(Some(denied), taken), taken);
        assert_eq!(told(None, denied), denied);
    }
}
