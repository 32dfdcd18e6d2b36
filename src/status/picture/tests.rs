//! The picture of the lane, as text.

use super::*;
use crate::job::outcome::{Cause, Outcome};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// 2026-11-23T23:30:00Z
fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + s(1_795_476_600 + seconds)
}

fn outcome(code: i32, cause: Cause) -> Option<Brief> {
    Some(Brief::of(&Outcome { code, cause }))
}

fn ok() -> Option<Brief> {
    outcome(0, Cause::Exited)
}

fn bar(job: &str, began: u64, took: u64, late: u64, outcome: Option<Brief>) -> Bar<'_> {
    Bar {
        job,
        began: at(began),
        took: s(took),
        late: s(late),
        outcome,
    }
}

/// The picture of all that is known, from where the first was due.
fn svg<'a>(
    title: &'a str,
    bars: &'a [Bar<'a>],
    waits: impl IntoIterator<Item = Waits<'a>>,
    now: SystemTime,
) -> String {
    let waits: Vec<Waits<'_>> = waits.into_iter().collect();
    let scene = Scene {
        title,
        only: None,
        bars,
        lane: bars,
        from: first(bars.iter().copied(), waits.iter().copied()),
        now,
    };
    super::svg(&scene, waits)
}

/// Launchpad's two and a nightly clean-up, through a quarter of an hour.
fn three() -> Vec<Bar<'static>> {
    let mut bars = Vec::new();
    let mut time = 0;
    while time < 860 {
        let code = i32::from(time % 130 == 65);
        let took = 4 + time % 3;
        bars.push(bar(
            "slave_scanner",
            time,
            took,
            0,
            outcome(code, Cause::Exited),
        ));
        time += took;
        if time % 240 < 8 {
            bars.push(bar("queue_builder", time, 60, 3, ok()));
            time += 60;
            bars.push(bar("slave_scanner", time, 5, 55, ok()));
            time += 5;
        }
        if (420..432).contains(&time) {
            bars.push(bar("cleanup", time, 25, 1, outcome(137, Cause::Killed(9))));
            time += 25;
        }
        time += 5;
    }
    bars
}

/// One job has hung for an hour, until its time-out.
fn hung() -> (Vec<Bar<'static>>, Vec<Waits<'static>>) {
    let mut bars: Vec<Bar<'static>> = (0..30)
        .map(|n| bar("slave_scanner", n * 20, 6, 0, ok()))
        .collect();
    bars.push(bar(
        "sync_mirrors",
        600,
        3600,
        0,
        outcome(143, Cause::TimedOut(s(3600))),
    ));
    bars.push(bar("slave_scanner", 4200, 6, 3580, ok()));
    bars.push(bar(
        "queue_builder",
        4206,
        40,
        3306,
        outcome(3, Cause::Exited),
    ));
    bars.push(bar("expire_cookies", 4246, 200, 1000, None));
    let waits = vec![Waits {
        job: "slave_scanner",
        since: at(4220),
    }];
    (bars, waits)
}

fn many(names: &[String]) -> Vec<Bar<'_>> {
    let mut bars = Vec::new();
    let mut time = 0;
    for round in 0..40_u64 {
        for (n, name) in names.iter().enumerate() {
            let n = n as u64;
            if (round + n) % (1 + n / 5) != 0 {
                continue;
            }
            let took = 1 + (n * 7 + round * 3) % 11;
            let ended = match (n + round) % 23 {
                7 => outcome(2, Cause::Exited),
                11 => outcome(137, Cause::Killed(9)),
                _ => ok(),
            };
            bars.push(bar(name, time, took, (n * round) % 17, ended));
            time += took;
        }
    }
    bars
}

#[test]
fn each_job_has_a_row_the_busiest_first_and_the_rest_are_summed_up() {
    let names: Vec<String> = (0..60).map(|n| format!("job_number_{n}")).collect();
    let bars = many(&names);
    let picture = svg("build1", &bars, [], at(3000));
    assert_eq!(picture.matches("class=\"stripe\"").count(), ROWS / 2);
    assert!(picture.contains(">21 more jobs<"));
    let (bars, waits) = hung();
    let picture = svg("build1", &bars, waits.clone(), at(4446));
    let place = |name: &str| picture.find(&format!(">{name}<")).unwrap();
    assert!(place("sync_mirrors") < place("expire_cookies"));
    assert!(place("expire_cookies") < place("slave_scanner"));
}

#[test]
fn runs_of_several_jobs_that_are_drawn_as_one_are_not_told_of_as_one_jobs() {
    let names: Vec<String> = (0..42).map(|n| format!("job{n}")).collect();
    let bars: Vec<Bar<'_>> = (0..42_u64)
        .map(|n| {
            // The first three are the least busy and so share the last row.
            let (began, took) = if n < 3 { (n, 1) } else { (n * 100, 50) };
            bar(&names[n as usize], began, took, 0, ok())
        })
        .collect();
    let picture = svg("build1", &bars, [], at(5000));
    assert!(picture.contains(">3 more jobs<"), "{picture}");
    let title = "<title>several jobs: 3 runs ok, 23:30:00 to 23:30:03 UTC, 3.0s together</title>";
    assert!(picture.contains(title), "{picture}");
}

