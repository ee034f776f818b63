//! The columns of a model's inputs, and the number that is explained.

use std::ops::Range;
use std::sync::Arc;

use http::StatusCode;
use modelwright_explain::Coalition;
use modelwright_protocol::v1::View;
use modelwright_protocol::{Datatype, Signature, Tensor, TensorData, TensorMetadata};
use serde_json::Value;

use super::ask::Target;
use crate::answer::Refusal;
use crate::route;

/// The most columns that are explained.
const MOST_PLAYERS: usize = 1 << 20;

/// Runs the same expression on the buffers of two tensors of one type.
macro_rules! both {
    ($row:expr, $other:expr, |$a:ident, $b:ident| $make:expr, [$($variant:ident),+]) => {
        match ($row, $other) {
            $((TensorData::$variant($a), TensorData::$variant($b)) => Some(TensorData::$variant($make)),)+
            _ => None,
        }
    };
}

/// The columns of a model's inputs: every input that has one value in a row, and every value of those that have several.
#[derive(Debug)]
pub(super) struct Players {
    inputs: Vec<TensorMetadata>,
    /// The first player of each input, and how many it has.
    spans: Vec<Range<usize>>,
    names: Vec<String>,
}

impl Players {
    /// Inputs must be `[N]` or `[N, columns]`; a view names the columns of a matrix.
    pub(super) fn of(model: &str, signature: &Signature, view: Option<&View>) -> Result<Self, Refusal> {
        let (mut spans, mut names) = (Vec::new(), Vec::new());
        for input in &signature.inputs {
            let columns = match input.shape.as_slice() {
                [-1] => Some(1),
                [-1, columns] => usize::try_from(*columns).ok().filter(|&columns| columns > 0),
                _ => None,
            };
            let columns = columns.filter(|&columns| names.len() + columns <= MOST_PLAYERS).ok_or_else(|| {
                Refusal::bad_request(format!(
                    "the model \"{model}\" cannot be explained: its input {input} is neither [-1] nor [-1, COLUMNS], a row of \
                     columns"
                ))
            })?;
            spans.push(names.len()..names.len() + columns);
            match view {
                Some(view) if signature.inputs.len() == 1 && view.columns().len() == columns => {
                    names.extend(view.columns().iter().map(|column| column.name.clone()));
                }
                _ if columns == 1 => names.push(input.name.clone()),
                _ => names.extend((0..columns).map(|column| format!("{}[{column}]", input.name))),
            }
        }
        Ok(Self { inputs: signature.inputs.clone(), spans, names })
    }

    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    pub(super) fn name(&self, player: usize) -> &str {
        self.names.get(player).map_or("", String::as_str)
    }

    /// A row of zeros, empty texts and `false`.
    pub(super) fn zeros(&self) -> Result<Vec<Tensor>, Refusal> {
        let zero = |(input, span): (&TensorMetadata, &Range<usize>)| {
            let empty = TensorData::with_capacity(input.datatype, 0);
            tensor(input, 1, span.len(), zeros(&empty, span.len()))
        };
        self.inputs.iter().zip(&self.spans).map(zero).collect()
    }

    /// The rows of coalitions: for each, as many as `background` has, with the values of `row` for the players in it and
    /// those of the baseline for others.
    pub(super) fn mix(
        &self,
        inputs: &Arc<Vec<Tensor>>,
        row: usize,
        baseline: &[Tensor],
        background: Range<usize>,
        coalitions: &[Coalition],
    ) -> Result<Vec<Tensor>, Refusal> {
        let rows = coalitions.len() * background.len();
        let mixed = |(index, input): (usize, &TensorMetadata)| {
            let span = &self.spans[index];
            let width = span.len();
            let picks = coalitions.iter().flat_map(|coalition| {
                background.clone().flat_map(move |base| {
                    (0..width).map(move |column| (coalition.has(span.start + column), base, column))
                })
            });
            let data = both!(
                inputs[index].data(),
                baseline[index].data(),
                |own, others| pick(own, others, row, width, picks),
                [
                    Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64,
                    Bytes
                ]
            );
            tensor(input, rows, width, data)
        };
        self.inputs.iter().enumerate().map(mixed).collect()
    }

