//! Elements in the typed fields of a message.

use bytes::Bytes;

use super::inference::InferTensorContents;
use super::raw;
use crate::datatype::Datatype;
use crate::element::Element;
use crate::error::{Error, excerpt};
use crate::path::Path;
use crate::tensor::TensorData;

/// Moves the elements into a typed buffer; only integers of 8 and 16 bits are copied. Their number is not checked.
pub(super) fn read(
    datatype: Datatype,
    contents: InferTensorContents,
    path: &Path<'_>,
) -> Result<TensorData, Error> {
    only_field_of(datatype, &contents, path)?;
    Ok(match datatype {
        Datatype::Bool => TensorData::Bool(contents.bool_contents),
        Datatype::Uint8 => TensorData::Uint8(narrow(&contents.uint_contents, &path.key("uint_contents"))?),
        Datatype::Uint16 => TensorData::Uint16(narrow(&contents.uint_contents, &path.key("uint_contents"))?),
        Datatype::Uint32 => TensorData::Uint32(contents.uint_contents),
        Datatype::Uint64 => TensorData::Uint64(contents.uint64_contents),
        Datatype::Int8 => TensorData::Int8(narrow(&contents.int_contents, &path.key("int_contents"))?),
        Datatype::Int16 => TensorData::Int16(narrow(&contents.int_contents, &path.key("int_contents"))?),
        Datatype::Int32 => TensorData::Int32(contents.int_contents),
        Datatype::Int64 => TensorData::Int64(contents.int64_contents),
        Datatype::Fp32 => TensorData::Fp32(contents.fp32_contents),
        Datatype::Fp64 => TensorData::Fp64(contents.fp64_contents),
        Datatype::Bytes => TensorData::Bytes(texts(contents.bytes_contents, &path.key("bytes_contents"))?),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(Error::InvalidValue {
                path: path.to_string(),
                got: format!("typed contents of {datatype}, which has none"),
                wanted: "raw_input_contents for all inputs".to_owned(),
            });
        }
    })
}

/// Whether the type has a field for its elements.
pub(super) const fn has_field(datatype: Datatype) -> bool {
    !matches!(datatype, Datatype::Fp16 | Datatype::Bf16)
}

/// Moves a typed buffer into its field. The 16-bit floats, which have none, are given as singles.
pub(super) fn write(data: TensorData) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    match data {
        TensorData::Bool(values) => contents.bool_contents = values,
        TensorData::Uint8(values) => contents.uint_contents = widen(values),
        TensorData::Uint16(values) => contents.uint_contents = widen(values),
        TensorData::Uint32(values) => contents.uint_contents = values,
        TensorData::Uint64(values) => contents.uint64_contents = values,
        TensorData::Int8(values) => contents.int_contents = widen(values),
        TensorData::Int16(values) => contents.int_contents = widen(values),
        TensorData::Int32(values) => contents.int_contents = values,
        TensorData::Int64(values) => contents.int64_contents = values,
        TensorData::Fp16(values) => contents.fp32_contents = widen(values),
        TensorData::Bf16(values) => contents.fp32_contents = widen(values),
        TensorData::Fp32(values) => contents.fp32_contents = values,
        TensorData::Fp64(values) => contents.fp64_contents = values,
        TensorData::Bytes(values) => contents.bytes_contents = values,
    }
    contents
}

