//! The lease: until when this host may run anything. Somebody else decides that and writes it into a file; the daemon
//! obeys. Pure: the clock and the file are asked through what the caller hands in. Times are whole seconds of
//! CLOCK_BOOTTIME (clock_gettime(2)), which begins with the machine and counts the time while it is suspended.

/// What is known of the lease.
#[derive(Debug, Default)]
pub struct Lease {
    /// The end that was read last; 0 before the first time.
    until: u64,
    has_run_out: bool,
}

impl Lease {
    /// Whether something may be started or written now. The file is `read` only once the clock has come to the end that
    /// was read last. A lease that has run out stays so, whatever the file says later.
    ///
    /// The clock is asked again after the file: the daemon may have been stopped in between, and what it read before
    /// has no say in how late it is by now.
    pub fn holds(&mut self, clock: impl Fn() -> u64, read: impl FnOnce() -> u64) -> bool {
        if !self.has_run_out && clock() >= self.until {
            self.until = read();
            self.has_run_out = clock() >= self.until;
        }
        !self.has_run_out
    }

    /// The end that was read last.
    pub fn until(&self) -> u64 {
        self.until
    }

    /// Whether it has been found to have run out.
    pub fn has_run_out(&self) -> bool {
        self.has_run_out
    }
}

/// The end that the file's text names: a whole number, with white space around it or not. Whatever else is there is an
/// end that has always been over.
pub fn end(text: &[u8]) -> u64 {
    let digits = text.trim_ascii();
    // `parse` would also take a sign.
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| is_number);
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
