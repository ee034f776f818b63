//! Which values of a model's tensors never leave the process.

use std::collections::BTreeSet;

use modelwright_protocol::v1::View;
use modelwright_protocol::{Signature, Tensor, TensorMetadata};

use super::PayloadLogError;

/// What of each tensor is hidden, by its name.
#[derive(Debug, Default)]
pub(crate) struct Redaction {
    tensors: BTreeSet<String>,
    features: Option<Features>,
}

/// Columns of the training data that lie side by side in one input.
#[derive(Debug)]
struct Features {
    input: String,
    width: usize,
    /// Their positions in a row.
    hidden: BTreeSet<usize>,
    names: Vec<String>,
}

/// What of one tensor is hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hidden {
    Nothing,
    All,
    /// These positions in each row of so many elements, which have these names.
    Columns {
        width: usize,
        positions: BTreeSet<usize>,
        names: Vec<String>,
    },
}

impl Redaction {
    /// Finds what the names mean for a model. A name of nothing is an error: a misspelt one would be no protection.
    pub(super) fn of(
        names: &[String],
        signature: &Signature,
        view: Option<&View>,
    ) -> Result<Self, PayloadLogError> {
        let mut redaction = Self::default();
        let columns = view.map_or(&[][..], View::columns);
        for name in names {
            let is_among = |tensors: &[TensorMetadata]| tensors.iter().any(|tensor| tensor.name == *name);
            let (is_input, is_output) = (is_among(&signature.inputs), is_among(&signature.outputs));
            if is_input || is_output {
                redaction.tensors.insert(name.clone());
            }
            // An output may be called like a column, which is then hidden as well.
            if is_input || (is_output && columns.iter().all(|column| column.name != *name)) {
                continue;
            }
            let position = columns.iter().position(|column| column.name == *name);
            // A column that is no input is one of many in the only one.
            let (Some(position), [input]) = (position, &signature.inputs[..]) else {
                return Err(unknown(name, signature, columns.iter().map(|column| column.name.as_str())));
            };
            let features = redaction.features.get_or_insert_with(|| Features {
                input: input.name.clone(),
                width: columns.len(),
                hidden: BTreeSet::new(),
                names: Vec::new(),
            });
            if features.hidden.insert(position) {
                features.names.push(name.clone());
            }
        }
        Ok(redaction)
    }

    pub(super) fn hides(&self, tensor: &Tensor) -> Hidden {
        if self.tensors.contains(tensor.name()) {
            return Hidden::All;
        }
        match &self.features {
            Some(features) if features.input == tensor.name() => {
                let row = tensor.len().checked_div(tensor.rows()).unwrap_or(0);
                // Rows of another length than expected: which element is which column is not known.
                if row != features.width {
                    return Hidden::All;
                }
                let (positions, names) = (features.hidden.clone(), features.names.clone());
                Hidden::Columns { width: features.width, positions, names }
            }
            _ => Hidden::Nothing,
        }
    }
}

fn unknown<'a>(
    name: &str,
    signature: &'a Signature,
    columns: impl Iterator<Item = &'a str>,
) -> PayloadLogError {
    let tensors = signature.inputs.iter().chain(&signature.outputs).map(|tensor| tensor.name.as_str());
    let known: BTreeSet<&str> = tensors.chain(columns).collect();
    let shown = known.iter().take(16).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let more = if known.len() > 16 { format!(" and {} more", known.len() - 16) } else { String::new() };
    PayloadLogError::UnknownName { name: name.to_owned(), known: format!("{shown}{more}") }
}

#[cfg(test)]
mod tests {
    use modelwright_protocol::{Datatype, TensorData};

    use super::*;

    fn metadata(name: &str, shape: &[i64]) -> TensorMetadata {
        TensorMetadata { name: name.to_owned(), datatype: Datatype::Fp32, shape: shape.to_vec() }
    }

    fn tensor(name: &str, shape: Vec<i64>, count: usize) -> Tensor {
        Tensor::new(name, shape, TensorData::Fp32(vec![1.0; count])).unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn tensors_are_hidden_by_name_and_columns_by_position() {
        let signature = Signature {
            inputs: vec![metadata("features", &[-1, 2])],
            outputs: vec![metadata("prediction", &[-1])],
        };
        let schema = br#"{"version":"1","task":"Regression","target":"rent","layout":"Features",
            "columns":[{"name":"rooms","type":"Numeric"},{"name":"age","type":"Numeric"}]}"#;
        let view = View::from_schema(schema, &signature).unwrap();
        let redaction =
            Redaction::of(&names(&["age", "age", "prediction"]), &signature, Some(&view)).unwrap();
        let columns = Hidden::Columns { width: 2, positions: [1].into(), names: names(&["age"]) };
        assert_eq!(redaction.hides(&tensor("features", vec![3, 2], 6)), columns);
        assert_eq!(redaction.hides(&tensor("prediction", vec![3], 3)), Hidden::All);
        assert_eq!(redaction.hides(&tensor("other", vec![3], 3)), Hidden::Nothing);
        assert_eq!(redaction.hides(&tensor("features", vec![2, 3], 6)), Hidden::All);
        assert_eq!(redaction.hides(&tensor("features", vec![0, 2], 0)), Hidden::All);
    }

    #[test]
    fn column_that_an_output_is_called_like_is_hidden_with_it() {
        let signature = Signature {
            inputs: vec![metadata("features", &[-1, 2])],
            outputs: vec![metadata("prediction", &[-1])],
        };
        let schema = br#"{"version":"1","task":"Regression","target":"rent","layout":"Features",
            "columns":[{"name":"rooms","type":"Numeric"},{"name":"prediction","type":"Numeric"}]}"#;
        let view = View::from_schema(schema, &signature).unwrap();
        let redaction = Redaction::of(&names(&["prediction"]), &signature, Some(&view)).unwrap();
        let columns = Hidden::Columns { width: 2, positions: [1].into(), names: names(&["prediction"]) };
        assert_eq!(redaction.hides(&tensor("features", vec![3, 2], 6)), columns);
        assert_eq!(redaction.hides(&tensor("prediction", vec![3], 3)), Hidden::All);
    }

    #[test]
    fn name_of_nothing_is_refused_with_those_that_there_are() {
        let signature = Signature { inputs: vec![metadata("a", &[-1])], outputs: vec![metadata("b", &[-1])] };
        let error = Redaction::of(&names(&["a", "agee"]), &signature, None).unwrap_err().to_string();
        assert!(error.contains("\"agee\"") && error.contains("\"a\", \"b\""), "{error}");
    }
}
