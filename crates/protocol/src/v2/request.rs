//! Reading the body of `POST /v2/models/{name}/infer`.

mod outputs;
mod raw;

use std::borrow::Cow;
use std::time::Duration;

pub use self::outputs::RequestedOutput;
use crate::binary::decode;
use crate::datatype::Datatype;
use crate::element::Element;
use crate::error::{Error, excerpt};
use crate::fill::Filling;
use crate::json::Scanner;
use crate::limits::Limits;
use crate::parameters::{Parameters, Scope, bounded, count, flag, read_parameters};
use crate::path::Path;
use crate::signature::Signature;
use crate::tensor::{Tensor, element_count};

/// An inference request that fits the model's signature.
#[derive(Debug, Clone, PartialEq)]
pub struct InferRequest {
    /// The client's name for the request, to be echoed.
    pub id: Option<String>,
    /// One tensor for every input of the signature, in its order.
    pub inputs: Vec<Tensor>,
    /// The outputs to answer with, in the order in which they were asked for; all of them if none were named.
    pub outputs: Vec<RequestedOutput>,
    /// How long the client wants to wait, by the parameter `timeout` in microseconds; `None` if it does not say.
    pub timeout: Option<Duration>,
    /// The parameters of the request as a whole, with those that have a meaning here.
    pub parameters: Parameters,
}

/// Reads an inference request and checks it against the model's signature and the limits.
///
/// `header_length` is what the HTTP header `Inference-Header-Content-Length` says, if it is there: the length of the JSON,
/// which the binary tensors of the inputs follow. A length of 0 says that there is no JSON, and the body is the one input of
/// the model.
///
/// Keys may come in any order. Elements are parsed straight into buffers whose size is bounded by the declared shape
/// (itself checked against the signature and the limits) and by the length of the body. Every error has the class
/// [`BadRequest`](crate::ErrorClass::BadRequest).
pub fn parse_infer_request(
    body: &[u8],
    header_length: Option<usize>,
    signature: &Signature,
    limits: &Limits,
) -> Result<InferRequest, Error> {
    let length = header_length.unwrap_or(body.len());
    if header_length == Some(0) {
        return raw::request(body, signature, limits);
    }
    let (json, binary) =
        body.split_at_checked(length).ok_or(Error::HeaderBeyondBody { header: length, body: body.len() })?;
    let mut scanner = Scanner::new(json, limits.max_depth)?;
    let mut draft = Draft { scanner: &mut scanner, binary, signature, limits };
    let request = draft.request()?;
    let count = draft.binary.len();
    scanner.end()?;
    if count > 0 { Err(Error::TrailingBytes { count }) } else { Ok(request) }
}

/// A request while it is being read.
struct Draft<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
    /// The bytes behind the JSON that no input has taken.
    binary: &'s [u8],
    signature: &'s Signature,
    limits: &'s Limits,
}

/// What an entry of `inputs` has said so far.
#[derive(Default)]
struct Entry<'a> {
    name: Option<Cow<'a, str>>,
    datatype: Option<Datatype>,
    shape: Option<Vec<i64>>,
}

/// The elements of an entry of `inputs`.
enum Data<'a> {
    Absent,
    /// `data` came before the keys that say how to read it.
    Later(Scanner<'a>),
    Read(usize, Tensor),
}

