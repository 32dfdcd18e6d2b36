//! What is served over HTTP, what a client can and cannot do to the daemon, and where it is served.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::at_once;
use crate::common::socket::{answer, idle_job, many_connections, until_set};
use crate::common::{
    Daemon, LIMIT, Place, Signal, Within, findings, job, stderr, stdout, wait_for,
};

/// The daemon's own time for a client that is silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether this machine can talk to itself. A new network namespace cannot: its loopback device is down.
fn has_loopback() -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let talks = TcpStream::connect(listener.local_addr().unwrap()).is_ok();
    if !talks {
        crate::common::not_tested("HTTP, because the loopback device is down");
    }
    talks
}

/// A port that nobody has. The system gives none of these to a connection that is made meanwhile (ip(7),
/// ip_local_port_range), and each is given once here.
fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % 20_000;
    let mut ports = std::iter::repeat_with(|| {
        let given = u32::from(GIVEN.fetch_add(1, Ordering::Relaxed));
        u16::try_from(10_000 + (first + given) % 20_000).unwrap()
    });
    ports
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .unwrap()
}

/// A daemon's section with a control socket, listening at this address.
fn section(address: &str) -> String {
    format!("[buildsequencer]\ncontrolsocket: socket\nlisten: {address}\n")
}

/// Starts a daemon that listens at a port which is free, with these jobs and settings.
fn serving<'a>(place: &'a Place, settings: &str, jobs: &str) -> (Daemon<'a>, u16) {
    let port = free_port();
    let config = format!("{}{settings}{jobs}", section(&format!("127.0.0.1:{port}")));
    (place.listening(&config), port)
}

fn connect(port: u16) -> TcpStream {
    let stream = wait_for("the port", || TcpStream::connect(("127.0.0.1", port)).ok());
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Sends these bytes and returns the whole answer.
#[track_caller]
fn say(port: u16, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(port);
    // One that is refused half-way may take no more.
    let _ = stream.write_all(bytes.as_ref());
    answer(&mut stream)
}

/// An answer, taken apart.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn of(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").expect(text);
        let status = head.strip_prefix("HTTP/1.1 ").expect(head);
        Answer {
            status: status[..3].parse().unwrap(),
            head: format!("{head}\r\n"),
            body: body.to_string(),
        }
    }

    /// The value of a header field; empty if there is none.
    fn field(&self, name: &str) -> &str {
        let start = format!("{name}: ");
        let lines = self.head.split("\r\n");
        lines
            .filter_map(|line| line.strip_prefix(&start))
            .next()
            .unwrap_or_default()
    }
}

#[track_caller]
fn ask(port: u16, method: &str, path: &str) -> Answer {
    Answer::of(&say(
        port,
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"),
    ))
}

#[track_caller]
fn get(port: u16, path: &str) -> Answer {
    ask(port, "GET", path)
}

#[test]
fn each_path_gives_what_its_command_prints_and_head_the_same_without_the_content() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let (_daemon, port) = serving(&place, "", &idle_job("a_job", "true"));
    for (path, kind, within) in [
        ("/", "text/html; charset=utf-8", "<td>a_job</td>"),
        (
            "/metrics",
            "text/plain; version=0.0.4; charset=utf-8",
            "buildd_sequencer_job_runs_total{job=\"a_job\"} 0\n",
        ),
        (
            "/status.json",
            "application/json",
            "{\"name\": \"a_job\", \"state\": \"waiting\"",
        ),
        (
            "/healthz",
            "text/plain; charset=utf-8",
            "ok: the daemon answers\n",
        ),
        ("/readyz", "text/plain; charset=utf-8", "ok\n"),
    ] {
        let answer = get(port, path);
        assert_eq!(
            (answer.status, answer.field("Content-Type")),
            (200, kind),
            "{path}"
        );
        assert!(answer.body.contains(within), "{path}: {}", answer.body);
        assert_eq!(
            answer.field("Content-Length"),
            answer.body.len().to_string()
        );
        assert_eq!(answer.field("Connection"), "close");
        assert_eq!(answer.field("Cache-Control"), "no-store");
        assert_eq!(answer.field("X-Content-Type-Options"), "nosniff");
        assert!(
            answer
                .field("Content-Security-Policy")
                .starts_with("default-src 'none'; ")
        );
        assert!(answer.field("Date").ends_with(" GMT"), "{}", answer.head);
        let refresh = if path == "/" { "5" } else { "" };
        assert_eq!(answer.field("Refresh"), refresh, "{path}");
        let head = ask(port, "HEAD", path);
        assert_eq!((head.status, &*head.body), (200, ""), "{path}");
        let length: usize = head.field("Content-Length").parse().unwrap();
        assert!(
            length > 0 && length.abs_diff(answer.body.len()) < 100,
            "{path}"
        );
        assert_eq!(get(port, &format!("{path}?a=b")).status, 200);
    }
    assert!(
        say(port, "GET /healthz HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nok: the daemon answers\n")
    );
    let json: Value = serde_json::from_str(&get(port, "/status.json").body).unwrap();
    assert_eq!(json["jobs"][0]["name"], "a_job");
}

