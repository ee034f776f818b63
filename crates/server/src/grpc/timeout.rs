//! The header `grpc-timeout`. Pure.

use std::time::Duration;

use http::HeaderValue;
use tonic::Status;

/// The most digits that the protocol allows.
const DIGITS: usize = 8;

/// Reads up to eight digits and a unit.
pub(super) fn parse(value: &HeaderValue) -> Result<Duration, Status> {
    let wrong =
        || Status::invalid_argument("grpc-timeout is not up to eight digits and one of H, M, S, m, u, n");
    let (unit, digits) = value.as_bytes().split_last().ok_or_else(wrong)?;
    let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
    if digits.len() > DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: u64 = digits.parse().map_err(|_| wrong())?;
    match unit {
        b'H' => Ok(Duration::from_secs(count * 3600)),
        b'M' => Ok(Duration::from_secs(count * 60)),
        b'S' => Ok(Duration::from_secs(count)),
        b'm' => Ok(Duration::from_millis(count)),
        b'u' => Ok(Duration::from_micros(count)),
        b'n' => Ok(Duration::from_nanos(count)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("1S", Some(Duration::from_secs(1)))]
    #[case("99999999H", Some(Duration::from_hours(99_999_999)))]
    #[case("2M", Some(Duration::from_mins(2)))]
    #[case("250m", Some(Duration::from_millis(250)))]
    #[case("7u", Some(Duration::from_micros(7)))]
    #[case("0n", Some(Duration::ZERO))]
    #[case("123456789S", None)]
    #[case("S", None)]
    #[case("", None)]
    #[case("1", None)]
    #[case("1s", None)]
    #[case("-1S", None)]
    #[case("+1S", None)]
    #[case("1.5S", None)]
    fn only_what_the_protocol_says(#[case] text: &str, #[case] timeout: Option<Duration>) {
        assert_eq!(parse(&HeaderValue::from_str(text).unwrap()).ok(), timeout, "{text}");
    }
}
