//! `cargo bench`: what the daemon costs beside the least that running jobs can cost, and how that grows with the
//! number of jobs. Prints its figures and writes them to `contrib/bench/RESULTS.md` and `costs.svg`.
//!
//! The machine may be busy with other things, so whatever is compared takes turns within the same seconds, and
//! what is compared is CPU time or a ratio. `BIN` names another binary than the one just built. Words on the
//! command line choose sections (`cargo bench -- runs jobs`); then nothing is written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a benchmark that cannot go on may stop"
)]

mod contender;
mod figures;
mod floor;
mod jobs;
mod plot;
mod sections;

use std::path::Path;

use figures::Table;

type Section = (&'static str, fn(&mut Table));

const SECTIONS: [Section; 10] = [
    ("runs", sections::runs),
    ("history", sections::history),
    ("output", sections::output),
    ("start", sections::start),
    ("quiet", sections::quiet),
    ("lateness", sections::lateness),
    ("clients", sections::clients),
    ("disk", sections::slow_disk),
    ("mail", sections::mail),
    ("stop", sections::stop),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == floor::WORD) {
        return floor::run(&words[1..]);
    }
    let chosen: Vec<&String> = words.iter().filter(|w| !w.starts_with('-')).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|word| *word == name);

    let mut table = Table::new();
    for (name, section) in SECTIONS {
        if wanted(name) {
            section(&mut table);
        }
    }
    let ladder = wanted("jobs").then(jobs::ladder);
    if !chosen.is_empty() {
        return;
    }
    let ladder = ladder.unwrap_or_default();
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/bench");
    let text = heading() + &table.markdown() + &jobs::markdown(&ladder);
    std::fs::write(place.join("RESULTS.md"), text).expect("RESULTS.md can be written");
    std::fs::write(place.join("costs.svg"), plot::svg(&ladder)).expect("costs.svg can be written");
}

/// What was measured, and where.
fn heading() -> String {
    let program = std::fs::read(contender::program()).expect("the binary can be read");
    let linked = if names_an_interpreter(&program) {
        "dynamically"
    } else {
        "statically"
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: Vec<&str> = kernel.split('.').take(2).collect();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "# What the daemon costs\n\nAs `cargo bench` measured it on Linux {}, {cores} cores, with a {linked} linked binary. \
         Figures are medians, with the middle half of all measurements in brackets. [README.md](README.md) says how \
         they are measured and what the floor is.\n\n![cost against the number of jobs](costs.svg)\n\n",
        kernel.join(".")
    )
}

/// Whether an ELF file of 64 bits has a program header of type PT_INTERP (elf(5)).
fn names_an_interpreter(program: &[u8]) -> bool {
    let number = |from: usize, bytes: usize| {
        let field = program.get(from..from + bytes).unwrap_or_default();
        field
            .iter()
            .rev()
            .fold(0, |n, &byte| n << 8 | usize::from(byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).any(|header| number(start + header * size, 4) == 3)
}
