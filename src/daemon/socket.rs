//! Where the daemon listens for commands: at the start, and where a reload names another socket. The socket itself is
//! `system::control`'s.

use super::Daemon;
use crate::config::{CONTROL_SOCKET, ControlSocket, Sequencer};
use crate::event::Event;
use crate::message::Level;

impl Daemon {
    /// Listens on the configured control socket. The daemon works without a socket, so only a path that the
    /// configuration sets is worth failing for. `Err` is the line that says why that failed; `Ok` holds the line that
    /// says why the default socket could not be opened, if so.
    pub(super) fn open_control(&mut self) -> Result<Option<String>, String> {
        let (path, by_hand) = match &self.config.controlsocket {
            ControlSocket::Off => {
                self.control.close();
                return Ok(None);
            }
            ControlSocket::Default => (CONTROL_SOCKET.into(), false),
            ControlSocket::At(path) => (path.clone(), true),
        };
        let Err(why) = self.control.listen(&path, self.os.poll.registry()) else {
            return Ok(None);
        };
        let shown = path.display();
        if by_hand {
            return Err(format!("cannot listen on control socket '{shown}': {why}"));
        }
        Ok(Some(format!("No control socket at '{shown}': {why}")))
    }

    /// Moves to the socket of the new configuration. If that cannot be opened, the old one stays, which another reload
    /// may change, and the line that says so is returned. A default socket that still cannot be opened was reported at
    /// the start and is not reported again, unless the old configuration named another socket.
    pub(super) fn move_control(&mut self, old: &Sequencer) -> Option<String> {
        let (level, mut line) = match self.open_control() {
            Ok(_) if old.controlsocket == self.config.controlsocket => return None,
            Ok(line) => (Level::Info, line?),
            Err(line) => (Level::Error, line),
        };
        match self.control.path() {
            Some(path) => line.push_str(&format!("; it stays at '{}'", path.display())),
            None => line.push_str("; there is none now"),
        }
        self.config.controlsocket.clone_from(&old.controlsocket);
        self.log.tell(&Event::Control(level, &line));
        Some(line)
    }
}
