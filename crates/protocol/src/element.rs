//! How one element of each type is read from JSON.

use bytes::Bytes;
use half::{bf16, f16};

use crate::error::{Error, excerpt};
use crate::json::Scanner;
use crate::path::Path;

/// What `null` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Null {
    /// Nothing: it is refused.
    Refused,
    /// A number that is missing: NaN.
    Number,
    /// A text that is missing: the empty one.
    Text,
    /// A truth value that is missing: this one.
    Boolean(bool),
}

/// An element type that JSON can carry.
pub(crate) trait Element: Clone + Default {
    /// What belongs here, for error messages.
    const WANTED: &'static str;

    /// The element in the place of `null`, or `None` where the type has none.
    #[inline]
    fn of_null(_null: Null) -> Option<Self> {
        None
    }

    /// Reads elements of an array for as long as that is easy, at most `limit`, and says how many.
    #[inline]
    fn read_run(_scanner: &mut Scanner<'_>, _values: &mut Vec<Self>, _limit: usize) -> usize {
        0
    }

    /// Reads the next value.
    fn read(scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<Self, Error>;
}

/// Only `true` and `false`, as Triton has it: 0 and 1 would make a wrong datatype look right.
impl Element for bool {
    const WANTED: &'static str = "true or false (BOOL)";

    #[inline]
    fn of_null(null: Null) -> Option<Self> {
        if let Null::Boolean(value) = null { Some(value) } else { None }
    }

    #[inline]
    fn read_run(scanner: &mut Scanner<'_>, values: &mut Vec<Self>, limit: usize) -> usize {
        scanner.read_run(values, limit)
    }

    #[inline]
    fn read(scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<Self, Error> {
        scanner.boolean(Self::WANTED, path)
    }
}

impl Element for Bytes {
    const WANTED: &'static str = "a string (BYTES)";

    #[inline]
    fn of_null(null: Null) -> Option<Self> {
        (null == Null::Text).then(Self::new)
    }

