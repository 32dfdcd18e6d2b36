//! The lifecycle of a run, in made-up time.

use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn life(t0: Instant) -> Lifecycle {
    Lifecycle::new(t0, s(30), s(5))
}

fn nobody() -> Group {
    Group::Gone
}

fn members() -> Group {
    Group::InReach
}

fn strangers() -> Group {
    Group::OutOfReach
}

/// Expects that the run is to be told to end, and reports that this reached it.
#[track_caller]
fn is_told(run: &mut Lifecycle, now: Instant, how: Action) {
    assert_eq!(run.next(now, members), Some(how));
    run.signalled(Group::InReach);
}

/// Expects the same, and reports that the run may not be signalled.
#[track_caller]
fn refuses(run: &mut Lifecycle, now: Instant, how: Action) {
    assert_eq!(run.next(now, strangers), Some(how));
    run.signalled(Group::OutOfReach);
}

const LEAVE: Option<Action> = Some(Action::LeaveBehind);
const END: Option<Action> = Some(Action::End { pipes_kept: false });

#[test]
fn a_run_ends_when_its_process_is_reaped_and_both_pipes_are_at_end() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.pipe_closed();
    run.pipe_closed();
    assert_eq!(
        run.next(t0, nobody),
        None,
        "a run that closes its output early runs on"
    );
    run.reaped(Exit::Code(3), t0 + s(1));
    assert_eq!(run.next(t0 + s(1), nobody), END);
    assert_eq!(run.outcome().to_string(), "3");
}

#[test]
fn a_pipe_kept_open_holds_the_sequence_for_two_seconds_only() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.pipe_closed();
    run.reaped(Exit::Code(0), t0 + s(1));
    assert_eq!(run.next(t0 + s(2), nobody), None);
    assert_eq!(run.deadline(), Some(t0 + s(3)));
    assert_eq!(
        run.next(t0 + s(3), nobody),
        Some(Action::End { pipes_kept: true })
    );
}

#[test]
fn a_timeout_terminates_then_kills() {
    let t0 = Instant::now();
    let mut run = life(t0);
    assert_eq!(run.deadline(), Some(t0 + s(30)));
    assert_eq!(run.next(t0 + s(29), nobody), None);
    assert_eq!(run.next(t0 + s(30), nobody), Some(Action::Terminate));
    assert_eq!(run.deadline(), Some(t0 + s(35)));
    assert_eq!(run.next(t0 + s(34), nobody), None);
    assert_eq!(run.next(t0 + s(35), nobody), Some(Action::Kill));
    assert_eq!(run.deadline(), None, "the reap comes by itself");
    run.pipe_closed();
    run.pipe_closed();
    run.reaped(Exit::Signal(9), t0 + s(36));
    assert_eq!(run.next(t0 + s(36), nobody), END);
    assert_eq!(
        run.outcome().to_string(),
        "137 (timed out after 30 seconds)"
    );
}

#[test]
fn what_a_stopped_leader_leaves_has_the_rest_of_the_kill_delay() {
    let t0 = Instant::now();
    let mut run = life(t0);
    assert_eq!(run.next(t0 + s(30), nobody), Some(Action::Terminate));
    run.pipe_closed();
    run.pipe_closed();
    run.reaped(Exit::Signal(15), t0 + s(31));
    assert_eq!(run.next(t0 + s(31), members), None);
    assert_eq!(run.deadline(), Some(t0 + s(31) + GROUP_POLL));
    assert_eq!(run.next(t0 + s(35), members), Some(Action::Kill));
    assert_eq!(run.next(t0 + s(35) + GROUP_POLL, nobody), END);
}

#[test]
fn what_has_ended_before_any_signal_reached_it_was_not_stopped() {
    let t0 = Instant::now();
    for why in [Why::Operator, Why::Shutdown] {
        let mut run = life(t0);
        run.pipe_closed();
        run.pipe_closed();
        run.stop(why, t0 + s(1));
        run.reaped(Exit::Code(0), t0 + s(1));
        assert_eq!(run.next(t0 + s(1), || unreachable!()), END);
        assert_eq!(run.outcome().to_string(), "0", "{why:?}");
    }
}

#[test]
fn a_group_that_sigkill_does_not_empty_holds_nothing_up_for_long() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.pipe_closed();
    run.pipe_closed();
    run.next(t0 + s(30), nobody);
    run.reaped(Exit::Signal(15), t0 + s(31));
    assert_eq!(run.next(t0 + s(35), members), Some(Action::Kill));
    let over = t0 + s(35) + AFTER_KILL;
    for before in [t0 + s(35), over - Duration::from_millis(1)] {
        let next = run.next(before, members);
        assert_eq!(next, None, "a survivor may not run beside the next job");
    }
    assert_eq!(run.next(over, members), END);
}

