//! Splits a command into words as a shell does (POSIX XCU 2.2), without being one: quotes and backslashes mean
//! what they mean there; `$`, `*`, `;`, `#` and the like are ordinary characters. Pure.

use std::fmt;

/// Why a command cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// This quote is opened and never closed.
    Unclosed(char),
    /// A backslash is the last character, with nothing to quote.
    LoneBackslash,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unclosed(quote) => write!(f, "a {quote} is opened and never closed"),
            Error::LoneBackslash => f.write_str("the backslash at the end quotes nothing"),
        }
    }
}

/// How a character is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// Not at all.
    Bare,
    /// By double quotes, in which `$` and the backquote keep their meaning for a shell.
    Double,
    /// By single quotes or a backslash.
    Full,
}

/// A part of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A piece of the current word; it begins a word if there is none. It may be empty.
    Text(&'a str, Quoting),
    /// The end of the current word, if there is one.
    End,
}

/// Reads a command piece by piece, up to its end or the first error.
#[derive(Debug)]
pub struct Pieces<'a> {
    rest: &'a str,
    in_double: bool,
}

/// Reads `command`: words end at white space; `'...'` keeps everything, `"..."` everything but a backslash
/// before `"`, `\`, `$` or a backquote; outside of quotes a backslash keeps the next character; a backslash
/// before a line break joins the lines.
pub fn pieces(command: &str) -> Pieces<'_> {
    Pieces {
        rest: command,
        in_double: false,
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let special = |b: u8| match b {
                b'"' | b'\\' => true,
                _ => !self.in_double && (b == b'\'' || b.is_ascii_whitespace()),
            };
            let end = self
                .rest
                .bytes()
                .position(special)
                .unwrap_or(self.rest.len());
            let plain = if self.in_double {
                Quoting::Double
            } else {
                Quoting::Bare
            };
            if end > 0 {
                return Some(Ok(Piece::Text(self.cut(end), plain)));
            }
            match self.rest.as_bytes().first() {
                None if self.in_double => return self.fail(Error::Unclosed('"')),
                None => return None,
                Some(b'"') => {
                    self.cut(1);
                    self.in_double = !self.in_double;
                    // Empty quotes make a word, too.
                    return Some(Ok(Piece::Text("", plain)));
                }
                Some(b'\'') => {
                    self.cut(1);
                    let Some(end) = self.rest.find('\'') else {
                        return self.fail(Error::Unclosed('\''));
                    };
                    let quoted = self.cut(end);
                    self.cut(1);
                    return Some(Ok(Piece::Text(quoted, Quoting::Full)));
                }
                Some(b'\\') => match self.rest.chars().nth(1) {
                    None if self.in_double => return self.fail(Error::Unclosed('"')),
                    None => return self.fail(Error::LoneBackslash),
                    Some('\n') => {
                        self.cut(2);
                    }
                    Some(kept) => {
                        let both = self.cut(1 + kept.len_utf8());
                        let piece = match kept {
                            '"' | '\\' | '$' | '`' => Piece::Text(&both[1..], Quoting::Full),
                            _ if self.in_double => Piece::Text(both, Quoting::Double),
                            _ => Piece::Text(&both[1..], Quoting::Full),
                        };
                        return Some(Ok(piece));
                    }
                },
                Some(_) => {
                    self.cut(1);
                    return Some(Ok(Piece::End));
                }
            }
        }
    }
}

impl<'a> Pieces<'a> {
    /// Nothing comes after an error.
    fn fail(&mut self, error: Error) -> Option<Result<Piece<'a>, Error>> {
        *self = pieces("");
        Some(Err(error))
    }

    /// Takes this many bytes off the front.
    fn cut(&mut self, count: usize) -> &'a str {
        let (start, rest) = self.rest.split_at(count);
        self.rest = rest;
        start
    }
}

/// The words of `command`.
pub fn split(command: &str) -> Result<Vec<String>, Error> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    for piece in pieces(command) {
        let Piece::Text(text, _) = piece? else {
            open = false;
            continue;
        };
        match words.last_mut().filter(|_| open) {
            Some(word) => word.push_str(text),
            None => words.push(text.to_string()),
        }
        open = true;
    }
    Ok(words)
}

