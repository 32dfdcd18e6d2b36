//! What a sequencer is called, where a host has several.

use crate::common::socket::{SOCKET, idle_job};
use crate::common::{Place, stderr};
use serde_json::Value;

fn shown(place: &Place) -> (String, Value, String) {
    let table = place.told("status");
    let first = table.lines().next().unwrap().to_string();
    let all = serde_json::from_str(&place.told("status --json")).unwrap();
    (first, all, place.told("metrics"))
}

#[test]
fn a_name_is_shown_wherever_the_sequencer_shows_itself() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    let config = |name: &str| {
        let job = idle_job("bad", "false");
        format!("{SOCKET}{name}mailproblemsto: a@x\nfromaddress: b@x\n{sendmail}\n{job}")
    };
    let daemon = place.listening(&config("name: east\n"));
    let (first, all, metrics) = shown(&place);
    let start = format!("buildd-sequencer {} (east) on ", env!("CARGO_PKG_VERSION"));
    assert!(first.starts_with(&start), "{first}");
    assert_eq!(all["name"], "east");
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let named = samples.filter(|line| line.contains("{sequencer=\"east\""));
    assert!(named.count() > 20, "{metrics}");
    place.ask("run --wait bad");
    let mail = &place.wait_for_mails(1)[0];
    assert_eq!(mail.header("X-Buildd-Sequencer"), "east");
    place.write("conf", &config(""));
    assert_eq!(place.told("reload"), "Changed name: east -> none\n");
    let (first, all, metrics) = shown(&place);
    assert!(!first.contains('('), "{first}");
    assert_eq!(all.get("name"), None);
    assert!(!metrics.contains("sequencer=\""), "{metrics}");
    place.ask("run --wait bad");
    let mails = place.wait_for_mails(2);
    assert!(!mails[1].text().contains("X-Buildd-Sequencer"));
    daemon.stop();
}

#[test]
fn the_command_lines_name_wins_also_after_a_reload() {
    let place = Place::new();
    let config = |name| format!("{SOCKET}name: {name}\n{}", idle_job("a", "true"));
    let daemon = place.daemon_with(&config("east"), |command| {
        command.args(["--name", "west-1.b"]);
    });
    daemon.wait_for_log("Loaded.");
    assert_eq!(shown(&place).1["name"], "west-1.b");
    place.write("conf", &config("north"));
    place.told("reload");
    assert_eq!(shown(&place).1["name"], "west-1.b");
    place.write("conf", &config("no rth"));
    let refused = place.ask("reload");
    let expected =
        "conf:3: name: 'no rth' is not a name: it is made of letters, digits, '_', '-' and '.'";
    assert!(stderr(&refused).contains(expected), "{}", stderr(&refused));
    daemon.stop();
}
