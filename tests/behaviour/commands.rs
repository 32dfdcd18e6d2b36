//! The commands that operators give a running daemon, and their answers.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::at_once;
use crate::common::socket::{SOCKET, answer, fill_backlog, idle_job};
use crate::common::{
    Daemon, PROGRAM, Pid, Place, Signal, Within, each_at_once, is_running, job, messages,
    not_tested, place_of, ran, scheduled, spawn, stderr, stdout, wait_for,
};

/// A job that runs until the file `go` is there.
const GATED: &str = "sh -c 'echo begun >>begun; until test -e go; do sleep 0.02; done; echo done'";

/// A command that is still at work; its output goes to the file `name`.
fn begin(place: &Place, name: &str, command: &str) -> Child {
    let mut asking = place.command();
    asking.args(["-c", "conf"]).args(command.split(' '));
    asking
        .stdin(Stdio::null())
        .stdout(place.append_to(name))
        .stderr(place.append_to(&format!("{name}.errors")));
    spawn(&mut asking)
}

#[track_caller]
fn end(mut child: Child) -> i32 {
    let status = wait_for("the command's end", || child.try_wait().unwrap());
    status.code().unwrap()
}

/// A timeout is long enough for a shell to have set its trap on a busy machine.
pub fn runs_that_time_out() {
    at_once!(
        run_and_wait_prints_the_output_byte_for_byte_and_exits_with_the_code,
        a_second_kill_hurries_whatever_stop_has_begun,
        run_wait_exits_with_1_for_a_failure_that_exits_with_0,
    );
}

#[test]
fn run_makes_a_job_due_now_and_ahead_of_all_others() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}{}{}",
        job(
            "gated",
            &format!("command: {GATED}\nmindelay: 1d\nstartdelay: 0")
        ),
        job("due", "command: true\nmindelay: 1d\nstartdelay: 0"),
        idle_job("first", "true"),
        idle_job("second", "true"),
    ));
    place.wait_for_lines("begun", 1);
    for name in ["first", "second", "first"] {
        let said = place.told(&format!("run {name}"));
        assert!(said.starts_with("queued behind gated ("), "{said}");
        assert!(said.ends_with("s)\n"), "{said}");
    }
    place.write("go", "");
    daemon.wait_for_log_times("completed", 4);
    assert_eq!(ran(&daemon.messages()), ["gated", "first", "second", "due"]);
    assert_eq!(place.told("run first"), "queued\n");
    daemon.wait_for_log_times("Running first", 2);
    assert!(
        daemon
            .log()
            .contains("Scheduling first for      0 seconds time")
    );
}

fn run_and_wait_prints_the_output_byte_for_byte_and_exits_with_the_code() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}{}{}{}",
        idle_job("good", r"printf 'a\377\0\nb'"),
        idle_job("bad", "sh -c 'echo out; echo err >&2; exit 42'"),
        idle_job("slow", "sh -c 'echo so far; exec sleep 600'") + "timeout: 3\n",
        idle_job("killed", "sh -c 'kill -9 $$'"),
        idle_job("missing", "./missing"),
    ));
    let output = place.ask("run --wait good");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(end(begin(&place, "raw", "run --wait good")), 0);
    assert_eq!(place.bytes("raw"), b"a\xff\0\nb");
    let outcome = "Job good completed with exit code 0\n";
    assert_eq!(place.read("raw.errors"), outcome);
    for (name, code, said, why) in [
        ("bad", 42, "out\nerr\n", ""),
        ("killed", 137, "", " (killed by SIGKILL)"),
        ("slow", 143, "so far\n", " (timed out after 3 seconds)"),
        (
            "missing",
            127,
            "No such file or directory\n",
            " (could not start: No such file or directory)",
        ),
    ] {
        let output = place.ask(&format!("run --wait {name}"));
        assert_eq!(output.status.code(), Some(code), "{name}");
        assert_eq!(stdout(&output), said, "{name}");
        let outcome = format!("Job {name} completed with exit code {code}{why}\n");
        assert_eq!(stderr(&output), outcome);
        daemon.wait_for_log(&outcome);
    }
    assert_eq!(ran(&messages(&daemon.stop())).len(), 6);
}

#[test]
fn run_and_wait_waits_for_the_next_run_where_one_is_under_way() {
    let place = Place::new();
    place.script(
        "count",
        "echo begun >>begun; n=$(wc -l <begun); until test -e go$n; do sleep 0.02; done; echo $n",
    );
    let daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "./count")));
    let one = begin(&place, "one", "run --wait a");
    place.wait_for_lines("begun", 1);
    let two = begin(&place, "two", "run --wait a");
    let three = begin(&place, "three", "run --wait a");
    daemon.wait_for_log_times("Asked to run a", 3);
    place.write("go1", "");
    assert_eq!((end(one), &*place.read("one")), (0, "1\n"));
    place.wait_for_lines("begun", 2);
    place.write("go2", "");
    for (child, name) in [(two, "two"), (three, "three")] {
        assert_eq!(
            (end(child), &*place.read(name)),
            (0, "2\n"),
            "one run for both"
        );
    }
    assert_eq!(ran(&messages(&daemon.stop())).len(), 2);
}

