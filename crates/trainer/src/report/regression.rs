//! How far predicted numbers are from the actual ones.

use super::chart::{COLORS, Chart, Shape, figure, thinned};
use super::{ReportError, axis::Axis, html, number};

/// The most dots of a chart.
const DOTS: usize = 600;
/// Bars of the histogram.
const BARS: usize = 25;
const SIZE: (u32, u32) = (560, 380);

/// The section, or nothing if there are no finite numbers.
pub(super) fn section(actual: &[f32], predicted: &[f32]) -> Result<String, ReportError> {
    let pairs: Vec<(f64, f64)> = actual
        .iter()
        .zip(predicted)
        .map(|(&actual, &predicted)| (f64::from(actual), f64::from(predicted)))
        .filter(|(actual, predicted)| actual.is_finite() && predicted.is_finite())
        .collect();
    if pairs.is_empty() {
        return Ok(String::new());
    }
    let content = format!("<div class=\"charts\">\n{}{}</div>\n", scatter(&pairs)?, residuals(&pairs)?);
    Ok(html::section(
        "residuals",
        "Predictions and residuals",
        "Each dot is a validation row. On the line the prediction is exact; above it the model says too much, below it too \
         little. A residual is what the model says less what the data say: the closer to 0 and the more even on both sides, \
         the better.",
        &content,
    ))
}

fn scatter(pairs: &[(f64, f64)]) -> Result<String, ReportError> {
    let both = || pairs.iter().flat_map(|&(actual, predicted)| [actual, predicted]);
    let (Some(x), Some(y)) = (Axis::around(both()), Axis::around(both())) else { return Ok(String::new()) };
    let (from, to) = x.ends();
    let dots = thinned(pairs, DOTS);
    let caption = if dots.len() < pairs.len() {
        format!("{} of {} rows", number::count(dots.len()), number::count(pairs.len()))
    } else {
        format!("{} rows", number::count(pairs.len()))
    };
    let chart = Chart {
        description:
            "Predicted over actual numbers of the validation rows, with the line of exact predictions"
                .to_owned(),
        size: SIZE,
        x: (x, "actual"),
        y: (y, "predicted"),
        shapes: vec![
            Shape::guide(vec![(from, from), (to, to)]),
            Shape::Dots { points: dots, color: COLORS[0] },
        ],
    };
    Ok(figure(&caption, &chart.svg()?, &[]))
}

fn residuals(pairs: &[(f64, f64)]) -> Result<String, ReportError> {
    let residuals: Vec<f64> = pairs.iter().map(|(actual, predicted)| predicted - actual).collect();
    // As far to the left as to the right, so that 0 is in the middle.
    let far = residuals.iter().fold(0.0_f64, |far, residual| far.max(residual.abs()));
    let far = if far > 0.0 { far } else { 1.0 };
    let Some(x) = Axis::between(-far * 1.04, far * 1.04) else { return Ok(String::new()) };
    let mut counts = [0_u32; BARS];
    for residual in &residuals {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to the number of bars"
        )]
        let bar = ((residual + far) / (2.0 * far) * BARS as f64).clamp(0.0, BARS as f64) as usize;
        counts[bar.min(BARS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0);
    let Some(y) = Axis::of_counts(0.0, f64::from(most) * 1.05) else { return Ok(String::new()) };
    let edge = |bar: usize| -far + 2.0 * far * bar as f64 / BARS as f64;
    let bars =
        counts.iter().enumerate().map(|(bar, &count)| (edge(bar), edge(bar + 1), f64::from(count))).collect();
    let top = y.ends().1;
    let chart = Chart {
        description: "Histogram of the residuals of the validation rows".to_owned(),
        size: SIZE,
        x: (x, "predicted − actual"),
        y: (y, "rows"),
        shapes: vec![Shape::Bars { bars, color: COLORS[0] }, Shape::guide(vec![(0.0, 0.0), (0.0, top)])],
    };
    Ok(figure("Residuals", &chart.svg()?, &[]))
}
