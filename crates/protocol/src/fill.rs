//! Filling a typed buffer from nested or flat JSON arrays.

use crate::datatype::Datatype;
use crate::element::{Element, Null};
use crate::error::Error;
use crate::json::Scanner;
use crate::path::Path;
use crate::tensor::{Tensor, TensorData, for_each_type};

/// A tensor while its elements are being read.
///
/// Dimensions may be known from the start (declared by the request, or fixed by the model) or be -1, in which case the
/// first array at that level sets them; every later array of the level must then have the same length. What does not
/// fit is refused at the first element too many, so the buffer never outgrows the known shape.
#[derive(Debug)]
pub(crate) struct Filling {
    data: TensorData,
    shape: Shape,
    max_elements: usize,
}

/// What is known of the dimensions.
#[derive(Debug)]
struct Shape {
    /// Sizes by nesting level; -1 is not yet known.
    dims: Vec<i64>,
    /// The first level at which a bare value may stand for arrays of one element, or the rank if none may.
    bare_from: usize,
    /// Whether `[value]` may stand for a value.
    bracketed: bool,
    /// What `null` stands for in the place of a value.
    null: Null,
}

impl Filling {
    /// Starts a tensor whose nesting must be exactly that of `dims`.
    pub(crate) fn exact(datatype: Datatype, dims: Vec<i64>, max_elements: usize) -> Self {
        let shape = Shape { bare_from: dims.len(), bracketed: false, null: Null::Refused, dims };
        Self { data: TensorData::with_capacity(datatype, 0), shape, max_elements }
    }

    /// Starts a tensor whose rows may leave out or add the brackets around a single value: `5.1` and `[5.1]` are the
    /// same row of a `[-1, 1]` and of a `[-1]` input.
    pub(crate) fn rows(datatype: Datatype, dims: Vec<i64>, max_elements: usize) -> Self {
        let ones = dims.iter().skip(1).rev().take_while(|&&dimension| dimension == 1).count();
        let (bare_from, bracketed) = (dims.len() - ones, dims.len() == 1);
        let shape = Shape { bare_from, bracketed, null: Null::Refused, dims };
        Self { data: TensorData::with_capacity(datatype, 0), shape, max_elements }
    }

    /// Takes `null` in the place of a value for what it says.
    pub(crate) const fn with_null(mut self, null: Null) -> Self {
        self.shape.null = null;
        self
    }

    /// Makes room for `elements`, at most as many as `scanner` could still hold: each takes a byte and a comma.
    pub(crate) fn reserve(&mut self, elements: usize, scanner: &Scanner<'_>) {
        let room = elements.min(scanner.remaining() / 2 + 1).min(self.max_elements);
        for_each_type!(&mut self.data, values => values.reserve_exact(room));
    }

    /// Reads the value that stands at nesting `level`: 0 for the whole tensor, 1 for a row.
    pub(crate) fn read(
        &mut self,
        scanner: &mut Scanner<'_>,
        level: usize,
        path: &Path<'_>,
    ) -> Result<(), Error> {
        let Self { data, shape, max_elements } = self;
        for_each_type!(data, values => shape.read(scanner, level, path, values, *max_elements))
    }

    /// Reads the value at `column` of `row`, of a matrix whose rows have a known length: rows come in their order, and the
    /// values of one in any. Places that are not read yet hold zeros.
    pub(crate) fn read_cell(
        &mut self,
        scanner: &mut Scanner<'_>,
        row: usize,
        column: usize,
        path: &Path<'_>,
    ) -> Result<(), Error> {
        let Self { data, shape, max_elements } = self;
        let width = shape.dims.get(1).and_then(|&width| usize::try_from(width).ok()).unwrap_or(0);
        let (start, end) = (row.saturating_mul(width), (row + 1).saturating_mul(width));
        if end > *max_elements {
            return Err(too_many(*max_elements, path));
        }
        for_each_type!(data, values => {
            resize(values, end);
            values[start + column] = shape.value_or_bracketed(scanner, path)?;
        });
        Ok(())
    }

