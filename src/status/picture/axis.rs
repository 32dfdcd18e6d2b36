//! The picture's measures: pixels, and the time axis, on which each moment has its place. Pure.

use std::fmt::{self, Write as _};
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::text::Utc;

/// Where the bars begin, how wide they can be, how high a row is, and what stands above the first.
pub(super) const LEFT: Pixels = Pixels::whole(230);
pub(super) const WIDTH: Pixels = Pixels::whole(700);
pub(super) const ROW: Pixels = Pixels::whole(24);
pub(super) const TOP: Pixels = Pixels::whole(64);
/// A picture is of this long at least, so that a single short run does not fill it.
const LEAST_WINDOW: Duration = Duration::from_secs(60);

/// A length or place in tenths of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pixels(pub(super) i64);

impl Pixels {
    /// So many whole pixels.
    pub(super) const fn whole(pixels: i64) -> Pixels {
        Pixels(pixels * 10)
    }

    /// So many pixels further.
    pub(super) fn and(self, pixels: i64) -> Pixels {
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

/// Which moment is where.
pub(super) struct Axis {
    pub(super) from: SystemTime,
    pub(super) to: SystemTime,
}

impl Axis {
    /// From the `first` moment of what is shown up to `now`.
    pub(super) fn of(first: Option<SystemTime>, now: SystemTime) -> Axis {
        let latest = now.checked_sub(LEAST_WINDOW).unwrap_or(UNIX_EPOCH);
        Axis {
            from: first.map_or(latest, |first| first.min(latest)),
            to: now,
        }
    }

    /// How long it is.
    pub(super) fn window(&self) -> Duration {
        self.to.duration_since(self.from).unwrap_or(LEAST_WINDOW)
    }

    /// How much of a run's time is shown.
    pub(super) fn shown(&self, bar: &super::Bar<'_>) -> Duration {
        let hidden = self.from.duration_since(bar.began).unwrap_or_default();
        bar.took.saturating_sub(hidden).min(self.window())
    }

    /// The place of a moment, in pixels; one beyond the picture is at its edge.
    pub(super) fn x(&self, at: SystemTime) -> Pixels {
        let since = at.duration_since(self.from).unwrap_or_default();
        let part = self.part(since, WIDTH.0.unsigned_abs());
        LEFT + Pixels(i64::try_from(part).unwrap_or(0)).min(WIDTH)
    }

    /// How many parts of the whole time, of which there are `parts`, this time is.
    fn part(&self, time: Duration, parts: u64) -> u64 {
        let whole = milliseconds(self.window()).max(1);
        (milliseconds(time).saturating_mul(parts) + whole / 2) / whole
    }

    /// How much of the time shown a job ran, as it stands in XML.
    pub(super) fn percent(&self, busy: Duration) -> String {
        match self.part(busy, 100) {
            0 if !busy.is_zero() => "&lt;1%".to_string(),
            share => format!("{}%", share.min(100)),
        }
    }

    /// Seconds between two marks, a round number of them, so that there are not more than eight.
    pub(super) fn step(&self) -> u64 {
        const STEPS: [u64; 24] = [
            1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600,
            43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000,
        ];
        let least = self.window().as_secs() / 8;
        let step = STEPS.into_iter().find(|step| *step > least);
        step.unwrap_or(least.max(1))
    }

    /// Marks it, with times below the picture's `bottom`.
    pub(super) fn draw(&self, text: &mut String, bottom: Pixels) {
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

/// The time of day, with seconds where `step` is less than a minute.
pub(super) fn clock(utc: Utc, step: u64) -> String {
    let minutes = format!("{:02}:{:02}", utc.hour, utc.minute);
    if step < 60 {
        format!("{minutes}:{:02}", utc.second)
    } else {
        minutes
    }
}

fn milliseconds(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000) + u64::from(time.subsec_millis())
}
