//! What the loop waits for, in the order in which it is served. The lease comes first: what runs without one has to be
//! killed. Then comes output, so that a run's last words are there when it ends. Connected clients come before new ones,
//! so that a flood of new ones crowds nobody out. Reaping comes last.

use mio::Token;

use crate::system::clients::{Clients, MAX_CLIENTS};
use crate::system::signals::Signals;

/// One source of events. The order of the variants is the order of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ready {
    /// The lease may have run out.
    Lease,
    /// The run's standard output.
    Stdout,
    /// The run's standard error.
    Stderr,
    /// sendmail can take more of the message.
    MailInput,
    /// sendmail has printed something.
    MailOutput,
    /// The log can take more.
    Log,
    /// A client of the control socket, by its slot.
    Client(usize),
    /// A new client connects to the control socket.
    Listener,
    /// A client of HTTP, by its slot.
    HttpClient(usize),
    /// A new client of HTTP connects.
    HttpListener,
    /// A signal, by its index among those watched; SIGCHLD is the last of them.
    Signal(usize),
}

const LOG: usize = 5;
const CLIENTS: usize = LOG + 1;
const LISTENER: usize = CLIENTS + MAX_CLIENTS;
const HTTP_CLIENTS: usize = CLIENTS + Clients::TOKENS;
const HTTP_LISTENER: usize = HTTP_CLIENTS + MAX_CLIENTS;
const SIGNALS: usize = HTTP_CLIENTS + Clients::TOKENS;
/// How many there can be.
pub(super) const SOURCES: usize = SIGNALS + Signals::TOKENS;

impl Ready {
    /// The token under which it is registered; tokens are in the same order.
    pub(super) fn token(self) -> Token {
        Token(match self {
            Ready::Lease => 0,
            Ready::Stdout => 1,
            Ready::Stderr => 2,
            Ready::MailInput => 3,
            Ready::MailOutput => 4,
            Ready::Log => LOG,
            Ready::Client(slot) => CLIENTS + slot,
            Ready::Listener => LISTENER,
            Ready::HttpClient(slot) => HTTP_CLIENTS + slot,
            Ready::HttpListener => HTTP_LISTENER,
            Ready::Signal(index) => SIGNALS + index,
        })
    }

    /// What a token stands for.
    pub(super) fn of(token: Token) -> Option<Ready> {
        Some(match token.0 {
            0 => Ready::Lease,
            1 => Ready::Stdout,
            2 => Ready::Stderr,
            3 => Ready::MailInput,
            4 => Ready::MailOutput,
            LOG => Ready::Log,
            slot @ CLIENTS..LISTENER => Ready::Client(slot - CLIENTS),
            LISTENER => Ready::Listener,
            slot @ HTTP_CLIENTS..HTTP_LISTENER => Ready::HttpClient(slot - HTTP_CLIENTS),
            HTTP_LISTENER => Ready::HttpListener,
            index @ SIGNALS..SOURCES => Ready::Signal(index - SIGNALS),
            _ => return None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_variants_are_in_one_order_and_stand_for_each_other() {
        let all: Vec<Ready> = (0..SOURCES)
            .map(|token| Ready::of(Token(token)).unwrap())
            .collect();
        assert!(all.is_sorted());
        for (token, ready) in all.iter().enumerate() {
            assert_eq!(ready.token(), Token(token));
        }
        assert_eq!(Ready::of(Token(SOURCES)), None);
        assert_eq!(all.last(), Some(&Ready::Signal(Signals::TOKENS - 1)));
    }
}
