use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use mio::Poll;
use tempfile::TempDir;

use super::*;
use crate::system::control::Server;
use crate::system::short_directory;

const FIRST: Token = Token(32);

/// A control socket that listens. The test moves its clock.
struct Made {
    server: Server,
    poll: Poll,
    t0: Instant,
    directory: TempDir,
}

impl Made {
    fn new() -> Made {
        let directory = short_directory().unwrap();
        let poll = Poll::new().unwrap();
        let mut server = Server::new(FIRST);
        let path = directory.path().join("socket");
        server.listen(&path, poll.registry()).unwrap();
        Made {
            server,
            poll,
            t0: Instant::now(),
            directory,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.t0 + Duration::from_millis(milliseconds)
    }

    fn accept(&mut self, milliseconds: u64) {
        let now = self.at(milliseconds);
        self.server.clients.accept(self.poll.registry(), now);
    }

    fn act(&mut self, milliseconds: u64) {
        let now = self.at(milliseconds);
        self.server.clients.act(self.poll.registry(), now);
    }

    /// Connects a client that is accepted at this moment.
    fn client(&mut self, milliseconds: u64) -> UnixStream {
        let client = UnixStream::connect(self.path()).unwrap();
        self.accept(milliseconds);
        client
    }

    /// Reads what every client has sent.
    fn events(&mut self, milliseconds: u64) {
        for slot in 0..MAX_CLIENTS {
            self.server
                .clients
                .client_event(slot, self.at(milliseconds));
        }
    }

    /// Connects a client whose request the server has taken.
    fn asks(&mut self, line: &str, milliseconds: u64) -> (UnixStream, u64) {
        let mut client = self.client(milliseconds);
        client.write_all(line.as_bytes()).unwrap();
        self.events(milliseconds);
        let asked = self.server.next_request(self.t0).unwrap();
        assert_eq!(asked.line, line.trim_end());
        (client, asked.client)
    }

    fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.server.next_request(self.t0))
            .map(|asked| asked.line)
            .collect()
    }

    /// How many clients there are.
    fn count(&self) -> usize {
        self.server.clients.clients.iter().flatten().count()
    }

    fn deadline(&self, milliseconds: u64) -> Option<Duration> {
        let now = self.at(milliseconds);
        self.server.clients.deadline(now).map(|at| at - self.t0)
    }
}

/// More bytes than a connection holds while nobody reads.
const LARGE: usize = 4 << 20;

/// What has arrived at a client.
fn arrived(client: &mut UnixStream) -> Vec<u8> {
    client.set_nonblocking(true).unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 65_536];
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..n]);
    }
    bytes
}

