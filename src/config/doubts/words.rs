//! The words of a command and what is quoted in them, and which words a shell reads in the end: the text after `-c`,
//! and the words that `ssh` hands to the other side.

use crate::config::command::{Piece, Quoting, pieces};

/// How many options of a shell are looked at. Each shell that a command names is looked for its text.
const MOST_OPTIONS: usize = 100;

/// A word, with the quoting of each of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Word<'a> {
    /// Without its quotes.
    pub text: &'a str,
    /// The quoting of each byte of the text.
    pub quoting: &'a [Quoting],
    /// Whether it had quotes, even empty ones.
    quoted: bool,
}

impl<'a> Word<'a> {
    /// Whether no part of it is quoted.
    pub fn is_bare(self) -> bool {
        !self.quoted
    }

    /// Whether its first `count` bytes are not quoted.
    pub fn bare(self, count: usize) -> bool {
        self.quoting
            .iter()
            .take(count)
            .all(|quoting| *quoting == Quoting::Bare)
    }

    /// Whether it begins with these characters, none of them quoted.
    pub fn begins(self, text: &str) -> bool {
        self.text.starts_with(text) && self.bare(text.len())
    }

    /// The name of the program that it may be.
    pub fn program(self) -> &'a str {
        let slash = self.text.bytes().rposition(|b| b == b'/');
        &self.text[slash.map_or(0, |at| at + 1)..]
    }
}

/// Splits one command after another in the same memory.
#[derive(Debug, Default)]
pub struct Marked {
    text: String,
    quoting: Vec<Quoting>,
    /// Where each word ends in `text`, and whether it had quotes.
    ends: Vec<(usize, bool)>,
}

impl Marked {
    /// The words of `command`; none if it cannot be split.
    pub fn read(&mut self, command: &str) -> Vec<Word<'_>> {
        self.text.clear();
        self.quoting.clear();
        self.ends.clear();
        let mut word = None;
        for piece in pieces(command).chain([Ok(Piece::End)]) {
            match piece {
                Ok(Piece::Text(text, quoting)) => {
                    word = Some(word == Some(true) || quoting != Quoting::Bare);
                    self.text.push_str(text);
                    self.quoting.resize(self.text.len(), quoting);
                }
                Ok(Piece::End) => {
                    let word = word.take().map(|quoted| (self.text.len(), quoted));
                    self.ends.extend(word);
                }
                Err(_) => return Vec::new(),
            }
        }
        let mut start = 0;
        let mut words = Vec::with_capacity(self.ends.len());
        for &(end, quoted) in &self.ends {
            words.push(Word {
                text: &self.text[start..end],
                quoting: &self.quoting[start..end],
                quoted,
            });
            start = end;
        }
        words
    }
}

/// Who else reads the words of a command.
#[derive(Debug)]
pub struct Readers {
    /// Whether each word is what a shell is given behind `-c`.
    texts: Vec<bool>,
    /// From here on a shell on another host reads them.
    remote: usize,
}

impl Readers {
    /// Finds those of `words`.
    pub fn find(words: &[Word<'_>]) -> Readers {
        let mut readers = Readers {
            texts: vec![false; words.len()],
            remote: words.len(),
        };
        // Only one of each kind: it looks at all that follows.
        let (mut handed_on, mut goes_elsewhere) = (false, false);
        for (place, word) in words.iter().enumerate() {
            let after = place + 1;
            let text = match word.program() {
                "sh" | "ash" | "bash" | "csh" | "dash" | "fish" | "ksh" | "mksh" | "rbash"
                | "tcsh" | "zsh" => shell_text(words, after),
                "flock" | "runuser" | "su" if !handed_on => {
                    handed_on = true;
                    text_of_other(words, after)
                }
                "script" | "sg" if place == 0 => text_of_other(words, after),
                "ssh" if !goes_elsewhere => {
                    goes_elsewhere = true;
                    readers.remote = remote_command(words, after);
                    None
                }
                _ => None,
            };
            if let Some(is_text) = text.and_then(|at| readers.texts.get_mut(at)) {
                *is_text = true;
            }
        }
        readers
    }

    /// Whether a shell reads the word at this place, so that nothing can be said of it.
    pub fn shell_reads(&self, place: usize) -> bool {
        self.texts.get(place) == Some(&true)
    }

    /// Whether a shell elsewhere does.
    pub fn is_remote(&self, place: usize) -> bool {
        place >= self.remote
    }
}

/// The place of the text behind `-c` (POSIX XCU `sh`): what follows all options. None if a script is run instead.
fn shell_text(words: &[Word<'_>], mut place: usize) -> Option<usize> {
    let mut is_text = false;
    for _ in 0..MOST_OPTIONS {
        let option = words.get(place)?.text;
        place += 1;
        match option.as_bytes() {
            b"--" if is_text => return Some(place),
            b"--command" => return Some(place),
            b"--rcfile" | b"--init-file" => place += 1,
            [b'-', b'-', ..] => {}
            [sign @ (b'-' | b'+'), letters @ ..] => {
                is_text |= *sign == b'-' && letters.contains(&b'c');
                // An option of the shell itself follows.
                place += usize::from(matches!(letters.last(), Some(b'o' | b'O')));
            }
            _ => return is_text.then_some(place - 1),
        }
    }
    None
}

/// The same for programs that hand on the text behind their own `-c`, wherever that stands.
fn text_of_other(words: &[Word<'_>], from: usize) -> Option<usize> {
    (from..words.len()).find_map(|place| match words[place].text.as_bytes() {
        b"--command" => Some(place + 1),
        [b'-', b'-', b'c', b'o', ..] => Some(place),
        [b'-', b'-', ..] => None,
        [b'-', .., b'c'] => Some(place + 1),
        _ => None,
    })
}

/// Where the command for the other host begins: behind the options and the host (ssh(1)).
fn remote_command(words: &[Word<'_>], mut place: usize) -> usize {
    while let Some([b'-', letters @ ..]) = words.get(place).map(|word| word.text.as_bytes()) {
        let takes_value = letters.len() == 1 && b"BbcDEeFIiJLlmOoPpQRSWw".contains(&letters[0]);
        place += 1 + usize::from(takes_value);
    }
    place + 1
}
