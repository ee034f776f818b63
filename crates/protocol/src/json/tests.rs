use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn check(text: &[u8]) -> Result<(), Error> {
    let mut scanner = Scanner::new(text, 32)?;
    scanner.skip(&Path::Root)?;
    scanner.end()
}

#[rstest]
#[case("")]
#[case(" \n\t")]
fn nothing_is_an_empty_body(#[case] text: &str) {
    assert_eq!(check(text.as_bytes()), Err(Error::EmptyBody));
}

#[rstest]
#[case("[1,]", "a comma without a value after it at line 1 column 4")]
#[case("[1 2]", "expected `,` or `]` at line 1 column 4")]
#[case("{\"a\" 1}", "expected `:` after the key")]
#[case("{a:1}", "expected a key in quotes")]
#[case("[1]\n x", "something follows the end of the JSON document at line 2 column 2")]
#[case("[01]", "`01` is not a JSON value")]
#[case("[1.]", "`1.` is not a JSON value")]
#[case("[.5]", "`.5` is not a JSON value")]
#[case("[+1]", "`+1` is not a JSON value")]
#[case("[1e]", "`1e` is not a JSON value")]
#[case("[truefalse]", "`truefalse` is not a JSON value")]
#[case("[,1]", "expected a value")]
#[case("[1", "the text ends in the middle of a value, after 2 bytes")]
#[case("[\"ab", "the text ends in the middle of a value")]
#[case("[\"a\\", "the text ends in the middle of a value")]
#[case("[\"a\\x....\"]", "a string has an invalid escape")]
#[case("[\"a\nb\"]", "a string has a control character")]
fn malformed_text_names_fault_and_position(#[case] text: &str, #[case] expected: &str) {
    let message = check(text.as_bytes()).unwrap_err().to_string();
    assert!(
        message.starts_with("the request body is not valid JSON") && message.contains(expected),
        "{message}"
    );
}

#[test]
fn nesting_is_bounded_whatever_the_limit_says() {
    let bomb = "[".repeat(100_000);
    for limit in [32, usize::MAX] {
        let mut scanner = Scanner::new(bomb.as_bytes(), limit).unwrap();
        let error = scanner.skip(&Path::Root).unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { what: "levels of nesting", .. }), "{error}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    assert!(check(b"[\"\xff\"]").unwrap_err().to_string().contains("byte 3 is not UTF-8"));
}

proptest! {
    #[test]
    fn agrees_with_serde_json_on_what_is_json(text in r#"[\[\]{}:,"\\0-9eE+.a-z \n-]{0,24}"#) {
        let ours = check(text.as_bytes()).is_ok();
        // Lone surrogates and numbers out of range are read later, so they are left to the tests of the values.
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn agrees_with_serde_json_on_numbers(text in r"-?[0-9]{0,4}(\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?") {
        let ours = check(text.as_bytes()).is_ok();
        prop_assert_eq!(ours, serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn strings_read_as_serde_json_reads_them(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        let mut scanner = Scanner::new(json.as_bytes(), 4).unwrap();
        prop_assert_eq!(scanner.string("a string", &Path::Root).unwrap(), text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = check(&bytes);
    }
}