/// Refuses elements in the field of another type: they would be ignored, and the tensor is not what its sender thinks.
fn only_field_of(datatype: Datatype, contents: &InferTensorContents, path: &Path<'_>) -> Result<(), Error> {
    use Datatype::{Bool, Bytes, Fp32, Fp64, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64};
    let fields: [(&str, usize, &[Datatype]); 8] = [
        ("bool_contents", contents.bool_contents.len(), &[Bool]),
        ("int_contents", contents.int_contents.len(), &[Int8, Int16, Int32]),
        ("int64_contents", contents.int64_contents.len(), &[Int64]),
        ("uint_contents", contents.uint_contents.len(), &[Uint8, Uint16, Uint32]),
        ("uint64_contents", contents.uint64_contents.len(), &[Uint64]),
        ("fp32_contents", contents.fp32_contents.len(), &[Fp32]),
        ("fp64_contents", contents.fp64_contents.len(), &[Fp64]),
        ("bytes_contents", contents.bytes_contents.len(), &[Bytes]),
    ];
    let wrong = fields.iter().find(|(_, length, types)| *length > 0 && !types.contains(&datatype));
    let (Some((found, _, _)), true) = (wrong, has_field(datatype)) else { return Ok(()) };
    let field = fields.iter().find(|(_, _, types)| types.contains(&datatype)).map_or("", |field| field.0);
    Err(Error::InvalidValue {
        path: path.to_string(),
        got: format!("elements in {found}"),
        wanted: format!("{datatype} in {field}"),
    })
}

fn narrow<T: Element + TryFrom<S>, S: Copy + ToString>(
    values: &[S],
    path: &Path<'_>,
) -> Result<Vec<T>, Error> {
    let element = |(index, value): (usize, &S)| {
        T::try_from(*value).map_err(|_| Error::InvalidValue {
            path: path.index(index).to_string(),
            got: excerpt(&value.to_string()),
            wanted: T::WANTED.to_owned(),
        })
    };
    values.iter().enumerate().map(element).collect()
}

fn widen<T, S: Into<T>>(values: Vec<S>) -> Vec<T> {
    values.into_iter().map(Into::into).collect()
}

fn texts(values: Vec<Bytes>, path: &Path<'_>) -> Result<Vec<Bytes>, Error> {
    values.into_iter().enumerate().map(|(index, value)| raw::text(value, &path.index(index))).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(TensorData::Bool(vec![true, false]))]
    #[case(TensorData::Uint8(vec![0, 255]))]
    #[case(TensorData::Uint16(vec![0, 65535]))]
    #[case(TensorData::Uint32(vec![0, u32::MAX]))]
    #[case(TensorData::Uint64(vec![0, u64::MAX]))]
    #[case(TensorData::Int8(vec![-128, 127]))]
    #[case(TensorData::Int16(vec![-32768, 32767]))]
    #[case(TensorData::Int32(vec![i32::MIN, i32::MAX]))]
    #[case(TensorData::Int64(vec![i64::MIN, i64::MAX]))]
    #[case(TensorData::Fp32(vec![f32::INFINITY, -0.0]))]
    #[case(TensorData::Fp64(vec![f64::NEG_INFINITY, 0.1]))]
    #[case(TensorData::Bytes(vec![Bytes::from_static(b"ab"), Bytes::new()]))]
    fn every_type_with_a_field_reads_back(#[case] data: TensorData) {
        assert!(has_field(data.datatype()));
        assert_eq!(read(data.datatype(), write(data.clone()), &Path::Root).unwrap(), data);
    }

    #[rstest]
    #[case(Datatype::Int8, TensorData::Int32(vec![1, 128]), "int_contents[1]: got 128, wanted an integer from -128")]
    #[case(Datatype::Uint16, TensorData::Uint32(vec![65536]), "uint_contents[0]: got 65536, wanted")]
    #[case(Datatype::Fp32, TensorData::Fp64(vec![1.0]), "body: got elements in fp64_contents, wanted FP32 in fp32_contents")]
    #[case(Datatype::Int64, TensorData::Int32(vec![1]), "body: got elements in int_contents, wanted INT64 in int64_contents")]
    #[case(Datatype::Fp16, TensorData::Fp32(vec![1.0]), "body: got typed contents of FP16, which has none, wanted raw_")]
    #[case(Datatype::Bytes, TensorData::Bytes(vec![Bytes::from_static(b"\xff")]), "bytes_contents[0]: got other")]
    fn elements_that_the_type_does_not_have_are_refused(
        #[case] datatype: Datatype,
        #[case] data: TensorData,
        #[case] expected: &str,
    ) {
        let error = read(datatype, write(data), &Path::Root).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