impl<'a> Draft<'_, 'a> {
    fn request(&mut self) -> Result<InferRequest, Error> {
        let root = Path::Root;
        let (mut id, mut inputs, mut outputs, mut parameters) = (None, None, None, None);
        self.scanner.open_object(&root)?;
        while let Some(key) = self.scanner.next_key()? {
            let path = root.key(&key);
            match key.as_ref() {
                "id" => set(&mut id, self.id(&path)?, "id", &root)?,
                "inputs" => set(&mut inputs, self.inputs(&path)?, "inputs", &root)?,
                "outputs" => set(&mut outputs, self.outputs(&path)?, "outputs", &root)?,
                "parameters" => {
                    let read = read_parameters(self.scanner, Scope::Request, &path, self.limits)?;
                    set(&mut parameters, read, "parameters", &root)?;
                }
                _ => {
                    self.scanner.skip(&path)?;
                }
            }
        }
        let inputs = inputs.ok_or_else(|| missing("inputs", &root))?;
        let parameters = parameters.unwrap_or_default();
        let here = root.key("parameters");
        let binary = flag(&parameters, "binary_data_output", &here)?.unwrap_or(false);
        let timeout = count(&parameters, "timeout", &here)?.filter(|&microseconds| microseconds > 0);
        Ok(InferRequest {
            id: id.flatten(),
            inputs,
            outputs: outputs::resolve(outputs.unwrap_or_default(), binary, self.signature),
            timeout: timeout.map(Duration::from_micros),
            parameters: parameters.into_map(),
        })
    }

    fn id(&mut self, path: &Path<'_>) -> Result<Option<String>, Error> {
        if self.scanner.take_null()? {
            return Ok(None);
        }
        let id = self.scanner.string("a string", path)?;
        bounded(&id, self.limits, path)?;
        Ok(Some(id.into_owned()))
    }

    fn inputs(&mut self, path: &Path<'_>) -> Result<Vec<Tensor>, Error> {
        let mut tensors = vec![None; self.signature.inputs.len()];
        self.scanner.open_array("an array of tensors", path)?;
        let mut count = 0;
        while self.scanner.next_element()? {
            at_most(count, self.limits.max_inputs, "inputs", path)?;
            let (index, tensor) = self.input(&path.index(count))?;
            if tensors[index].is_some() {
                return Err(Error::DuplicateInput { name: excerpt(tensor.name()) });
            }
            tensors[index] = Some(tensor);
            count += 1;
        }
        let name = |index: usize| excerpt(&self.signature.inputs[index].name);
        let known = || self.signature.input_names();
        tensors
            .into_iter()
            .enumerate()
            .map(|(index, tensor)| {
                tensor.ok_or_else(|| Error::MissingInput { name: name(index), known: known() })
            })
            .collect()
    }

    /// Reads one entry of `inputs` and says which input of the signature it is.
    fn input(&mut self, path: &Path<'_>) -> Result<(usize, Tensor), Error> {
        let mut entry = Entry::default();
        let (mut data, mut parameters) = (Data::Absent, None);
        self.scanner.open_object(path)?;
        while let Some(key) = self.scanner.next_key()? {
            let here = path.key(&key);
            match key.as_ref() {
                "name" => set(&mut entry.name, self.scanner.string("a string", &here)?, "name", path)?,
                "datatype" => set(&mut entry.datatype, self.datatype(&here)?, "datatype", path)?,
                "shape" => set(&mut entry.shape, self.shape(&here)?, "shape", path)?,
                "parameters" => {
                    let read = read_parameters(self.scanner, Scope::Input, &here, self.limits)?;
                    set(&mut parameters, read, "parameters", path)?;
                }
                "data" => {
                    if !matches!(data, Data::Absent) {
                        return Err(Error::DuplicateKey { path: path.to_string(), key: "data".to_owned() });
                    }
                    data = self.data(&mut entry, path)?;
                }
                _ => {
                    self.scanner.skip(&here)?;
                }
            }
        }
        let here = path.key("parameters");
        let size = count(&parameters.unwrap_or_default(), "binary_data_size", &here)?;
        match (data, size) {
            (Data::Absent, Some(size)) => {
                let (index, shape) = self.resolve(&mut entry, path)?;
                let tensor = self.binary_tensor(size, index, shape, &here.key("binary_data_size"))?;
                Ok((index, tensor))
            }
            (_, Some(_)) => Err(Error::InvalidValue {
                path: path.to_string(),
                got: "\"data\" and the parameter \"binary_data_size\"".to_owned(),
                wanted: "one of them".to_owned(),
            }),
            (Data::Read(index, tensor), None) => Ok((index, tensor)),
            (Data::Later(mut scanner), None) => {
                let (index, shape) = self.resolve(&mut entry, path)?;
                let tensor = self.tensor(&mut scanner, index, shape, &path.key("data"))?;
                Ok((index, tensor))
            }
            (Data::Absent, None) => {
                self.resolve(&mut entry, path)?;
                Err(missing("data", path))
            }
        }
    }

    /// Takes the next `size` of the bytes behind the JSON for an input whose shape has been checked.
    fn binary_tensor(
        &mut self,
        size: u64,
        index: usize,
        shape: Vec<i64>,
        path: &Path<'_>,
    ) -> Result<Tensor, Error> {
        let input = &self.signature.inputs[index];
        let left = self.binary.len();
        let split = usize::try_from(size).ok().and_then(|size| self.binary.split_at_checked(size));
        let (bytes, rest) = split.ok_or_else(|| Error::InvalidValue {
            path: path.to_string(),
            got: size.to_string(),
            wanted: format!(
                "at most {left}, the bytes left behind the JSON, whose length the header Inference-Header-Content-Length says"
            ),
        })?;
        self.binary = rest;
        let data = decode(input.datatype, bytes, element_count(&input.name, &shape)?, path)?;
        Tensor::new(input.name.clone(), shape, data)
    }

    /// Reads `data` at once if the entry has already said how, and steps over it otherwise.
    fn data(&mut self, entry: &mut Entry<'a>, path: &Path<'_>) -> Result<Data<'a>, Error> {
        if entry.name.is_none() || entry.datatype.is_none() || entry.shape.is_none() {
            let later = self.scanner.clone();
            self.scanner.skip(&path.key("data"))?;
            return Ok(Data::Later(later));
        }
        let (index, shape) = self.resolve(entry, path)?;
        // The scanner moves on in a copy because the draft is borrowed as a whole.
        let mut scanner = self.scanner.clone();
        let tensor = self.tensor(&mut scanner, index, shape, &path.key("data"))?;
        *self.scanner = scanner;
        Ok(Data::Read(index, tensor))
    }

    /// Finds the input that the entry means and checks its type and shape, before any memory is taken for it.
    fn resolve(&self, entry: &mut Entry<'a>, path: &Path<'_>) -> Result<(usize, Vec<i64>), Error> {
        let name = entry.name.as_ref().ok_or_else(|| missing("name", path))?;
        let index = self.signature.input_index(name)?;
        let input = &self.signature.inputs[index];
        let shape = entry.shape.clone().ok_or_else(|| missing("shape", path))?;
        let got = entry.datatype.ok_or_else(|| missing("datatype", path))?;
        if got != input.datatype {
            return Err(Error::DatatypeMismatch { tensor: excerpt(name), got, wanted: input.datatype });
        }
        element_count(name, &shape)?;
        input.accepts_shape(&shape)?;
        self.limits.check_shape(&shape, &path.key("shape"))?;
        Ok((index, shape))
    }

    /// Reads flat or nested elements of an input whose shape has been checked.
    fn tensor(
        &self,
        scanner: &mut Scanner<'_>,
        index: usize,
        shape: Vec<i64>,
        path: &Path<'_>,
    ) -> Result<Tensor, Error> {
        let input = &self.signature.inputs[index];
        let elements = element_count(&input.name, &shape)?;
        let nested = !shape.is_empty() && scanner.is_nested_array();
        let levels = if nested { shape.clone() } else { vec![i64::try_from(elements).unwrap_or(i64::MAX)] };
        let mut filling = Filling::exact(input.datatype, levels, self.limits.max_elements);
        filling.reserve(elements, scanner);
        filling.read(scanner, 0, path)?;
        Tensor::new(input.name.clone(), shape, filling.into_data())
    }

    fn datatype(&mut self, path: &Path<'_>) -> Result<Datatype, Error> {
        self.scanner.string("the name of a datatype", path)?.parse()
    }

    fn shape(&mut self, path: &Path<'_>) -> Result<Vec<i64>, Error> {
        let mut shape = Vec::new();
        self.scanner.open_array("an array of integers", path)?;
        while self.scanner.next_element()? {
            at_most(shape.len(), self.limits.max_rank, "dimensions", path)?;
            shape.push(i64::read(self.scanner, &path.index(shape.len()))?);
        }
        Ok(shape)
    }
}

/// Keeps the value of a key that may appear once.
fn set<T>(slot: &mut Option<T>, value: T, key: &str, path: &Path<'_>) -> Result<(), Error> {
    if slot.is_some() {
        return Err(Error::DuplicateKey { path: path.to_string(), key: key.to_owned() });
    }
    *slot = Some(value);
    Ok(())
}

#[cold]
fn missing(key: &'static str, path: &Path<'_>) -> Error {
    Error::MissingKey { path: path.to_string(), key }
}

/// Refuses one more than `limit` things when there are `count` already.
fn at_most(count: usize, limit: usize, what: &'static str, path: &Path<'_>) -> Result<(), Error> {
    if count < limit {
        return Ok(());
    }
    Err(Error::LimitExceeded { path: path.to_string(), what, limit })
}

#[cfg(test)]
mod tests;
