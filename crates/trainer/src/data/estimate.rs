//! How much memory a set of rows will need, before it is downloaded or read.
//!
//! Counted is what the trainer holds at its peak: the table as it was read and a copy of it in parts for training and
//! validation, and later the encoded matrix instead of the first. A number takes 4 bytes in a table, the code of a text
//! takes 8. Pure functions; whoever calls them reads the bytes.

use parquet::basic::Type as PhysicalType;
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader};

use super::DataError;

/// The bytes at the end of a Parquet file that say how long its footer is.
pub const PARQUET_TAIL: usize = 8;
/// How often a table is held: as it was read, and in parts.
const COPIES: u64 = 2;
const NUMBER: u64 = 4;
const CODE: u64 = 8;
/// Memory of a CSV set by the bytes of its files. The shortest number takes two bytes with its delimiter and 2 × 4
/// bytes in memory, so no file of numbers needs more than 4 times its size. Texts stay below that from three characters
/// on average; only a file of shorter texts, or with more gaps than values, needs more.
const CSV_FACTOR: u64 = COPIES * NUMBER / 2;

/// The size of a Parquet file's contents.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Its rows.
    pub rows: u64,
    /// Its columns.
    pub columns: u64,
    /// How many of them are texts (or other bytes).
    pub texts: u64,
}

/// Bytes of memory for CSV files of so many bytes together, on the safe side: four times as many, where long decimals
/// need less than once.
pub const fn csv_bytes(total_file_bytes: u64) -> u64 {
    total_file_bytes.saturating_mul(CSV_FACTOR)
}

/// Bytes of memory for the rows of one Parquet file; those of several add up.
pub const fn parquet_bytes(shape: &Shape) -> u64 {
    let numbers = shape.columns.saturating_sub(shape.texts).saturating_mul(NUMBER);
    let row = numbers.saturating_add(shape.texts.saturating_mul(CODE));
    shape.rows.saturating_mul(row).saturating_mul(COPIES)
}

/// Bytes of memory for the encoded rows of a network with `width` inputs, which is known only after preprocessing: a
/// text column becomes one number for each category.
pub const fn matrix_bytes(rows: u64, width: u64) -> u64 {
    rows.saturating_mul(width).saturating_mul(NUMBER)
}

/// How many bytes at the end of a Parquet file [`parquet_shape`] needs, from the last [`PARQUET_TAIL`] bytes. `file` is
/// for messages.
pub fn parquet_footer_bytes(file: &str, last: [u8; PARQUET_TAIL]) -> Result<u64, DataError> {
    let problem =
        |problem: &str| DataError::NotParquet { file: file.to_owned(), problem: problem.to_owned() };
    let tail = FooterTail::try_new(&last).map_err(|_| {
        problem("it does not end with PAR1; if it is CSV, write `format: CSV`, else write it again")
    })?;
    if tail.is_encrypted_footer() {
        return Err(problem("its footer is encrypted, which is not supported; write it unencrypted"));
    }
    Ok((tail.metadata_length() + PARQUET_TAIL) as u64)
}

/// The size of a Parquet file's contents, from as many of its last bytes as [`parquet_footer_bytes`] says. `file` is
/// for messages.
pub fn parquet_shape(file: &str, end: &[u8]) -> Result<Shape, DataError> {
    let problem = |problem: String| DataError::NotParquet { file: file.to_owned(), problem };
    let metadata = end.len().checked_sub(PARQUET_TAIL).map(|length| &end[..length]);
    let metadata = metadata.ok_or_else(|| problem("its footer is cut off; write it again".to_owned()))?;
    let metadata = ParquetMetaDataReader::decode_metadata(metadata)
        .map_err(|error| problem(format!("{error}; write it again")))?;
    let metadata = metadata.file_metadata();
    let columns = metadata.schema_descr().columns();
    let bytes = |kind| matches!(kind, PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY);
    Ok(Shape {
        rows: u64::try_from(metadata.num_rows()).unwrap_or(0),
        columns: columns.len() as u64,
        texts: columns.iter().filter(|column| bytes(column.physical_type())).count() as u64,
    })
}

/// Refuses what needs more memory than there is. `what` begins the message: `the training data s3://bucket/train/`.
pub fn check(needed: u64, available: u64, what: &str) -> Result<(), DataError> {
    if needed <= available {
        return Ok(());
    }
    Err(DataError::TooLarge { what: what.to_owned(), needed, available })
}