fn s(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn a_server_without_clients_has_nothing_to_do() {
    let mut made = Made::new();
    assert_eq!(made.deadline(0), None);
    made.accept(0);
    assert_eq!(made.deadline(0), None, "that nobody came is no error");
    let client = made.client(1000);
    assert_eq!(made.deadline(1000), s(6), "it is given its time");
    drop(client);
    made.events(1100);
    assert_eq!((made.count(), made.deadline(1100)), (0, None));
}

#[test]
fn only_an_error_that_ends_without_a_word_is_waited_out() {
    use std::io::Error;
    let after = |errno: nix::errno::Errno| retry_after(&Error::from(errno));
    assert_eq!(after(nix::errno::Errno::EAGAIN), None);
    assert_eq!(after(nix::errno::Errno::EINTR), None);
    assert_eq!(after(nix::errno::Errno::ECONNABORTED), None);
    for errno in [nix::errno::Errno::EMFILE, nix::errno::Errno::ENFILE] {
        assert_eq!(after(errno), Some(Duration::from_millis(200)));
    }
}

#[test]
fn who_could_not_be_taken_is_tried_again_at_its_time_and_not_before() {
    let mut made = Made::new();
    let _client = UnixStream::connect(made.path()).unwrap();
    made.server.clients.retry_at = Some(made.at(200));
    assert_eq!(made.deadline(0), Some(Duration::from_millis(200)));
    made.act(199);
    assert_eq!(made.count(), 0);
    made.act(200);
    assert_eq!(made.count(), 1);
    assert_eq!(made.deadline(200), Some(Duration::from_millis(5200)));
}

#[test]
fn a_request_is_handed_on_once_and_those_who_waited_longest_come_first() {
    let mut made = Made::new();
    let mut clients: Vec<UnixStream> = (0..3).map(|_| made.client(0)).collect();
    for (slot, line) in [(2, "third"), (0, "first\nmore\n"), (1, "second\r\n")] {
        clients[slot].write_all(line.as_bytes()).unwrap();
        if slot == 2 {
            clients[slot].shutdown(Shutdown::Write).unwrap();
        }
        made.server.clients.client_event(slot, made.at(10));
    }
    assert_eq!(
        made.deadline(10),
        Some(Duration::from_millis(10)),
        "at once"
    );
    assert_eq!(made.lines(), ["third", "first", "second"]);
    assert_eq!(made.lines(), [""; 0]);
    assert_eq!(made.deadline(10), None, "they are awaited without end");
}

#[test]
fn what_a_client_asked_for_that_has_hung_up_is_forgotten() {
    let mut made = Made::new();
    let [mut gone, mut shut, mut silenced, mut there] = [(); 4].map(|()| made.client(0));
    for (client, line) in [
        (&mut gone, "gone"),
        (&mut shut, "shut"),
        (&mut silenced, "silenced"),
        (&mut there, "there"),
    ] {
        writeln!(client, "{line}").unwrap();
    }
    silenced.shutdown(Shutdown::Write).unwrap();
    made.events(0);
    // This is after the lines have been read and before they are executed.
    drop(gone);
    shut.shutdown(Shutdown::Both).unwrap();
    assert_eq!(made.lines(), ["silenced", "there"]);
    assert_eq!(made.count(), 2);
}

#[test]
fn one_who_hangs_up_while_it_waits_for_an_answer_is_let_go() {
    let mut made = Made::new();
    let (client, id) = made.asks("run --wait a\n", 0);
    made.events(10);
    assert!(made.server.clients.holds(id));
    drop(client);
    made.events(20);
    assert!(!made.server.clients.holds(id));
}

#[test]
fn the_same_answer_goes_to_all_who_asked() {
    let mut made = Made::new();
    let (mut one, first) = made.asks("status\n", 0);
    let (mut other, second) = made.asks("status\n", 0);
    let (mut third, _) = made.asks("status\n", 0);
    let text = b"text\n".to_vec();
    made.server
        .answer_all(&[first, 999, second], 7, text, made.t0);
    assert_eq!(made.deadline(3), Some(Duration::from_millis(3)));
    made.server.clients.write_answers(made.t0, &|| false);
    assert_eq!(arrived(&mut one), b"7\ntext\n");
    assert_eq!(arrived(&mut other), b"7\ntext\n");
    assert_eq!(arrived(&mut third), b"");
    assert_eq!(made.count(), 1, "who has its answer is done with");
}

#[test]
fn answers_are_written_in_pieces_and_one_after_the_other() {
    let mut made = Made::new();
    let (mut one, first) = made.asks("status\n", 0);
    let (mut other, second) = made.asks("status\n", 0);
    let text: Vec<u8> = (0..LARGE).map(|n| (n % 251) as u8).collect();
    made.server
        .answer_all(&[first, second], 0, text.clone(), made.t0);
    let piece = 64 * 1024;
    made.server.clients.write_answers(made.t0, &|| true);
    let (mut of_one, mut of_other) = (arrived(&mut one), arrived(&mut other));
    assert_eq!((of_one.len(), of_other.len()), (2 + piece, 0));
    made.server.clients.write_answers(made.t0, &|| true);
    of_one.extend(arrived(&mut one));
    assert_eq!(of_one.len(), 2 + 2 * piece, "the one that is begun goes on");
    let (mut small, third) = made.asks("healthcheck\n", 0);
    made.server.answer(third, 0, b"ok\n".to_vec(), made.t0);
    made.server.clients.write_answers(made.t0, &|| true);
    assert_eq!(arrived(&mut small), b"0\nok\n", "it does not wait for that");
    // A client that takes no more holds up no other. Then only an event brings more.
    made.server.clients.write_answers(made.t0, &|| false);
    of_other.extend(arrived(&mut other));
    assert!(of_other.len() > piece);
    assert_eq!(made.deadline(0), s(5));
    for _ in 0..10_000 {
        if made.count() == 0 {
            break;
        }
        of_one.extend(arrived(&mut one));
        of_other.extend(arrived(&mut other));
        made.events(0);
        made.server.clients.write_answers(made.t0, &|| false);
    }
    of_one.extend(arrived(&mut one));
    of_other.extend(arrived(&mut other));
    let expected = [b"0\n", &text[..]].concat();
    assert!(of_one == expected && of_other == expected);
}

#[test]
fn the_time_to_send_the_line_is_not_renewed_by_its_bytes() {
    let mut made = Made::new();
    let mut slow = made.client(0);
    for second in 1..5 {
        slow.write_all(b"x").unwrap();
        made.events(1000 * second);
        made.act(1000 * second);
    }
    made.act(4999);
    assert_eq!((made.count(), made.deadline(4999)), (1, s(5)));
    slow.write_all(b"x").unwrap();
    made.act(5000);
    assert_eq!(made.count(), 0);
}

#[test]
fn a_turn_that_comes_late_does_not_cost_a_client_its_place() {
    let mut made = Made::new();
    let (mut reading, id) = made.asks("status --json\n", 0);
    let mut asking = made.client(0);
    asking.write_all(b"status\n").unwrap();
    made.server.answer(id, 0, vec![b'x'; LARGE], made.t0);
    made.server.clients.write_answers(made.t0, &|| false);
    assert!(!arrived(&mut reading).is_empty());
    // The daemon was stopped for an hour.
    made.act(3_600_000);
    assert_eq!(made.lines(), ["status"]);
    assert!(made.server.clients.holds(id));
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_has_five_seconds() {
    let mut made = Made::new();
    let (mut client, id) = made.asks("status\n", 0);
    made.server.answer(id, 0, vec![b'x'; LARGE], made.at(1000));
    made.server.clients.write_answers(made.at(2000), &|| false);
    assert_eq!(made.deadline(2000), s(7));
    arrived(&mut client);
    made.events(6000);
    made.server.clients.write_answers(made.at(6000), &|| false);
    assert_eq!(made.deadline(6000), s(11), "it has taken some");
    made.act(10_999);
    assert!(made.server.clients.holds(id));
    made.act(11_000);
    assert!(!made.server.clients.holds(id));
}

#[test]
fn one_too_many_takes_the_place_of_the_one_silent_longest() {
    let mut made = Made::new();
    let (_held, held) = made.asks("run --wait a\n", 0);
    let mut asked = made.client(1);
    asked.write_all(b"status\n").unwrap();
    made.events(1);
    let silent: Vec<UnixStream> = (2..16).map(|n| made.client(n)).collect();
    assert_eq!(made.count(), MAX_CLIENTS);
    let _one_more = made.client(20);
    assert_eq!(made.count(), MAX_CLIENTS);
    assert!(made.server.clients.holds(held));
    assert_eq!(made.lines(), ["status"], "its request was here");
    let gone = |client: &UnixStream| {
        client.set_nonblocking(true).unwrap();
        (&*client).read(&mut [0]).is_ok_and(|n| n == 0)
    };
    assert!(gone(&silent[0]) && !gone(&silent[1]));
}

#[test]
fn who_takes_an_answer_keeps_the_place_until_it_has_taken_nothing_for_a_while() {
    let mut made = Made::new();
    let (mut client, id) = made.asks("status\n", 0);
    made.server.answer(id, 0, vec![b'x'; 1 << 20], made.at(0));
    made.server.clients.write_answers(made.at(0), &|| false);
    let silent: Vec<UnixStream> = (1..16).map(|n| made.client(n)).collect();
    let more: Vec<UnixStream> = (0..40).map(|n| made.client(400 + n)).collect();
    assert!(made.server.clients.holds(id), "others are silent as well");
    arrived(&mut client);
    made.events(450);
    made.server.clients.write_answers(made.at(450), &|| false);
    let more_yet: Vec<UnixStream> = (0..40).map(|n| made.client(900 + n)).collect();
    assert!(made.server.clients.holds(id));
    // Once it has stood still for longer than those who have come since, it is the next to go.
    let last: Vec<UnixStream> = (0..40).map(|n| made.client(950 + n)).collect();
    assert!(!made.server.clients.holds(id));
    // A daemon that is slow itself takes no place away.
    let (_other, other) = made.asks("status\n", 2000);
    made.server
        .answer(other, 0, vec![b'x'; 1 << 20], made.at(2000));
    let at_last: Vec<UnixStream> = (0..40).map(|n| made.client(3000 + n)).collect();
    assert!(made.server.clients.holds(other));
    drop((silent, more, more_yet, last, at_last));
}

/// A health check beside a crowd that reads slowly and never ends has an answer in time.
#[test]
fn who_has_waited_for_a_place_gets_one_even_where_all_take_their_answers() {
    let mut made = Made::new();
    let mut all: Vec<_> = (0..MAX_CLIENTS)
        .map(|n| made.asks(&format!("status {n}\n"), 0))
        .collect();
    for (_, id) in &all {
        made.server.answer(*id, 0, vec![b'x'; 8 << 20], made.at(0));
    }
    let _waits = UnixStream::connect(made.path()).unwrap();
    for milliseconds in (0..=600).step_by(100) {
        made.server
            .clients
            .write_answers(made.at(milliseconds), &|| false);
        made.accept(milliseconds);
        let held = all
            .iter()
            .filter(|(_, id)| made.server.clients.holds(*id))
            .count();
        assert_eq!(
            held,
            MAX_CLIENTS - usize::from(milliseconds >= 500),
            "{milliseconds}"
        );
        for (client, _) in &mut all {
            arrived(client);
        }
        made.events(milliseconds + 50);
    }
}

#[test]
fn where_all_places_are_kept_a_client_waits_for_one() {
    let mut made = Made::new();
    let mut held: Vec<_> = (0..MAX_CLIENTS)
        .map(|_| made.asks("run --wait a\n", 0))
        .collect();
    let mut client = UnixStream::connect(made.path()).unwrap();
    client.write_all(b"healthcheck\n").unwrap();
    made.accept(100);
    assert_eq!(made.deadline(100), Some(Duration::from_millis(110)));
    made.act(110);
    let (_, id) = held.pop().unwrap();
    made.server.answer(id, 0, Vec::new(), made.at(115));
    made.server.clients.write_answers(made.at(115), &|| false);
    made.act(120);
    made.events(120);
    assert_eq!(made.lines(), ["healthcheck"]);
}

#[test]
fn answers_under_way_are_finished_before_the_end_whoever_else_takes_nothing() {
    let mut made = Made::new();
    let lazy: Vec<_> = (0..2).map(|_| made.asks("status\n", 0)).collect();
    let (mut client, id) = made.asks("status\n", 0);
    let (_waiting, waiting) = made.asks("run --wait a\n", 0);
    let clients = [lazy[0].1, id, lazy[1].1];
    let text = vec![b'x'; LARGE];
    made.server.answer_all(&clients, 0, text, made.t0);
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        client.read_to_end(&mut text).unwrap();
        text.len()
    });
    let begun = Instant::now();
    let patience = Duration::from_secs(2);
    made.server.clients.finish_answers(begun + patience);
    assert!(begun.elapsed() >= patience, "the others take nothing");
    assert_eq!(reader.join().unwrap(), 2 + LARGE);
    // They are not waited for again, but who has no answer yet is still there.
    assert_eq!(made.count(), 1);
    assert!(made.server.clients.holds(waiting));
    made.server.clients.finish_answers(begun + patience * 1000);
}