    /// A player's value in a row, as JSON; `null` for a number that is missing.
    pub(super) fn value(&self, tensors: &[Tensor], row: usize, player: usize) -> Value {
        let Some(index) = self.spans.iter().position(|span| span.contains(&player)) else {
            return Value::Null;
        };
        let at = row * self.spans[index].len() + player - self.spans[index].start;
        tensors.get(index).map_or(Value::Null, |tensor| json(tensor.data(), at))
    }
}

/// The values that are picked: from a row, or from a row of the baseline, in a column.
fn pick<T: Clone>(
    own: &[T],
    others: &[T],
    row: usize,
    width: usize,
    picks: impl Iterator<Item = (bool, usize, usize)>,
) -> Vec<T> {
    let pick = |(present, base, column): (bool, usize, usize)| {
        let value = if present { &own[row * width + column] } else { &others[base * width + column] };
        value.clone()
    };
    picks.map(pick).collect()
}

/// An input of some rows.
fn tensor(
    input: &TensorMetadata,
    rows: usize,
    columns: usize,
    data: Option<TensorData>,
) -> Result<Tensor, Refusal> {
    let size = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
    let shape = [size(rows), size(columns)].into_iter().take(input.shape.len()).collect();
    let data = data.ok_or_else(|| {
        let message = format!("input {input}: a row and its baseline have other types");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    })?;
    Ok(Tensor::new(input.name.clone(), shape, data)?)
}

/// So many neutral values of a type.
fn zeros(like: &TensorData, count: usize) -> Option<TensorData> {
    both!(
        like,
        like,
        |values, _same| {
            let mut zeros = values.clone();
            zeros.resize_with(count, Default::default);
            zeros
        },
        [Bool, Uint8, Uint16, Uint32, Uint64, Int8, Int16, Int32, Int64, Fp16, Bf16, Fp32, Fp64, Bytes]
    )
}

fn json(data: &TensorData, at: usize) -> Value {
    // In the digits that it needs: 0.1, where widening it would give 0.10000000149011612.
    let shortest = |value: f32| value.to_string().parse::<f64>().map_or(Value::Null, Value::from);
    match data {
        TensorData::Bool(values) => Value::from(values[at]),
        TensorData::Uint8(values) => Value::from(values[at]),
        TensorData::Uint16(values) => Value::from(values[at]),
        TensorData::Uint32(values) => Value::from(values[at]),
        TensorData::Uint64(values) => Value::from(values[at]),
        TensorData::Int8(values) => Value::from(values[at]),
        TensorData::Int16(values) => Value::from(values[at]),
        TensorData::Int32(values) => Value::from(values[at]),
        TensorData::Int64(values) => Value::from(values[at]),
        TensorData::Fp16(values) => shortest(values[at].to_f32()),
        TensorData::Bf16(values) => shortest(values[at].to_f32()),
        TensorData::Fp32(values) => shortest(values[at]),
        TensorData::Fp64(values) => Value::from(values[at]),
        TensorData::Bytes(values) => Value::from(String::from_utf8_lossy(&values[at])),
    }
}

/// The output whose numbers are explained.
#[derive(Debug)]
pub(super) struct Output {
    index: usize,
    name: String,
    classes: Vec<String>,
}