#[test]
fn whatever_else_is_asked_is_refused_and_answered_once() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let (daemon, port) = serving(&place, "", &idle_job("a", "true"));
    for path in [
        "/a",
        "/metrics/",
        "//",
        "/../metrics",
        "/%6detrics",
        "/STATUS.json",
    ] {
        assert_eq!(get(port, path).status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"] {
        let answer = ask(port, method, "/");
        assert_eq!(
            (answer.status, answer.field("Allow")),
            (405, "GET, HEAD"),
            "{method}"
        );
    }
    let without_host = say(port, "HEAD / HTTP/1.1\r\n\r\n");
    assert!(without_host.starts_with("HTTP/1.1 400 ") && without_host.ends_with("\r\n\r\n"));
    let post =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 24\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n";
    let long = |length: usize| format!("GET / HTTP/1.0\r\nX: {}\r\n\r\n", "x".repeat(length - 23));
    assert_eq!(long(8192).len(), 8192);
    for (request, status) in [
        (post.to_string(), 405),
        ("OPTIONS * HTTP/1.0\r\n\r\n".to_string(), 405),
        (
            "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_string(),
            405,
        ),
        (long(8192), 200),
        (long(8193), 431),
        ("x".repeat(8192), 431),
        ("GET /".to_string() + &"x".repeat(1 << 20), 431),
        ("GET / HTTP/1.1\r\n\r\n".to_string(), 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_string(),
            400,
        ),
        (
            "GET / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello".to_string(),
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_string(),
            400,
        ),
        ("GET / HTTP/1.0\r\nA: b\r\n c\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.0\r\nA: b\rC: d\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.0\r\nA: \0\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.0\nA: b\n\n".to_string(), 400),
        ("\r\nGET / HTTP/1.0\r\n\r\n".to_string(), 400),
        ("GET / HTTP/3.0\r\n\r\n".to_string(), 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_string(), 400),
        ("\x16\x03\x01\x02".to_string(), 400),
        ("status\n".to_string(), 400),
    ] {
        let shown: String = request.chars().take(60).collect();
        let said = say(port, &request);
        // Who sends without end may be cut off before it has read why.
        if request.len() < 1 << 20 || !said.is_empty() {
            assert_eq!(Answer::of(&said).status, status, "{shown:?}");
            assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
        }
    }
    // What comes behind the first request is never a second one, whenever it comes.
    let first = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let said = say(port, first.repeat(50));
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{said}");
    let mut client = connect(port);
    client.write_all(first.as_bytes()).unwrap();
    let mut begin = [0; 12];
    client.read_exact(&mut begin).unwrap();
    let _ = client.write_all(first.as_bytes());
    assert_eq!(answer(&mut client).matches("HTTP/1.1 ").count(), 0);
    // One that has closed its sending side is there; half a request is none.
    let mut client = connect(port);
    client.write_all(b"GET /healthz HTTP/1.0\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Answer::of(&answer(&mut client)).status, 400);
    let log = daemon.stop();
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn nothing_of_commands_outputs_mail_or_faults_is_told() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let sendmail = place.script("sendmail", "echo mail_secret; exit 75");
    let settings = format!(
        "mailproblemsto: a@example.com\nsendmail: {}\n",
        sendmail.display()
    );
    let fails = job(
        "fails",
        "command: sh -c 'echo out_secret; exit 3'\nmindelay: 1d\nstartdelay: 0",
    );
    let (daemon, port) = serving(&place, &settings, &fails);
    daemon.wait_for_log("mail_secret");
    let good = place.read("conf");
    place.write("conf", &format!("{good}fault_secret: 1\n"));
    let (status, errors) = place.refused("reload");
    assert!(status == 78 && errors.contains("fault_secret"), "{errors}");
    for path in ["/", "/metrics", "/status.json", "/healthz", "/readyz"] {
        let answer = get(port, path);
        assert!(!answer.body.contains("secret"), "{path}: {}", answer.body);
        assert!(
            !answer.body.contains("a@example.com"),
            "{path}: {}",
            answer.body
        );
        assert_eq!(answer.status, if path == "/readyz" { 503 } else { 200 });
    }
    assert!(
        get(port, "/readyz")
            .body
            .starts_with("the last reload was refused ")
    );
    let json: Value = serde_json::from_str(&get(port, "/status.json").body).unwrap();
    assert_eq!(json["reload"]["fault_count"], 1);
    assert_eq!(json["mail"]["queued"], 1);
    let page = get(port, "/").body;
    assert!(
        page.contains(": 1 fault<") && page.contains("1 queued"),
        "{page}"
    );
    // Who may use the control socket is told.
    let told = place.told("status --json");
    assert!(
        told.contains("mail_secret") && told.contains("fault_secret"),
        "{told}"
    );
}

pub fn what_was_made_within_a_second_is_given_to_all() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let (daemon, port) = serving(&place, "", &crate::common::once("a", "sleep 1000"));
    daemon.wait_for_log("Running a");
    // It tells how long the run has taken, which is another time in each that is made.
    let made = || get(port, "/status.json").body;
    wait_for("two within a second", || {
        let (begun, first, second) = (Instant::now(), made(), made());
        // On a machine that is slow, or at the end of that second, they are two.
        (first == second && begun.elapsed() < Duration::from_secs(1)).then_some(())
    });
    let first = made();
    wait_for("a later one to be another", || {
        (made() != first).then_some(())
    });
}

