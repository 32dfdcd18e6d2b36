use proptest::prelude::*;

use super::*;

fn answers(head: &[u8]) -> Option<(String, String)> {
    let end = end(head)?;
    read(&head[..end]).map(|request| (request.method.into(), request.path.into()))
}

#[test]
fn a_request_is_its_method_and_path() {
    for (head, method, path) in [
        ("GET / HTTP/1.0\r\n\r\n", "GET", "/"),
        (
            "GET /metrics HTTP/1.1\r\nHost: a:9642\r\n\r\n",
            "GET",
            "/metrics",
        ),
        (
            "HEAD /a?b=/c HTTP/1.1\r\nhost:\r\nAccept: */*\r\n\r\n",
            "HEAD",
            "/a",
        ),
        (
            "GET http://a:1/b?c HTTP/1.1\r\nHOST: a:1\r\n\r\n",
            "GET",
            "/b",
        ),
        ("GET HTTP://a HTTP/1.0\r\n\r\n", "GET", "/"),
        ("GET http://a?b=/c HTTP/1.0\r\n\r\n", "GET", "/"),
        (
            "BREW /pot HTTP/1.0\r\nContent-Length: 5\r\nX: \u{e9}\t\"\r\n\r\nbeans",
            "BREW",
            "/pot",
        ),
        ("CONNECT a:80 HTTP/1.0\r\n\r\n", "CONNECT", "a:80"),
        ("OPTIONS * HTTP/1.0\r\n\r\n", "OPTIONS", "*"),
        (
            "GET // HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
            "GET",
            "//",
        ),
    ] {
        let expected = Some((method.to_string(), path.to_string()));
        assert_eq!(answers(head.as_bytes()), expected, "{head:?}");
    }
}

#[test]
fn what_two_readers_could_understand_differently_is_refused() {
    for line in [
        "",
        "GET",
        "GET /",
        "GET / ",
        "GET / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / http/1.0",
        "GET / HTTP/1.0 ",
        "GET  / HTTP/1.0",
        " GET / HTTP/1.0",
        "GET /a b HTTP/1.0",
        "GET\t/ HTTP/1.0",
        "GET * HTTP/1.0",
        "GET a HTTP/1.0",
        "GET /\u{e9} HTTP/1.0",
        "G(T / HTTP/1.0",
        "GET https://a/ HTTP/1.0",
        "OPTIONS  HTTP/1.0",
        "PRI * HTTP/2.0",
        "GET / HTTP/1.0\n",
        "GET / HTTP/1.0\rX: y",
    ] {
        let head = format!("{line}\r\n\r\n");
        assert_eq!(answers(head.as_bytes()), None, "{line:?}");
    }
    for field in [
        "Content-Length: 1",
        "content-length: 00",
        "Content-Length: 0, 5",
        "Content-Length:",
        "Transfer-Encoding: chunked",
        "TRANSFER-ENCODING: identity",
        "Transfer-Encoding: 0",
        "Host",
        "Host : a",
        " folded",
        "\tfolded",
        ": a",
        "a\u{e9}: b",
        "A: b\rC: d",
        "A: b\0",
        "A: b\u{7f}",
        "A: \u{1}",
        "A: b\nC: d",
        "Host: b",
    ] {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            let head = format!("GET / {version}\r\nHost: a\r\n{field}\r\n\r\n");
            assert_eq!(answers(head.as_bytes()), None, "{field:?}");
        }
    }
    assert_eq!(answers(b"GET / HTTP/1.0\r\nA: \xff\r\n\r\n"), None);
    assert_eq!(answers(b"GET / HTTP/1.0\n\n"), None);
}

#[test]
fn a_head_ends_with_an_empty_line_or_where_it_can_be_none() {
    for (bytes, length) in [
        (&b""[..], None),
        (b"GET / HTTP/1.0\r\n", None),
        (b"GET / HTTP/1.0\r\n\r", None),
        (b"GET / HTTP/1.0\r\n\r\nmore", Some(18)),
        (b"\r\nGET", Some(2)),
        (b"GET / HTTP/1.0\nHost: a", Some(15)),
        (b"\x16\x03\x01\x02", Some(1)),
        (b"GET /\0", Some(6)),
    ] {
        assert_eq!(end(bytes), length, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_request_or_none_and_more_bytes_change_no_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        pieces in proptest::collection::vec(
            prop_oneof!["GET ", "/a", " HTTP/1.1", "\r\n", "Host: b", "Content-Length: 0", "[ -~]{0,3}"], 0..12),
    ) {
        for bytes in [bytes, pieces.concat().into_bytes()] {
            let Some(length) = end(&bytes) else { continue };
            prop_assert!((0..length).all(|shorter| end(&bytes[..shorter]).is_none()));
            prop_assert_eq!(end(&bytes[..length]), Some(length));
            if let Some(request) = read(&bytes[..length]) {
                prop_assert!(is_token(request.method) && !request.path.is_empty());
                prop_assert!(request.path.bytes().all(|byte| byte.is_ascii_graphic()));
                let is_path = request.path.starts_with('/') && !request.path.contains('?');
                prop_assert!(is_path || !request.is_to_read());
            }
        }
    }
}
