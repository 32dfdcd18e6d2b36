//! A command that is given a configuration asks the daemon of that configuration, and no other.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use crate::common::socket::{SOCKET, answer, idle_job};
use crate::common::{Daemon, Place, finish, stderr, stdout};

/// A daemon, and beside its configuration `conf` another, `other`, that leads to the same socket.
fn with_other(place: &Place) -> Daemon<'_> {
    let config = format!("{SOCKET}{}", idle_job("a", "echo done"));
    place.write("other", &config);
    place.listening(&config)
}

const COMMANDS: [&str; 9] = [
    "pause",
    "resume a",
    "run a",
    "run --wait a",
    "kill",
    "reload",
    "status --json",
    "healthcheck",
    "healthcheck --alive",
];

#[test]
fn the_daemon_of_another_configuration_does_nothing_and_is_named() {
    let place = Place::new();
    let daemon = with_other(&place);
    for command in COMMANDS {
        let words: Vec<&str> = command.split(' ').collect();
        let output = place.run(&[&["-c", "other"], &words[..]].concat());
        let dir = place.working_directory();
        let said = stdout(&output) + &stderr(&output);
        let expected = format!(
            "this is the daemon of '{dir}/conf', not of '{dir}/other': nothing was done; \
             name its socket with -s to ask it all the same\n"
        );
        assert_eq!(
            (output.status.code(), said),
            (Some(1), expected),
            "{command}"
        );
    }
    let log = daemon.stop();
    assert!(
        !log.contains("Asked to") && !log.contains("Running"),
        "{log}"
    );
}

#[test]
fn who_names_the_socket_or_no_configuration_asks_whatever_daemon_is_there() {
    let place = Place::new();
    let daemon = with_other(&place);
    let asked = |arguments: &[&str], environment: Option<&str>| {
        let mut command = place.command();
        command.args(arguments);
        command.envs(environment.map(|path| ("BUILDD_SEQUENCER_CONFIG", path)));
        let output = finish(command);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    };
    asked(&["-c", "other", "-s", "socket", "pause"], None);
    asked(&["-s", "socket", "pause"], Some("other"));
    asked(&["pause"], Some("other"));
    assert_eq!(answer_to(&place, "pause"), "0\npaused 0 jobs\n");
    assert!(daemon.stop().contains("Asked to pause"));
}

#[track_caller]
fn answer_to(place: &Place, line: &str) -> String {
    let mut client = place.connect();
    writeln!(client, "{line}").unwrap();
    answer(&mut client)
}

#[test]
fn the_same_file_by_another_path_and_another_file_at_the_same_path_are_the_same_configuration() {
    let place = Place::new();
    let daemon = with_other(&place);
    let path = |name: &str| place.path(name).to_str().unwrap().to_string();
    std::fs::create_dir(place.path("below")).unwrap();
    std::os::unix::fs::symlink(place.path("conf"), place.path("link")).unwrap();
    std::fs::hard_link(place.path("conf"), place.path("below/hard")).unwrap();
    let same = [
        "./conf",
        &path("conf"),
        "link",
        "below/hard",
        "below/../conf",
    ];
    let answers = |name: &str| {
        let output = place.run(&["-c", name, "status"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
    };
    same.into_iter().for_each(answers);
    // An editor puts a new file in the place of the old one, which goes on under another name.
    std::fs::rename(place.path("conf"), place.path("old")).unwrap();
    place.write("conf", &place.read("old"));
    let same = ["./conf", &path("conf"), "link"];
    same.into_iter().for_each(answers);
    for other in ["old", "below/hard"] {
        assert_eq!(place.run(&["-c", other, "status"]).status.code(), Some(1));
    }
    daemon.stop();
}

#[test]
fn a_path_may_hold_anything_and_may_be_long() {
    let place = Place::new();
    let config = format!(
        "[buildsequencer]\ncontrolsocket: {{dir}}/socket\n{}",
        idle_job("a", "true")
    );
    let daemon = place.listening(&config);
    let name = format!("'{}\n%é{}'", "x".repeat(190), " ".repeat(50));
    // So deep that the path is none for a line of the socket.
    let script = format!(
        "set -e; for name in {}; do mkdir \"$name\"; cd -P \"$name\"; done
         ln {}/conf here; cp here other; for file in here other; do echo $file
         \"$0\" -c $file pause 2>&1 || true; done",
        [&*name; 15].join(" "),
        place.dir(),
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script, crate::common::PROGRAM]);
    command.current_dir(place.dir());
    let output = finish(command);
    let said = stdout(&output);
    let (here, other) = said.split_once("other\n").unwrap();
    assert_eq!(here, "here\npaused 1 job\n", "{}", stderr(&output));
    let refused = "not of the configuration that was named: nothing was done";
    assert!(other.contains(refused), "{other}");
    daemon.stop();
}

/// What a daemon from before says to a line with a word that it does not know.
const UNKNOWN: &[u8] = b"2\nunknown option '--for'; see 'buildd-sequencer --help'\n";

#[test]
fn a_daemon_that_does_not_tell_is_taken_for_the_right_one() {
    let place = Place::new();
    place.write("conf", &format!("{SOCKET}{}", idle_job("a", "true")));
    let listener = UnixListener::bind(place.path("socket")).unwrap();
    let server = std::thread::spawn(move || {
        let mut lines = Vec::new();
        while lines.len() < 3 {
            let (mut client, _) = listener.accept().unwrap();
            let mut line = String::new();
            let mut reader = BufReader::new(client.try_clone().unwrap());
            reader.read_line(&mut line).unwrap();
            if line.starts_with("--for=") {
                let _ = client.write_all(UNKNOWN);
            } else {
                lines.push(line);
                let _ = client.write_all(b"7\none\ntwo\n");
            }
        }
        lines
    });
    let refused = place.run(&["-c", "conf", "pause", "a"]);
    assert_eq!(refused.status.code(), Some(7));
    assert_eq!(stderr(&refused), "one\ntwo\n");
    for arguments in [&["-c", "conf"][..], &["-s", "socket"]] {
        let output = place.run(&[arguments, &["run", "--wait", "a"]].concat());
        assert_eq!(output.status.code(), Some(7), "the job's own");
        assert_eq!(stdout(&output), "one\ntwo\n", "all of it is output");
    }
    let lines = server.join().unwrap();
    assert_eq!(lines, ["pause a\n", "run --wait a\n", "run --wait a\n"]);
}

#[test]
fn a_job_that_exits_with_2_is_not_taken_for_a_daemon_that_does_not_understand() {
    let place = Place::new();
    let daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "sh -c 'exit 2'")));
    let output = place.run(&["-c", "conf", "run", "--wait", "a"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(daemon.stop().matches("Running a").count(), 1);
}
