//! Who says how many pods there are, and what becomes of them when that changes.

use std::sync::Arc;

use rstest::rstest;
use serde_json::json;

use super::{
    super::{Change, scale::contest},
    world::World,
};

const SOURCE: &str = r#""source": {"uri": "s3://m/x"}"#;
const CPU: &str = r#""resources": {"requests": {"cpu": 1}}"#;
const MANAGED: &str = r#""autoscaling": {"minReplicas": 2, "maxReplicas": 5}"#;
const EXTERNAL: &str = r#""autoscaling": {"mode": "External"}"#;

fn spec(scaling: &str) -> String {
    let comma = if scaling.is_empty() { "" } else { ", " };
    format!("{{{SOURCE}, \"serving\": {{{CPU}{comma}{scaling}}}}}")
}

/// A Model whose pods are ready.
fn serving(scaling: &str) -> World {
    let mut world = World::new(&spec(scaling));
    world.converge();
    world.job_finds('a');
    world.converge();
    world.deployment_is_ready();
    world.converge();
    world
}

fn replicas(world: &World) -> i32 {
    super::super::scale::replicas(world.observed.deployment.as_ref().unwrap())
}

/// Changes who decides. Returns what that writes.
fn becomes(world: &mut World, scaling: &str) -> Vec<String> {
    world.written();
    world.spec(&spec(scaling));
    world.converge();
    world.written()
}

fn another(
    name: &str,
    api_version: &str,
    kind: &str,
) -> Arc<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler> {
    let target = json!({"apiVersion": api_version, "kind": kind, "name": "bc"});
    let other = json!({"metadata": {"name": name}, "spec": {"maxReplicas": 9, "scaleTargetRef": target}});
    Arc::new(serde_json::from_value(other).unwrap())
}

#[test]
fn autoscaler_gets_the_number_of_pods_and_gives_it_back_when_it_is_gone() {
    let mut world = serving(MANAGED);
    assert_eq!(world.written()[5..], ["apply deployment", "replicas 2", "apply autoscaler"]);
    world.is_scaled_by_another(4);
    world.converge();
    assert!(world.written().is_empty(), "the autoscaler's number stays");
    world.spec(&spec("\"replicas\": 3"));
    let plan = world.plan();
    assert!(matches!(plan.autoscaler, Change::Delete) && plan.replicas.is_none());
    world.converge();
    assert_eq!(world.written(), ["delete autoscaler", "replicas 3"]);
}

#[test]
fn number_of_pods_goes_through_every_hand_as_it_is() {
    let mut world = serving("\"replicas\": 3");
    assert_eq!(becomes(&mut world, MANAGED), ["apply autoscaler"]);
    assert_eq!(replicas(&world), 3);
    world.is_scaled_by_another(5);
    assert_eq!(becomes(&mut world, ""), ["delete autoscaler"], "nobody says another number");
    assert_eq!((replicas(&world), world.plan().situation.replicas), (5, Some(5)));
    assert_eq!(becomes(&mut world, EXTERNAL), [""; 0]);
    assert_eq!((replicas(&world), world.plan().situation.replicas), (5, None));
    assert_eq!(becomes(&mut world, MANAGED), ["apply autoscaler"]);
    assert_eq!(becomes(&mut world, EXTERNAL), ["delete autoscaler"]);
    assert_eq!(replicas(&world), 5);
    assert_eq!(becomes(&mut world, "\"replicas\": 5"), [""; 0]);
    assert_eq!(becomes(&mut world, "\"replicas\": 4"), ["replicas 4"]);
    assert_eq!(becomes(&mut world, ""), [""; 0]);
    assert_eq!(replicas(&world), 4);
}

#[rstest]
#[case::written("\"replicas\": 3", &["replicas 3"])]
#[case::absent("", &["replicas 1"])]
#[case::managed(MANAGED, &["replicas 2"])]
#[case::external(EXTERNAL, &["replicas 1"])]
fn pods_begin_again_after_a_suspension(#[case] scaling: &str, #[case] expected: &[&str]) {
    let mut world = serving(scaling);
    let suspended = spec(scaling).replacen('{', "{\"suspend\": true, ", 1);
    world.written();
    world.spec(&suspended);
    world.converge();
    assert_eq!(world.written(), ["replicas 0"]);
    assert_eq!(becomes(&mut world, scaling), expected);
}

