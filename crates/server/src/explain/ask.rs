//! What a request asks for beside its rows.

use std::num::NonZeroU64;

use modelwright_protocol::v1::View;
use modelwright_protocol::v2::{Parameter, Parameters};
use modelwright_protocol::{Error, Tensor};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::players::Players;
use crate::answer::Refusal;
use crate::registry::ReadyModel;
use crate::route;

/// Rows are compared with what the training data mostly had.
const TRAINING: &str = "training";
/// Rows are compared with zeros, empty texts and `false`.
const ZEROS: &str = "zeros";
const METHODS: &str = "\"auto\", \"integrated_gradients\", \"shapley\" or \"sensitivity\"";

/// How rows are explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    IntegratedGradients,
    Shapley,
    Sensitivity,
}

/// How rows shall be explained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AskedMethod {
    #[default]
    Auto,
    IntegratedGradients,
    Shapley,
    Sensitivity,
}

impl AskedMethod {
    /// The method for a model.
    pub(super) fn resolve(self, ready: &ReadyModel, name: &str) -> Result<Method, Refusal> {
        let has_gradients = ready.explainer().is_some() && ready.view().is_some();
        match self {
            Self::Sensitivity => Ok(Method::Sensitivity),
            Self::Auto | Self::IntegratedGradients if has_gradients => Ok(Method::IntegratedGradients),
            Self::Auto | Self::Shapley => Ok(Method::Shapley),
            Self::IntegratedGradients => Err(Refusal::bad_request(format!(
                "parameters.method: the model \"{name}\" has no explain.onnx, which the built-in trainer writes and \
                 integrated_gradients needs; ask for \"shapley\""
            ))),
        }
    }
}

/// What is explained: a class by its name, or a position.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Target {
    Position(usize),
    Class(String),
}

/// What rows are compared with.
#[derive(Debug, Clone, Default, PartialEq)]
enum Baseline {
    /// The training data where they are known, else zeros.
    #[default]
    Usual,
    Training,
    Zeros,
    Rows(Vec<Tensor>),
}

/// What a request asks for beside its rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Ask {
    pub(super) method: AskedMethod,
    pub(super) target: Option<Target>,
    pub(super) output: Option<String>,
    pub(super) max_evaluations: Option<NonZeroU64>,
    pub(super) seed: u64,
    baseline: Baseline,
}

/// The body of V1, as far as it is about explaining.
#[derive(Deserialize)]
struct Envelope {
    parameters: Option<V1Parameters>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct V1Parameters {
    #[serde(default)]
    method: AskedMethod,
    target: Option<Target>,
    output: Option<String>,
    max_evaluations: Option<NonZeroU64>,
    #[serde(default)]
    seed: u64,
    baseline: Option<Box<RawValue>>,
}

impl Ask {
    /// Reads `parameters` of a V1 body; `rows` reads a body with rows, for those of the baseline.
    pub(super) fn from_v1(
        body: &[u8],
        rows: impl Fn(&[u8]) -> Result<Vec<Tensor>, Error>,
    ) -> Result<Self, Refusal> {
        let envelope: Envelope = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad_request(format!("parameters: {error}")))?;
        let Some(parameters) = envelope.parameters else { return Ok(Self::default()) };
        let V1Parameters { method, target, output, max_evaluations, seed, baseline } = parameters;
        let baseline = match baseline.as_deref().map(RawValue::get) {
            None | Some("null") => Baseline::Usual,
            Some(text) if text.starts_with('"') => named(text.trim_matches('"'))?,
            Some(text) => {
                let list = if text.starts_with('[') { text.to_owned() } else { format!("[{text}]") };
                let body = format!("{{\"instances\":{list}}}");
                let rows = rows(body.as_bytes()).map_err(|error| {
                    Refusal::bad_request(format!("parameters.baseline, as rows of its own: {error}"))
                })?;
                Baseline::Rows(rows)
            }
        };
        Ok(Self { method, target, output, max_evaluations, seed, baseline })
    }

    /// Reads the parameters of a V2 request. Others are free for applications, as the protocol has it.
    pub(super) fn from_v2(parameters: &Parameters) -> Result<Self, Refusal> {
        let mut ask = Self::default();
        for (name, value) in parameters {
            let wrong = |wanted: &str| Refusal::bad_request(format!("parameters.{name}: wanted {wanted}"));
            match (name.as_str(), value) {
                ("method", Parameter::Text(text)) => {
                    let method = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
                    ask.method = AskedMethod::deserialize(method).map_err(|_| wrong(METHODS))?;
                }
                ("method", _) => return Err(wrong(METHODS)),
                ("target", Parameter::Text(text)) => ask.target = Some(Target::Class(text.clone())),
                ("target", Parameter::Int(position)) => {
                    let position = usize::try_from(*position).map_err(|_| wrong("a class or a position"))?;
                    ask.target = Some(Target::Position(position));
                }
                ("target", _) => return Err(wrong("a class or a position")),
                ("output", Parameter::Text(text)) => ask.output = Some(text.clone()),
                ("output", _) => return Err(wrong("the name of an output")),
                ("max_evaluations", value) => {
                    let Parameter::Int(number) = value else { return Err(wrong("a number above 0")) };
                    let number = u64::try_from(*number).ok().and_then(NonZeroU64::new);
                    ask.max_evaluations = Some(number.ok_or_else(|| wrong("a number above 0"))?);
                }
                ("seed", value) => {
                    let Parameter::Int(seed) = value else { return Err(wrong("a whole number")) };
                    ask.seed = u64::try_from(*seed).map_err(|_| wrong("a whole number, not negative"))?;
                }
                ("baseline", Parameter::Text(text)) => ask.baseline = named(text)?,
                ("baseline", _) => return Err(wrong("\"training\" or \"zeros\"")),
                _ => {}
            }
        }
        Ok(ask)
    }

    /// The rows that others are compared with, and what they are.
    pub(super) fn baseline(
        &self,
        players: &Players,
        view: Option<&View>,
    ) -> Result<(Vec<Tensor>, &'static str), Refusal> {
        let known = view.and_then(View::baseline);
        match (&self.baseline, known) {
            (Baseline::Rows(rows), _) => {
                let count = rows.first().map_or(0, Tensor::rows);
                if count == 0 || rows.iter().any(|tensor| tensor.rows() != count) {
                    let message = "parameters.baseline: it must have a row, and as many for every input";
                    return Err(Refusal::bad_request(message));
                }
                Ok((rows.clone(), "request"))
            }
            (Baseline::Usual | Baseline::Training, Some(known)) => Ok((known.to_vec(), TRAINING)),
            (Baseline::Training, None) => Err(Refusal::bad_request(
                "parameters.baseline: what the training data had is not known of this model; send a row, or \"zeros\"",
            )),
            (Baseline::Usual | Baseline::Zeros, _) => Ok((players.zeros()?, ZEROS)),
        }
    }
}

fn named(text: &str) -> Result<Baseline, Refusal> {
    match text {
        TRAINING => Ok(Baseline::Training),
        ZEROS => Ok(Baseline::Zeros),
        other => Err(Refusal::bad_request(format!(
            "parameters.baseline: \"{}\" is unknown; \"{TRAINING}\", \"{ZEROS}\", or in V1 a row or a list of rows",
            route::excerpt(other)
        ))),
    }
}