    /// Names the tensor and gives it its first dimension.
    pub(crate) fn finish_rows(mut self, name: &str, rows: usize) -> Result<Tensor, Error> {
        if let Some(first) = self.shape.dims.first_mut() {
            *first = dimension(rows);
        }
        self.finish(name)
    }

    /// Names the tensor; a level that no array reached has size 0.
    pub(crate) fn finish(self, name: &str) -> Result<Tensor, Error> {
        let dims = self.shape.dims.into_iter().map(|dimension| dimension.max(0)).collect();
        Tensor::new(name, dims, self.data)
    }

    /// The elements, for a caller that knows the shape.
    pub(crate) fn into_data(self) -> TensorData {
        self.data
    }
}

impl Shape {
    fn read<T: Element>(
        &mut self,
        scanner: &mut Scanner<'_>,
        level: usize,
        path: &Path<'_>,
        values: &mut Vec<T>,
        max_elements: usize,
    ) -> Result<(), Error> {
        let is_array = scanner.peek()? == b'[';
        if level < self.dims.len() && (is_array || level < self.bare_from) {
            return self.read_array(scanner, level, path, values, max_elements);
        }
        if values.len() == max_elements {
            return Err(too_many(max_elements, path));
        }
        if self.bracketed {
            values.push(self.value_or_bracketed(scanner, path)?);
        } else {
            values.push(self.value(scanner, path)?);
        }
        Ok(())
    }

