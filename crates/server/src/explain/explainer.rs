//! `explain.onnx`, which computes gradients.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use modelwright_explain::MeanGradient;
use modelwright_protocol::{Datatype, Signature, Tensor, TensorData};
use modelwright_runtime::{LoadRequest, LoadedModel};
use tokio::sync::OnceCell;

use crate::answer::Refusal;

/// What computes gradients of a model, loaded by the first request that needs it. Others wait for that one.
#[derive(Debug)]
pub(crate) struct Explainer {
    path: PathBuf,
    model: OnceCell<Arc<LoadedModel>>,
}

impl Explainer {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, model: OnceCell::new() }
    }

    /// The loaded file, which must take what `model` takes and the two arguments. A failure is tried again by the next
    /// request.
    pub(super) async fn model(&self, model: &Signature) -> Result<&Arc<LoadedModel>, Refusal> {
        let load = || async {
            // Explanations come one batch after the other and are not urgent: one session of one thread.
            let request = LoadRequest {
                instances: Some(NonZeroUsize::MIN),
                intra_op_threads: Some(NonZeroUsize::MIN),
                ..LoadRequest::new(&self.path)
            };
            let loading = tokio::task::spawn_blocking(move || LoadedModel::load(&request));
            let loaded = loading.await.map_err(|error| self.unusable(&error.to_string()))?;
            let loaded = loaded.map_err(|error| self.unusable(&error.to_string()))?;
            if fits(loaded.signature(), model) {
                Ok(Arc::new(loaded))
            } else {
                Err(self.unusable("it does not take what model.onnx beside it takes"))
            }
        };
        self.model.get_or_try_init(load).await
    }

    fn unusable(&self, detail: &str) -> Refusal {
        let message = format!("{}: {detail}; ask for the method \"shapley\"", self.path.display());
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// Whether the first inputs are the model's, followed by points and target, and all three outputs are there.
fn fits(explainer: &Signature, model: &Signature) -> bool {
    let inputs = model.inputs.len();
    explainer.inputs.len() == inputs + 2
        && explainer.inputs[..inputs] == model.inputs[..]
        && explainer.inputs[inputs..]
            .iter()
            .all(|input| input.datatype == Datatype::Fp32 && input.shape.len() == 2)
        && explainer.outputs.len() == 3
}

/// An input `[1, values]`.
pub(super) fn argument(name: &str, values: Vec<f32>) -> Result<Tensor, Refusal> {
    let shape = vec![1, i64::try_from(values.len()).unwrap_or(i64::MAX)];
    Ok(Tensor::new(name, shape, TensorData::Fp32(values))?)
}

/// What the outputs for two rows, baseline and row, say of so many features.
pub(super) fn mean_gradient(outputs: Vec<Tensor>, features: usize) -> Result<MeanGradient, Refusal> {
    let numbers = |output: Tensor| match output.into_parts().2 {
        TensorData::Fp32(values) if values.len() == 2 * features => Some(values),
        _ => None,
    };
    let mut outputs = outputs.into_iter();
    let (gradients, encoded) = (outputs.next().and_then(numbers), outputs.next().and_then(numbers));
    let (Some(gradients), Some(encoded)) = (gradients, encoded) else {
        let message = format!(
            "explain.onnx does not give gradients of {features} features; publish the files of one training"
        );
        return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message));
    };
    let (base, row) = encoded.split_at(features);
    let difference = row.iter().zip(base).map(|(row, base)| f64::from(*row) - f64::from(*base)).collect();
    Ok(MeanGradient { difference, gradient: gradients[features..].iter().copied().map(f64::from).collect() })
}
