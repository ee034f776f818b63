//! Explaining predictions: which columns they come from.
//!
//! A request's rows are predicted once, to know which class each is explained for; then every row is explained with the
//! method that was asked for. The model gets one batch of at most [`BATCH`] rows at a time from a request and the next only
//! when the last is done, so that predictions come between them.

mod answer;
mod ask;
mod explainer;
mod players;

use std::future::Future;
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, StatusCode};
use modelwright_explain::{
    Batch, Coalition, Explanation, IntegratedGradientsSettings, MeanGradient, ShapleySettings,
    integrated_gradients, sensitivities, shapley_values, usual_evaluations,
};
use modelwright_protocol::{Limits, Signature, Tensor, v2};
use modelwright_runtime::{LoadedModel, Priority, SubmitOptions};

use self::answer::Answer;
use self::ask::{Ask, Method};
pub(crate) use self::explainer::Explainer;
use self::players::{Output, Players};
use crate::answer::{self as http_answer, Refusal, Response};
use crate::body::Upload;
use crate::counters::ModelCounters;
use crate::data::Data;
use crate::infer::{self, JSON_LENGTH};
use crate::memory::{Share, keeping};
use crate::observe;
use crate::registry::ReadyModel;

/// The most rows that the model gets at once.
const BATCH: usize = 256;
/// The most values that it gets at once: 4 MiB of FP32.
const BATCH_VALUES: usize = 1 << 20;
/// The most rows that the model computes for one request.
const MOST_EVALUATIONS: u64 = 200_000;
/// The most attributions of one request.
const MOST_ATTRIBUTIONS: usize = 1 << 20;
/// The steps of integrated gradients where nobody says how many.
const USUAL_STEPS: u64 = 256;

/// `POST /v1/models/{model}:explain`.
pub(crate) async fn v1_explain(
    data: &Data,
    name: &str,
    ready: ReadyModel,
    headers: &HeaderMap,
    body: &mut Upload,
) -> Result<Response, Refusal> {
    let body = data.bodies.read(headers, body, data.max_body_bytes(&ready)).await?;
    let view = ready.view().cloned();
    let read = move |body: &[u8], signature: &Signature, limits: &Limits| {
        let rows = |body: &[u8]| infer::read_rows(view.as_deref(), body, signature, limits);
        Ok((rows(body)?, Ask::from_v1(body, rows)))
    };
    let ((inputs, ask), memory) = infer::parse(data, &ready, body, read).await?;
    let answer = within(data, &ready, explain(data, name, &ready, inputs, ask?)).await?;
    finish(data, answer, memory).await
}

/// `POST /v2/models/{model}/explain`.
pub(crate) async fn v2_explain(
    data: &Data,
    name: &str,
    ready: ReadyModel,
    headers: &HeaderMap,
    body: &mut Upload,
) -> Result<Response, Refusal> {
    if headers.contains_key(JSON_LENGTH) {
        let message = "Inference-Header-Content-Length: explanations take no binary tensors; send the elements as JSON in `data` \
                       (tritonclient: binary_data=False)";
        return Err(Refusal::bad_request(message));
    }
    let body = data.bodies.read(headers, body, data.max_body_bytes(&ready)).await?;
    let read = |body: &[u8], signature: &Signature, limits: &Limits| {
        v2::parse_infer_request(body, None, signature, limits)
    };
    let (request, memory) = infer::parse(data, &ready, body, read).await?;
    let ask = Ask::from_v2(&request.parameters)?;
    let mut answer = within(data, &ready, explain(data, name, &ready, request.inputs, ask)).await?;
    answer.name_v2(name, ready.version(), request.id);
    finish(data, answer, memory).await
}

async fn finish(data: &Data, answer: Answer, memory: Share) -> Result<Response, Refusal> {
    let text = data.workers.compute(answer.length(), move || answer.to_json());
    Ok(http_answer::json_bytes(keeping(text.await??, memory)))
}

/// Gives up when the request has taken as long as it may.
async fn within<T>(
    data: &Data,
    ready: &ReadyModel,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let timeout = data.request_timeout(ready);
    let _observed = observe::explaining(data, ready);
    tokio::time::timeout(timeout, work).await.map_err(|_| {
        let message = format!(
            "the explanation took longer than {} s; send fewer rows or a smaller max_evaluations",
            timeout.as_secs_f32()
        );
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, message)
    })?
}

/// One model and what its rows are compared with.
struct Subject<'a> {
    model: &'a Arc<LoadedModel>,
    counters: &'a ModelCounters,
    players: Players,
    output: Output,
    baseline: Arc<Vec<Tensor>>,
    background: usize,
    deadline: Option<Instant>,
}

