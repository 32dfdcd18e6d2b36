//! The control socket itself: who may connect, what a client can and cannot do to the daemon, and where the socket is.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::kill;

use crate::at_once;
use crate::common::socket::{
    SOCKET, answer, half_close, idle_job, many_connections, read_some, until_set,
};
use crate::common::{
    Daemon, PROGRAM, Pid, Place, Signal, job, not_tested, spawn, stderr, stdout, wait_for,
};

/// The daemon's own time for a client that is silent.
const PATIENCE: Duration = Duration::from_secs(5);

fn idle() -> String {
    format!("{SOCKET}{}", idle_job("a", "true"))
}

#[test]
fn the_socket_has_mode_0660_from_its_first_moment_whatever_the_mask() {
    for mask in ["0", "077", "0777", "022"] {
        let place = Place::new();
        let path = place.path("socket");
        let daemon = place.daemon_after(&format!("umask {mask}"), &idle(), |_| {});
        let until = Instant::now() + crate::common::LIMIT;
        // No pause in between: it is the first moment that counts.
        let first = loop {
            if let Ok(metadata) = fs::symlink_metadata(&path) {
                let connected = UnixStream::connect(&path);
                assert!(connected.is_ok(), "it is there and does not listen");
                break metadata.permissions().mode();
            }
            assert!(Instant::now() < until, "{}", daemon.log());
        };
        assert_eq!(first & 0o7777, 0o660, "umask {mask}");
        daemon.wait_for_log("Scheduling");
        let later = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(later & 0o7777, 0o660, "umask {mask}");
    }
}

#[test]
fn the_mask_for_other_files_stays_what_it_was() {
    let place = Place::new();
    let config = format!("{SOCKET}{}", idle_job("a", "touch made"));
    let daemon = place.daemon_after("umask 027", &config, |_| {});
    daemon.wait_for_log("Scheduling");
    place.told("run --wait a");
    let mode = fs::metadata(place.path("made")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o640);
}

#[test]
fn who_asks_is_logged_with_user_and_process() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    let uid = nix::unistd::getuid();
    for command in ["pause a", "resume", "run a", "reload"] {
        let mut asking = place.command();
        asking.args(["-c", "conf"]).args(command.split(' '));
        asking.stdout(place.append_to("answers"));
        let mut child = spawn(&mut asking);
        let pid = child.id();
        assert!(child.wait().unwrap().success(), "{command}");
        daemon.wait_for_log(&format!("Asked to {command} by uid {uid} (pid {pid})."));
    }
    place.told("status");
    place.told("healthcheck");
    let log = daemon.stop();
    assert_eq!(
        log.matches("by uid").count(),
        4,
        "who only looks is not logged: {log}"
    );
}

#[test]
fn a_line_is_answered_with_status_and_text_and_then_the_connection_ends() {
    let place = Place::new();
    let _daemon = place.listening(&idle());
    assert!(place.say(b"status\n").starts_with("0\nbuildd-sequencer "));
    assert!(place.say(b"status\r\n").starts_with("0\nbuildd-sequencer "));
    assert!(place.say(b"  status   --json \n").starts_with("0\n{"));
    assert_eq!(place.say(b"healthcheck\nstatus\nrun a\n"), "0\nok\n");
    assert_eq!(
        place.say(b"healthcheck --alive\n"),
        "0\nok: the daemon answers\n"
    );
    for wrong in [
        &b"\n"[..],
        b"\0\n",
        b"launch\n",
        b"status a b\n",
        b"check\n",
        b"--help\n",
        b"--version\n",
        b"status -s /etc/passwd\n",
        b"reload -c x\n",
        b"status --json=x\n",
        b"run\n",
        b"run \xff\xfe a b\n",
        b"-\n",
        b"--\n",
    ] {
        let said = place.say(wrong);
        let shown = String::from_utf8_lossy(wrong);
        assert!(said.starts_with("2\n"), "{shown:?}: {said:?}");
        assert!(said.ends_with('\n') && said.lines().count() == 2, "{said}");
    }
}

#[test]
fn a_line_may_have_4096_bytes_and_not_one_more() {
    let place = Place::new();
    let _daemon = place.listening(&idle());
    let line = |length: usize| {
        let mut line = b"healthcheck".to_vec();
        line.resize(length - 1, b' ');
        line.push(b'\n');
        line
    };
    assert_eq!(place.say(&line(4096)), "0\nok\n");
    let refused = "2\nthe request is longer than 4096 bytes\n";
    assert_eq!(place.say(&line(4097)), refused);
    assert_eq!(place.say(&[b'x'; 4096]), refused, "and no line feed at all");
    // The answer ends as others do, although not all has been read of the request.
    let mut client = place.connect();
    client.write_all(&[b'x'; 5000]).unwrap();
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert_eq!(said, refused);
}

