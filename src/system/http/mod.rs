//! HTTP: one GET or HEAD from each client, one answer back (RFC 9110, RFC 9112). Its clients are served by `clients`;
//! this is the form of what they say and hear, and the socket's address. It does not know what is behind a path.

pub mod head;

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use mio::{Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::sockopt::{Ipv6V6Only, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket,
};

use super::clients::{Clients, Listener, Protocol};
use crate::clock::Moment;
use crate::config::listen::Listen;
use crate::text::Utc;

const PROTOCOL: Protocol = Protocol {
    longest: head::MAX_HEAD,
    end: head::end,
    lingers: true,
};

/// What goes with every answer: nothing is kept by anybody, and a page has neither scripts nor anything from elsewhere.
const FIELDS: &str = "Connection: close\r\n\
    Cache-Control: no-store\r\n\
    Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n";

/// Plain text.
pub const PLAIN: &str = "text/plain; charset=utf-8";

/// What is given for a path.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200 or, as the status codes of RFC 9110 go, what is wrong.
    pub status: u16,
    /// Its media type.
    pub kind: &'static str,
    /// Further header fields, each with its line end.
    pub fields: &'static str,
    /// The content.
    pub text: Rc<Vec<u8>>,
}

/// One client's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The client to answer.
    pub client: u64,
    /// The path.
    pub path: String,
    /// Whether only the head of the answer is wanted.
    pub head: bool,
}

/// The socket, if there is one, and its clients.
#[derive(Debug)]
pub struct Server {
    /// The clients, who are served whatever they say.
    pub clients: Clients,
    bound: Option<Listen>,
}

impl Server {
    /// A server without a socket, which uses the tokens from `first` on.
    pub fn new(first: Token) -> Server {
        Server {
            clients: Clients::new(&PROTOCOL, first),
            bound: None,
        }
    }

    /// Listens there, instead of elsewhere. If that cannot be, it stays where it is.
    pub fn listen(&mut self, wanted: Listen, registry: &Registry) -> io::Result<()> {
        if self.bound == Some(wanted) {
            return Ok(());
        }
        let own = self.bound.filter(|bound| bound.port() == wanted.port());
        let listener = match (bound(wanted), own) {
            // Its own socket may be what is in the way, as that of one address is in the way of all.
            (Err(error), Some(own)) if error.kind() == ErrorKind::AddrInUse => {
                self.close();
                bound(wanted).inspect_err(|_| {
                    if let Ok(old) = bound(own) {
                        let _ = self.adopt(old, own, registry);
                    }
                })
            }
            (result, _) => result,
        };
        self.adopt(listener?, wanted, registry)
    }

    /// Accepts the clients of a socket that listens `at` its address.
    pub fn adopt(
        &mut self,
        listener: TcpListener,
        at: Listen,
        registry: &Registry,
    ) -> io::Result<()> {
        self.clients.listen(Listener::Tcp(listener), registry)?;
        self.bound = Some(at);
        Ok(())
    }

    /// Accepts no more clients. Connected clients still get their answers.
    pub fn close(&mut self) {
        self.bound = None;
        self.clients.close();
    }

    /// Where it listens.
    pub fn bound(&self) -> Option<Listen> {
        self.bound
    }

    /// Takes the request that has waited longest, of a client that is still there. What is no request, or none for
    /// something to read, is refused here.
    pub fn next_request(&mut self, now: Moment) -> Option<Asked> {
        loop {
            let asked = self.clients.next_request()?;
            let client = asked.client;
            let request = asked.request.as_deref().map(head::read);
            // To HEAD no content is sent, whatever else is wrong with it (RFC 9110, 9.3.2).
            let head_only = asked
                .request
                .as_ref()
                .is_some_and(|bytes| bytes.starts_with(b"HEAD "));
            let (status, fields) = match &request {
                None => (431, ""),
                Some(None) => (400, ""),
                Some(Some(request)) if request.is_to_read() => {
                    return Some(Asked {
                        client,
                        path: request.path.to_string(),
                        head: request.method == "HEAD",
                    });
                }
                Some(Some(_)) => (405, "Allow: GET, HEAD\r\n"),
            };
            let refusal = Answer {
                fields,
                ..Answer::of_status(status)
            };
            self.answer(&[client], &refusal, head_only, now);
        }
    }

    /// Answers these clients, each unless it has gone.
    pub fn answer(&mut self, clients: &[u64], answer: &Answer, head_only: bool, now: Moment) {
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, words(answer.status));
        let date = Utc::from(now.wall).rfc5322();
        let _ = write!(
            head,
            "Date: {}GMT\r\nContent-Type: {}\r\nContent-Length: {}\r\n{FIELDS}{}\r\n",
            date.trim_end_matches("+0000"),
            answer.kind,
            answer.text.len(),
            answer.fields
        );
        let text = match head_only {
            true => Rc::default(),
            false => Rc::clone(&answer.text),
        };
        self.clients.answer_all(clients, &head, &text, now.instant);
    }
}

impl Answer {
    /// This text.
    pub fn of_text(text: &str) -> Answer {
        Answer {
            status: 200,
            kind: PLAIN,
            fields: "",
            text: Rc::new(text.into()),
        }
    }

    /// The answer that only tells this status.
    pub fn of_status(status: u16) -> Answer {
        Answer {
            status,
            ..Answer::of_text(&format!("{status} {}\n", words(status)))
        }
    }
}

fn words(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    }
}

/// A socket that listens there.
pub fn bound(at: Listen) -> io::Result<TcpListener> {
    let socket = match at {
        Listen::At(address) => named(address, true),
        Listen::All(port) => match named((Ipv6Addr::UNSPECIFIED, port).into(), false) {
            // Where there is no IPv6, each step has an error of its own for that.
            Err(errno) if errno != Errno::EADDRINUSE => {
                named((Ipv4Addr::UNSPECIFIED, port).into(), true)
            }
            result => result,
        },
    }?;
    listen(&socket, Backlog::MAXCONN)?;
    Ok(socket.into())
}

/// Whether this machine has the address, as far as that can be told without taking the port.
pub fn fit(at: Listen) -> io::Result<()> {
    match at {
        Listen::At(mut address) => {
            address.set_port(0);
            named(address, true)?;
        }
        Listen::All(_) => {}
    }
    Ok(())
}

/// A socket of this address. One of IPv6 is of IPv4 as well unless `only_own_family`.
fn named(address: SocketAddr, only_own_family: bool) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // Connections of a daemon that has ended are no reason to wait.
    setsockopt(&socket, ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, Ipv6V6Only, &only_own_family)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket)
}
