//! The chart: how many shares a second, and how long until they are acknowledged, against connections.

use std::{fmt::Display, ops::Range, path::Path};

use anyhow::{Context, ensure};
use plotters::{coord::Shift, prelude::*};

/// What was measured with so many connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Connections, each with one channel.
    pub(crate) connections: u32,
    /// Shares acknowledged a second.
    pub(crate) rate: f64,
    /// Milliseconds until an acknowledgement, at the median.
    pub(crate) median_ms: f64,
    /// Milliseconds that 99 of 100 acknowledgements do not exceed.
    pub(crate) p99_ms: f64,
}

/// Width and height in pixels.
const SIZE: (u32, u32) = (900, 640);
const FONT: &str = "sans-serif";
/// Colours that stay apart in print and to the colour-blind (Okabe and Ito).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);

/// A line of a chart.
struct Series<'a> {
    name: &'a str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws the chart into an SVG file.
///
/// # Errors
///
/// If there are fewer than two points, or the file cannot be written.
pub(crate) fn draw(points: &[Point], path: &Path) -> anyhow::Result<()> {
    ensure!(points.len() > 1, "a line needs two points");
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    drawn(area.fill(&WHITE))?;
    let (upper, lower) = area.split_vertically(SIZE.1 / 2);
    let series = |name, colour, value: fn(&Point) -> f64| Series {
        name,
        colour,
        points: points.iter().map(|point| (f64::from(point.connections), value(point))).collect(),
    };
    let rates = [series("acknowledged shares", BLUE, |point| point.rate)];
    panel(&upper, "Shares a second, as fast as they are taken", "shares / s", &rates)?;
    let delays =
        [series("99th percentile", ORANGE, |point| point.p99_ms), series("median", BLUE, |point| point.median_ms)];
    panel(&lower, "Until a share is on disk and acknowledged", "ms", &delays)?;
    drawn(area.present()).with_context(|| format!("write {}", path.display()))
}

/// Draws one chart with connections on its axis, in powers, and values from zero.
fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    unit: &str,
    lines: &[Series<'_>],
) -> anyhow::Result<()> {
    let all = || lines.iter().flat_map(|line| &line.points);
    let top = all().map(|point| point.1).fold(0.0, f64::max) * 1.1;
    let (first, last) =
        all().fold((f64::MAX, f64::MIN), |(first, last), point| (first.min(point.0), last.max(point.0)));
    let values: Range<f64> = 0.0..top.max(f64::MIN_POSITIVE);
    let mut chart = drawn(
        ChartBuilder::on(area)
            .caption(title, (FONT, 18))
            .margin(14)
            .x_label_area_size(40)
            .y_label_area_size(80)
            .build_cartesian_2d((first..last).log_scale(), values),
    )?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("connections").y_desc(unit).light_line_style(TRANSPARENT);
    drawn(mesh.x_label_formatter(&|x| whole(*x)).y_label_formatter(&|y| whole(*y)).draw())?;
    for Series { name, colour, points } in lines {
        let style = colour.stroke_width(2);
        let line = drawn(chart.draw_series(LineSeries::new(points.iter().copied(), style)))?;
        let colour = *colour;
        line.label(*name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
        drawn(chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled()))))?;
    }
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3));
    drawn(labels.draw())
}

/// Writes a number without a fraction, its thousands apart.
fn whole(number: f64) -> String {
    crate::page::thousands(number.round() as u64)
}

/// Errors of the drawing library borrow from what draws.
fn drawn<T, E: Display>(result: Result<T, E>) -> anyhow::Result<T> {
    result.map_err(|error| anyhow::anyhow!("cannot draw: {error}"))
}
