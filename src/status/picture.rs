//! The lane as a picture: a row a job, a bar a run on one time axis, waiting hatched before it, so that it is seen who
//! made whom wait. SVG 1.1 that stands alone or in a page, in light and dark, without script. Pure.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::job::outcome::{Brief, Verdict};
use crate::order::sorted;
use crate::text::{Utc, brief, precise};

/// Rows that have a job's name; the rest are summed up in one more.
const ROWS: usize = 40;
/// Bars at most: each takes some 170 bytes, and the picture has to stay below 200 kB.
const BARS: usize = 800;
/// Characters of a name that fit beside its row.
const NAME: usize = 25;
/// Where the bars begin, how wide they can be, how high a row is, and what stands above the first.
const LEFT: Pixels = Pixels::whole(230);
const WIDTH: Pixels = Pixels::whole(700);
const ROW: Pixels = Pixels::whole(24);
const TOP: Pixels = Pixels::whole(64);
/// The least width of a bar: what is narrower is not seen.
const LEAST: Pixels = Pixels::whole(2);
/// The least width of a wait: less shows nothing of its hatching.
const LEAST_WAIT: Pixels = Pixels::whole(5);
/// A picture is of this long at least, so that a single short run does not fill it.
const LEAST_WINDOW: Duration = Duration::from_secs(60);

/// A length or place in tenths of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pixels(i64);

impl Pixels {
    const fn whole(pixels: i64) -> Pixels {
        Pixels(pixels * 10)
    }

    /// So many pixels further.
    fn and(self, pixels: i64) -> Pixels {
        Pixels(self.0 + pixels * 10)
    }
}

impl Add for Pixels {
    type Output = Pixels;

    fn add(self, more: Pixels) -> Pixels {
        Pixels(self.0 + more.0)
    }
}

impl Sub for Pixels {
    type Output = Pixels;

    fn sub(self, less: Pixels) -> Pixels {
        Pixels(self.0 - less.0)
    }
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / 10)?;
        match self.0 % 10 {
            0 => Ok(()),
            tenths => write!(f, ".{tenths}"),
        }
    }
}

/// A run, as it is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Bar<'a> {
    /// Its job.
    pub job: &'a str,
    /// When it began.
    pub began: SystemTime,
    /// How long it took, or has taken up to now.
    pub took: Duration,
    /// How long it waited for its turn.
    pub late: Duration,
    /// How it ended; `None` while it runs.
    pub outcome: Option<Brief>,
}

/// A job that is due and waits.
#[derive(Debug, Clone, Copy)]
pub struct Waits<'a> {
    /// The job.
    pub job: &'a str,
    /// Since when.
    pub since: SystemTime,
}

/// What a bar looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Ok,
    Interrupted,
    Running,
    Failed,
    /// By a signal, a time-out or an operator.
    Killed,
}

