//! A command with its words, and the same command written for a shell.

use super::words::{Readers, Word};
use crate::config::dialect::stands_beside_key;
use crate::text::harmless;

/// The length in bytes of the longest command that a proposal repeats.
const LONGEST_PROPOSED: usize = 100;

/// Whose command it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A job's, which gets no further arguments.
    Job,
    /// `sendmail`, which does.
    Sendmail,
}

/// A command and its words.
#[derive(Debug)]
pub struct Line<'a> {
    /// As configured.
    pub command: &'a str,
    /// Split.
    pub words: Vec<Word<'a>>,
    /// Who reads its words.
    pub readers: Readers,
    whose: Whose,
}

impl<'a> Line<'a> {
    /// A command that has been split.
    pub fn new(command: &'a str, words: Vec<Word<'a>>, whose: Whose) -> Line<'a> {
        Line {
            readers: Readers::find(&words),
            command,
            words,
            whose,
        }
    }

    /// The line to write instead if a shell is wanted.
    pub fn in_a_shell(&self, shell: &str) -> String {
        if self.whose == Whose::Sendmail {
            return "put it into a script and name that".to_string();
        }
        let text = self.whole().filter(|text| !text.contains('\''));
        format!("write: {shell} -c '{}'", text.unwrap_or("...".into()))
    }

    /// The command as part of a proposal, if it is short enough for one line and no part of it would be a comment there.
    pub fn whole(&self) -> Option<String> {
        let fits = self.command.len() <= LONGEST_PROPOSED
            && !self.command.contains('\n')
            && stands_beside_key(self.command);
        fits.then(|| harmless(self.command).into_owned())
    }
}
