//! Kubernetes quantities: `500m`, `2`, `1.5`, `4Gi`, `1e3`.
//!
//! The grammar and suffixes are those of `k8s.io/apimachinery/pkg/api/resource.Quantity`.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The longest text a quantity may have; it also bounds the cost of rules about quantities.
const MAX_LENGTH: usize = 32;

/// What [`Quantity::milli`] reads, as the API server checks it. A rule would do the same with a better message, but the
/// API server takes values without a type for as long as a request and refuses the rule as too expensive.
const PATTERN: &str = "^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]{1,2})?$";

/// A quantity as it was written: a whole number or a text such as `500m` or `4Gi`.
///
/// The writing is kept, so that a manifest survives reading and writing unchanged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Quantity {
    /// A whole number, as in `cpu: 2`.
    Integer(i64),
    /// A text, as in `cpu: 500m` or `cpu: "1.5"`.
    Text(String),
}

/// Why a text is no quantity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not follow the grammar.
    #[error(
        "{text:?} is not a quantity; write a number with an optional suffix, such as 500m, 2, \"1.5\" or 4Gi"
    )]
    Grammar {
        /// What was written.
        text: String,
    },
    /// There is a minus sign.
    #[error("{text:?} is negative; write 0 or more")]
    Negative {
        /// What was written.
        text: String,
    },
    /// The number does not fit.
    #[error("{text:?} is too large; write a smaller quantity")]
    TooLarge {
        /// What was written.
        text: String,
    },
}

/// Thousandths of one base unit that each suffix stands for, as a fraction.
const SUFFIXES: [(&str, i128, i128); 16] = [
    ("", 1_000, 1),
    ("Ki", 1_000 << 10, 1),
    ("Mi", 1_000 << 20, 1),
    ("Gi", 1_000 << 30, 1),
    ("Ti", 1_000 << 40, 1),
    ("Pi", 1_000 << 50, 1),
    ("Ei", 1_000 << 60, 1),
    ("n", 1, 1_000_000),
    ("u", 1, 1_000),
    ("m", 1, 1),
    ("k", 1_000_000, 1),
    ("M", 1_000_000_000, 1),
    ("G", 1_000_000_000_000, 1),
    ("T", 1_000_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000_000, 1),
];

impl Quantity {
    /// The amount in thousandths, rounded up, as Kubernetes rounds: `500m` is 500, `2` is 2000.
    ///
    /// For `cpu` these are millicores.
    pub fn milli(&self) -> Result<i64, QuantityError> {
        let text = self.text();
        if text.len() > MAX_LENGTH {
            let text: String = text.chars().take(MAX_LENGTH).chain("…".chars()).collect();
            return Err(QuantityError::Grammar { text });
        }
        let grammar = || QuantityError::Grammar { text: text.to_string() };
        let too_large = || QuantityError::TooLarge { text: text.to_string() };
        if text.starts_with('-') {
            return Err(QuantityError::Negative { text: text.to_string() });
        }
        let unsigned = text.strip_prefix('+').unwrap_or(&text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(grammar());
        }
        let (numerator, denominator) = scale(suffix, &text)?;
        // MAX_LENGTH keeps the number of digits below what an i128 holds.
        let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| too_large())?;
        let places = u32::try_from(fraction.len()).map_err(|_| too_large())?;
        let divisor = 10_i128
            .checked_pow(places)
            .and_then(|power| power.checked_mul(denominator))
            .ok_or_else(too_large)?;
        let scaled = digits.checked_mul(numerator).ok_or_else(too_large)?;
        let rounded_up = scaled / divisor + i128::from(scaled % divisor != 0);
        i64::try_from(rounded_up).map_err(|_| too_large())
    }

    /// The amount in whole units, rounded up: bytes for `memory`, devices for `nvidia.com/gpu`.
    pub fn units(&self) -> Result<i64, QuantityError> {
        let milli = self.milli()?;
        Ok(milli / 1_000 + i64::from(milli % 1_000 != 0))
    }

    /// The text a Pod would carry.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Text(text) => Cow::Borrowed(text),
        }
    }
}

