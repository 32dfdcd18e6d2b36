//! A simulated cluster: three hosts, each with a guard, a daemon that runs jobs under the real `Lease`, and systemd's
//! watchdog; an etcd that gives out one key; clocks that go at different rates; messages that are late or lost; and
//! anything stopped at any of its steps. Whatever happens, no two hosts hold the lane, except where a stop falls
//! between a look at the clock and what follows from it. Those cases are counted. `SIMULATION=full` plays 100,000
//! histories.
//!
//! The steps are those of `contrib/cluster/etcd/buildd-sequencer-lease`. Time is in milliseconds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may"
)]

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use buildd_sequencer::lease::Lease;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

const HOSTS: usize = 3;
/// How long the guard waits for an answer of etcd.
const CALL: u64 = 2_000;
/// How long it waits before it asks again, and systemd before it starts a guard anew.
const PAUSE: u64 = 1_000;
/// What the guard takes off the end of its lease, in seconds.
const MARGIN: i64 = 2;
/// How many windows of each kind there have been.
type Windows = [u64; 2];
const BETWEEN_CHECK_AND_SPAWN: usize = 0;
const DAEMON_AND_GUARD_STOPPED: usize = 1;

/// Who is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Guard,
    Daemon,
    Host,
}

/// A stop at a step of the guard or the daemon of a host.
#[derive(Debug, Clone)]
struct Stop {
    host: usize,
    who: Who,
    at_guards_step: bool,
    step: u32,
    time: u64,
}

/// What an operator or a fault does to a host at a time.
#[derive(Debug, Clone, Copy)]
enum Deed {
    StopInOrder,
    KillGuard,
}

/// One history, before it happens.
#[derive(Debug, Clone)]
struct Plan {
    ttl: u64,
    stop: u64,
    margin: i64,
    /// Parts in a million by which each host's clock is fast, and etcd's at the end.
    rates: [i64; HOSTS + 1],
    offsets: [u64; HOSTS],
    /// Of messages and of steps, one after the other, again and again.
    delays: Vec<u64>,
    stops: Vec<Stop>,
    deeds: Vec<(usize, u64, Deed)>,
    run: u64,
    between: u64,
    /// Whether the daemon obeys the lease file.
    obeys: bool,
    /// Whether a move of the key compares the one before.
    compares: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    // The guard's steps.
    Ask,
    Granted {
        asked: u64,
        expiry: Option<u64>,
    },
    Answered {
        asked: u64,
        answer: Option<(Option<Key>, bool)>,
    },
    Tell {
        asked: u64,
        left: u64,
    },
    LookAgain {
        asked: u64,
    },
    Terminate,
    // Messages that come to etcd.
    Grant {
        asked: u64,
        answers: Option<u64>,
    },
    Move {
        asked: u64,
        expiry: u64,
        known: Option<Key>,
        answers: Option<u64>,
    },
    Delete {
        revision: u64,
    },
    // The daemon's steps.
    Check,
    Spawn {
        stops: u32,
    },
    Timer,
    // What happens to processes.
    RunEnds {
        run: u64,
    },
    Watchdog {
        at: u64,
    },
    KillAll,
}

impl Event {
    fn who(self) -> Option<Who> {
        match self {
            Event::Ask
            | Event::Granted { .. }
            | Event::Answered { .. }
            | Event::Tell { .. }
            | Event::LookAgain { .. }
            | Event::Terminate => Some(Who::Guard),
            Event::Check | Event::Spawn { .. } | Event::Timer => Some(Who::Daemon),
            Event::RunEnds { .. } | Event::Watchdog { .. } | Event::KillAll => Some(Who::Host),
            Event::Grant { .. } | Event::Move { .. } | Event::Delete { .. } => None,
        }
    }
}

/// A run under way.
#[derive(Debug, Clone, Copy)]
struct Run {
    number: u64,
    began: u64,
}

