//! Every key of the configuration: its name, how its value is read, and how it is shown. The one table behind
//! reading, checking, printing and comparing configurations.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::values::{address, addresses, boolean, command, count, duration, path, size};
use super::{Config, ControlSocket, Job, Settings};
use crate::text::{nearest, seconds, shown};

/// One key of a section whose contents are a `T`.
pub struct Key<T> {
    /// Its name, in lower case.
    pub name: &'static str,
    empty: Empty,
    set: fn(&mut T, Option<&str>) -> Result<(), String>,
    /// Its value as one would write it.
    pub show: fn(&T) -> String,
}

/// What an empty value is.
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

/// `value` read by `parse`, or `default` if it is unset.
fn put<V>(
    place: &mut V,
    value: Option<&str>,
    parse: fn(&str) -> Result<V, String>,
    default: V,
) -> Result<(), String> {
    *place = value.map_or(Ok(default), parse)?;
    Ok(())
}

/// The same for a setting without a default of its own.
fn put_some<V>(
    place: &mut Option<V>,
    value: Option<&str>,
    parse: fn(&str) -> Result<V, String>,
) -> Result<(), String> {
    *place = value.map(parse).transpose()?;
    Ok(())
}

/// Nobody but the log is the same as nobody.
fn targets(value: &str) -> Result<Rc<[Box<str>]>, String> {
    let targets = addresses(value)?;
    let log_only = targets.iter().all(|target| &**target == "-");
    Ok(if log_only {
        Rc::new([])
    } else {
        targets.into()
    })
}

fn show_path(path: Option<&PathBuf>) -> String {
    path.map_or("none".to_string(), |path| path.display().to_string())
}

/// Recipients with spaces between them; none of them is the log.
pub fn show_targets(targets: &[Box<str>]) -> String {
    if targets.is_empty() {
        "-".to_string()
    } else {
        targets.join(" ")
    }
}

/// What to say of a key that is not known where it stands.
pub(super) fn unknown<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = nearest(key, known).map(|name| format!("; is '{name}' meant?"));
    format!("unknown key {}{}", shown(key), nearest.unwrap_or_default())
}

/// `[buildsequencer]`
pub const SEQUENCER: [Key<Config>; 14] = [
    Key {
        name: "logfile",
        empty: Empty::Unset,
        set: |c, v| put_some(&mut c.logfile, v.filter(|path| *path != "-"), path),
        show: |c| {
            c.logfile
                .as_ref()
                .map_or("-".to_string(), |path| path.display().to_string())
        },
    },
    Key {
        name: "launch",
        empty: Empty::Wrong,
        set: |c, v| put(&mut c.launch, v, boolean, false),
        show: |c| c.launch.to_string(),
    },
    Key {
        name: "mailproblemsto",
        empty: Empty::Value,
        set: |c, v| put(&mut c.mailproblemsto, v, targets, Rc::new([])),
        show: |c| show_targets(&c.mailproblemsto),
    },
    Key {
        name: "fromaddress",
        empty: Empty::Wrong,
        set: |c, v| put(&mut c.fromaddress, v, address, super::FROM_ADDRESS.into()),
        show: |c| c.fromaddress.to_string(),
    },
    Key {
        name: "smtphost",
        empty: Empty::Wrong,
        set: |c, v| {
            put(
                &mut c.smtphost,
                v,
                |host| Ok(host.into()),
                "localhost".into(),
            )
        },
        show: |c| c.smtphost.to_string(),
    },
    Key {
        name: "spew",
        empty: Empty::Wrong,
        set: |c, v| put(&mut c.spew, v, boolean, false),
        show: |c| c.spew.to_string(),
    },
    Key {
        name: "sendmail",
        empty: Empty::Wrong,
        set: |c, v| put(&mut c.sendmail, v, command, super::SENDMAIL.into()),
        show: |c| c.sendmail.to_string(),
    },
    Key {
        name: "mailinterval",
        empty: Empty::Wrong,
        set: |c, v| put(&mut c.mailinterval, v, duration, Duration::ZERO),
        show: |c| seconds(c.mailinterval),
    },
    Key {
        name: "logsize",
        empty: Empty::Wrong,
        set: |c, v| put(&mut c.logsize, v, size, Config::default().logsize),
        show: |c| c.logsize.to_string(),
    },
    Key {
        name: "logkeep",
        empty: Empty::Wrong,
        set: |c, v| put(&mut c.logkeep, v, count, Config::default().logkeep),
        show: |c| c.logkeep.to_string(),
    },
    Key {
        name: "statefile",
        empty: Empty::Unset,
        set: |c, v| put_some(&mut c.statefile, v, path),
        show: |c| show_path(c.statefile.as_ref()),
    },
    Key {
        name: "stopdelay",
        empty: Empty::Wrong,
        set: |c, v| put(&mut c.stopdelay, v, duration, Duration::ZERO),
        show: |c| seconds(c.stopdelay),
    },
    Key {
        name: "controlsocket",
        empty: Empty::Unset,
        set: |c, v| {
            put(
                &mut c.controlsocket,
                v,
                |at| path(at).map(ControlSocket::At),
                ControlSocket::Off,
            )
        },
        show: |c| match &c.controlsocket {
            ControlSocket::Default => super::CONTROL_SOCKET.to_string(),
            ControlSocket::Off => "none".to_string(),
            ControlSocket::At(path) => path.display().to_string(),
        },
    },
    Key {
        name: "metricsfile",
        empty: Empty::Unset,
        set: |c, v| put_some(&mut c.metricsfile, v, path),
        show: |c| show_path(c.metricsfile.as_ref()),
    },
];

