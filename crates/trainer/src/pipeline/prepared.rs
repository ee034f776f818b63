//! Rows that are read, split and understood.

use std::path::Path;

use modelwright_api::training::resolved::{ResolvedClassWeights, ResolvedTraining};
use modelwright_api::training::{ColumnKind, Loss, Task};

use super::{Error, Request};
use crate::data::{self, FileSet, Strata};
use crate::evaluate::{self, Metric};
use crate::export::{self, Scorer};
use crate::features::target::find;
use crate::features::{ColumnSummary, FeaturesError, Preprocessing, Target, summary};
use crate::matrix::{Examples, Targets};
use crate::table::Table;
use crate::training::{check_loss, default_loss};

/// Rows for one purpose: as they were read, and as the network sees them.
pub(super) struct Rows {
    pub(super) table: Table,
    pub(super) examples: Examples,
}

/// Everything that a training needs.
pub struct Prepared {
    pub(super) spec: ResolvedTraining,
    pub(super) loss: Loss,
    pub(super) target: Target,
    pub(super) preprocessing: Preprocessing,
    pub(super) training: Rows,
    pub(super) validation: Rows,
    pub(super) test: Option<Rows>,
    /// The weight of a row of each class.
    pub(super) class_weights: Option<Vec<f64>>,
    /// The training data, before it was split.
    pub(super) summary: Vec<ColumnSummary>,
    notes: Vec<String>,
}

/// Reads the rows, splits them, and decides what follows from them.
pub fn prepare(request: &Request) -> Result<Prepared, Error> {
    let spec = &request.spec;
    let kinds = spec.builtin.columns.iter().filter_map(|column| Some((column.name.clone(), column.kind?)));
    let table = data::read(&request.training, &kinds.collect())?;
    let mut notes = Vec::new();
    let table = with_target(table, spec, "the training data", &mut notes)?;
    let mut target = Target::fit(find(&table, &spec.target)?, spec.builtin.task)?;
    let loss = match spec.builtin.loss {
        Some(loss) => loss,
        None => default_loss(target.task),
    };
    check_loss(target.task, loss)?;
    if let Some(stopping) = &spec.builtin.early_stopping {
        evaluate::parse_monitor(&stopping.monitor, Some(target.task))?;
    }
    let summary = summary(&table);
    let (training, validation) = if let Some(files) = &request.validation {
        let other = read_like(files, &table, spec, "the validation data", &mut notes)?;
        (table, other)
    } else {
        let parts = split(&table, &target, spec)?;
        // It would be held beside its parts while they are encoded, which the estimate does not count.
        drop(table);
        parts
    };
    let test = match &request.test {
        Some(files) => Some(read_like(files, &training, spec, "the test data", &mut notes)?),
        None => None,
    };
    let learnt = target.encode(find(&training, &spec.target)?)?;
    target = target.with_scale(&learnt);
    let columns: Vec<_> =
        spec.builtin.columns.iter().filter(|column| column.name != spec.target).cloned().collect();
    let (preprocessing, found) = Preprocessing::fit(&training, &columns, spec.builtin.inputs, &spec.target)?;
    notes.extend(found.iter().map(ToString::to_string));
    let rows = [Some(&training), Some(&validation), test.as_ref()]
        .into_iter()
        .flatten()
        .map(|table| table.rows() as u64);
    let needed = data::estimate::matrix_bytes(rows.sum(), preprocessing.width() as u64);
    data::estimate::check(needed, request.memory, "the network's view of the rows")?;
    let rows = |table: Table, of: &'static str| -> Result<Rows, Error> {
        let encoded = target.encode(find(&table, &spec.target)?);
        let targets = encoded.map_err(|source| Error::RowsOf { of, source })?;
        let examples = Examples { inputs: preprocessing.encode(&table)?, targets };
        Ok(Rows { table, examples })
    };
    let (training, validation) = (rows(training, "training")?, rows(validation, "validation")?);
    let test = test.map(|table| rows(table, "test")).transpose()?;
    export::check_names(&preprocessing, &target)?;
    let class_weights = class_weights(&spec.builtin.class_weights, &target, &training.examples.targets)?;
    Ok(Prepared {
        spec: spec.clone(),
        loss,
        class_weights,
        target,
        preprocessing,
        training,
        validation,
        test,
        summary,
        notes,
    })
}

/// The rows whose target is known.
fn with_target(
    table: Table,
    spec: &ResolvedTraining,
    what: &str,
    notes: &mut Vec<String>,
) -> Result<Table, Error> {
    let known = Target::known_rows(find(&table, &spec.target)?);
    let missing = table.rows() - known.len();
    if missing == 0 {
        return Ok(table);
    }
    notes.push(format!(
        "{missing} of {} rows of {what} have no {}; they are left out",
        table.rows(),
        spec.target
    ));
    if known.is_empty() {
        return Err(FeaturesError::TargetAllMissing { name: spec.target.clone() }.into());
    }
    Ok(table.select(&known))
}