#[test]
fn a_client_that_has_closed_its_side_still_gets_its_answer() {
    let place = Place::new();
    let _daemon = place.listening(&format!(
        "{SOCKET}{}",
        idle_job("a", "sh -c 'sleep 0.2; echo done'")
    ));
    let mut client = place.connect();
    client.write_all(b"healthcheck").unwrap();
    half_close(&client);
    assert_eq!(answer(&mut client), "0\nok\n", "even without a line feed");
    let mut waiting = place.connect();
    waiting.write_all(b"run --wait a\n").unwrap();
    half_close(&waiting);
    assert_eq!(answer(&mut waiting), "0\ndone\n");
    let mut mute = place.connect();
    half_close(&mute);
    assert_eq!(answer(&mut mute), "", "nothing asked, nothing said");
}

pub fn clients_have_five_seconds_to_speak_and_to_listen_and_not_more() {
    at_once!(a_silent_and_a_slow_client, a_client_that_takes_nothing);
}

fn a_silent_and_a_slow_client() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    let before = daemon.descriptors();
    let begun = Instant::now();
    let mut silent = place.connect();
    let mut slow = place.connect();
    slow.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    // A byte a second is no reason to wait for longer.
    let mut written = 0;
    while slow.write_all(b"x").is_ok() {
        written += 1;
        assert!(written < 60, "it is listened to for ever");
        let mut byte = [0];
        if std::io::Read::read(&mut slow, &mut byte).is_ok() {
            break;
        }
    }
    assert!(begun.elapsed() >= PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(answer(&mut silent), "");
    wait_for("the descriptors to be closed", || {
        (daemon.descriptors() == before).then_some(())
    });
}

fn a_client_that_takes_nothing() {
    let place = Place::new();
    let jobs: String = (0..3000)
        .map(|n| idle_job(&format!("a_job_with_quite_a_long_name_{n}"), "true"))
        .collect();
    let daemon = place.listening(&format!("{SOCKET}{jobs}"));
    let before = daemon.descriptors();
    let begun = Instant::now();
    let mut lazy = place.connect();
    lazy.write_all(b"status --json\n").unwrap();
    // One that takes some every now and then gets all of it, however long it takes.
    let mut patient = place.connect();
    patient.write_all(b"status --json\n").unwrap();
    let mut taken = Vec::new();
    let mut buffer = [0; 33_000];
    while begun.elapsed() < PATIENCE + Duration::from_millis(500) {
        let n = read_some(&mut patient, &mut buffer);
        assert!(n > 0, "cut off after {} bytes", taken.len());
        taken.extend_from_slice(&buffer[..n]);
        std::thread::sleep(Duration::from_millis(400));
    }
    wait_for("the other one to be dropped", || {
        (daemon.descriptors() <= before + 1).then_some(())
    });
    let got = answer(&mut lazy);
    assert!(got.starts_with("0\n{") && !got.ends_with("}\n"), "cut off");
    let rest = answer(&mut patient);
    assert!(rest.ends_with("]}\n"), "{} bytes", rest.len());
}

/// It has a moment for that, no more, whatever signals come: on a busy machine the reader may miss it.
#[test]
fn an_answer_that_is_under_way_when_the_daemon_stops_is_given_whole() {
    let jobs: String = (0..3000)
        .map(|n| idle_job(&format!("job{n}"), "true"))
        .collect();
    let is_given_whole = |_| {
        let place = Place::new();
        let daemon = place.listening(&format!("{SOCKET}{jobs}"));
        let mut client = place.connect();
        client.write_all(b"status --json\n").unwrap();
        // Of the rest no more is written before this is read than the system holds.
        assert_eq!(read_some(&mut client, &mut [0; 1]), 1);
        daemon.signal(Signal::SIGTERM);
        // After that it only waits for the client.
        wait_for("the socket to be gone", || {
            (!place.path("socket").exists()).then_some(())
        });
        for _ in 0..10 {
            // Its moment may be over.
            if daemon.ended().is_none() {
                nix::sys::signal::kill(daemon.pid(), Signal::SIGUSR2).unwrap();
            }
            std::thread::yield_now();
        }
        let rest = answer(&mut client);
        assert_eq!(daemon.wait().code(), Some(0));
        rest.ends_with("]}\n")
    };
    assert!((0..10).any(is_given_whole));
}