#[test]
fn a_paused_job_runs_when_it_is_asked_for_and_stays_paused() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}",
        job("a", "command: echo hi\nmindelay: 0.05\nstartdelay: 1d")
    ));
    assert_eq!(place.told("pause a"), "paused a\n");
    assert_eq!(place.told("run --wait a"), "hi\n");
    assert!(
        place.told("status").contains("\na    paused"),
        "{}",
        place.told("status")
    );
    assert_eq!(place.told("run --wait a"), "hi\n");
    let log = daemon.wait_for_log_times("Job a completed", 2);
    assert_eq!(ran(&messages(&log)).len(), 2, "{log}");
    assert_eq!(place.told("resume a"), "resumed a\n");
    daemon.wait_for_log_times("Running a", 5);
}

#[test]
fn who_waits_is_told_when_the_daemon_stops() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        idle_job("gated", GATED),
        idle_job("b", "true")
    ));
    let running = begin(&place, "running", "run --wait gated");
    place.wait_for_lines("begun", 1);
    let next = begin(&place, "next", "run --wait b");
    daemon.wait_for_log("Asked to run b");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(end(next), 1);
    let gone = "b will not run: the daemon stops, or a reload has removed the job\n";
    assert_eq!(place.read("next"), "");
    assert_eq!(place.read("next.errors"), gone);
    assert_eq!(end(running), 143);
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn a_draining_daemon_lets_the_run_end_and_starts_no_other() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        idle_job("gated", GATED),
        idle_job("b", "true")
    ));
    let running = begin(&place, "running", "run --wait gated");
    place.wait_for_lines("begun", 1);
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_for_log("draining");
    let (status, error) = place.refused("run b");
    assert_eq!(
        (status, &*error),
        (1, "the daemon stops; no job is started any more\n")
    );
    let (status, error) = place.refused("reload");
    assert_eq!(
        (status, &*error),
        (78, "Configuration not reloaded: the daemon stops.\n")
    );
    assert!(
        place
            .told("status")
            .lines()
            .next()
            .unwrap()
            .ends_with(", draining")
    );
    place.write("go", "");
    assert_eq!((end(running), &*place.read("running")), (0, "done\n"));
    assert_eq!(daemon.wait().code(), Some(0));
    let (status, error) = place.refused("run b");
    assert_eq!(status, 3);
    assert!(error.starts_with("buildd-sequencer: no daemon answers: 'socket': "));
}

#[test]
fn who_waits_for_a_job_that_a_reload_removes_is_told_but_its_run_ends_first() {
    let place = Place::new();
    let gated = idle_job("gated", GATED);
    let daemon = place.listening(&format!("{SOCKET}{gated}{}", idle_job("b", "true")));
    let running = begin(&place, "running", "run --wait gated");
    place.wait_for_lines("begun", 1);
    let next = begin(&place, "next", "run --wait b");
    daemon.wait_for_log("Asked to run b");
    place.write("conf", &format!("{SOCKET}{}", idle_job("c", "true")));
    let said = place.told("reload");
    assert!(said.contains('b') && said.contains('c'), "{said}");
    assert_eq!(end(next), 1);
    assert!(place.read("next.errors").starts_with("b will not run: "));
    place.write("go", "");
    assert_eq!((end(running), &*place.read("running")), (0, "done\n"));
    assert_eq!(ran(&messages(&daemon.stop())), ["gated"]);
}

#[test]
fn kill_stops_the_run_and_that_is_a_failure_like_any_other() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}{}",
        idle_job("a", "sh -c 'echo here; sleep 1000 & wait'"),
        idle_job("b", "true"),
        idle_job(
            "stubborn",
            "sh -c \"trap '' TERM; echo up >up; while :; do sleep 1; done\""
        ) + "killdelay: 0.3\n",
    ));
    assert_eq!(place.refused("kill"), (1, "no job runs\n".to_string()));
    assert_eq!(place.refused("kill a"), (1, "no job runs\n".to_string()));
    let waiting = begin(&place, "waiting", "run --wait a");
    daemon.wait_for_log("Running a");
    let refusal = "b does not run; a does\n".to_string();
    assert_eq!(place.refused("kill b"), (1, refusal));
    let said = place.told("kill a");
    assert!(said.starts_with("stopping a (pid "), "{said}");
    assert_eq!(end(waiting), 143);
    let log = daemon.wait_for_log("Subject: Job a exited with code 143 (stopped by operator)");
    assert!(log.contains("Job a completed with exit code 143 (stopped by operator)"));
    let row = place.told("status");
    assert!(
        row.lines()
            .any(|l| l.starts_with("a ") && l.ends_with("1       1")),
        "{row}"
    );
    let waiting = begin(&place, "waiting", "run --wait stubborn");
    place.wait_for_lines("up", 1);
    place.told("kill");
    assert_eq!(end(waiting), 137);
    daemon.wait_for_log("Job stubborn completed with exit code 137 (stopped by operator)");
}