impl Output {
    /// The probabilities or the number of a model that was trained here; of others the one that is named, or the only one
    /// that has a number or a list of numbers for each row.
    pub(super) fn of(
        model: &str,
        signature: &Signature,
        view: Option<&View>,
        wanted: Option<&str>,
    ) -> Result<Self, Refusal> {
        let is_numeric = |output: &TensorMetadata| {
            matches!(output.datatype, Datatype::Fp32 | Datatype::Fp64)
                && matches!(output.shape.as_slice(), [-1] | [-1, _])
        };
        let numeric: Vec<(usize, &TensorMetadata)> =
            signature.outputs.iter().enumerate().filter(|(_, output)| is_numeric(output)).collect();
        let found = match wanted {
            Some(wanted) => numeric.iter().find(|(_, output)| output.name == wanted),
            None if numeric.len() == 1 => numeric.first(),
            None => None,
        };
        let Some(&(index, output)) = found else {
            let known: Vec<String> =
                numeric.iter().map(|(_, output)| format!("\"{}\"", output.name)).collect();
            let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
            let message = match wanted {
                Some(wanted) => {
                    format!(
                        "parameters.output: \"{}\" is no output that can be explained",
                        route::excerpt(wanted)
                    )
                }
                None => format!("the model \"{model}\" does not have one output that can be explained"),
            };
            return Err(Refusal::bad_request(format!(
                "{message}; name an output FP32 or FP64 of [-1] or [-1, CLASSES] in parameters.output: {known}"
            )));
        };
        let classes = view.map(|view| view.classes().to_vec()).unwrap_or_default();
        Ok(Self { index, name: output.name.clone(), classes })
    }

    /// The classes; none for a regression, and where they are not known.
    pub(super) fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The numbers of each row.
    pub(super) fn values(&self, outputs: Vec<Tensor>, rows: usize) -> Result<Vec<Vec<f64>>, Refusal> {
        let numbers: Option<Vec<f64>> =
            outputs.into_iter().nth(self.index).and_then(|output| match output.into_parts().2 {
                TensorData::Fp32(values) => Some(values.into_iter().map(f64::from).collect()),
                TensorData::Fp64(values) => Some(values),
                _ => None,
            });
        let numbers =
            numbers.filter(|numbers| rows > 0 && !numbers.is_empty() && numbers.len().is_multiple_of(rows));
        let numbers = numbers.ok_or_else(|| {
            let message =
                format!("the output \"{}\" does not have numbers for each of {rows} rows", self.name);
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })?;
        Ok(numbers.chunks_exact(numbers.len() / rows).map(<[f64]>::to_vec).collect())
    }

    /// The position that is explained: the one that is asked for, or that of the largest number.
    pub(super) fn target(&self, wanted: Option<&Target>, numbers: &[f64]) -> Result<usize, Refusal> {
        let unknown = |wanted: &str, known: String| {
            let message = format!("parameters.target: {wanted} is not explained by this model; {known}");
            Err(Refusal::bad_request(message))
        };
        match wanted {
            None => {
                let largest =
                    numbers.iter().enumerate().rev().max_by(|(_, one), (_, other)| one.total_cmp(other));
                Ok(largest.map_or(0, |(position, _)| position))
            }
            Some(Target::Position(position)) if *position < numbers.len() => Ok(*position),
            Some(Target::Position(position)) => {
                unknown(&position.to_string(), format!("positions are below {}", numbers.len()))
            }
            Some(Target::Class(class)) => match self.classes.iter().position(|known| known == class) {
                Some(position) => Ok(position),
                None if self.classes.is_empty() => {
                    let known = "its classes have no names, so send a position".to_owned();
                    unknown(&format!("\"{}\"", route::excerpt(class)), known)
                }
                None => {
                    let known = format!("it knows the classes {}", route::excerpt(&self.classes.join(", ")));
                    unknown(&format!("\"{}\"", route::excerpt(class)), known)
                }
            },
        }
    }

    /// What is explained, in words: a class, the output of a single number, or a position in it.
    pub(super) fn label(&self, target: usize, numbers: usize) -> Value {
        match self.classes.get(target) {
            Some(class) => Value::from(class.as_str()),
            None if numbers == 1 => Value::from(self.name.as_str()),
            None => Value::from(target),
        }
    }
}
