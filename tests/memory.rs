//! A run's output costs the daemon little memory, whatever its amount and shape: never 10 MB. A quarter of a gibibyte
//! under a plain `cargo test`; MEMORY=full makes it a whole one.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{ALONE, Daemon, Place, job, wait_for};

/// The code of a build with debug information takes 2 MB more.
const MOST: u64 = if cfg!(debug_assertions) {
    12 << 20
} else {
    10 << 20
};

/// How many times 256 MiB a job prints on a stream.
fn times() -> u64 {
    let full = std::env::var("MEMORY").is_ok_and(|size| size == "full");
    if full { 4 } else { 1 }
}

/// The same in bytes.
fn amount() -> u64 {
    times() << 28
}

/// Shell text that prints a file of 1 MiB as often as it takes.
fn repeated(file: &str) -> String {
    let all = "cat \"$@\"\n".repeat(times().try_into().unwrap());
    format!(
        "set --\nwhile [ $# -lt 256 ]; do set -- \"$@\" {{dir}}/{file}; done\nrepeated() {{\n{all}}}\n"
    )
}

/// A job that runs once, at once, and prints the output of `script`.
fn printing(place: &Place, script: &str, settings: &str) -> String {
    place.script("job", script);
    job(
        "a",
        &format!("command: ./job\nmindelay: 3600\nstartdelay: 0\n{settings}"),
    )
}

/// Checks the daemon's peak memory once its run and everything after it is over.
#[track_caller]
fn check_peak(daemon: Daemon<'_>) {
    let peak = daemon.peak_memory();
    assert!(peak < MOST, "{} KiB", peak >> 10);
    daemon.stop();
}

/// How many bytes the log says are missing, for each gap.
fn left_out(log: &str) -> Vec<u64> {
    let numbers = log
        .split("[... ")
        .filter_map(|text| text.split_once(" bytes left out ...]\n"));
    numbers.map(|(number, _)| number.parse().unwrap()).collect()
}

/// Runs a job that prints so much on each of `streams` streams, has its output logged, fails and is reported to the log.
/// The kept output is then in memory as often as it can be.
#[track_caller]
fn check_much_output(script: &str, streams: usize) {
    let place = Place::new();
    let jobs = printing(&place, &format!("{script}\nexit 1"), "alwayslog: yes");
    let daemon = place.daemon(&format!("{ALONE}{jobs}"));
    let log = daemon.wait_for_log_times("Scheduling a", 2);
    // Each stream has one gap in the logged output and one in the report.
    assert_eq!(left_out(&log), vec![amount() - (1 << 20); 2 * streams]);
    check_peak(daemon);
}

#[test]
fn much_output_in_one_line_on_both_streams_at_once() {
    let zeros = format!("head -c {} /dev/zero", amount());
    check_much_output(&format!("{zeros} >&2 &\n{zeros}\nwait"), 2);
}

#[test]
fn much_output_in_short_lines() {
    check_much_output(&format!("yes | head -c {}", amount()), 1);
}

#[test]
fn much_output_of_empty_lines_on_both_streams_at_once() {
    // Each of these bytes becomes two in the log.
    let script = format!(
        "yes '' | head -c 1M >{{dir}}/lines\n{}repeated \"$@\" >&2 &\nrepeated \"$@\"\nwait",
        repeated("lines")
    );
    check_much_output(&script, 2);
}

#[test]
fn much_output_of_random_bytes_in_a_mail() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    let script = format!(
        "head -c 1M /dev/urandom >{{dir}}/bytes\n{}repeated \"$@\"\nexit 1",
        repeated("bytes")
    );
    let jobs = printing(&place, &script, "");
    let config = format!("{ALONE}mailproblemsto: ops@example.com\n{sendmail}\n{jobs}");
    let daemon = place.daemon(&config);
    let mail = place.wait_for_mails(1).remove(0);
    let said = format!("[... {} bytes left out ...]\n", amount() - (1 << 20));
    assert!(mail.text().contains(&said));
    wait_for("the end of the delivery", || {
        daemon.children().is_empty().then_some(())
    });
    check_peak(daemon);
}

#[test]
fn much_output_while_nobody_reads_the_log() {
    let place = Place::new();
    let jobs = printing(
        &place,
        &format!(
            "head -c {0} /dev/zero >&2 &\nyes | head -c {0}\nwait\nexit 1",
            amount()
        ),
        "alwayslog: yes",
    );
    let after = job(
        "b",
        "command: touch {dir}/over\nmindelay: 3600\nstartdelay: 0",
    );
    let (_theirs, ours) = common::pipe();
    let daemon = place.daemon_with(&format!("{ALONE}{jobs}{after}"), |command| {
        command.stdout(ours);
    });
    common::wait_for_file(&place.path("over"));
    check_peak(daemon);
}

/// Fewer bytes than above, because the log itself would get too many.
#[test]
fn live_lines_of_every_length() {
    for (script, lines) in [
        ("yes '' | head -c 256K", 1 << 18),
        ("yes | head -c 512K >&2", 1 << 18),
        ("head -c 50M /dev/zero", (50 << 20) / 8192),
    ] {
        let place = Place::new();
        let jobs = printing(&place, script, "livelog: yes");
        let daemon = place.daemon(&format!("{ALONE}{jobs}"));
        wait_for("the second choice", || {
            let log = place.bytes("log");
            let end = log.len().saturating_sub(200);
            let end = String::from_utf8_lossy(&log[end..]);
            end.contains("Scheduling a for 3.6e+03").then_some(())
        });
        let log = place.bytes("log");
        let live = log.windows(8).filter(|w| w == b" [-] a: ").count();
        assert_eq!(live, lines, "{script}");
        check_peak(daemon);
    }
}