/// A host. What it knows of its ownership begins anew with each incarnation of its guard.
#[derive(Debug, Default)]
struct Host {
    incarnation: u32,
    steps: [u32; 2],
    /// Until when guard, daemon, and the host as a whole are stopped.
    stopped: [u64; 3],
    /// When the host was last frozen.
    froze: u64,
    daemons_stops: u32,
    /// The key as we know it to be ours.
    known: Option<Key>,
    /// When the lease was asked for that it is on.
    good: u64,
    file: u64,
    lease: Lease,
    watchdog: Option<u64>,
    /// Whether a stop of the guard has made the watchdog late.
    told_late: bool,
    daemon_runs: bool,
    ends: bool,
    run: Option<Run>,
}

/// The key as etcd shows it: the revisions of its creation and of its last move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    revision: u64,
    moved: u64,
}

/// One ownership of the key: until when, and how often it has moved to another lease.
#[derive(Debug, Clone, Copy)]
struct Ownership {
    expiry: u64,
    moved: u64,
}

/// What is going to happen: when, in which order at the same time, where, to which incarnation.
type Entry = (u64, u64, usize, u32, Event);

struct World<'a> {
    plan: &'a Plan,
    hosts: [Host; HOSTS],
    /// By revision; the last is the present one.
    owned: Vec<Ownership>,
    queue: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    delays: usize,
    runs: u64,
    windows: Windows,
    takeovers: u64,
}

