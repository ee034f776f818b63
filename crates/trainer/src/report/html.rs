//! Text and tables as HTML.

use std::fmt::Write as _;

/// The most characters of a name that are shown.
const LONGEST: usize = 80;

/// A text for an element or a quoted attribute: escaped, without control characters, and not longer than is readable.
pub(super) fn text(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (index, character) in value.chars().enumerate() {
        if index == LONGEST {
            escaped.push('…');
            break;
        }
        push(&mut escaped, character);
    }
    escaped
}

/// A sentence: like [`text`], but of any length.
pub(super) fn sentence(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    value.chars().for_each(|character| push(&mut escaped, character));
    escaped
}

fn push(into: &mut String, character: char) {
    match character {
        '<' => into.push_str("&lt;"),
        '>' => into.push_str("&gt;"),
        '&' => into.push_str("&amp;"),
        '"' => into.push_str("&quot;"),
        '\'' => into.push_str("&#39;"),
        '\n' | '\r' | '\t' => into.push(' '),
        // Controls are no HTML, and those of direction would turn what stands beside a name.
        _ if character.is_control() || is_directional(character) => into.push('\u{fffd}'),
        _ => into.push(character),
    }
}

fn is_directional(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A section with its heading and what it says about itself.
pub(super) fn section(id: &str, heading: &str, introduction: &str, content: &str) -> String {
    let mut page = format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{heading}</h2>\n");
    if !introduction.is_empty() {
        let _ = writeln!(page, "<p class=\"lead\">{introduction}</p>");
    }
    page + content + "</section>\n"
}

/// A table whose first column names its rows. `content` is its rows, as [`row`] writes them.
pub(super) fn table(class: &str, caption: &str, headings: &[&str], content: &str) -> String {
    let mut page = format!("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">");
    let _ = write!(page, "<table class=\"{class}\">\n<caption>{caption}</caption>\n<thead><tr>");
    for heading in headings {
        let _ = write!(page, "<th scope=\"col\">{heading}</th>");
    }
    page + "</tr></thead>\n<tbody>\n" + content + "</tbody>\n</table></div>\n"
}

/// A row of a table: its name and its cells, both of them already HTML.
pub(super) fn row(name: &str, cells: &[String]) -> String {
    let mut row = format!("<tr><th scope=\"row\">{name}</th>");
    for cell in cells {
        let _ = write!(row, "<td>{cell}</td>");
    }
    row + "</tr>\n"
}

/// What is said of rows that are not shown; nothing if all are.
pub(super) fn and_more(all: usize, shown: usize, what: &str) -> String {
    if all > shown {
        format!("<p class=\"more\">and {} more {what}</p>\n", all - shown)
    } else {
        String::new()
    }
}