    #[inline]
    fn read(scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<Self, Error> {
        Ok(scanner.string(Self::WANTED, path)?.into_owned().into())
    }
}

/// The error for a number that the type cannot hold.
#[cold]
fn out_of_type(token: &str, wanted: &str, path: &Path<'_>) -> Error {
    Error::InvalidValue { path: path.to_string(), got: excerpt(token), wanted: wanted.to_owned() }
}

/// Integers are digits only: `1.0` and `1e3` are refused, since a client that sends them has the wrong datatype.
macro_rules! integer {
    ($type:ty, $wanted:literal) => {
        impl Element for $type {
            const WANTED: &'static str = $wanted;

            #[inline]
            fn read_run(scanner: &mut Scanner<'_>, values: &mut Vec<Self>, limit: usize) -> usize {
                scanner.read_run(values, limit)
            }

            #[inline]
            fn read(scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<Self, Error> {
                let token = scanner.number($wanted, path)?;
                // `-0` is a JSON integer, but not one that unsigned types parse.
                let digits = if token == "-0" { "0" } else { token };
                digits.parse().map_err(|_| out_of_type(token, $wanted, path))
            }
        }
    };
}
integer!(u8, "an integer from 0 to 255 (UINT8)");
integer!(u16, "an integer from 0 to 65535 (UINT16)");
integer!(u32, "an integer from 0 to 4294967295 (UINT32)");
integer!(u64, "an integer from 0 to 18446744073709551615 (UINT64)");
integer!(i8, "an integer from -128 to 127 (INT8)");
integer!(i16, "an integer from -32768 to 32767 (INT16)");
integer!(i32, "an integer from -2147483648 to 2147483647 (INT32)");
integer!(i64, "an integer from -9223372036854775808 to 9223372036854775807 (INT64)");

/// Floats are the value of the type nearest to the decimal text, parsed at once in that type: going over `f64` would
/// round twice. Text beyond the largest finite value is refused rather than made infinite; text too small to be told
/// from zero becomes zero.
macro_rules! float {
    ($type:ty, $wanted:literal) => {
        impl Element for $type {
            const WANTED: &'static str = $wanted;

            #[inline]
            fn of_null(null: Null) -> Option<Self> {
                (null == Null::Number).then_some(Self::NAN)
            }

            #[inline]
            fn read_run(scanner: &mut Scanner<'_>, values: &mut Vec<Self>, limit: usize) -> usize {
                scanner.read_run(values, limit)
            }

            #[inline]
            fn read(scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<Self, Error> {
                let token = scanner.number($wanted, path)?;
                match token.parse::<$type>() {
                    Ok(value) if value.is_finite() => Ok(value),
                    _ => Err(out_of_type(token, $wanted, path)),
                }
            }
        }
    };
}
float!(f32, "a number between ±3.4028235e38 (FP32)");
float!(f64, "a number between ±1.7976931348623157e308 (FP64)");

/// The 16-bit floats have no decimal parser of their own. Going over `f64`, which has more than twice their digits,
/// gives the nearest value for every text of up to 15 digits, and reads back every value that this crate writes.
macro_rules! half_float {
    ($type:ty, $wanted:literal) => {
        impl Element for $type {
            const WANTED: &'static str = $wanted;

            #[inline]
            fn read_run(scanner: &mut Scanner<'_>, values: &mut Vec<Self>, limit: usize) -> usize {
                scanner.read_run(values, limit)
            }

            #[inline]
            fn read(scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<Self, Error> {
                let token = scanner.number($wanted, path)?;
                match token.parse::<f64>().map(<$type>::from_f64) {
                    Ok(value) if value.is_finite() => Ok(value),
                    _ => Err(out_of_type(token, $wanted, path)),
                }
            }
        }
    };
}
half_float!(f16, "a number between ±65504 (FP16)");
half_float!(bf16, "a number between ±3.3895314e38 (BF16)");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read<T: Element>(text: &str) -> Result<T, Error> {
        T::read(&mut Scanner::new(text.as_bytes(), 4)?, &Path::Root)
    }

    #[rstest]
    #[case(read::<u8>("256").unwrap_err(), "body: got 256, wanted an integer from 0 to 255 (UINT8)")]
    #[case(read::<u8>("-1").unwrap_err(), "body: got -1, wanted an integer from 0 to 255 (UINT8)")]
    #[case(read::<i8>("-129").unwrap_err(), "body: got -129, wanted an integer from -128 to 127 (INT8)")]
    #[case(read::<i64>("9223372036854775808").unwrap_err(), "body: got 9223372036854775808, wanted an integer")]
    #[case(read::<u64>("18446744073709551616").unwrap_err(), "body: got 18446744073709551616, wanted an integer")]
    #[case(read::<i32>("1.0").unwrap_err(), "body: got 1.0, wanted an integer")]
    #[case(read::<i32>("1e3").unwrap_err(), "body: got 1e3, wanted an integer")]
    #[case(read::<f32>("3.5e38").unwrap_err(), "body: got 3.5e38, wanted a number between ±3.4028235e38 (FP32)")]
    #[case(read::<f64>("1e309").unwrap_err(), "body: got 1e309, wanted a number between")]
    #[case(read::<f16>("65520").unwrap_err(), "body: got 65520, wanted a number between ±65504 (FP16)")]
    #[case(read::<bf16>("3.4e38").unwrap_err(), "body: got 3.4e38, wanted a number between ±3.3895314e38 (BF16)")]
    #[case(read::<f32>("\"1\"").unwrap_err(), "body: got the string \"1\", wanted a number")]
    #[case(read::<f32>("null").unwrap_err(), "body: got null, wanted a number")]
    #[case(read::<f32>("true").unwrap_err(), "body: got true, wanted a number")]
    #[case(read::<f32>("NaN").unwrap_err(), "body: got NaN (not JSON, and not finite), wanted a number")]
    #[case(read::<f32>("-Infinity").unwrap_err(), "body: got -Infinity (not JSON, and not finite), wanted")]
    #[case(read::<f32>("Infinity").unwrap_err(), "body: got Infinity (not JSON, and not finite), wanted")]
    #[case(read::<f32>("{}").unwrap_err(), "body: got an object, wanted a number")]
    #[case(read::<bool>("1").unwrap_err(), "body: got 1, wanted true or false (BOOL)")]
    #[case(read::<bool>("\"true\"").unwrap_err(), "body: got the string \"true\", wanted true or false")]
    #[case(read::<Bytes>("1").unwrap_err(), "body: got 1, wanted a string (BYTES)")]
    #[case(read::<Bytes>("\"\\ud800\"").unwrap_err(), "the request body is not valid JSON: a string has an invalid")]
    fn wrong_values_say_what_came_and_what_was_wanted(#[case] error: Error, #[case] expected: &str) {
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.status(), 400);
    }

    #[test]
    fn long_values_are_cut_in_the_message() {
        let error = read::<u8>(&"9".repeat(10_000)).unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
        let error = read::<f32>(&format!("\"{}\"", "x".repeat(10_000))).unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
    }

    #[test]
    fn the_ends_of_every_range_are_read() {
        assert_eq!(read::<u64>("18446744073709551615").unwrap(), u64::MAX);
        assert_eq!(read::<i64>("-9223372036854775808").unwrap(), i64::MIN);
        assert_eq!(read::<u8>("-0").unwrap(), 0);
        assert_eq!(read::<f32>("3.4028235e38").unwrap().to_bits(), f32::MAX.to_bits());
        assert_eq!(read::<f32>("1e-45").unwrap().to_bits(), 1);
        assert_eq!(read::<f32>("-0.0").unwrap().to_bits(), (-0.0_f32).to_bits());
        assert_eq!(read::<f32>("1e-400").unwrap().to_bits(), 0);
        assert_eq!(read::<f16>("65504").unwrap(), f16::MAX);
    }

    #[test]
    fn singles_are_rounded_once() {
        // Halfway between two singles plus a bit that a double cannot hold: over f64 it would round down.
        let text = "1.000000059604644775390625000000000000000001";
        assert_eq!(read::<f32>(text).unwrap().to_bits(), 0x3f80_0001);
    }

    proptest! {
        #[test]
        fn doubles_equal_those_of_serde_json(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            let text = format!("{value:e}");
            let theirs: f64 = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(read::<f64>(&text).unwrap().to_bits(), theirs.to_bits());
        }

        #[test]
        fn decimals_equal_those_of_serde_json(text in r"-?(0|[1-9][0-9]{0,24})(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,2})?") {
            match serde_json::from_str::<f32>(&text) {
                Ok(theirs) if theirs.is_finite() => {
                    prop_assert_eq!(read::<f32>(&text).unwrap().to_bits(), theirs.to_bits(), "{}", text);
                }
                _ => prop_assert!(read::<f32>(&text).is_err(), "{}", text),
            }
            match serde_json::from_str::<i64>(&text) {
                Ok(theirs) => prop_assert_eq!(read::<i64>(&text).unwrap(), theirs, "{}", text),
                // serde_json takes `-0` for a float.
                Err(_) => prop_assert!(read::<i64>(&text).is_err() || text == "-0", "{}", text),
            }
        }
    }
}
