//! Characters that look like others, or like nothing. Word processors, web pages and chat windows put them in the
//! place of blanks, quotes and dashes.

use std::fmt;

use crate::text::{is_visible, shown};

/// What a character looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Blank,
    Nothing,
    SingleQuote,
    DoubleQuote,
    Dash,
}

/// A character that is not what it looks like; prints as what will happen and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookAlike {
    character: char,
    kind: Kind,
}

impl LookAlike {
    /// Whether `character` is one.
    pub fn of(character: char) -> Option<LookAlike> {
        let kind = match character {
            '\u{a0}'
            | '\u{1680}'
            | '\u{2000}'..='\u{200a}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}' => Kind::Blank,
            '\u{b4}' | '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{ff07}' => Kind::SingleQuote,
            '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ff02}' => Kind::DoubleQuote,
            '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => {
                Kind::Dash
            }
            c if !is_visible(c) && !c.is_ascii() => Kind::Nothing,
            _ => return None,
        };
        Some(LookAlike { character, kind })
    }

    /// What will happen and what to write instead in a value in which no quotes are read.
    pub fn where_nothing_quotes(self) -> String {
        match self.kind {
            Kind::SingleQuote | Kind::DoubleQuote => {
                let character = shown(&self.character.to_string());
                format!(
                    "{character} looks like a quote and is part of the value; no quotes are read here, so take it out"
                )
            }
            Kind::Blank | Kind::Nothing | Kind::Dash => self.to_string(),
        }
    }

    /// Whether it looks like a blank or like nothing.
    pub fn is_invisible(self) -> bool {
        matches!(self.kind, Kind::Blank | Kind::Nothing)
    }
}

impl fmt::Display for LookAlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            Kind::Blank => "is a blank that separates nothing here; write a plain one",
            Kind::Nothing => "cannot be seen and is part of the value; take it out",
            Kind::SingleQuote => "looks like a quote and quotes nothing; write ' or \"",
            Kind::DoubleQuote => "looks like a quote and quotes nothing; write \"",
            Kind::Dash => "looks like '-' and is another character; write '-'",
        };
        write!(f, "{} {what}", shown(&self.character.to_string()))
    }
}