#[test]
fn a_seventeenth_client_takes_the_place_of_the_one_silent_longest() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    let before = daemon.descriptors();
    let mut clients: Vec<UnixStream> = (0..16).map(|_| place.connect()).collect();
    wait_for("sixteen to be let in", || {
        (daemon.descriptors() == before + 16).then_some(())
    });
    assert_eq!(place.say(b"healthcheck\n"), "0\nok\n");
    let mut first = clients.remove(0);
    assert_eq!(answer(&mut first), "", "it had to go");
    for mut client in clients {
        client.write_all(b"healthcheck\n").unwrap();
        assert_eq!(answer(&mut client), "0\nok\n", "the others had not");
    }
}

#[test]
fn those_who_wait_for_a_run_keep_their_places_and_leave_one_for_others() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}",
        idle_job(
            "a",
            "sh -c 'until test -e go; do sleep 0.05; done; echo done'"
        )
    ));
    let mut waiting: Vec<UnixStream> = (0..15)
        .map(|_| {
            let mut client = place.connect();
            client.write_all(b"run --wait a\n").unwrap();
            client
        })
        .collect();
    daemon.wait_for_log_times("Asked to run a", 15);
    assert_eq!(
        place.say(b"run --wait a\n"),
        "1\n15 clients wait for runs already\n"
    );
    let silent: Vec<UnixStream> = (0..40).map(|_| place.connect()).collect();
    assert_eq!(
        place.say(b"healthcheck --alive\n").lines().next(),
        Some("0")
    );
    place.write("go", "");
    for client in &mut waiting {
        assert_eq!(answer(client), "0\ndone\n");
    }
    drop(silent);
}

/// Whoever loses its place to another before it is heard asks again: the daemon is there.
#[test]
fn commands_among_very_many_silent_clients_are_answered() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                until_set(&stop, || {
                    drop((0..20).map(|_| place.connect()).collect::<Vec<_>>())
                });
            });
        }
        let all: Vec<String> = (0..100).map(|_| stderr(&place.ask("status"))).collect();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(all.concat(), "");
    });
    daemon.stop();
}

/// It is asked for again, but not for ever.
#[test]
fn an_answer_that_is_cut_off_is_none() {
    let place = Place::new();
    place.write("conf", &idle());
    let answers: [&[u8]; 2] = [b"0\n{\"jobs\": [", b""];
    for (said, told) in answers
        .into_iter()
        .zip(["the answer has no end", "reset by peer"])
    {
        let listener = UnixListener::bind(place.path("socket")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let stop = AtomicBool::new(false);
        let asked = AtomicUsize::new(0);
        let output = std::thread::scope(|scope| {
            scope.spawn(|| {
                until_set(&stop, || {
                    if let Ok((mut client, _)) = listener.accept() {
                        asked.fetch_add(1, Ordering::Relaxed);
                        // Whoever closes without reading resets the connection.
                        let mut line = [0; 100];
                        let _ = said.is_empty() || client.read(&mut line).is_ok();
                        let _ = client.write_all(said);
                    }
                });
            });
            let output = place.run(&["-s", "socket", "status", "--json"]);
            stop.store(true, Ordering::Relaxed);
            output
        });
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let error = stderr(&output);
        assert!(
            error.contains(told) || said.is_empty() && error.contains("Broken pipe"),
            "{error}"
        );
        assert_eq!(stdout(&output), "");
        assert!(asked.into_inner() > 1, "it is not asked again");
        fs::remove_file(place.path("socket")).unwrap();
    }
}

pub fn who_came_while_no_descriptor_was_free_is_served_once_there_is_one_and_costs_nothing_till_then()
 {
    let place = Place::new();
    let daemon = place.listening(&idle());
    // What it inherited from far away takes none of the lowest numbers.
    let low = |daemon: &Daemon<'_>| {
        let numbers = daemon.descriptor_numbers();
        numbers.iter().filter(|&&number| number < 100).count()
    };
    let limit = low(&daemon) + 3;
    daemon.stop();
    let daemon = place.daemon_after(&format!("ulimit -n {limit}"), &idle(), |_| {});
    daemon.wait_for_log_times("Loaded.", 2);
    let silent: Vec<UnixStream> = (0..3).map(|_| place.connect()).collect();
    wait_for("all descriptors to be used", || {
        (low(&daemon) >= limit).then_some(())
    });
    let mut client = place.connect();
    client.write_all(b"healthcheck\n").unwrap();
    // It tries every now and then, and sleeps in between.
    let (used, begun) = (daemon.processor_time(), Instant::now());
    let mut tries = 0;
    let mut sleeps = daemon.sleeps();
    wait_for("it to try for a while", || {
        tries += u32::from(daemon.sleeps() > sleeps);
        sleeps = daemon.sleeps();
        (tries > 5 && begun.elapsed() > Duration::from_secs(2)).then_some(())
    });
    let used = daemon.processor_time() - used;
    assert!(used < begun.elapsed() / 50, "{used:?}");
    // Nobody else connects: what is waiting has to be found without that.
    drop(silent);
    assert_eq!(answer(&mut client), "0\nok\n");
}

