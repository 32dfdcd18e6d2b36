//! The lane as a picture: a row a job, a bar a run on one time axis, waiting hatched before it, so that it is seen who
//! made whom wait. SVG 1.1 that stands alone or in a page, in light and dark, without script. Pure.

mod axis;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axis::{Axis, LEFT, Pixels, ROW, TOP, WIDTH, clock};

use crate::job::outcome::{Brief, Verdict};
use crate::order::sorted;
use crate::text::{Utc, brief, precise};

/// Rows that have a job's name; the rest are summed up in one more.
const ROWS: usize = 40;
/// Bytes that the picture has at most.
const MOST_BYTES: usize = 200_000;
/// Characters of a name that fit beside its row, and how wide it can be.
const NAME: usize = 25;
/// Characters of a name that are told where there is room for all that people call a job.
const LONG_NAME: usize = 100;
const NAME_WIDTH: Pixels = Pixels::whole(172);
/// The least width of a bar: what is narrower is not seen.
const LEAST: Pixels = Pixels::whole(2);
/// The least width of a wait: less shows nothing of its hatching.
const LEAST_WAIT: Pixels = Pixels::whole(5);

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

impl Bar<'_> {
    /// When it ended, or the present of one that runs.
    pub fn ended(&self) -> SystemTime {
        self.began.checked_add(self.took).unwrap_or(self.began)
    }
}

/// A job that is due and waits.
#[derive(Debug, Clone, Copy)]
pub struct Waits<'a> {
    /// The job.
    pub job: &'a str,
    /// Since when.
    pub since: SystemTime,
}

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Whose lane it is.
    pub title: &'a str,
    /// Which runs these are, where they are not all: `failed runs`.
    pub only: Option<&'a str>,
    /// The runs to draw.
    pub bars: &'a [Bar<'a>],
    /// All runs that are known, also those that are not drawn: one of them was in the way of who waited.
    pub lane: &'a [Bar<'a>],
    /// The first moment to be seen; nothing is known where there is none.
    pub from: Option<SystemTime>,
    /// The last one.
    pub now: SystemTime,
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

    /// The top of a bar in the row at `y`, and its height. Outcomes are told apart without colour too: what went well is
    /// a low bar, what did not a high one with a mark.
    fn bar(self, y: Pixels) -> (Pixels, i64) {
        match self {
            Look::Ok | Look::Interrupted => (y.and(8), 9),
            _ => (y.and(4), 16),
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

/// The first moment at which one of these runs, or of these jobs that wait, was due.
pub fn first<'a>(
    bars: impl IntoIterator<Item = Bar<'a>>,
    waits: impl IntoIterator<Item = Waits<'a>>,
) -> Option<SystemTime> {
    let due = bars.into_iter().map(|bar| before(bar.began, bar.late));
    due.chain(waits.into_iter().map(|wait| wait.since)).min()
}

/// The picture of these runs and of the jobs that wait now.
pub fn svg<'a>(scene: &Scene<'a>, waits: impl IntoIterator<Item = Waits<'a>>) -> String {
    // Where the clock was set, they come in another order.
    let in_order = |bars: &'a [Bar<'a>]| {
        sorted(bars.iter().collect(), &|a: &&Bar<'_>, b| {
            a.began.cmp(&b.began)
        })
    };
    let (bars, lane) = (in_order(scene.bars), in_order(scene.lane));
    let (rows, others) = rows(&bars, waits);
    let axis = Axis::of(scene.from, scene.now);
    let rows = fitted(rows, others, &axis);
    let mut gap = Pixels::whole(1);
    loop {
        let text = drawn(scene, &rows, &axis, gap, &lane);
        if text.len() < MOST_BYTES || gap >= WIDTH {
            return text;
        }
        gap.0 *= 2;
    }
}

