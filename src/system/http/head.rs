//! The head of an HTTP request (RFC 9112): the request line and header fields, read strictly. Pure. It is our own and
//! not the crate `httparse`: of a request only the method, the path and whether it has a body matter here, and a reader
//! that accepts nothing else is smaller than one for every client and server, and leaves nothing that two readers could
//! understand differently.

/// The most bytes of a head, the empty line at its end included.
pub const MAX_HEAD: usize = 8192;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The method as it was sent.
    pub method: &'a str,
    /// The path, without the query. Of a request that is not to read it may be whatever else the method acts on.
    pub path: &'a str,
}

impl Request<'_> {
    /// Whether it asks for something to read, which changes nothing.
    pub fn is_to_read(&self) -> bool {
        matches!(self.method, "GET" | "HEAD")
    }
}

/// The length of the head that these bytes begin with. It ends with an empty line, or with the first byte that no head
/// has: whatever comes after that, the head is refused.
pub fn end(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at == line || bytes[at - 1] != b'\r' || at - 1 == line => return Some(at + 1),
            b'\n' => line = at + 1,
            b'\r' | b'\t' | b' '..=b'~' | 0x80.. => {}
            _ => return Some(at + 1),
        }
    }
    None
}

/// Reads a whole head; `None` if it is not one, or if a body could follow what asks for something to read. What else is
/// asked is refused by its method, and nothing after the head is ever taken for a request.
pub fn read(head: &[u8]) -> Option<Request<'_>> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.strip_suffix("\r\n\r\n")?.split("\r\n");
    let (request, is_1_1) = request_line(lines.next()?)?;
    let mut hosts = 0;
    for line in lines {
        let (name, value) = line.split_once(':')?;
        // A blank before the colon, or at the beginning of a continued line, is where readers differ.
        if !is_token(name) || !value.chars().all(is_text) {
            return None;
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let may_be = match value.trim_matches([' ', '\t']) {
            "0" => !is("transfer-encoding"),
            _ => !is("content-length") && !is("transfer-encoding"),
        };
        if !may_be && request.is_to_read() {
            return None;
        }
        hosts += usize::from(is("host"));
    }
    // RFC 9112, 3.2
    (hosts == 1 || hosts == 0 && !is_1_1).then_some(request)
}

/// `GET /metrics HTTP/1.1`, and whether it is HTTP/1.1.
fn request_line(line: &str) -> Option<(Request<'_>, bool)> {
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_1_1 = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return None,
    };
    let is_sound = words.next().is_none()
        && is_token(method)
        && !target.is_empty()
        && target.bytes().all(|byte| byte.is_ascii_graphic());
    let request = Request {
        method,
        path: path(target).unwrap_or(target),
    };
    // `OPTIONS *` and `CONNECT host:port` name no path and are refused by their method (RFC 9112, 3.2.3 and 3.2.4).
    let is_fit = is_sound && (request.path.starts_with('/') || !request.is_to_read());
    is_fit.then_some((request, is_1_1))
}

/// The path of `/path?query` or, as a proxy would have it, of `http://host/path`.
fn path(target: &str) -> Option<&str> {
    let target = match target.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("http://") => {
            let rest = &target[7..];
            &rest[rest.find(['/', '?']).unwrap_or(rest.len())..]
        }
        _ if target.starts_with('/') => target,
        _ => return None,
    };
    match target.split('?').next() {
        None | Some("") => Some("/"),
        path => path,
    }
}

/// Whether this is a name (RFC 9110, 5.6.2).
fn is_token(text: &str) -> bool {
    let is_mark = |byte: u8| b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

/// Whether this may stand in the value of a field.
fn is_text(c: char) -> bool {
    !c.is_ascii_control() || c == '\t'
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
