//! Every key of the configuration: its name, how its value is read, and how it is shown. The one table behind
//! reading, checking, printing and comparing configurations.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::listen::{Listen, listen};
use super::values::{
    address, addresses, boolean, command, count, duration, is_stdout, name, path, size, word,
};
use super::{ControlSocket, Job, Sequencer, Settings};
use crate::message::{Format, Level};
use crate::near;
use crate::text::{seconds, shown};

/// One key of a section whose contents are a `T`.
pub struct Key<T> {
    /// Its name, in lower case.
    pub name: &'static str,
    empty: Empty,
    set: fn(&mut T, Option<&str>) -> Result<(), String>,
    /// Its value as one would write it.
    pub show: fn(&T) -> String,
}

/// The meaning of an empty value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    /// An error.
    Wrong,
    /// The same as `none`.
    Unset,
    /// A value like others.
    Value,
}

impl<T> Key<T> {
    /// Whether its value is a path. A path may be empty, which means `none`.
    pub fn is_path(&self) -> bool {
        self.empty == Empty::Unset
    }

    /// Whether its value is a command.
    pub fn is_command(&self) -> bool {
        matches!(self.name, "command" | "sendmail")
    }

    /// Reads `value` into `to`; `none` is the default.
    pub fn set(&self, to: &mut T, value: &str) -> Result<(), String> {
        let unset =
            value.eq_ignore_ascii_case("none") || (value.is_empty() && self.empty == Empty::Unset);
        if value.is_empty() && self.empty == Empty::Wrong {
            return Err("a value is missing; 'none' stands for the default".to_string());
        }
        (self.set)(to, (!unset).then_some(value))
    }
}

/// Reads recipients. A list that names only the log is the same as an empty one.
fn targets(value: &str) -> Result<Rc<[Box<str>]>, String> {
    let targets = addresses(value)?;
    let log_only = targets.iter().all(|target| &**target == "-");
    Ok(if log_only {
        Rc::new([])
    } else {
        targets.into()
    })
}

/// Recipients with spaces between them; `-`, the log, if there are none.
pub fn show_targets(targets: &[Box<str>]) -> String {
    match targets {
        [] => "-".to_string(),
        [only] => show_address(only),
        targets => targets.join(" "),
    }
}

/// An address as it can be written. One of the name `none` needs the brackets, or it would unset the key.
fn show_address(address: &str) -> String {
    match address.eq_ignore_ascii_case("none") {
        true => format!("<{address}>"),
        false => address.to_string(),
    }
}

/// The type of some keys' values: how they are read and shown.
#[derive(Clone, Copy)]
struct Kind<V> {
    empty: Empty,
    read: fn(&str) -> Result<V, String>,
    show: fn(&V) -> String,
    /// The value that `none` stands for, if that is not the default.
    none: Option<fn() -> V>,
}

impl<V> Kind<V> {
    const fn new(read: fn(&str) -> Result<V, String>, show: fn(&V) -> String) -> Kind<V> {
        Kind {
            empty: Empty::Wrong,
            read,
            show,
            none: None,
        }
    }

    fn value(self, value: Option<&str>, default: V) -> Result<V, String> {
        match value {
            Some(value) => (self.read)(value),
            None => Ok(self.none.map_or(default, |none| none())),
        }
    }
}

/// A value as text, or `none` if it is not set.
fn or_none<V>(value: Option<&V>, show: fn(&V) -> String) -> String {
    value.map_or("none".to_string(), show)
}