impl World<'_> {
    fn new(plan: &Plan) -> World<'_> {
        let mut world = World {
            plan,
            hosts: Default::default(),
            owned: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            delays: 0,
            runs: 0,
            windows: [0; 2],
            takeovers: 0,
        };
        for host in 0..HOSTS {
            world.after(0, host, Event::Ask);
        }
        for &(host, at, deed) in &plan.deeds {
            let event = match deed {
                Deed::StopInOrder => Event::Terminate,
                Deed::KillGuard => Event::KillAll,
            };
            // Of whichever incarnation there is by then.
            world.push(at, host, u32::MAX, event);
        }
        world
    }

    fn push(&mut self, at: u64, host: usize, incarnation: u32, event: Event) {
        self.sequence += 1;
        let entry = (at, self.sequence, host, incarnation, event);
        self.queue.push(Reverse(entry));
    }

    /// Has something happen to this incarnation of a host, after the next delay of the plan.
    fn after(&mut self, now: u64, host: usize, event: Event) {
        let delay = self.delay();
        self.at(now + delay, host, event);
    }

    fn at(&mut self, at: u64, host: usize, event: Event) {
        let incarnation = self.hosts[host].incarnation;
        self.push(at, host, incarnation, event);
    }

    fn delay(&mut self) -> u64 {
        self.delays += 1;
        self.plan.delays[self.delays % self.plan.delays.len()]
    }

    /// The clock of a host, in whole seconds.
    fn clock(plan: &Plan, host: usize, now: u64) -> u64 {
        plan.offsets[host] + Self::gone(plan.rates[host], now) / 1_000
    }

    /// What a clock of this rate makes of a time.
    fn gone(rate: i64, time: u64) -> u64 {
        let time = i128::from(time) * i128::from(1_000_000 + rate) / 1_000_000;
        u64::try_from(time).unwrap()
    }

    /// When a host's clock comes to a second.
    fn when(&self, host: usize, second: u64) -> u64 {
        let gone = i128::from(second.saturating_sub(self.plan.offsets[host])) * 1_000;
        let rate = i128::from(1_000_000 + self.plan.rates[host]);
        u64::try_from((gone * 1_000_000 + rate - 1) / rate).unwrap()
    }

    /// How long etcd keeps a lease.
    fn lasts(&self) -> u64 {
        let rate = i128::from(1_000_000 + self.plan.rates[HOSTS]);
        u64::try_from(i128::from(self.plan.ttl) * 1_000 * 1_000_000 / rate).unwrap()
    }

    fn is_free(&self, now: u64) -> bool {
        self.owned.last().is_none_or(|owned| owned.expiry <= now)
    }

    fn is_held_by(&self, revision: u64, now: u64) -> bool {
        let last = self.owned.len().checked_sub(1);
        last == usize::try_from(revision).ok() && !self.is_free(now)
    }

    /// What etcd makes of a request to create the key, or to move it to a lease that ends at `expiry`, if it is as it is
    /// `known`: the key as it then is, and whether that was done.
    fn transact(&mut self, now: u64, expiry: u64, known: Option<Key>) -> (Option<Key>, bool) {
        let revision = self.owned.len() as u64;
        if self.is_free(now) {
            let creates = known.is_none() && expiry > now;
            if creates {
                self.owned.push(Ownership { expiry, moved: 0 });
                self.takeovers += 1;
            }
            return (creates.then_some(Key { revision, moved: 0 }), creates);
        }
        let compares = self.plan.compares;
        let owned = self.owned.last_mut().unwrap();
        let is = Key {
            revision: revision - 1,
            moved: owned.moved,
        };
        let same = known.is_some_and(|known| {
            known.revision == is.revision && (known.moved == is.moved || !compares)
        });
        if !same || expiry <= now {
            return (Some(is), false);
        }
        owned.expiry = expiry;
        owned.moved += 1;
        let moved = owned.moved;
        (Some(Key { moved, ..is }), true)
    }

    fn play(&mut self, until: u64) -> Result<(), String> {
        while let Some(Reverse((now, _, host, incarnation, event))) = self.queue.pop() {
            if now > until {
                break;
            }
            let who = event.who();
            let is_of_another = incarnation != self.hosts[host].incarnation;
            if who.is_some() && is_of_another && incarnation != u32::MAX {
                continue;
            }
            if let Some(who) = who {
                // Whoever is stopped acts as soon as it goes on.
                let free = self.acts_from(host, who, now);
                if free > now {
                    self.push(free, host, incarnation, event);
                    continue;
                }
                if self.stops_before(host, who, now) {
                    self.push(now, host, incarnation, event);
                    continue;
                }
            }
            self.happen(now, host, incarnation, event)?;
        }
        Ok(())
    }

    fn acts_from(&self, host: usize, who: Who, now: u64) -> u64 {
        let stopped = &self.hosts[host].stopped;
        let own = match who {
            Who::Host => 0,
            who => stopped[who as usize],
        };
        now.max(own).max(stopped[Who::Host as usize])
    }

    /// Whether the plan stops somebody at this step.
    fn stops_before(&mut self, host: usize, who: Who, now: u64) -> bool {
        if who == Who::Host {
            return false;
        }
        let at = &mut self.hosts[host];
        let step = &mut at.steps[who as usize];
        *step += 1;
        let step = *step;
        let is_guard = who == Who::Guard;
        let here = |stop: &&Stop| {
            stop.host == host && stop.at_guards_step == is_guard && stop.step == step
        };
        let Some(stop) = self.plan.stops.iter().find(here) else {
            return false;
        };
        let until = now + stop.time;
        // One freeze right after another is one.
        if stop.who == Who::Host && at.stopped[Who::Host as usize] < now {
            at.froze = now;
        }
        let stopped = &mut at.stopped[stop.who as usize];
        *stopped = until.max(*stopped);
        at.daemons_stops += u32::from(stop.who != Who::Guard);
        true
    }

    fn happen(
        &mut self,
        now: u64,
        host: usize,
        incarnation: u32,
        event: Event,
    ) -> Result<(), String> {
        let plan = self.plan;
        let clock = Self::clock(plan, host, now);
        match event {
            Event::Ask => {
                let asked = clock;
                let timeout = Event::Granted {
                    asked,
                    expiry: None,
                };
                let (comes, answers) = self.call(now, host, timeout);
                self.at(comes, host, Event::Grant { asked, answers });
            }
            Event::Grant { asked, answers } => {
                let expiry = Some(now + self.lasts());
                if let Some(at) = answers {
                    // Only who asked hears it.
                    self.push(at, host, incarnation, Event::Granted { asked, expiry });
                }
            }
            Event::Granted { asked, expiry } => match expiry {
                Some(expiry) => {
                    let timeout = Event::Answered {
                        asked,
                        answer: None,
                    };
                    let (comes, answers) = self.call(now, host, timeout);
                    let event = Event::Move {
                        asked,
                        expiry,
                        known: self.hosts[host].known,
                        answers,
                    };
                    self.at(comes, host, event);
                }
                None => self.fail(now, host),
            },
            Event::Move {
                asked,
                expiry,
                known,
                answers,
            } => {
                let answer = Some(self.transact(now, expiry, known));
                if let Some(at) = answers {
                    self.push(at, host, incarnation, Event::Answered { asked, answer });
                }
            }
            Event::Answered { asked, answer } => {
                if self.hosts[host].ends {
                    return Ok(());
                }
                let token = self.hosts[host].known.map(|known| known.revision);
                match answer {
                    Some((Some(found), true)) => self.extend(now, host, asked, found),
                    None => self.fail(now, host),
                    // Another host has it, or an earlier call of ours of which we did not hear.
                    Some(_) if token.is_none() => self.at(now + PAUSE, host, Event::Ask),
                    Some((Some(found), false)) if Some(found.revision) == token => {
                        self.hosts[host].known = Some(found);
                        self.fail(now, host);
                    }
                    Some(_) => return self.kill(now, host),
                }
            }
            Event::Tell { asked, left } => {
                let at = now + left * 1_000;
                let here = &mut self.hosts[host];
                here.watchdog = Some(at);
                here.told_late = Self::clock(plan, host, at) >= asked + plan.ttl;
                self.at(at, host, Event::Watchdog { at });
                self.after(now, host, Event::LookAgain { asked });
            }
            Event::LookAgain { asked } => {
                if clock >= end(plan, asked) {
                    return self.kill(now, host);
                }
                if !self.hosts[host].daemon_runs {
                    self.hosts[host].daemon_runs = true;
                    self.at(now, host, Event::Check);
                }
                let period = (plan.ttl - plan.stop) * 1_000 / 4;
                self.at(now + period, host, Event::Ask);
            }
            Event::Terminate => {
                self.hosts[host].ends = true;
                match self.hosts[host].run {
                    // It needs all of its time.
                    Some(run) => {
                        let run = run.number;
                        self.at(now + plan.stop * 1_000, host, Event::RunEnds { run });
                    }
                    None => self.give_back(now, host),
                }
            }
            Event::Delete { revision } => {
                if self.is_held_by(revision, now) {
                    self.owned.last_mut().unwrap().expiry = now;
                }
            }
            Event::Check => {
                let here = &mut self.hosts[host];
                if here.ends || here.run.is_some() {
                    return Ok(());
                }
                let file = here.file;
                let holds = here.lease.holds(|| clock, || file);
                if plan.obeys && !holds {
                    return self.kill(now, host);
                }
                let stops = here.daemons_stops;
                self.at(now + 1, host, Event::Spawn { stops });
            }
            Event::Spawn { stops } => self.spawn(now, host, stops)?,
            Event::Timer => {
                let here = &mut self.hosts[host];
                if here.run.is_some() && plan.obeys {
                    let file = here.file;
                    if here.lease.holds(|| clock, || file) {
                        let at = here.lease.until();
                        let at = self.when(host, at);
                        self.at(at, host, Event::Timer);
                    } else {
                        return self.kill(now, host);
                    }
                }
            }
            Event::RunEnds { run } => {
                if self.hosts[host].run.is_some_and(|it| it.number == run) {
                    self.run_ends(now, host)?;
                    if self.hosts[host].ends {
                        self.give_back(now, host);
                    } else {
                        self.at(now + plan.between, host, Event::Check);
                    }
                }
            }
            Event::Watchdog { at } => {
                if self.hosts[host].watchdog == Some(at) {
                    return self.kill(now, host);
                }
            }
            Event::KillAll => return self.kill(now, host),
        }
        Ok(())
    }

    /// A call to etcd: when it comes there, and when the answer comes, if the guard has not given up by then. etcd does
    /// all the same what it was asked for.
    fn call(&mut self, now: u64, host: usize, timeout: Event) -> (u64, Option<u64>) {
        let comes = now + self.delay();
        let answers = comes + self.delay();
        if answers <= now + CALL {
            return (comes, Some(answers));
        }
        self.at(now + CALL, host, timeout);
        (comes, None)
    }

    /// The key is ours until the lease that was `asked` for ends.
    fn extend(&mut self, now: u64, host: usize, asked: u64, found: Key) {
        let plan = self.plan;
        let clock = Self::clock(plan, host, now);
        let end = end(plan, asked);
        let here = &mut self.hosts[host];
        here.known = Some(found);
        here.good = asked;
        if end <= clock {
            self.after(now, host, Event::KillAll);
            return;
        }
        here.file = end;
        let left = end - clock;
        self.after(now, host, Event::Tell { asked, left });
    }

    /// etcd has not answered, or has said no.
    fn fail(&mut self, now: u64, host: usize) {
        let plan = self.plan;
        let here = &self.hosts[host];
        if here.known.is_none()
            || Self::clock(plan, host, now) + plan.stop + 2 < here.good + plan.ttl
        {
            self.at(now + PAUSE, host, Event::Ask);
        } else if !here.ends {
            self.at(now, host, Event::Terminate);
        }
    }

    fn spawn(&mut self, now: u64, host: usize, stops: u32) -> Result<(), String> {
        let here = &mut self.hosts[host];
        let token = here.known.unwrap().revision;
        let was_stopped = here.daemons_stops != stops;
        self.runs += 1;
        let number = self.runs;
        here.run = Some(Run { number, began: now });
        let until = here.lease.until();
        if !self.is_held_by(token, now) {
            if !was_stopped {
                return Err(format!("host {host} starts a run at {now} without the key"));
            }
            self.windows[BETWEEN_CHECK_AND_SPAWN] += 1;
        }
        let timer = self.when(host, until).max(now);
        self.at(timer, host, Event::Timer);
        self.at(now + self.plan.run, host, Event::RunEnds { run: number });
        Ok(())
    }

    /// A run is over. It must not have lived on beyond its host's ownership, unless the host was frozen all that time.
    fn run_ends(&mut self, now: u64, host: usize) -> Result<(), String> {
        let here = &mut self.hosts[host];
        let Some(run) = here.run.take() else {
            return Ok(());
        };
        let token = here.known.unwrap().revision;
        let ended = self.owned[usize::try_from(token).unwrap()].expiry;
        let was_frozen = here.stopped[Who::Host as usize] >= now && here.froze <= ended;
        // A start without the key has been counted.
        if ended >= now || was_frozen || run.began >= ended {
            return Ok(());
        }
        let is_stopped = here.stopped[Who::Daemon as usize] >= now;
        if is_stopped && here.told_late {
            self.windows[DAEMON_AND_GUARD_STOPPED] += 1;
            return Ok(());
        }
        Err(format!(
            "a run of host {host} lives until {now}, the key is free from {ended} on"
        ))
    }

    /// Process 1 kills all of a host's service, and starts it anew.
    fn kill(&mut self, now: u64, host: usize) -> Result<(), String> {
        self.run_ends(now, host)?;
        self.begin_anew(now + PAUSE, host);
        Ok(())
    }

    /// Nothing runs here any more.
    fn give_back(&mut self, now: u64, host: usize) {
        if let Some(Key { revision, .. }) = self.hosts[host].known {
            let delay = self.delay();
            self.at(now + delay, host, Event::Delete { revision });
        }
        self.begin_anew(now + PAUSE, host);
    }

    fn begin_anew(&mut self, at: u64, host: usize) {
        let here = &mut self.hosts[host];
        *here = Host {
            incarnation: here.incarnation + 1,
            steps: here.steps,
            stopped: [0, 0, here.stopped[Who::Host as usize]],
            froze: here.froze,
            ..Host::default()
        };
        self.at(at, host, Event::Ask);
    }
}

