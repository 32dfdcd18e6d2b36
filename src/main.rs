//! The program: reads the command line, does what it says, and turns the result into an exit status.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use buildd_sequencer::cli::{self, Action, Request};
use buildd_sequencer::client::{self, Answer};
use buildd_sequencer::exit;
use buildd_sequencer::start::{self, Checked, Failed};
use buildd_sequencer::system::detach;
use buildd_sequencer::system::errors::error_text;
use buildd_sequencer::system::signals::Early;
use buildd_sequencer::text::harmless;

fn main() -> ExitCode {
    // First of all, so that an early SIGHUP is kept for later and does not kill the program.
    let early = Early::watch();
    let (action, options) = match cli::parse(std::env::args_os().skip(1)) {
        Ok(parsed) => parsed,
        Err(error) => return fail(exit::USAGE, &[format!("buildd-sequencer: {error}")]),
    };
    let result = match (action, early) {
        (Action::Daemon, Ok(_)) if options.daemon && !detach::is_detaching() => {
            // The daemon is another process. This one only waits until it is up.
            return match detach::start() {
                Ok(status) => ExitCode::from(status),
                Err(line) => fail(exit::FAILURE, &[format!("buildd-sequencer: {line}")]),
            };
        }
        (Action::Daemon, Ok(early)) => start::daemon(&options, early),
        (Action::Daemon, Err(error)) => {
            return fail(
                exit::FAILURE,
                &[format!("buildd-sequencer: cannot watch SIGHUP: {error}")],
            );
        }
        (action, early) => {
            let _ = early.and_then(Early::make_fatal);
            match action {
                Action::Help => print(cli::HELP.as_bytes()),
                Action::Version => {
                    print(concat!("buildd-sequencer ", env!("CARGO_PKG_VERSION"), "\n").as_bytes())
                }
                Action::Check { quiet } => {
                    start::check(&options).and_then(|checked| report(checked, quiet))
                }
                Action::Ask(request) => match client::ask(&options, &request) {
                    Ok(answer) => return tell(&request, &answer),
                    Err(why) => Err(Failed {
                        status: why.status(&request),
                        lines: vec![format!("buildd-sequencer: {why}")],
                    }),
                },
                Action::Daemon => Ok(()),
            }
        }
    };
    match result {
        Ok(()) => ExitCode::from(exit::OK),
        Err(Failed { status, lines }) => fail(status, &lines),
    }
}

fn print(text: &[u8]) -> Result<(), Failed> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        // A reader that has gone (`check | head`) has seen what it wanted, so that is no error.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let why = error_text(&error);
            let line = format!("buildd-sequencer: cannot write to standard output: {why}");
            Err(Failed {
                status: exit::FAILURE,
                lines: vec![line],
            })
        }
        _ => Ok(()),
    }
}

fn report(checked: Checked, quiet: bool) -> Result<(), Failed> {
    if !quiet {
        print(checked.text.as_bytes())?;
    }
    let is_sound = checked.missing.is_empty();
    let mut lines = checked.warnings;
    lines.extend(checked.missing);
    lines.push(checked.verdict);
    if is_sound {
        say(&lines);
        return Ok(());
    }
    Err(Failed {
        status: exit::CONFIG,
        lines,
    })
}

/// Prints an answer. A refusal is an error message on standard error; a run's output and the words of a health check go
/// to standard output.
fn tell(request: &Request, answer: &Answer) -> ExitCode {
    let says_all = matches!(
        request,
        Request::Run { wait: true, .. } | Request::Healthcheck { .. }
    );
    let _ = std::io::stderr().write_all(&answer.about);
    if answer.status == exit::OK || says_all {
        if let Err(Failed { status, lines }) = print(&answer.text) {
            return fail(status, &lines);
        }
    } else {
        let _ = std::io::stderr().write_all(&answer.text);
    }
    ExitCode::from(answer.status)
}

fn fail(status: u8, lines: &[String]) -> ExitCode {
    say(lines);
    ExitCode::from(status)
}

fn say(lines: &[String]) {
    let mut text = String::new();
    for line in lines {
        text.push_str(&harmless(line));
        text.push('\n');
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}
