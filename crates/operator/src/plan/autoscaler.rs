//! The HorizontalPodAutoscaler of mode `Managed`.

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, CrossVersionObjectReference, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
};
use modelwright_api::{
    Model,
    conditions::{Cause, Reason},
    contract::{containers, names},
    serving::AutoscalingMode,
};

use super::{children::serving, drift, metadata::Owner, verbatim};

/// The autoscaler that the spec asks for, if it does.
pub(super) fn autoscaler(model: &Model, owner: &Owner<'_>) -> Result<Option<HorizontalPodAutoscaler>, Cause> {
    let Some(resolved) = model.autoscaling() else { return Ok(None) };
    if resolved.mode == AutoscalingMode::External {
        return Ok(None);
    }
    let written = serving(model).and_then(|serving| serving.autoscaling.clone()).unwrap_or_default();
    let mut metrics: Vec<MetricSpec> = resolved.cpu.map(cpu).into_iter().collect();
    for (index, metric) in written.metrics.iter().enumerate() {
        let path = format!("spec.serving.autoscaling.metrics[{index}]");
        metrics.push(verbatim(metric, &path, Reason::InvalidAutoscaling)?);
    }
    let behavior = written.behavior.as_ref().map(|behavior| {
        let path = "spec.serving.autoscaling.behavior";
        verbatim::<HorizontalPodAutoscalerBehavior>(behavior, path, Reason::InvalidAutoscaling)
    });
    Ok(Some(drift::sealed(HorizontalPodAutoscaler {
        metadata: owner.child(names::child(owner.name)),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: names::child(owner.name),
            },
            min_replicas: Some(resolved.min_replicas),
            max_replicas: resolved.max_replicas,
            metrics: Some(metrics),
            behavior: behavior.transpose()?,
        }),
        status: None,
    })))
}

/// The share of requested CPU that the container `serve` uses; a sidecar's load says nothing about the model's.
fn cpu(percent: i32) -> MetricSpec {
    MetricSpec {
        type_: "ContainerResource".to_owned(),
        container_resource: Some(ContainerResourceMetricSource {
            container: containers::SERVE.to_owned(),
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(percent),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    }
}
