//! Text that comes from a pod, a kubelet or a webhook, made fit for a status: one line, bounded, nothing that moves a cursor.

/// The longest message of a condition, in bytes; an Event takes no more either.
pub const MAX_MESSAGE_BYTES: usize = 1_000;
/// What ends a text that was shortened.
const ELLIPSIS: char = '…';

/// The text on one line and in at most `most` bytes: white space becomes one space, other control characters and those that
/// reverse or hide text are written as their numbers.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    // A text that is far too long is not looked at to its end; escapes only make it longer.
    for character in text.trim().chars() {
        if line.len() > most {
            break;
        }
        if character.is_whitespace() {
            if !line.ends_with(' ') {
                line.push(' ');
            }
        } else if character.is_control() || hides_text(character) {
            line.extend(character.escape_unicode());
        } else {
            line.push(character);
        }
    }
    shortened(line, most)
}

/// The text cut to `most` bytes, with an ellipsis where its end is missing.
fn shortened(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub(ELLIPSIS.len_utf8())));
        text.truncate(text.trim_end().len());
        text.push(ELLIPSIS);
    }
    text
}

/// Characters of Unicode that change the direction of text or have no width.
fn hides_text(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_escapes_what_moves_a_cursor_and_joins_lines() {
        assert_eq!(one_line(" a\n\t b\u{1b}[31m\u{202e}c ", 100), "a b\\u{1b}[31m\\u{202e}c");
    }

    #[test]
    fn one_line_is_bounded_in_bytes_and_cut_between_characters() {
        let line = one_line(&"ä".repeat(5_000), 11);
        assert_eq!(line, "ääää…");
        assert!(one_line(&"\u{1}".repeat(5_000), 100).len() <= 100);
        assert_eq!(one_line("short", 5), "short");
    }
}