pub fn clients_have_five_seconds_and_not_more() {
    at_once!(a_silent_and_a_slow_client, a_client_that_takes_nothing);
}

fn a_silent_and_a_slow_client() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let (daemon, port) = serving(&place, "", &idle_job("a", "true"));
    let before = daemon.descriptors();
    let begun = Instant::now();
    let mut silent = connect(port);
    let mut slow = connect(port);
    slow.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut written = 0;
    while slow.write_all(b"x").is_ok() {
        written += 1;
        assert!(written < 60, "it is listened to for ever");
        if slow.read(&mut [0]).is_ok() {
            break;
        }
    }
    assert!(begun.elapsed() >= PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(answer(&mut silent), "");
    // One that keeps the connection open after its answer.
    let mut lasting = connect(port);
    lasting.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(Answer::of(&answer(&mut lasting)).status, 200);
    wait_for("the descriptors to be closed", || {
        (daemon.descriptors() == before).then_some(())
    });
}

fn a_client_that_takes_nothing() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let jobs: String = (0..20_000)
        .map(|n| idle_job(&format!("a_job_with_quite_a_long_name_{n}"), "true"))
        .collect();
    let (daemon, port) = serving(&place, "", &jobs);
    let before = daemon.descriptors();
    let asks = || {
        let mut client = connect(port);
        client
            .write_all(b"GET /status.json HTTP/1.0\r\n\r\n")
            .unwrap();
        client
    };
    let (mut lazy, mut sips, mut client) = (asks(), asks(), asks());
    // Five seconds, and room for a busy machine.
    let mut in_time = Within::seconds(15.0);
    let whole = Answer::of(&answer(&mut client));
    assert_eq!(whole.field("Content-Length"), whole.body.len().to_string());
    assert!(whole.body.ends_with("]}\n"));
    wait_for("the others to be dropped", || {
        // A byte now and then is next to nothing.
        let _ = sips.read(&mut [0]);
        // The third one has its answer, and has five seconds to close the connection.
        (daemon.descriptors() <= before + 1).then_some(())
    });
    drop(client);
    wait_for("its end", || (daemon.descriptors() == before).then_some(()));
    in_time.is_kept();
    // What the kernel had taken is still there, and no more.
    lazy.set_nonblocking(true).unwrap();
    let mut left = Vec::new();
    let _ = lazy.read_to_end(&mut left);
    assert!(left.len() < whole.body.len(), "it was not cut off");
    let page = get(port, "/").body;
    assert_eq!(page.matches("<tr class=").count(), 200);
    assert!(
        page.contains("and 19800 more jobs: "),
        "{} bytes",
        page.len()
    );
}