/// A job that SIGTERM does not end, and that tells of each.
const UNMOVED: &str =
    "sh -c \"trap 'echo told >>told' TERM; echo up >up; while :; do sleep 0.02; done\"";

fn a_second_kill_hurries_whatever_stop_has_begun() {
    let unmoved = |settings: &str| {
        job(
            "a",
            &format!("command: {UNMOVED}\nmindelay: 1d\nstartdelay: 0\nkilldelay: 1d\n{settings}"),
        )
    };
    let cases = [
        ("", "stopped by operator"),
        ("timeout: 3", "timed out after 3 seconds"),
        ("", "stopped at shutdown"),
    ];
    each_at_once(cases, |(settings, why)| {
        let place = Place::new();
        let daemon = place.listening(&format!("{SOCKET}{}", unmoved(settings)));
        place.wait_for_lines("up", 1);
        match why {
            "stopped by operator" => {
                let said = place.told("kill a");
                assert!(said.starts_with("stopping a (pid "), "{said}");
            }
            "stopped at shutdown" => daemon.signal(Signal::SIGTERM),
            _ => {}
        }
        place.wait_for_lines("told", 1);
        let said = place.told("kill");
        assert!(said.starts_with("killing a (pid "), "{said}");
        let log = daemon.wait_for_log(&format!("Job a completed with exit code 137 ({why})\n"));
        let asked = log.matches("Asked to kill a at once by uid ").count();
        assert_eq!(asked, 1, "{log}");
        assert_eq!(place.lines("told").len(), 1, "one SIGTERM is enough");
        if why == "stopped at shutdown" {
            assert_eq!(daemon.wait().code(), Some(0));
        }
    });
}

#[test]
fn a_second_kill_hurries_the_rest_of_a_group_too() {
    let place = Place::new();
    // Its leader ends at SIGTERM, its child does not.
    place.script(
        "job",
        "trap 'exit 0' TERM\n\
         sh -c 'trap \"\" TERM; echo $$ >{dir}/pid; exec sleep 1000' >/dev/null 2>&1 & wait",
    );
    let daemon = place.listening(&format!(
        "{SOCKET}{}killdelay: 1d\n",
        idle_job("a", "./job")
    ));
    place.told("run a");
    let child = place.wait_for_lines("pid", 1)[0].parse().unwrap();
    let leader = daemon.children()[0];
    place.told("kill a");
    wait_for("the leader's end", || {
        (!daemon.children().contains(&leader)).then_some(())
    });
    let said = place.told("kill a");
    assert!(said.starts_with("killing a (pid "), "{said}");
    daemon.wait_for_log("Job a completed with exit code 0 (stopped by operator)\n");
    assert!(!is_running(child));
}

/// Its process is a zombie by the time that the daemon reads the request.
#[test]
fn what_has_ended_before_the_kill_is_read_has_ended_by_itself() {
    let place = Place::new();
    place.gated("job", "exit 0");
    let daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "./job")));
    place.told("run a");
    place.wait_for_begin();
    let run = daemon.children()[0];
    // By the time that another client has its answer this one has been accepted.
    let mut client = place.connect();
    place.told("status");
    daemon.signal(Signal::SIGSTOP);
    wait_for("the daemon to stand still", || {
        stat_of(daemon.pid()).contains(") T ").then_some(())
    });
    client.write_all(b"kill a\n").unwrap();
    place.let_go();
    wait_for("the run's end", || {
        (!is_running(run.as_raw())).then_some(())
    });
    daemon.signal(Signal::SIGCONT);
    assert_eq!(answer(&mut client), "1\nno job runs\n");
    daemon.wait_for_log("Job a completed with exit code 0\n");
    assert!(!daemon.log().contains("Subject:"), "{}", daemon.log());
}

fn stat_of(pid: Pid) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap()
}