#[test]
fn a_group_found_empty_is_never_asked_again() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.next(t0 + s(30), nobody);
    run.reaped(Exit::Code(0), t0 + s(31));
    assert_eq!(run.next(t0 + s(31), nobody), None, "a pipe is still open");
    assert_eq!(run.next(t0 + s(32), || unreachable!()), None);
    assert_eq!(
        run.next(t0 + s(33), || unreachable!()),
        Some(Action::End { pipes_kept: true })
    );
    assert_eq!(run.outcome().to_string(), "0 (timed out after 30 seconds)");
}

#[test]
fn the_first_reason_to_stop_stays_and_a_second_stop_does_not_prolong() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.stop(Why::Operator, t0 + s(1));
    is_told(&mut run, t0 + s(1), Action::Terminate);
    run.stop(Why::Shutdown, t0 + s(3));
    assert_eq!(run.next(t0 + s(3), nobody), None);
    assert_eq!(run.deadline(), Some(t0 + s(6)));
    assert_eq!(run.stopping(), Some(Why::Operator));
}

#[test]
fn a_forced_stop_kills_at_once_and_counts_as_a_failure() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.stop(Why::Shutdown, t0 + s(1));
    is_told(&mut run, t0 + s(1), Action::Terminate);
    run.kill(Why::Shutdown, t0 + s(2));
    is_told(&mut run, t0 + s(2), Action::Kill);
    run.reaped(Exit::Signal(9), t0 + s(2));
    assert_eq!(run.outcome().cause, Cause::Shutdown { forced: true });
}

#[test]
fn a_stop_that_takes_its_time_can_be_hurried_also_where_only_the_rest_of_the_group_is_left() {
    let t0 = Instant::now();
    let mut run = Lifecycle::new(t0, s(30), s(600));
    is_told(&mut run, t0 + s(30), Action::Terminate);
    run.kill(Why::Operator, t0 + s(31));
    assert!(!run.is_killed());
    is_told(&mut run, t0 + s(31), Action::Kill);
    assert!(run.is_killed());
    assert_eq!(run.stopping(), Some(Why::TimedOut));

    let mut run = Lifecycle::new(t0, s(30), s(600));
    is_told(&mut run, t0 + s(30), Action::Terminate);
    run.reaped(Exit::Signal(15), t0 + s(30));
    assert_eq!(run.next(t0 + s(31), members), None);
    run.kill(Why::Operator, t0 + s(31));
    is_told(&mut run, t0 + s(31), Action::Kill);
    assert_eq!(run.next(t0 + s(31), members), None, "SIGKILL is sent once");
}

#[test]
fn what_may_not_be_signalled_is_waited_for_and_killed_once_it_may() {
    let t0 = Instant::now();
    let mut run = life(t0);
    refuses(&mut run, t0 + s(30), Action::Terminate);
    assert_eq!(run.deadline(), Some(t0 + s(35)));
    refuses(&mut run, t0 + s(35), Action::Kill);
    assert!(!run.is_killed());
    assert_eq!(
        run.deadline(),
        Some(t0 + s(36)),
        "it is tried once a second"
    );
    assert_eq!(run.next(t0 + s(35), strangers), None);
    refuses(&mut run, t0 + s(36), Action::Kill);
    is_told(&mut run, t0 + s(37), Action::Kill);
    assert_eq!(run.deadline(), None, "the reap comes by itself");
    run.pipe_closed();
    run.pipe_closed();
    run.reaped(Exit::Signal(9), t0 + s(38));
    assert_eq!(run.next(t0 + s(38), nobody), END);
}

#[test]
fn what_may_not_be_signalled_and_ends_by_itself_has_still_timed_out_but_was_not_stopped() {
    let t0 = Instant::now();
    let mut run = life(t0);
    refuses(&mut run, t0 + s(30), Action::Terminate);
    run.reaped(Exit::Code(0), t0 + s(40));
    assert_eq!(run.outcome().to_string(), "0 (timed out after 30 seconds)");
    let mut run = life(t0);
    run.stop(Why::Shutdown, t0);
    refuses(&mut run, t0, Action::Terminate);
    run.reaped(Exit::Code(0), t0 + s(2));
    assert_eq!(run.outcome().to_string(), "0");
}