/// A client of a server of HTTP, and that server; none where the loopback device is down.
fn http_client(poll: &Poll) -> Option<(crate::system::http::Server, std::net::TcpStream)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = crate::system::http::Server::new(FIRST);
    let at = crate::config::listen::Listen::At(address);
    server.adopt(listener, at, poll.registry()).unwrap();
    let client = std::net::TcpStream::connect(address).ok()?;
    client.set_nodelay(true).unwrap();
    Some((server, client))
}

#[test]
fn who_goes_on_sending_over_tcp_gets_its_answer_all_the_same_and_is_then_let_go() {
    let poll = Poll::new().unwrap();
    let Some((mut server, mut client)) = http_client(&poll) else {
        return;
    };
    let now = crate::system::now();
    let t0 = now.instant;
    client.write_all(&vec![b'x'; MAX_SENT]).unwrap();
    server.clients.accept(poll.registry(), t0);
    let until = Instant::now() + Duration::from_secs(60);
    let mut is_refused = false;
    while !is_refused || server.clients.deadline(t0) != Some(t0 + PATIENCE) {
        assert!(Instant::now() < until);
        server.clients.client_event(0, t0);
        is_refused |= server.clients.deadline(t0) == Some(t0);
        assert_eq!(server.next_request(now), None);
        server.clients.write_answers(t0, &|| false);
    }
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    // The end of the answer is there although the client has not closed its side.
    client.read_to_end(&mut Vec::new()).unwrap();
    server
        .clients
        .act(poll.registry(), t0 + PATIENCE - Duration::from_millis(1));
    assert_eq!(server.clients.clients.iter().flatten().count(), 1);
    server.clients.act(poll.registry(), t0 + PATIENCE);
    assert_eq!(server.clients.clients.iter().flatten().count(), 0);
}

/// More than a head may have, and less than what is thrown away.
const MAX_SENT: usize = 30_000;
