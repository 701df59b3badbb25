//! The plots of a store: bars and points on logarithmic scales, least to
//! greatest as a line through each.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::record::{Record, directory};
use super::report::{Row, SMALL, Spread};
use crate::bare::Failure;

const WIDTH: u32 = 900;
const LABELS: u32 = 220;
const ROW: u32 = 30;
const AROUND: u32 = 110;
const FONT: &str = "sans-serif";

const OURS: RGBColor = RGBColor(0, 114, 178);
const RAW: RGBColor = RGBColor(120, 120, 120);
const PEER: RGBColor = RGBColor(230, 159, 0);

/// Colours that the colour-blind tell apart.
const LINES: [RGBColor; 7] = [
    OURS,
    PEER,
    RAW,
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// Draws what a store has runs of.
pub(crate) fn all(store: &str, title: &str, rows: &[Row<'_>]) -> Result<(), Failure> {
    for (measure, what) in [
        ("enqueue", "enqueue in batches"),
        ("drain", "drain, settled jobs"),
    ] {
        let bars = rows.iter().filter_map(|row| {
            let spread = row.spread(measure, SMALL, 0, Record::rate)?;
            Some((row, vec![(spread, colour(row))]))
        });
        let caption = format!("{title}: {what}");
        strips(
            store,
            measure,
            &caption,
            "thousand jobs a second",
            &bars.collect::<Vec<_>>(),
        )?;
    }
    let points = rows.iter().filter_map(|row| {
        let colours = [
            RGBColor(0, 158, 115),
            RGBColor(0, 114, 178),
            RGBColor(230, 159, 0),
            RGBColor(213, 94, 0),
        ];
        let points: Option<Vec<_>> = colours
            .into_iter()
            .enumerate()
            .map(|(at, colour)| {
                let of = |r: &Record| r.milliseconds.get(at).copied().unwrap_or(f64::NAN);
                Some((row.spread("pick-up", SMALL, 0, of)?, colour))
            })
            .collect();
        Some((row, points?))
    });
    let caption =
        format!("{title}: pick-up at 200 jobs/s; p50 green, p95 blue, p99 orange, p99.9 red");
    strips(
        store,
        "pick-up",
        &caption,
        "milliseconds from enqueue to handler, logarithmic",
        &points.collect::<Vec<_>>(),
    )?;
    growth(store, title, rows)
}

fn colour(row: &Row<'_>) -> RGBColor {
    match (row.who.is_ours(), row.who.is_raw()) {
        (true, _) => OURS,
        (_, true) => RAW,
        _ => PEER,
    }
}

type Strip<'a> = (&'a Row<'a>, Vec<(Spread, RGBColor)>);

/// A row for each contestant: a bar where it has one figure, points where it has
/// several.
fn strips(
    store: &str,
    file: &str,
    caption: &str,
    unit: &str,
    strips: &[Strip<'_>],
) -> Result<(), Failure> {
    let path = directory().join(format!("{store}-{file}.svg"));
    if strips.is_empty() {
        // An older one would show what is not in the runs any more.
        let _ = std::fs::remove_file(path);
        return Ok(());
    }
    let all = strips.iter().flat_map(|(_, figures)| figures);
    let (least, most) = all.fold((f64::MAX, 0.0_f64), |(least, most), ((low, _, high), _)| {
        (least.min(*low), most.max(*high))
    });
    let (least, most) = (decade_below(least), most * 1.6);
    let height = u32::try_from(strips.len())? * ROW + AROUND;
    let root = SVGBackend::new(&path, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, (FONT, 18))
        .margin_right(20)
        .margin_bottom(5)
        .x_label_area_size(45)
        .y_label_area_size(LABELS)
        .build_cartesian_2d((least..most).log_scale(), 0.0..strips.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .light_line_style(RGBColor(240, 240, 240))
        .x_desc(unit)
        .x_label_formatter(&number)
        .label_style((FONT, 13))
        .draw()?;
    for (at, (row, figures)) in strips.iter().enumerate() {
        // The first is on top.
        let middle = (strips.len() - at) as f64 - 0.5;
        for &((low, median, high), colour) in figures {
            if figures.len() == 1 {
                let bar = [(least, middle - 0.3), (median, middle + 0.3)];
                chart.draw_series([Rectangle::new(bar, colour.mix(0.75).filled())])?;
            } else {
                chart.draw_series([Circle::new((median, middle), 5, colour.filled())])?;
            }
            let range = [(low.max(least), middle), (high, middle)];
            let line = if figures.len() == 1 { BLACK } else { colour };
            chart.draw_series([PathElement::new(range, line.stroke_width(2))])?;
        }
        if let [((_, median, high), _)] = figures.as_slice() {
            let left = Pos::new(HPos::Left, VPos::Center);
            let style = TextStyle::from((FONT, 13).into_font()).pos(left);
            let text = EmptyElement::at((*high, middle)) + Text::new(short(*median), (6, 0), style);
            chart.draw_series([text])?;
        }
        let (x, y) = chart.backend_coord(&(least, middle));
        let right = Pos::new(HPos::Right, VPos::Center);
        let style = TextStyle::from((FONT, 14).into_font()).pos(right);
        root.draw(&Text::new(row.label(), (x - 8, y), style))?;
    }
    root.present()?;
    drop(chart);
    drop(root);
    tidy(&path)
}

/// Drain against the backlog beside it.
fn growth(store: &str, title: &str, rows: &[Row<'_>]) -> Result<(), Failure> {
    let path = directory().join(format!("{store}-growth.svg"));
    let points = |row: &Row<'_>| -> Vec<(f64, Spread)> {
        let backlogs = [10_000, 100_000, 1_000_000];
        let all = backlogs.into_iter().filter_map(|backlog| {
            let spread = row.spread("drain", SMALL, backlog, Record::rate)?;
            Some((backlog as f64, spread))
        });
        all.collect()
    };
    let lines: Vec<_> = rows.iter().map(|row| (row, points(row))).collect();
    let lines: Vec<_> = lines
        .into_iter()
        .filter(|(_, points)| !points.is_empty())
        .collect();
    if lines.is_empty() {
        let _ = std::fs::remove_file(path);
        return Ok(());
    }
    let all = lines.iter().flat_map(|(_, points)| points);
    let (least, most) = all.fold((f64::MAX, 0.0_f64), |(least, most), (_, (low, _, high))| {
        (least.min(*low), most.max(*high))
    });
    let root = SVGBackend::new(&path, (WIDTH, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(format!("{title}: drain beside a backlog"), (FONT, 18))
        .margin_left(15)
        .margin_right(200)
        .margin_bottom(5)
        .x_label_area_size(45)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (8_000.0..1_300_000.0_f64).log_scale(),
            (decade_below(least)..most * 1.6).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(RGBColor(240, 240, 240))
        .x_desc("jobs that wait beside those drained")
        .y_desc("thousand jobs a second")
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .label_style((FONT, 13))
        .draw()?;
    for (at, (row, points)) in lines.iter().enumerate() {
        let colour = LINES[at % LINES.len()];
        let medians = points.iter().map(|(x, (_, median, _))| (*x, *median));
        chart.draw_series(LineSeries::new(medians, colour.stroke_width(2)).point_size(4))?;
        for (x, (low, _, high)) in points {
            let range = [(*x, *low), (*x, *high)];
            chart.draw_series([PathElement::new(range, colour.stroke_width(1))])?;
        }
        let y = 60 + i32::try_from(at)? * 22;
        let x = i32::try_from(WIDTH)? - 190;
        root.draw(&Rectangle::new(
            [(x, y - 5), (x + 10, y + 5)],
            colour.filled(),
        ))?;
        let left = Pos::new(HPos::Left, VPos::Center);
        let style = TextStyle::from((FONT, 13).into_font()).pos(left);
        root.draw(&Text::new(row.label(), (x + 16, y), style))?;
    }
    root.present()?;
    drop(chart);
    drop(root);
    tidy(&path)
}

/// A text file's last line ends too.
fn tidy(path: &std::path::Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)?;
    Ok(std::fs::write(path, text.trim_end().to_owned() + "\n")?)
}

fn decade_below(value: f64) -> f64 {
    10.0_f64.powf((value * 0.8).log10().floor())
}

/// Of an axis.
#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the formatter is given one"
)]
fn number(value: &f64) -> String {
    short(*value)
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1_000_000.0 => format!("{}M", v / 1_000_000.0),
        v if v >= 1_000.0 => format!("{}k", (v / 100.0).round() / 10.0),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{}", (v * 10.0).round() / 10.0),
        v => format!("{}", (v * 1_000.0).round() / 1_000.0),
    }
}
