//! Who decides how many pods there are: handed from one to another, contested, and held up. The controller of autoscalers is
//! Kubernetes' own; there is no metrics server, so it keeps to the bounds that it is given and does nothing else.
use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use modelwright_api::{Model, conditions::ConditionType, status::ConditionStatus};
use modelwright_e2e::{
    crd,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    wait::{self, Seen},
};
use serde_json::json;
use tokio::{sync::Mutex, task::JoinHandle};

use super::story::{self, TIMEOUT, condition, model, resolves_to, serves};

/// Longer than the operator takes to write a number.
const QUIET: Duration = Duration::from_secs(3);
const CPU: &str = "  serving:\n    resources: {requests: {cpu: 1}}\n";

/// Writes the number as autoscalers do it: by the scale subresource.
async fn scale(namespace: &TestNamespace, replicas: i32) -> anyhow::Result<()> {
    let scale = json!({"spec": {"replicas": replicas}});
    let deployments = namespace.api::<Deployment>();
    deployments.patch_scale("bc", &PatchParams::default(), &Patch::Merge(&scale)).await?;
    Ok(())
}

/// Waits until this many pods are wanted and available, and the Model says so.
async fn has(namespace: &TestNamespace, replicas: i32) -> anyhow::Result<()> {
    wait::object(&namespace.api::<Model>(), "bc", format!("{replicas} pods"), TIMEOUT, |model| {
        let status = model.status.clone().unwrap_or_default();
        let found = (status.desired_replicas, status.replicas, status.ready_replicas);
        let wanted = (Some(replicas), Some(replicas), Some(replicas));
        let current = status.observed_generation == model.metadata.generation;
        Seen::or_else_saw(
            (found == wanted && current).then_some(()),
            format!("{found:?}; {}", story::words(model)),
        )
    })
    .await
}

/// Waits until the operator has looked at the spec as it is now.
pub(super) async fn observed(namespace: &TestNamespace) -> anyhow::Result<()> {
    wait::object(&namespace.api::<Model>(), "bc", "the newest spec observed", TIMEOUT, |model| {
        let seen = model.status.as_ref().and_then(|status| status.observed_generation);
        Seen::or_else_saw((seen == model.metadata.generation).then_some(()), format!("{seen:?}"))
    })
    .await
}

/// Every number of pods that a Deployment goes through: wanted, and available.
struct Numbers {
    seen: Arc<Mutex<Vec<(i32, i32)>>>,
    watch: JoinHandle<()>,
}

impl Numbers {
    fn of(deployments: Api<Deployment>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let watch = tokio::spawn(async move {
            let mut states = watcher(deployments, watcher::Config::default()).applied_objects().boxed();
            while let Ok(Some(state)) = states.try_next().await {
                let available = state.status.and_then(|status| status.available_replicas).unwrap_or(0);
                let wanted = state.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                sink.lock().await.push((wanted, available));
            }
        });
        Self { seen, watch }
    }

    /// What was wanted, each number once in a row, and whether there were ever fewer available than before.
    async fn end(self) -> (Vec<i32>, bool) {
        self.watch.abort();
        let seen = self.seen.lock().await;
        let mut wanted: Vec<_> = seen.iter().map(|(wanted, _)| *wanted).collect();
        wanted.dedup();
        (wanted, seen.windows(2).any(|pair| pair[1].1 < pair[0].1))
    }
}

async fn autoscaler_is_gone(namespace: &TestNamespace) -> anyhow::Result<()> {
    wait::gone(&namespace.api::<HorizontalPodAutoscaler>(), "bc", TIMEOUT).await
}

