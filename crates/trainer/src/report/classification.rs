//! Which classes are taken for which.

use std::fmt::Write as _;

use super::chart::{COLORS, Chart, Shape, figure, thinned};
use super::{ReportError, RocCurve, axis::Axis, html, number};

/// The most classes of which each cell is written; more are drawn.
const WRITTEN: usize = 20;
/// The most classes that are drawn.
const DRAWN: usize = 100;
/// The most confusions that are listed where cells are not written.
const CONFUSIONS: usize = 20;
/// Points of a curve.
const POINTS: usize = 200;

/// The confusion matrix, rows first.
pub(super) fn confusion(classes: &[String], counts: &[Vec<u64>]) -> String {
    let content = if classes.len() <= WRITTEN {
        written(classes, counts)
    } else {
        let map = if classes.len() <= DRAWN { heat_map(counts) } else { String::new() };
        map + &listed(classes, counts)
    };
    let mut introduction =
        "The validation rows by what the data say (row) and what the model says (column). Right answers stand on the diagonal."
            .to_owned();
    if classes.len() <= WRITTEN {
        introduction.push_str(
            " <em>Recall</em> is how many rows of a class are found, <em>precision</em> how many of those that are called so \
             are.",
        );
    }
    html::section("confusion", "Confusion matrix", &introduction, &content)
}

/// Found and wrongly found rows of a class: right, of the class, called so.
fn totals(counts: &[Vec<u64>], class: usize) -> (u64, u64, u64) {
    let of_class = counts[class].iter().sum();
    let called = counts.iter().map(|row| row[class]).sum();
    (counts[class][class], of_class, called)
}

fn written(classes: &[String], counts: &[Vec<u64>]) -> String {
    let names: Vec<String> = classes.iter().map(|class| html::text(class)).collect();
    let mut headings = vec!["actual ↓ &nbsp; predicted →"];
    headings.extend(names.iter().map(String::as_str));
    headings.push("recall");
    let mut rows = String::new();
    for (class, name) in names.iter().enumerate() {
        let (right, of_class, _) = totals(counts, class);
        let _ = write!(rows, "<tr><th scope=\"row\">{name}</th>");
        for (other, &count) in counts[class].iter().enumerate() {
            let kind = if other == class { "right" } else { "wrong" };
            // Even a single row can be seen.
            let heat = if count == 0 { 0 } else { 14 + count * 56 / of_class.max(1) };
            let _ = write!(
                rows,
                "<td class=\"heat {kind}\" style=\"--heat:{heat}%\">{}</td>",
                number::count(count)
            );
        }
        let _ = writeln!(rows, "<td>{}</td></tr>", number::percent(right, of_class));
    }
    rows.push_str("<tr class=\"total\"><th scope=\"row\">precision</th>");
    for class in 0..classes.len() {
        let (right, _, called) = totals(counts, class);
        let _ = write!(rows, "<td>{}</td>", number::percent(right, called));
    }
    rows.push_str("<td></td></tr>\n");
    html::table("confusion", "Confusion matrix", &headings, &rows)
}

/// A square for each cell that is not empty: one path for the right and one for the wrong ones of each of ten strengths.
fn heat_map(counts: &[Vec<u64>]) -> String {
    let mut right = [const { String::new() }; 10];
    let mut wrong = right.clone();
    for (y, row) in counts.iter().enumerate() {
        let total = row.iter().sum::<u64>().max(1);
        for (x, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            let strength = usize::try_from(count * 9 / total).unwrap_or(9);
            let paths = if x == y { &mut right } else { &mut wrong };
            let _ = write!(paths[strength], "M{x} {y}h1v1h-1z");
        }
    }
    let side = counts.len();
    let mut svg = format!(
        "<svg class=\"map\" role=\"img\" aria-label=\"Heat map of the confusion matrix of {side} classes\" viewBox=\"0 0 {side} \
         {side}\">\n"
    );
    for (kind, paths) in [("right", right), ("wrong", wrong)] {
        for (strength, path) in paths.iter().enumerate().filter(|(_, path)| !path.is_empty()) {
            let opacity = tenth(strength + 1);
            let _ = writeln!(svg, "<path class=\"{kind}\" d=\"{path}\" opacity=\"{opacity}\"/>");
        }
    }
    svg.push_str("</svg>\n");
    figure("Classes from the first (top, left) to the last", &svg, &[])
}

/// A number of tenths, from 1 to 10.
fn tenth(tenths: usize) -> String {
    if tenths == 10 { "1".to_owned() } else { format!("0.{tenths}") }
}

/// The most frequent confusions.
fn listed(classes: &[String], counts: &[Vec<u64>]) -> String {
    let cells = counts.iter().enumerate().flat_map(|(actual, row)| {
        row.iter().enumerate().map(move |(predicted, &count)| (actual, predicted, count))
    });
    let mut wrong: Vec<_> =
        cells.filter(|&(actual, predicted, count)| actual != predicted && count > 0).collect();
    wrong.sort_by_key(|&(actual, predicted, count)| (std::cmp::Reverse(count), actual, predicted));
    let mut rows = String::new();
    for &(actual, predicted, count) in wrong.iter().take(CONFUSIONS) {
        let of_class = counts[actual].iter().sum();
        let cells = [html::text(&classes[predicted]), number::count(count), number::percent(count, of_class)];
        rows += &html::row(&html::text(&classes[actual]), &cells);
    }
    let headings = ["actual", "taken for", "rows", "of the class"];
    html::table("data", "Most frequent confusions", &headings, &rows)
        + &html::and_more(wrong.len(), CONFUSIONS, "kinds of confusion")
}

/// The ROC curves, or nothing if there are none.
pub(super) fn roc(curves: &[RocCurve]) -> Result<String, ReportError> {
    let rate = || Axis::between(0.0, 1.0);
    let (Some(x), Some(y), Some(first)) = (rate(), rate(), curves.first()) else { return Ok(String::new()) };
    let mut shapes = vec![Shape::guide(vec![(0.0, 0.0), (1.0, 1.0)])];
    let mut legend = Vec::new();
    for (curve, color) in curves.iter().zip(COLORS) {
        let in_range = |rate: f64| (0.0..=1.0).contains(&rate);
        let points: Vec<_> =
            curve.points.iter().copied().filter(|&(x, y)| in_range(x) && in_range(y)).collect();
        shapes.push(Shape::line(thinned(&points, POINTS), color));
        legend.push((color, format!("{} <b>{}</b>", html::text(&curve.class), number::number(curve.area))));
    }
    let description = if curves.len() == 1 {
        format!("ROC curve of {}, area {}", first.class, number::number(first.area))
    } else {
        format!("ROC curves of {} classes, each against all others", legend.len())
    };
    let chart = Chart {
        description,
        size: (560, 480),
        x: (x, "false positive rate"),
        y: (y, "true positive rate"),
        shapes,
    };
    let content = figure("Area under the curve", &chart.svg()?, &legend)
        + &html::and_more(curves.len(), legend.len(), "classes");
    Ok(html::section(
        "roc",
        "ROC curve",
        "How many rows of the class are found (up) at the price of how many false alarms (right), for every threshold of its \
         probability. The closer to the upper left corner, the better; guessing gives the diagonal and an area of 0.5.",
        &content,
    ))
}
