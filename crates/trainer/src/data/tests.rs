#![expect(clippy::float_cmp, reason = "numbers are read exactly")]

use std::fs;

use modelwright_api::contract::ExitCode;
use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::table::{Column, Texts};

mod parquet;
mod properties;
mod shares;
mod sizes;

/// A folder with files of these contents, and the set that they are.
pub(super) struct Fixture {
    pub(super) set: FileSet,
    _folder: TempDir,
}

pub(super) fn files(format: DataFormat, contents: &[&[u8]]) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let file = |(index, bytes): (usize, &&[u8])| {
        let name = format!("part-{index}");
        let path = folder.path().join(&name);
        fs::write(&path, bytes).unwrap();
        DataFile { path, name }
    };
    let files = contents.iter().enumerate().map(file).collect();
    Fixture { set: FileSet { files, format, delimiter: ',' }, _folder: folder }
}

fn csv(text: &str) -> Fixture {
    files(DataFormat::Csv, &[text.as_bytes()])
}

fn table(text: &str) -> Table {
    read(&csv(text).set, &BTreeMap::new()).unwrap()
}

pub(super) fn kinds<const N: usize>(kinds: [(&str, ColumnKind); N]) -> BTreeMap<String, ColumnKind> {
    kinds.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect()
}

/// The failure to read bytes as CSV: its reason, and its message.
fn failure(bytes: &[u8]) -> (&'static str, String) {
    let error = read(&files(DataFormat::Csv, &[bytes]).set, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::BadData, "{error}");
    (error.reason(), error.to_string())
}

