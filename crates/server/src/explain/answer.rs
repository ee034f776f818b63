//! What a request is answered with.

use http::StatusCode;
use modelwright_explain::{Explanation, Method};
use modelwright_protocol::Tensor;
use serde::Serialize;
use serde_json::{Map, Value};

use super::players::Players;
use crate::answer::Refusal;

/// The body of an answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    baseline: Baseline,
    explanations: Vec<Row>,
}

/// What rows were compared with.
#[derive(Debug, Serialize)]
struct Baseline {
    source: &'static str,
    rows: usize,
    /// Of a single row.
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Map<String, Value>>,
}

/// One row.
#[derive(Debug, Serialize)]
struct Row {
    method: &'static str,
    target: Value,
    prediction: f64,
    base_value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributions: Option<Vec<Column>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensitivities: Option<Vec<Column>>,
    additivity_gap: f64,
    evaluations: u64,
}

/// One column of a row.
#[derive(Debug, Serialize)]
struct Column {
    name: String,
    value: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribution: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensitivity: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    standard_error: Option<f64>,
}

impl Answer {
    pub(super) fn new(source: &'static str, players: &Players, baseline: &[Tensor]) -> Self {
        let rows = baseline.first().map_or(0, Tensor::rows);
        let value = |player: usize| (players.name(player).to_owned(), players.value(baseline, 0, player));
        let values = (rows == 1).then(|| (0..players.count()).map(value).collect());
        let baseline = Baseline { source, rows, values };
        Self { model_name: None, model_version: None, id: None, baseline, explanations: Vec::new() }
    }

    /// Adds what V2 has besides.
    pub(super) fn name_v2(&mut self, name: &str, version: &str, id: Option<String>) {
        (self.model_name, self.model_version, self.id) =
            (Some(name.to_owned()), Some(version.to_owned()), id);
    }

    /// Adds a row's explanation. JSON has no NaN and no infinity, so a model that gives one has none.
    pub(super) fn add(
        &mut self,
        explanation: &Explanation,
        target: Value,
        players: &Players,
        inputs: &[Tensor],
        row: usize,
    ) -> Result<(), Refusal> {
        let is_sensitivity = explanation.method == Method::Sensitivity;
        let gap = explanation.additivity_gap();
        let all_finite = explanation.attributions.iter().all(|attribution| attribution.value.is_finite());
        if !gap.is_finite() || !all_finite {
            let message =
                format!("row {row}: the model gives numbers that are not finite, which cannot be explained");
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message));
        }
        let column = |(player, attribution): (usize, &modelwright_explain::Attribution)| Column {
            name: players.name(player).to_owned(),
            value: players.value(inputs, row, player),
            attribution: (!is_sensitivity).then_some(attribution.value),
            sensitivity: is_sensitivity.then_some(attribution.value),
            standard_error: attribution.standard_error,
        };
        let columns = Some(explanation.attributions.iter().enumerate().map(column).collect());
        let (attributions, sensitivities) = if is_sensitivity { (None, columns) } else { (columns, None) };
        self.explanations.push(Row {
            method: explanation.method.name(),
            target,
            prediction: explanation.prediction,
            base_value: explanation.base_value,
            attributions,
            sensitivities,
            additivity_gap: gap,
            evaluations: explanation.evaluations,
        });
        Ok(())
    }

    /// About how long the text is.
    pub(super) fn length(&self) -> usize {
        let columns =
            |row: &Row| row.attributions.iter().chain(&row.sensitivities).map(Vec::len).sum::<usize>();
        self.explanations.iter().map(columns).sum::<usize>().saturating_mul(80)
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>, Refusal> {
        serde_json::to_vec(self)
            .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
    }
}
