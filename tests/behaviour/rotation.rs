//! The log file under load, rotated by signal, by size and by another program at the same time. Jobs number their
//! lines, so that a lost, doubled or split line shows.

use std::fs;

use crate::common::{Daemon, Place, Signal, wait_for};

/// Appends to a file how far it has come, and says it.
const COUNT: &str = "n=$(($(cat count 2>/dev/null || echo 0) + 1))\necho $n >count.new\nmv count.new count\n\
                     echo \"number $n\"\necho \"trouble $n\" >&2\nexit $((n % 3))\n";

fn config(size: &str, keep: u32) -> String {
    format!(
        "[buildsequencer]\ncontrolsocket: none\nmailproblemsto: -\nlogfile: {{dir}}/sequencer.log\nlogsize: {size}\n\
         logkeep: {keep}\n[buildsequencer_job.count]\ncommand: ./job\nmindelay: 0\nstartdelay: 0\nalwayslog: true\n"
    )
}

/// Waits until that many runs have ended.
#[track_caller]
fn wait_for_count(place: &Place, count: u64) {
    wait_for(&format!("run {count}"), || {
        let now: u64 = place.read("count").trim().parse().unwrap_or(0);
        (now >= count).then_some(())
    });
}

/// The numbers of the rotated files, oldest first.
fn rotated(place: &Place) -> Vec<u32> {
    let mut numbers: Vec<u32> = fs::read_dir(place.dir())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix("sequencer.log.")?.parse().ok()
        })
        .collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

/// All rotated files and the log itself, oldest first. Each ends with a whole line.
#[track_caller]
fn whole_log(place: &Place) -> String {
    let numbers = rotated(place);
    let expected: Vec<u32> = (1..=numbers.len() as u32).rev().collect();
    assert_eq!(numbers, expected, "a file is missing in between");
    let names = numbers
        .iter()
        .map(|number| format!("sequencer.log.{number}"));
    let mut all = String::new();
    for name in names.chain(["sequencer.log".to_string()]) {
        let text = String::from_utf8(fs::read(place.path(&name)).unwrap()).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{name}: {text}");
        assert!(!text.starts_with('\t'), "{name} begins within a message");
        all += &text;
    }
    all
}

/// Each line is a stamped one or a further one, and the runs' words follow each other from run `first` on without a
/// gap. Returns the number of the last run, whose words may have been cut by the stop.
#[track_caller]
fn account_for(log: &str, first: u64) -> u64 {
    let mut said = Vec::new();
    for line in log.lines() {
        let stamped =
            line.len() > 28 && line.is_char_boundary(24) && line[24..].starts_with(" [-] ");
        assert!(stamped || line.starts_with('\t'), "{line:?}");
        for word in ["number", "trouble"] {
            let number = line
                .strip_prefix('\t')
                .and_then(|line| line.strip_prefix(word));
            if let Some(number) = number {
                said.push((word, number.trim().parse::<u64>().unwrap()));
            }
        }
    }
    let last = said.last().expect("a run in the log").1;
    let expected: Vec<_> = (first..=last).flat_map(words_of_run).collect();
    let whole = expected.len() - words_of_run(last).len();
    assert!(said.len() > whole, "too few words");
    assert_eq!(said, expected[..said.len().min(expected.len())]);
    last
}

/// What the log holds of one run: both outputs, and those of a failure once more in its report.
fn words_of_run(number: u64) -> Vec<(&'static str, u64)> {
    let mut words = vec![("number", number), ("trouble", number)];
    if number % 3 != 0 {
        words.extend([("trouble", number), ("number", number)]);
    }
    words
}

fn count(log: &str, text: &str) -> u64 {
    log.matches(text).count() as u64
}

#[test]
fn no_line_is_lost_or_split_by_signals_and_size_together() {
    let place = Place::new();
    place.script("job", COUNT);
    let daemon = place.daemon(&config("3K", 0));
    for round in 1..=15 {
        wait_for_count(&place, round * 10);
        for _ in 0..round {
            daemon.signal(Signal::SIGUSR1);
        }
    }
    daemon.stop();
    let log = whole_log(&place);
    let last = account_for(&log, 1);
    assert!(last >= 149);
    // All messages of each run, too. The last one was perhaps stopped before it said anything.
    let runs = count(&log, "] Running count\n");
    assert!(
        runs == last || runs == last + 1,
        "{runs} runs, {last} numbers"
    );
    assert_eq!(count(&log, "] Job count completed with exit code "), runs);
    assert_eq!(count(&log, "] Job output was:\n"), runs);
    assert_eq!(count(&log, "] Job error output was:\n"), runs);
    // The messages of 150 runs alone make more than 20 files of this size.
    assert!(rotated(&place).len() >= 20, "{:?}", rotated(&place));
    assert_eq!(count(&log, "cannot "), 0);
}

