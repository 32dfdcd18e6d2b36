//! What a running daemon tells of past runs.

use crate::common::socket::{SOCKET, idle_job};
use crate::common::{Place, job, stderr, wait_for};
use serde_json::Value;

fn runs(place: &Place, command: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&place.told(command)).unwrap();
    answer["runs"].as_array().unwrap().clone()
}

#[test]
fn the_last_runs_are_told_oldest_first() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}{}",
        idle_job("good", "true"),
        idle_job("bad", "sh -c 'exit 3'"),
        idle_job("gone", "./nowhere"),
    ));
    assert_eq!(place.told("history"), "no run is known\n");
    for name in ["good", "bad", "gone", "good"] {
        place.ask(&format!("run --wait {name}"));
    }
    let table = place.told("history");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let header = ["BEGAN", "(UTC)", "JOB", "TOOK", "LATE", "BY", "OUTCOME"];
    assert_eq!(rows[0], header);
    let told: Vec<(&str, String)> = rows[1..]
        .iter()
        .map(|row| (row[2], row[5..].join(" ")))
        .collect();
    let expected = [
        ("good", "ok"),
        ("bad", "exit 3"),
        ("gone", "start 127"),
        ("good", "ok"),
    ];
    assert_eq!(told, expected.map(|(name, end)| (name, end.to_string())));
    assert_eq!(place.told("history -n 1").lines().count(), 2);
    let failed = runs(&place, "history --json --failed");
    assert_eq!(failed.len(), 2);
    assert_eq!(
        (&failed[0]["job"], &failed[0]["code"]),
        (&"bad".into(), &3.into())
    );
    let one = runs(&place, "history good --json");
    assert_eq!(one.len(), 2);
    let last = &serde_json::from_str::<Value>(&place.told("status --json")).unwrap()["jobs"];
    let last = last
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["name"] == "good")
        .unwrap();
    for field in ["started", "took", "outcome", "code"] {
        assert_eq!(one[1][field], last[field], "{field} as status has it");
    }
    let refused = place.ask("history goood");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("did you mean 'good'?"),
        "{}",
        stderr(&refused)
    );
    daemon.stop();
}

#[test]
fn a_job_that_a_reload_has_removed_is_still_told_of() {
    let place = Place::new();
    let config = |jobs: &str| format!("{SOCKET}{}{jobs}", idle_job("stays", "true"));
    let daemon = place.listening(&config(&idle_job("goes", "true")));
    place.ask("run --wait goes");
    place.write("conf", &config(""));
    place.told("reload");
    assert_eq!(runs(&place, "history goes --json").len(), 1);
    assert_eq!(place.told("history stays"), "no run is known\n");
    daemon.stop();
}

#[test]
fn the_picture_shows_the_run_under_way() {
    let place = Place::new();
    let gated =
        "command: sh -c 'until test -e go; do sleep 0.02; done'\nmindelay: 1d\nstartdelay: 0";
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        job("gated", gated),
        job("behind", "command: true\nmindelay: 1d\nstartdelay: 0")
    ));
    let picture = wait_for("a job to wait", || {
        let picture = place.told("history --svg");
        picture.contains("behind waits for").then_some(picture)
    });
    assert!(
        picture.starts_with("<svg") && picture.ends_with("</svg>\n"),
        "{picture}"
    );
    assert!(picture.contains("gated: running since"), "{picture}");
    place.write("go", "");
    daemon.wait_for_log("Job behind completed");
    wait_for("both runs to be drawn", || {
        let picture = place.told("history --svg");
        (picture.contains("behind: ok") && picture.contains("gated: ok")).then_some(())
    });
    daemon.stop();
}
