//! The loop of epochs and steps.

use std::sync::atomic::{AtomicBool, Ordering};

use modelwright_api::training::Task;
use modelwright_api::training::resolved::ResolvedBuiltin;

use super::checkpoint::{Pace, Store};
use super::optimizer::Optimizer;
use super::progress::{Best, Rules};
use super::schedule::learning_rate;
use super::{
    Control, EpochRecord, Monitor, Observer, Position, Problem, StepProgress, Trained, TrainingError,
};
use crate::matrix::Targets;
use crate::network::{
    Dropout, Gradients, Labels, LossSum, Network, Objective, PREDICTED_AT_ONCE, Pass, predictions,
};
use crate::random::{Purpose, Stream};

/// Everything that changes from step to step and is not computed anew.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct State {
    pub(super) network: Network<f32>,
    pub(super) optimizer: Optimizer,
    pub(super) position: Position,
    /// The loss of the steps of the epoch that are done.
    pub(super) loss: LossSum,
    pub(super) history: Vec<EpochRecord>,
    pub(super) best: Option<Best>,
}

/// See [`super::train`].
pub(super) fn train(
    problem: &Problem<'_>,
    settings: &ResolvedBuiltin,
    control: &mut Control<'_>,
    pace: Pace,
) -> Result<Trained, TrainingError> {
    check(problem)?;
    let network = first_network(problem, settings);
    let optimizer = Optimizer::new(&settings.optimizer, &network);
    let (position, loss) = (Position::default(), LossSum::default());
    let state = State { network, optimizer, position, loss, history: Vec::new(), best: None };
    let Control { observer, checkpoint, stop } = control;
    let mut store = Store::new(checkpoint.as_ref(), pace);
    let found = store.find(&state);
    let resumed_from = found.as_ref().map(|state| state.position);
    let mut run = Run::new(problem, settings, found.unwrap_or(state))?;
    while !run.finished() {
        run.epoch(*observer, stop, &mut store)?;
    }
    store.write(&run.state)?;
    Ok(run.result(resumed_from))
}

fn check(problem: &Problem<'_>) -> Result<(), TrainingError> {
    super::check_loss(problem.task, problem.loss)?;
    for (examples, purpose) in
        [(problem.training, "to learn from"), (problem.validation, "to judge the model by")]
    {
        if examples.targets.is_empty() {
            return Err(TrainingError::NoRows { purpose });
        }
        if examples.targets.len() != examples.inputs.rows() {
            let problem = format!("{} rows and {} targets", examples.inputs.rows(), examples.targets.len());
            return Err(TrainingError::Impossible { problem });
        }
        check_targets(problem, &examples.targets)?;
    }
    let [training, validation] = [problem.training, problem.validation].map(|rows| rows.inputs.columns());
    if training != validation {
        let problem = format!("{training} columns to learn from and {validation} to judge by");
        return Err(TrainingError::Impossible { problem });
    }
    Ok(())
}

/// Whether targets are of the task's kind and within their bounds.
fn check_targets(problem: &Problem<'_>, targets: &Targets) -> Result<(), TrainingError> {
    let weights = problem.class_weights.as_ref().map(Vec::len);
    let right = match (problem.task, targets) {
        (Task::Regression, Targets::Numbers(_)) => weights.is_none(),
        (Task::Binary, Targets::Classes { indices, count: 2 }) => {
            weights.is_none_or(|weights| weights == 2) && indices.iter().all(|index| *index < 2)
        }
        (Task::Multiclass, Targets::Classes { indices, count }) => {
            let known = |index: &u32| usize::try_from(*index).is_ok_and(|index| index < *count);
            weights.is_none_or(|weights| weights == *count) && indices.iter().all(known)
        }
        _ => false,
    };
    right.then_some(()).ok_or_else(|| TrainingError::Impossible {
        problem: format!(
            "the targets, or the weights of classes, are not those of the task {:?}",
            problem.task
        ),
    })
}

fn first_network(problem: &Problem<'_>, settings: &ResolvedBuiltin) -> Network<f32> {
    let outputs = match (problem.task, &problem.training.targets) {
        (Task::Multiclass, Targets::Classes { count, .. }) => *count,
        _ => 1,
    };
    let units = |units: u32| usize::try_from(units).unwrap_or(usize::MAX);
    let hidden: Vec<_> = settings.layers.iter().map(|layer| (units(layer.units), layer.activation)).collect();
    Network::initialised(problem.training.inputs.columns(), &hidden, outputs, settings.seed)
}

/// A training that is under way.
struct Run<'a> {
    problem: &'a Problem<'a>,
    settings: &'a ResolvedBuiltin,
    rules: Rules<'a>,
    objective: Objective<'a>,
    labels: Labels,
    validation_labels: Labels,
    /// The rows of the validation data, in order.
    validation_order: Vec<u32>,
    /// The order of the training rows in this epoch.
    order: Vec<u32>,
    /// The most rows of one step.
    batch: usize,
    shares: Vec<f64>,
    penalties: Vec<f64>,
    /// The rows of one step, one after the other.
    inputs: Vec<f32>,
    pass: Pass<f32>,
    validation_pass: Pass<f32>,
    gradients: Gradients<f32>,
    state: State,
}