#[test]
fn pause_and_resume_take_one_job_or_all() {
    let place = Place::new();
    let quick = "command: true\nmindelay: 0.03\nstartdelay: 0.03";
    let daemon = place.listening(&format!("{SOCKET}{}{}", job("a", quick), job("b", quick)));
    daemon.wait_for_log_times("Running b", 2);
    assert_eq!(place.told("pause a"), "paused a\n");
    assert_eq!(place.told("pause a"), "a was paused already\n");
    daemon.wait_for_log("Asked to pause a");
    let messages = daemon.messages();
    let paused = place_of(&messages, "Asked to pause a");
    let seen = ran(&messages).len();
    daemon.wait_for_log_times("Running", seen + 5);
    let messages = daemon.messages();
    let since = ran(&messages[paused..]);
    assert!(since.iter().all(|name| *name == "b"), "{since:?}");
    assert_eq!(place.told("pause"), "paused 1 job\n");
    assert_eq!(place.told("pause"), "paused 0 jobs\n");
    // The run under way may still have to end.
    wait_for("both to be paused", || {
        (place.told("status").matches(" paused ").count() == 2).then_some(())
    });
    assert_eq!(place.told("resume b"), "resumed b\n");
    assert_eq!(place.told("resume b"), "b was not paused\n");
    assert_eq!(place.told("resume"), "resumed 1 job\n");
    let before = daemon.log().matches("Running a").count();
    daemon.wait_for_log_times("Running a", before + 1);
    let log = daemon.log();
    assert_eq!(
        log.matches("Asked to pause a by").count(),
        1,
        "no news, no line: {log}"
    );
    assert_eq!(log.matches("Asked to pause by").count(), 1);
    assert_eq!(log.matches("Asked to resume by").count(), 1);
}

#[test]
fn a_pause_while_the_job_runs_takes_effect_after_the_run() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}",
        job(
            "gated",
            &format!("command: {GATED}\nmindelay: 0.01\nstartdelay: 0")
        )
    ));
    place.wait_for_lines("begun", 1);
    assert_eq!(place.told("pause"), "paused 1 job\n");
    assert!(place.told("status").contains("RUNNING gated"));
    place.write("go", "");
    wait_for("the end of the run", || {
        place
            .told("status")
            .contains("\ngated  paused")
            .then_some(())
    });
    let log = daemon.stop();
    assert_eq!(ran(&messages(&log)).len(), 1);
    assert!(!log.contains("Scheduling gated for   0.01"), "{log}");
}

/// Nothing else is there that would wake the daemon.
#[test]
fn another_choice_is_announced_at_once_whoever_made_it() {
    let place = Place::new();
    let config = |second: &str| {
        let first = job("a", "command: true\nmindelay: 1000");
        format!(
            "{SOCKET}{first}{}",
            job("b", &format!("command: true\nmindelay: {second}"))
        )
    };
    let daemon = place.listening(&config("2000"));
    let announced = |daemon: &Daemon<'_>| {
        let messages = daemon.messages();
        let names = scheduled(&messages)
            .into_iter()
            .map(|(name, _)| name.to_string());
        names.collect::<Vec<String>>()
    };
    let wait = |expected: &[&str]| {
        wait_for("the announcement", || {
            (announced(&daemon) == expected).then_some(())
        });
    };
    wait(&["a"]);
    place.told("pause a");
    wait(&["a", "b"]);
    place.told("resume a");
    wait(&["a", "b", "a"]);
    place.write("conf", &config("500"));
    place.told("reload");
    wait(&["a", "b", "a", "b"]);
    daemon.stop();
}

#[test]
fn reload_answers_with_what_has_changed_and_logs_the_same() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        idle_job("a", "true"),
        idle_job("b", "true")
    ));
    assert_eq!(
        place.told("reload"),
        "Configuration reloaded: nothing has changed.\n"
    );
    let changed = idle_job("b", "false") + "timeout: 3m\n";
    place.write(
        "conf",
        &format!("{SOCKET}{changed}{}", idle_job("c", "true")),
    );
    let said = place.told("reload");
    for word in ["a", "c", "timeout", "180", "false"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    for line in said.lines() {
        daemon.wait_for_log(&format!("[-] {line}\n"));
    }
    assert!(place.told("healthcheck").starts_with("ok"));
}

