use mio::Poll;
use tempfile::TempDir;

use super::*;
use crate::system::short_directory;

/// A server that listens at `socket` in this directory.
fn listening() -> (Server, Poll, TempDir) {
    let directory = short_directory().unwrap();
    let poll = Poll::new().unwrap();
    let mut server = Server::new(Token(32));
    let path = directory.path().join("socket");
    server.listen(&path, poll.registry()).unwrap();
    (server, poll, directory)
}

#[test]
fn the_end_of_a_server_is_the_end_of_its_socket_but_not_of_anothers() {
    let (server, poll, directory) = listening();
    let path = directory.path().join("socket");
    drop(server);
    assert!(!path.exists());
    let mut server = Server::new(Token(32));
    server.listen(&path, poll.registry()).unwrap();
    std::fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(server);
    assert!(path.exists());
}

#[test]
fn its_own_socket_by_another_path_is_no_other_daemons() {
    let (mut server, poll, directory) = listening();
    let other_path = directory.path().join(".").join("socket");
    server.listen(&other_path, poll.registry()).unwrap();
    assert_eq!(server.path(), Some(&*other_path));
    drop(server);
    assert!(!directory.path().join("socket").exists());
}
