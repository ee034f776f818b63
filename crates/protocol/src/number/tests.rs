use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// Reads a text as it stands in an array, with room behind it.
fn scan<T: Scalar>(text: &str) -> Option<T> {
    let padded = format!("{text},                ");
    let (value, end) = T::scan(padded.as_bytes(), 0)?;
    // A text that is no number may begin with one; the scanner then looks at what follows.
    (end == text.len()).then_some(value)
}

/// Checks that what is read at once has the bits of the standard library, and says whether it was read.
fn check(text: &str) -> Result<bool, TestCaseError> {
    let single = scan::<f32>(text);
    if let Some(value) = single {
        prop_assert_eq!(Ok(value.to_bits()), text.parse().map(f32::to_bits), "FP32 {}", text);
    }
    let double = scan::<f64>(text);
    if let Some(value) = double {
        prop_assert_eq!(Ok(value.to_bits()), text.parse().map(f64::to_bits), "FP64 {}", text);
    }
    Ok(single.is_some() && double.is_some())
}

#[rstest]
#[case("0")]
#[case("-0")]
#[case("-0.0")]
#[case("0e5")]
#[case("16777215")]
#[case("16777216")]
#[case("16777218")]
#[case("9007199254740991")]
#[case("9007199254740992")]
#[case("9007199254740993")]
#[case("9007199254740995")]
#[case("9999999999999999999")]
#[case("0.1")]
#[case("0.30000000000000004")]
#[case("0.00012345678901234567")]
#[case("1e22")]
#[case("1e23")]
#[case("1E-27")]
#[case("123456789012345678e-27")]
#[case("9007199254740993e27")]
fn usual_spellings_are_read_at_once_and_exactly(#[case] text: &str) {
    assert!(scan::<f64>(text).is_some(), "{text}");
    check(text).unwrap();
}

#[rstest]
#[case::halfway_between_singles("16777217")]
#[case::halfway_between_singles_with_fraction("16777217.0")]
#[case::beyond_singles("340282356779733661637539395458142568448")]
#[case::too_many_digits("12345678901234567890")]
#[case::halfway_and_a_bit("1.000000059604644775390625000000000000000001")]
#[case::far_exponent("1e-45")]
#[case::long_exponent("1e0001")]
#[case::leading_zero("01")]
#[case::no_digit_before_the_point(".5")]
#[case::no_digit_after_the_point("1.")]
#[case::no_exponent("1e")]
#[case::plus("+1")]
#[case::hexadecimal("0x1")]
#[case::word("NaN")]
#[case::minus_alone("-")]
fn whatever_is_unusual_is_left_to_the_general_path(#[case] text: &str) {
    assert_eq!(scan::<f32>(text), None, "{text}");
}

#[test]
fn every_count_of_digits_is_read() {
    for count in 0..=8 {
        for after in [b',', b']', b' ', b'.', b'e', b'/', b':', b'-', 0x00, 0x7f, 0x80, 0xff] {
            let mut text = [after; 8];
            text[..count].copy_from_slice(&b"98765432"[..count]);
            let value = "98765432"[..count].parse().unwrap_or(0);
            let (values, found) = leading_digits(text);
            assert_eq!((found, value_of(values, found)), (count, value), "{text:?}");
        }
    }
}

#[test]
fn the_ends_of_every_integer_type_are_read() {
    assert_eq!((scan::<i8>("-128"), scan::<i8>("-129"), scan::<i8>("128")), (Some(-128), None, None));
    assert_eq!((scan::<u8>("255"), scan::<u8>("256"), scan::<u8>("-0")), (Some(255), None, Some(0)));
    assert_eq!((scan::<u8>("-1"), scan::<u16>("65536"), scan::<i16>("-32769")), (None, None, None));
    assert_eq!((scan("-9223372036854775808"), scan::<i64>("-9223372036854775809")), (Some(i64::MIN), None));
    assert_eq!((scan("9223372036854775807"), scan::<i64>("9223372036854775808")), (Some(i64::MAX), None));
    assert_eq!(scan("9999999999999999999"), Some(9_999_999_999_999_999_999_u64));
    // 20 digits may be too many for 64 bits.
    assert_eq!(scan::<u64>("18446744073709551615"), None);
    assert_eq!((scan::<i32>("1.0"), scan::<i32>("1e3"), scan::<i32>("00")), (None, None, None));
}

#[test]
fn truth_values_are_words() {
    assert_eq!((scan("true"), scan("false"), scan::<bool>("1")), (Some(true), Some(false), None));
}

#[test]
fn doubles_around_every_midpoint_of_singles_are_rounded_once() {
    let mut read = 0;
    for bits in (0x0080_0000..0x7f7f_fffe_u32).step_by(7_919_993) {
        let (low, high) = (f64::from(f32::from_bits(bits)), f64::from(f32::from_bits(bits + 1)));
        let middle = f64::midpoint(low, high);
        for value in [low, low.next_up(), middle.next_down(), middle, middle.next_up(), high.next_down()] {
            read += usize::from(check(&value.to_string()).unwrap())
                + usize::from(check(&format!("{value:e}")).unwrap());
        }
    }
    assert!(read > 500, "{read}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn decimals_have_the_bits_of_the_standard_library(text in r"-?(0|[1-9][0-9]{0,21})(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?") {
        check(&text)?;
    }

    #[test]
    fn every_mantissa_and_exponent_has_the_bits_of_the_standard_library(mantissa in any::<u64>(), shift in 0_u32..64, power in -30_i32..=30) {
        check(&format!("{}e{power}", mantissa >> shift))?;
    }

    #[test]
    fn what_clients_write_is_read_at_once(single in -1e6_f32..1e6, double in -1e6_f64..1e6, decimals in 1_usize..9) {
        prop_assert_eq!(scan(&single.to_string()), Some(single));
        prop_assert_eq!(scan(&double.to_string()), Some(double));
        let text = format!("{double:.decimals$}");
        prop_assert_eq!(scan::<f64>(&text), Some(text.parse().unwrap()));
        check(&text)?;
    }

    #[test]
    fn doubles_next_to_halfway_are_exact(bits in any::<u64>(), power in -20_i32..=20) {
        // Midpoints of doubles have 54 bits: 2^53 + 1 and its like, times powers of two.
        let mantissa = (bits >> 11) | (1 << 53) | 1;
        check(&format!("{mantissa}e{power}"))?;
        check(&format!("{}e{power}", mantissa << 8))?;
        check(&format!("{}", mantissa << (bits % 11)))?;
    }

    #[test]
    fn integers_are_those_of_the_standard_library(text in r"-?(0|[1-9][0-9]{0,20})") {
        if let Some(value) = scan::<i64>(&text) {
            prop_assert_eq!(Ok(value), text.parse());
        }
        if let Some(value) = scan::<u64>(&text) {
            prop_assert_eq!(Ok(value), text.trim_start_matches("-0").parse().or(text.replace('-', "").parse()));
        }
        if let Some(value) = scan::<i32>(&text) {
            prop_assert_eq!(Ok(value), text.parse());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), at in 0_usize..50) {
        let _ = (f32::scan(&bytes, at), f64::scan(&bytes, at), i8::scan(&bytes, at), u64::scan(&bytes, at));
        let _ = (bool::scan(&bytes, at), f16::scan(&bytes, at));
    }
}
