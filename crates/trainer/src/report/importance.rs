//! Which columns the model relies on.

use std::fmt::Write as _;

use super::{FeatureImportance, Importance, html, number::number};

/// The most columns that are shown.
const SHOWN: usize = 20;
/// The width of the bars' field.
const WIDTH: f64 = 400.0;

/// The section, or nothing if no column was shuffled.
pub(super) fn section(importance: &Importance<'_>) -> String {
    let shown: Vec<&FeatureImportance> =
        importance.features.iter().filter(|feature| feature.mean.is_finite()).take(SHOWN).collect();
    if shown.is_empty() {
        return String::new();
    }
    let scale = Scale::of(&shown);
    let mut rows = String::new();
    for feature in &shown {
        let deviation = if feature.deviation.is_finite() { feature.deviation } else { 0.0 };
        let cells =
            [scale.bar(feature.mean, deviation), format!("{} ± {}", number(feature.mean), number(deviation))];
        rows += &html::row(&html::text(&feature.name), &cells);
    }
    let metric = html::text(importance.metric);
    let change = format!("change of {metric}");
    let introduction = format!(
        "How much worse {metric} gets on the validation rows when the values of one column are shuffled: the mean of {} times, and \
         the deviation between them. About 0 means that the model does without the column. Columns that say the same share \
         their importance.",
        importance.repeats
    );
    let table =
        html::table("bars", "Permutation importance", &["column", "importance", change.as_str()], &rows);
    let more = html::and_more(importance.features.len(), shown.len(), "columns");
    html::section("importance", "What the model relies on", &introduction, &(table + &more))
}

/// From values to pixels.
struct Scale {
    low: f64,
    span: f64,
}

impl Scale {
    fn of(features: &[&FeatureImportance]) -> Self {
        let ends = features.iter().flat_map(|feature| {
            let deviation = if feature.deviation.is_finite() { feature.deviation } else { 0.0 };
            [feature.mean - deviation, feature.mean + deviation]
        });
        let (low, high) = ends.fold((0.0_f64, 0.0_f64), |(low, high), end| (low.min(end), high.max(end)));
        let span = high - low;
        Self { low, span: if span > 0.0 && span.is_finite() { span } else { 1.0 } }
    }

    fn x(&self, value: f64) -> f64 {
        ((value - self.low) / self.span * WIDTH).clamp(0.0, WIDTH).round()
    }

    /// A bar from 0 to the mean, and a line over one deviation to both sides.
    fn bar(&self, mean: f64, deviation: f64) -> String {
        let (zero, end) = (self.x(0.0), self.x(mean));
        let mut svg = format!("<svg class=\"bar\" viewBox=\"-2 0 {} 16\" aria-hidden=\"true\">", WIDTH + 4.0);
        let _ = write!(
            svg,
            "<rect x=\"{}\" y=\"3\" width=\"{}\" height=\"10\"/><path d=\"M{} 8H{}\"/><path class=\"zero\" d=\"M{zero} 0V16\"/></svg>",
            zero.min(end),
            (end - zero).abs(),
            self.x(mean - deviation),
            self.x(mean + deviation),
        );
        svg
    }
}
