//! Parquet, from files that its own writer makes here.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int64Array,
    LargeStringArray, NullArray, RecordBatch, StringArray, StringViewArray, TimestampSecondArray, UInt8Array,
};
use modelwright_api::contract::ExitCode;
use modelwright_api::training::{ColumnKind, DataFormat};
use parquet::arrow::ArrowWriter;

use super::super::*;
use super::{files, kinds, numbers, texts};

pub(super) fn bytes(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn read_bytes(parts: &[Vec<u8>], declared: &BTreeMap<String, ColumnKind>) -> Result<Table, DataError> {
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    read(&files(DataFormat::Parquet, &parts).set, declared)
}

fn stamps() -> ArrayRef {
    Arc::new(TimestampSecondArray::from(vec![1, 2]))
}

#[test]
fn every_supported_type_is_read() {
    let dictionary: DictionaryArray<Int32Type> = vec![Some("x"), None].into_iter().collect();
    let decimals = Decimal128Array::from(vec![Some(125), None]).with_precision_and_scale(10, 2).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("f64", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
        ("f32", Arc::new(Float32Array::from(vec![Some(0.5), None]))),
        ("i64", Arc::new(Int64Array::from(vec![Some(16_777_217), None]))),
        ("u8", Arc::new(UInt8Array::from(vec![255, 0]))),
        ("decimal", Arc::new(decimals)),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("text", Arc::new(StringArray::from(vec!["NA", ""]))),
        ("large", Arc::new(LargeStringArray::from(vec![Some("y"), None]))),
        ("view", Arc::new(StringViewArray::from(vec![Some("z"), None]))),
        ("dictionary", Arc::new(dictionary)),
        ("nothing", Arc::new(NullArray::new(2))),
    ];
    let table = read_bytes(&[bytes(columns)], &BTreeMap::new()).unwrap();
    let first = |name| numbers(&table, name)[0];
    let firsts = [first("f64"), first("f32"), first("i64"), first("u8"), first("decimal")];
    assert_eq!(firsts, [0.1, 0.5, 16_777_216.0, 255.0, 1.25]);
    for name in ["f64", "f32", "i64", "decimal", "nothing"] {
        assert!(numbers(&table, name)[1].is_nan(), "{name}");
    }
    assert_eq!(table.column("bool").unwrap().values, Values::Boolean(vec![Some(true), None]));
    // A file that can say null means what it says otherwise.
    assert_eq!(texts(&table, "text"), [Some("NA"), None]);
    for (name, text) in [("large", "y"), ("view", "z"), ("dictionary", "x")] {
        assert_eq!(texts(&table, name), [Some(text), None], "{name}");
    }
}

#[test]
fn more_rows_than_a_batch_and_more_files_keep_their_order() {
    let part =
        |from: i64| bytes(vec![("n", Arc::new(Int64Array::from_iter_values(from..from + 3000)) as ArrayRef)]);
    let table = read_bytes(&[part(0), part(3000)], &BTreeMap::new()).unwrap();
    assert!(numbers(&table, "n").iter().enumerate().all(|(row, number)| *number == row as f32));
    assert_eq!(table.rows(), 6000);
}

#[test]
fn other_types_are_refused_unless_ignored() {
    let part = || bytes(vec![("when", stamps()), ("n", Arc::new(Int64Array::from(vec![1, 2])))]);
    for declared in [BTreeMap::new(), kinds([("when", ColumnKind::String)])] {
        let error = read_bytes(&[part()], &declared).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("UnsupportedType", ExitCode::BadData));
        let message = error.to_string();
        assert!(
            message.contains("column \"when\" is Timestamp(") && message.contains("type: Ignored"),
            "{message}"
        );
    }
    let table = read_bytes(&[part()], &kinds([("when", ColumnKind::Ignored)])).unwrap();
    assert_eq!((table.columns().len(), table.rows()), (1, 2));
    let nothing = kinds([("when", ColumnKind::Ignored), ("n", ColumnKind::Ignored)]);
    assert_eq!(read_bytes(&[part()], &nothing).unwrap().rows(), 2);
}