#[test]
fn autoscaler_of_anothers_may_scale_to_zero() {
    let mut world = serving(EXTERNAL);
    world.is_scaled_by_another(0);
    world.written();
    world.converge();
    assert!(world.written().is_empty());
    assert_eq!(world.plan().situation.replicas, Some(0), "none is wanted now");
    world.is_scaled_by_another(2);
    world.converge();
    assert_eq!((world.written(), world.plan().situation.replicas), (vec![], None));
}

#[rstest]
#[case::managed(MANAGED, &["Deployment"], "HorizontalPodAutoscaler/x0 and HorizontalPodAutoscaler/bc of this Model scale the same")]
#[case::managed_by_the_model(MANAGED, &["Model"], "HorizontalPodAutoscaler/x0 and HorizontalPodAutoscaler/bc of this Model")]
#[case::written("\"replicas\": 3", &["Deployment"], "for which spec.serving.replicas says 3; the number is left as it is")]
#[case::written_by_the_model("\"replicas\": 3", &["Model"], "")]
#[case::written_by_two("\"replicas\": 3", &["Model", "Model"], "x0 and HorizontalPodAutoscaler/x1 scale the same pods")]
#[case::absent("", &["Deployment"], "")]
#[case::absent_and_two("", &["Deployment", "Deployment"], "delete all but one")]
#[case::external(EXTERNAL, &["Deployment"], "")]
#[case::external_and_none(EXTERNAL, &[], "")]
#[case::external_and_two(EXTERNAL, &["Deployment", "Deployment"], "delete all but one")]
#[case::external_by_the_model(EXTERNAL, &["Model"], "make Deployment/bc its target")]
#[case::another_kind(MANAGED, &["StatefulSet"], "")]
fn second_autoscaler_is_named_where_two_would_decide(
    #[case] scaling: &str,
    #[case] targets: &[&str],
    #[case] expected: &str,
) {
    let mut world = serving(scaling);
    for (index, kind) in targets.iter().enumerate() {
        let api_version = if *kind == "Model" { "modelwright.dev/v1alpha1" } else { "apps/v1" };
        // The stores keep no others.
        if *kind != "StatefulSet" {
            world.observed.other_autoscalers.push(another(&format!("x{index}"), api_version, kind));
        }
    }
    let message = contest(&world.model, &world.observed).map(|cause| cause.message).unwrap_or_default();
    assert!(message.is_empty() == expected.is_empty() && message.contains(expected), "{message}");
}

#[test]
fn two_that_decide_do_not_add_and_remove_pods_in_turn() {
    let mut world = serving("\"replicas\": 3");
    world.observed.other_autoscalers.push(another("theirs", "apps/v1", "Deployment"));
    world.is_scaled_by_another(5);
    world.written();
    world.converge();
    assert!(world.written().is_empty());
    world.observed.other_autoscalers.clear();
    world.converge();
    assert_eq!(world.written(), ["replicas 3"]);
}

/// KEDA makes an autoscaler, and sets 0 itself.
#[rstest]
#[case::written("\"replicas\": 3")]
#[case::absent("")]
fn autoscaler_of_anothers_is_not_contradicted_at_zero(#[case] scaling: &str) {
    let mut world = serving(scaling);
    world.observed.other_autoscalers.push(another("keda", "apps/v1", "Deployment"));
    world.is_scaled_by_another(0);
    world.written();
    world.converge();
    assert!(world.written().is_empty());
    assert_eq!(replicas(&world), 0);
    // What the operator ended itself begins again.
    let suspended = spec(scaling).replacen('{', "{\"suspend\": true, ", 1);
    world.is_scaled_by_another(2);
    world.spec(&suspended);
    world.converge();
    assert_eq!(replicas(&world), 0);
    world.spec(&spec(scaling));
    world.converge();
    assert!(replicas(&world) > 0);
}

#[test]
fn what_the_autoscaler_no_longer_has_is_taken_off() {
    let behavior =
        r#""autoscaling": {"maxReplicas": 5, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 9}}}"#;
    let mut world = serving(behavior);
    assert_eq!(becomes(&mut world, r#""autoscaling": {"maxReplicas": 5}"#), ["apply autoscaler"]);
}
