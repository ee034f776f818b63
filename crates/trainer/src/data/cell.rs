//! What one text of a file means.

/// The texts that stand for a missing value: those of pandas' `read_csv` that people write by hand, in exactly this
/// spelling. `NONE`, `n/a` or `-` are texts like any other.
pub const MISSING: [&str; 8] = ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"];

/// Whether a text stands for a missing value.
pub(super) fn is_missing(text: &str) -> bool {
    MISSING.contains(&text.trim())
}

/// The truth value that a text is.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// The number that a text is, which is infinite if it is too large for 32 bits, or written as infinity. Never NaN: what
/// is written so and is not in [`MISSING`] is a text.
pub(crate) fn number(text: &str) -> Option<f32> {
    text.trim().parse().ok().filter(|number: &f32| !number.is_nan())
}

/// What to write instead of a text that nearly is a number.
pub(super) fn number_hint(text: &str) -> &'static str {
    let separators = |c: char| matches!(c, ',' | '\'' | '_' | ' ' | '\u{a0}' | '\u{202f}');
    if number(&text.replacen(',', ".", 1)).is_some() {
        "; decimals need a point, not a comma"
    } else if number(&text.replace(separators, "")).is_some() {
        "; write it without separators between the thousands"
    } else if number(text.trim().trim_end_matches('%')).is_some() {
        "; write it without the percent sign"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn missing_texts_are_exactly_the_listed_ones() {
        for text in MISSING {
            assert!(is_missing(text) && is_missing(&format!(" {text}\t")), "{text}");
        }
        for text in ["NONE", "Na", "n/a", "Null", "-", "?", "0", "NAN"] {
            assert!(!is_missing(text), "{text}");
        }
    }

    #[rstest]
    #[case("1", Some(1.0))]
    #[case(" -2.5e3 ", Some(-2500.0))]
    #[case("+.5", Some(0.5))]
    #[case("1.", Some(1.0))]
    #[case("1e39", Some(f32::INFINITY))]
    #[case("-inf", Some(f32::NEG_INFINITY))]
    #[case("1e-60", Some(0.0))]
    #[case("NAN", None)]
    #[case("0x1f", None)]
    #[case("1_000", None)]
    #[case("1,5", None)]
    #[case("", None)]
    fn numbers_are_read_straight_to_32_bits(#[case] text: &str, #[case] wanted: Option<f32>) {
        assert_eq!(number(text), wanted);
    }

    #[test]
    fn decimal_text_is_rounded_once() {
        // Through 64 bits this would be rounded twice, to 1.0000001.
        assert_eq!(number("1.00000005960464478"), Some(1.0_f32.next_up()));
        assert_eq!(number("1.000000059604644775390625"), Some(1.0));
    }

    #[test]
    fn only_the_two_words_are_truth_values() {
        assert_eq!([boolean("TRUE"), boolean(" False ")], [Some(true), Some(false)]);
        assert_eq!([boolean("1"), boolean("yes"), boolean("t")], [None; 3]);
    }
}