impl Look {
    const ALL: [(Look, &'static str); 5] = [
        (Look::Ok, "ok"),
        (Look::Failed, "failed"),
        (Look::Killed, "killed or timed out"),
        (Look::Running, "running"),
        (Look::Interrupted, "interrupted"),
    ];

    fn of(outcome: Option<Brief>) -> Look {
        let Some(outcome) = outcome else {
            return Look::Running;
        };
        match outcome.verdict() {
            Verdict::Success => Look::Ok,
            Verdict::Neither => Look::Interrupted,
            Verdict::Failure if outcome.is_failed_exit() => Look::Failed,
            Verdict::Failure => Look::Killed,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Look::Ok => "ok",
            Look::Failed => "bad",
            Look::Killed => "dead",
            Look::Running => "run",
            Look::Interrupted => "cut",
        }
    }
}

/// Colours stand twice, without variables, which many viewers of SVG do not know.
const STYLE: &str = "\
.lane{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
.lane text{fill:#1f2328}.lane .soft{fill:#59636e}.lane .h{font-size:15px;font-weight:600}.lane .end{text-anchor:end}\
.lane .mid{text-anchor:middle}.lane .paper{fill:#fff}.lane .stripe{fill:#f6f8fa}.lane .grid{stroke:#d8dee4}\
.lane .ok{fill:#2f81c9}.lane .bad{fill:#cf222e}.lane .dead{fill:#bc6c00}.lane .run{fill:#8250df}\
.lane .cut{fill:none;stroke:#2f81c9}.lane .wait{fill:url(#wait)}.lane .hatch{stroke:#8c959f;stroke-width:1.5}\
.lane .mark{stroke:#cf222e;stroke-width:2;fill:none}.lane .tip{fill:#bc6c00}.lane .now{stroke:#8250df;stroke-dasharray:2 3}\
@media (prefers-color-scheme:dark){.lane text{fill:#e6edf3}.lane .soft{fill:#9198a1}.lane .paper{fill:#0d1117}\
.lane .stripe{fill:#161b22}.lane .grid{stroke:#30363d}.lane .ok{fill:#58a6ff}.lane .bad{fill:#ff7b72}.lane .dead{fill:#e3a008}\
.lane .run{fill:#bc8cff}.lane .cut{stroke:#58a6ff}.lane .hatch{stroke:#7d8590}.lane .mark{stroke:#ff7b72}\
.lane .tip{fill:#e3a008}.lane .now{stroke:#bc8cff}}";

/// The picture of these runs, oldest first, and of the jobs that wait at `now`. `title` says whose lane it is.
pub fn svg(title: &str, bars: &[Bar<'_>], waits: &[Waits<'_>], now: SystemTime) -> String {
    let axis = Axis::of(bars, waits, now);
    let rows = rows(bars, waits, &axis);
    let bottom = top_of(rows.len().max(1));
    let (width, height) = ((LEFT + WIDTH).and(24), bottom.and(44));
    let mut text = format!(
        "<svg class=\"lane\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{0}\"><style>{STYLE}</style>\
         <defs><pattern id=\"wait\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <path class=\"hatch\" d=\"M0 0V6\"/></pattern></defs>\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n<text class=\"h\" x=\"12\" y=\"24\">{0}</text>\n",
        escaped(title)
    );
    let busy = rows.iter().map(|row| row.busy).sum();
    let _ = writeln!(
        text,
        "<text class=\"soft end\" x=\"{}\" y=\"24\">{} of {} busy</text>",
        LEFT + WIDTH,
        percent(busy, &axis),
        brief(axis.window())
    );
    legend(&mut text);
    for number in (0..rows.len()).step_by(2) {
        let (y, width) = (top_of(number), (LEFT + WIDTH).and(12));
        let _ = writeln!(
            text,
            "<rect class=\"stripe\" x=\"6\" y=\"{y}\" width=\"{width}\" height=\"{ROW}\"/>"
        );
    }
    axis.draw(&mut text, bottom);
    if rows.is_empty() {
        let (x, y) = (LEFT + Pixels(WIDTH.0 / 2), TOP.and(16));
        let _ = writeln!(
            text,
            "<text class=\"soft mid\" x=\"{x}\" y=\"{y}\">no run is known yet</text>"
        );
    }
    let pixels = fitting(&rows, &axis);
    for (number, row) in rows.iter().enumerate() {
        row.draw(&mut text, top_of(number), &axis, pixels, bars);
    }
    let x = axis.x(now);
    let _ = writeln!(
        text,
        "<path class=\"now\" d=\"M{x} {TOP}V{bottom}\"/></svg>"
    );
    text
}

/// Where the row of this number begins.
fn top_of(number: usize) -> Pixels {
    Pixels(TOP.0 + ROW.0 * i64::try_from(number).unwrap_or(0))
}

/// Which moment is where.
struct Axis {
    from: SystemTime,
    to: SystemTime,
}

impl Axis {
    fn of(bars: &[Bar<'_>], waits: &[Waits<'_>], now: SystemTime) -> Axis {
        let begins = bars.iter().map(|bar| before(bar.began, bar.late));
        let first = begins.chain(waits.iter().map(|w| w.since)).min();
        let latest = before(now, LEAST_WINDOW);
        Axis {
            from: first.map_or(latest, |first| first.min(latest)),
            to: now,
        }
    }

    fn window(&self) -> Duration {
        self.to.duration_since(self.from).unwrap_or(LEAST_WINDOW)
    }

    /// The place of a moment, in pixels; one beyond the picture is at its edge.
    fn x(&self, at: SystemTime) -> Pixels {
        let since = at.duration_since(self.from).unwrap_or_default();
        let part = self.part(since, WIDTH.0.unsigned_abs());
        LEFT + Pixels(i64::try_from(part).unwrap_or(0)).min(WIDTH)
    }

    /// How many parts of the whole time, of which there are `parts`, this time is.
    fn part(&self, time: Duration, parts: u64) -> u64 {
        let whole = milliseconds(self.window()).max(1);
        (milliseconds(time).saturating_mul(parts) + whole / 2) / whole
    }

    /// Seconds between two marks, a round number of them, so that there are not more than eight.
    fn step(&self) -> u64 {
        const STEPS: [u64; 24] = [
            1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600,
            43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000,
        ];
        let least = self.window().as_secs() / 8;
        let step = STEPS.into_iter().find(|step| *step > least);
        step.unwrap_or(least.max(1))
    }

    fn draw(&self, text: &mut String, bottom: Pixels) {
        let step = self.step();
        let unix = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut mark = unix(self.from).div_ceil(step) * step;
        let (mut last_day, y) = (None, bottom.and(16));
        while mark <= unix(self.to) {
            let at = UNIX_EPOCH + Duration::from_secs(mark);
            let (x, utc) = (self.x(at), Utc::from(at));
            let _ = write!(text, "<path class=\"grid\" d=\"M{x} {TOP}V{bottom}\"/>");
            let time = clock(utc, step);
            let _ = write!(
                text,
                "<text class=\"soft mid\" x=\"{x}\" y=\"{y}\">{time}</text>"
            );
            let day = (utc.year, utc.month, utc.day);
            if last_day != Some(day) {
                last_day = Some(day);
                let date = format!("{:04}-{:02}-{:02}", day.0, day.1, day.2);
                let _ = write!(
                    text,
                    "<text class=\"soft mid\" x=\"{x}\" y=\"{}\">{date}</text>",
                    y.and(15)
                );
            }
            mark += step;
        }
        let _ = writeln!(text, "<text class=\"soft\" x=\"12\" y=\"{y}\">UTC</text>");
    }
}

fn clock(utc: Utc, step: u64) -> String {
    let minutes = format!("{:02}:{:02}", utc.hour, utc.minute);
    if step < 60 {
        format!("{minutes}:{:02}", utc.second)
    } else {
        minutes
    }
}

/// One line of the picture.
struct Row<'a> {
    name: String,
    /// Time that its runs took within the picture.
    busy: Duration,
    bars: Vec<&'a Bar<'a>>,
    waits: Vec<&'a Waits<'a>>,
}

/// The busiest job first; what has no row of its own is in the last one.
fn rows<'a>(bars: &'a [Bar<'a>], waits: &'a [Waits<'a>], axis: &Axis) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut place = |rows: &mut Vec<Row<'a>>, job: &'a str| {
        *places.entry(job).or_insert_with(|| {
            let name = job.to_string();
            let (busy, bars, waits) = (Duration::ZERO, Vec::new(), Vec::new());
            rows.push(Row {
                name,
                busy,
                bars,
                waits,
            });
            rows.len() - 1
        })
    };
    for bar in bars {
        let place = place(&mut rows, bar.job);
        rows[place].busy += bar.took.min(axis.window());
        rows[place].bars.push(bar);
    }
    for wait in waits {
        let place = place(&mut rows, wait.job);
        rows[place].waits.push(wait);
    }
    let mut rows = sorted(rows, &|a, b| {
        b.busy.cmp(&a.busy).then_with(|| a.name.cmp(&b.name))
    });
    if rows.len() > ROWS {
        let rest = rows.split_off(ROWS - 1);
        let mut sum = Row {
            name: format!("{} more jobs", rest.len()),
            busy: rest.iter().map(|row| row.busy).sum(),
            bars: rest
                .iter()
                .flat_map(|row| row.bars.iter().copied())
                .collect(),
            waits: rest
                .iter()
                .flat_map(|row| row.waits.iter().copied())
                .collect(),
        };
        sum.bars = sorted(sum.bars, &|a, b| a.began.cmp(&b.began));
        rows.push(sum);
    }
    rows
}

/// Runs of one look that stand so close together that they are drawn as one.
struct Group<'a> {
    look: Look,
    bars: Vec<&'a Bar<'a>>,
    from: Pixels,
    to: Pixels,
}

/// The least gap, in pixels, with which the whole picture keeps to its number of bars.
fn fitting(rows: &[Row<'_>], axis: &Axis) -> Pixels {
    let mut gap = Pixels::whole(1);
    while gap < WIDTH {
        let bars: usize = rows.iter().map(|row| row.groups(axis, gap).len()).sum();
        if bars <= BARS {
            break;
        }
        gap.0 *= 2;
    }
    gap
}

impl<'a> Row<'a> {
    fn groups(&self, axis: &Axis, gap: Pixels) -> Vec<Group<'a>> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        for bar in &self.bars {
            let look = Look::of(bar.outcome);
            let from = axis.x(bar.began);
            let to = axis.x(bar.began + bar.took).max(from + LEAST);
            // The last one of the same look; one of another look in between is drawn over it.
            let last = groups.iter_mut().rev().find(|group| group.look == look);
            match last.filter(|last| from - last.to < gap && look != Look::Running) {
                Some(last) => {
                    last.to = last.to.max(to);
                    last.bars.push(bar);
                }
                None => groups.push(Group {
                    look,
                    bars: vec![bar],
                    from,
                    to,
                }),
            }
        }
        // What matters most is drawn last, and so lies on top.
        sorted(groups, &|a, b| a.look.cmp(&b.look))
    }

    fn draw(&self, text: &mut String, y: Pixels, axis: &Axis, gap: Pixels, all: &[Bar<'_>]) {
        let (name, base) = (shortened(&self.name), y.and(16));
        let full = if name == self.name {
            String::new()
        } else {
            format!("<title>{}</title>", escaped(&self.name))
        };
        let _ = writeln!(
            text,
            "<text x=\"12\" y=\"{base}\">{}{full}</text><text class=\"soft end\" x=\"{}\" y=\"{base}\">{}</text>",
            escaped(&name),
            LEFT.and(-8),
            percent(self.busy, axis)
        );
        for wait in &self.waits {
            let (from, to) = (axis.x(wait.since), axis.x(axis.to));
            let waited = axis.to.duration_since(wait.since).unwrap_or_default();
            let title = format!("{} waits for {}", wait.job, brief(waited));
            hatched(text, y, from, to, &title);
        }
        let groups = self.groups(axis, gap);
        for group in &groups {
            group.draw_waiting(text, y, axis, all);
        }
        for group in &groups {
            group.draw(text, y);
        }
    }
}

impl Group<'_> {
    /// How long its runs had waited, hatched up to where they begin.
    fn draw_waiting(&self, text: &mut String, y: Pixels, axis: &Axis, all: &[Bar<'_>]) {
        let mut drawn = LEFT;
        for bar in &self.bars {
            let to = axis.x(bar.began);
            let from = axis.x(before(bar.began, bar.late)).max(drawn);
            if to - from < LEAST_WAIT {
                continue;
            }
            drawn = to;
            let behind = behind(bar, all).map(|job| format!(" behind {job}"));
            let title = format!(
                "{} waited {}{}",
                bar.job,
                precise(bar.late),
                behind.unwrap_or_default()
            );
            hatched(text, y, from, to, &title);
        }
    }

    fn draw(&self, text: &mut String, y: Pixels) {
        let (x, width) = (self.from, self.to - self.from);
        // Told apart without colour too: what went well is a low bar, what did not a high one with a mark.
        let (top, height) = match self.look {
            Look::Ok | Look::Interrupted => (y.and(8), 9),
            _ => (y.and(4), 16),
        };
        let class = self.look.class();
        let title = escaped(&self.title());
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"{width}\" height=\"{height}\"><title>{title}</title></rect>{}",
            mark(self.look, self.to, y)
        );
    }

    fn title(&self) -> String {
        let [first, .., last] = self.bars.as_slice() else {
            return self.bars.first().map_or_else(String::new, |bar| title(bar));
        };
        let took: Duration = self.bars.iter().map(|bar| bar.took).sum();
        let (from, to) = (Utc::from(first.began), Utc::from(last.began + last.took));
        let look = Look::ALL.iter().find(|(look, _)| *look == self.look);
        // The last row can be of many jobs.
        let is_of_one = self.bars.iter().all(|bar| bar.job == first.job);
        format!(
            "{}: {} runs {}, {} to {} UTC, {} together",
            if is_of_one { first.job } else { "several jobs" },
            self.bars.len(),
            look.map_or("", |(_, words)| words),
            clock(from, 1),
            clock(to, 1),
            precise(took)
        )
    }
}

fn title(bar: &Bar<'_>) -> String {
    let began = Utc::from(bar.began);
    let (date, took) = (began.rfc3339(), precise(bar.took));
    match bar.outcome {
        Some(outcome) => format!("{}: {}, began {date}, took {took}", bar.job, outcome.word()),
        None => format!("{}: running since {date}, for {took}", bar.job),
    }
}

/// What is drawn at the end of a run that did not go well.
fn mark(look: Look, x: Pixels, y: Pixels) -> String {
    // Above the low bars, so that it is seen between them too.
    let middle = y.and(4);
    match look {
        Look::Failed => {
            let (a, b) = (x.and(2), x.and(8));
            let (c, d) = (middle.and(-3), middle.and(3));
            format!("<path class=\"mark\" d=\"M{a} {c}L{b} {d}M{b} {c}L{a} {d}\"/>")
        }
        Look::Killed => {
            let (a, b, c) = (x.and(2), x.and(9), Pixels(x.0 + 55));
            let (low, high) = (middle.and(3), middle.and(-4));
            format!("<path class=\"tip\" d=\"M{a} {low}H{b}L{c} {high}Z\"/>")
        }
        _ => String::new(),
    }
}

fn hatched(text: &mut String, y: Pixels, from: Pixels, to: Pixels, title: &str) {
    let (top, width, title) = (y.and(8), to - from, escaped(title));
    let _ = writeln!(
        text,
        "<rect class=\"wait\" x=\"{from}\" y=\"{top}\" width=\"{width}\" height=\"9\"><title>{title}</title></rect>"
    );
}

/// Whose run held the lane for most of the time that this one waited.
fn behind<'a>(bar: &Bar<'_>, all: &'a [Bar<'a>]) -> Option<&'a str> {
    let due = before(bar.began, bar.late);
    // One run follows the other, so those that held the lane meanwhile are right before it.
    let earlier = all.partition_point(|other| other.began < bar.began);
    let meanwhile = all[..earlier].iter().rev();
    let meanwhile = meanwhile.take_while(|other| other.began + other.took > due);
    let overlap = |other: &Bar<'_>| {
        let end = (other.began + other.took).min(bar.began);
        end.duration_since(other.began.max(due)).unwrap_or_default()
    };
    let others = meanwhile.filter(|other| other.job != bar.job);
    let longest = others
        .map(|other| (overlap(other), other.job))
        .max_by_key(|(time, _)| *time);
    longest
        .filter(|(time, _)| !time.is_zero())
        .map(|(_, job)| job)
}

fn legend(text: &mut String) {
    let (mut x, y) = (Pixels::whole(12), Pixels::whole(34));
    for (look, words) in Look::ALL {
        let (top, height) = match look {
            Look::Ok | Look::Interrupted => (y.and(8), 9),
            _ => (y.and(4), 16),
        };
        let (class, mark) = (look.class(), mark(look, x.and(16), y));
        let beside = if mark.is_empty() { 22 } else { 30 };
        let _ = write!(
            text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{top}\" width=\"16\" height=\"{height}\"/>{mark}<text class=\"soft\" x=\"{}\" y=\"{}\">{words}</text>",
            x.and(beside),
            y.and(16)
        );
        x = Pixels(x.0 + 64 * i64::try_from(words.len()).unwrap_or(0)).and(beside + 22);
    }
    let _ = writeln!(
        text,
        "<rect class=\"wait\" x=\"{x}\" y=\"{}\" width=\"16\" height=\"9\"/><text class=\"soft\" x=\"{}\" y=\"{}\">waiting</text>",
        y.and(8),
        x.and(22),
        y.and(16)
    );
}

fn before(at: SystemTime, time: Duration) -> SystemTime {
    at.checked_sub(time).unwrap_or(UNIX_EPOCH)
}

/// How much of the time shown a job ran, as it stands in XML.
fn percent(busy: Duration, axis: &Axis) -> String {
    match axis.part(busy, 100) {
        0 if !busy.is_zero() => "&lt;1%".to_string(),
        share => format!("{}%", share.min(100)),
    }
}

fn milliseconds(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000) + u64::from(time.subsec_millis())
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_string();
    }
    let start: String = name.chars().take(NAME - 1).collect();
    format!("{start}\u{2026}")
}

/// Text that stands in XML, in content or in quotes (XML 1.0, 2.4); what XML cannot hold is left out.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() || ['\u{fffe}', '\u{ffff}'].contains(&c) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
