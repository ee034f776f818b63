use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn entry(byte: u8, size: u64) -> FileEntry {
    FileEntry { sha256: Digest::of(&[byte]), size }
}

fn files<const N: usize>(files: [(&str, FileEntry); N]) -> BTreeMap<RelativePath, FileEntry> {
    files.into_iter().map(|(path, entry)| (RelativePath::new(path).unwrap(), entry)).collect()
}

fn problem(text: &str) -> String {
    Manifest::parse(text.as_bytes()).unwrap_err().to_string()
}

const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A canonical manifest with `files` as the text of its files.
fn with_files(files: &str) -> String {
    format!(r#"{{"contract":"1","files":{{{files}}}}}"#)
}

#[test]
fn canonical_bytes_are_those_of_the_contract() {
    let manifest = Manifest::new(files([("model.onnx", entry(0, 3)), ("a/b.bin", entry(1, 4))])).unwrap();
    let inputs = Inputs { data: Digest::of(b"d"), spec: Digest::of(b"s") };
    let manifest = manifest.with_training(inputs, Some("1".into()), Some(7)).unwrap();
    let expected = format!(
        concat!(
            r#"{{"contract":"1","files":{{"a/b.bin":{{"sha256":"{}","size":4}},"model.onnx":{{"sha256":"{}","size":3}}}},"#,
            r#""inputs":{{"dataSha256":"{}","specSha256":"{}"}},"seed":7,"trainer":{{"numericsVersion":"1"}}}}"#
        ),
        Digest::of(&[1]).hex(),
        Digest::of(&[0]).hex(),
        inputs.data.hex(),
        inputs.spec.hex()
    );
    assert_eq!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap(), expected);
    assert_eq!(manifest.digest().unwrap(), Digest::of(expected.as_bytes()));
    assert_eq!(Manifest::parse(expected.as_bytes()).unwrap(), manifest);
}

#[test]
fn keys_are_ordered_by_utf_16_as_rfc_8785_asks() {
    // U+FB33 sorts before U+1F600 by bytes and after it by UTF-16 code units.
    let manifest = Manifest::new(files([("\u{fb33}", entry(0, 1)), ("\u{1f600}", entry(0, 1))])).unwrap();
    let text = String::from_utf8(manifest.to_bytes().unwrap()).unwrap();
    assert!(text.find('\u{1f600}') < text.find('\u{fb33}'), "{text}");
    assert_eq!(Manifest::parse(text.as_bytes()).unwrap(), manifest);
}

#[rstest]
#[case("", "EOF")]
#[case("[]", "expected")]
#[case(r#"{"contract":"2","files":{}}"#, "use a newer modelwright")]
#[case(r#"{"contract":1,"files":{}}"#, "expected a string")]
#[case(r#"{"contract":"1","files":{}}"#, "names no files")]
#[case(r#"{"contract":"1","files":{},"uri":"s3://b"}"#, "unknown field")]
#[case(r#"{"contract":"1","contract":"1","files":{}}"#, "duplicate field")]
fn wrong_document_is_refused(#[case] text: &str, #[case] expected: &str) {
    assert!(problem(text).contains(expected), "{}", problem(text));
}

