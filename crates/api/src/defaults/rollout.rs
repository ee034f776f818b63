//! What holds where `spec.rollout` and `spec.serving.autoscaling` say nothing.

use std::time::Duration;

use super::Error;
use crate::{
    duration,
    model::Model,
    rollout::{RolloutStrategy, Surge},
    serving::{AutoscalingMode, ExecutionProvider},
};

/// Time without progress after which a new revision or spec counts as failed.
pub const PROGRESS_DEADLINE: Duration = Duration::from_mins(10);
/// Percent of the requested CPU that autoscaling aims at.
pub const AUTOSCALING_CPU: i32 = 70;
/// The fewest pods of autoscaling.
const MIN_REPLICAS: i32 = 1;

/// `spec.rollout` with every default resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedRollout {
    /// How pods are replaced.
    pub strategy: RolloutStrategy,
    /// How many pods more than wanted there may be; never [`Surge::Auto`].
    pub surge: ResolvedSurge,
    /// The only revision that is served: a digest or an id.
    pub revision: Option<String>,
    /// Time without progress after which a new revision or spec counts as failed.
    pub progress_deadline: Duration,
}

/// How many pods more than wanted there may be while pods are replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResolvedSurge {
    /// A quarter more, rounded up.
    Quarter,
    /// One more.
    One,
    /// None: one pod less serves meanwhile.
    None,
}

/// `spec.serving.autoscaling` with every default resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedAutoscaling {
    /// Who scales.
    pub mode: AutoscalingMode,
    /// The fewest pods.
    pub min_replicas: i32,
    /// The most pods.
    pub max_replicas: i32,
    /// Percent of the requested CPU to aim at; `None` where other metrics decide alone.
    pub cpu: Option<i32>,
}

impl Model {
    /// `spec.rollout` with every default resolved.
    pub fn rollout(&self) -> Result<ResolvedRollout, Error> {
        let rollout = self.spec.rollout.clone().unwrap_or_default();
        let provider =
            self.spec.serving.as_ref().and_then(|serving| serving.execution_provider).unwrap_or_default();
        Ok(ResolvedRollout {
            strategy: rollout.strategy.unwrap_or_default(),
            surge: match (rollout.surge.unwrap_or_default(), provider) {
                (Surge::One, _) => ResolvedSurge::One,
                (Surge::None, _) | (Surge::Auto, ExecutionProvider::Cuda) => ResolvedSurge::None,
                (Surge::Auto, ExecutionProvider::Cpu) => ResolvedSurge::Quarter,
            },
            revision: rollout.revision,
            progress_deadline: rollout.progress_deadline.as_deref().map_or(
                Ok(PROGRESS_DEADLINE),
                |text| {
                    duration::parse(text)
                        .map_err(|source| Error::Duration { path: "spec.rollout.progressDeadline", source })
                },
            )?,
        })
    }

    /// `spec.serving.autoscaling` with every default resolved; `None` where it is not written.
    pub fn autoscaling(&self) -> Option<ResolvedAutoscaling> {
        let autoscaling = self.spec.serving.as_ref()?.autoscaling.as_ref()?;
        let min_replicas = autoscaling.min_replicas.unwrap_or(MIN_REPLICAS);
        Some(ResolvedAutoscaling {
            mode: autoscaling.mode.unwrap_or_default(),
            min_replicas,
            max_replicas: autoscaling.max_replicas.unwrap_or(min_replicas),
            cpu: autoscaling.cpu.or(autoscaling.metrics.is_empty().then_some(AUTOSCALING_CPU)),
        })
    }

    /// How often the source is asked whether it changed; `None`: never.
    pub fn poll_interval(&self) -> Result<Option<Duration>, Error> {
        let written = self.spec.source.as_ref().and_then(|source| source.poll_interval.as_deref());
        written
            .map(|text| {
                duration::parse(text)
                    .map_err(|source| Error::Duration { path: "spec.source.pollInterval", source })
            })
            .transpose()
    }
}

/// As [`describe`](super::describe).
pub(super) fn describe(path: &str) -> Option<String> {
    let text = match path {
        "spec.rollout.strategy" => format!("{:?}", RolloutStrategy::default()),
        "spec.rollout.surge" => format!("{:?}", Surge::default()),
        "spec.rollout.progressDeadline" => format!("{}m", PROGRESS_DEADLINE.as_secs() / 60),
        "spec.serving.autoscaling.mode" => format!("{:?}", AutoscalingMode::default()),
        "spec.serving.autoscaling.minReplicas" => MIN_REPLICAS.to_string(),
        "spec.serving.autoscaling.cpu" => format!("{AUTOSCALING_CPU} unless metrics are written"),
        "spec.serving.access.limits.burst" => "requestsPerSecond".to_owned(),
        "spec.serving.service.type" => "ClusterIP".to_owned(),
        "spec.serving.networkPolicy.enabled" | "spec.suspend" => "false".to_owned(),
        _ => return None,
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelSpec;

    fn model(spec: &str) -> Model {
        let spec: ModelSpec = serde_json::from_str(spec).unwrap();
        Model::new("m", spec)
    }

    #[test]
    fn accelerators_are_not_doubled_for_an_update() {
        assert_eq!(model("{}").rollout().unwrap().surge, ResolvedSurge::Quarter);
        let cuda = r#"{"serving": {"executionProvider": "CUDA"}"#;
        assert_eq!(model(&format!("{cuda}}}")).rollout().unwrap().surge, ResolvedSurge::None);
        let one = model(&format!("{cuda}, \"rollout\": {{\"surge\": \"One\"}}}}"));
        assert_eq!(one.rollout().unwrap().surge, ResolvedSurge::One);
    }

    #[test]
    fn own_metrics_leave_the_cpu_out_unless_it_is_written() {
        let scaling = |fields: &str| {
            model(&format!(r#"{{"serving": {{"autoscaling": {{"maxReplicas": 3{fields}}}}}}}"#))
                .autoscaling()
                .unwrap()
        };
        assert_eq!((scaling("").cpu, scaling("").min_replicas), (Some(70), 1));
        assert_eq!(scaling(r#", "metrics": [{"type": "Pods"}]"#).cpu, None);
        assert_eq!(scaling(r#", "cpu": 50, "metrics": [{"type": "Pods"}]"#).cpu, Some(50));
        assert_eq!(model("{}").autoscaling(), None);
    }

    #[test]
    fn unusable_durations_are_named() {
        let error = model(r#"{"rollout": {"progressDeadline": "soon"}}"#).rollout().unwrap_err().to_string();
        assert!(error.contains("spec.rollout.progressDeadline: \"soon\""), "{error}");
        let error =
            model(r#"{"source": {"uri": "s3://m/x", "pollInterval": "x"}}"#).poll_interval().unwrap_err();
        assert!(error.to_string().contains("spec.source.pollInterval"), "{error}");
    }
}