fn of(job: &mut Job) -> &mut Settings {
    Rc::make_mut(&mut job.settings)
}

/// `[buildsequencer_job.NAME]` and its template.
pub const JOB: [Key<Job>; 12] = [
    Key {
        name: "command",
        empty: Empty::Wrong,
        set: |j, v| put(&mut j.command, v, command, "".into()),
        show: |j| j.command.to_string(),
    },
    Key {
        name: "mindelay",
        empty: Empty::Wrong,
        set: |j, v| {
            put(
                &mut of(j).mindelay,
                v,
                duration,
                Settings::default().mindelay,
            )
        },
        show: |j| seconds(j.settings.mindelay),
    },
    Key {
        name: "alwayslog",
        empty: Empty::Wrong,
        set: |j, v| put(&mut of(j).alwayslog, v, boolean, false),
        show: |j| j.settings.alwayslog.to_string(),
    },
    Key {
        name: "timeout",
        empty: Empty::Wrong,
        set: |j, v| put(&mut of(j).timeout, v, duration, Duration::ZERO),
        show: |j| seconds(j.settings.timeout),
    },
    Key {
        name: "killdelay",
        empty: Empty::Wrong,
        set: |j, v| {
            put(
                &mut of(j).killdelay,
                v,
                duration,
                Settings::default().killdelay,
            )
        },
        show: |j| seconds(j.settings.killdelay),
    },
    Key {
        name: "stuckafter",
        empty: Empty::Wrong,
        set: |j, v| {
            put(
                &mut of(j).stuckafter,
                v,
                duration,
                Settings::default().stuckafter,
            )?;
            of(j).stuckafter_by_hand = v.is_some();
            Ok(())
        },
        // Set by hand, the default value means more.
        show: |j| match j.settings.stuckafter_by_hand {
            true => seconds(j.settings.stuckafter),
            false => "none".to_string(),
        },
    },
    Key {
        name: "startdelay",
        empty: Empty::Wrong,
        set: |j, v| put_some(&mut of(j).startdelay, v, duration),
        show: |j| j.settings.startdelay.map_or("none".to_string(), seconds),
    },
    Key {
        name: "mailproblemsto",
        empty: Empty::Value,
        set: |j, v| put_some(&mut of(j).mailproblemsto, v, targets),
        show: |j| {
            j.settings
                .mailproblemsto
                .as_deref()
                .map_or("none".to_string(), show_targets)
        },
    },
    Key {
        name: "mailinterval",
        empty: Empty::Wrong,
        set: |j, v| put_some(&mut of(j).mailinterval, v, duration),
        show: |j| j.settings.mailinterval.map_or("none".to_string(), seconds),
    },
    Key {
        name: "maxdelay",
        empty: Empty::Wrong,
        set: |j, v| put(&mut of(j).maxdelay, v, duration, Duration::ZERO),
        show: |j| seconds(j.settings.maxdelay),
    },
    Key {
        name: "maxoutput",
        empty: Empty::Wrong,
        set: |j, v| put(&mut of(j).maxoutput, v, size, Settings::default().maxoutput),
        show: |j| j.settings.maxoutput.to_string(),
    },
    Key {
        name: "livelog",
        empty: Empty::Wrong,
        set: |j, v| put(&mut of(j).livelog, v, boolean, false),
        show: |j| j.settings.livelog.to_string(),
    },
];
