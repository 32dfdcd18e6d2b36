//! Where HTTP is served: the value of `listen`. Names are not looked up, since that could take long or change. Pure:
//! `core::net` has the addresses without the sockets.

use core::net::SocketAddr;
use std::fmt;
use std::time::Duration;

use crate::text::shown;

/// How long after an address could not be had it is tried again.
pub const TRY_AGAIN: Duration = Duration::from_secs(30);

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// At this address and port.
    At(SocketAddr),
    /// At this port of all addresses, IPv6 and IPv4.
    All(u16),
}

impl Listen {
    /// The port.
    pub fn port(self) -> u16 {
        match self {
            Listen::At(address) => address.port(),
            Listen::All(port) => port,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::At(address) => address.fmt(f),
            Listen::All(port) => write!(f, ":{port}"),
        }
    }
}

/// `127.0.0.1:9642`, `[::1]:9642`, `localhost:9642`, which is the first, or `:9642` for all addresses.
pub fn listen(value: &str) -> Result<Listen, String> {
    let (is_all, address) = match value.rsplit_once(':') {
        Some(("", port)) => (true, format!("0.0.0.0:{port}")),
        Some((name, port)) if name.eq_ignore_ascii_case("localhost") => {
            (false, format!("127.0.0.1:{port}"))
        }
        _ => (false, value.to_string()),
    };
    match address.parse::<SocketAddr>() {
        Ok(address) if address.port() == 0 => Err(format!(
            "{} has port 0, which is a different port at each start; give one from 1 to 65535",
            shown(value)
        )),
        Ok(address) if is_all => Ok(Listen::All(address.port())),
        Ok(address) => Ok(Listen::At(address)),
        Err(_) => Err(format!(
            "{} is not an address and port as in 127.0.0.1:9642 or [::1]:9642, nor a port of all addresses as in :9642; \
             no name but localhost is looked up",
            shown(value)
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_port_read_back_as_they_are_shown() {
        for (value, told) in [
            ("127.0.0.1:9642", "127.0.0.1:9642"),
            ("localhost:80", "127.0.0.1:80"),
            ("LocalHost:80", "127.0.0.1:80"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:9642", "[::1]:9642"),
            ("[::]:65535", "[::]:65535"),
            ("[fe80::1%2]:9642", "[fe80::1%2]:9642"),
            (":9642", ":9642"),
        ] {
            let read = listen(value).unwrap();
            assert_eq!(read.to_string(), told);
            assert_eq!(listen(told).unwrap(), read);
            assert!(told.ends_with(&format!(":{}", read.port())));
        }
        assert_eq!(listen(":9642").unwrap(), Listen::All(9642));
        assert_ne!(listen("[::]:9642").unwrap(), Listen::All(9642));
    }

    #[test]
    fn what_is_no_address_says_what_one_is() {
        for value in [
            "9642",
            "127.0.0.1",
            "host:9642",
            "::1:9642",
            "[::1]",
            "[::1]9642",
            ":",
            "127.0.0.1:",
            "127.1:9642",
            ":65536",
            ":-1",
            ":+1",
            ": 9642",
            "127.0.0.1:http",
            "*:9642",
            "localhost",
            "[localhost]:9642",
            "a:b:c",
        ] {
            let why = listen(value).unwrap_err();
            assert!(why.contains("is not an address and port"), "{value}");
        }
        for value in [":0", "127.0.0.1:0", "localhost:0", "[::1]:00"] {
            assert!(listen(value).unwrap_err().contains("port 0"), "{value}");
        }
    }
}