const BOOLEAN: Kind<bool> = Kind::new(boolean, bool::to_string);
const COUNT: Kind<u32> = Kind::new(count, u32::to_string);
const SIZE: Kind<u64> = Kind::new(size, u64::to_string);
const DURATION: Kind<Duration> = Kind::new(duration, |d| seconds(*d));
const OWN_DURATION: Kind<Option<Duration>> = Kind::new(
    |v| duration(v).map(Some),
    |d| or_none(d.as_ref(), |d| seconds(*d)),
);
const TEXT: Kind<Box<str>> = Kind::new(|v| Ok(v.into()), |v| v.to_string());
const NAME: Kind<Option<Box<str>>> = Kind::new(
    |v| name(v).map(Some),
    |n| or_none(n.as_ref(), |n| n.to_string()),
);
const ADDRESS: Kind<Box<str>> = Kind::new(address, |v| show_address(v));
const COMMAND: Kind<Box<str>> = Kind::new(command, |v| v.to_string());
const TARGETS: Kind<Rc<[Box<str>]>> = Kind {
    empty: Empty::Value,
    ..Kind::new(targets, |t| show_targets(t))
};
const OWN_TARGETS: Kind<Option<Rc<[Box<str>]>>> = Kind {
    empty: Empty::Value,
    ..Kind::new(
        |v| targets(v).map(Some),
        |t| or_none(t.as_ref(), |t| show_targets(t)),
    )
};
const PATH: Kind<Option<PathBuf>> = Kind {
    empty: Empty::Unset,
    ..Kind::new(
        |v| path(v).map(Some),
        |p| or_none(p.as_ref(), |p| p.display().to_string()),
    )
};
const LEVEL: Kind<Level> = Kind::new(|v| word(v, &Level::WORDS), |l| l.word().to_string());
const FORMAT: Kind<Format> = Kind::new(|v| word(v, &Format::WORDS), |f| f.word().to_string());
const LOG: Kind<Option<PathBuf>> = Kind {
    empty: Empty::Unset,
    ..Kind::new(
        |v| path(v).map(|path| Some(path).filter(|path| !is_stdout(path))),
        |p| {
            p.as_ref()
                .map_or("-".to_string(), |path| path.display().to_string())
        },
    )
};
const LISTEN: Kind<Option<Listen>> = Kind::new(
    |v| listen(v).map(Some),
    |l| or_none(l.as_ref(), Listen::to_string),
);
const SOCKET: Kind<ControlSocket> = Kind {
    empty: Empty::Unset,
    none: Some(|| ControlSocket::Off),
    ..Kind::new(
        |v| path(v).map(ControlSocket::At),
        |s| match s {
            ControlSocket::Default => super::CONTROL_SOCKET.to_string(),
            ControlSocket::Off => "none".to_string(),
            ControlSocket::At(path) => path.display().to_string(),
        },
    )
};

/// Declares the key of the field with the same name.
macro_rules! key {
    ($name:ident, $kind:expr, $default:ident, $mutable:expr, $shared:expr) => {
        Key {
            name: stringify!($name),
            empty: $kind.empty,
            set: |to, value| {
                $mutable(to).$name = $kind.value(value, $default::default().$name)?;
                Ok(())
            },
            show: |from| ($kind.show)(&$shared(from).$name),
        }
    };
}

macro_rules! sequencer {
    ($name:ident, $kind:expr) => {
        key!(
            $name,
            $kind,
            Sequencer,
            |s| -> &mut Sequencer { s },
            |s| -> &Sequencer { s }
        )
    };
}

macro_rules! job {
    ($name:ident, $kind:expr) => {
        key!($name, $kind, Settings, of, |j: &Job| Rc::clone(&j.settings))
    };
}

/// The message about a key that its section does not have.
pub(super) fn unknown(key: &str, known: &[&str]) -> String {
    let foreign = FOREIGN
        .iter()
        .find(|(words, _)| words.split(' ').any(|word| word == key));
    let instead = match foreign {
        Some((_, instead)) => format!("; {instead}"),
        None => near::instead(key, known, "the keys here are"),
    };
    format!("unknown key {}{instead}", shown(key))
}

/// The names of these keys.
pub(super) fn names<T>(keys: &[Key<T>]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}

