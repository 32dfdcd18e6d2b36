//! The costs against the number of jobs, drawn.

use std::fmt::Write;

use crate::figures::short;
use crate::jobs::Step;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 220.0;
/// Room for titles and labels: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (52.0, 40.0, 16.0, 34.0);

/// One of the four pictures: a title, its points, and whether its height is logarithmic.
struct Panel {
    title: &'static str,
    points: Vec<(f64, f64)>,
    logarithmic: bool,
}

/// Four pictures in one.
pub fn svg(steps: &[Step]) -> String {
    let points = |of: &dyn Fn(&Step) -> f64, from: usize| -> Vec<(f64, f64)> {
        let steps = steps.iter().filter(|step| step.jobs >= from);
        steps.map(|step| (step.jobs as f64, of(step))).collect()
    };
    let panels = [
        Panel {
            title: "Start to the first run, seconds",
            points: points(&|step| step.start.as_secs_f64(), 1),
            logarithmic: true,
        },
        Panel {
            title: "Reload without a change, seconds of CPU",
            points: points(&|step| step.reload_cpu.as_secs_f64(), 1),
            logarithmic: true,
        },
        Panel {
            title: "A run, microseconds of CPU",
            points: points(&|step| step.run.median(), 1),
            logarithmic: false,
        },
        Panel {
            title: "Memory, bytes a job",
            points: points(&|step| step.memory, 10_000),
            logarithmic: false,
        },
    ];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        2.0 * WIDTH,
        2.0 * HEIGHT
    );
    for (number, panel) in panels.iter().enumerate() {
        let (column, row) = ((number % 2) as f64, (number / 2) as f64);
        let (x, y) = (column * WIDTH, row * HEIGHT);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        panel.draw(&mut svg);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

impl Panel {
    /// The values at the bottom and the top.
    fn range(&self) -> (f64, f64) {
        let values = || self.points.iter().map(|(_, value)| *value);
        let most = values().fold(f64::MIN_POSITIVE, f64::max);
        if self.logarithmic {
            let least = values().fold(f64::INFINITY, f64::min).max(1e-6);
            (
                10_f64.powf(least.log10().floor()),
                10_f64.powf(most.log10().ceil()),
            )
        } else {
            (0.0, round_up(most * 1.1))
        }
    }

    fn draw(&self, svg: &mut String) {
        let (left, top, right, bottom) = MARGIN;
        let (wide, high) = (WIDTH - left - right, HEIGHT - top - bottom);
        let (low, most) = self.range();
        let x = |jobs: f64| left + wide * jobs.log10() / 6.0;
        let y = |value: f64| {
            let part = if self.logarithmic {
                (value.max(low) / low).log10() / (most / low).log10()
            } else {
                (value - low) / (most - low)
            };
            top + high * (1.0 - part)
        };
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"20\" font-size=\"13\" font-weight=\"bold\">{}</text>",
            self.title
        );
        for (jobs, label) in (0..)
            .map(|n| 10_f64.powi(n))
            .zip(["1", "10", "100", "1k", "10k", "100k", "1M"])
        {
            let (x, below) = (x(jobs), HEIGHT - bottom + 16.0);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{below}\" text-anchor=\"middle\" fill=\"#555\">{label}</text>"
            );
        }
        for value in self.ticks(low, most) {
            let (y, edge) = (y(value), WIDTH - right);
            let _ = writeln!(
                svg,
                "<line x1=\"{left}\" x2=\"{edge}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
                left - 6.0,
                y + 4.0,
                tick(value)
            );
        }
        let line: Vec<String> = self
            .points
            .iter()
            .map(|&(jobs, value)| format!("{:.1},{:.1}", x(jobs), y(value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#1864ab\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for &(jobs, value) in &self.points {
            let (x, y) = (x(jobs), y(value));
            let anchor = match jobs {
                1.0 => "start",
                1e6 => "end",
                _ => "middle",
            };
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1864ab\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                y - 8.0,
                short(value)
            );
        }
    }

    fn ticks(&self, low: f64, most: f64) -> Vec<f64> {
        if self.logarithmic {
            let decades = (most / low).log10().round() as i32;
            (0..=decades).map(|n| low * 10_f64.powi(n)).collect()
        } else {
            (0..=4)
                .map(|n| low + (most - low) * f64::from(n) / 4.0)
                .collect()
        }
    }
}

/// A quarter of it is 1, 2, 2.5 or 5 times a power of ten, and it is not less than `value`.
fn round_up(value: f64) -> f64 {
    let unit = 10_f64.powf((value / 4.0).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| 4.0 * step * unit);
    steps
        .into_iter()
        .find(|most| *most >= value)
        .unwrap_or(value)
}

fn tick(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}