fn read_like(
    files: &FileSet,
    like: &Table,
    spec: &ResolvedTraining,
    what: &str,
    notes: &mut Vec<String>,
) -> Result<Table, Error> {
    with_target(data::read_like(files, like)?, spec, what, notes)
}

fn split(table: &Table, target: &Target, spec: &ResolvedTraining) -> Result<(Table, Table), Error> {
    let targets = target.encode(find(table, &spec.target)?)?;
    let classes = match &targets {
        Targets::Classes { indices, .. } if spec.validation.stratify => {
            Some(Strata { indices, names: &target.classes })
        }
        _ => None,
    };
    let fraction = spec.validation.fraction.unwrap_or(0.0);
    let split = data::split(classes, table.rows(), fraction, spec.builtin.seed)?;
    Ok((table.select(&split.training), table.select(&split.validation)))
}

/// The weight of a row of each class.
fn class_weights(
    weights: &ResolvedClassWeights,
    target: &Target,
    targets: &Targets,
) -> Result<Option<Vec<f64>>, Error> {
    let Targets::Classes { indices, count } = targets else {
        return match weights {
            ResolvedClassWeights::None => Ok(None),
            ResolvedClassWeights::Balanced | ResolvedClassWeights::Values(_) => {
                Err(FeaturesError::WeightsWithoutClasses { target: target.name.clone() }.into())
            }
        };
    };
    match weights {
        ResolvedClassWeights::None => Ok(None),
        ResolvedClassWeights::Balanced => {
            let mut rows = vec![0_u64; *count];
            for &class in indices {
                rows[class as usize] += 1;
            }
            let weight = |&rows: &u64| indices.len() as f64 / (*count as f64 * rows.max(1) as f64);
            Ok(Some(rows.iter().map(weight).collect()))
        }
        ResolvedClassWeights::Values(values) => {
            if let Some(unknown) = values.keys().find(|class| !target.classes.contains(class)) {
                let classes = target.classes.join(", ");
                return Err(FeaturesError::WeightOfNoClass { class: unknown.clone(), classes }.into());
            }
            Ok(Some(target.classes.iter().map(|class| values.get(class).copied().unwrap_or(1.0)).collect()))
        }
    }
}

impl Prepared {
    /// What is predicted.
    pub fn task(&self) -> Task {
        self.target.task
    }

    /// What people should know about the data.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is trained from how much, in a line.
    pub fn describe(&self) -> String {
        let Target { name, task, classes, .. } = &self.target;
        let what = match task {
            Task::Regression => format!("regression of {name}"),
            Task::Binary => format!(
                "binary classification of {name} ({}; {} is positive)",
                classes.join(", "),
                classes[1]
            ),
            Task::Multiclass if classes.len() <= 12 => {
                format!("classification of {name} ({})", classes.join(", "))
            }
            Task::Multiclass => format!("classification of {name} ({} classes)", classes.len()),
        };
        let test =
            self.test.as_ref().map_or_else(String::new, |test| format!(", {} to test", test.table.rows()));
        format!(
            "{what} from {} columns; {} rows to train, {} to validate{test}",
            self.preprocessing.columns.len(),
            self.training.table.rows(),
            self.validation.table.rows(),
        )
    }

    /// The columns by their types, a line for each type: `numeric: age, height`. Long lists are cut.
    pub fn columns_by_type(&self) -> Vec<String> {
        const SHOWN: usize = 12;
        let of = |kind: ColumnKind, label: &str| {
            let names: Vec<&str> = self
                .summary
                .iter()
                .filter(|column| column.kind == kind && column.name != self.target.name)
                .map(|column| column.name.as_str())
                .collect();
            let more = names.len().saturating_sub(SHOWN);
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!names.is_empty())
                .then(|| format!("{label}: {}{rest}", names[..names.len().min(SHOWN)].join(", ")))
        };
        [
            of(ColumnKind::Numeric, "numeric"),
            of(ColumnKind::Boolean, "boolean"),
            of(ColumnKind::String, "text"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The primary metric of another revision on these validation rows, or why it cannot be had.
    pub fn score_revision(&self, folder: &Path) -> Result<f64, String> {
        let mut scorer = Scorer::open(folder).map_err(|error| error.to_string())?;
        let schema = scorer.schema();
        if schema.target != self.target.name {
            return Err(format!("it predicts {}, and this one {}", schema.target, self.target.name));
        }
        if schema.task != self.target.task {
            return Err(format!("it is a {:?} model, and this one is {:?}", schema.task, self.target.task));
        }
        if schema.classes != self.target.classes {
            let [theirs, ours] = [&schema.classes, &self.target.classes].map(|classes| classes.join(", "));
            return Err(format!("it knows the classes {theirs}, and this one {ours}"));
        }
        let predictions = scorer.score(&self.validation.table).map_err(|error| error.to_string())?;
        let metric = Metric::primary(self.target.task);
        evaluate::single(metric, self.target.task, &predictions, &self.validation.examples.targets)
            .ok_or_else(|| format!("{} is not defined on these rows", metric.label()))
    }
}