/// The picture, with runs of one look as one bar where the gap between them is less than `gap`.
fn drawn(
    scene: &Scene<'_>,
    rows: &[Row<'_>],
    axis: &Axis,
    gap: Pixels,
    lane: &[&Bar<'_>],
) -> String {
    let bottom = top_of(rows.len().max(1));
    let (width, height) = ((LEFT + WIDTH).and(24), bottom.and(44));
    let mut text = format!(
        "<svg class=\"lane\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{0}\"><style>{STYLE}</style>\
         <defs><pattern id=\"wait\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <path class=\"hatch\" d=\"M0 0V6\"/></pattern></defs>\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n<text class=\"h\" x=\"12\" y=\"24\">{0}</text>\n",
        escaped(scene.title)
    );
    let busy = rows.iter().map(|row| row.busy).sum();
    let with = scene.only.map(|only| format!(" with {}", escaped(only)));
    let _ = writeln!(
        text,
        "<text class=\"soft end\" x=\"{}\" y=\"24\">{} of {} busy{}</text>",
        LEFT + WIDTH,
        axis.percent(busy),
        brief(axis.window()),
        with.unwrap_or_default()
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
    for (number, row) in rows.iter().enumerate() {
        row.draw(&mut text, top_of(number), axis, gap, lane);
    }
    let x = axis.x(scene.now);
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

/// Jobs that wait and share one hatched bar.
#[derive(Debug, Clone, Copy, Default)]
struct Waiters<'a> {
    count: usize,
    longest: Option<Waits<'a>>,
}

impl<'a> Waiters<'a> {
    fn add(&mut self, other: Waiters<'a>) {
        self.count += other.count;
        let both = self.longest.into_iter().chain(other.longest);
        self.longest = both.min_by_key(|wait| wait.since);
    }

    fn title(&self, longest: &Waits<'_>, waited: Duration) -> String {
        let (job, waited) = (told(longest.job), brief(waited));
        match self.count {
            1 => format!("{job} waits for {waited}"),
            count => format!("{count} jobs wait, {job} longest, for {waited}"),
        }
    }
}

impl<'a> From<Waits<'a>> for Waiters<'a> {
    fn from(wait: Waits<'a>) -> Waiters<'a> {
        Waiters {
            count: 1,
            longest: Some(wait),
        }
    }
}

/// One line of the picture.
#[derive(Default)]
struct Row<'a> {
    name: String,
    /// Time that its runs took within the picture.
    busy: Duration,
    bars: Vec<&'a Bar<'a>>,
    waiters: Waiters<'a>,
}

/// A row for each job that has run, and for some of those that only wait: a million may, and the others are summed up.
fn rows<'a>(
    bars: &[&'a Bar<'a>],
    waits: impl IntoIterator<Item = Waits<'a>>,
) -> (Vec<Row<'a>>, Waiters<'a>) {
    let mut rows: Vec<Row<'a>> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    let add = |rows: &mut Vec<Row<'a>>, job: &str| {
        rows.push(Row {
            name: job.to_string(),
            ..Row::default()
        });
        rows.len() - 1
    };
    for &bar in bars {
        let place = places
            .entry(bar.job)
            .or_insert_with(|| add(&mut rows, bar.job));
        rows[*place].bars.push(bar);
    }
    let (ran, mut others) = (rows.len(), Waiters::default());
    for wait in waits {
        let place = match places.get(wait.job) {
            Some(&place) => place,
            None if rows.len() - ran < ROWS => add(&mut rows, wait.job),
            None => {
                others.add(wait.into());
                continue;
            }
        };
        rows[place].waiters = wait.into();
    }
    (rows, others)
}

/// The busiest job first; what has no row of its own is in the last one.
fn fitted<'a>(mut rows: Vec<Row<'a>>, others: Waiters<'a>, axis: &Axis) -> Vec<Row<'a>> {
    for row in &mut rows {
        row.busy = row.bars.iter().map(|bar| axis.shown(bar)).sum();
    }
    let mut rows = sorted(rows, &|a, b| {
        b.busy.cmp(&a.busy).then_with(|| a.name.cmp(&b.name))
    });
    if rows.len() + others.count > ROWS {
        let rest = rows.split_off(ROWS - 1);
        let mut sum = Row {
            name: format!("{} more jobs", rest.len() + others.count),
            waiters: others,
            ..Row::default()
        };
        for row in rest {
            sum.busy += row.busy;
            sum.bars.extend(row.bars);
            sum.waiters.add(row.waiters);
        }
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

    fn draw(&self, text: &mut String, y: Pixels, axis: &Axis, gap: Pixels, lane: &[&Bar<'_>]) {
        let (name, base) = (shortened(&self.name, NAME), y.and(16));
        let full = if name == self.name {
            String::new()
        } else {
            format!("<title>{}</title>", escaped(&told(&self.name)))
        };
        let _ = writeln!(
            text,
            "<text x=\"12\" y=\"{base}\"{}>{}{full}</text><text class=\"soft end\" x=\"{}\" y=\"{base}\">{}</text>",
            squeezed(&name),
            escaped(&name),
            LEFT.and(-8),
            axis.percent(self.busy)
        );
        if let Some(wait) = &self.waiters.longest {
            let (from, to) = (axis.x(wait.since), axis.x(axis.to));
            let waited = axis.to.duration_since(wait.since).unwrap_or_default();
            hatched(text, y, from, to, &self.waiters.title(wait, waited));
        }
        let groups = self.groups(axis, gap);
        for group in &groups {
            group.draw_waiting(text, y, axis, gap, lane);
        }
        for group in &groups {
            group.draw(text, y);
        }
    }
}

impl Group<'_> {
    /// How long its runs had waited, hatched up to where they begin.
    fn draw_waiting(
        &self,
        text: &mut String,
        y: Pixels,
        axis: &Axis,
        gap: Pixels,
        lane: &[&Bar<'_>],
    ) {
        let mut drawn = LEFT;
        for bar in &self.bars {
            let to = axis.x(bar.began);
            let from = axis.x(before(bar.began, bar.late)).max(drawn);
            if to - from < LEAST_WAIT.max(gap) {
                continue;
            }
            drawn = to;
            let behind = behind(bar, lane).map(|job| format!(" behind {}", told(job)));
            let title = format!(
                "{} waited {}{}",
                told(bar.job),
                precise(bar.late),
                behind.unwrap_or_default()
            );
            hatched(text, y, from, to, &title);
        }
    }

    fn draw(&self, text: &mut String, y: Pixels) {
        let (x, width) = (self.from, self.to - self.from);
        let (top, height) = self.look.bar(y);
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
            if is_of_one {
                told(first.job)
            } else {
                "several jobs".into()
            },
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
        Some(outcome) => format!(
            "{}: {}, began {date}, took {took}",
            told(bar.job),
            outcome.word()
        ),
        None => format!("{}: running since {date}, for {took}", told(bar.job)),
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

/// Whose run held the lane for most of the time that this one waited, as far as is known.
fn behind<'a>(bar: &Bar<'_>, lane: &[&'a Bar<'a>]) -> Option<&'a str> {
    let due = before(bar.began, bar.late);
    let known_from = lane.first().map_or(bar.began, |other| other.began);
    let unknown = known_from.duration_since(due).unwrap_or_default();
    // One run follows the other, so those that held the lane meanwhile are right before it.
    let earlier = lane.partition_point(|other| other.began < bar.began);
    let meanwhile = lane[..earlier].iter().rev();
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
        .filter(|(time, _)| !time.is_zero() && *time >= unknown)
        .map(|(_, job)| job)
}

fn legend(text: &mut String) {
    let (mut x, y) = (Pixels::whole(12), Pixels::whole(34));
    for (look, words) in Look::ALL {
        let (top, height) = look.bar(y);
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

/// At most so many characters of a name.
fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_string();
    }
    let start: String = name.chars().take(most - 1).collect();
    format!("{start}\u{2026}")
}

/// A name as a tooltip has it.
fn told(name: &str) -> String {
    shortened(name, LONG_NAME)
}

/// The attribute that keeps a name in wide letters beside its row. Fonts differ: these are widths of the narrower ones.
fn squeezed(name: &str) -> String {
    let width = |c: char| match c {
        'm' | 'w' | 'A'..='Z' => 8,
        _ => 6,
    };
    let wanted: i64 = name.chars().map(width).sum();
    if Pixels::whole(wanted) <= NAME_WIDTH {
        return String::new();
    }
    format!(" textLength=\"{NAME_WIDTH}\" lengthAdjust=\"spacingAndGlyphs\"")
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