/// Keys of other programs, and what to do here.
const FOREIGN: [(&str, &str); 14] = [
    (
        "user group uid gid runas",
        "everything runs as the user of option -u; for one job begin its command with: runuser -u NAME -- (as root), or sudo -n -u NAME",
    ),
    (
        "directory workingdirectory cwd chdir rundir",
        "jobs run in the directory of option -d; for one job begin its command with: env -C DIRECTORY",
    ),
    (
        "environment environmentfile env",
        "jobs get the daemon's environment; for one job begin its command with: env NAME=value",
    ),
    (
        "schedule cron interval every period oncalendar hour minute",
        "a job runs again 'mindelay' after its last end; what has to run at a time of day is for cron",
    ),
    (
        "enabled enable disabled disable active autostart",
        "a job runs if it has a section; one that does not run is [buildsequencer_job.NAME.optional]",
    ),
    (
        "restart autorestart retries retry",
        "every job is run again, 'mindelay' after its last end, and later while it fails with 'maxdelay'",
    ),
    (
        "shell",
        "no shell reads a command; write: command: sh -c '...'",
    ),
    ("nice priority", "write: command: nice -n 10 ..."),
    (
        "depends requires after before",
        "one job runs at a time, the one that is due first; for a fixed order let one job run both",
    ),
    (
        "stdout stderr output log",
        "'alwayslog' and 'livelog' of a job log what it prints, in the 'logfile' of [buildsequencer]",
    ),
    (
        "email mailto notify recipients",
        "who gets reports is 'mailproblemsto'",
    ),
    (
        "exec execstart cmd run program script",
        "the program and its arguments are the 'command' of a job",
    ),
    (
        "delay sleep wait",
        "the time from the end of a run to the next is the 'mindelay' of a job",
    ),
    (
        "pidfile umask daemon",
        "that is an option of the command line",
    ),
];

/// `[buildsequencer]`
pub const SEQUENCER: [Key<Sequencer>; 19] = [
    sequencer!(name, NAME),
    sequencer!(logfile, LOG),
    sequencer!(loglevel, LEVEL),
    sequencer!(logformat, FORMAT),
    sequencer!(launch, BOOLEAN),
    sequencer!(mailproblemsto, TARGETS),
    sequencer!(fromaddress, ADDRESS),
    sequencer!(smtphost, TEXT),
    sequencer!(spew, BOOLEAN),
    sequencer!(sendmail, COMMAND),
    sequencer!(mailinterval, DURATION),
    sequencer!(logsize, SIZE),
    sequencer!(logkeep, COUNT),
    sequencer!(statefile, PATH),
    sequencer!(stopdelay, DURATION),
    sequencer!(controlsocket, SOCKET),
    sequencer!(metricsfile, PATH),
    sequencer!(listen, LISTEN),
    sequencer!(leasefile, PATH),
];

fn of(job: &mut Job) -> &mut Settings {
    Rc::make_mut(&mut job.settings)
}

/// `[buildsequencer_job.NAME]` and its template.
pub const JOB: [Key<Job>; 12] = [
    key!(command, COMMAND, Job, |j| -> &mut Job { j }, |j| -> &Job {
        j
    }),
    job!(mindelay, DURATION),
    job!(alwayslog, BOOLEAN),
    job!(timeout, DURATION),
    job!(killdelay, DURATION),
    // A value set by hand applies also when nobody waits, even if it is the default.
    Key {
        name: "stuckafter",
        empty: Empty::Wrong,
        set: |j, v| {
            of(j).stuckafter = DURATION.value(v, Settings::default().stuckafter)?;
            of(j).stuckafter_by_hand = v.is_some();
            Ok(())
        },
        show: |j| match j.settings.stuckafter_by_hand {
            true => seconds(j.settings.stuckafter),
            false => "none".to_string(),
        },
    },
    job!(startdelay, OWN_DURATION),
    job!(mailproblemsto, OWN_TARGETS),
    job!(mailinterval, OWN_DURATION),
    job!(maxdelay, DURATION),
    job!(maxoutput, SIZE),
    job!(livelog, BOOLEAN),
];