async fn has_autoscaler(namespace: &TestNamespace) -> anyhow::Result<()> {
    let autoscalers = namespace.api::<HorizontalPodAutoscaler>();
    wait::object(&autoscalers, "bc", "an autoscaler that was looked at", TIMEOUT, |autoscaler| {
        let conditions = autoscaler.status.as_ref().and_then(|status| status.conditions.as_ref());
        Seen::or_else_saw(conditions.map(|_| ()), "no condition")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hand_over_of_the_number_of_pods_drops_one() -> anyhow::Result<()> {
    with_scripted_node("hand-over", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", &format!("{CPU}    replicas: 3\n"))).await?;
        has(&namespace, 3).await?;
        let numbers = Numbers::of(namespace.api());
        let managed = json!({"minReplicas": 1, "maxReplicas": 6, "mode": null});
        let external = json!({"minReplicas": null, "maxReplicas": null, "mode": "External"});

        let spec = json!({"serving": {"autoscaling": managed, "replicas": null}});
        story::change(&namespace, "bc", spec).await?;
        has_autoscaler(&namespace).await?;
        scale(&namespace, 5).await?;
        has(&namespace, 5).await?;
        // Nobody says a number any more.
        story::change(&namespace, "bc", json!({"serving": {"autoscaling": null}})).await?;
        autoscaler_is_gone(&namespace).await?;
        observed(&namespace).await?;
        has(&namespace, 5).await?;
        story::change(&namespace, "bc", json!({"serving": {"autoscaling": external}})).await?;
        observed(&namespace).await?;
        scale(&namespace, 6).await?;
        has(&namespace, 6).await?;
        story::change(&namespace, "bc", json!({"serving": {"autoscaling": managed}})).await?;
        has_autoscaler(&namespace).await?;
        story::change(&namespace, "bc", json!({"serving": {"autoscaling": external}})).await?;
        autoscaler_is_gone(&namespace).await?;
        story::change(&namespace, "bc", json!({"serving": {"autoscaling": null, "replicas": 6}})).await?;
        has(&namespace, 6).await?;
        tokio::time::sleep(QUIET).await;
        let (wanted, dropped) = numbers.end().await;
        assert_eq!(wanted, [3, 5, 6]);
        assert!(!dropped, "fewer were available than before");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn second_autoscaler_is_named_and_the_number_is_left_to_one() -> anyhow::Result<()> {
    with_scripted_node("contest", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", &format!("{CPU}    replicas: 2\n"))).await?;
        has(&namespace, 2).await?;
        let theirs = "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: theirs}, spec: {minReplicas: 4, \
                      maxReplicas: 6, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: bc}, metrics: [{type: Resource, \
                      resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]}}";
        namespace.apply(theirs).await?;
        let contested = story::reason(&namespace, "bc", "AutoscalerConflict").await?;
        let ready = condition(&contested, "Ready").unwrap();
        assert_eq!(ready.status, ConditionStatus::False);
        for part in ["HorizontalPodAutoscaler/theirs", "spec.serving.replicas says 2", "{mode: External}"] {
            assert!(ready.message.contains(part), "{}", ready.message);
        }
        assert!(contested.holds(ConditionType::Available));
        // It raises the number to its minimum, and nobody takes that back.
        has(&namespace, 4).await?;
        tokio::time::sleep(QUIET).await;
        has(&namespace, 4).await?;

        let external = json!({"serving": {"replicas": null, "autoscaling": {"mode": "External"}}});
        story::change(&namespace, "bc", external).await?;
        let model = story::reason(&namespace, "bc", "Serving").await?;
        let message = &condition(&model, "Ready").unwrap().message;
        assert!(message.contains("by as many pods as HorizontalPodAutoscaler/theirs wants"), "{message}");

        let managed = json!({"serving": {"autoscaling": {"mode": null, "maxReplicas": 6}}});
        story::change(&namespace, "bc", managed).await?;
        let contested = story::reason(&namespace, "bc", "AutoscalerConflict").await?;
        let message = &condition(&contested, "Ready").unwrap().message;
        assert!(message.contains("HorizontalPodAutoscaler/theirs and HorizontalPodAutoscaler/bc"), "{message}");
        namespace.api::<HorizontalPodAutoscaler>().delete("theirs", &DeleteParams::default()).await?;
        // What is left cannot act either, and serves all the same.
        let model = story::reason(&namespace, "bc", "MetricsAPIMissing").await?;
        assert!(model.holds(ConditionType::Ready), "{}", story::words(&model));
        let message = &condition(&model, "Ready").unwrap().message;
        assert!(message.contains("install metrics-server"), "{message}");
        has(&namespace, 4).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn autoscaler_of_anothers_scales_to_zero_and_the_operator_only_wakes_what_it_suspended()
-> anyhow::Result<()> {
    with_scripted_node("to-zero", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "  serving: {autoscaling: {mode: External}}\n")).await?;
        serves(&namespace, "bc", 'a').await?;
        has(&namespace, 1).await?;
        scale(&namespace, 0).await?;
        let model = story::reason(&namespace, "bc", "ScaledToZero").await?;
        let message = &condition(&model, "Ready").unwrap().message;
        assert!(message.contains("its autoscaler scaled it to 0"), "{message}");
        tokio::time::sleep(QUIET).await;
        has(&namespace, 0).await?;
        scale(&namespace, 2).await?;
        has(&namespace, 2).await?;
        story::change(&namespace, "bc", json!({"suspend": true})).await?;
        story::reason(&namespace, "bc", "Suspended").await?;
        story::change(&namespace, "bc", json!({"suspend": null})).await?;
        has(&namespace, 1).await
    })
    .await
}
