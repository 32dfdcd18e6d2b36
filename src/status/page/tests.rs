use super::super::made::{Made, s};
use super::*;
use crate::job::outcome::Cause;
use crate::mail::queue::Failure;

/// The names of the jobs in the table, in its order, with the classes of their rows.
fn rows(page: &str) -> Vec<(&str, &str)> {
    let rows = page.split("<tr class=\"").skip(1);
    rows.map(|row| {
        let (class, rest) = row.split_once("\"><td>").unwrap();
        (class, rest.split_once("</td>").unwrap().0)
    })
    .collect()
}

#[test]
fn the_worst_is_on_top_and_the_rest_is_as_in_status() {
    let mut made = Made::new(&[
        ("calm", 5000),
        ("failing", 4000),
        ("held", 20),
        ("late", 30),
        ("stuck", 1),
        ("soon", 3000),
    ]);
    made.set(4, |settings| settings.stuckafter = s(60));
    made.runs(1, s(1), s(2), 3);
    made.pauses(2, s(3), 0);
    made.begins(4, s(10));
    let view = made.view(s(100));
    let page = page(&view);
    assert_eq!(
        rows(&page),
        [
            ("stuck", "stuck"),
            ("bad", "failing"),
            ("late", "late"),
            ("held", "held"),
            ("calm", "soon"),
            ("calm", "calm"),
        ]
    );
    assert!(
        page.contains("<p class=\"health not\">stuck is stuck (pid 20417"),
        "{page}"
    );
    assert!(
        page.contains("<dt>RUNNING</dt><dd>stuck, pid 20417, for 1m30s: STUCK"),
        "{page}"
    );
    assert!(page.contains("<td>exit 3</td>") && page.contains("<svg class=\"lane\""));
    assert!(!page.contains("more job"), "{page}");
}

#[test]
fn of_many_jobs_200_are_shown_and_the_rest_is_counted() {
    let names: Vec<String> = (0..201).map(|n| format!("job{n}")).collect();
    let jobs: Vec<(&str, u64)> = names.iter().map(|name| (&**name, 10_000)).collect();
    let mut made = Made::new(&jobs);
    // The last in order, and so shown only because it fails.
    made.set(200, |settings| settings.mindelay = s(20_000));
    made.runs(200, s(1), s(2), 1);
    let of_201 = page(&made.view(s(3)));
    assert_eq!(rows(&of_201).len(), 200);
    assert_eq!(rows(&of_201)[0], ("bad", "job200"));
    assert!(of_201.contains(">and 1 more job: buildd-sequencer status shows all<"));
    let of_200 = page(&Made::new(&jobs[..200]).view(s(3)));
    assert_eq!(rows(&of_200).len(), 200);
    assert!(!of_200.contains("more job"));
}

#[test]
fn no_word_of_other_programs_or_of_the_configuration_is_shown() {
    let mut made = Made::three();
    let words = Failure::Exited(75, "SECRET <b>".to_string());
    made.mails(s(1), Some(words));
    made.counters.last_reload = Some((false, made.at(s(50))));
    made.counters.faults = vec!["/etc/SECRET:3: x".into(), "y".into()];
    made.counters.fault_count = 2;
    // Mail has been failing for so long that the health check says so.
    let view = made.view(s(4000));
    let page = page(&view);
    assert!(
        page.contains("<dt>MAIL</dt><dd>1 queued; last error 1h06m ago<"),
        "{page}"
    );
    assert!(
        page.contains("<dt>RELOAD</dt><dd>refused 1h05m ago: 2 faults<"),
        "{page}"
    );
    assert!(page.contains("mail has been failing for 1h06m<"), "{page}");
    let json = super::super::json::json(&view, false, Reader::Anybody);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["reload"]["fault_count"], 2);
    assert!(parsed["reload"].get("faults").is_none());
    assert!(parsed["mail"].get("last_error").is_none());
    let health = view.health_for(Reader::Anybody);
    assert_eq!(health, Err("mail has been failing for 1h06m".to_string()));
    for text in [page, json] {
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn a_line_that_is_folded_in_a_terminal_is_one() {
    let names = ["a", "b", "c", "d"].map(|name| name.repeat(25));
    let jobs: Vec<(&str, u64)> = names.iter().map(|name| (&**name, 1000)).collect();
    let mut made = Made::new(&jobs);
    for job in 0..4 {
        let from = s(100 * job as u64);
        made.runs(job, from, from + s(90), 0);
    }
    let page = page(&made.view(s(400)));
    let line = page
        .lines()
        .find(|line| line.starts_with("<dt>BUSY"))
        .unwrap();
    assert!(
        names.iter().all(|name| line.contains(name.as_str())),
        "{line}"
    );
}

#[test]
fn nothing_foreign_becomes_markup() {
    let mut made = Made::three();
    made.not_listening = Some("<script>alert('&\"')</script>");
    made.begins(0, s(5));
    made.ends(s(6), 143, Cause::TimedOut(s(1)));
    made.config.name = Some("ppa".into());
    let mut view = made.view(s(7));
    view.host = "<i>\"&'";
    let file = std::path::PathBuf::from("/<u>\n&");
    view.file = &file;
    let page = page(&view);
    for sign in ["<i>", "<u>", "<script", "&\"", "\n&"] {
        assert!(!page.contains(sign), "{sign}: {page}");
    }
    assert!(
        page.contains("<h1>ppa on &lt;i&gt;&quot;&amp;'</h1>"),
        "{page}"
    );
    assert!(page.contains("read /&lt;u&gt;\\n&amp; "), "{page}");
}

#[test]
fn it_needs_nothing_from_elsewhere() {
    let mut made = Made::three();
    made.runs(0, s(5), s(6), 1);
    let text = page(&made.view(s(7)));
    assert!(!text.contains("<script"), "{text}");
    for word in text.split(" on").skip(1) {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        assert!(!rest.starts_with('='), "a handler: {word}");
    }
    for link in ["src=", "href=", "url(", "@import"] {
        for (at, _) in text.match_indices(link) {
            let target = text[at + link.len()..].trim_start_matches('"');
            let is_own = target.starts_with("data:") || target.starts_with("#wait");
            assert!(is_own, "{link}{}", &target[..40]);
        }
    }
    assert!(
        !text.contains(" style="),
        "the policy has only style elements in mind"
    );
}
