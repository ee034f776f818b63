//! Reading rows, records and whole tensors.

use std::collections::HashMap;

use crate::error::{Error, excerpt};
use crate::fill::Filling;
use crate::json::Scanner;
use crate::limits::Limits;
use crate::path::Path;
use crate::signature::{Signature, TensorMetadata};
use crate::tensor::Tensor;

/// The only signature that an ONNX model has, by the name that TensorFlow Serving gives its default.
const DEFAULT_SIGNATURE: &str = "serving_default";

/// Reads the body of a V1 prediction and gives one tensor for every input of the signature, in its order.
///
/// Every tensor has been checked against the signature; every error has the class
/// [`BadRequest`](crate::ErrorClass::BadRequest) and names the row and the field. Unknown keys of the body are ignored,
/// unknown fields of a record are not: a misspelt column must not look like a missing one.
pub fn parse_predict_request(
    body: &[u8],
    signature: &Signature,
    limits: &Limits,
) -> Result<Vec<Tensor>, Error> {
    let root = Path::Root;
    let mut scanner = Scanner::new(body, limits.max_depth)?;
    let mut found: Option<(String, Vec<Tensor>)> = None;
    scanner.open_object(&root)?;
    while let Some(key) = scanner.next_key()? {
        let path = root.key(&key);
        let known = matches!(key.as_ref(), "instances" | "inputs" | "input");
        if let Some((earlier, _)) = found.as_ref().filter(|_| known) {
            let got = format!("\"{earlier}\" and \"{key}\"");
            return Err(Error::InvalidValue { path: root.to_string(), got, wanted: wanted_keys() });
        }
        match key.as_ref() {
            "instances" => {
                found = Some((key.to_string(), Rows::new(signature, limits).read(&mut scanner, &path)?));
            }
            "inputs" | "input" => {
                found = Some((key.to_string(), whole_tensors(&mut scanner, signature, limits, &path)?));
            }
            "signature_name" => check_signature_name(&mut scanner, &path)?,
            _ => {
                scanner.skip(&path)?;
            }
        }
    }
    scanner.end()?;
    let (key, tensors) = found.ok_or_else(|| Error::InvalidValue {
        path: root.to_string(),
        got: "an object with none of these keys".to_owned(),
        wanted: wanted_keys(),
    })?;
    for (tensor, input) in tensors.iter().zip(&signature.inputs) {
        input.accepts(tensor)?;
        // Rows without elements have not counted yet.
        limits.check_shape(tensor.shape(), &root.key(&key).key(&input.name))?;
    }
    Ok(tensors)
}

fn wanted_keys() -> String {
    "exactly one of \"instances\" (rows), \"inputs\" and \"input\" (whole tensors)".to_owned()
}

fn check_signature_name(scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<(), Error> {
    let name = scanner.string("a string", path)?;
    if name.is_empty() || name == DEFAULT_SIGNATURE {
        return Ok(());
    }
    Err(Error::Unsupported {
        path: path.to_string(),
        feature: "a choice of signatures",
        instead: "leave it out or send \"serving_default\"",
    })
}

/// The rows of `instances` while they are being read: one buffer per input.
struct Rows<'a> {
    inputs: &'a [TensorMetadata],
    signature: &'a Signature,
    positions: HashMap<&'a str, usize>,
    fillings: Vec<Filling>,
    /// For every input, one more than the last row that had it.
    filled: Vec<usize>,
    /// Whether every row of every input is a single value.
    all_columns: bool,
}

impl<'a> Rows<'a> {
    fn new(signature: &'a Signature, limits: &Limits) -> Self {
        let inputs = signature.inputs.as_slice();
        let filling =
            |input: &TensorMetadata| Filling::rows(input.datatype, input.shape.clone(), limits.max_elements);
        Self {
            inputs,
            signature,
            positions: inputs.iter().enumerate().map(|(index, input)| (input.name.as_str(), index)).collect(),
            fillings: inputs.iter().map(filling).collect(),
            filled: vec![0; inputs.len()],
            all_columns: inputs.iter().all(|input| input.shape.iter().skip(1).all(|&size| size == 1)),
        }
    }

