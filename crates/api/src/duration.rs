//! Durations as Kubernetes users write them: `90s`, `10m`, `1h30m`, `500ms`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{text:?} is not a duration; write whole numbers with units h, m, s or ms, such as 90s, 10m or 1h30m"
)]
pub struct DurationError {
    /// What was written.
    pub text: String,
}

/// Reads a duration made of whole numbers with the units `h`, `m`, `s` and `ms`, each number of at most six digits.
///
/// It is the part of Go's `time.ParseDuration` that has one obvious meaning: no signs, no fractions, no bare numbers.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let error = || DurationError { text: text.chars().take(64).collect() };
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=6).contains(&digits) {
            return Err(error());
        }
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| error())?;
        let units = tail.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, tail) = tail.split_at(units);
        let part = match unit {
            "h" => Duration::from_secs(number * 3_600),
            "m" => Duration::from_secs(number * 60),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            _ => return Err(error()),
        };
        total = total.saturating_add(part);
        rest = tail;
    }
    if text.is_empty() { Err(error()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10m", 600_000)]
    #[case("1h30m", 5_400_000)]
    #[case("90s", 90_000)]
    #[case("500ms", 500)]
    #[case("0s", 0)]
    #[case("1m500ms", 60_500)]
    fn durations_read_as_go_reads_them(#[case] written: &str, #[case] milliseconds: u64) {
        assert_eq!(parse(written), Ok(Duration::from_millis(milliseconds)));
    }

    #[rstest]
    #[case("")]
    #[case("10")]
    #[case("10 m")]
    #[case("-1m")]
    #[case("1.5h")]
    #[case("10min")]
    #[case("1234567s")]
    #[case("m")]
    fn other_texts_are_refused_with_what_to_write(#[case] written: &str) {
        assert!(parse(written).unwrap_err().to_string().contains("such as 90s"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(written in "\\PC{0,40}") {
            let _ = parse(&written);
        }
    }
}
