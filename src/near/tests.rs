//! Tests of `near`.

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
        assert_eq!(nearest(word, &known), expected, "{word}");
    }
    assert_eq!(nearest("bda", &["ab", "bad", "b"]), Some("bad"));
    assert_eq!(
        nearest("abcd", &["abcx", "abdc"]),
        Some("abcx"),
        "the first of two"
    );
    assert_eq!(nearest("x", &[]), None);
    assert_eq!(nearest(&"command".repeat(100), &known), None);
    assert_eq!(nearest("größe", &["Grotte", "Grösse"]), Some("Grösse"));
}

#[test]
fn among_very_many_names_it_is_looked_for_among_the_first() {
    let other = "x".repeat(LONGEST);
    let mut known = vec![&*other; 1000];
    known[100] = "queue_builder";
    known.insert(
        0,
        "a name that is longer than all that is compared, and costs nothing, therefore",
    );
    assert_eq!(nearest("queue_bilder", &known), Some("queue_builder"));
    let known = [vec![&*other; 100_000], vec!["queue_builder"]].concat();
    assert_eq!(nearest("queue_bilder", &known), None);
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