pub fn after_its_clients_the_daemon_sleeps_as_before() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    let before = daemon.descriptors();
    for _ in 0..3 {
        place.told("status");
        assert_eq!(answer(&mut send(&place, "healthcheck")), "0\nok\n");
    }
    drop(place.connect());
    wait_for("them to be gone", || {
        (daemon.descriptors() == before).then_some(())
    });
    let sleeps = daemon.sleeps();
    // No condition can tell that nothing happens.
    std::thread::sleep(Duration::from_secs(1));
    assert!(
        daemon.sleeps() <= sleeps + 1,
        "{} more",
        daemon.sleeps() - sleeps
    );
}

#[test]
fn one_who_vanishes_while_waiting_leaves_nothing_behind() {
    let place = Place::new();
    let daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "sleep 1000")));
    daemon.wait_for_log("Scheduling");
    place.told("run a");
    daemon.wait_for_log("Running a");
    let before = daemon.descriptors();
    for n in 0..60 {
        let mut client = place.connect();
        client.write_all(b"run --wait a\n").unwrap();
        daemon.wait_for_log_times("Asked to run a", n + 2);
    }
    // More of them than may wait at a time: those who have gone do not count.
    wait_for("their descriptors to be closed", || {
        (daemon.descriptors() == before).then_some(())
    });
    assert!(place.told("healthcheck").starts_with("ok: a runs"));
}

/// When each run of the job began, in seconds.
fn starts(place: &Place) -> Vec<f64> {
    let lines = place.lines("runs");
    lines.iter().filter_map(|line| line.parse().ok()).collect()
}

/// One stall of the machine may hit the one daemon and not the other.
#[test]
fn no_client_costs_a_job_a_moment() {
    assert!((0..3).any(|_| among_clients_runs_go_on_as_without()));
}

/// Returns whether no run had to wait for longer than where there are no clients.
fn among_clients_runs_go_on_as_without() -> bool {
    let place = Place::new();
    let config = format!(
        "{SOCKET}{}{}",
        job(
            "quick",
            "command: sh -c 'date +%s.%N >>runs'\nmindelay: 0.02\nstuckafter: 0"
        ),
        idle_job("other", "true")
    );
    let daemon = place.listening(&config);
    // The same at the same time, but for the clients: whatever else this machine has to do delays both.
    let undisturbed_place = Place::new();
    let undisturbed = undisturbed_place.listening(&config);
    for place in [&place, &undisturbed_place] {
        place.wait_for_lines("runs", 5);
    }
    let stop = AtomicBool::new(false);
    let path = place.path("socket");
    let connect = || UnixStream::connect(&path).ok();
    std::thread::scope(|scope| {
        // Connects and goes.
        scope.spawn(|| until_set(&stop, || drop(connect())));
        // Asks and goes without the answer.
        scope.spawn(|| {
            until_set(&stop, || {
                if let Some(mut client) = connect() {
                    let _ = client.write_all(b"run --wait other\n");
                }
            });
        });
        // Sends what is no line.
        scope.spawn(|| {
            until_set(&stop, || {
                if let Some(mut client) = connect() {
                    let _ = client.set_write_timeout(Some(Duration::from_millis(50)));
                    let _ = client.write_all(&vec![b'x'; 1 << 20]);
                }
            });
        });
        // A thousand connections that say nothing, and one that says a byte a second.
        let silent: Vec<UnixStream> = (0..many_connections()).filter_map(|_| connect()).collect();
        let mut slow = connect();
        let mut said = 0;
        let begun = Instant::now();
        wait_for("some seconds", || {
            if begun.elapsed().as_secs() > said {
                said += 1;
                if let Some(slow) = &mut slow {
                    let _ = slow.write_all(b"x");
                }
            }
            (begun.elapsed() > Duration::from_secs(3)).then_some(())
        });
        // With all this going on, an operator is heard.
        let answered = (0..20).any(|_| place.ask("healthcheck").status.success());
        stop.store(true, Ordering::Relaxed);
        assert!(answered);
        drop(silent);
    });
    let undisturbed_starts = starts(&undisturbed_place);
    undisturbed.stop();
    let starts = starts(&place);
    let longest = |starts: &[f64]| {
        let gaps = starts.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.fold(0.0, f64::max)
    };
    let (gap, usual) = (longest(&starts), longest(&undisturbed_starts));
    println!("at most {gap} seconds without a run, and {usual} without clients");
    let goes_on = gap < usual + 1.5;
    let (runs, usual) = (starts.len(), undisturbed_starts.len());
    assert!(runs > usual / 3, "{runs} runs, not {usual}");
    let before = {
        wait_for("the crowd to be gone", || {
            let count = daemon.descriptors();
            (count < 40).then_some(())
        });
        daemon.log()
    };
    assert!(!before.contains("panic"), "{before}");
    let log = daemon.stop();
    assert!(log.contains("Main loop terminated."));
    goes_on
}

