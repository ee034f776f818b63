//! How numbers are written. Only `format!` of a fixed number of decimals is used, which rounds correctly everywhere.

/// What stands where there is no number.
const NONE: &str = "–";

/// A number in about four significant digits; a dash if there is none.
pub(super) fn number(value: impl Into<Option<f64>>) -> String {
    let Some(value) = value.into().filter(|value| value.is_finite()) else { return NONE.to_owned() };
    let size = value.abs();
    let text = if size == 0.0 {
        return "0".to_owned();
    } else if !(1e-4..1e7).contains(&size) {
        format!("{value:.3e}")
    } else if size >= 1000.0 {
        format!("{value:.1}")
    } else if size >= 100.0 {
        format!("{value:.2}")
    } else if size >= 10.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.4}")
    };
    with_minus(&text)
}

/// A number of the data, without zeros at its end.
pub(super) fn plain(value: f64) -> String {
    let text = number(value);
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// A count with its thousands apart.
pub(super) fn count(value: impl TryInto<u64>) -> String {
    let Ok(value) = value.try_into() else { return NONE.to_owned() };
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A part of a whole in per cent; a dash of nothing.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { NONE.to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / whole as f64) }
}

/// With the sign that people write.
pub(super) fn with_minus(text: &str) -> String {
    text.replace('-', "−")
}