/// The fraction of thousandths that a suffix or an exponent stands for.
fn scale(suffix: &str, text: &str) -> Result<(i128, i128), QuantityError> {
    if let Some((_, numerator, denominator)) = SUFFIXES.iter().find(|(known, ..)| *known == suffix) {
        return Ok((*numerator, *denominator));
    }
    let grammar = || QuantityError::Grammar { text: text.to_owned() };
    let written = suffix.strip_prefix(['e', 'E']).ok_or_else(grammar)?;
    let exponent: i32 = written.parse().map_err(|_| grammar())?;
    if written.trim_start_matches(['+', '-']).len() > 2 {
        return Err(QuantityError::TooLarge { text: text.to_owned() });
    }
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    let fraction = if exponent < 0 {
        power.map(|power| (1_000, power))
    } else {
        power.and_then(|power| power.checked_mul(1_000)).map(|numerator| (numerator, 1))
    };
    fraction.ok_or_else(|| QuantityError::TooLarge { text: text.to_owned() })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a text such as 500m or 4Gi")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity::Integer(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                i64::try_from(number)
                    .map(Quantity::Integer)
                    .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // No `type`: the API server takes an integer or a string here, as it does in a Pod.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": MAX_LENGTH,
            "pattern": PATTERN,
            // For whole numbers, which a pattern says nothing about.
            "minimum": 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn text(text: &str) -> Quantity {
        Quantity::Text(text.to_owned())
    }

    #[rstest]
    #[case("500m", 500)]
    #[case("2", 2_000)]
    #[case("1.5", 1_500)]
    #[case(".5", 500)]
    #[case("1.", 1_000)]
    #[case("+1", 1_000)]
    #[case("0", 0)]
    #[case("1n", 1)]
    #[case("1e3", 1_000_000)]
    #[case("1E3", 1_000_000)]
    #[case("5e-1", 500)]
    #[case("1k", 1_000_000)]
    #[case("1Ki", 1_024_000)]
    #[case("4Gi", 4_294_967_296_000)]
    #[case("1.0000001", 1_001)]
    fn quantities_read_as_kubernetes_reads_them(#[case] written: &str, #[case] milli: i64) {
        assert_eq!(text(written).milli(), Ok(milli));
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("1.2.3")]
    #[case("two")]
    #[case("1 Gi")]
    #[case("1Kb")]
    #[case("1e")]
    #[case("1234567890123456789012345678901234567890")]
    fn other_texts_are_refused_with_what_to_write(#[case] written: &str) {
        assert!(text(written).milli().unwrap_err().to_string().contains("write a number"));
    }

    #[test]
    fn negative_and_huge_amounts_are_named() {
        assert_eq!(text("-1").milli(), Err(QuantityError::Negative { text: "-1".into() }));
        assert_eq!(text("0e000").milli(), Err(QuantityError::TooLarge { text: "0e000".into() }));
        assert_eq!(text("9E").milli(), Err(QuantityError::TooLarge { text: "9E".into() }));
    }

    #[test]
    fn whole_numbers_and_texts_keep_their_writing() {
        for json in ["2", "\"2\"", "\"500m\"", "4294967296"] {
            let quantity: Quantity = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&quantity).unwrap(), json);
        }
        assert!(serde_json::from_str::<Quantity>("1.5").is_err());
    }

    #[test]
    fn units_round_up() {
        assert_eq!(text("1500m").units(), Ok(2));
        assert_eq!(Quantity::Integer(4).units(), Ok(4));
    }

    proptest! {
        #[test]
        fn whatever_is_read_passes_the_schemas_pattern(
            written in "[+-]?[0-9]{0,4}[.]?[0-9]{0,4}([KMGTPEe]i?|[numk]|[eE][+-]?[0-9]{0,3})?"
        ) {
            let schema = serde_json::json!({"pattern": PATTERN});
            let passes = jsonschema::is_valid(&schema, &serde_json::json!(written));
            match text(&written).milli() {
                Ok(_) => prop_assert!(passes),
                Err(QuantityError::TooLarge { .. }) => {}
                Err(_) => prop_assert!(!passes),
            }
        }

        #[test]
        fn any_text_is_read_or_refused(written in "\\PC{0,40}") {
            let _ = text(&written).milli();
        }

        #[test]
        fn whole_numbers_scale_exactly(number in 0_i64..1_000_000_000) {
            prop_assert_eq!(Quantity::Integer(number).milli(), Ok(number * 1_000));
        }
    }
}
