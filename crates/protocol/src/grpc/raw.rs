//! Elements as bytes: little-endian, row-major, without padding.

use bytemuck::NoUninit;
use bytes::Bytes;

use crate::binary;
use crate::datatype::Datatype;
use crate::error::Error;
use crate::path::Path;
use crate::tensor::TensorData;

#[cfg(target_endian = "big")]
compile_error!("raw tensors are little-endian; this processor would have to turn every element around");

/// Bytes before each element of BYTES: its length.
const PREFIX: usize = 4;

/// Copies so many elements into a typed buffer.
pub(super) fn read(
    datatype: Datatype,
    raw: &Bytes,
    elements: usize,
    path: &Path<'_>,
) -> Result<TensorData, Error> {
    if let Some(size) = datatype.size()
        && Some(raw.len()) != elements.checked_mul(size)
    {
        return Err(Error::InvalidValue {
            path: path.to_string(),
            got: format!("{} bytes", raw.len()),
            wanted: format!("{elements} elements of {datatype} with {size} bytes each"),
        });
    }
    Ok(match datatype {
        Datatype::Bool => TensorData::Bool(booleans(raw, path)?),
        Datatype::Bytes => TensorData::Bytes(byte_strings(raw, elements, path)?),
        numbers => binary::plain(numbers, raw),
    })
}

/// The bytes of a typed buffer, without copying it; only BYTES are put together anew.
pub(super) fn write(data: TensorData) -> Bytes {
    match data {
        TensorData::Bool(values) => owned(values),
        TensorData::Uint8(values) => values.into(),
        TensorData::Uint16(values) => owned(values),
        TensorData::Uint32(values) => owned(values),
        TensorData::Uint64(values) => owned(values),
        TensorData::Int8(values) => owned(values),
        TensorData::Int16(values) => owned(values),
        TensorData::Int32(values) => owned(values),
        TensorData::Int64(values) => owned(values),
        TensorData::Fp16(values) => owned(values),
        TensorData::Bf16(values) => owned(values),
        TensorData::Fp32(values) => owned(values),
        TensorData::Fp64(values) => owned(values),
        TensorData::Bytes(_) => {
            let mut out = Vec::with_capacity(binary::size(&data));
            binary::append(&data, &mut out);
            out.into()
        }
    }
}

fn owned<T: NoUninit + Send>(values: Vec<T>) -> Bytes {
    struct Elements<T>(Vec<T>);
    impl<T: NoUninit> AsRef<[u8]> for Elements<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Elements(values))
}

fn booleans(raw: &Bytes, path: &Path<'_>) -> Result<Vec<bool>, Error> {
    // Without a branch per element this is as fast as copying.
    if let Some((index, byte)) = raw.iter().enumerate().find(|(_, byte)| **byte > 1) {
        return Err(Error::InvalidValue {
            path: path.index(index).to_string(),
            got: byte.to_string(),
            wanted: "0 or 1 (BOOL)".to_owned(),
        });
    }
    Ok(raw.iter().map(|byte| *byte != 0).collect())
}

/// Pieces of the message itself, not copied.
fn byte_strings(raw: &Bytes, elements: usize, path: &Path<'_>) -> Result<Vec<Bytes>, Error> {
    let wrong = |got: String| Error::InvalidValue {
        path: path.to_string(),
        got,
        wanted: format!("{elements} elements of BYTES, each its length in {PREFIX} bytes and its text"),
    };
    // An element takes no less, so that a small message cannot ask for a large list.
    if raw.len() / PREFIX < elements {
        return Err(wrong(format!("{} bytes", raw.len())));
    }
    let mut values = Vec::with_capacity(elements);
    let mut rest = raw.clone();
    for index in 0..elements {
        let cut = || wrong(format!("the end within element {index}"));
        let prefix: [u8; PREFIX] = rest.first_chunk().copied().ok_or_else(cut)?;
        let length = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
        if rest.len() - PREFIX < length {
            return Err(cut());
        }
        let mut value = rest.split_to(PREFIX + length);
        values.push(text(value.split_off(PREFIX), &path.index(index))?);
    }
    if rest.is_empty() {
        return Ok(values);
    }
    Err(wrong(format!("{} bytes more", rest.len())))
}

