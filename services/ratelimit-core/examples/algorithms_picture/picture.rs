//! The picture: a row for each limit, all on one axis of time.

use std::fmt::{self, Display, Formatter};

use ratelimit_core::Kind;

use crate::{
    calls::{END, PHASES, calls},
    limits::Limit,
    run::{Run, UNITS},
    style::STYLE,
};

// All lengths are in pixels.
const LEFT: u64 = 46;
const TOP: u64 = 134;
const PERIOD_WIDTH: u64 = 124;
const PLOT_WIDTH: u64 = END * PERIOD_WIDTH / UNITS;
const WIDTH: u64 = LEFT + PLOT_WIDTH + 24;
const ROW_HEIGHT: u64 = 132;
/// Within a row: where the calls are, and what is counted of them.
const CALLS_TOP: u64 = 22;
const CALLS_BOTTOM: u64 = 36;
const LEVEL_TOP: u64 = 42;
const LEVEL_BOTTOM: u64 = LEVEL_TOP + 2 * LIMIT_HEIGHT;
/// Each row is as high as twice its limit.
const LIMIT_HEIGHT: u64 = 30;

/// The drawing, which `Display` writes as SVG.
pub struct Picture<'a> {
    rows: Vec<Row<'a>>,
}

struct Row<'a> {
    limit: &'a Limit,
    run: Run,
}

impl<'a> Picture<'a> {
    /// Sends the calls through those limits, and draws what becomes of them.
    pub fn draw(limits: &'a [Limit]) -> Self {
        let row = |limit: &'a Limit| Row { limit, run: Run::through(&limit.algorithm) };
        Self { rows: limits.iter().map(row).collect() }
    }
}