#[test]
fn a_seventeenth_client_takes_the_place_of_the_one_silent_longest() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let (daemon, port) = serving(&place, "", &idle_job("a", "true"));
    let before = daemon.descriptors();
    let mut clients: Vec<TcpStream> = (0..16).map(|_| connect(port)).collect();
    wait_for("sixteen to be let in", || {
        (daemon.descriptors() == before + 16).then_some(())
    });
    assert_eq!(get(port, "/healthz").status, 200);
    let mut first = clients.remove(0);
    assert_eq!(answer(&mut first), "", "it had to go");
    for mut client in clients {
        client.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(
            Answer::of(&answer(&mut client)).status,
            200,
            "the others had not"
        );
    }
}

#[test]
fn no_client_costs_a_job_a_moment() {
    if !has_loopback() {
        return;
    }
    let quick = job(
        "quick",
        "command: sh -c 'echo x >>runs'\nmindelay: 0\nstartdelay: 0\nstuckafter: 0",
    );
    let (place, other) = (Place::new(), Place::new());
    let (daemon, port) = serving(&place, "", &quick);
    // The same at the same time, but for the clients: whatever else this machine has to do delays both.
    let (undisturbed, _) = serving(&other, "", &quick);
    let runs = |place: &Place| place.lines("runs").len();
    for place in [&place, &other] {
        place.wait_for_lines("runs", 5);
    }
    let (before, other_before) = (runs(&place), runs(&other));
    let stop = AtomicBool::new(false);
    let client = || TcpStream::connect(("127.0.0.1", port)).ok();
    let send = |bytes: &[u8]| {
        if let Some(mut client) = client() {
            let _ = client.set_write_timeout(Some(Duration::from_millis(50)));
            let _ = client.write_all(bytes);
        }
    };
    std::thread::scope(|scope| {
        // Connects and goes; asks and goes; sends what is no request; and asks for the page again and again.
        scope.spawn(|| until_set(&stop, || drop(client())));
        scope.spawn(|| until_set(&stop, || send(b"GET / HTTP/1.0\r\n\r\n")));
        scope.spawn(|| until_set(&stop, || send(&vec![b'x'; 1 << 20])));
        scope.spawn(|| until_set(&stop, || send(&b"GET / HTTP/1.0\r\n\r\n".repeat(1000))));
        // A thousand connections that say nothing.
        let silent: Vec<TcpStream> = (0..many_connections()).filter_map(|_| client()).collect();
        let begun = Instant::now();
        wait_for("some seconds", || {
            (begun.elapsed() > Duration::from_secs(3)).then_some(())
        });
        // With all this going on, an operator is heard, and so is who asks again where it was crowded out.
        let answered = (0..20).any(|_| place.ask("healthcheck").status.success());
        let asked = b"GET /healthz HTTP/1.0\r\n\r\n";
        let served = (0..100).any(|_| {
            let mut client = connect(port);
            let _ = client.write_all(asked);
            let mut begin = [0; 12];
            client.read_exact(&mut begin).is_ok() && &begin == b"HTTP/1.1 200"
        });
        stop.store(true, Ordering::Relaxed);
        assert!(answered && served);
        drop(silent);
    });
    let (done, usual) = (runs(&place) - before, runs(&other) - other_before);
    undisturbed.stop();
    assert!(done > usual / 3, "{done} runs, not {usual}");
    wait_for("the crowd to be gone", || {
        (daemon.descriptors() < 40).then_some(())
    });
    let log = daemon.stop();
    assert!(log.contains("Main loop terminated.") && !log.contains("panic"));
}

