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

/// The words of `command`: split at white space; `'...'` keeps everything, `"..."` everything but a backslash
/// before `"`, `\`, `$` or a backquote; outside of quotes a backslash keeps the next character; a backslash
/// before a line break joins the lines.
pub fn split(command: &str) -> Result<Vec<String>, Error> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = command.chars();
    while let Some(c) = rest.next() {
        match c {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\'' => single_quoted(&mut rest, word.get_or_insert_default())?,
            '"' => double_quoted(&mut rest, word.get_or_insert_default())?,
            '\\' => match rest.next() {
                None => return Err(Error::LoneBackslash),
                Some('\n') => {}
                Some(quoted) => word.get_or_insert_default().push(quoted),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// The first word of a command that has been read, its program.
pub fn first(command: &str) -> String {
    let words = split(command).unwrap_or_default();
    words.into_iter().next().unwrap_or_default()
}

fn single_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Error> {
    for c in rest {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    Err(Error::Unclosed('\''))
}

fn double_quoted(rest: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), Error> {
    while let Some(c) = rest.next() {
        match c {
            '"' => return Ok(()),
            '\\' => match rest.next() {
                Some('\n') => {}
                Some(quoted @ ('"' | '\\' | '$' | '`')) => word.push(quoted),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            c => word.push(c),
        }
    }
    Err(Error::Unclosed('"'))
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

    proptest! {
        #[test]
        fn any_words_survive_quoting(given in prop::collection::vec(any::<String>(), 0..6)) {
            let quoted = |w: &String| format!("'{}'", w.replace('\'', r"'\''"));
            let command = given.iter().map(quoted).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words(&command), Ok(given));
        }
    }
}