/// Explains every row of the inputs.
async fn explain(
    data: &Data,
    name: &str,
    ready: &ReadyModel,
    inputs: Vec<Tensor>,
    ask: Ask,
) -> Result<Answer, Refusal> {
    let (signature, view) = (ready.model().signature(), ready.view().map(Arc::as_ref));
    let players = Players::of(name, signature, view)?;
    let output = Output::of(name, signature, view, ask.output.as_deref())?;
    let rows = inputs.first().map_or(0, Tensor::rows);
    if inputs.iter().any(|input| input.rows() != rows) {
        return Err(Refusal::bad_request("all inputs must have as many rows to be explained"));
    }
    let (baseline, source) = ask.baseline(&players, view)?;
    let background = baseline.first().map_or(1, Tensor::rows);
    let deadline = Instant::now().checked_add(data.request_timeout(ready));
    let model = ready.model();
    let counters = ready.counters();
    let baseline = Arc::new(baseline);
    let subject = Subject { model, counters, players, output, baseline, background, deadline };
    let method = ask.method.resolve(ready, name)?;
    let per_row = subject.per_row(method, &ask)?;
    bound(rows, per_row, subject.players.count())?;
    let predictions = subject.output.values(subject.submit(model, inputs.clone()).await?, rows)?;
    let bases = subject.output.values(subject.submit(model, subject.baseline.to_vec()).await?, background)?;
    let explainer = match (method, ready.explainer()) {
        (Method::IntegratedGradients, Some(explainer)) => Some(explainer.model(model.signature()).await?),
        _ => None,
    };
    let widths = view.map(|view| view.widths().to_vec()).unwrap_or_default();
    let inputs = Arc::new(inputs);
    let mut answer = Answer::new(source, &subject.players, &subject.baseline);
    for (row, prediction) in predictions.iter().enumerate() {
        let target = subject.output.target(ask.target.as_ref(), prediction)?;
        let explanation = match (method, &explainer) {
            (Method::IntegratedGradients, Some(explainer)) => {
                let ends = |base: &Vec<f64>| (base[target], prediction[target]);
                let ends: Vec<_> = bases.iter().map(ends).collect();
                let classes = subject.output.classes().max(1);
                let path = Path { explainer, inputs: &inputs, row, target, classes, widths: &widths };
                subject.integrate(&path, &ends, per_row).await?
            }
            _ => subject.play(method, &inputs, row, target, per_row, ask.seed).await?,
        };
        let label = subject.output.label(target, prediction.len());
        answer.add(&explanation, label, &subject.players, &inputs, row)?;
    }
    Ok(answer)
}

/// What is explained by gradients.
struct Path<'a> {
    explainer: &'a Arc<LoadedModel>,
    inputs: &'a Arc<Vec<Tensor>>,
    row: usize,
    target: usize,
    classes: usize,
    /// The features of each player.
    widths: &'a [usize],
}