pub fn after_its_clients_the_daemon_sleeps_as_before() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let (daemon, port) = serving(&place, "", &idle_job("a", "true"));
    let before = daemon.descriptors();
    for path in ["/", "/metrics", "/healthz", "/none"] {
        get(port, path);
    }
    wait_for("them to be gone", || {
        (daemon.descriptors() == before).then_some(())
    });
    // What was made is forgotten after its second.
    let sleeps_in_a_second = || {
        let sleeps = daemon.sleeps();
        // No condition can tell that nothing happens.
        std::thread::sleep(Duration::from_secs(1));
        daemon.sleeps() - sleeps
    };
    assert!((0..10).any(|_| sleeps_in_a_second() == 0));
    assert!(sleeps_in_a_second() <= 1);
    daemon.stop();
}

#[test]
fn a_reload_moves_to_another_address_and_loses_no_client() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let a = idle_job("a", "true");
    let (daemon, port) = serving(&place, "", &a);
    let mut old = connect(port);
    let other = free_port();
    place.write(
        "conf",
        &format!("{}{a}", section(&format!("localhost:{other}"))),
    );
    let said = place.told("reload");
    assert_eq!(
        said,
        format!("Changed listen: 127.0.0.1:{port} -> 127.0.0.1:{other}\n")
    );
    assert_eq!(get(other, "/healthz").status, 200);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    old.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(Answer::of(&answer(&mut old)).status, 200);
    // To all addresses, where its own socket is in the way, and back.
    for address in [format!(":{other}"), format!("127.0.0.1:{other}")] {
        place.write("conf", &format!("{}{a}", section(&address)));
        place.told("reload");
        assert_eq!(get(other, "/healthz").status, 200);
    }
    // Off.
    place.write(
        "conf",
        &format!("[buildsequencer]\ncontrolsocket: socket\n{a}"),
    );
    place.told("reload");
    assert!(TcpStream::connect(("127.0.0.1", other)).is_err());
    daemon.stop();
}

#[test]
fn all_addresses_are_ipv4_and_where_there_is_any_ipv6_in_one_socket() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let port = free_port();
    let _daemon = place.listening(&format!(
        "{}{}",
        section(&format!(":{port}")),
        idle_job("a", "true")
    ));
    assert_eq!(get(port, "/healthz").status, 200);
    if TcpListener::bind("[::1]:0").is_ok() {
        let mut client = TcpStream::connect(("::1", port)).unwrap();
        client.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(Answer::of(&answer(&mut client)).status, 200);
    } else {
        crate::common::not_tested("this machine has no IPv6");
    }
}

pub fn an_address_that_is_taken_or_not_there_keeps_no_job_from_running_and_is_tried_again() {
    at_once!(
        an_address_that_is_taken_at_the_start_is_had_once_it_is_free,
        a_reload_to_an_address_that_cannot_be_had_says_so_and_stays
    );
}

