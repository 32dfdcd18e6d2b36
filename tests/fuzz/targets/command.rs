//! Any text as a command: no panic, and its words, each quoted, are split into the same words again.

#![no_main]

use buildd_sequencer::config::command::{first, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|command: &str| {
    let first = first(command);
    let Ok(words) = split(command) else {
        assert!(first.is_err());
        return;
    };
    assert_eq!(first.unwrap_or_default(), words.first().cloned().unwrap_or_default());
    let single: Vec<String> = words
        .iter()
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    assert_eq!(split(&single.join(" ")).as_ref(), Ok(&words));
    let escaped = |word: &String| -> String {
        word.chars()
            .map(|c| match c {
                '\n' => "'\n'".to_string(),
                c => format!("\\{c}"),
            })
            .collect::<String>()
            + "''"
    };
    let escaped: Vec<String> = words.iter().map(escaped).collect();
    assert_eq!(split(&escaped.join("\t")).as_ref(), Ok(&words));
});