    fn read(mut self, scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<Vec<Tensor>, Error> {
        if let Some(input) = self.inputs.iter().find(|input| input.shape.is_empty()) {
            let wanted = format!("\"inputs\", because the input \"{}\" has no rows", excerpt(&input.name));
            return Err(Error::InvalidValue { path: path.to_string(), got: "rows".to_owned(), wanted });
        }
        let mut count = 0;
        scanner.open_array("an array of rows", path)?;
        while scanner.next_element()? {
            self.row(scanner, count, &path.index(count))?;
            count += 1;
        }
        let tensors = self.fillings.into_iter().zip(self.inputs);
        tensors.map(|(filling, input)| filling.finish_rows(&input.name, count)).collect()
    }

    fn row(&mut self, scanner: &mut Scanner<'_>, row: usize, path: &Path<'_>) -> Result<(), Error> {
        match (scanner.peek()?, self.fillings.as_mut_slice()) {
            (b'{', _) => self.record(scanner, row, path),
            (_, [single]) => single.read(scanner, 1, path),
            (b'[', _) if self.all_columns => self.list(scanner, path),
            _ => {
                let wanted = format!("an object with the fields {}", self.signature.input_names());
                Err(scanner.unexpected(&wanted, path))
            }
        }
    }

    /// Reads a row by field names.
    fn record(&mut self, scanner: &mut Scanner<'_>, row: usize, path: &Path<'_>) -> Result<(), Error> {
        let known = || self.signature.input_names();
        // Fields mostly come in the order of the signature: the next one is tried before the table.
        let (mut next, mut fields) = (0, 0);
        scanner.open_object(path)?;
        while let Some(key) = scanner.next_key()? {
            let is_next = self.inputs.get(next).is_some_and(|input| input.name == key);
            let index = if is_next { Some(next) } else { self.positions.get(key.as_ref()).copied() };
            let Some(index) = index else {
                return Err(Error::UnknownField {
                    path: path.to_string(),
                    name: excerpt(&key),
                    known: known(),
                });
            };
            if std::mem::replace(&mut self.filled[index], row + 1) == row + 1 {
                return Err(Error::DuplicateKey { path: path.to_string(), key: excerpt(&key) });
            }
            self.fillings[index].read(scanner, 1, &path.key(&key))?;
            next = index + 1;
            fields += 1;
        }
        if fields == self.inputs.len() {
            return Ok(());
        }
        let missing = self.inputs.iter().zip(&self.filled).find(|(_, filled)| **filled != row + 1);
        let name = missing.map(|(input, _)| excerpt(&input.name)).unwrap_or_default();
        Err(Error::MissingField { path: path.to_string(), name, known: known() })
    }

    /// Reads a row by the order of the signature.
    fn list(&mut self, scanner: &mut Scanner<'_>, path: &Path<'_>) -> Result<(), Error> {
        let wanted = self.inputs.len();
        let wrong = |got: String| Error::InvalidValue {
            path: path.to_string(),
            got,
            wanted: format!("{wanted} values, one each for {}", self.signature.input_names()),
        };
        scanner.open_array("an array", path)?;
        for (index, filling) in self.fillings.iter_mut().enumerate() {
            if !scanner.next_element()? {
                return Err(wrong(format!("an array of {index}")));
            }
            filling.read(scanner, 1, &path.index(index))?;
        }
        if scanner.next_element()? { Err(wrong(format!("an array of more than {wanted}"))) } else { Ok(()) }
    }
}

/// Reads `inputs`: an object of tensors by name, or the tensor of the only input.
fn whole_tensors(
    scanner: &mut Scanner<'_>,
    signature: &Signature,
    limits: &Limits,
    path: &Path<'_>,
) -> Result<Vec<Tensor>, Error> {
    if scanner.peek()? != b'{' {
        let [input] = signature.inputs.as_slice() else {
            let wanted = format!("an object with the inputs {}", signature.input_names());
            return Err(scanner.unexpected(&wanted, path));
        };
        return Ok(vec![whole_tensor(scanner, input, limits, path)?]);
    }
    let positions: HashMap<_, _> =
        signature.inputs.iter().enumerate().map(|(index, input)| (input.name.as_str(), index)).collect();
    let mut tensors = vec![None; signature.inputs.len()];
    scanner.open_object(path)?;
    while let Some(key) = scanner.next_key()? {
        let Some(&index) = positions.get(key.as_ref()) else {
            return Err(Error::UnknownInput { name: excerpt(&key), known: signature.input_names() });
        };
        if tensors[index].is_some() {
            return Err(Error::DuplicateInput { name: excerpt(&key) });
        }
        tensors[index] = Some(whole_tensor(scanner, &signature.inputs[index], limits, &path.key(&key))?);
    }
    signature
        .inputs
        .iter()
        .zip(tensors)
        .map(|(input, tensor)| {
            tensor.ok_or_else(|| Error::MissingInput {
                name: excerpt(&input.name),
                known: signature.input_names(),
            })
        })
        .collect()
}

fn whole_tensor(
    scanner: &mut Scanner<'_>,
    input: &TensorMetadata,
    limits: &Limits,
    path: &Path<'_>,
) -> Result<Tensor, Error> {
    let mut filling = Filling::rows(input.datatype, input.shape.clone(), limits.max_elements);
    filling.read(scanner, 0, path)?;
    filling.finish(&input.name)
}

#[cfg(test)]
mod tests;
