//! What a file is by its first bytes, whatever its name says.

use super::{DataError, DataFile};

/// How many of the first bytes are looked at.
pub(super) const LENGTH: usize = 512;

/// Beginnings of files that are not CSV: what they are, and what to do about it.
const NOT_CSV: [(&[u8], &str, &str); 8] = [
    (b"PAR1", "Parquet", "write `format: Parquet`"),
    (b"\x1f\x8b", "compressed with gzip", "uncompress it, or convert it to Parquet"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "uncompress it, or convert it to Parquet"),
    (b"BZh", "compressed with bzip2", "uncompress it, or convert it to Parquet"),
    (b"\xfd7zXZ\0", "compressed with xz", "uncompress it, or convert it to Parquet"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook", "save it as CSV in UTF-8"),
    (b"\xff\xfe", "text in UTF-16", "save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16", "save it as UTF-8"),
];

/// Refuses what cannot be CSV.
pub(super) fn check_csv(file: &DataFile, first: &[u8]) -> Result<(), DataError> {
    let name = || file.name.clone();
    if first.is_empty() {
        return Err(DataError::Empty { file: name() });
    }
    match NOT_CSV.iter().find(|(magic, ..)| first.starts_with(magic)) {
        None => Ok(()),
        Some((_, found, instead)) => Err(DataError::NotCsv { file: name(), found, instead }),
    }
}

/// Refuses what cannot be Parquet.
pub(super) fn check_parquet(file: &DataFile, first: &[u8]) -> Result<(), DataError> {
    let name = || file.name.clone();
    if first.is_empty() {
        return Err(DataError::Empty { file: name() });
    }
    if first.starts_with(b"PAR1") {
        return Ok(());
    }
    let other = NOT_CSV.iter().find(|(magic, ..)| first.starts_with(magic));
    let problem = if first.starts_with(b"PARE") {
        "its footer is encrypted, which is not supported; write it unencrypted".to_owned()
    } else if let Some((_, found, _)) = other {
        format!("it is {found}")
    } else if first.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace()) {
        "it is text; if it is CSV, write `format: CSV`".to_owned()
    } else {
        "it does not begin with PAR1".to_owned()
    };
    Err(DataError::NotParquet { file: name(), problem })
}
