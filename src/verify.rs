//! What the daemon will need from the system: commands that can be executed, directories that can be written.
//! Looks and tells; starts and creates nothing.

use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::{Config, ControlSocket};
use crate::process::system_text;
use crate::words;

/// Everything that is missing, a line each.
pub fn missing(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for job in &config.jobs {
        if let Err(why) = program(&job.command) {
            lines.push(format!("job {}: {why}", job.name));
        }
    }
    if config.mails()
        && let Err(why) = program(&config.sendmail)
    {
        lines.push(format!("sendmail: {why}"));
    }
    let socket = match &config.controlsocket {
        ControlSocket::At(path) => Some(path),
        ControlSocket::Default | ControlSocket::Off => None,
    };
    let files = [
        ("logfile", config.logfile.as_ref()),
        ("controlsocket", socket),
        ("statefile", config.statefile.as_ref()),
        ("metricsfile", config.metricsfile.as_ref()),
    ];
    for (key, path) in files {
        if let Some(Err(why)) = path.map(|path| writable(path)) {
            lines.push(format!("{key}: {why}"));
        }
    }
    lines
}

/// Whether the first word of `command` can be executed, looked for as execvp(3) does.
fn program(command: &str) -> Result<(), String> {
    let words = words::split(command).map_err(|error| error.to_string())?;
    let program = words.first().cloned().unwrap_or_default();
    if program.contains('/') {
        return executable(Path::new(&program))
            .map_err(|why| format!("command '{program}' cannot be run: {why}"));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = None;
    for directory in env::split_paths(&path) {
        let candidate = directory.join(&program);
        match executable(&candidate) {
            Ok(()) => return Ok(()),
            Err(why) if candidate.exists() => {
                refused = Some(format!("'{}' cannot be run: {why}", candidate.display()))
            }
            Err(_) => {}
        }
    }
    Err(refused
        .unwrap_or_else(|| format!("command '{program}' not found in PATH ({})", path.display())))
}

fn executable(path: &Path) -> Result<(), String> {
    access(path, AccessFlags::X_OK).map_err(system_text)?;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        _ => Err("it is not a file".to_string()),
    }
}

/// Whether a file at `path` can be written, or made in its directory.
fn writable(path: &Path) -> Result<(), String> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().as_bytes().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let (what, place, flags) = if path.is_dir() {
        return Err(format!("'{}' is a directory", path.display()));
    } else if path.exists() {
        ("", path.to_path_buf(), AccessFlags::W_OK)
    } else {
        (
            "directory ",
            directory,
            AccessFlags::W_OK | AccessFlags::X_OK,
        )
    };
    access(&place, flags).map_err(|errno| {
        format!(
            "{what}'{}' cannot be written: {}",
            place.display(),
            system_text(errno)
        )
    })
}