impl<'a> Run<'a> {
    fn new(
        problem: &'a Problem<'a>,
        settings: &'a ResolvedBuiltin,
        state: State,
    ) -> Result<Self, TrainingError> {
        let rows = problem.training.targets.len();
        let order = |rows: usize| u32::try_from(rows).map_err(|_| TrainingError::TooManyRows { rows });
        let batch = settings
            .batch_size
            .map_or(rows, |batch| usize::try_from(batch).unwrap_or(usize::MAX).clamp(1, rows));
        let labels = |targets| Labels::of(targets, problem.center, problem.spread);
        Ok(Self {
            rules: Rules::new(&problem.monitor, settings.early_stopping.as_ref()),
            objective: Objective { loss: problem.loss, class_weights: problem.class_weights.as_deref() },
            labels: labels(&problem.training.targets),
            validation_labels: labels(&problem.validation.targets),
            validation_order: (0..order(problem.validation.targets.len())?).collect(),
            order: (0..order(rows)?).collect(),
            batch,
            shares: settings.layers.iter().map(|layer| layer.dropout).collect(),
            penalties: settings.layers.iter().map(|layer| layer.l2).collect(),
            inputs: Vec::new(),
            pass: Pass::new(&state.network, batch, settings.threads),
            validation_pass: Pass::new(&state.network, PREDICTED_AT_ONCE, settings.threads),
            gradients: Gradients::of(&state.network),
            problem,
            settings,
            state,
        })
    }

    fn finished(&self) -> bool {
        let epochs = self.state.position.epochs;
        epochs >= self.settings.epochs || self.rules.exhausted(epochs, self.state.best.as_ref())
    }

    fn epoch(
        &mut self,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
        store: &mut Store<'_>,
    ) -> Result<(), TrainingError> {
        let done = self.state.position.epochs;
        let rate = learning_rate(self.settings, done);
        if self.settings.batch_size.is_some() {
            self.order.iter_mut().zip(0..).for_each(|(row, at)| *row = at);
            Stream::new(self.settings.seed, Purpose::Shuffle, u64::from(done)).shuffle(&mut self.order);
        }
        let steps = self.order.len().div_ceil(self.batch) as u64;
        while self.state.position.steps < steps {
            self.step(rate)?;
            let taken = self.state.position.steps;
            let progress = StepProgress { epoch: done + 1, epochs: self.settings.epochs, step: taken, steps };
            observer.step(&progress);
            if stop.load(Ordering::Relaxed) {
                let kept = store.write(&self.state)?;
                return Err(TrainingError::Interrupted { epoch: done + 1, step: taken, kept });
            }
            store.write_if_late(&self.state)?;
        }
        let record = self.validate(rate);
        observer.epoch(&record);
        store.write_if_due(&self.state)
    }

    /// One step: the gradient of the next rows, and the weights that follow it.
    fn step(&mut self, rate: f64) -> Result<(), TrainingError> {
        let state = &mut self.state;
        let network = &mut state.network;
        let start = usize::try_from(state.position.steps).unwrap_or(usize::MAX).saturating_mul(self.batch);
        let order = &self.order[start..self.order.len().min(start + self.batch)];
        let inputs = if self.settings.batch_size.is_none() {
            self.problem.training.inputs.values()
        } else {
            self.inputs.clear();
            for row in order {
                let row = usize::try_from(*row).unwrap_or(usize::MAX);
                self.inputs.extend_from_slice(self.problem.training.inputs.row(row));
            }
            &self.inputs
        };
        let rows = order.len();
        let dropout = Dropout { shares: &self.shares, seed: self.settings.seed, step: state.optimizer.steps };
        self.pass.forward(network, inputs, rows, Some(dropout));
        let loss = self.pass.judge(network, rows, |outputs, gradient| {
            self.objective.evaluate(outputs, &self.labels, order, Some(gradient))
        });
        if !loss.mean().is_finite() {
            let (epoch, step) = (state.position.epochs + 1, state.position.steps + 1);
            return Err(TrainingError::NonFiniteLoss { loss: loss.mean(), epoch, step, learning_rate: rate });
        }
        self.pass.backward(network, inputs, rows, &self.penalties, &mut self.gradients);
        state.optimizer.step(network, &self.gradients, rate);
        state.loss = state.loss.with(loss);
        state.position.steps += 1;
        Ok(())
    }

    /// The end of an epoch: what the validation rows say.
    fn validate(&mut self, learning_rate: f64) -> EpochRecord {
        let problem = self.problem;
        let outputs = self.state.network.outputs_of(&problem.validation.inputs, &mut self.validation_pass);
        let (labels, order) = (&self.validation_labels, &self.validation_order);
        let loss = self.objective.evaluate(outputs.values(), labels, order, None);
        let predicted = predictions(&outputs, problem.task, problem.center, problem.spread);
        let state = &mut self.state;
        let record = EpochRecord {
            epoch: state.position.epochs + 1,
            learning_rate,
            training_loss: state.loss.mean(),
            validation_loss: loss.mean(),
            validation_score: (problem.score)(&predicted),
        };
        let value = match &problem.monitor {
            Monitor::ValidationLoss => record.validation_loss,
            Monitor::Metric { measure, .. } => measure(&predicted),
        };
        if self.rules.improves(value, state.best.as_ref()) {
            let network = self.rules.restores().then(|| state.network.clone());
            state.best = Some(Best { epoch: record.epoch, value, network });
        }
        state.position = Position { epochs: record.epoch, steps: 0 };
        state.loss = LossSum::default();
        state.history.push(record);
        record
    }

    fn result(self, resumed_from: Option<Position>) -> Trained {
        let epochs = self.state.position.epochs;
        let best_epoch = self.state.best.as_ref().map_or(epochs, |best| best.epoch);
        let best = self.state.best.and_then(|best| best.network);
        Trained {
            network: best.unwrap_or(self.state.network),
            history: self.state.history,
            best_epoch,
            stopped_early: epochs < self.settings.epochs,
            resumed_from,
        }
    }
}
