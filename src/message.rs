//! What the log takes: a message, how much it matters, and what it holds for people and for programs. What the messages
//! are is for `event` to say, and how they are written for `system::log`. Pure.

use std::fmt;

use crate::json::Object;

/// How much a message matters. On a standard output that is the journal it becomes a priority (sd-daemon(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `<6>`: the ordinary course of things.
    Info,
    /// `<4>`: a failed run, or something an operator should look at.
    Warning,
    /// `<3>`: lost mail, a stuck job, a refused reload.
    Error,
}

impl Level {
    /// All levels, and the word for each.
    pub const WORDS: [(&'static str, Level); 3] = [
        ("info", Level::Info),
        ("warning", Level::Warning),
        ("error", Level::Error),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Level::WORDS[self as usize].0
    }
}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As twistd does: a line with the time, and further lines behind a tab.
    Twistd,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// All formats, and the word for each.
    pub const WORDS: [(&'static str, Format); 2] =
        [("twistd", Format::Twistd), ("json", Format::Json)];

    /// Its word.
    pub fn word(self) -> &'static str {
        Format::WORDS[self as usize].0
    }
}

/// Which messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// All of these.
    Always,
    /// Those whose level matters enough.
    ByLevel,
    /// Those whose level matters enough, if decisions are logged (`spew`).
    Decision,
}

/// What a message holds of a job's output, for programs.
#[derive(Debug)]
pub enum Output<'a> {
    /// Nothing: each line of the text is an object.
    None,
    /// Fields of which a long one is cut to its ends.
    Ends(Vec<Stream<'a>>),
    /// Fields that are whole, in as many objects as they need.
    Whole(Vec<Stream<'a>>),
    /// What follows the text in `message`, whole, in as many objects as it needs.
    Line(&'a [u8]),
}

/// What is kept of one stream.
#[derive(Debug)]
pub struct Stream<'a> {
    /// The field's name.
    pub name: &'static str,
    /// What comes before the bytes that are missing.
    pub before: &'a [u8],
    /// The line that says how many are.
    pub gap: &'a [u8],
    /// What comes after them.
    pub after: [&'a [u8]; 2],
    /// How many are missing.
    pub missing: u64,
}

impl<'a> Stream<'a> {
    /// A stream of which nothing is missing.
    pub fn whole(name: &'static str, bytes: &'a [u8]) -> Stream<'a> {
        Stream {
            name,
            before: bytes,
            gap: &[],
            after: [&[], &[]],
            missing: 0,
        }
    }
}

/// A message. `Display` puts it into the words for people, but for `bytes`.
pub trait Message: fmt::Display {
    /// The event's documented word, and how much it matters.
    fn head(&self) -> (&'static str, Level);

    /// Whether it is logged.
    fn rank(&self) -> Rank {
        Rank::ByLevel
    }

    /// What follows the words byte for byte.
    fn bytes(&self) -> Option<[&[u8]; 5]> {
        None
    }

    /// Writes what it is about into a JSON object.
    fn fields(&self, object: &mut Object<'_>);

    /// What it holds of a job's output.
    fn output(&self) -> Output<'_> {
        Output::None
    }

    /// The words for programs, where they are others than those for people.
    fn title(&self) -> Option<&str> {
        None
    }
}