/// A client whose command is told apart from others by its name.
fn send(place: &Place, line: &str) -> UnixStream {
    let mut client = place.connect();
    writeln!(client, "{line}").unwrap();
    client
}

#[test]
fn what_a_client_asked_for_that_has_given_up_is_not_done() {
    let place = Place::new();
    let jobs = ["a", "b", "c"].map(|name| idle_job(name, "true")).concat();
    let gated = crate::common::once("gated", "sh -c 'until test -e go; do sleep 0.02; done'");
    let daemon = place.listening(&format!("{SOCKET}{jobs}{gated}"));
    daemon.wait_for_log("Running gated");
    daemon.signal(Signal::SIGSTOP);
    // A command that was killed, one that has closed its connection, one that has shut it down.
    let mut command = place.command();
    command.args(["-s", "socket", "run", "a"]);
    let mut killed = spawn(&mut command);
    let process = format!("/proc/{}", killed.id());
    let has_asked = || {
        let stat = fs::read_to_string(format!("{process}/stat")).unwrap();
        let entries = fs::read_dir(format!("{process}/fd")).unwrap().flatten();
        let mut links = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
        stat.contains(") S ") && links.any(|link| link.to_string_lossy().starts_with("socket:"))
    };
    wait_for("it to wait for its answer", || has_asked().then_some(()));
    killed.kill().unwrap();
    killed.wait().unwrap();
    for line in [
        "run b",
        "run --wait b",
        "pause a",
        "resume",
        "reload",
        "kill",
    ] {
        drop(send(&place, line));
    }
    let shut = send(&place, "pause b");
    shut.shutdown(std::net::Shutdown::Both).unwrap();
    // One that has only closed its sending side is there.
    let mut there = send(&place, "pause c");
    half_close(&there);
    daemon.signal(Signal::SIGCONT);
    assert_eq!(answer(&mut there), "0\npaused c\n");
    place.write("go", "");
    daemon.wait_for_log("Job gated completed with exit code 0");
    daemon.wait_for_log_times("Scheduling", 2);
    let log = daemon.stop();
    assert_eq!(log.matches("Asked to").count(), 1, "{log}");
    assert_eq!(log.matches("Running").count(), 1, "{log}");
}

