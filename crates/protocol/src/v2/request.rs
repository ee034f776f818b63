//! Reading the body of `POST /v2/models/{name}/infer`.

use std::borrow::Cow;

use crate::datatype::Datatype;
use crate::element::Element;
use crate::error::{Error, excerpt};
use crate::fill::Filling;
use crate::json::Scanner;
use crate::limits::Limits;
use crate::parameters::{Parameters, Scope, bounded, read_parameters};
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
    /// The outputs to answer with, as positions in the signature's outputs, in the order in which they were asked for;
    /// all of them if none were named.
    pub outputs: Vec<usize>,
    /// The parameters of the request as a whole; none of them has a meaning here.
    pub parameters: Parameters,
}

/// Reads an inference request and checks it against the model's signature and the limits.
///
/// Keys may come in any order. Elements are parsed straight into buffers whose size is bounded by the declared shape
/// (itself checked against the signature and the limits) and by the length of the body. Every error has the class
/// [`BadRequest`](crate::ErrorClass::BadRequest).
pub fn parse_infer_request(
    body: &[u8],
    signature: &Signature,
    limits: &Limits,
) -> Result<InferRequest, Error> {
    let mut scanner = Scanner::new(body, limits.max_depth)?;
    let mut draft = Draft { scanner: &mut scanner, signature, limits };
    let request = draft.request()?;
    scanner.end()?;
    Ok(request)
}

/// A request while it is being read.
struct Draft<'s, 'a> {
    scanner: &'s mut Scanner<'a>,
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
        let all = || (0..self.signature.outputs.len()).collect();
        Ok(InferRequest {
            id: id.flatten(),
            inputs,
            outputs: outputs.filter(|outputs: &Vec<usize>| !outputs.is_empty()).unwrap_or_else(all),
            parameters: parameters.unwrap_or_default(),
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
        let mut data = Data::Absent;
        self.scanner.open_object(path)?;
        while let Some(key) = self.scanner.next_key()? {
            let here = path.key(&key);
            match key.as_ref() {
                "name" => set(&mut entry.name, self.scanner.string("a string", &here)?, "name", path)?,
                "datatype" => set(&mut entry.datatype, self.datatype(&here)?, "datatype", path)?,
                "shape" => set(&mut entry.shape, self.shape(&here)?, "shape", path)?,
                "parameters" => {
                    read_parameters(self.scanner, Scope::Input, &here, self.limits)?;
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
        match data {
            Data::Read(index, tensor) => Ok((index, tensor)),
            Data::Later(mut scanner) => {
                let (index, shape) = self.resolve(&mut entry, path)?;
                let tensor = self.tensor(&mut scanner, index, shape, &path.key("data"))?;
                Ok((index, tensor))
            }
            Data::Absent => {
                self.resolve(&mut entry, path)?;
                Err(missing("data", path))
            }
        }
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

    /// Reads `outputs` as positions in the signature.
    fn outputs(&mut self, path: &Path<'_>) -> Result<Vec<usize>, Error> {
        let mut outputs = Vec::new();
        if self.scanner.take_null()? {
            return Ok(outputs);
        }
        // A flag per output keeps the search for duplicates linear.
        let mut asked = vec![false; self.signature.outputs.len()];
        self.scanner.open_array("an array of objects with a name", path)?;
        while self.scanner.next_element()? {
            at_most(outputs.len(), self.limits.max_outputs, "outputs", path)?;
            let name = self.output_name(&path.index(outputs.len()))?;
            let index = self.signature.output_index(&name)?;
            if std::mem::replace(&mut asked[index], true) {
                return Err(Error::DuplicateOutput { name: excerpt(&name) });
            }
            outputs.push(index);
        }
        Ok(outputs)
    }

    fn output_name(&mut self, path: &Path<'_>) -> Result<Cow<'a, str>, Error> {
        let mut name = None;
        self.scanner.open_object(path)?;
        while let Some(key) = self.scanner.next_key()? {
            let here = path.key(&key);
            match key.as_ref() {
                "name" => set(&mut name, self.scanner.string("a string", &here)?, "name", path)?,
                "parameters" => {
                    read_parameters(self.scanner, Scope::Output, &here, self.limits)?;
                }
                _ => {
                    self.scanner.skip(&here)?;
                }
            }
        }
        name.ok_or_else(|| missing("name", path))
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
