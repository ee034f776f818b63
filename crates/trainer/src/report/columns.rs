//! What the data are like, and what is done to them.

use modelwright_api::training::ColumnKind;

use super::{ColumnSummary, ColumnValues, html, number};

/// The most columns that are listed.
const SHOWN: usize = 100;
/// The most categories of a column that are named.
const CATEGORIES: usize = 4;

/// The section, or nothing if there are no columns. `rows` is how many rows were looked at.
pub(super) fn section(columns: &[ColumnSummary], rows: usize) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let mut content = String::new();
    for column in columns.iter().take(SHOWN) {
        content += &html::row(&html::text(&column.name), &cells(column, rows));
    }
    let headings = ["column", "type", "missing", "distinct", "values", "missing becomes", "scaling"];
    let table = html::table("data", "Columns", &headings, &content);
    let more = html::and_more(columns.len(), SHOWN, "columns");
    html::section(
        "columns",
        "Data",
        "The columns of the training rows, and what is done to them before the network sees them. The same is done to every \
         request, inside the model.",
        &(table + &more),
    )
}

fn cells(column: &ColumnSummary, rows: usize) -> [String; 6] {
    let kind = match column.kind {
        ColumnKind::Numeric => "number",
        ColumnKind::String => "text",
        ColumnKind::Boolean => "truth value",
        ColumnKind::Ignored => "not used",
    };
    let missing = if column.missing == 0 {
        "0".to_owned()
    } else {
        let share = number::percent(column.missing.try_into().unwrap_or(0), rows.try_into().unwrap_or(0));
        format!("{} ({share})", number::count(column.missing))
    };
    let distinct = column.distinct.map_or_else(|| number::number(None), number::count);
    let values = match &column.values {
        ColumnValues::Numbers { min, mean, max } => {
            format!("{} to {}, mean {}", number::plain(*min), number::plain(*max), number::plain(*mean))
        }
        ColumnValues::Categories(categories) => most_frequent(categories, column.distinct.unwrap_or(0)),
        ColumnValues::Unknown => number::number(None),
    };
    let fill = match column.fill.as_deref() {
        None => number::number(None),
        Some("") => "its own category".to_owned(),
        Some(fill) => html::text(fill),
    };
    let scaling = column.scaling.map_or_else(
        || number::number(None),
        |(mean, deviation)| format!("(x − {}) / {}", number::plain(mean), number::plain(deviation)),
    );
    [kind.to_owned(), missing, distinct, values, fill, scaling]
}

fn most_frequent(categories: &[(String, usize)], distinct: usize) -> String {
    let shown = categories.iter().take(CATEGORIES);
    let named: Vec<String> =
        shown.map(|(name, rows)| format!("{} ({})", html::text(name), number::count(*rows))).collect();
    if distinct > named.len() && !named.is_empty() {
        format!("{}, …", named.join(", "))
    } else {
        named.join(", ")
    }
}
