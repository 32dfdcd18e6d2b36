//! Finds the known word that an unknown one was most likely meant to be. Pure.

use crate::text::listed;

/// The most known words that are listed.
const MOST_LISTED: usize = 20;
/// The longest word that is compared with others.
const LONGEST: usize = 64;
/// How much is compared, counted in pairs of letters. That takes a few milliseconds: a typing mistake must not hold up
/// the loop.
const MOST_COMPARED: usize = 3_000_000;
/// As how many pairs a name counts besides, for what it costs to look at it.
const COST_OF_NAME: usize = 100;

/// The word of `known` that is nearest to `word`, the first one of several, if at most a third of it differs. Upper and
/// lower case count as the same.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A longer one is no typing mistake, and comparing it would take long.
    let is_short = |text: &str| text.len() <= LONGEST;
    if !is_short(word) {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let mut nearest = None;
    let mut least = usize::MAX;
    let mut compared = 0;
    for &name in known.iter().filter(|name| is_short(name)) {
        compared += COST_OF_NAME + word.len() * name.len();
        if compared > MOST_COMPARED {
            // One that is nearer may be among the others.
            return nearest.filter(|_| least <= 1);
        }
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

/// The end of a message about an unknown `word`: the known word that was most likely meant, or else all known words
/// after the phrase `called`.
pub fn instead(word: &str, known: &[&str], called: &str) -> String {
    match nearest(word, known) {
        Some(name) => format!("; did you mean '{name}'?"),
        None if known.is_empty() => String::new(),
        None => format!("; {called}: {}", listed(known, MOST_LISTED)),
    }
}

/// Damerau's distance between two words (optimal string alignment): how many bytes have to be changed, added, dropped
/// or swapped with their neighbours to turn one into the other. `None` if it is more than `most`.
pub fn distance(word: &str, name: &str, most: usize) -> Option<usize> {
    let (word, name) = (word.as_bytes(), name.as_bytes());
    if word.len().max(name.len()) > LONGEST || word.len().abs_diff(name.len()) > most {
        return None;
    }
    // Three rows of the table. The first two begin as if nothing of `name` had been read.
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
mod tests;