#[test]
fn declared_types_are_converted_through_text() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("code", Arc::new(Float64Array::from(vec![Some(7.0), None, Some(0.5)]))),
        ("whole", Arc::new(Int64Array::from(vec![Some(12), None, Some(0)]))),
        ("written", Arc::new(StringArray::from(vec!["1.5", "NA", "2"]))),
        ("truth", Arc::new(BooleanArray::from(vec![true, false, true]))),
    ];
    let declared = kinds([
        ("code", ColumnKind::String),
        ("whole", ColumnKind::String),
        ("written", ColumnKind::Numeric),
        ("truth", ColumnKind::String),
    ]);
    let part = bytes(columns);
    let table = read_bytes(std::slice::from_ref(&part), &declared).unwrap();
    assert_eq!(texts(&table, "code"), [Some("7"), None, Some("0.5")]);
    assert_eq!(texts(&table, "whole"), [Some("12"), None, Some("0")]);
    assert_eq!(texts(&table, "truth"), [Some("true"), Some("false"), Some("true")]);
    let written = numbers(&table, "written");
    assert_eq!((written[0], written[1].is_nan(), written[2]), (1.5, true, 2.0));

    let error = read_bytes(&[part], &kinds([("whole", ColumnKind::Boolean)])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "part-0: row 1: column \"whole\" is Boolean and \"12\" is neither true nor false"
    );
}

#[test]
fn number_beyond_32_bits_is_named() {
    let part = bytes(vec![("n", Arc::new(Float64Array::from(vec![1.0, 1e300])) as ArrayRef)]);
    let error = read_bytes(&[part], &BTreeMap::new()).unwrap_err();
    assert_eq!(error.reason(), "NotFinite");
    assert!(error.to_string().starts_with("part-0: row 2: column \"n\": \"1e300\" is not finite"), "{error}");
}

#[test]
fn files_must_have_the_same_columns_and_types() {
    let number = |name| bytes(vec![(name, Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let text = bytes(vec![("a", Arc::new(StringArray::from(vec!["1"])) as ArrayRef)]);
    let error = read_bytes(&[number("a"), number("b")], &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("column 1 is \"b\" and not \"a\""), "{error}");
    let parts = [number("a"), text];
    let error = read_bytes(&parts, &BTreeMap::new()).unwrap_err();
    assert_eq!(error.reason(), "ColumnsDiffer");
    assert!(
        error.to_string().contains("part-1 has other columns than part-0: column \"a\" is String"),
        "{error}"
    );
    assert_eq!(numbers(&read_bytes(&parts, &kinds([("a", ColumnKind::Numeric)])).unwrap(), "a"), [1.0, 1.0]);
}

#[test]
fn other_rows_are_read_like_the_training_rows_across_formats() {
    let training = read(&files(DataFormat::Csv, &[b"t,n\nx,1\n"]).set, &BTreeMap::new()).unwrap();
    let part = bytes(vec![
        ("n", Arc::new(Int64Array::from(vec![3])) as ArrayRef),
        ("extra", Arc::new(Int64Array::from(vec![3]))),
        ("t", Arc::new(StringArray::from(vec!["y"]))),
    ]);
    let other = read_like(&files(DataFormat::Parquet, &[&part]).set, &training).unwrap();
    assert_eq!((other.columns()[0].name.as_str(), numbers(&other, "n")), ("t", vec![3.0]));
}

#[test]
fn what_is_no_parquet_is_explained() {
    let mut cut = bytes(vec![("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    cut.truncate(cut.len() - 9);
    let empty = bytes(vec![("n", Arc::new(Int64Array::from(Vec::<i64>::new())) as ArrayRef)]);
    let cases: [(&[u8], &str, &str); 6] = [
        (b"a,b\n1,2\n", "NotParquet", "it is text; if it is CSV, write `format: CSV`"),
        (b"\x1f\x8b\x08", "NotParquet", "it is compressed with gzip"),
        (b"\x00\x01\x02", "NotParquet", "it does not begin with PAR1"),
        (&cut, "NotParquet", "it may be damaged or incomplete"),
        (b"", "DataEmpty", "is empty"),
        (&empty, "NoRows", "no row"),
    ];
    for (bytes, reason, message) in cases {
        let error = read_bytes(&[bytes.to_vec()], &BTreeMap::new()).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), (reason, ExitCode::BadData));
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn damaged_pages_are_an_error_and_no_crash() {
    let whole = bytes(vec![("n", Arc::new(Int64Array::from_iter_values(0..500)) as ArrayRef)]);
    for position in (4..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x5a;
        if let Err(error) = read_bytes(&[damaged], &BTreeMap::new()) {
            assert!(!error.to_string().is_empty());
        }
    }
}
