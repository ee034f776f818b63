//! A chain as a tree in plain text.

use super::Link;

/// The widest line.
const WIDTH: usize = 110;

/// The tree, then what to do next. No line is wider than 110 characters, unless one word is.
pub fn render(chain: &[Link]) -> String {
    let mut lines = Vec::new();
    for (index, link) in chain.iter().enumerate() {
        let (first, rest) = prefixes(chain, index);
        let text = format!("{} {}: {}", link.mark.as_char(), link.what, link.text);
        let more = format!("{rest}  ");
        lines.extend(wrapped(&text, &first, &more, ""));
    }
    let steps: Vec<&String> = chain.iter().flat_map(|link| &link.next).collect();
    if !steps.is_empty() {
        lines.push("next:".to_owned());
        lines.extend(steps.into_iter().flat_map(|step| command(step)));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// What stands before the first line of a link, and before its others.
fn prefixes(chain: &[Link], index: usize) -> (String, String) {
    let depth = chain.get(index).map_or(0, |link| link.depth);
    // Whether another branch of this level follows beneath the same parent.
    let goes_on = |level: usize| {
        let after = chain.iter().skip(index + 1).take_while(|link| link.depth >= level);
        after.into_iter().any(|link| link.depth == level)
    };
    let trunk: String = (1..depth).map(|level| if goes_on(level) { "│  " } else { "   " }).collect();
    match depth {
        0 => (String::new(), String::new()),
        _ if goes_on(depth) => (format!("{trunk}├─ "), format!("{trunk}│  ")),
        _ => (format!("{trunk}└─ "), format!("{trunk}   ")),
    }
}

/// A step: a command that a shell takes as it stands, with its remark on a line of its own where both are too wide.
fn command(step: &str) -> Vec<String> {
    if 2 + step.chars().count() <= WIDTH {
        return vec![format!("  {step}")];
    }
    let (command, remark) = step.split_once("  # ").unwrap_or((step, ""));
    let mut lines = if remark.is_empty() { Vec::new() } else { wrapped(remark, "  # ", "  # ", "") };
    if command.starts_with('#') {
        lines.extend(wrapped(command, "  ", "  # ", ""));
    } else {
        lines.extend(wrapped(command, "  ", "    ", " \\"));
    }
    lines
}

/// The text in lines; each but the last ends with `end`.
fn wrapped(text: &str, first: &str, more: &str, end: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut empty = true;
    for word in text.split(' ') {
        let width = line.chars().count() + 1 + word.chars().count() + end.chars().count();
        if !empty && width > WIDTH {
            lines.push(format!("{line}{end}"));
            (line, empty) = (more.to_owned(), true);
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    lines.push(line);
    lines
}
