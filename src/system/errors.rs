//! The system's own words for its errors, without Rust's `(os error N)`.

use std::io;

use nix::errno::Errno;

/// strerror(3) for `errno`.
pub fn system_text(errno: Errno) -> String {
    error_text(&io::Error::from(errno))
}

/// An I/O error in the system's own words.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_string()
}

/// The system's number of an I/O error; EIO for one that Rust has found itself.
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Whether this error says that permission is missing, so that another user may be allowed.
pub fn is_refusal(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM)
}
