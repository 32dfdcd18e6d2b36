//! Any bytes as the head of an HTTP request: no panic; it ends where it ends however much of it has come; and what is
//! understood is so simple that every reader would understand it alike.

#![no_main]

use buildd_sequencer::system::http::head::{MAX_HEAD, end, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(MAX_HEAD)];
    let Some(length) = end(bytes) else {
        assert!(read(bytes).is_none());
        return;
    };
    assert!(end(&bytes[..length - 1]).is_none());
    assert_eq!(end(&bytes[..length]), Some(length));
    let head = &bytes[..length];
    let Some(request) = read(head) else {
        return;
    };
    // It reads back from its own form as the same.
    let again = format!("{} {} HTTP/1.0\r\n\r\n", request.method, request.path);
    assert_eq!(read(again.as_bytes()), Some(request));
    let text = std::str::from_utf8(head).expect("a head is text");
    assert!(text.ends_with("\r\n\r\n") && !text.replace("\r\n", "").contains(['\r', '\n', '\0']));
    let lower = text.to_ascii_lowercase();
    if request.is_to_read() {
        assert!(!lower.contains("\r\ntransfer-encoding:") && !lower.contains("\r\n "));
    }
});
