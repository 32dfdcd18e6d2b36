//! What the daemon will need from the system: commands that can be executed, directories that can be written.
//! Looks and tells; starts and creates nothing.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use crate::config::command;
use crate::config::{About, Config, ControlSocket};
use crate::system::errors::system_text;
use crate::system::files;
use crate::system::log;
use crate::system::mounts;

/// Everything that is missing, a line each.
pub fn missing(config: &Config) -> Vec<(About, String)> {
    let mut lines = Vec::new();
    // Many jobs may run the same few programs.
    let mut seen = HashMap::new();
    for (place, job) in config.jobs.iter().enumerate() {
        let program = command::first(&job.command);
        if let Err(why) = seen.entry(program).or_insert_with_key(|p| executable(p)) {
            lines.push((About::Command(place), format!("job {}: {why}", job.name)));
        }
    }
    if config.mails() {
        let found = executable(&command::first(&config.sequencer.sendmail));
        let line = |why| (About::Key("sendmail"), format!("sendmail: {why}"));
        lines.extend(found.err().map(line));
    }
    let socket = match &config.sequencer.controlsocket {
        ControlSocket::At(path) => Some(path.as_path()),
        ControlSocket::Default | ControlSocket::Off => None,
    };
    let log = config.sequencer.logfile.as_deref();
    let files = [
        (
            "logfile",
            log.map(|path| appended(path, config.sequencer.logsize)),
        ),
        ("controlsocket", socket.map(replaced)),
        ("statefile", config.sequencer.statefile.as_deref().map(kept)),
        (
            "metricsfile",
            config.sequencer.metricsfile.as_deref().map(kept),
        ),
    ];
    for (key, found) in files {
        if let Some(Err(why)) = found {
            lines.push((About::Key(key), format!("{key}: {why}")));
        }
    }
    lines
}

/// Whether `program` can be executed, looked for as execvp(3) does.
fn executable(program: &str) -> Result<(), String> {
    if program.contains('/') {
        return executable_file(Path::new(program))
            .map_err(|why| format!("command '{program}' cannot be run: {why}"));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = None;
    for directory in env::split_paths(&path) {
        let candidate = directory.join(program);
        match executable_file(&candidate) {
            Ok(()) => return Ok(()),
            Err(why) if candidate.exists() => {
                refused = Some(format!("'{}' cannot be run: {why}", candidate.display()))
            }
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| {
        format!(
            "command '{program}' not found in PATH ({})",
            path.to_string_lossy()
        )
    }))
}

fn executable_file(path: &Path) -> Result<(), String> {
    access(path, AccessFlags::X_OK).map_err(system_text)?;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        _ => Err("it is not a file".to_string()),
    }
}

/// A log; its file is renamed within its directory when it is rotated by size.
fn appended(path: &Path, logsize: u64) -> Result<(), String> {
    if log::is_stdout(path) {
        return Ok(());
    }
    log::fit(path).map_err(|unfit| format!("'{}' cannot be the log: {unfit}", path.display()))?;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(is_a_directory(path)),
        Ok(metadata) => {
            writable("", path, AccessFlags::W_OK)?;
            if metadata.is_file() && logsize > 0 {
                if mounts::is_mount_point(path).unwrap_or(false) {
                    let path = path.display();
                    return Err(format!(
                        "'{path}' is a mount point, which cannot be renamed to rotate it; set logsize to 0"
                    ));
                }
                directory_of(path)
            } else {
                Ok(())
            }
        }
        Err(_) => directory_of(path),
    }
}

/// A file that is made anew each time it is written.
fn replaced(path: &Path) -> Result<(), String> {
    if path.is_dir() {
        return Err(is_a_directory(path));
    }
    directory_of(path)
}

/// A file that is replaced each time it is written, if it is one.
fn kept(path: &Path) -> Result<(), String> {
    files::fit(path).map_err(|unfit| format!("'{}' {unfit}", path.display()))?;
    directory_of(path)
}

fn is_a_directory(path: &Path) -> String {
    format!("'{}' is a directory", path.display())
}

fn directory_of(path: &Path) -> Result<(), String> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if directory.exists() && !directory.is_dir() {
        return Err(format!("'{}' is not a directory", directory.display()));
    }
    let flags = AccessFlags::W_OK | AccessFlags::X_OK;
    writable("directory ", directory, flags)
}

fn writable(what: &str, path: &Path, flags: AccessFlags) -> Result<(), String> {
    access(path, flags).map_err(|errno| {
        let path = path.display();
        format!("{what}'{path}' cannot be written: {}", system_text(errno))
    })
}