fn an_address_that_is_taken_at_the_start_is_had_once_it_is_free() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let tick = crate::common::tick();
    let daemon = place.listening(&format!("{}{tick}", section(&format!("127.0.0.1:{port}"))));
    let why = format!("127.0.0.1:{port}: Address already in use");
    let log = daemon.wait_for_log("Job tick completed");
    assert!(
        log.contains(&format!(
            "Cannot listen on {why}; this is tried again every 30 seconds."
        )),
        "{log}"
    );
    let status = place.told("status");
    assert!(
        status.contains(&format!("\nHTTP {why}, tried again every 30s\n")),
        "{status}"
    );
    let json: Value = serde_json::from_str(&place.told("status --json")).unwrap();
    assert_eq!(json["not_listening"], why);
    assert!(place.told("healthcheck").starts_with("ok"));
    // A reload tries as well, and says that it is still not there.
    let output = place.ask("reload");
    assert_eq!(output.status.code(), Some(1));
    let told = stdout(&output) + &stderr(&output);
    assert!(told.contains(&format!("Cannot listen on {why}")), "{told}");
    drop(taken);
    daemon.wait_for_log(&format!("Listening on 127.0.0.1:{port} now."));
    assert_eq!(get(port, "/healthz").status, 200);
    assert!(!place.told("status").contains("HTTP"));
    let log = daemon.stop();
    assert_eq!(
        log.matches("Cannot listen").count(),
        1,
        "it is told once: {log}"
    );
}

fn a_reload_to_an_address_that_cannot_be_had_says_so_and_stays() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let a = idle_job("a", "true");
    let (daemon, port) = serving(&place, "", &a);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap().port();
    for (address, why) in [
        (format!("127.0.0.1:{other}"), "Address already in use"),
        // RFC 5737: no machine's.
        (
            format!("192.0.2.1:{port}"),
            "Cannot assign requested address",
        ),
    ] {
        place.write("conf", &format!("{}{a}", section(&address)));
        let output = place.ask("reload");
        let said = stdout(&output) + &stderr(&output);
        let expected = format!(
            "Cannot listen on {address}: {why}; it stays at 127.0.0.1:{port}, and this is tried again every 30 seconds."
        );
        assert!(said.contains(&expected), "{said}");
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(get(port, "/healthz").status, 200);
        assert!(
            place
                .told("status")
                .contains(&format!("HTTP {address}: {why}, tried"))
        );
    }
    // Back, and the reload is a success.
    place.write(
        "conf",
        &format!("{}{a}", section(&format!("127.0.0.1:{port}"))),
    );
    place.told("reload");
    assert!(!place.told("status").contains("HTTP"));
    daemon.stop();
}

#[test]
fn check_warns_of_an_address_that_is_not_there_and_is_content_beside_the_daemon() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let (_daemon, port) = serving(&place, "", &idle_job("a", "true"));
    let output = place.ask("check -q");
    assert_eq!(
        (output.status.code(), findings(&output).as_str()),
        (Some(0), ""),
        "port {port}"
    );
    let config = format!("{}{}", section("192.0.2.1:9642"), idle_job("a", "true"));
    place.write("conf", &config);
    let output = place.ask("check -q");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        findings(&output),
        "warning: conf:3: listen: cannot listen on 192.0.2.1:9642: Cannot assign requested address; the daemon runs its \
         jobs without it and tries again every 30 seconds\n"
    );
    place.write("conf", &config.replace("192.0.2.1:9642", "build1:9642"));
    let output = place.ask("check -q");
    assert_eq!(output.status.code(), Some(78));
    assert!(
        findings(&output).starts_with("conf:3: listen: 'build1:9642' is not an address and port ")
    );
}

#[test]
fn jobs_inherit_no_socket_and_the_end_gives_answers_that_are_under_way() {
    if !has_loopback() {
        return;
    }
    let place = Place::new();
    let job = crate::common::once("a", "sh -c 'ls -l /proc/self/fd >fds; sleep 1000'");
    let (daemon, port) = serving(&place, "", &job);
    place.wait_for_lines("fds", 3);
    assert!(
        !fs::read_to_string(place.path("fds"))
            .unwrap()
            .contains("socket")
    );
    daemon.signal(Signal::SIGSTOP);
    let mut client = connect(port);
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    daemon.signal(Signal::SIGTERM);
    daemon.signal(Signal::SIGCONT);
    let answer = Answer::of(&answer(&mut client));
    assert!(answer.body.ends_with("</html>\n"), "{answer:?}");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