/// The end of a lease by the clock of who asked for it, as it is written into the file.
fn end(plan: &Plan, asked: u64) -> u64 {
    u64::try_from(i64::try_from(asked + plan.ttl).unwrap() - plan.margin).unwrap()
}

/// How long a message takes: mostly next to nothing.
fn delays() -> impl Strategy<Value = Vec<u64>> {
    let delay =
        prop_oneof![8 => 1_u64..20, 2 => 20_u64..900, 1 => 900_u64..2_500, 1 => 2_500_u64..60_000];
    proptest::collection::vec(delay, 7..60)
}

fn stops(longest: u64) -> impl Strategy<Value = Vec<Stop>> {
    let who = prop_oneof![Just(Who::Guard), Just(Who::Daemon), Just(Who::Host)];
    let stop = (0..HOSTS, who, any::<bool>(), 1_u32..60, 1..longest);
    let stop = stop.prop_map(|(host, who, at_guards_step, step, time)| Stop {
        host,
        who,
        at_guards_step,
        step,
        time,
    });
    proptest::collection::vec(stop, 0..8)
}

fn plans(drift: i64) -> impl Strategy<Value = Plan> {
    let times = (14_u64..60).prop_flat_map(|ttl| (Just(ttl), 2..=ttl - 12));
    let deed = prop_oneof![Just(Deed::StopInOrder), Just(Deed::KillGuard)];
    let deeds = proptest::collection::vec((0..HOSTS, 0_u64..200_000, deed), 0..4);
    let rate = -drift..=drift;
    let rates = [rate.clone(), rate.clone(), rate.clone(), rate];
    let offsets = [1_000_u64..90_000_000, 1_000..90_000_000, 1_000..90_000_000];
    let jobs = (1_u64..20_000, 200_u64..4_000);
    (times, rates, offsets, delays(), stops(120_000), deeds, jobs).prop_map(
        |((ttl, stop), rates, offsets, delays, stops, deeds, (run, between))| Plan {
            ttl,
            stop,
            margin: MARGIN,
            rates,
            offsets,
            delays,
            stops,
            deeds,
            run,
            between,
            obeys: true,
            compares: true,
        },
    )
}

