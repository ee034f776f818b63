//! Reading which outputs a request asks for, and how.

use super::{Draft, at_most, missing, set};
use crate::datatype::Datatype;
use crate::error::{Error, excerpt};
use crate::parameters::{Entries, Scope, count, flag, read_parameters};
use crate::path::Path;
use crate::signature::Signature;

/// An output that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedOutput {
    /// Its position in the signature's outputs.
    pub index: usize,
    /// Whether to answer with binary data behind the JSON.
    pub binary: bool,
    /// Whether to answer with that many highest elements as text; see [`classify`](crate::v2::classify).
    pub classification: Option<u32>,
}

/// An entry of `outputs`.
pub(super) struct Asked {
    index: usize,
    /// What the entry itself says, which wins over the request.
    binary: Option<bool>,
    classification: Option<u32>,
}

/// The outputs to answer with: those asked for, or else all; `binary` is for those that do not say.
pub(super) fn resolve(asked: Vec<Asked>, binary: bool, signature: &Signature) -> Vec<RequestedOutput> {
    if asked.is_empty() {
        let all = 0..signature.outputs.len();
        return all.map(|index| RequestedOutput { index, binary, classification: None }).collect();
    }
    let resolved = |Asked { index, binary: own, classification }: Asked| RequestedOutput {
        index,
        binary: own.unwrap_or(binary),
        classification,
    };
    asked.into_iter().map(resolved).collect()
}

impl Draft<'_, '_> {
    /// Reads `outputs`.
    pub(super) fn outputs(&mut self, path: &Path<'_>) -> Result<Vec<Asked>, Error> {
        let mut outputs = Vec::new();
        if self.scanner.take_null()? {
            return Ok(outputs);
        }
        // A flag per output keeps the search for duplicates linear.
        let mut seen = vec![false; self.signature.outputs.len()];
        self.scanner.open_array("an array of objects with a name", path)?;
        while self.scanner.next_element()? {
            at_most(outputs.len(), self.limits.max_outputs, "outputs", path)?;
            let output = self.output(&path.index(outputs.len()))?;
            if std::mem::replace(&mut seen[output.index], true) {
                let name = excerpt(&self.signature.outputs[output.index].name);
                return Err(Error::DuplicateOutput { name });
            }
            outputs.push(output);
        }
        Ok(outputs)
    }

    fn output(&mut self, path: &Path<'_>) -> Result<Asked, Error> {
        let (mut name, mut parameters) = (None, None);
        self.scanner.open_object(path)?;
        while let Some(key) = self.scanner.next_key()? {
            let here = path.key(&key);
            match key.as_ref() {
                "name" => set(&mut name, self.scanner.string("a string", &here)?, "name", path)?,
                "parameters" => {
                    let read = read_parameters(self.scanner, Scope::Output, &here, self.limits)?;
                    set(&mut parameters, read, "parameters", path)?;
                }
                _ => {
                    self.scanner.skip(&here)?;
                }
            }
        }
        let name = name.ok_or_else(|| missing("name", path))?;
        let index = self.signature.output_index(&name)?;
        let (parameters, here) = (parameters.unwrap_or_default(), path.key("parameters"));
        let classification = self.classification(&parameters, index, &here)?;
        Ok(Asked { index, binary: flag(&parameters, "binary_data", &here)?, classification })
    }

    /// How many classes are asked for; 0 stands for the tensor itself.
    fn classification(
        &self,
        parameters: &Entries<'_>,
        index: usize,
        path: &Path<'_>,
    ) -> Result<Option<u32>, Error> {
        const KEY: &str = "classification";
        let Some(classes) = count(parameters, KEY, path)?.filter(|&classes| classes > 0) else {
            return Ok(None);
        };
        let datatype = self.signature.outputs[index].datatype;
        if matches!(datatype, Datatype::Bytes | Datatype::Bool) {
            return Err(Error::InvalidValue {
                path: path.key(KEY).to_string(),
                got: format!("an output of {datatype}"),
                wanted: "an output of numbers, which can be ranked".to_owned(),
            });
        }
        // No output has more elements than a u32 counts by far.
        Ok(Some(u32::try_from(classes).unwrap_or(u32::MAX)))
    }
}
