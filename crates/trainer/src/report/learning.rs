//! How training went, epoch by epoch.

use super::chart::{COLORS, Chart, INK, Shape, figure, thinned};
use super::{Epoch, Learning, ReportError, axis::Axis, html, number::count};

/// The most points of a line.
const POINTS: usize = 400;
const SIZE: (u32, u32) = (560, 320);

/// The section, or nothing if there was no epoch.
pub(super) fn section(learning: &Learning<'_>) -> Result<String, ReportError> {
    let Some(last) = learning.epochs.last() else { return Ok(String::new()) };
    let score = html::text(learning.score);
    let losses = draw(
        learning,
        "Loss",
        &format!("Loss of the training and validation rows over {} epochs", learning.epochs.len()),
        &[("training", |epoch| epoch.training_loss), ("validation", |epoch| epoch.validation_loss)],
    )?;
    let scores = draw(
        learning,
        &score,
        &format!("{} of the validation rows over {} epochs", learning.score, learning.epochs.len()),
        &[("validation", |epoch| epoch.score)],
    )?;
    let mut introduction = format!("{} epochs", count(last.number));
    if let Some(best) = learning.best {
        introduction = format!("{introduction}; the weights are those of epoch {}", count(best));
    }
    introduction += ". While both losses fall, the network learns what holds for new rows as well. Where only the one of the \
                     training rows still falls, it learns these rows by heart.";
    let content = format!("<div class=\"charts\">\n{losses}{scores}</div>\n");
    Ok(html::section("learning", "Learning curves", &introduction, &content))
}

type Series = (&'static str, fn(&Epoch) -> f64);

/// One chart; `label` is HTML already.
fn draw(
    learning: &Learning<'_>,
    label: &str,
    description: &str,
    series: &[Series],
) -> Result<String, ReportError> {
    let number = |epoch: &Epoch| f64::from(epoch.number);
    let lines: Vec<Vec<(f64, f64)>> = series
        .iter()
        .map(|(_, value)| learning.epochs.iter().map(|epoch| (number(epoch), value(epoch))))
        .map(|points| points.filter(|(_, value)| value.is_finite()).collect())
        .collect();
    let values = lines.iter().flatten().map(|&(_, value)| value);
    let ends = (learning.epochs.first().map(number), learning.epochs.last().map(number));
    let (Some(y), (Some(first), Some(last))) = (Axis::around(values), ends) else {
        return Ok(figure(label, "<p class=\"more\">no finite values</p>\n", &[]));
    };
    // A single epoch has no width; its dot stands in the middle.
    let (first, last) = if first < last { (first, last) } else { (first - 1.0, last + 1.0) };
    let Some(x) = Axis::of_counts(first, last) else { return Ok(String::new()) };
    let mut shapes = Vec::new();
    if let Some(best) = learning.best.map(f64::from).filter(|best| (first..=last).contains(best)) {
        let (from, to) = y.ends();
        shapes.push(Shape::guide(vec![(best, from), (best, to)]));
    }
    let mut legend = Vec::new();
    // The validation rows have the same colour in both charts.
    let colors = COLORS.iter().skip(usize::from(series.len() == 1));
    for ((points, (name, _)), &color) in lines.iter().zip(series).zip(colors) {
        let thinned = thinned(points, POINTS);
        shapes.push(if thinned.len() > 1 {
            Shape::line(thinned, color)
        } else {
            Shape::Dots { points: thinned, color }
        });
        legend.push((color, (*name).to_owned()));
    }
    if learning.best.is_some() {
        legend.push((INK, "best epoch".to_owned()));
    }
    let chart =
        Chart { description: description.to_owned(), size: SIZE, x: (x, "epoch"), y: (y, ""), shapes };
    Ok(figure(label, &chart.svg()?, &legend))
}