#[test]
fn a_refused_reload_prints_every_error_exits_78_and_changes_nothing() {
    let place = Place::new();
    let good = format!("{SOCKET}{}", idle_job("a", "true"));
    let daemon = place.listening(&good);
    let bad = "[buildsequencer]\ncontrolsocket: elsewhere\nlogfil: x\n[buildsequencer_job.b]\nmindelay: 5 s\n";
    place.write("conf", bad);
    let said = place.run(&["reload", "-s", "socket"]);
    assert_eq!(said.status.code(), Some(78));
    let errors = stderr(&said);
    for fault in ["conf:3: ", "conf:4: ", "conf:5: "] {
        assert!(errors.contains(fault), "{fault} in {errors}");
    }
    assert!(errors.ends_with("Configuration not reloaded: 3 faults, nothing has changed.\n"));
    for line in errors.lines() {
        daemon.wait_for_log(&format!("[-] {line}\n"));
    }
    let health = place.run(&["healthcheck", "-s", "socket"]);
    assert_eq!(health.status.code(), Some(1));
    assert!(
        stdout(&health).starts_with("the last reload was refused "),
        "{}",
        stdout(&health)
    );
    let alive = place.run(&["healthcheck", "--alive", "-s", "socket"]);
    assert_eq!(alive.status.code(), Some(0));
    assert!(!place.path("elsewhere").exists());
    place.write("conf", &good);
    place.told("reload");
    assert_eq!(place.told("healthcheck"), "ok\n");
}

#[test]
fn a_reload_whose_log_cannot_follow_says_so_and_exits_1() {
    let place = Place::new();
    let a = idle_job("a", "true");
    let daemon = place.daemon(&format!("{SOCKET}logfile: first\n{a}"));
    wait_for("it to listen", || {
        place.ask("status").status.success().then_some(())
    });
    let missing = format!("{SOCKET}logfile: missing/log\n{a}");
    place.write("conf", &missing);
    for _ in 0..2 {
        let (status, said) = place.refused("reload");
        assert_eq!(status, 1);
        assert!(
            said.contains("'missing/log': No such file or directory"),
            "{said}"
        );
    }
    assert!(
        place.read("first").contains("missing/log"),
        "it goes on there"
    );
    assert_eq!(
        place.told("healthcheck"),
        "ok\n",
        "the reload was not refused"
    );
    std::fs::create_dir(place.path("missing")).unwrap();
    let said = place.told("reload");
    assert_eq!(said, "Changed logfile: first -> missing/log\n");
    place.told("pause");
    wait_for("the log to follow", || {
        place
            .read("missing/log")
            .contains("Asked to pause")
            .then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
}

#[test]
fn a_reload_that_would_overwrite_the_configuration_changes_nothing() {
    let place = Place::new();
    let a = idle_job("a", "true");
    let daemon = place.listening(&format!("{SOCKET}{a}"));
    let config = format!("{SOCKET}logkeep: 3\nstatefile: conf\n{a}");
    place.write("conf", &config);
    let (status, said) = place.refused("reload");
    assert_eq!(status, 78);
    let line = "conf:4: statefile: 'conf' is the configuration, which would be overwritten; name another file\n";
    assert!(said.contains(line), "{said}");
    let log = daemon.stop();
    assert!(log.contains(line) && !log.contains("Changed"), "{log}");
    assert_eq!(place.read("conf"), config);
}

#[test]
fn a_reload_that_would_overwrite_what_may_stay_in_use_changes_nothing() {
    let place = Place::new();
    let a = idle_job("a", "true");
    let daemon = place.daemon(&format!("{SOCKET}logfile: first\n{a}"));
    wait_for("it to listen", || {
        place.ask("status").status.success().then_some(())
    });
    // The new log cannot be had, so the old one stays.
    place.write(
        "conf",
        &format!("{SOCKET}logfile: missing/log\nstatefile: first\n{a}"),
    );
    let (status, said) = place.refused("reload");
    assert_eq!(status, 78);
    let line = "conf:4: statefile: 'first' is the file of logfile, too; name another file\n";
    assert!(said.contains(line), "{said}");
    assert!(place.read("first").contains(line));
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
}

#[test]
fn a_reload_in_a_directory_that_is_gone_is_one_all_the_same() {
    let place = Place::new();
    std::fs::create_dir(place.path("run")).unwrap();
    let config = format!("{SOCKET}{}", idle_job("a", "true"));
    let daemon = place.daemon_with(&config, |command| {
        command.args(["-d", "run", "-s", "socket"]);
    });
    daemon.wait_for_log("Loaded.");
    std::fs::remove_dir(place.path("run")).unwrap();
    let more = format!("{SOCKET}{}{}", idle_job("a", "true"), idle_job("b", "true"));
    place.write(
        "conf",
        &more.replace(
            "[buildsequencer]\n",
            "[buildsequencer]\nstatefile: s\nmetricsfile: m.prom\n",
        ),
    );
    let said = place.run(&["reload", "-s", "socket"]);
    assert!(stdout(&said).contains("Added job b"), "{}", stderr(&said));
    daemon.stop();
}

#[test]
fn a_reload_whose_state_or_metrics_cannot_follow_says_so_and_exits_1() {
    let place = Place::new();
    let config = |state: &str, metrics: &str| {
        let a = idle_job("a", "true");
        format!("{SOCKET}statefile: {state}\nmetricsfile: {metrics}\n{a}")
    };
    let daemon = place.listening(&config("state", "x.prom"));
    for (state, metrics, line) in [
        (
            "missing/state",
            "x.prom",
            "Cannot change the state file: directory 'missing' cannot be written: No such file or directory; the state \
             stays in 'state'.",
        ),
        (
            "state",
            "/dev/null",
            "Cannot change the metrics file: '/dev/null' is not a regular file; the metrics stay in 'x.prom'.",
        ),
    ] {
        place.write("conf", &config(state, metrics));
        for _ in 0..2 {
            let output = place.ask("reload");
            let said = stdout(&output) + &stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(line), "{said}");
        }
        assert_eq!(daemon.log().matches(line).count(), 2, "{}", daemon.log());
    }
    // All is kept where it was.
    place.told("pause a");
    assert!(
        place.read("state").contains("pause"),
        "{}",
        place.read("state")
    );
    wait_for("the metrics", || {
        let text = place.read("x.prom");
        text.contains(r#"buildd_sequencer_job_paused{job="a"} 1"#)
            .then_some(())
    });
    assert_eq!(place.told("healthcheck"), "ok\n");
    daemon.stop();
}

#[test]
fn a_job_that_is_added_while_all_are_paused_is_told_of() {
    let place = Place::new();
    let (a, b) = (idle_job("a", "true"), idle_job("b", "true"));
    let daemon = place.listening(&format!("{SOCKET}{a}"));
    place.told("pause");
    place.write("conf", &format!("{SOCKET}{a}{b}"));
    let line = "all other jobs are paused, but not b: 'buildd-sequencer pause b' holds it, too";
    let said = place.told("reload");
    assert!(said.ends_with(&format!("warning: {line}\n")), "{said}");
    assert!(daemon.log().contains(line), "{}", daemon.log());
    assert!(!place.told("reload").contains(line), "once");
    daemon.stop();
}

#[test]
fn a_reload_that_comes_too_late_says_nothing_about_the_configuration() {
    let place = Place::new();
    let config = format!(
        "{SOCKET}{}",
        job(
            "gated",
            &format!("command: {GATED}\nmindelay: 1d\nstartdelay: 0")
        )
    );
    let daemon = place.listening(&config);
    place.wait_for_lines("begun", 1);
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_for_log("Received SIGQUIT");
    let why = "Configuration not reloaded: the daemon stops.";
    let (status, said) = place.refused("reload");
    assert_eq!(status, 78);
    assert!(said.contains(why), "{said}");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log_times(why, 2);
    let health = place.told("healthcheck");
    assert!(health.starts_with("ok: gated runs for"), "{health}");
    assert!(!place.told("status").contains("RELOAD"));
    assert!(
        place
            .told("metrics")
            .contains("reloads_total{result=\"refused\"} 0\n")
    );
    place.write("go", "");
    daemon.wait();
}

fn run_wait_exits_with_1_for_a_failure_that_exits_with_0() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}",
        job(
            "polite",
            "command: sh -c 'trap \"exit 0\" TERM; sleep 100 & wait'\nmindelay: 1d\ntimeout: 3"
        )
    ));
    let output = place.ask("run --wait polite");
    assert_eq!(output.status.code(), Some(1));
    let line = "Job polite completed with exit code 0 (timed out after 3 seconds)\n";
    assert_eq!(stderr(&output), line);
    daemon.stop();
}

