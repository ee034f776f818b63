//! Reading rows, records and whole tensors.

mod rows;

use std::collections::HashMap;

use self::rows::Rows;
use super::view::View;
use crate::element::Null;
use crate::error::{Error, excerpt};
use crate::fill::Filling;
use crate::json::Scanner;
use crate::limits::Limits;
use crate::path::Path;
use crate::signature::Signature;
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
    parse(body, Expected { signature, view: None, limits })
}

/// The same with columns by their names and `null` for missing values.
pub(super) fn parse_with_view(body: &[u8], view: &View, limits: &Limits) -> Result<Vec<Tensor>, Error> {
    parse(body, Expected { signature: view.signature(), view: Some(view), limits })
}

/// What a request is read against.
#[derive(Clone, Copy)]
struct Expected<'a> {
    signature: &'a Signature,
    view: Option<&'a View>,
    limits: &'a Limits,
}

impl Expected<'_> {
    /// Starts the tensor of the input at `index`.
    fn filling(self, index: usize) -> Filling {
        let input = &self.signature.inputs[index];
        let null = self.view.map_or(Null::Refused, |view| view.null(index));
        Filling::rows(input.datatype, input.shape.clone(), self.limits.max_elements).with_null(null)
    }
}

fn parse(body: &[u8], expected: Expected<'_>) -> Result<Vec<Tensor>, Error> {
    let Expected { signature, limits, .. } = expected;
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
                found = Some((key.to_string(), Rows::new(expected).read(&mut scanner, &path)?));
            }
            "inputs" | "input" => {
                found = Some((key.to_string(), whole_tensors(&mut scanner, expected, &path)?));
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

/// Reads `inputs`: an object of tensors by name, or the tensor of the only input.
fn whole_tensors(
    scanner: &mut Scanner<'_>,
    expected: Expected<'_>,
    path: &Path<'_>,
) -> Result<Vec<Tensor>, Error> {
    let signature = expected.signature;
    if scanner.peek()? != b'{' {
        if signature.inputs.len() != 1 {
            let wanted = format!("an object with the inputs {}", signature.input_names());
            return Err(scanner.unexpected(&wanted, path));
        }
        return Ok(vec![whole_tensor(scanner, expected, 0, path)?]);
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
        tensors[index] = Some(whole_tensor(scanner, expected, index, &path.key(&key))?);
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
    expected: Expected<'_>,
    index: usize,
    path: &Path<'_>,
) -> Result<Tensor, Error> {
    let mut filling = expected.filling(index);
    filling.read(scanner, 0, path)?;
    filling.finish(&expected.signature.inputs[index].name)
}

#[cfg(test)]
mod tests;
