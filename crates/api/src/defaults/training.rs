//! What holds where a field of `spec.training` is absent, in words.

use std::time::Duration;

use super::{Error, span};
use crate::duration;
use crate::training::{
    Approval, Builtin, Layer, Optimizer, OptimizerKind, Scale, Schedule, ScheduleKind, Training,
    resolved::{
        MAX_CATEGORIES, Method, ResolvedBuiltin, ResolvedClassWeights, ResolvedLayer, ResolvedSchedule,
        ResolvedTraining,
    },
};

/// Time that one attempt of a training may take.
pub const TRAINING_DEADLINE: Duration = Duration::from_hours(24);
/// How often a failed attempt is tried again.
pub const TRAINING_RETRIES: u32 = 3;
/// The zone of `cron`.
pub const TIME_ZONE: &str = "UTC";

/// How the Jobs of a training are run, with every default resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedTrainingJobs {
    /// Time that one attempt may take.
    pub deadline: Duration,
    /// Time without progress after which an attempt is ended.
    pub stall_timeout: Option<Duration>,
    /// How often a failed attempt is tried again.
    pub retries: u32,
    /// Time between two looks at the data.
    pub poll_interval: Option<Duration>,
}

impl Training {
    /// How its Jobs are run.
    pub fn jobs(&self) -> Result<ResolvedTrainingJobs, Error> {
        let optional = |path, text: Option<&str>| {
            let parse = |text| duration::parse(text).map_err(|source| Error::Duration { path, source });
            text.map(parse).transpose()
        };
        Ok(ResolvedTrainingJobs {
            deadline: span("spec.training.deadline", self.deadline.as_deref(), TRAINING_DEADLINE)?,
            stall_timeout: optional("spec.training.stallTimeout", self.stall_timeout.as_deref())?,
            retries: self.retries.map_or(Ok(TRAINING_RETRIES), |retries| {
                super::number("spec.training.retries", retries.into())
            })?,
            poll_interval: optional("spec.training.data.pollInterval", self.data.poll_interval.as_deref())?,
        })
    }
}

/// What holds where a field is absent, from what [`Training::resolved`] makes of it. `path` is the field's path beneath
/// `spec.training`.
pub(super) fn describe(path: &str) -> Option<String> {
    if let Some(field) = path.strip_prefix("data.") {
        return data(field, &Training::default().resolved());
    }
    if let Some(field) = path.strip_prefix("builtin.") {
        return builtin(field);
    }
    let jobs = Training::default().jobs().ok()?;
    Some(match path {
        "gate.approval" => format!("{:?}", Approval::default()),
        "deadline" => format!("{}h", jobs.deadline.as_secs() / 3_600),
        "retries" => jobs.retries.to_string(),
        "timeZone" => TIME_ZONE.to_owned(),
        "container.nodes" => "1".to_owned(),
        _ => return None,
    })
}

fn data(field: &str, defaults: &ResolvedTraining) -> Option<String> {
    let of_source = ["source.", "validation.source.", "test.source."]
        .into_iter()
        .find_map(|source| field.strip_prefix(source))
        .unwrap_or_default();
    Some(match (field, of_source) {
        (_, "format") => "by the ending of the names".to_owned(),
        (_, "delimiter") => defaults.delimiters.training.to_string(),
        ("validation.fraction", _) => number(defaults.validation.fraction?),
        ("validation.stratify", _) => defaults.validation.stratify.to_string(),
        _ => return None,
    })
}

fn builtin(field: &str) -> Option<String> {
    let defaults = Builtin::default().resolved();
    if let Some(field) = field.strip_prefix("optimizer.") {
        return optimizer(field);
    }
    if let Some(field) = field.strip_prefix("schedule.") {
        return schedule(field);
    }
    if let Some(field) = field.strip_prefix("layers[].") {
        return layer(field);
    }
    if let Some(field) = field.strip_prefix("earlyStopping.") {
        return early_stopping(field, &defaults);
    }
    Some(match field {
        "task" => "inferred from the target".to_owned(),
        "columns[].type" => "inferred from the values".to_owned(),
        "columns[].impute" => "by the type".to_owned(),
        "columns[].scale" => format!("{:?}", Scale::default()),
        "columns[].maxCategories" => MAX_CATEGORIES.to_string(),
        "inputs" => "by the columns".to_owned(),
        "layers" => defaults.layers.iter().map(shape).collect::<Vec<_>>().join(", "),
        "loss" => "by the task".to_owned(),
        "epochs" => defaults.epochs.to_string(),
        "batchSize" => defaults.batch_size?.to_string(),
        "fullBatch" => defaults.batch_size.is_none().to_string(),
        "classWeights" if defaults.class_weights == ResolvedClassWeights::None => "mode: None".to_owned(),
        "seed" => defaults.seed.to_string(),
        "threads" => defaults.threads.to_string(),
        _ => return None,
    })
}

/// A layer as it is written in a list.
fn shape(layer: &ResolvedLayer) -> String {
    format!("{{units: {}, activation: {:?}}}", layer.units, layer.activation)
}

fn layer(field: &str) -> Option<String> {
    let layer = Builtin { layers: Some(vec![Layer::default()]), ..Builtin::default() }.resolved().layers;
    let layer = layer.first()?;
    Some(match field {
        "activation" => format!("{:?}", layer.activation),
        "dropout" => number(layer.dropout),
        "l2" => number(layer.l2),
        _ => return None,
    })
}

