//! The demo's charts, as SVG that stands in a page.

use std::ops::Range;

use anyhow::Result;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

const SIZE: (u32, u32) = (960, 340);
const FONT: &str = "sans-serif";

/// Okabe and Ito's, which stay apart for those who see fewer colours.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(140, 140, 140),
];
const REFUSED: RGBColor = COLOURS[5];

/// A name and, for each moment or share, a figure.
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// What stands at the axes.
pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Areas on top of each other; the series share their x.
pub fn stacked(axes: &Axes, series: &[Series]) -> Result<String> {
    let mut tops: Vec<Vec<(f64, f64)>> = Vec::new();
    for one in series {
        let below = tops.last();
        let on_top = one.points.iter().enumerate();
        tops.push(on_top.map(|(at, (x, y))| (*x, y + below.map_or(0.0, |below| below[at].1))).collect());
    }
    let (x, y) = (end(tops.iter().flatten().map(|it| it.0)), end(tops.iter().flatten().map(|it| it.1)));
    draw(axes, 0.0..x, 0.0..y * 1.05, &plain, |chart| {
        // The highest first: the others cover its lower part.
        for (index, top) in tops.into_iter().enumerate().rev() {
            let colour = COLOURS[index % COLOURS.len()];
            let area = AreaSeries::new(top, 0.0, colour.filled());
            chart.draw_series(area)?.label(&series[index].name).legend(move |at| swatch(at, colour));
        }
        Ok(())
    })
}

/// What is spent and what is spent or held, below a limit.
pub fn below_limit(axes: &Axes, spent: &Series, with_held: &Series, limit: f64) -> Result<String> {
    let x = end(spent.points.iter().map(|it| it.0));
    let y = end(with_held.points.iter().map(|it| it.1).chain([limit]));
    draw(axes, 0.0..x, 0.0..y * 1.12, &plain, |chart| {
        let held = AreaSeries::new(with_held.points.clone(), 0.0, COLOURS[4].mix(0.5).filled());
        chart.draw_series(held)?.label(&with_held.name).legend(|at| swatch(at, COLOURS[4]));
        let area = AreaSeries::new(spent.points.clone(), 0.0, COLOURS[0].filled());
        chart.draw_series(area)?.label(&spent.name).legend(|at| swatch(at, COLOURS[0]));
        let line = LineSeries::new([(0.0, limit), (x, limit)], REFUSED.stroke_width(2));
        chart.draw_series(line)?.label(format!("limit: {limit} USD")).legend(|at| swatch(at, REFUSED));
        Ok(())
    })
}

/// How many of each were let in and refused between neighbouring moments.
pub fn decisions(axes: &Axes, width: f64, buckets: &[(u32, u32)]) -> Result<String> {
    let x = width * buckets.len() as f64;
    let y = end(buckets.iter().map(|(admitted, refused)| f64::from(admitted + refused)));
    draw(axes, 0.0..x, 0.0..y * 1.15, &plain, |chart| {
        let bar = |index: usize, from: u32, to: u32, colour: RGBColor| {
            let (left, right) = (width * (index as f64 + 0.08), width * (index as f64 + 0.92));
            Rectangle::new([(left, f64::from(from)), (right, f64::from(to))], colour.filled())
        };
        let admitted = buckets.iter().enumerate().map(|(index, it)| bar(index, 0, it.0, COLOURS[0]));
        chart.draw_series(admitted)?.label("admitted").legend(|at| swatch(at, COLOURS[0]));
        let refused = buckets.iter().enumerate().filter(|(_, it)| it.1 > 0);
        let refused = refused.map(|(index, it)| bar(index, it.0, it.0 + it.1, REFUSED));
        chart.draw_series(refused)?.label("refused").legend(|at| swatch(at, REFUSED));
        Ok(())
    })
}

/// Milliseconds by share of the calls, each tenfold as high as the last.
pub fn latencies(axes: &Axes, series: &[Series]) -> Result<String> {
    let logs: Vec<Vec<(f64, f64)>> =
        series.iter().map(|one| one.points.iter().map(|(x, ms)| (*x, ms.max(1e-3).log10())).collect()).collect();
    let all = || logs.iter().flatten().map(|it| it.1);
    let (low, high) = (all().fold(0.0, f64::min).floor(), all().fold(1.0, f64::max).ceil());
    draw(axes, 0.0..100.0, low..high, &power_of_ten, |chart| {
        for (index, points) in logs.into_iter().enumerate() {
            let colour = if index == 0 { COLOURS[0] } else { REFUSED };
            let line = LineSeries::new(points, colour.stroke_width(2));
            chart.draw_series(line)?.label(&series[index].name).legend(move |at| swatch(at, colour));
        }
        Ok(())
    })
}

fn draw(
    axes: &Axes,
    x: Range<f64>,
    y: Range<f64>,
    y_label: &dyn Fn(&f64) -> String,
    plot: impl FnOnce(&mut Chart) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut builder = ChartBuilder::on(&area);
        builder.margin(10).margin_right(24).x_label_area_size(42).y_label_area_size(64);
        let mut chart = builder.build_cartesian_2d(x, y)?;
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(axes.x)
            .y_desc(axes.y)
            .x_label_formatter(&plain)
            .y_label_formatter(&y_label)
            .label_style((FONT, 13))
            .axis_desc_style((FONT, 14));
        mesh.disable_x_mesh().light_line_style(TRANSPARENT).bold_line_style(BLACK.mix(0.12)).axis_style(BLACK.mix(0.5));
        mesh.draw()?;
        plot(&mut chart)?;
        let mut labels = chart.configure_series_labels();
        labels.position(SeriesLabelPosition::UpperLeft).margin(8).label_font((FONT, 13));
        labels.background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.2)).draw()?;
        drop(labels);
        area.present()?;
    }
    Ok(svg)
}

/// Without what sixths and tenths leave of a double.
fn plain(value: &f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Only the powers themselves are written.
fn power_of_ten(exponent: &f64) -> String {
    if (exponent - exponent.round()).abs() > 1e-9 { String::new() } else { format!("{}", 10f64.powf(exponent.round())) }
}

fn swatch((x, y): (i32, i32), colour: RGBColor) -> Rectangle<(i32, i32)> {
    Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled())
}

/// The largest, and never nothing: an axis has a length.
fn end(values: impl Iterator<Item = f64>) -> f64 {
    let largest = values.fold(0.0, f64::max);
    if largest > 0.0 { largest } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_as_high_as_its_parts() {
        let axes = Axes { x: "s", y: "USD" };
        let part = |name: &str, y: f64| Series { name: name.to_string(), points: vec![(0.0, 0.0), (1.0, y)] };
        let svg = stacked(&axes, &[part("a & b", 1.0), part("c", 3.0)]).unwrap();
        assert_eq!(svg.matches("<polygon").count(), 2);
        assert!(svg.contains("a &amp; b"), "{svg}");
        assert!(stacked(&axes, &[part("none", 0.0)]).is_ok(), "nothing spent is a chart, too");
    }

    #[test]
    fn figures_at_an_axis_are_short() {
        assert_eq!([0.1 + 0.2, 0.0, 40.0, 0.025].map(|it| plain(&it)), ["0.3", "0", "40", "0.025"]);
    }

    #[test]
    fn powers_of_ten_are_written() {
        assert_eq!([-1.0, 0.0, 0.5, 2.0].map(|it| power_of_ten(&it)), ["0.1", "1", "", "100"]);
    }
}
