//! The state as a web page for anybody: health, what `status` says, its table with what is worst on top, and the
//! picture of the lane. HTML without script that needs nothing from elsewhere, for wide and narrow screens, in light and
//! dark. Pure.

use std::fmt::Write as _;

use super::history::history;
use super::picture::escaped;
use super::table::{COLUMNS, Cells, TITLES, above, fill};
use super::{Reader, Row, State, View};
use crate::cli::{Form, History};
use crate::text::{Utc, counted};

/// The most jobs in the table.
const ROWS: usize = 200;

/// How bad it is about a job, the worst first, and its class in the page.
const RANKS: [&str; 6] = ["stuck", "bad", "late", "run", "held", "calm"];

/// Beside these only the picture's own style is in the page.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--paper:#fff;--side:#f6f8fa;--line:#d8dee4;--good:#1a7f37;\
--bad:#cf222e;--warn:#9a6700;--run:#8250df}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--paper:#0d1117;--side:#161b22;--line:#30363d;\
--good:#3fb950;--bad:#ff7b72;--warn:#e3a008;--run:#bc8cff}}\
body{margin:0 auto;max-width:980px;padding:16px;background:var(--paper);color:var(--ink);\
font:15px/1.45 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\
h1{font-size:22px;margin:0}p{margin:4px 0;overflow-wrap:anywhere}.soft{color:var(--soft);font-size:13px}\
.health{margin:14px 0;padding:9px 14px;border:1px solid var(--line);border-left:5px solid var(--good);border-radius:6px;\
background:var(--side);font-weight:600}.health.not{border-left-color:var(--bad);color:var(--bad)}\
dl{display:grid;grid-template-columns:84px 1fr;gap:4px 8px;margin:0}dd{margin:0;overflow-wrap:anywhere}\
dt{font-size:12px;line-height:22px;letter-spacing:.04em;font-weight:600;color:var(--soft)}\
.scroll{overflow-x:auto;margin:18px 0;border:1px solid var(--line);border-radius:6px}.scroll svg{display:block}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:5px 12px;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}\
th{border:0;background:var(--side);color:var(--soft);font-size:12px;letter-spacing:.04em}\
th:nth-child(1),td:nth-child(1),th:nth-child(2),td:nth-child(2),th:nth-child(6),td:nth-child(6){text-align:left}\
td:nth-child(1){font-weight:600}.stuck td:nth-child(2),.bad td:nth-child(6){color:var(--bad);font-weight:600}\
.late td:nth-child(2){color:var(--warn)}.run td:nth-child(2){color:var(--run);font-weight:600}\
.held td{color:var(--soft)}\
@media(max-width:700px){body{padding:10px}thead{display:none}table,tbody{display:block}\
tr{display:grid;grid-template-columns:repeat(3,1fr);padding:8px 12px;gap:1px 8px;border-top:1px solid var(--line)}\
tr:first-child{border:0}td{border:0;padding:0;white-space:normal;overflow-wrap:anywhere;text-align:left}\
td:nth-child(-n+2){grid-column:1/-1}td:nth-child(n+3){font-size:14px}\
td:nth-child(n+3)::before{margin-right:6px;font-size:12px;color:var(--soft);font-weight:400}\
td:nth-child(3)::before{content:'due'}td:nth-child(4)::before{content:'ended'}td:nth-child(5)::before{content:'took'}\
td:nth-child(6)::before{content:'last'}td:nth-child(7)::before{content:'runs'}td:nth-child(8)::before{content:'failed'}}";

const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
    fill='%232f81c9' d='M1 3h9v3H1z'/%3E%3Cpath fill='%238250df' d='M6 10h9v3H6z'/%3E%3C/svg%3E";

/// The whole page.
pub fn page(view: &View<'_>) -> String {
    let host = escaped(&view.whose());
    let (class, health) = match view.health_for(Reader::Anybody) {
        Ok(line) => ("health", line),
        Err(line) => ("health not", line),
    };
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{host}: {}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"{ICON}\"><style>{STYLE}</style></head>\n\
         <body><h1>{host}</h1>\n",
        escaped(&health)
    );
    // A line that was folded for terminals is one again.
    let above = above(view, Reader::Anybody).replace("\n ", " ");
    let mut lines = above.lines();
    let now = Utc::from(view.now.wall).plain();
    let _ = writeln!(
        text,
        "<p class=\"soft\">{}<br>as of {now} UTC, drawn again every 5 seconds</p>\n<p class=\"{class}\">{}</p>\n<dl>",
        escaped(lines.next().unwrap_or_default()),
        escaped(&health)
    );
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (word, rest) = (escaped(word), escaped(rest.trim_start()));
        let _ = writeln!(text, "<dt>{word}</dt><dd>{rest}</dd>");
    }
    text.push_str("</dl>\n");
    table(view, &mut text);
    text.push_str("<div class=\"scroll\">");
    text.push_str(&history(
        view,
        &History {
            form: Form::Svg,
            ..History::default()
        },
    ));
    text.push_str("</div></body></html>\n");
    text
}

fn rank(row: &Row<'_>) -> usize {
    match row.state {
        State::Stuck => 0,
        _ if row.is_failing() => 1,
        State::Late | State::Next => 2,
        State::Running => 3,
        State::Paused => 4,
        State::Waiting => 5,
    }
}

fn table(view: &View<'_>, text: &mut String) {
    text.push_str("<div class=\"scroll\"><table><thead><tr>");
    for title in TITLES {
        let _ = write!(text, "<th>{title}</th>");
    }
    text.push_str("</tr></thead><tbody>\n");
    // Of each kind as many as there is room for at most, in the order of `status`.
    let mut ranks = [const { Vec::new() }; RANKS.len()];
    let mut all = 0;
    for row in view.rows() {
        all += 1;
        let alike = &mut ranks[rank(&row)];
        if alike.len() < ROWS {
            alike.push(row);
        }
    }
    let mut cells = Cells::default();
    let mut classes = Vec::new();
    for (alike, class) in ranks.iter().zip(RANKS) {
        for row in &alike[..alike.len().min(ROWS - classes.len())] {
            fill(&mut cells, view, row);
            classes.push(class);
        }
    }
    for (number, cell) in cells.all().enumerate() {
        if number % COLUMNS == 0 {
            let _ = write!(text, "<tr class=\"{}\">", classes[number / COLUMNS]);
        }
        let _ = write!(text, "<td>{}</td>", escaped(cell));
        if number % COLUMNS == COLUMNS - 1 {
            text.push_str("</tr>\n");
        }
    }
    text.push_str("</tbody></table></div>\n");
    if all > classes.len() {
        let more = counted(all - classes.len(), "more job");
        let _ = writeln!(
            text,
            "<p class=\"soft\">and {more}: buildd-sequencer status shows all</p>"
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