#[test]
fn reload_answers_with_what_check_would_warn_of_each_time() {
    let place = Place::new();
    let unwise = idle_job("a", "true") + "timeout: 5\nstuckafter: 6\n";
    let daemon = place.listening(&format!("{SOCKET}{unwise}"));
    let checked = place.ask("check");
    let warnings: Vec<String> = stderr(&checked)
        .lines()
        .filter(|line| line.starts_with("warning: "))
        .map(str::to_string)
        .collect();
    assert_eq!(warnings.len(), 1, "{}", stderr(&checked));
    for _ in 0..2 {
        let said = place.told("reload");
        let (changes, rest) = said.split_once('\n').unwrap();
        assert_eq!(changes, "Configuration reloaded: nothing has changed.");
        assert_eq!(rest.lines().collect::<Vec<_>>(), warnings);
    }
    daemon.stop();
}

#[test]
fn where_there_is_one_job_it_is_named_as_one() {
    let place = Place::new();
    let _daemon = place.listening(&format!("{SOCKET}{}", idle_job("only", "true")));
    let output = place.ask("pause other_than_that");
    let line = "unknown job 'other_than_that'; there is: only\n";
    assert_eq!((output.status.code(), &*stderr(&output)), (Some(1), line));
}

#[test]
fn an_unknown_job_is_refused_and_the_nearest_name_offered() {
    let place = Place::new();
    let _daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        idle_job("slave_scanner", "true"),
        idle_job("queue_builder", "true")
    ));
    let meant = "unknown job 'slave_scaner'; did you mean 'slave_scanner'?\n";
    for command in ["run", "run --wait", "kill", "pause", "resume"] {
        let output = place.ask(&format!("{command} slave_scaner"));
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(said, meant, "{command}");
    }
    let line = "unknown job 'QUEUE-BUILDER'; did you mean 'queue_builder'?\n".to_string();
    assert_eq!(place.refused("run QUEUE-BUILDER"), (1, line));
    // What is near none gets them all.
    let line = "unknown job 'scanner'; there are: slave_scanner and queue_builder\n".to_string();
    assert_eq!(place.refused("run scanner"), (1, line));
    for hostile in [
        "a\nrun",
        "a b",
        "\u{1b}[2J",
        "é".repeat(3000).as_str(),
        "--",
        "-",
    ] {
        let output = place.run(&["-c", "conf", "pause", "--", hostile]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{hostile:?}: {}",
            stderr(&output)
        );
        assert!(stderr(&output).starts_with("unknown job '"), "{hostile:?}");
        assert!(!stderr(&output).contains('\u{1b}'));
    }
}