#[test]
fn outcomes_differ_in_class_and_in_shape() {
    let bars = [
        bar("a", 0, 10, 0, ok()),
        bar("a", 20, 10, 0, outcome(3, Cause::Exited)),
        bar("a", 40, 10, 0, outcome(137, Cause::Killed(9))),
        bar(
            "a",
            60,
            10,
            0,
            outcome(143, Cause::Shutdown { forced: false }),
        ),
        bar("a", 80, 10, 5, None),
    ];
    let picture = svg("t", &bars, [], at(90));
    for (title, class) in [
        ("a: ok, began 2026-11-23T23:30:00Z, took 10.0s", "ok"),
        ("a: exit 3, began", "bad"),
        ("a: SIGKILL, began", "dead"),
        ("a: shutdown, began", "cut"),
        ("a: running since 2026-11-23T23:31:20Z, for 10.0s", "run"),
    ] {
        let line = picture.lines().find(|line| line.contains(title)).unwrap();
        assert!(line.contains(&format!("class=\"{class}\"")), "{line}");
    }
    // One in the legend, one at the bar.
    assert_eq!(picture.matches("class=\"mark\"").count(), 2);
    assert_eq!(picture.matches("class=\"tip\"").count(), 2);
    assert!(picture.contains("<title>a waited 5.0s"));
}

#[test]
fn who_waited_is_hatched_and_who_was_in_the_way_is_named() {
    let (bars, waits) = hung();
    let picture = svg("build1", &bars, waits.clone(), at(4446));
    for title in [
        "slave_scanner waited 59m40s behind sync_mirrors",
        "queue_builder waited 55m06s behind sync_mirrors",
        "expire_cookies waited 16m40s behind sync_mirrors",
        "slave_scanner waits for 3m46s",
    ] {
        assert!(
            picture.contains(&format!("<title>{title}</title>")),
            "{title}"
        );
    }
}

#[test]
fn however_many_wait_those_without_a_row_share_one() {
    let names: Vec<String> = (0..5_000).map(|n| format!("job{n}")).collect();
    let waits = names.iter().enumerate().map(|(n, job)| Waits {
        job,
        since: at(100 - (n % 100) as u64),
    });
    let bars = [bar("hangs", 0, 200, 0, None), bar("job4999", 0, 0, 0, ok())];
    let picture = svg("t", &bars, waits.clone(), at(200));
    assert!(picture.contains(">4962 more jobs<"), "{picture}");
    let title = "<title>4962 jobs wait, job99 longest, for 3m19s</title>";
    assert!(picture.contains(title), "{picture}");
    assert!(picture.contains("<title>job0 waits for 1m40s</title>"));
    // One in the legend, one a row but for who hangs.
    assert_eq!(picture.matches("class=\"wait\"").count(), ROWS);
    let few = svg("t", &bars, waits.take(39), at(200));
    assert!(few.contains(">2 more jobs<"), "{few}");
}

#[test]
fn a_name_in_wide_letters_stays_beside_its_row() {
    let of = |name: &str| svg("t", &[bar(name, 0, 9, 0, ok())], [], at(60));
    let name = "UPDATE_PKG_CACHE_FOR_PPAS";
    let squeezed = "textLength=\"172\" lengthAdjust=\"spacingAndGlyphs\">UPDATE_PKG";
    assert!(of(name).contains(squeezed));
    assert!(!of(&name.to_lowercase()).contains("textLength"));
}

#[test]
fn marks_of_the_axis_are_round_and_few() {
    for (window, step) in [
        (60, 10),
        (900, 120),
        (4446, 600),
        (86_400, 14_400),
        (90 * 86_400, 1_209_600),
    ] {
        let axis = Axis {
            from: at(0),
            to: at(window),
        };
        let least = window / 8;
        assert!(
            axis.step() > least && axis.step() <= step.max(least * 3),
            "{window}: {}",
            axis.step()
        );
    }
    let picture = svg("t", &[bar("a", 0, 900, 0, ok())], [], at(900));
    for time in ["23:30", "23:32", "23:44"] {
        assert!(picture.contains(&format!(">{time}</text>")), "{time}");
    }
    assert!(picture.contains(">2026-11-23</text>"));
}

#[test]
fn a_picture_stays_small_whatever_has_run() {
    let names: Vec<String> = (0..500)
        .map(|n| format!("a_job_with_a_rather_long_name_{n}"))
        .collect();
    let bars: Vec<Bar<'_>> = (0..20_000_u64)
        .map(|n| {
            let code = i32::from(n % 3 == 0);
            bar(
                &names[(n % 500) as usize],
                n * 2,
                1,
                n % 5,
                outcome(code, Cause::Exited),
            )
        })
        .collect();
    let picture = svg("build1", &bars, [], at(40_000));
    assert!(picture.len() < 200_000, "{}", picture.len());
}