fn optimizer(field: &str) -> Option<String> {
    let of = |kind: Option<OptimizerKind>| {
        let optimizer = Some(Optimizer { kind, ..Optimizer::default() });
        Builtin { optimizer, ..Builtin::default() }.resolved().optimizer
    };
    if field == "kind" {
        return Some(format!("{:?}", OptimizerKind::default()));
    }
    if field == "learningRate" {
        let sgd = of(Some(OptimizerKind::Sgd)).learning_rate;
        return Some(format!("{}; {} for SGD", number(of(None).learning_rate), number(sgd)));
    }
    let methods =
        [OptimizerKind::Sgd, OptimizerKind::AdamW, OptimizerKind::RmsProp].map(|kind| of(Some(kind)).method);
    methods.into_iter().find_map(|method| match (method, field) {
        (Method::Sgd { momentum, .. }, "momentum") => Some(number(momentum)),
        (Method::Sgd { nesterov, .. }, "nesterov") => Some(nesterov.to_string()),
        (Method::AdamW { beta1, .. }, "beta1") => Some(number(beta1)),
        (Method::AdamW { beta2, .. }, "beta2") => Some(number(beta2)),
        (Method::AdamW { epsilon, .. }, "epsilon") => Some(number(epsilon)),
        (Method::AdamW { weight_decay, .. }, "weightDecay") => Some(number(weight_decay)),
        (Method::RmsProp { rho, .. }, "rho") => Some(number(rho)),
        _ => None,
    })
}

fn schedule(field: &str) -> Option<String> {
    let step = Some(Schedule { kind: Some(ScheduleKind::Step), ..Schedule::default() });
    match (Builtin { schedule: step, ..Builtin::default() }.resolved().schedule, field) {
        (_, "kind") => Some(format!("{:?}", ScheduleKind::default())),
        (ResolvedSchedule::Step { every_epochs, .. }, "everyEpochs") => Some(every_epochs.to_string()),
        (ResolvedSchedule::Step { factor, .. }, "factor") => Some(number(factor)),
        _ => None,
    }
}

fn early_stopping(field: &str, defaults: &ResolvedBuiltin) -> Option<String> {
    let stopping = defaults.early_stopping.as_ref();
    Some(match field {
        "enabled" => stopping.is_some().to_string(),
        "monitor" => stopping?.monitor.clone(),
        "patience" => stopping?.patience.to_string(),
        "minDelta" => number(stopping?.min_delta),
        "restoreBest" => stopping?.restore_best.to_string(),
        _ => return None,
    })
}

/// A number as people write it: small ones as a power of ten.
fn number(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-4 { format!("{value:e}") } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::Value;

    use super::*;

    #[rstest]
    #[case("data.source.delimiter", ",")]
    #[case("data.test.source.delimiter", ",")]
    #[case("data.validation.fraction", "0.2")]
    #[case("data.validation.stratify", "true")]
    #[case("builtin.layers", "{units: 128, activation: Relu}")]
    #[case("builtin.layers[].dropout", "0")]
    #[case("builtin.batchSize", "32")]
    #[case("builtin.fullBatch", "false")]
    #[case("builtin.optimizer.kind", "Adam")]
    #[case("builtin.optimizer.learningRate", "0.001; 0.01 for SGD")]
    #[case("builtin.optimizer.beta2", "0.999")]
    #[case("builtin.optimizer.epsilon", "1e-8")]
    #[case("builtin.optimizer.rho", "0.99")]
    #[case("builtin.optimizer.weightDecay", "0.01")]
    #[case("builtin.schedule.everyEpochs", "10")]
    #[case("builtin.earlyStopping.monitor", "valLoss")]
    #[case("builtin.classWeights", "mode: None")]
    #[case("gate.approval", "Automatic")]
    fn default_is_what_a_training_uses(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(describe(path).as_deref(), Some(expected));
    }

    /// Fields whose absence says all there is, and those whose own fields have the defaults.
    const WITHOUT: [&str; 30] = [
        "builtin",
        "builtin.columns",
        "builtin.earlyStopping",
        "builtin.optimizer",
        "builtin.schedule",
        "builtin.classWeights.values",
        "container",
        "container.args",
        "container.command",
        "container.env",
        "container.parameters",
        "cron",
        "data.pollInterval",
        "data.target",
        "data.test",
        "data.validation",
        "data.validation.source",
        "gate",
        "gate.beat",
        "gate.require",
        "keep",
        "output",
        "podTemplate",
        "queue",
        "resources",
        "resources.limits",
        "resources.requests",
        "stallTimeout",
        "gate.require[].max",
        "gate.require[].min",
    ];

    #[test]
    fn every_other_optional_field_has_a_described_default() {
        fn visit(schema: &Value, path: &str) {
            for (key, field) in schema["properties"].as_object().into_iter().flatten() {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let required = schema["required"].as_array().into_iter().flatten().any(|name| name == key);
                let without = WITHOUT.contains(&below.as_str()) || below.ends_with("credentialsSecretRef");
                assert_eq!(describe(&below).is_none(), required || without, "{below}");
                visit(field, &below);
                visit(&field["items"], &format!("{below}[]"));
            }
        }
        visit(&crate::crd::schema()["properties"]["spec"]["properties"]["training"], "");
    }
}