#[test]
fn of_daemons_that_find_a_dead_socket_at_once_one_takes_it() {
    let place = Place::new();
    drop(UnixListener::bind(place.path("socket")).unwrap());
    place.write("conf", &idle());
    let mut daemons: Vec<_> = (0..6)
        .map(|n| {
            let mut command = place.command();
            command.args(["-c", "conf", "-l", &format!("log{n}")]);
            command.stderr(place.append_to("errors"));
            (n, spawn(&mut command))
        })
        .collect();
    wait_for("all but one to end", || {
        daemons.retain_mut(|(_, daemon)| {
            let ended = daemon.try_wait().unwrap();
            ended
                .inspect(|status| assert_eq!(status.code(), Some(1)))
                .is_none()
        });
        (daemons.len() <= 1).then_some(())
    });
    let (n, mut daemon) = daemons.pop().unwrap();
    let status = wait_for("it to answer", || {
        let output = place.ask("status");
        output.status.success().then(|| stdout(&output))
    });
    assert!(status.contains(&format!("pid {}", daemon.id())), "{status}");
    let refused = "cannot listen on control socket 'socket': another daemon answers there\n";
    assert_eq!(place.read("errors").matches(refused).count(), 5);
    kill(Pid::from_raw(daemon.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    assert!(
        place
            .read(&format!("log{n}"))
            .contains("Main loop terminated.")
    );
    let names = fs::read_dir(place.dir()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names
        .filter(|name| name.contains('s') && name != "errors")
        .collect();
    assert_eq!(left, [""; 0], "no socket, no lock");
}

#[test]
fn a_dead_daemons_socket_is_replaced() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    place.told("status");
    drop(daemon);
    assert!(
        place.path("socket").exists(),
        "killed, so it is still there"
    );
    assert!(UnixStream::connect(place.path("socket")).is_err());
    let daemon = place.listening(&idle());
    assert!(place.told("status").contains(&daemon.pid().to_string()));
}

#[test]
fn a_living_daemons_socket_and_other_files_are_left_alone() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    place.told("status");
    place.write("file", "precious");
    fs::create_dir(place.path("directory")).unwrap();
    let _datagrams = UnixDatagram::bind(place.path("datagrams")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("link")).unwrap();
    let long = "x".repeat(120);
    for (path, why) in [
        ("socket", "another daemon answers there"),
        ("file", "something that is not a socket is there"),
        ("directory", "something that is not a socket is there"),
        ("missing/socket", "No such file or directory"),
        ("file/socket", "Not a directory"),
        ("datagrams", "a socket of another kind is there"),
        ("link", "something that is not a socket is there"),
        (&*long, "the path is longer than 107 bytes"),
    ] {
        let config = format!(
            "[buildsequencer]\ncontrolsocket: {path}\n{}",
            idle_job("a", "true")
        );
        place.write("second", &config);
        let output = place.run(&["-c", "second"]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        let expected =
            format!("buildd-sequencer: cannot listen on control socket '{path}': {why}\n");
        assert_eq!(stderr(&output), expected);
        assert_eq!(stdout(&output), "", "nothing was begun");
    }
    assert_eq!(place.read("file"), "precious");
    for name in ["datagrams", "link"] {
        assert!(fs::symlink_metadata(place.path(name)).is_ok(), "{name}");
    }
    assert!(!place.path("nowhere").exists());
    assert!(place.told("status").contains(&daemon.pid().to_string()));
    daemon.stop();
}

#[test]
fn a_daemon_that_is_frozen_with_a_full_backlog_counts_as_living() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    daemon.signal(Signal::SIGSTOP);
    crate::common::socket::fill_backlog(&place.path("socket"));
    let output = place.run(&["-c", "conf"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another daemon answers there"));
    daemon.signal(Signal::SIGCONT);
    wait_for("it to have caught up", || {
        place.ask("status").status.success().then_some(())
    });
}

#[test]
fn the_socket_is_removed_at_the_end_unless_it_is_anothers() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let place = Place::new();
        let daemon = place.listening(&idle());
        place.told("status");
        daemon.stop_with(signal);
        assert!(!place.path("socket").exists());
    }
    let place = Place::new();
    let daemon = place.listening(&idle());
    place.told("status");
    fs::remove_file(place.path("socket")).unwrap();
    let _other = UnixListener::bind(place.path("socket")).unwrap();
    daemon.stop();
    assert!(place.path("socket").exists());
}

#[test]
fn a_reload_moves_the_socket_and_loses_no_client() {
    let place = Place::new();
    let a = idle_job("a", "sh -c 'until test -e go; do sleep 0.05; done; echo x'");
    let daemon = place.listening(&format!("{SOCKET}{a}"));
    let mut waiting = place.connect();
    waiting.write_all(b"run --wait a\n").unwrap();
    daemon.wait_for_log("Running a");
    let elsewhere = "[buildsequencer]\ncontrolsocket: elsewhere\n";
    place.write("conf", &format!("{elsewhere}{a}"));
    let mut old = place.connect();
    let said = place.run(&["reload", "-s", "socket"]);
    assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
    assert!(stdout(&said).contains("elsewhere"), "{}", stdout(&said));
    assert!(!place.path("socket").exists());
    assert!(place.told("healthcheck").starts_with("ok: a runs"));
    old.write_all(b"healthcheck --alive\n").unwrap();
    assert_eq!(answer(&mut old), "0\nok: the daemon answers\n");
    place.write("go", "");
    assert_eq!(answer(&mut waiting), "0\nx\n");
    // Off, and on again.
    place.write(
        "conf",
        &format!("[buildsequencer]\ncontrolsocket: none\n{a}"),
    );
    let said = place.run(&["reload", "-s", "elsewhere"]);
    assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
    assert!(!place.path("elsewhere").exists());
    place.write("conf", &format!("{SOCKET}{a}"));
    daemon.signal(Signal::SIGHUP);
    wait_for("the socket", || {
        place.ask("status").status.success().then_some(())
    });
    daemon.stop();
    assert!(!place.path("socket").exists());
}

#[test]
fn a_reload_that_cannot_move_the_socket_says_so_and_stays() {
    let place = Place::new();
    let a = idle_job("a", "true");
    let daemon = place.listening(&idle());
    place.told("status");
    let there = "[buildsequencer]\ncontrolsocket: missing/socket\n";
    let b = idle_job("b", "true");
    place.write("conf", &format!("{there}{a}{b}"));
    let said = place.run(&["reload", "-s", "socket"]);
    assert_eq!(said.status.code(), Some(1));
    let line = "cannot listen on control socket 'missing/socket': No such file or directory; it stays at 'socket'";
    let said = stderr(&said);
    assert!(said.contains(line), "{said}");
    assert!(said.contains("Added job b"), "the rest was adopted: {said}");
    daemon.wait_for_log(line);
    let said = place.run(&["status", "-s", "socket"]);
    assert_eq!(said.status.code(), Some(0));
    // Once it can, another reload moves it.
    fs::create_dir(place.path("missing")).unwrap();
    let said = stdout(&place.run(&["reload", "-s", "socket"]));
    assert_eq!(said, "Changed controlsocket: socket -> missing/socket\n");
    place.told("status");
    assert!(!place.path("socket").exists());
    daemon.stop();
    assert!(!place.path("missing/socket").exists());
}

#[test]
fn a_socket_that_was_removed_by_mistake_comes_back_with_a_reload() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    place.told("status");
    fs::remove_file(place.path("socket")).unwrap();
    let (status, error) = place.refused("status");
    assert_eq!(status, 3);
    assert!(
        error.contains("'socket': No such file or directory"),
        "{error}"
    );
    daemon.signal(Signal::SIGHUP);
    wait_for("the socket", || {
        place.ask("status").status.success().then_some(())
    });
}

