//! Any bytes as a line of the control socket and as a command line: no panic; what is understood reads back from
//! its own form as the same; what is not is told on one line.

#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use buildd_sequencer::cli::{Action, parse};
use buildd_sequencer::wire;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let line = String::from_utf8_lossy(bytes);
    match wire::parse(&line) {
        Ok(request) => {
            let again = request.to_string();
            assert!(!again.contains(char::is_control), "{again}");
            // A control character in a name, which no job has, comes back as a question mark.
            if !line.trim().contains(char::is_control) {
                assert_eq!(wire::parse(&again), Ok(request));
            }
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
    let words = bytes.split(|&byte| byte == b'\n');
    match parse(words.map(|word| OsString::from_vec(word.to_vec()))) {
        Ok((Action::Ask(request), _)) => {
            let line = request.to_string();
            assert!(!line.contains(char::is_control), "{line}");
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
    }
});