#[test]
fn a_job_whose_name_looks_like_an_option_can_be_asked_for() {
    let place = Place::new();
    let _daemon = place.listening(&format!("{SOCKET}{}", idle_job("--wait", "echo me")));
    let output = place.run(&["-c", "conf", "run", "--wait", "--", "--wait"]);
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), "me\n"));
}

#[test]
fn wrong_usage_exits_2_and_asks_nobody() {
    let place = Place::new();
    let daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "true")));
    for words in [
        &["run"][..],
        &["run", ""],
        &["kill", ""],
        &["pause", ""],
        &["resume", "a", "b"],
        &["status", "a", "b"],
        &["reload", "--json"],
        &["healthcheck", "--wait"],
        &["statu"],
    ] {
        let output = place.run(&[&["-c", "conf"], words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}");
    }
    assert!(!daemon.log().contains("Asked"), "{}", daemon.log());
}

/// Runs a health check. It may take two seconds, and something for a machine that does other things as well.
#[track_caller]
fn health(place: &Place, options: &[&str]) -> (i32, String) {
    let mut in_time = Within::seconds(5.0);
    let output = place.run(&[&["-c", "conf", "healthcheck"], options].concat());
    in_time.is_kept();
    let said = stdout(&output) + &stderr(&output);
    assert_eq!(said.lines().count(), 1, "{said}");
    (output.status.code().unwrap(), said)
}

fn frozen<'a>(place: &'a Place, full: bool) -> Daemon<'a> {
    let daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "true")));
    daemon.signal(Signal::SIGSTOP);
    if full {
        fill_backlog(&place.path("socket"));
    }
    daemon
}

pub fn a_health_check_of_a_frozen_daemon_fails_within_two_seconds() {
    let cases = [
        (false, "it takes the connection, but says nothing in time"),
        (true, "it is too busy to take a connection"),
    ];
    each_at_once(cases, |(full, why)| {
        let place = Place::new();
        let daemon = frozen(&place, full);
        each_at_once([&[][..], &["--alive"]], |options| {
            let (status, said) = health(&place, options);
            assert_eq!(status, 1);
            assert_eq!(
                said,
                format!("buildd-sequencer: no daemon answers: 'socket': {why}\n")
            );
        });
        daemon.signal(Signal::SIGCONT);
        wait_for("it to have caught up", || {
            (health(&place, &["--alive"]).0 == 0).then_some(())
        });
    });
}

#[test]
fn a_health_check_fails_where_no_daemon_is_or_ever_was() {
    let place = Place::new();
    place.write("conf", &format!("{SOCKET}{}", idle_job("a", "true")));
    let (status, said) = health(&place, &["--alive"]);
    assert_eq!(status, 1);
    let never = "buildd-sequencer: no daemon answers: 'socket': No such file or directory\n";
    assert_eq!(said, never);
    let daemon = place.listening(&place.read("conf"));
    assert_eq!(health(&place, &[]).0, 0);
    drop(daemon);
    let (status, said) = health(&place, &[]);
    assert_eq!(status, 1);
    assert_eq!(
        said,
        "buildd-sequencer: no daemon answers: 'socket': Connection refused\n"
    );
}

