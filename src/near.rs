//! Which known word an unknown one was most likely meant to be. Pure.

use crate::text::listed;

/// So many known words are listed.
const MOST_LISTED: usize = 20;
/// The longest word that is compared with others.
const LONGEST: usize = 64;
/// With more names than this, only so many are compared: a slip of the finger must not hold up the loop.
const MOST_COMPARED: usize = 10_000;

/// The one of `known` that `word` was meant to be, if at most a third of it differs: the first of the nearest.
/// Capital letters do not matter.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let mut nearest = None;
    let mut least = usize::MAX;
    for name in known.into_iter().take(MOST_COMPARED) {
        let most = word.len().max(name.len()) / 3;
        if let Some(distance) =
            distance(&word, &name.to_ascii_lowercase(), most).filter(|n| *n < least)
        {
            nearest = Some(name);
            least = distance;
        }
    }
    nearest
}

/// What to say behind an unknown `word`: the one of `known` that was most likely meant, or all there are, which are
/// `called` so.
pub fn instead(word: &str, known: &[&str], called: &str) -> String {
    match nearest(word, known.iter().copied()) {
        Some(name) => format!("; did you mean '{name}'?"),
        None if known.is_empty() => String::new(),
        None => format!("; {called}: {}", listed(known.iter(), MOST_LISTED)),
    }
}

/// Damerau's distance of two words, if it is at most `most`: how many bytes have to be changed, added, dropped or
/// swapped with their neighbours to make one of the other (optimal string alignment).
pub fn distance(word: &str, name: &str, most: usize) -> Option<usize> {
    let (word, name) = (word.as_bytes(), name.as_bytes());
    // What is much longer than the other is no slip of the finger, and would take long to compare.
    if word.len().max(name.len()) > LONGEST || word.len().abs_diff(name.len()) > most {
        return None;
    }
    // Three rows of the table; the first two begin as if nothing of `name` had been read.
    let mut rows = [[0; LONGEST + 1]; 3];
    for (j, cell) in rows[1].iter_mut().enumerate() {
        *cell = j;
    }
    for (i, c) in name.iter().enumerate() {
        let [above, row, next] = &mut rows;
        next[0] = i + 1;
        for (j, d) in word.iter().enumerate() {
            let changed = row[j] + usize::from(c != d);
            next[j + 1] = changed.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && name[i - 1] == *d && word[j - 1] == *c {
                next[j + 1] = next[j + 1].min(above[j - 1] + 1);
            }
        }
        rows.rotate_left(1);
    }
    Some(rows[1][word.len()]).filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_if_it_is_near() {
        let known = ["mindelay", "maxdelay", "command", "timeout", "livelog"];
        for (word, expected) in [
            ("midnelay", Some("mindelay")),
            ("comand", Some("command")),
            ("commnad", Some("command")),
            ("time-out", Some("timeout")),
            ("TIMEOUT", Some("timeout")),
            ("xdelay", Some("maxdelay")),
            ("mindel", Some("mindelay")),
            ("kommando", Some("command")),
            // Further away than a third.
            ("delay", None),
            ("cmd", None),
            ("user", None),
            ("directory", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest("bda", ["ab", "bad", "b"]), Some("bad"));
        assert_eq!(
            nearest("abcd", ["abcx", "abdc"]),
            Some("abcx"),
            "the first of two"
        );
        assert_eq!(nearest("x", []), None);
        assert_eq!(nearest(&"command".repeat(100), known), None);
        assert_eq!(nearest("größe", ["Grotte", "Grösse"]), Some("Grösse"));
    }

    #[test]
    fn what_is_not_near_gets_a_list_of_all_there_are() {
        assert_eq!(
            instead("comand", &["x", "command"], "keys"),
            "; did you mean 'command'?"
        );
        assert_eq!(instead("user", &["a", "b"], "keys"), "; keys: a and b");
        assert_eq!(instead("user", &[], "keys"), "");
        let many = ["n"; 25];
        assert!(instead("user", &many, "keys").ends_with(", n and 5 more"));
    }

    #[test]
    fn a_swap_counts_once_and_so_does_every_other_change() {
        for (word, name, away) in [
            ("", "", 0),
            ("ab", "ba", 1),
            ("abc", "ca", 3),
            ("kitten", "sitting", 3),
            ("a", "", 1),
            ("abcdef", "badcfe", 3),
        ] {
            assert_eq!(distance(word, name, away), Some(away), "{word} {name}");
            assert_eq!(distance(name, word, 9), Some(away), "{name} {word}");
            assert!(
                away == 0 || distance(word, name, away - 1).is_none(),
                "{word} {name}"
            );
        }
    }
}