#[rstest]
#[case("../a", "steps out")]
#[case("/etc/passwd", "absolute")]
#[case("a//b", "component is empty")]
#[case("a\\\\b", "backslash")]
#[case("a\\u0000", "control character")]
#[case("manifest.json", "itself")]
fn unsafe_path_is_refused(#[case] path: &str, #[case] expected: &str) {
    let text = with_files(&format!(r#""{path}":{{"sha256":"{HEX}","size":1}}"#));
    assert!(problem(&text).contains(expected), "{}", problem(&text));
}

#[test]
fn repeated_file_is_refused() {
    let file = format!(r#""a":{{"sha256":"{HEX}","size":1}}"#);
    assert!(problem(&with_files(&format!("{file},{file}"))).contains("named twice"));
}

#[test]
fn file_that_is_another_files_folder_is_refused() {
    let names = [("a", entry(0, 1)), ("a-b", entry(0, 1)), ("a/b/c", entry(0, 1))];
    assert!(Manifest::new(files(names)).unwrap_err().to_string().contains("folder of a/b/c"));
}

#[rstest]
#[case(r#"{ "contract":"1","files":{"a":{"sha256":"HEX","size":1}}}"#)]
#[case(r#"{"files":{"a":{"sha256":"HEX","size":1}},"contract":"1"}"#)]
#[case(r#"{"contract":"1","files":{"a":{"size":1,"sha256":"HEX"}}}"#)]
#[case(r#"{"contract":"1","files":{"\u0061":{"sha256":"HEX","size":1}}}"#)]
#[case(r#"{"contract":"1","files":{"a":{"sha256":"HEX","size":1}},"seed":null}"#)]
#[case("{\"contract\":\"1\",\"files\":{\"a\":{\"sha256\":\"HEX\",\"size\":1}}}\n")]
fn other_form_of_the_same_is_refused(#[case] text: &str) {
    let text = text.replace("HEX", HEX);
    assert!(problem(&text).contains("canonical form"), "{}", problem(&text));
}

#[rstest]
#[case("9007199254740992", "over 2^53")]
#[case("-1", "invalid value")]
#[case("1.5", "invalid type")]
#[case("1e400", "number out of range")]
fn size_that_is_no_exact_count_is_refused(#[case] size: &str, #[case] expected: &str) {
    let text = with_files(&format!(r#""a":{{"sha256":"{HEX}","size":{size}}}"#));
    assert!(problem(&text).contains(expected), "{}", problem(&text));
}

#[test]
fn digest_that_is_none_is_refused() {
    assert!(problem(&with_files(r#""a":{"sha256":"abc","size":1}"#)).contains("hexadecimal"));
}

#[test]
fn too_many_files_are_refused_while_they_are_read() {
    let file = |index: usize| format!(r#""{index:05}":{{"sha256":"{HEX}","size":1}}"#);
    let text = |count: usize| with_files(&(0..count).map(file).collect::<Vec<_>>().join(","));
    assert_eq!(Manifest::parse(text(MAX_FILES).as_bytes()).unwrap().files().len(), MAX_FILES);
    assert!(problem(&text(MAX_FILES + 1)).contains("more than 4096 files"));
}

#[test]
fn huge_manifest_is_refused_before_it_is_parsed() {
    assert!(problem(&" ".repeat(MAX_MANIFEST_BYTES + 1)).contains("bytes, more than"));
}

#[test]
fn deeply_nested_document_is_an_error() {
    assert!(!problem(&"[".repeat(100_000)).is_empty());
}

#[test]
fn pin_is_the_revisions_digest_or_the_only_models() {
    let alone = Manifest::new(files([("model.onnx", entry(0, 1))])).unwrap();
    assert!(alone.matches(&alone.digest().unwrap()).unwrap());
    assert!(alone.matches(&Digest::of(&[0])).unwrap());
    let more = Manifest::new(files([("model.onnx", entry(0, 1)), ("weights", entry(1, 1))])).unwrap();
    assert!(!more.matches(&Digest::of(&[0])).unwrap());
}

prop_compose! {
    fn manifests()(
        entries in prop::collection::btree_map("[a-z\u{e9}\u{fb33}\u{1f600} \"]{1,6}", (any::<u8>(), 0..=MAX_EXACT), 1..6),
        seed in prop::option::of(0..=MAX_EXACT),
        version in prop::option::of("\\PC{0,5}"),
    ) -> Manifest {
        let files = entries.into_iter().map(|(path, (byte, size))| (RelativePath::new(&path).unwrap(), entry(byte, size)));
        let inputs = Inputs { data: Digest::of(b"d"), spec: Digest::of(b"s") };
        Manifest::new(files.collect()).unwrap().with_training(inputs, version, seed).unwrap()
    }
}

proptest! {
    #[test]
    fn canonical_bytes_survive_the_round_trip(manifest in manifests()) {
        let bytes = manifest.to_bytes().unwrap();
        let parsed = Manifest::parse(&bytes).unwrap();
        prop_assert_eq!(parsed.to_bytes().unwrap(), bytes);
        prop_assert_eq!(parsed, manifest);
    }

    #[test]
    fn damaged_manifest_is_refused_or_is_another_revision(manifest in manifests(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = manifest.to_bytes().unwrap();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(parsed) = Manifest::parse(&bytes) {
            prop_assert_ne!(parsed.digest().unwrap(), manifest.digest().unwrap());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Manifest::parse(&bytes);
    }
}