#[test]
fn commands_find_the_socket_by_option_then_environment_then_configuration() {
    let place = Place::new();
    let _daemon = place.listening(&idle());
    place.told("status");
    let asks = |socket: Option<&str>, environment: Option<&str>, config: Option<&str>| {
        let mut command = place.command();
        command.arg("healthcheck");
        for (option, value) in [("-s", socket), ("-c", config)] {
            if let Some(value) = value {
                command.args([option, value]);
            }
        }
        if let Some(value) = environment {
            command.env("BUILDD_SEQUENCER_SOCKET", value);
        }
        let output = crate::common::finish(command);
        output.status.success()
    };
    assert!(asks(Some("socket"), Some("wrong"), Some("wrong")));
    assert!(!asks(Some("wrong"), Some("socket"), Some("conf")));
    assert!(asks(None, Some("socket"), None));
    assert!(asks(None, Some("socket"), Some("conf")));
    assert!(!asks(None, Some("wrong"), Some("conf")));
    assert!(asks(None, None, Some("conf")));
    assert!(asks(None, Some(""), Some("conf")), "empty is not set");
    let mut by_environment = place.command();
    by_environment
        .arg("status")
        .env("BUILDD_SEQUENCER_CONFIG", "conf");
    assert!(crate::common::finish(by_environment).status.success());
}

#[test]
fn a_broken_configuration_does_not_hide_a_healthy_daemon() {
    let place = Place::new();
    let _daemon = place.listening(&idle());
    place.told("status");
    for broken in [
        "[buildsequencer]\ncontrolsocket: socket\nlogfil: x\nmailinterval: 5 parsecs\n[",
        "junk\n[buildsequencer]\n\u{1}: \u{1}\ncontrolsocket: socket\n[buildsequencer_job.a b]\n",
        "[meta]\nextends: missing\n[buildsequencer]\ncontrolsocket: socket\n",
        "[meta]\nextends: conf\n[buildsequencer]\ncontrolsocket: socket\n",
        "[buildsequencer]\ncontrolsocket: wrong\n[buildsequencer]\ncontrolsocket: socket\n",
    ] {
        place.write("conf", broken);
        let output = place.ask("healthcheck");
        assert!(output.status.success(), "{broken}: {}", stderr(&output));
    }
}

