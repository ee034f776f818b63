//! Memory.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, StringArray};
use modelwright_api::contract::ExitCode;

use super::super::estimate::*;
use super::parquet::bytes;

#[test]
fn shape_is_read_from_the_end_of_a_file() {
    let file = bytes(vec![
        ("n", Arc::new(Int64Array::from_iter_values(0..50)) as ArrayRef),
        ("t", Arc::new(StringArray::from_iter_values((0..50).map(|row| row.to_string())))),
    ]);
    let last: [u8; PARQUET_TAIL] = file[file.len() - PARQUET_TAIL..].try_into().unwrap();
    let length = usize::try_from(parquet_footer_bytes("f", last).unwrap()).unwrap();
    let shape = parquet_shape("f", &file[file.len() - length..]).unwrap();
    assert_eq!(shape, Shape { rows: 50, columns: 2, texts: 1 });
    assert_eq!(parquet_bytes(&shape), 50 * (4 + 8) * 2);
}

#[test]
fn what_is_no_footer_is_explained() {
    let error = parquet_footer_bytes("f", *b"1,2,3\n4,").unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("NotParquet", ExitCode::BadData));
    assert!(error.to_string().contains("f is not a readable Parquet file: it does not end with PAR1"));
    assert!(parquet_footer_bytes("f", *b"\x01\0\0\0PARE").unwrap_err().to_string().contains("encrypted"));
    for end in [&b"PAR1"[..], b"\xff\xff\xff\xff\x01\0\0\0PAR1", b"\0\0\0\0PAR1"] {
        assert_eq!(parquet_shape("f", end).unwrap_err().reason(), "NotParquet");
    }
}

#[test]
fn too_much_data_is_refused_with_both_numbers() {
    let error = check(csv_bytes(1 << 30), 1 << 30, "the training data s3://b/train/").unwrap_err();
    assert_eq!((error.reason(), error.exit_code()), ("DataTooLarge", ExitCode::BadData));
    let message = error.to_string();
    let wanted = "the training data s3://b/train/ needs about 4294967296 bytes of memory (4096 MiB) and 1073741824 \
                  (1024 MiB) are available: give";
    assert!(message.starts_with(wanted), "{message}");
    assert!(check(1, 1, "x").is_ok());
}

#[test]
fn sizes_beyond_64_bits_saturate() {
    assert_eq!(csv_bytes(u64::MAX), u64::MAX);
    assert_eq!(matrix_bytes(u64::MAX, 2), u64::MAX);
    assert_eq!(parquet_bytes(&Shape { rows: u64::MAX, columns: u64::MAX, texts: 1 }), u64::MAX);
}
