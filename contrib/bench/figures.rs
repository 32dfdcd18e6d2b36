//! Medians, spreads and the tables they are told in.

use std::fmt::Write;

/// Several measurements of one thing.
#[derive(Debug, Clone, Default)]
pub struct Figures(pub Vec<f64>);

impl Figures {
    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }

    /// The median with the quartiles: `1.23 (1.20 to 1.31)`
    pub fn show(&self) -> String {
        let sorted = self.sorted();
        let Some(last) = sorted.len().checked_sub(1).filter(|&last| last > 0) else {
            return short(self.median());
        };
        let (low, high) = (sorted[last.div_ceil(4)], sorted[last - last.div_ceil(4)]);
        format!(
            "{} ({} to {})",
            short(self.median()),
            short(low),
            short(high)
        )
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<T: IntoIterator<Item = f64>>(figures: T) -> Figures {
        Figures(figures.into_iter().collect())
    }
}

/// Three significant digits, or two of a small number.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        size => {
            let decimals = 1 - size.log10().floor() as i32;
            format!("{value:.*}", decimals.unsigned_abs() as usize)
        }
    }
}

/// What has been measured, in order.
#[derive(Debug)]
pub struct Table {
    rows: Vec<[String; 3]>,
}

impl Table {
    pub fn new() -> Table {
        Table { rows: Vec::new() }
    }

    /// Adds a row and shows it at once: a benchmark takes minutes.
    pub fn row(&mut self, what: &str, figure: &str, beside: &str) {
        println!("{what:52} {figure:34} {beside}");
        self.rows
            .push([what, figure, beside].map(|cell| cell.trim().to_string()));
    }

    pub fn markdown(&self) -> String {
        let mut text = "| what | measured | beside |\n|---|---|---|\n".to_string();
        for [what, figure, beside] in &self.rows {
            let _ = writeln!(text, "| {what} | {figure} | {beside} |");
        }
        text
    }
}