    #[inline]
    fn value<T: Element>(&self, scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<T, Error> {
        match T::of_null(self.null) {
            Some(value) if scanner.take_null()? => Ok(value),
            _ => T::read(scanner, path),
        }
    }

    /// Reads `value` or `[value]`.
    #[inline]
    fn value_or_bracketed<T: Element>(&self, scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<T, Error> {
        if scanner.peek()? != b'[' {
            return self.value(scanner, path);
        }
        scanner.open_array(T::WANTED, path)?;
        let wrong = |got: &str| Error::InvalidValue {
            path: path.to_string(),
            got: got.to_owned(),
            wanted: format!("{}, alone or as an array of 1 element", T::WANTED),
        };
        if !scanner.next_element()? {
            return Err(wrong("an empty array"));
        }
        let value = self.value(scanner, &path.index(0))?;
        if scanner.next_element()? { Err(wrong("an array of more than 1 element")) } else { Ok(value) }
    }

    fn read_array<T: Element>(
        &mut self,
        scanner: &mut Scanner<'_>,
        level: usize,
        path: &Path<'_>,
        values: &mut Vec<T>,
        max_elements: usize,
    ) -> Result<(), Error> {
        if scanner.peek()? != b'[' {
            return Err(scanner.unexpected(&self.wanted(level), path));
        }
        scanner.open_array("an array", path)?;
        let mut count = 0;
        loop {
            if level + 1 == self.dims.len() {
                // The elements that need no word are read in one go, and again after each one that does.
                let wanted =
                    usize::try_from(self.dims[level]).map_or(usize::MAX, |size| size.saturating_sub(count));
                count += T::read_run(scanner, values, wanted.min(max_elements.saturating_sub(values.len())));
            }
            if !scanner.next_element()? {
                break;
            }
            if usize::try_from(self.dims[level]) == Ok(count) {
                return Err(self.wrong_length(level, &format!("more than {}", elements(count)), path));
            }
            self.read(scanner, level + 1, &path.index(count), values, max_elements)?;
            count += 1;
        }
        match self.dims[level] {
            ..0 => self.dims[level] = dimension(count),
            wanted if wanted != dimension(count) => {
                return Err(self.wrong_length(level, &elements(count), path));
            }
            _ => {}
        }
        Ok(())
    }

    #[cold]
    fn wanted(&self, level: usize) -> String {
        match usize::try_from(self.dims[level]) {
            Ok(size) => format!("an array of {}", elements(size)),
            Err(_) => "an array".to_owned(),
        }
    }

    #[cold]
    fn wrong_length(&self, level: usize, count: &str, path: &Path<'_>) -> Error {
        let got = format!("an array of {count}");
        Error::InvalidValue { path: path.to_string(), got, wanted: self.wanted(level) }
    }
}

/// Makes room for `length` elements in all.
#[inline]
fn resize<T: Element>(values: &mut Vec<T>, length: usize) {
    if values.len() < length {
        values.resize(length, T::default());
    }
}

fn elements(count: usize) -> String {
    if count == 1 { "1 element".to_owned() } else { format!("{count} elements") }
}

#[cold]
fn too_many(max_elements: usize, path: &Path<'_>) -> Error {
    Error::LimitExceeded { path: path.to_string(), what: "elements in one tensor", limit: max_elements }
}

/// A count as a dimension; counts are bounded by the length of a body or file, far below `i64::MAX`.
pub(crate) fn dimension(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn fill(mut filling: Filling, text: &str) -> Result<Tensor, Error> {
        let mut scanner = Scanner::new(text.as_bytes(), 32)?;
        filling.read(&mut scanner, 0, &Path::Root.key("x"))?;
        scanner.end()?;
        filling.finish("x")
    }

    fn exact(dims: &[i64], text: &str) -> Result<Tensor, Error> {
        fill(Filling::exact(Datatype::Int32, dims.to_vec(), 8), text)
    }

    fn rows(dims: &[i64], text: &str) -> Result<Tensor, Error> {
        fill(Filling::rows(Datatype::Int32, dims.to_vec(), 8), text)
    }

    #[test]
    fn unknown_dimensions_are_set_by_the_first_array() {
        let tensor = exact(&[-1, -1, 2], "[[[1,2]],[[3,4]],[[5,6]]]").unwrap();
        assert_eq!(tensor.shape(), [3, 1, 2]);
        assert_eq!(tensor.data(), &TensorData::Int32(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(exact(&[-1, 2], "[]").unwrap().shape(), [0, 2]);
        assert_eq!(exact(&[], "7").unwrap().shape(), [0_i64; 0]);
    }

    #[rstest]
    #[case(&[-1, -1], "[[1,2],[3]]", "x[1]: got an array of 1 element, wanted an array of 2 elements")]
    #[case(&[-1, -1], "[[1,2],[3,4,5]]", "x[1]: got an array of more than 2 elements, wanted an array of 2 elements")]
    #[case(&[2, 2], "[[1,2]]", "x: got an array of 1 element, wanted an array of 2 elements")]
    #[case(&[-1, 2], "[1,[2,3]]", "x[0]: got 1, wanted an array of 2 elements")]
    #[case(&[-1, 2], "[[1,[2]]]", "x[0][1]: got an array, wanted an integer")]
    #[case(&[-1], "[1,2,3,4,5,6,7,8,9]", "x[8]: more than 8 elements in one tensor")]
    #[case(&[-1, 1], "[1,2]", "x[0]: got 1, wanted an array of 1 element")]
    #[case(&[-1], "[[1]]", "x[0]: got an array, wanted an integer")]
    fn what_does_not_fit_is_refused_where_it_stands(
        #[case] dims: &[i64],
        #[case] text: &str,
        #[case] expected: &str,
    ) {
        let message = exact(dims, text).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }

    #[rstest]
    #[case(&[-1, 1], "[1,[2],3]", &[3, 1])]
    #[case(&[-1, 1, 1], "[1,[2],[[3]]]", &[3, 1, 1])]
    #[case(&[-1], "[1,[2],3]", &[3])]
    fn rows_of_one_value_need_no_brackets(#[case] dims: &[i64], #[case] text: &str, #[case] shape: &[i64]) {
        let tensor = rows(dims, text).unwrap();
        assert_eq!(tensor.shape(), shape);
        assert_eq!(tensor.data(), &TensorData::Int32(vec![1, 2, 3]));
    }

    #[rstest]
    #[case(&[-1], "[[]]", "x[0]: got an empty array, wanted an integer")]
    #[case(&[-1], "[[1,2]]", "x[0]: got an array of more than 1 element, wanted an integer")]
    #[case(&[-1, 1], "[[1,2]]", "x[0]: got an array of more than 1 element, wanted an array of 1 element")]
    #[case(&[-1, 2], "[1,2]", "x[0]: got 1, wanted an array of 2 elements")]
    fn rows_of_other_lengths_are_refused(#[case] dims: &[i64], #[case] text: &str, #[case] expected: &str) {
        let message = rows(dims, text).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}
