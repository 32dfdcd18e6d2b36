//! Any text as a command: what is doubted of it can be told in one line, nothing is doubted without a character of a
//! shell's, what looks plain at first sight is plain, and quotes silence everything.

#![no_main]

use buildd_sequencer::config::command::split;
use buildd_sequencer::config::doubts::{Commands, Whose, is_plain, shell_that_knows};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|command: &str| {
    let mut commands = Commands::default();
    let found = commands.look(command, Whose::Job);
    for message in &found {
        assert!(!message.contains(char::is_control), "{message}");
    }
    assert!(found.len() <= 3, "{found:?}");
    if is_plain(command) {
        assert_eq!(found, [""; 0], "{command}");
    }
    let Ok(words) = split(command) else {
        assert_eq!(found, [""; 0], "{command}");
        return;
    };
    let first = words.first().map_or("", String::as_str);
    let shells_own = |c: char| "|&;#<>$`~*=@:+!-(0123456789".contains(c) || !c.is_ascii();
    if !command.contains(shells_own) && shell_that_knows(first).is_none() {
        assert_eq!(found, [""; 0], "{command}");
    }
    let quoted = |word: &String| format!("'{}'", word.replace('\'', r"'\''"));
    let quoted: Vec<String> = words.iter().map(quoted).collect();
    for whose in [Whose::Job, Whose::Sendmail] {
        assert_eq!(
            commands.look(&quoted.join(" "), whose),
            [""; 0],
            "{command}"
        );
    }
});