#[test]
fn only_so_many_files_stay_and_they_are_the_last_ones() {
    let place = Place::new();
    place.script("job", COUNT);
    let daemon = place.daemon(&config("2K", 3));
    for round in 1..=10 {
        wait_for_count(&place, round * 10);
        daemon.signal(Signal::SIGUSR1);
        daemon.signal(Signal::SIGUSR1);
    }
    wait_for_count(&place, 110);
    daemon.stop();
    let log = whole_log(&place);
    assert_eq!(rotated(&place), [3, 2, 1]);
    // From the first run that is there from its beginning.
    let from = &log[log.find("] Running count\n").unwrap() + 2..];
    let from = &from[from.find('\n').unwrap() + 1..];
    let first = from.split("\tnumber ").nth(1).unwrap().lines().next();
    assert!(account_for(from, first.unwrap().parse().unwrap()) >= 109);
    assert!(log.ends_with("] Main loop terminated.\n"));
}

#[test]
fn a_file_grows_past_its_size_by_one_turn_of_messages_at_most() {
    let place = Place::new();
    place.script("job", COUNT);
    let daemon = place.daemon(&config("5000", 0));
    wait_for_count(&place, 100);
    daemon.stop();
    let numbers = rotated(&place);
    assert!(numbers.len() > 5, "{numbers:?}");
    for number in numbers {
        let name = format!("sequencer.log.{number}");
        let length = fs::metadata(place.path(&name)).unwrap().len();
        assert!((5000..7500).contains(&length), "{name}: {length}");
    }
}

/// A log that has grown past its size turns with the next line. Where a signal comes first, that is its turn.
#[test]
fn a_signal_turns_a_file_once_that_has_grown_past_its_size() {
    for by_logrotate in [false, true] {
        let place = Place::new();
        place.script("job", "seq 1000");
        let job = "command: ./job\nmindelay: 1h\nstartdelay: 0\nalwayslog: yes\n";
        let config = config("2K", 1);
        let config = config.split("[buildsequencer_job.count]").next().unwrap();
        let daemon = place.daemon(&format!("{config}[buildsequencer_job.big]\n{job}"));
        let log = place.path("sequencer.log");
        let whole = wait_for("all of the run", || {
            let text = place.read("sequencer.log");
            text.contains("Scheduling big for 3.6e+03").then_some(text)
        });
        assert!(whole.contains("\t1000\n"));
        if by_logrotate {
            fs::rename(&log, place.path("sequencer.log.1")).unwrap();
        }
        daemon.signal(Signal::SIGUSR1);
        wait_for("the new log", || {
            let length = fs::metadata(&log).map(|it| it.len());
            length.is_ok_and(|it| it < 2000).then_some(())
        });
        daemon.stop();
        assert_eq!(rotated(&place), [1]);
        assert!(place.read("sequencer.log.1") == whole, "it is lost");
    }
}

/// What logrotate does: move the file away, then tell.
#[track_caller]
fn move_away(place: &Place, daemon: &Daemon<'_>, number: u32) {
    let log = place.path("sequencer.log");
    fs::rename(&log, place.path(&format!("moved.{number:03}"))).unwrap();
    daemon.signal(Signal::SIGUSR1);
    wait_for("the new log", || log.exists().then_some(()));
}

#[test]
fn no_line_is_lost_when_somebody_else_rotates() {
    let place = Place::new();
    place.script("job", COUNT);
    let daemon = place.daemon(&config("0", 10));
    for number in 0..20 {
        wait_for_count(&place, u64::from(number + 1) * 5);
        move_away(&place, &daemon, number);
    }
    daemon.stop();
    let moved = (0..20).map(|number| place.read(&format!("moved.{number:03}")));
    let log: String = moved.chain([place.read("sequencer.log")]).collect();
    assert!(account_for(&log, 1) >= 99);
    assert_eq!(rotated(&place), [0; 0]);
    let runs = count(&log, "] Running count\n");
    assert_eq!(count(&log, "] Job count completed with exit code "), runs);
}

#[test]
fn a_flood_of_live_lines_is_whole_across_files() {
    let place = Place::new();
    let lines: u64 = 50_000;
    let flood = format!(
        "[buildsequencer]\ncontrolsocket: none\nlogfile: {{dir}}/sequencer.log\nlogsize: 100K\nlogkeep: 0\n\
         [buildsequencer_job.flood]\ncommand: seq -f 'line %.0f of a flood' {lines}\nmindelay: 1h\nstartdelay: 0\n\
         livelog: true\n"
    );
    let daemon = place.daemon(&flood);
    wait_for("the flood", || (!rotated(&place).is_empty()).then_some(()));
    for _ in 0..10 {
        let files = rotated(&place).len();
        daemon.signal(Signal::SIGUSR1);
        wait_for("one more file", || {
            (rotated(&place).len() > files).then_some(())
        });
    }
    wait_for("the end of the flood", || {
        let names = rotated(&place)
            .into_iter()
            .map(|number| format!("sequencer.log.{number}"));
        names
            .chain(["sequencer.log".to_string()])
            .any(|name| place.read(&name).contains("Job flood completed"))
            .then_some(())
    });
    daemon.stop();
    let log = whole_log(&place);
    let mut expected = 1;
    for line in log.lines().filter_map(|line| line.split_once("] flood: ")) {
        assert_eq!(line.1, format!("line {expected} of a flood"));
        expected += 1;
    }
    assert_eq!(expected, lines + 1);
    assert!(rotated(&place).len() >= 10);
}