pub(super) fn numbers(table: &Table, name: &str) -> Vec<f32> {
    match &table.column(name).unwrap().values {
        Values::Numeric(numbers) => numbers.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

pub(super) fn texts<'a>(table: &'a Table, name: &str) -> Vec<Option<&'a str>> {
    match &table.column(name).unwrap().values {
        Values::Text(texts) => (0..texts.codes.len()).map(|row| texts.get(row)).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn types_follow_from_every_row() {
    let table = table("n,b,t,digit,late\n 1.5 ,TRUE,x,0,1\n-2e3,false,,1,2\nNA,None,x,1,three\n");
    let inferred = kinds_of(&table);
    let wanted = kinds([
        ("n", ColumnKind::Numeric),
        ("b", ColumnKind::Boolean),
        ("t", ColumnKind::String),
        ("digit", ColumnKind::Numeric),
        ("late", ColumnKind::String),
    ]);
    assert_eq!(inferred, wanted);
    assert_eq!(numbers(&table, "n")[..2], [1.5, -2000.0]);
    assert!(numbers(&table, "n")[2].is_nan());
    assert_eq!(table.column("b").unwrap().values, Values::Boolean(vec![Some(true), Some(false), None]));
    assert_eq!(texts(&table, "t"), [Some("x"), None, Some("x")]);
    assert_eq!(texts(&table, "late"), [Some("1"), Some("2"), Some("three")]);
}

#[test]
fn texts_are_held_once_in_order_of_their_first_row() {
    let column = |values| Column { name: "t".to_owned(), values };
    let wanted = Texts {
        dictionary: vec!["b".to_owned(), "a".to_owned()],
        codes: vec![Some(0), Some(1), None, Some(0)],
    };
    assert_eq!(table("t\nb\na\nNA\nb\n").columns(), [column(Values::Text(wanted))]);
}

#[test]
fn column_of_missing_values_counts_as_numbers() {
    let table = table("a,b\n,1\nnull,2\n");
    assert!(numbers(&table, "a").iter().all(|number| number.is_nan()));
}

#[test]
fn rfc_4180_is_read_with_byte_order_mark_and_any_line_ends() {
    let table = table("\u{feff}a,\" b \"\r\n1,\"x, \"\"y\"\"\nz\"\r\n\r\n2, spaced ");
    assert_eq!(numbers(&table, "a"), [1.0, 2.0]);
    assert_eq!(texts(&table, "b"), [Some("x, \"y\"\nz"), Some(" spaced ")]);
}

#[test]
fn other_delimiters_are_read() {
    for delimiter in [';', '\t', '|', ' '] {
        let mut fixture = csv(&"a,b\n1,x\n".replace(',', &delimiter.to_string()));
        fixture.set.delimiter = delimiter;
        assert_eq!(texts(&read(&fixture.set, &BTreeMap::new()).unwrap(), "b"), [Some("x")]);
    }
    let mut fixture = csv("a,b\n1,x\n");
    for delimiter in ['é', '"', '\n'] {
        fixture.set.delimiter = delimiter;
        let error = read(&fixture.set, &BTreeMap::new()).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("InvalidDelimiter", ExitCode::InvalidConfiguration));
    }
}

#[test]
fn files_are_read_in_order_and_inferred_together() {
    let parts: [&[u8]; 3] = [b"a,b\n1,2\n", b"a,b\n", b"a,b\nx,3\n"];
    let table = read(&files(DataFormat::Csv, &parts).set, &BTreeMap::new()).unwrap();
    assert_eq!(texts(&table, "a"), [Some("1"), Some("x")]);
    assert_eq!(numbers(&table, "b"), [2.0, 3.0]);
}

#[test]
fn declared_types_win_and_ignored_columns_are_left_out() {
    let fixture = csv("code,id,flag\n007,a,1\n8,b,NA\n");
    let declared = kinds([("code", ColumnKind::String), ("id", ColumnKind::Ignored)]);
    let table = read(&fixture.set, &declared).unwrap();
    assert_eq!(texts(&table, "code"), [Some("007"), Some("8")]);
    assert_eq!(table.columns().len(), 2);
}

#[test]
fn values_that_do_not_fit_a_declared_type_are_named() {
    let fixture = csv("id,age,ok\n1,30,true\n2,\"1,5\",yes\n");
    let error = read(&fixture.set, &kinds([("age", ColumnKind::Numeric)])).unwrap_err();
    let wanted = "part-0: row 2 (line 3): column \"age\" is Numeric and \"1,5\" is not a number; decimals need a point, \
                  not a comma";
    assert_eq!((error.reason(), error.to_string().as_str()), ("NotNumeric", wanted));
    assert_eq!(error.exit_code(), ExitCode::BadData);
    let error = read(&fixture.set, &kinds([("ok", ColumnKind::Boolean)])).unwrap_err();
    let wanted = "part-0: row 2 (line 3): column \"ok\" is Boolean and \"yes\" is neither true nor false";
    assert_eq!((error.reason(), error.to_string().as_str()), ("NotBoolean", wanted));
    assert_eq!(error.exit_code(), ExitCode::BadData);
}

#[rstest]
#[case("1 000", "thousands")]
#[case("1'000.5", "thousands")]
#[case("12%", "percent")]
fn near_numbers_get_a_hint(#[case] value: &str, #[case] hint: &str) {
    let fixture = csv(&format!("a,b\n{value},1\n"));
    let error = read(&fixture.set, &kinds([("a", ColumnKind::Numeric)])).unwrap_err();
    assert!(error.to_string().contains(hint), "{error}");
}

#[rstest]
#[case("1e39")]
#[case("-inf")]
fn number_beyond_32_bits_is_an_error_and_not_a_text(#[case] value: &str) {
    let text = format!("a,b\n1,2\n3,{value}\n");
    let (reason, message) = failure(text.as_bytes());
    assert_eq!(reason, "NotFinite");
    assert!(
        message.starts_with(&format!("part-0: row 2 (line 3): column \"b\": \"{value}\" is not")),
        "{message}"
    );
    let declared = kinds([("b", ColumnKind::Numeric)]);
    assert_eq!(read(&csv(&text).set, &declared).unwrap_err().reason(), "NotFinite");
    assert_eq!(texts(&table("a\ninf\nword\n"), "a"), [Some("inf"), Some("word")]);
}

#[test]
fn line_numbers_are_exact_behind_empty_lines_and_line_breaks_in_values() {
    for end in ["\n", "\r\n"] {
        let text = "a,b\n\n1,\"x\ny\"\n\n\n2,bad\n".replace('\n', end);
        let declared = kinds([("b", ColumnKind::Numeric)]);
        let text = text.replace("\"x", "\"").replace("y\"", "\"");
        let error = read(&csv(&text).set, &declared).unwrap_err();
        assert!(error.to_string().starts_with("part-0: row 2 (line 7):"), "{error}");
        let (_, message) = failure(format!("a,b{end}1,2{end}{end}{end}3{end}").as_bytes());
        assert!(message.starts_with("part-0: row 2 (line 5) has 1 values where"), "{message}");
    }
}

#[rstest]
#[case(b"", "DataEmpty", "part-0 is empty")]
#[case(b"\n\n", "DataEmpty", "part-0 is empty")]
#[case(b"a,b\n", "NoRows", "part-0: there is no row of data")]
#[case(
    b"a,b\n1,2,3\n",
    "RaggedRow",
    "row 1 (line 2) has 3 values where the header line names 2 columns; put a value"
)]
#[case(
    b"a,b\n1\n",
    "RaggedRow",
    "row 1 (line 2) has 1 values where the header line names 2 columns; look for"
)]
#[case(b"a,b;c;d\n1\n", "RaggedRow", "is the delimiter ';'? It would split the header line into 3 columns")]
#[case(b"a;b\n1,5;2\n", "WrongDelimiter", "';' splits it into 2 columns; write `delimiter: \";\"`")]
#[case(b"a\tb\n1\t2\n", "WrongDelimiter", "write `delimiter: \"\\t\"`")]
#[case(b"a,,c\n1,2,3\n", "UnnamedColumn", "column 2 has no name")]
#[case(b"a,b, a\n1,2,3\n", "DuplicateColumn", "columns 1 and 3 are both named \"a\"")]
#[case(b"PAR1....PAR1", "NotCsv", "is not CSV but Parquet: write `format: Parquet`")]
#[case(b"\x1f\x8b\x08\x00", "NotCsv", "is not CSV but compressed with gzip: uncompress it")]
#[case(b"PK\x03\x04", "NotCsv", "an Excel workbook")]
#[case(b"\xff\xfea\0", "NotCsv", "UTF-16: save it as UTF-8")]
#[case(
    b"a,b\n1,x\n2,\xe4\n",
    "NotUtf8",
    "part-0, line 3: byte 0xe4 at offset 10 is not UTF-8; save the file as UTF-8"
)]
#[case(b"a,b\r\n\r\n1,\"\ny\xff\"\n", "NotUtf8", "line 4: byte 0xff at offset 12 ")]
#[case(b"a,\xfc\n1,2\n", "NotUtf8", "line 1: byte 0xfc at offset 2 ")]
#[case(b"a,b\n1,\xc3", "NotUtf8", "line 2: byte 0xc3 at offset 6 ")]
fn unreadable_csv_is_explained(#[case] bytes: &[u8], #[case] reason: &str, #[case] message: &str) {
    let (found, text) = failure(bytes);
    assert_eq!(found, reason, "{text}");
    assert!(text.contains(message), "{text}");
}

