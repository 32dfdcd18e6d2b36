//! What the log has to say of itself. Each is an event like those of `event`, and stands in the manual's table.

use std::fmt;

use crate::json::Object;
use crate::message::{Level, Message};

/// A message of the log about itself.
#[derive(Debug)]
pub enum Own<'a> {
    /// So many lines were dropped.
    Dropped(u64),
    /// What a rotation met, or why there was none.
    File(Level, &'a str),
}

impl fmt::Display for Own<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Own::Dropped(number) => {
                let lines = if *number == 1 {
                    "line was"
                } else {
                    "lines were"
                };
                let why = "dropped here because the log could not be written";
                write!(f, "{number} log {lines} {why}")
            }
            Own::File(_, text) => f.write_str(text),
        }
    }
}

impl Message for Own<'_> {
    fn head(&self) -> (&'static str, Level) {
        match self {
            Own::Dropped(_) => ("dropped", Level::Error),
            Own::File(level, _) => ("log", *level),
        }
    }

    fn fields(&self, object: &mut Object<'_>) {
        if let Own::Dropped(number) = self {
            object.number("lines", *number);
        }
    }
}