impl Display for Picture<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let axis_y = TOP + ROW_HEIGHT * self.rows.len() as u64;
        let height = axis_y + 30;
        write!(f, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" "#)?;
        writeln!(f, r#"width="{WIDTH}" height="{height}" role="img" aria-labelledby="title desc">"#)?;
        writeln!(f, r#"<title id="title">The same calls through each algorithm</title>"#)?;
        writeln!(f, r#"<desc id="desc">{}</desc>"#, Description(&self.rows))?;
        writeln!(f, "<style>{STYLE}</style>")?;
        writeln!(f, r#"<rect class="paper" width="{WIDTH}" height="{height}" rx="8"/>"#)?;
        write!(f, r#"<defs><clipPath id="above"><rect y="{LEVEL_TOP}" width="{PLOT_WIDTH}" "#)?;
        writeln!(f, r#"height="{LIMIT_HEIGHT}"/></clipPath></defs>"#)?;
        legend(f)?;
        grid(f, axis_y)?;
        offered(f)?;
        for (place, row) in self.rows.iter().enumerate() {
            writeln!(f, r#"<g transform="translate({LEFT} {})">"#, TOP + ROW_HEIGHT * place as u64)?;
            row.draw(f, place)?;
            writeln!(f, "</g>")?;
        }
        writeln!(f, "</svg>")
    }
}

/// What the picture shows, for those who can't see it.
struct Description<'a>(&'a [Row<'a>]);

impl Display for Description<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls are sent.", calls().count())?;
        for Row { limit, run } in self.0 {
            let (name, passed) = (limit.algorithm.name(), run.admitted.len());
            write!(f, " {name} ({}): {passed} pass, {}.", limit.caption, limit.most(run))?;
        }
        Ok(())
    }
}

/// What the marks stand for.
fn legend(f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, r#"<text class="title" x="{LEFT}" y="30">The same calls through each algorithm</text>"#)?;
    writeln!(f, r#"<g transform="translate({LEFT} 54)">"#)?;
    writeln!(f, r#"<path class="offered" d="M1-9v9M5-9v9M9-9v9"/><text x="16">a call</text>"#)?;
    writeln!(f, r#"<path class="admitted" d="M73-12v12M77-12v12M81-12v12"/><text x="88">passes</text>"#)?;
    writeln!(
        f,
        r#"<path class="level" d="M150-11h20V0h-20z"/><text x="176">counted: passed in the last period, or holds a slot</text>"#
    )?;
    writeln!(f, r#"<path class="over" d="M520-11h20V0h-20z"/><text x="546">more than the limit</text>"#)?;
    writeln!(f, r#"<path class="limit" d="M682-5h30"/><text x="718">the limit</text></g>"#)
}

/// A line and a number for each period.
fn grid(f: &mut Formatter<'_>, axis_y: u64) -> fmt::Result {
    write!(f, r#"<path class="grid" d=""#)?;
    let periods = 0..=END / UNITS;
    for period in periods.clone() {
        write!(f, "M{} {}V{}", LEFT + period * PERIOD_WIDTH, TOP - 14, axis_y - 4)?;
    }
    writeln!(f, r#""/>"#)?;
    for period in periods {
        let x = LEFT + period * PERIOD_WIDTH;
        writeln!(f, r#"<text class="middle" x="{x}" y="{}">{period}</text>"#, axis_y + 14)?;
    }
    let x = LEFT + PLOT_WIDTH;
    writeln!(f, r#"<text class="end" x="{x}" y="{}">periods</text>"#, axis_y + 14)
}

/// The calls, before anything limits them.
fn offered(f: &mut Formatter<'_>) -> fmt::Result {
    writeln!(f, r#"<g transform="translate({LEFT} {})">"#, TOP - 56)?;
    for phase in &PHASES {
        if let Some(label) = phase.label {
            writeln!(f, r#"<text class="middle" x="{}" y="14">{label}</text>"#, X(phase.middle()))?;
        }
    }
    writeln!(f, r#"<path id="calls" class="offered" d="{}"/></g>"#, Ticks(CALLS_TOP + 3, calls()))
}

impl Limit {
    fn most(&self, run: &Run) -> String {
        let is_held = self.algorithm.kind() == Kind::Concurrency;
        let within = if is_held { "at a time" } else { "within a period" };
        format!("at most {} {within}", run.most())
    }
}

impl Row<'_> {
    fn draw(&self, f: &mut Formatter<'_>, place: usize) -> fmt::Result {
        let Self { limit, run } = self;
        writeln!(f, r#"<text class="name" y="12">{}</text>"#, limit.algorithm.name())?;
        writeln!(f, r#"<text x="134" y="12">{}</text>"#, limit.caption)?;
        writeln!(f, r#"<text class="end" x="{PLOT_WIDTH}" y="12">{}</text>"#, limit.most(run))?;
        writeln!(f, r##"<use href="#calls"/>"##)?;
        let admitted = run.admitted.iter().map(|it| it.at);
        writeln!(f, r#"<path class="admitted" d="{}"/>"#, Ticks(CALLS_TOP, admitted))?;
        self.draw_windows(f)?;
        self.draw_level(f, place)?;
        self.draw_scale(f)
    }

    fn draw_windows(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for &(begin, end) in &self.run.windows {
            let (from, to) = (X(begin), X(end.min(END)));
            write!(f, r#"<path class="window" d="M{from} {LEVEL_TOP}H{to}V{LEVEL_BOTTOM}H{from}z"/>"#)?;
        }
        writeln!(f)
    }

    fn draw_level(&self, f: &mut Formatter<'_>, place: usize) -> fmt::Result {
        let limit = self.limit.algorithm.limit();
        write!(f, r#"<g class="level"><path id="level{place}" d="M0 {LEVEL_BOTTOM}"#)?;
        for (at, level) in self.run.levels().into_iter().take_while(|&(at, _)| at < END) {
            let height = Tenths(level as u64 * LIMIT_HEIGHT * 10 / limit);
            write!(f, "H{}V{}", X(at), Tenths(LEVEL_BOTTOM * 10 - height.0))?;
        }
        writeln!(f, r#"H{PLOT_WIDTH}V{LEVEL_BOTTOM}z"/></g>"#)?;
        if self.run.most() as u64 > limit {
            writeln!(f, r##"<use href="#level{place}" class="over" clip-path="url(#above)"/>"##)?;
        }
        Ok(())
    }

    fn draw_scale(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let limit = self.limit.algorithm.limit();
        let limit_y = LEVEL_BOTTOM - LIMIT_HEIGHT;
        writeln!(f, r#"<path class="grid" d="M0 {LEVEL_BOTTOM}H{PLOT_WIDTH}"/>"#)?;
        writeln!(f, r#"<path class="limit" d="M0 {limit_y}H{PLOT_WIDTH}"/>"#)?;
        for (number, y) in [(0, LEVEL_BOTTOM), (limit, limit_y), (2 * limit, LEVEL_TOP)] {
            writeln!(f, r#"<text class="end" x="-8" y="{}">{number}</text>"#, y + 4)?;
        }
        Ok(())
    }
}

/// A line for each call, down to where the calls end.
struct Ticks<I>(u64, I);

impl<I: Iterator<Item = u64> + Clone> Display for Ticks<I> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(top, calls) = self;
        calls.clone().try_for_each(|at| write!(f, "M{} {top}V{CALLS_BOTTOM}", X(at)))
    }
}

/// Where a time is, from the left of the plot.
struct X(u64);

impl Display for X {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Tenths(self.0 * PERIOD_WIDTH * 10 / UNITS).fmt(f)
    }
}

/// Tenths of a pixel: whole numbers look the same on every machine.
struct Tenths(u64);

impl Display for Tenths {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, tenths) => write!(f, "{whole}.{tenths}"),
        }
    }
}
