//! Every child of a Model without a cluster: the same plan, made step by step as if each step had come to be.

use std::sync::Arc;

use jiff::Timestamp;
use modelwright_api::{
    Model,
    conditions::Cause,
    status::{ModelStatus, SourceStatus, TrainingStatus},
};
use serde::Serialize;
use serde_json::Value;

use super::{Change, DeploymentChange, Plan, identity, plan};
use crate::{observe::Observed, settings::Settings};

/// Stands where the digest will be that a Job finds out.
pub const UNKNOWN_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Every child that the operator would make of `model`, in the order in which it writes them, as Kubernetes objects.
///
/// Where the digest is not pinned, [`UNKNOWN_DIGEST`] stands for it. Fails with what the Model's status would say if the
/// spec cannot be carried out.
pub fn children(model: &Model, settings: &Settings, now: Timestamp) -> Result<Vec<Value>, Cause> {
    let mut model = model.clone();
    let mut observed = Observed::default();
    let first = plan(&model, &observed, settings, now);
    if let Some(blocked) = first.situation.blocked {
        return Err(blocked);
    }
    let Plan {
        service_account,
        service,
        headless_service,
        disruption_budget,
        network_policy,
        train_service,
        jobs,
        deployment: _,
        replicas: _,
        autoscaler: _,
        situation: _,
        look_again_at: _,
    } = first;
    let mut children = Vec::new();
    push(&mut children, &service_account);
    push(&mut children, &service);
    push(&mut children, &headless_service);
    push(&mut children, &disruption_budget);
    push(&mut children, &network_policy);
    push(&mut children, &train_service);
    children.extend(jobs.created.iter().filter_map(|job| serde_json::to_value(job).ok()));

    resolve(&mut model);
    let second = plan(&model, &observed, settings, now);
    let DeploymentChange::Apply(mut deployment) = second.deployment else { return Ok(children) };
    if let Some(spec) = &mut deployment.spec {
        spec.replicas = second.replicas;
    }
    children.extend(serde_json::to_value(&*deployment));
    observed.deployment = Some(Arc::from(deployment));
    push(&mut children, &plan(&model, &observed, settings, now).autoscaler);
    Ok(children)
}

/// Lets the source be resolved, or the training end, to the digest that is pinned or to one that nobody knows yet.
fn resolve(model: &mut Model) {
    if let Some(trained_from) = identity::trained_from(model) {
        let training = TrainingStatus {
            trained_from: Some(trained_from),
            revision: Some(UNKNOWN_DIGEST.to_owned()),
            ..TrainingStatus::default()
        };
        model.status = Some(ModelStatus { training: Some(training), ..ModelStatus::default() });
        return;
    }
    let Some((source, resolved_from)) = model.spec.source.clone().zip(identity::resolved_from(model)) else {
        return;
    };
    let digest = source.digest.as_deref().unwrap_or(UNKNOWN_DIGEST);
    let uri = match &source.copy_to {
        Some(copy) => super::source::published_at(&copy.uri, digest),
        None => source.uri.clone(),
    };
    model.status = Some(ModelStatus {
        source: Some(SourceStatus {
            resolved_from,
            digest: digest.to_owned(),
            uri,
            ..SourceStatus::default()
        }),
        ..ModelStatus::default()
    });
}

fn push<K: Serialize>(children: &mut Vec<Value>, change: &Change<K>) {
    if let Change::Apply(child) = change {
        children.extend(serde_json::to_value(&**child));
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::world::{World, settings},
        *,
    };

    fn kinds(spec: &str) -> Vec<String> {
        let world = World::new(spec);
        let children = children(&world.model, &settings("1"), world.now).unwrap();
        children.iter().map(|child| format!("{} {}", child["kind"], child["metadata"]["name"])).collect()
    }

    #[test]
    fn every_child_is_there_in_the_order_of_writing() {
        let kinds = kinds(
            r#"{"source": {"uri": "s3://m/x"}, "serving": {"autoscaling": {"maxReplicas": 3},
                "resources": {"requests": {"cpu": 1}}, "networkPolicy": {"enabled": true}}}"#,
        );
        let names: Vec<_> = kinds.iter().map(|kind| kind.replace('"', "")).collect();
        assert_eq!(
            names[..5],
            [
                "ServiceAccount bc",
                "Service bc",
                "Service bc-headless",
                "PodDisruptionBudget bc",
                "NetworkPolicy bc"
            ]
        );
        assert!(names[5].starts_with("Job bc-resolve-"));
        assert_eq!(names[6..], ["Deployment bc", "HorizontalPodAutoscaler bc"]);
    }

    #[test]
    fn spec_that_cannot_be_carried_out_says_what_the_status_would() {
        let world = World::new(r#"{"source": {"uri": "s3://m/x"}, "podTemplate": {"spex": {"a": 1}}}"#);
        let cause = children(&world.model, &settings("1"), world.now).unwrap_err();
        assert_eq!(cause.reason, "InvalidPodTemplate");
    }
}