/// The runtime takes text only.
pub(super) fn text(value: Bytes, path: &Path<'_>) -> Result<Bytes, Error> {
    if std::str::from_utf8(&value).is_ok() {
        return Ok(value);
    }
    let (path, wanted) = (path.to_string(), "UTF-8 text (BYTES)".to_owned());
    Err(Error::InvalidValue { path, got: "other bytes".to_owned(), wanted })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(TensorData::Bool(vec![true, false]), &[1, 0])]
    #[case(TensorData::Uint8(vec![1, 255]), &[1, 255])]
    #[case(TensorData::Uint16(vec![1, 0x0203]), &[1, 0, 3, 2])]
    #[case(TensorData::Int8(vec![-1, 2]), &[255, 2])]
    #[case(TensorData::Int16(vec![-2, 2]), &[254, 255, 2, 0])]
    #[case(TensorData::Uint32(vec![0x0102_0304, 0]), &[4, 3, 2, 1, 0, 0, 0, 0])]
    #[case(TensorData::Int32(vec![-1, 1]), &[255, 255, 255, 255, 1, 0, 0, 0])]
    #[case(TensorData::Fp32(vec![1.0, -0.0]), &[0, 0, 128, 63, 0, 0, 0, 128])]
    #[case(TensorData::Fp16(vec![half::f16::ONE, half::f16::ZERO]), &[0, 60, 0, 0])]
    #[case(TensorData::Bf16(vec![half::bf16::ONE, half::bf16::ZERO]), &[128, 63, 0, 0])]
    #[case(TensorData::Bytes(vec![Bytes::from_static(b"ab"), Bytes::new()]), &[2, 0, 0, 0, 97, 98, 0, 0, 0, 0])]
    #[case(TensorData::Uint64(vec![1, 0]), &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]
    #[case(TensorData::Int64(vec![-1, 0]), &[255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0])]
    #[case(TensorData::Fp64(vec![1.0, 0.0]), &[0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 0, 0])]
    fn elements_are_little_endian_and_read_back(#[case] data: TensorData, #[case] bytes: &[u8]) {
        let raw = write(data.clone());
        assert_eq!(raw, bytes);
        assert_eq!(read(data.datatype(), &raw, 2, &Path::Root).unwrap(), data);
        // Wherever in a message they stand.
        let shifted = Bytes::from([&[9], bytes].concat()).slice(1..);
        assert_eq!(read(data.datatype(), &shifted, 2, &Path::Root).unwrap(), data);
    }

    #[rstest]
    #[case(Datatype::Fp32, 1, &[0; 3], "body: got 3 bytes, wanted 1 elements of FP32 with 4 bytes each")]
    #[case(Datatype::Fp32, usize::MAX, &[0; 3], "body: got 3 bytes, wanted")]
    #[case(Datatype::Bool, 2, &[1, 2], "body[1]: got 2, wanted 0 or 1 (BOOL)")]
    #[case(Datatype::Bytes, usize::MAX, &[0; 9], "body: got 9 bytes, wanted")]
    #[case(Datatype::Bytes, 1, &[2, 0, 0, 0, 97], "body: got the end within element 0, wanted 1 elements of BYTES")]
    #[case(Datatype::Bytes, 1, &[255; 4], "body: got the end within element 0")]
    #[case(Datatype::Bytes, 2, &[3, 0, 0, 0, 97, 98, 99, 0], "body: got the end within element 1")]
    #[case(Datatype::Bytes, 1, &[0; 5], "body: got 1 bytes more")]
    #[case(Datatype::Bytes, 1, &[1, 0, 0, 0, 255], "body[0]: got other bytes, wanted UTF-8 text")]
    fn bytes_that_are_no_such_tensor_are_refused(
        #[case] datatype: Datatype,
        #[case] elements: usize,
        #[case] raw: &[u8],
        #[case] expected: &str,
    ) {
        let error = read(datatype, &Bytes::copy_from_slice(raw), elements, &Path::Root).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert_eq!(error.status(), 400);
    }
}