#[test]
fn a_named_configuration_that_cannot_be_opened_ends_the_command() {
    let place = Place::new();
    let daemon = place.listening(&idle());
    let asked = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = place.command();
        command.args(arguments).envs(environment.iter().copied());
        let output = crate::common::finish(command);
        (output.status.code().unwrap(), stderr(&output))
    };
    let expected =
        "buildd-sequencer: cannot open configuration 'missing': No such file or directory\n";
    let refused = (78, expected.to_string());
    let by_name = ("BUILDD_SEQUENCER_CONFIG", "missing");
    let by_socket = ("BUILDD_SEQUENCER_SOCKET", "socket");
    for command in ["status", "pause", "healthcheck"] {
        assert_eq!(asked(&["-c", "missing", command], &[]), refused);
        assert_eq!(asked(&["-c", "missing", command], &[by_socket]), refused);
        assert_eq!(asked(&[command], &[by_name]), refused);
        // It is not needed then.
        assert_eq!(asked(&[command], &[by_name, by_socket]).0, 0);
        assert_eq!(asked(&["-c", "missing", "-s", "socket", command], &[]).0, 0);
    }
    // One that nobody named need not be there.
    let (status, error) = asked(&["status"], &[("LPCONFIG", "missing")]);
    assert_ne!(status, 78, "{error}");
    assert!(!error.contains("configuration"), "{error}");
    assert_eq!(daemon.stop().matches("Asked to pause").count(), 1);
}

#[test]
fn a_socket_that_is_off_is_named_as_the_reason() {
    let place = Place::new();
    place.write(
        "conf",
        &format!("{}{}", crate::common::ALONE, idle_job("a", "true")),
    );
    let expected =
        "buildd-sequencer: no daemon answers: configuration 'conf' says 'controlsocket: none'\n";
    for (command, status) in [("status", 3), ("run a", 3), ("healthcheck", 1)] {
        assert_eq!(place.refused(command), (status, expected.to_string()));
    }
}

#[test]
fn the_command_lines_socket_wins_over_the_configurations() {
    let place = Place::new();
    let daemon = place.daemon_with(&idle(), |command| {
        command.args(["-s", "named"]);
    });
    daemon.wait_for_log("Scheduling");
    let output = place.run(&["healthcheck", "--alive", "-s", "named"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!place.path("socket").exists());
    let checked = place.run(&["check", "-c", "conf", "--socket", "x"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(text.contains("/x\n"), "{text}");
    daemon.stop();
}

#[test]
fn what_is_no_daemon_is_not_taken_for_one() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("socket")).unwrap();
    let answers: [&[u8]; 4] = [b"", b"hello\n", b"999\nx", b"\xff\xff"];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.write_all(answer);
        }
    });
    for _ in answers {
        let output = place.run(&["status", "-s", "socket"]);
        assert_eq!(output.status.code(), Some(3));
        let expected = "buildd-sequencer: no daemon answers: 'socket': ";
        assert!(stderr(&output).starts_with(expected), "{}", stderr(&output));
    }
    server.join().unwrap();
}

#[test]
fn by_default_a_socket_that_cannot_be_is_worth_one_line() {
    let place = Place::new();
    place.write("conf", &idle_job("a", "true"));
    // A /run of its own, as root of a user namespace; where that is not allowed, the machine's own will do. Without -n
    // mount(8) would first make /run/mount on the machine.
    let script = "mount -n -t tmpfs none /run 2>/dev/null || exit 77
         \"$0\" -c conf >first & first=$!
         until grep -q Scheduling first; do sleep 0.02; done
         mkdir /run/buildd-sequencer
         \"$0\" -c conf >second & second=$!
         until \"$0\" status; do sleep 0.02; done
         \"$0\" -c conf >third & third=$!
         until grep -q Scheduling third; do sleep 0.02; done
         \"$0\" healthcheck >health
         kill $first $second $third
         wait $first && wait $second && wait $third && ! test -e /run/buildd-sequencer/control.sock";
    let mut command = std::process::Command::new("unshare");
    command
        .args(["-rm", "timeout", "60", "sh", "-c", script, PROGRAM])
        .current_dir(place.dir());
    let output = crate::common::finish(command);
    if matches!(output.status.code(), Some(1 | 77)) && !place.path("first").exists() {
        return not_tested(&format!("no namespace of its own: {}", stderr(&output)));
    }
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line = |why: &str| {
        format!("[-] No control socket at '/run/buildd-sequencer/control.sock': {why}.\n")
    };
    let [first, second, third] = ["first", "second", "third"].map(|name| place.read(name));
    assert_eq!(
        first.matches(&line("No such file or directory")).count(),
        1,
        "{first}"
    );
    assert!(!second.contains("control socket"), "{second}");
    assert_eq!(
        third.matches(&line("another daemon answers there")).count(),
        1,
        "{third}"
    );
    assert_eq!(place.read("health"), "ok\n");
}
