//! Running a model before it answers anyone.
//!
//! The first run of a session allocates its memory and, on a GPU, compiles and picks kernels; it can take a hundred times
//! as long as the later ones. So every session runs on made-up inputs before it is called ready.
//!
//! The inputs are zeros (`false`, empty text) with variable dimensions of 1. A model may fail on them with good reason:
//! zero is not in its vocabulary, or a size of 1 is too small for its convolution. Such a model is served all the same;
//! the failure is logged and reported, and its first request pays for the warm-up.

use std::time::{Duration, Instant};

use bytes::Bytes;
use half::{bf16, f16};
use modelwright_protocol::tensor::element_count;
use modelwright_protocol::{Datatype, Signature, Tensor, TensorData, TensorMetadata};

use crate::error::Error;
use crate::session::Session;

/// The most elements of a made-up input (256 MiB of FP32), as many as a request may have; a larger one is not made.
const MOST_ELEMENTS: usize = 1 << 26;
/// Further runs after the first.
const FURTHER_RUNS: usize = 3;
/// No further run is started after this time.
const PATIENCE: Duration = Duration::from_millis(500);

/// How the warm-up went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WarmUp {
    /// How long all of it took.
    pub took: Duration,
    /// The first run, with its one-time costs.
    pub first_run: Option<Duration>,
    /// The fastest of the runs after it; absent if the first one took too long for another.
    pub steady_run: Option<Duration>,
    /// Why the model could not be warmed up, if so. It is served nevertheless.
    pub failure: Option<String>,
}

/// Warms a session up.
pub(crate) fn warm_up(session: &mut Session) -> WarmUp {
    let started = Instant::now();
    let mut report = WarmUp::default();
    if let Err(error) = run(session, started, &mut report) {
        tracing::warn!(
            model = %session.path().display(),
            %error,
            "the model fails on zeros; it is served without a warm-up, and its first request takes longer"
        );
        report.failure = Some(error.to_string());
    }
    report.took = started.elapsed();
    report
}

fn run(session: &mut Session, started: Instant, report: &mut WarmUp) -> Result<(), Error> {
    let inputs = zeros(session.signature())?;
    report.first_run = Some(timed(session, &inputs)?);
    for _ in 0..FURTHER_RUNS {
        if started.elapsed() > PATIENCE {
            break;
        }
        let run = timed(session, &inputs)?;
        report.steady_run = Some(report.steady_run.map_or(run, |fastest| fastest.min(run)));
    }
    Ok(())
}

fn timed(session: &mut Session, inputs: &[Tensor]) -> Result<Duration, Error> {
    let started = Instant::now();
    session.run(inputs)?;
    Ok(started.elapsed())
}

/// One tensor of zeros for every input, with 1 for variable dimensions.
fn zeros(signature: &Signature) -> Result<Vec<Tensor>, Error> {
    signature.inputs.iter().map(zero).collect()
}

fn zero(input: &TensorMetadata) -> Result<Tensor, Error> {
    let shape: Vec<i64> = input.shape.iter().map(|&size| if size < 0 { 1 } else { size }).collect();
    let invalid = |detail: String| Error::InvalidInput { detail };
    let count = element_count(&input.name, &shape).map_err(|error| invalid(error.to_string()))?;
    if count > MOST_ELEMENTS {
        return Err(invalid(format!(
            "input \"{}\" is too large to be made up: {count} elements",
            input.name
        )));
    }
    let data = match input.datatype {
        Datatype::Bool => TensorData::Bool(vec![false; count]),
        Datatype::Uint8 => TensorData::Uint8(vec![0; count]),
        Datatype::Uint16 => TensorData::Uint16(vec![0; count]),
        Datatype::Uint32 => TensorData::Uint32(vec![0; count]),
        Datatype::Uint64 => TensorData::Uint64(vec![0; count]),
        Datatype::Int8 => TensorData::Int8(vec![0; count]),
        Datatype::Int16 => TensorData::Int16(vec![0; count]),
        Datatype::Int32 => TensorData::Int32(vec![0; count]),
        Datatype::Int64 => TensorData::Int64(vec![0; count]),
        Datatype::Fp16 => TensorData::Fp16(vec![f16::ZERO; count]),
        Datatype::Bf16 => TensorData::Bf16(vec![bf16::ZERO; count]),
        Datatype::Fp32 => TensorData::Fp32(vec![0.0; count]),
        Datatype::Fp64 => TensorData::Fp64(vec![0.0; count]),
        Datatype::Bytes => TensorData::Bytes(vec![Bytes::new(); count]),
    };
    Tensor::new(input.name.clone(), shape, data).map_err(|error| invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_inputs_have_every_type_and_one_row() {
        for datatype in Datatype::ALL {
            let input = TensorMetadata { name: "x".into(), datatype, shape: vec![-1, 3] };
            let tensor = zero(&input).unwrap();
            assert_eq!((tensor.shape(), tensor.datatype(), tensor.len()), ([1, 3].as_slice(), datatype, 3));
            input.accepts(&tensor).unwrap();
        }
    }

    #[test]
    fn an_input_that_would_not_fit_into_memory_is_not_made() {
        let input = TensorMetadata { name: "x".into(), datatype: Datatype::Int8, shape: vec![1 << 40] };
        assert!(zero(&input).unwrap_err().to_string().contains("too large"));
    }
}