#[test]
fn a_stuck_run_is_unhealthy_only_while_others_wait_but_the_daemon_is_alive() {
    let place = Place::new();
    let stuck = job(
        "stuck",
        &format!("command: {GATED}\nmindelay: 1d\nstartdelay: 0\nstuckafter: 0.2"),
    );
    let daemon = place.listening(&format!("{SOCKET}{stuck}{}", idle_job("b", "true")));
    daemon.wait_for_log("Job stuck still running after 0.2 seconds");
    let (status, said) = health(&place, &[]);
    assert_eq!(
        (status, &said[..19]),
        (0, "ok: stuck runs for "),
        "nobody waits"
    );
    place.told("run b");
    let said = wait_for("b to wait", || {
        let (status, said) = health(&place, &[]);
        (status == 1).then_some(said)
    });
    assert!(said.starts_with("stuck is stuck (pid "), "{said}");
    assert!(
        said.contains(", over 0.2 seconds) and 1 job waits, b longest ("),
        "{said}"
    );
    assert_eq!(health(&place, &["--alive"]).0, 0);
    place.write("go", "");
    daemon.wait_for_log("Job b completed");
    assert_eq!(health(&place, &[]).0, 0);
}

#[test]
fn a_command_waits_for_a_daemon_that_is_busy_for_a_moment() {
    let place = Place::new();
    let daemon = frozen(&place, true);
    let child = begin(&place, "status", "status");
    // Long enough for the command to have found no room.
    std::thread::sleep(Duration::from_millis(300));
    daemon.signal(Signal::SIGCONT);
    assert_eq!(end(child), 0);
    assert!(place.read("status").starts_with("buildd-sequencer "));
}

#[test]
fn a_reader_that_has_gone_is_no_error_but_a_full_disk_is() {
    let place = Place::new();
    let jobs: String = (0..3000)
        .map(|n| idle_job(&format!("job{n}"), "true"))
        .collect();
    let _daemon = place.listening(&format!("{SOCKET}{jobs}"));
    let script = "\"$0\" -c conf status | head -n 1; \"$0\" -c conf status >/dev/full; echo $?";
    let mut command = Command::new("sh");
    command.args(["-c", script, PROGRAM]);
    command.current_dir(place.dir());
    let output = crate::common::finish(command);
    let full = "buildd-sequencer: cannot write to standard output: No space left on device\n";
    assert_eq!(stderr(&output), full);
    let said = stdout(&output);
    assert!(
        said.starts_with("buildd-sequencer ") && said.ends_with("\n1\n"),
        "{said}"
    );
}

#[test]
fn requests_of_many_clients_at_once_are_all_answered() {
    let place = Place::new();
    let daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "true")));
    let mut clients: Vec<_> = (0..16).map(|_| place.connect()).collect();
    for client in &mut clients {
        client.write_all(b"pause a\n").unwrap();
    }
    let answers: Vec<String> = clients.iter_mut().map(answer).collect();
    let first = answers
        .iter()
        .filter(|said| *said == "0\npaused a\n")
        .count();
    assert_eq!(first, 1, "{answers:?}");
    assert!(answers.iter().all(|said| said.starts_with("0\n")));
    assert_eq!(daemon.stop().matches("Asked to pause a").count(), 1);
}

#[test]
fn a_run_whose_job_a_reload_has_removed_can_still_be_killed_by_name() {
    let place = Place::new();
    let other = idle_job("other", "true");
    let doomed = crate::common::once("doomed", "sleep 600");
    let daemon = place.listening(&format!("{SOCKET}{other}{doomed}"));
    daemon.wait_for_log("Running doomed");
    place.write("conf", &format!("{SOCKET}{other}"));
    assert_eq!(place.told("reload"), "Removed job doomed\n");
    assert!(
        place
            .told("kill doomed")
            .starts_with("stopping doomed (pid ")
    );
    daemon.wait_for_log("Job doomed completed with exit code 143 (stopped by operator)");
    daemon.stop();
}

/// Most hosts that do not ask for a socket have no directory for the default one.
#[test]
fn that_there_is_no_default_socket_is_said_once_and_not_at_each_reload() {
    let place = Place::new();
    if std::path::Path::new("/run/buildd-sequencer").exists() {
        return not_tested("this machine has the directory of the default socket");
    }
    let daemon = place.daemon(&idle_job("a", "true"));
    daemon.wait_for_log("No control socket at '/run/buildd-sequencer/control.sock': ");
    place.write("conf", &idle_job("b", "true"));
    daemon.signal(crate::common::Signal::SIGHUP);
    daemon.wait_for_log("Added job b\n");
    daemon.wait_for_log("Scheduling b");
    assert_eq!(daemon.stop().matches("No control socket").count(), 1);
}