/// The first word of `command`, its program; empty if there is none.
pub fn first(command: &str) -> Result<String, Error> {
    let mut first = String::new();
    let (mut begun, mut over) = (false, false);
    for piece in pieces(command) {
        match piece? {
            Piece::Text(text, _) => {
                begun = true;
                first.push_str(if over { "" } else { text });
            }
            Piece::End => over |= begun,
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(command: &str) -> Result<Vec<String>, Error> {
        split(command)
    }

    fn is(command: &str, expected: &[&str]) {
        let expected = expected.iter().map(|w| (*w).to_string()).collect();
        assert_eq!(words(command), Ok(expected), "{command}");
    }

    #[test]
    fn words_are_split_at_white_space_and_quoted_as_in_a_shell() {
        is("cmd a b", &["cmd", "a", "b"]);
        is(" \t cmd\n a ", &["cmd", "a"]);
        is(
            "sh -c 'echo \"$x\"; # y'",
            &["sh", "-c", "echo \"$x\"; # y"],
        );
        is(r#""a b"c'd e'\ f"#, &["a bcd e f"]);
        is(r#""\" \\ \$ \` \n""#, &[r#"" \ $ ` \n"#]);
        is(r"'\'\\ \'", &["\\\\", "'"]);
        is("'' a \"\"", &["", "a", ""]);
        is("a\\\nb \"c\\\nd\"", &["ab", "cd"]);
        is(
            "$HOME *.py ~ #x; | & > (",
            &["$HOME", "*.py", "~", "#x;", "|", "&", ">", "("],
        );
        is("", &[]);
    }

    #[test]
    fn what_is_opened_and_not_closed_is_an_error() {
        assert_eq!(words("a 'b"), Err(Error::Unclosed('\'')));
        assert_eq!(words("a \"b'"), Err(Error::Unclosed('"')));
        assert_eq!(words("a \"b\\"), Err(Error::Unclosed('"')));
        assert_eq!(words("a \\"), Err(Error::LoneBackslash));
    }

    /// The same, written by the letter of POSIX, one character at a time.
    fn model(command: &str) -> Result<Vec<String>, Error> {
        let mut words: Vec<String> = Vec::new();
        let mut word: Option<String> = None;
        let mut quote = None;
        let mut rest = command.chars();
        while let Some(c) = rest.next() {
            match (c, quote) {
                ('\'', Some('\'')) | ('"', Some('"')) => quote = None,
                ('\'' | '"', None) => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                ('\\', None) => match rest.next() {
                    None => return Err(Error::LoneBackslash),
                    Some('\n') => {}
                    Some(kept) => word.get_or_insert_default().push(kept),
                },
                ('\\', Some('"')) => match rest.next() {
                    None => break,
                    Some('\n') => {}
                    Some(kept) => {
                        let backslash = (!"\"\\$`".contains(kept)).then_some('\\');
                        word.get_or_insert_default()
                            .extend(backslash.into_iter().chain([kept]));
                    }
                },
                (c, None) if c.is_ascii_whitespace() => words.extend(word.take()),
                (c, _) => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        quote.map_or(Ok(words), |quote| Err(Error::Unclosed(quote)))
    }

    fn commands() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "'", "'", "\"", "\"", "\\", "\\", " ", "\t", "\n", "$", "`", "a", "bc", "é", "🦀",
        ]);
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_command_is_split_as_the_model_has_it(command in commands()) {
            let expected = model(&command);
            let program = expected.as_ref().map(|words| words.first().cloned().unwrap_or_default());
            prop_assert_eq!(first(&command), program.map_err(|error| *error));
            prop_assert_eq!(words(&command), expected);
        }

        #[test]
        fn a_piece_knows_how_it_was_quoted(command in commands()) {
            for piece in pieces(&command) {
                if let Ok(Piece::Text(text, Quoting::Bare)) = piece {
                    prop_assert!(!text.contains(['"', '\'', '\\']), "{}", text);
                }
            }
        }

        #[test]
        fn any_words_survive_quoting(given in prop::collection::vec(any::<String>(), 0..6)) {
            let quoted = |w: &String| format!("'{}'", w.replace('\'', r"'\''"));
            let command = given.iter().map(quoted).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words(&command), Ok(given));
        }
    }
}