/// What many histories came to.
#[derive(Debug, Default)]
struct Sum {
    runs: u64,
    takeovers: u64,
    windows: Windows,
}

/// Plays so many histories, each after `change`. The error is the first that went wrong, made smaller by so many tries.
fn play(
    cases: u32,
    shrink: u32,
    drift: i64,
    change: impl Fn(&mut Plan),
) -> Result<Sum, Box<TestError<Plan>>> {
    let sum = RefCell::new(Sum::default());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: shrink,
        ..Config::default()
    };
    let played = TestRunner::new(config).run(&plans(drift), |mut plan| {
        change(&mut plan);
        let mut world = World::new(&plan);
        world.play(250_000).map_err(TestCaseError::fail)?;
        let mut sum = sum.borrow_mut();
        sum.runs += world.runs;
        sum.takeovers += world.takeovers;
        for (all, these) in sum.windows.iter_mut().zip(world.windows) {
            *all += these;
        }
        Ok(())
    });
    played.map_err(Box::new)?;
    Ok(sum.into_inner())
}

fn cases() -> u32 {
    match std::env::var("SIMULATION").as_deref() {
        Ok("full") => 100_000,
        _ => 800,
    }
}

#[test]
fn no_two_hosts_hold_the_lane_whatever_is_late_lost_or_stopped() {
    let sum = play(cases(), 10_000, 500, |_| {}).unwrap_or_else(|error| panic!("{error}"));
    println!(
        "{} histories, {} runs, {} takeovers; a stop between the last look at the clock and the start let {} runs \
         begin too late; stops of daemon and guard together, where the guard tells the watchdog, let {} live too long",
        cases(),
        sum.runs,
        sum.takeovers,
        sum.windows[BETWEEN_CHECK_AND_SPAWN],
        sum.windows[DAEMON_AND_GUARD_STOPPED],
    );
    assert!(
        sum.runs > u64::from(cases()) && sum.takeovers > u64::from(cases()),
        "{sum:?}"
    );
    assert!(sum.windows[BETWEEN_CHECK_AND_SPAWN] > 0, "{sum:?}");
}

/// The model finds faults: each of these changes makes it fail.
#[test]
fn the_simulated_cluster_notices_what_would_not_hold() {
    type Change = (&'static str, i64, fn(&mut Plan));
    let changes: [Change; 4] = [
        ("a move that comes after a later one", 500, |plan| {
            plan.compares = false;
        }),
        ("a daemon that does not obey the file", 500, |plan| {
            plan.obeys = false
        }),
        ("an end that is counted too late", 500, |plan| {
            plan.margin = -1
        }),
        (
            "clocks that differ by more than the margin",
            200_000,
            |_| {},
        ),
    ];
    for (what, drift, change) in changes {
        let error = play(20_000, 0, drift, change).err().map(|error| *error);
        assert!(
            matches!(error, Some(TestError::Fail(..))),
            "not noticed: {what}"
        );
    }
}