#[test]
fn a_picture_stays_small_however_long_names_are() {
    let long = "<a name that is as long as nobody would have it, and longer> & ".repeat(20);
    let names: Vec<String> = (0..45).map(|n| format!("{n}{long}")).collect();
    let bars: Vec<Bar<'_>> = (0..1000_u64)
        .map(|n| bar(&names[(n % 45) as usize], n * 4, 2, 400, ok()))
        .collect();
    let picture = svg("build1", &bars, [], at(4000));
    assert!(picture.len() < MOST_BYTES, "{}", picture.len());
    assert!(picture.contains(" behind "));
}

#[test]
fn where_little_of_the_wait_is_known_nobody_is_said_to_have_been_in_the_way() {
    let bars = [bar("b", 90, 10, 0, ok()), bar("a", 100, 5, 100, ok())];
    let picture = svg("t", &bars, [], at(200));
    assert!(
        picture.contains("<title>a waited 1m40s</title>"),
        "{picture}"
    );
    let bars = [bar("b", 40, 60, 0, ok()), bar("a", 100, 5, 100, ok())];
    assert!(svg("t", &bars, [], at(200)).contains("a waited 1m40s behind b<"));
}

#[test]
fn forty_jobs_have_a_row_each() {
    let names: Vec<String> = (0..40).map(|n| format!("job_number_{n}")).collect();
    let picture = svg("build1", &many(&names), [], at(3000));
    assert!(!picture.contains("more jobs"));
    assert!(
        names
            .iter()
            .all(|name| picture.contains(&format!(">{name}<")))
    );
}

#[test]
fn what_is_short_is_seen_and_what_failed_lies_on_top() {
    let bars = [
        bar("a", 0, 0, 0, outcome(3, Cause::Exited)),
        bar("a", 1, 16, 0, ok()),
        bar("b", 900, 1, 0, ok()),
    ];
    let picture = svg("t", &bars, [], at(1000));
    let place = |text: &str| picture.rfind(text).unwrap();
    assert!(place("class=\"bad\"") > picture.find("a: ok").unwrap());
    let failed = picture
        .lines()
        .find(|line| line.contains("a: exit 3"))
        .unwrap();
    assert!(failed.contains("width=\"2\" height=\"16\""), "{failed}");
    assert!(
        picture.contains(">2%<") && picture.contains(">&lt;1%<"),
        "{picture}"
    );
    assert!(picture.contains(">2% of 16m40s busy<"));
    assert_eq!(picture.matches(">2026-11-23<").count(), 1);
}

#[test]
fn the_axis_begins_where_the_first_wait_does_and_is_a_minute_long_at_least() {
    let of = |began, took, late, now| svg("t", &[bar("a", began, took, late, ok())], [], at(now));
    assert!(of(0, 5, 0, 5).contains(" of 1m00s busy<"));
    assert!(of(100, 5, 100, 200).contains(" of 3m20s busy<"));
}

#[test]
fn a_clock_that_was_set_back_makes_nobody_busier_than_always() {
    let bars = [bar("a", 0, 100, 0, ok()), bar("a", 0, 100, 0, ok())];
    assert!(svg("t", &bars, [], at(100)).contains(">100%<"));
}

#[test]
fn a_job_does_not_wait_behind_itself() {
    let bars = [bar("a", 0, 30, 0, ok()), bar("a", 35, 5, 20, ok())];
    let picture = svg("t", &bars, [], at(60));
    assert!(
        picture.contains("<title>a waited 20.0s</title>"),
        "{picture}"
    );
}

#[test]
fn only_a_name_that_has_no_room_is_shortened() {
    let name = "abcdefghijklmnopqrstuvwxyz";
    assert_eq!(shortened(&name[..25], NAME), &name[..25]);
    assert_eq!(shortened(name, NAME), format!("{}\u{2026}", &name[..24]));
}

#[test]
fn nothing_known_is_a_picture_too() {
    let picture = svg("build1", &[], [], at(0));
    assert!(picture.contains("no run is known yet"));
    assert!(picture.ends_with("</svg>\n"));
}

#[test]
fn text_cannot_leave_its_place() {
    let picture = svg("<b>&\"", &[], [], at(0));
    assert!(picture.contains("&lt;b&gt;&amp;&quot;"));
    assert_eq!(escaped("a\u{0}\n<"), "a\u{fffd}\u{fffd}&lt;");
}

/// For who looks at them: `PICTURES=DIRECTORY cargo test pictures_to_look_at`.
#[test]
fn pictures_to_look_at() {
    let Some(directory) = std::env::var_os("PICTURES") else {
        return;
    };
    let write = |name: &str, picture: String| {
        std::fs::write(std::path::Path::new(&directory).join(name), picture).unwrap();
    };
    write("three.svg", svg("build1", &three(), [], at(880)));
    let (bars, waits) = hung();
    write("hung.svg", svg("build1", &bars, waits.clone(), at(4446)));
    let names: Vec<String> = (0..40).map(|n| format!("job_number_{n}")).collect();
    let bars = many(&names);
    let end = bars.last().map_or(at(0), |bar| bar.began + bar.took);
    write("many.svg", svg("build1", &bars, [], end));
}