#[test]
fn an_operator_who_is_refused_changes_nothing() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.stop(Why::Operator, t0 + s(1));
    refuses(&mut run, t0 + s(1), Action::Terminate);
    assert_eq!(run.stopping(), None);
    assert_eq!(run.next(t0 + s(10), || unreachable!()), None);
    assert_eq!(run.deadline(), Some(t0 + s(30)));
    run.reaped(Exit::Code(0), t0 + s(11));
    assert_eq!(run.outcome().to_string(), "0");
    // The first operator's stop reached the run. A later one that does not changes nothing.
    let mut run = life(t0);
    run.stop(Why::Operator, t0 + s(1));
    is_told(&mut run, t0 + s(1), Action::Terminate);
    run.kill(Why::Operator, t0 + s(2));
    refuses(&mut run, t0 + s(2), Action::Kill);
    assert_eq!(run.stopping(), Some(Why::Operator));
}

#[test]
fn a_rest_of_the_group_that_may_not_be_signalled_is_asked_for_once_a_second_and_holds_the_sequence()
{
    let t0 = Instant::now();
    let mut run = life(t0);
    run.pipe_closed();
    run.pipe_closed();
    is_told(&mut run, t0 + s(30), Action::Terminate);
    run.reaped(Exit::Signal(15), t0 + s(31));
    assert_eq!(run.next(t0 + s(31), strangers), None);
    assert_eq!(run.deadline(), Some(t0 + s(32)));
    refuses(&mut run, t0 + s(35), Action::Kill);
    assert_eq!(run.next(t0 + s(35), strangers), None);
    assert_eq!(run.deadline(), Some(t0 + s(36)));
    refuses(&mut run, t0 + s(3600), Action::Kill);
    assert_eq!(run.next(t0 + s(3601), nobody), END);
}

#[test]
fn a_stop_leaves_behind_what_may_not_be_signalled_half_a_second_after_sigkill() {
    let t0 = Instant::now();
    let half = Duration::from_millis(500);
    for leader_is_reaped in [false, true] {
        let mut run = life(t0);
        run.stop(Why::Shutdown, t0 + s(1));
        if leader_is_reaped {
            is_told(&mut run, t0 + s(1), Action::Terminate);
            run.reaped(Exit::Signal(15), t0 + s(1));
        } else {
            refuses(&mut run, t0 + s(1), Action::Terminate);
        }
        refuses(&mut run, t0 + s(6), Action::Kill);
        assert_eq!(run.next(t0 + s(6), strangers), None);
        assert_eq!(run.deadline(), Some(t0 + s(6) + half));
        assert_eq!(run.next(t0 + s(6) + half, strangers), LEAVE);
    }
}

#[test]
fn a_stop_that_comes_long_after_sigkill_has_the_same_patience() {
    let t0 = Instant::now();
    let mut run = life(t0);
    refuses(&mut run, t0 + s(30), Action::Terminate);
    refuses(&mut run, t0 + s(35), Action::Kill);
    run.stop(Why::Shutdown, t0 + s(100));
    refuses(&mut run, t0 + s(100), Action::Kill);
    assert_eq!(run.next(t0 + s(100), strangers), None);
    let at = t0 + s(100) + Duration::from_millis(500);
    assert_eq!(run.next(at, strangers), LEAVE);
    assert_eq!(
        run.outcome().to_string(),
        "137 (timed out after 30 seconds)"
    );
}

#[test]
fn a_stop_leaves_behind_what_does_not_die_of_sigkill() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.stop(Why::Shutdown, t0);
    is_told(&mut run, t0, Action::Terminate);
    is_told(&mut run, t0 + s(5), Action::Kill);
    let at = t0 + s(5) + Duration::from_millis(750);
    assert_eq!(run.deadline(), Some(at));
    assert_eq!(run.next(t0 + s(5), nobody), None);
    assert_eq!(run.next(at, nobody), LEAVE);
    assert_eq!(run.outcome().to_string(), "137 (stopped at shutdown)");
}

#[test]
fn a_stop_leaves_pipes_half_a_second_and_the_outcome_as_it_was() {
    let t0 = Instant::now();
    let mut run = life(t0);
    run.reaped(Exit::Code(1), t0 + s(1));
    run.stop(Why::Shutdown, t0 + s(2));
    assert_eq!(run.deadline(), Some(t0 + s(2) + PIPE_GRACE_AT_STOP));
    assert_eq!(
        run.next(t0 + s(3), nobody),
        Some(Action::End { pipes_kept: true })
    );
    assert_eq!(run.outcome().to_string(), "1");
}
