use super::*;
use crate::job::outcome::Cause;
use crate::mail::queue::Failure;
use crate::status::made::{Made, s};

#[test]
fn jobs_behind_a_stuck_run_are_unhealthy() {
    let mut made = Made::three();
    made.set(0, |settings| settings.stuckafter = s(300));
    assert_eq!(made.view(s(1)).health(), Ok("ok".to_string()));
    made.begins(0, s(5));
    assert_eq!(
        made.view(s(65)).health(),
        Ok("ok: slave_scanner runs for 1m00s".to_string())
    );
    let alone = "ok: slave_scanner runs for 5m00s".to_string();
    assert_eq!(
        made.view(s(305)).health(),
        Ok(alone),
        "stuck, but nobody waits"
    );
    assert_eq!(
        made.view(s(964)).health(),
        Err(
            "slave_scanner is stuck (pid 20417, for 15m59s, over 300 seconds) and 1 job waits, \
             queue_builder longest (1m04s)"
                .to_string()
        )
    );
    let two = made.view(s(7200)).health().unwrap_err();
    assert!(
        two.contains(" and 2 jobs wait, queue_builder longest (1h45m)"),
        "{two}"
    );
    made.ends(s(7300), 0, Cause::Exited);
    assert_eq!(made.view(s(7301)).health(), Ok("ok".to_string()));
}

#[test]
fn mail_that_has_failed_for_an_hour_is_unhealthy_until_one_is_taken() {
    let mut made = Made::three();
    let refused = || Failure::Exited(75, "queue full".to_string());
    made.mails(s(100), Some(refused()));
    let almost = s(3700) - Duration::from_nanos(1);
    assert!(made.view(almost).health().is_ok());
    // A later failure does not start the hour again.
    made.mails(s(3000), Some(refused()));
    let expected = "mail has been failing for 1h00m: sendmail exited with 75: queue full";
    assert_eq!(made.view(s(3700)).health(), Err(expected.to_string()));
    made.queue.start(made.t0 + s(4000)).unwrap();
    made.queue.finished(Ok(()), made.t0 + s(4000));
    assert_eq!(made.view(s(4000)).health(), Ok("ok".to_string()));
}

/// Makes every try to send the queued report fail until it is given up. Returns when that happens.
fn gives_up(made: &mut Made) -> Duration {
    let mut at = s(0);
    while let Some(due) = made.queue.next_due() {
        at = due - made.t0;
        made.queue.start(due).unwrap();
        let refused = Failure::Exited(75, "queue full".to_string());
        made.queue.finished(Err(refused), due);
    }
    at
}

#[test]
fn mail_that_was_given_up_is_unhealthy_for_an_hour_and_then_no_more() {
    let mut made = Made::three();
    made.mails(s(100), None);
    let given_up = gives_up(&mut made);
    assert_eq!(given_up, s(100 + 30 + 60 + 120 + 240 + 480 + 960));
    assert!(made.queue.is_empty());
    let expected = "mail was given up 4m00s ago: sendmail exited with 75: queue full";
    let later = given_up + s(240);
    assert_eq!(made.view(later).health(), Err(expected.to_string()));
    let almost = given_up + s(3600) - Duration::from_nanos(1);
    assert!(made.view(almost).health().is_err());
    // Nothing has been mailed since, for example because no recipients are left.
    let view = made.view(given_up + s(3600));
    assert_eq!(view.health(), Ok("ok".to_string()));
    assert_eq!(view.headline(), "Next is slave_scanner");
}

#[test]
fn mail_that_succeeds_does_not_make_good_what_was_given_up() {
    let mut made = Made::three();
    made.mails(s(100), None);
    let given_up = gives_up(&mut made);
    made.mails(given_up, None);
    made.queue.start(made.t0 + given_up).unwrap();
    made.queue.finished(Ok(()), made.t0 + given_up);
    let expected = "mail was given up 1m00s ago".to_string();
    assert_eq!(made.view(given_up + s(60)).health(), Err(expected));
    assert!(made.view(given_up + s(3600)).health().is_ok());
}

#[test]
fn a_new_message_after_one_that_was_given_up_has_an_hour_of_its_own() {
    let mut made = Made::three();
    made.mails(s(100), None);
    let given_up = gives_up(&mut made);
    let again = given_up + s(3000);
    made.mails(again, Some(Failure::Exited(75, String::new())));
    assert!(made.view(given_up + s(3600)).health().is_ok());
    let expected = "mail has been failing for 1h00m: sendmail exited with 75".to_string();
    assert_eq!(made.view(again + s(3600)).health(), Err(expected));
}

#[test]
fn a_refused_reload_is_unhealthy_until_the_next_good_one() {
    let mut made = Made::three();
    made.counters.last_reload = Some((false, made.at(s(60))));
    let expected = "the last reload was refused 2m00s ago; 'buildd-sequencer check' says why";
    assert_eq!(made.view(s(180)).health(), Err(expected.to_string()));
    made.counters.last_reload = Some((true, made.at(s(181))));
    assert!(made.view(s(182)).health().is_ok());
}
