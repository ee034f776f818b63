//! What stands at the top: how good the model is, and how good something simple is.

use std::fmt::Write as _;

use modelwright_api::training::Task;

use super::{Better, MetricRow, Report, html, number};

/// The title, the model in a few numbers, and the notes.
pub(super) fn header(report: &Report<'_>) -> String {
    let mut page = format!("<header>\n<h1>{}</h1>\n<p class=\"lead\">", html::text(report.target));
    let target = html::text(report.target);
    let _ = match report.task {
        Task::Regression => writeln!(page, "A regression: predicts the number <b>{target}</b>.</p>"),
        Task::Binary | Task::Multiclass => writeln!(
            page,
            "A classification: predicts <b>{target}</b>, which is one of {} classes.</p>",
            number::count(report.classes.len())
        ),
    };
    page.push_str("<dl class=\"cards\">\n");
    if let Some(first) = report.metrics.first() {
        card(&mut page, &html::text(&first.label), &number::number(first.model), "on the validation rows");
    }
    card(&mut page, "Training", &number::count(report.rows.training), "rows that the weights were fitted to");
    card(&mut page, "Validation", &number::count(report.rows.validation), "rows that it is judged by");
    if let Some(test) = report.rows.test {
        card(&mut page, "Test", &number::count(test), "rows that no decision looked at");
    }
    page.push_str("</dl>\n");
    if !report.notes.is_empty() {
        page.push_str("<ul class=\"notes\">\n");
        for note in report.notes {
            let _ = writeln!(page, "<li>{}</li>", html::sentence(note));
        }
        page.push_str("</ul>\n");
    }
    page + "</header>\n"
}

fn card(page: &mut String, name: &str, value: &str, meaning: &str) {
    let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}<small>{meaning}</small></dd></div>");
}

/// The metrics beside those of the baselines, with the best value of each marked.
pub(super) fn metrics(report: &Report<'_>) -> String {
    let tested = report.metrics.iter().any(|row| row.test.is_some());
    let constant = if report.task == Task::Regression { "always the mean" } else { "most frequent class" };
    let mut headings = vec!["metric", "better", "this model", "linear model", constant];
    if tested {
        headings.push("this model, test rows");
    }
    let mut rows = String::new();
    for metric in report.metrics {
        rows += &html::row(&html::text(&metric.label), &cells(metric, tested));
    }
    let table = html::table("data metrics", "Metrics", &headings, &rows);
    let verdict = report.metrics.first().map(verdict).unwrap_or_default();
    let introduction = "On the validation rows, beside two simple models that were fitted to the same training rows. The best \
                        value of each line is bold.";
    html::section("metrics", "Metrics", introduction, &(verdict + &table))
}

fn cells(metric: &MetricRow, tested: bool) -> Vec<String> {
    let candidates = [metric.model, metric.linear, metric.constant];
    let best =
        candidates.into_iter().flatten().filter(|value| value.is_finite()).reduce(|best, value| match metric
            .better
        {
            Better::Higher => best.max(value),
            Better::Lower => best.min(value),
        });
    let mut cells = vec![match metric.better {
        Better::Higher => "↑ higher".to_owned(),
        Better::Lower => "↓ lower".to_owned(),
    }];
    for value in candidates {
        let text = number::number(value);
        // What is bold is what reads the same as the best, so that no two equal numbers look different.
        let is_best = value.is_some_and(f64::is_finite) && best.map(number::number).as_ref() == Some(&text);
        cells.push(if is_best { format!("<b>{text}</b>") } else { text });
    }
    if tested {
        cells.push(number::number(metric.test));
    }
    cells
}

/// Whether the network was worth it, in one sentence.
fn verdict(metric: &MetricRow) -> String {
    let better = |a: f64, b: f64| match metric.better {
        Better::Higher => a > b,
        Better::Lower => a < b,
    };
    let label = html::text(&metric.label);
    let (Some(model), Some(linear)) = (metric.model, metric.linear) else { return String::new() };
    let (kind, sentence) = if better(model, linear) {
        ("good", format!("By {label} the network is better than a linear model."))
    } else if better(linear, model) {
        (
            "warning",
            format!(
                "By {label} a linear model is better than this network. Fewer or smaller layers, more regularisation or more \
                 rows may help; or <code>layers: []</code>, which is a linear model."
            ),
        )
    } else {
        ("plain", format!("By {label} the network is as good as a linear model."))
    };
    format!("<p class=\"verdict {kind}\">{sentence}</p>\n")
}
