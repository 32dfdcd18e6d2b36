//! Random files are read as Python's own ConfigParser reads them. `tests/system/configparser.py` makes the files
//! and asks Python; `tests/system/configparser.sh` runs this with each Python there is.

use std::collections::BTreeMap;
use std::env;
use std::process::Command;

use buildd_sequencer::config::dialect::{self, Section};

/// What is read of our sections: values by section and key, or the lines that cannot be read.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    values: BTreeMap<(String, String), String>,
    refused: Vec<usize>,
}

fn section_name(section: Section<'_>) -> String {
    match section {
        Section::Meta => "meta".to_string(),
        Section::Sequencer => "buildsequencer".to_string(),
        Section::Template => "buildsequencer_job.template".to_string(),
        Section::Job(name) => format!("buildsequencer_job.{name}"),
        Section::Optional(name) => format!("buildsequencer_job.{name}.optional"),
        Section::Misnamed => unreachable!("it is not wanted"),
    }
}

fn ours(text: &[u8]) -> Reading {
    let mut faults = Vec::new();
    let mut reading = Reading::default();
    dialect::sections(
        text,
        |section| section != Section::Misnamed,
        &mut faults,
        |section, _, entries| {
            for entry in entries {
                let place = (section_name(section), entry.key);
                reading
                    .values
                    .insert(place, entry.value.unwrap_or_default());
            }
        },
    );
    reading.refused = faults.iter().map(|fault| fault.line).collect();
    if !reading.refused.is_empty() {
        reading.values.clear();
    }
    reading
}

/// What the script says, piece by piece.
struct Said<'a>(&'a [u8]);

impl<'a> Said<'a> {
    fn line(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|&byte| byte == b'\n')?;
        Some(std::str::from_utf8(self.bytes(end)).unwrap())
    }

    /// This many bytes and the line feed after them.
    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest.strip_prefix(b"\n").unwrap();
        bytes
    }

    /// A file, and what Python reads in it.
    fn case(&mut self) -> Option<(&'a [u8], Reading)> {
        let length = self.line()?.strip_prefix("text ").unwrap();
        let text = self.bytes(length.parse().unwrap());
        let mut reading = Reading::default();
        loop {
            let line = self.line().unwrap();
            if line == "end" {
                return Some((text, reading));
            }
            let (what, numbers) = line.split_once(' ').unwrap();
            let numbers = numbers.split(' ').map(|n| n.parse().unwrap());
            let numbers: Vec<usize> = numbers.collect();
            if what == "error" {
                reading.refused.extend(numbers);
                continue;
            }
            let both = self.bytes(numbers.iter().sum());
            let both = std::str::from_utf8(both).unwrap();
            let (section, rest) = both.split_at(numbers[0]);
            let (key, value) = rest.split_at(numbers[1]);
            let place = (section.to_string(), key.to_string());
            reading.values.insert(place, value.to_string());
        }
    }
}

#[test]
#[ignore = "needs Python; tests/system/configparser.sh runs it"]
fn random_files_are_read_as_python_reads_them() {
    let setting = |name: &str, default: &str| env::var(name).unwrap_or(default.to_string());
    let python = setting("PYTHON", "python3");
    let (count, seed) = (setting("COUNT", "5000"), setting("SEED", "1"));
    let output = Command::new(&python)
        .args(["tests/system/configparser.py", &count, &seed])
        .output()
        .unwrap_or_else(|error| panic!("cannot run {python}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    let mut said = Said(&output.stdout);
    let (mut files, mut sound, mut values) = (0, 0, 0);
    while let Some((text, theirs)) = said.case() {
        let ours = ours(text);
        assert_eq!(ours, theirs, "\n{}", String::from_utf8_lossy(text));
        files += 1;
        sound += usize::from(theirs.refused.is_empty());
        values += theirs.values.len();
    }
    println!("{files} files, {sound} without faults, {values} values");
    assert_eq!(files.to_string(), count);
    assert!(sound * 2 > files && values > files, "most say too little");
}
