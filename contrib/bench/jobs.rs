//! What is measured against the number of jobs.

use std::fmt::Write;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::contender::{ALONE, Contender, Spent, take_turns};
use crate::figures::{Figures, short};

/// The numbers of jobs.
const STEPS: [usize; 5] = [1, 100, 10_000, 100_000, 1_000_000];

/// What one number of jobs costs.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub jobs: usize,
    /// From the start of the program to its first job.
    pub start: Duration,
    pub start_cpu: Duration,
    /// Microseconds.
    pub run: Figures,
    pub reload: Duration,
    pub reload_cpu: Duration,
    /// Resident bytes beyond those with one job, for each job, without its name and command.
    pub memory: f64,
    /// The same after reloads, when two configurations have been there at once.
    pub memory_after_reloads: f64,
}

fn config(jobs: usize, delays: &str, daemon: &str) -> String {
    let mut text = format!("{daemon}[buildsequencer_job.template]\n{delays}\n");
    for job in 0..jobs {
        let _ = write!(
            text,
            "[buildsequencer_job.job-{job:07}]\ncommand: /bin/true\n"
        );
    }
    text
}

/// Bytes of each job's own strings.
const STRINGS: usize = "job-0000000/bin/true".len();

/// Measures all steps and tells of each.
pub fn ladder() -> Vec<Step> {
    let mut steps: Vec<Step> = STEPS
        .into_iter()
        .map(|jobs| Step {
            jobs,
            ..Step::default()
        })
        .collect();
    for step in &mut steps {
        start(step);
    }
    let base = memory_and_reload(&mut steps[0], (0.0, 0.0));
    for step in &mut steps[1..] {
        memory_and_reload(step, base);
    }
    runs(&mut steps);
    println!("{}", markdown(&steps));
    steps
}

fn start(step: &mut Step) {
    let config = config(step.jobs, "startdelay: 0\nmindelay: 1h", ALONE);
    let tries = if step.jobs > 100_000 { 3 } else { 7 };
    let (mut wall, mut cpu) = (Figures::default(), Figures::default());
    for _ in 0..tries {
        let began = Instant::now();
        let mut daemon = Contender::daemon(&config);
        daemon.wait_for("Running ");
        wall.0.push(began.elapsed().as_secs_f64());
        cpu.0.push(daemon.cpu().as_secs_f64());
    }
    step.start = Duration::from_secs_f64(wall.median());
    step.start_cpu = Duration::from_secs_f64(cpu.median());
}

/// Returns the resident bytes before and after the reloads.
fn memory_and_reload(step: &mut Step, base: (f64, f64)) -> (f64, f64) {
    let mut daemon = Contender::daemon(&config(step.jobs, "mindelay: 1h", ALONE));
    daemon.wait_for("Scheduling");
    let resident = |daemon: &Contender| daemon.status("VmRSS") as f64 * 1024.0;
    let before = resident(&daemon);
    let (mut wall, mut cpu) = (Figures::default(), Figures::default());
    for _ in 0..3 {
        let (began, cpu_before) = (Instant::now(), daemon.cpu());
        daemon.signal(Signal::SIGHUP);
        daemon.wait_for("nothing has changed");
        wall.0.push(began.elapsed().as_secs_f64());
        cpu.0.push((daemon.cpu() - cpu_before).as_secs_f64());
    }
    let after = resident(&daemon);
    step.reload = Duration::from_secs_f64(wall.median());
    step.reload_cpu = Duration::from_secs_f64(cpu.median());
    let strings = STRINGS as f64;
    let each = |now: f64, base: f64| (now - base) / step.jobs as f64 - strings;
    step.memory = each(before, base.0);
    step.memory_after_reloads = each(after, base.1);
    (before, after)
}

/// All numbers take turns, each job due as soon as its last run has ended.
fn runs(steps: &mut [Step]) {
    let mut daemons: Vec<Contender> = steps
        .iter()
        .map(|step| {
            let mut daemon = Contender::daemon(&config(step.jobs, "mindelay: 0", ALONE));
            daemon.wait_for("Running ");
            daemon.signal(Signal::SIGSTOP);
            daemon
        })
        .collect();
    let spent = take_turns(&mut daemons, 7, Duration::from_millis(70));
    for (step, spent) in steps.iter_mut().zip(spent) {
        step.run = spent.iter().map(Spent::cpu_per_run).collect();
    }
}

/// The steps as a table.
pub fn markdown(steps: &[Step]) -> String {
    let mut text = "\n| jobs | start to first `Running`, s | of it own CPU | own CPU a run, µs | reload, s | of it own CPU \
                    | resident bytes a job | after reloads |\n|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_string();
    for step in steps {
        let seconds = |duration: Duration| short(duration.as_secs_f64());
        let bytes = |bytes: f64| match step.jobs {
            0..10_000 => "-".to_string(),
            _ => format!("{bytes:.0}"),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            step.jobs,
            seconds(step.start),
            seconds(step.start_cpu),
            step.run.show(),
            seconds(step.reload),
            seconds(step.reload_cpu),
            bytes(step.memory),
            bytes(step.memory_after_reloads),
        );
    }
    text + "\nBytes a job are those beyond one job's, without the job's own name and command.\n"
}