#[test]
fn bad_byte_is_found_in_a_long_value() {
    let mut bytes = b"a,b\n1,".to_vec();
    bytes.extend(
        "é\n".repeat(100_000).into_bytes().iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }),
    );
    let offset = bytes.len();
    bytes.extend(b"\xe9\n");
    assert!(failure(&bytes).1.contains(&format!("line 2: byte 0xe9 at offset {offset} ")));
}

#[test]
fn missing_file_is_an_input_that_may_appear_later() {
    let mut fixture = csv("a\n1\n");
    fixture.set.files[0].path.set_extension("gone");
    for format in [DataFormat::Csv, DataFormat::Parquet] {
        fixture.set.format = format;
        let error = read(&fixture.set, &BTreeMap::new()).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("DataNotFound", ExitCode::InputMissing));
        assert_eq!(error.to_string(), "part-0 does not exist");
    }
    let folder = tempfile::tempdir().unwrap();
    fixture.set.files[0].path = folder.path().to_owned();
    let error = read(&fixture.set, &BTreeMap::new()).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("DataUnreadable", ExitCode::InputMissing));
}

#[test]
fn no_file_is_no_row() {
    for format in [DataFormat::Csv, DataFormat::Parquet] {
        let error = read(&files(format, &[]).set, &BTreeMap::new()).unwrap_err();
        assert_eq!(error.reason(), "NoRows");
    }
}

#[test]
fn files_with_other_columns_are_refused_by_name() {
    let fixture = files(DataFormat::Csv, &[b"a,b\n1,2\n", b"a,c\n1,2\n"]);
    let error = read(&fixture.set, &BTreeMap::new()).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("ColumnsDiffer", ExitCode::BadData));
    let message = error.to_string();
    assert!(
        message.starts_with("part-1 has other columns than part-0: column 2 is \"c\" and not \"b\""),
        "{message}"
    );
    let fixture = files(DataFormat::Csv, &[b"a,b\n1,2\n", b"a\n1\n"]);
    let message = read(&fixture.set, &BTreeMap::new()).unwrap_err().to_string();
    assert!(message.contains("column 2 is missing and not \"b\""), "{message}");
}

#[test]
fn declared_column_that_is_not_there_is_a_wrong_manifest() {
    let error = read(&csv("city,age\nx,1\n").set, &kinds([("Agee", ColumnKind::Ignored)])).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("UnknownColumn", ExitCode::InvalidConfiguration));
    let message = error.to_string();
    assert!(message.ends_with("(did you mean \"age\"?); there are \"age\", \"city\""), "{message}");
}

#[test]
fn other_rows_are_read_like_the_training_rows() {
    let training = table("a,b,t\n1,true,x\n2,false,7\n");
    let other = read_like(&csv("t,extra,b,a\n8,?,,5\n").set, &training).unwrap();
    let names: Vec<&str> = other.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!((names, kinds_of(&other)), (vec!["a", "b", "t"], kinds_of(&training)));
    assert_eq!((numbers(&other, "a"), texts(&other, "t")), (vec![5.0], vec![Some("8")]));

    let error = read_like(&csv("a,c\n1,2\n").set, &training).unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("ColumnsMissing", ExitCode::BadData));
    let message = error.to_string();
    assert_eq!(
        message,
        "part-0: columns of the training data are missing: \"b\", \"t\"; there are \"a\", \"c\""
    );
    assert_eq!(read_like(&csv("a,b,t\nx,,\n").set, &training).unwrap_err().reason(), "NotNumeric");
}
