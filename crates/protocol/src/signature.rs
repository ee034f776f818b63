//! What a model takes and gives.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::datatype::Datatype;
use crate::error::{Error, excerpt, name_list};
use crate::tensor::Tensor;

/// Name, type and shape of one input or output, in the form of the protocol's model metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorMetadata {
    /// The tensor's name in the model.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its dimensions; -1 stands for a variable one, as the protocol has it.
    pub shape: Vec<i64>,
}

impl TensorMetadata {
    /// Checks type, rank and fixed dimensions of `tensor`, whose name is taken to match.
    ///
    /// A variable first dimension of size 0 is refused: there is no row to compute, and kernels differ in what they do
    /// with none.
    pub fn accepts(&self, tensor: &Tensor) -> Result<(), Error> {
        if tensor.datatype() != self.datatype {
            return Err(Error::DatatypeMismatch {
                tensor: excerpt(&self.name),
                got: tensor.datatype(),
                wanted: self.datatype,
            });
        }
        self.accepts_shape(tensor.shape())
    }

    /// Checks rank and fixed dimensions of `shape`; [`TensorMetadata::accepts`] says what is refused.
    pub fn accepts_shape(&self, shape: &[i64]) -> Result<(), Error> {
        let fits = |(&got, &wanted): (&i64, &i64)| wanted < 0 || got == wanted;
        if shape.len() != self.shape.len() || !shape.iter().zip(&self.shape).all(fits) {
            return Err(Error::ShapeMismatch {
                tensor: excerpt(&self.name),
                got: excerpt(&format!("{shape:?}")),
                wanted: self.shape.clone(),
            });
        }
        if shape.first() == Some(&0) && self.shape.first().is_some_and(|&wanted| wanted < 0) {
            return Err(Error::EmptyBatch { tensor: excerpt(&self.name) });
        }
        Ok(())
    }
}

/// As messages write it: `"x" FP32 [-1, 4]`.
impl fmt::Display for TensorMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = excerpt(&format!("{:?}", self.shape));
        write!(f, "\"{}\" {} {shape}", excerpt(&self.name), self.datatype)
    }
}

/// The inputs and outputs of a model, in the model's order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// What the model takes.
    pub inputs: Vec<TensorMetadata>,
    /// What the model gives.
    pub outputs: Vec<TensorMetadata>,
}

impl Signature {
    /// The position of the input of this name.
    pub fn input_index(&self, name: &str) -> Result<usize, Error> {
        position(&self.inputs, name)
            .ok_or_else(|| Error::UnknownInput { name: excerpt(name), known: names(&self.inputs) })
    }

    /// The position of the output of this name.
    pub fn output_index(&self, name: &str) -> Result<usize, Error> {
        position(&self.outputs, name)
            .ok_or_else(|| Error::UnknownOutput { name: excerpt(name), known: names(&self.outputs) })
    }

    /// Checks that `tensor` can be fed to the model: its name is an input's, and type, rank and fixed dimensions are
    /// that input's.
    pub fn accepts(&self, tensor: &Tensor) -> Result<(), Error> {
        let index = self.input_index(tensor.name())?;
        self.inputs[index].accepts(tensor)
    }

    /// The names of the inputs, as an error message lists them.
    pub(crate) fn input_names(&self) -> String {
        names(&self.inputs)
    }
}

fn position(tensors: &[TensorMetadata], name: &str) -> Option<usize> {
    tensors.iter().position(|tensor| tensor.name == name)
}

/// The names of tensors, as an error message lists them.
pub(crate) fn names(tensors: &[TensorMetadata]) -> String {
    name_list(tensors.iter().map(|tensor| tensor.name.as_str()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::tensor::TensorData;

    fn signature() -> Signature {
        let input = TensorMetadata { name: "x".into(), datatype: Datatype::Fp32, shape: vec![-1, 4] };
        let other = TensorMetadata { name: "mask".into(), datatype: Datatype::Bool, shape: vec![] };
        Signature { inputs: vec![input, other], outputs: vec![] }
    }

    fn floats(name: &str, shape: &[i64]) -> Tensor {
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        Tensor::new(name, shape.to_vec(), TensorData::Fp32(vec![0.0; count])).unwrap()
    }

    #[test]
    fn a_variable_dimension_takes_any_size() {
        for rows in [1, 2, 1000] {
            signature().accepts(&floats("x", &[rows, 4])).unwrap();
        }
    }

    #[rstest]
    #[case(floats("y", &[1, 4]), r#"unknown input "y"; the model takes "x", "mask""#)]
    #[case(floats("mask", &[1]), r#"input "mask": datatype FP32 where the model wants BOOL"#)]
    #[case(floats("x", &[4]), r#"input "x": shape [4] where the model wants [-1, 4]"#)]
    #[case(floats("x", &[1, 5]), r#"input "x": shape [1, 5] where the model wants [-1, 4]"#)]
    #[case(floats("x", &[0, 4]), r#"input "x": the batch is empty"#)]
    fn mismatches_name_the_input_what_came_and_what_was_wanted(
        #[case] tensor: Tensor,
        #[case] expected: &str,
    ) {
        let message = signature().accepts(&tensor).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }

    #[test]
    fn metadata_reads_as_the_protocol_writes_it() {
        let text = r#"{"name":"x","datatype":"FP32","shape":[-1,4]}"#;
        let metadata: TensorMetadata = serde_json::from_str(text).unwrap();
        assert_eq!(metadata, signature().inputs[0]);
        assert_eq!(serde_json::to_string(&metadata).unwrap(), text);
    }
}