impl Subject<'_> {
    /// The evaluations of the model for each row.
    fn per_row(&self, method: Method, ask: &Ask) -> Result<u64, Refusal> {
        let background = self.background as u64;
        if self.background > BATCH {
            let message = format!("the baseline has {background} rows; at most {BATCH} are taken");
            return Err(Refusal::bad_request(message));
        }
        let usual = match method {
            Method::IntegratedGradients => USUAL_STEPS,
            Method::Shapley => usual_evaluations(self.players.count()),
            Method::Sensitivity => (self.players.count() as u64).saturating_add(2),
        };
        Ok(ask.max_evaluations.map_or(usual.saturating_mul(background), NonZeroU64::get))
    }

    /// How many coalitions the model gets at once.
    fn batch(&self) -> Batch {
        let rows = (BATCH_VALUES / self.players.count().max(1)).clamp(1, BATCH);
        Batch(NonZeroUsize::new(rows / self.background.max(1)).unwrap_or(NonZeroUsize::MIN))
    }

    /// Shapley values or sensitivities.
    async fn play(
        &self,
        method: Method,
        inputs: &Arc<Vec<Tensor>>,
        row: usize,
        target: usize,
        max_evaluations: u64,
        seed: u64,
    ) -> Result<Explanation, Refusal> {
        let background = self.background;
        let evaluate = |coalitions: Vec<Coalition>| {
            let count = coalitions.len() * background;
            let tensors = self.players.mix(inputs, row, &self.baseline, 0..background, &coalitions);
            async move {
                let outputs = self.submit(self.model, tensors?).await?;
                let values = self.output.values(outputs, count)?;
                let mean =
                    |rows: &[Vec<f64>]| rows.iter().map(|row| row[target]).sum::<f64>() / background as f64;
                Ok::<_, Refusal>(values.chunks(background).map(mean).collect())
            }
        };
        let players = self.players.count();
        let explained = if method == Method::Sensitivity {
            sensitivities(players, background as u64, max_evaluations, self.batch(), evaluate).await
        } else {
            let background_rows = background as u64;
            let settings = ShapleySettings { max_evaluations, background_rows, batch: self.batch(), seed };
            shapley_values(players, &settings, evaluate).await
        };
        explained.map_err(refusal)
    }

    /// Integrated gradients, against each row of the baseline.
    async fn integrate(
        &self,
        path: &Path<'_>,
        ends: &[(f64, f64)],
        max_evaluations: u64,
    ) -> Result<Explanation, Refusal> {
        let steps = NonZeroU64::new(max_evaluations / self.background as u64).unwrap_or(NonZeroU64::MIN);
        let settings = IntegratedGradientsSettings { steps, batch: Batch::default() };
        let players = spans(path.widths);
        let mut explanations = Vec::with_capacity(ends.len());
        for (base, ends) in ends.iter().enumerate() {
            let gradient = |points: Vec<f64>| async move { self.gradient(path, base, &points).await };
            explanations
                .push(integrated_gradients(*ends, &players, &settings, gradient).await.map_err(refusal)?);
        }
        Explanation::mean(&explanations).ok_or_else(|| Refusal::bad_request("the baseline has no rows"))
    }

    /// The mean gradient at some points of the way from a row of the baseline to the row.
    async fn gradient(&self, path: &Path<'_>, base: usize, points: &[f64]) -> Result<MeanGradient, Refusal> {
        let ends = [Coalition::none(self.players.count()), Coalition::all(self.players.count())];
        let mut tensors = self.players.mix(path.inputs, path.row, &self.baseline, base..base + 1, &ends)?;
        let names = &path.explainer.signature().inputs;
        #[expect(clippy::cast_possible_truncation, reason = "the graph takes single precision")]
        let points = points.iter().map(|point| *point as f32).collect();
        tensors.push(explainer::argument(&names[names.len() - 2].name, points)?);
        let target = (0..path.classes).map(|class| f32::from(u8::from(class == path.target))).collect();
        tensors.push(explainer::argument(&names[names.len() - 1].name, target)?);
        let outputs = self.submit(path.explainer, tensors).await?;
        explainer::mean_gradient(outputs, path.widths.iter().sum())
    }

    /// Runs the model, or what computes its gradients, behind requests that are more urgent.
    async fn submit(&self, model: &LoadedModel, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Refusal> {
        let options = SubmitOptions { deadline: self.deadline, priority: Priority::Low };
        let outcome = model.submit_with(inputs, options)?.await?;
        self.counters.explained(&outcome);
        Ok(outcome.outputs)
    }
}

fn bound(rows: usize, per_row: u64, players: usize) -> Result<(), Refusal> {
    let evaluations = per_row.saturating_mul(rows as u64);
    if evaluations > MOST_EVALUATIONS {
        let message = format!(
            "explaining {rows} rows takes {evaluations} evaluations of the model, and a request may take {MOST_EVALUATIONS}; send \
             fewer rows or a smaller max_evaluations"
        );
        return Err(Refusal::bad_request(message));
    }
    let attributions = rows.saturating_mul(players);
    if attributions > MOST_ATTRIBUTIONS {
        let message = format!(
            "{rows} rows of {players} columns have {attributions} attributions, and an answer has at most {MOST_ATTRIBUTIONS}; \
             send fewer rows"
        );
        return Err(Refusal::bad_request(message));
    }
    Ok(())
}

/// Which features each player has.
fn spans(widths: &[usize]) -> Vec<Range<usize>> {
    let mut start = 0;
    let span = |width: &usize| {
        let end = start + width;
        std::mem::replace(&mut start, end)..end
    };
    widths.iter().map(span).collect()
}

fn refusal(error: modelwright_explain::Error<Refusal>) -> Refusal {
    match error {
        modelwright_explain::Error::Evaluation(refusal) => refusal,
        modelwright_explain::Error::TooFewEvaluations { method, players, needed, allowed } => {
            Refusal::bad_request(format!(
                "{method} of {players} columns takes at least {needed} evaluations of the model for a row, and max_evaluations is \
                 {allowed}; allow more, or send fewer baseline rows"
            ))
        }
        modelwright_explain::Error::WrongCount { wanted, got } => {
            let message = format!("the model gave {got} numbers where {wanted} were expected");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        }
    }
}
