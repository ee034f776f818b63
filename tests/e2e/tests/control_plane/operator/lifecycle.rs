//! From a manifest to an endpoint, through changes, and away again.
use std::time::Duration;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Pod, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::WatchStreamExt as _,
};
use modelwright_api::{Model, contract::annotations};
use modelwright_e2e::{
    cluster, crd,
    faults::FaultyApi,
    namespace::with_scripted_node,
    operator::Operator,
    scripted_node::{ContainerScript, PodScript},
    wait::{self, Seen},
};
use serde_json::json;

use super::{
    autoscaling,
    story::{self, TIMEOUT, condition, digest, model, resolves_to, serves},
};

/// Longer than whatever a controller that writes for nothing pauses.
const QUIET: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn applied_model_becomes_an_endpoint_and_then_nothing_is_written() -> anyhow::Result<()> {
    with_scripted_node("lifecycle", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let api = FaultyApi::start(cluster::config().await?).await?;
        let operator = Operator::of(&namespace).through(&api, None).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "  serving: {replicas: 2}\n")).await?;
        serves(&namespace, "bc", 'a').await?;
        // A Model is ready with its first pods.
        let ready = story::at_rest(&namespace, "bc").await?;

        let status = ready.status.as_ref().unwrap();
        assert_eq!(status.url, Some(format!("http://bc.{}.svc", namespace.name)));
        assert_eq!((status.replicas, status.ready_replicas), (Some(2), Some(2)));
        let facts = status.model.as_ref().unwrap();
        assert_eq!((facts.inputs[0].name.as_str(), facts.inputs_total), ("x", Some(1)));
        for condition in &status.conditions {
            assert_eq!(condition.observed_generation, ready.metadata.generation, "{condition:?}");
        }
        for (type_, expected) in [("Available", "True"), ("Progressing", "False"), ("Stalled", "False")] {
            assert_eq!(format!("{:?}", condition(&ready, type_).unwrap().status), expected, "{type_}");
        }
        namespace.api::<Service>().get("bc").await?;
        namespace.api::<Service>().get("bc-headless").await?;
        namespace.api::<PodDisruptionBudget>().get("bc").await?;
        let account = namespace.api::<ServiceAccount>().get("bc").await?;
        assert_eq!(account.automount_service_account_token, Some(false));

        // The spec is the user's.
        assert_eq!(
            serde_json::to_value(&ready.spec)?,
            json!({"source": {"uri": "s3://models/bc/model.onnx"}, "serving": {"replicas": 2}})
        );

        tokio::time::sleep(Duration::from_secs(3)).await;
        api.forget();
        tokio::time::sleep(QUIET).await;
        let writes: Vec<_> =
            api.writes().into_iter().filter(|write| write.request.resource != "leases").collect();
        assert!(writes.is_empty(), "{writes:#?}");

        // Another operator writes nothing either, although it renders with another image.
        operator.stop().await?;
        let (_, generation, jobs) = story::work(&namespace, "bc").await?;
        api.forget();
        let _operator = Operator::of(&namespace)
            .through(&api, None)
            .environment("MODELWRIGHT_IMAGE_CPU", "localhost/modelwright:next")
            .start()?;
        wait::wait_for("the operator watches", TIMEOUT, || async {
            Ok(Seen::or_else_saw((api.count("watch", "deployments") > 0).then_some(()), "no watch"))
        })
        .await?;
        tokio::time::sleep(QUIET).await;
        let writes: Vec<_> =
            api.writes().into_iter().filter(|write| write.request.resource != "leases").collect();
        assert!(writes.is_empty(), "{writes:#?}");

        // Without its status the same revision is active, and nothing is resolved or restarted.
        let models = namespace.api::<Model>();
        models.patch_status("bc", &PatchParams::default(), &Patch::Merge(&json!({"status": null}))).await?;
        serves(&namespace, "bc", 'a').await?;
        let (_, later, jobs_later) = story::work(&namespace, "bc").await?;
        assert_eq!((later, jobs_later), (generation, jobs));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn new_revision_is_rolled_out_and_taken_back_by_its_id() -> anyhow::Result<()> {
    with_scripted_node("rollout", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "  serving: {replicas: 2}\n")).await?;
        serves(&namespace, "bc", 'a').await?;
        resolves_to(node, 'b');
        story::resolve_again(&namespace, "bc", "1").await?;
        let model = serves(&namespace, "bc", 'b').await?;
        let revisions = model.status.unwrap().revisions.unwrap();
        assert_eq!(revisions.former[0].digest, digest('a'));
        story::change(&namespace, "bc", json!({"rollout": {"revision": "a".repeat(16)}})).await?;
        serves(&namespace, "bc", 'a').await?;
        // A Model is ready with its first pods; it says that it is pinned once all of them serve.
        story::reason(&namespace, "bc", "Pinned").await?;
        story::change(&namespace, "bc", json!({"rollout": null})).await?;
        serves(&namespace, "bc", 'b').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_never_falls_below_what_is_wanted_while_pods_are_replaced() -> anyhow::Result<()> {
    with_scripted_node("capacity", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        let slow = ContainerScript::runs().ready_after(Duration::from_secs(1));
        story::servers_of(node, 'b', PodScript::default().container("serve", slow));
        namespace.apply(&model("bc", "  serving: {replicas: 4}\n")).await?;
        serves(&namespace, "bc", 'a').await?;
        // A Model is ready with its first pods; what is measured begins with all of them.
        let deployments = namespace.api::<Deployment>();
        wait::deployment_available(&deployments, "bc", TIMEOUT).await?;
        resolves_to(node, 'b');
        story::resolve_again(&namespace, "bc", "1").await?;
        // Every state that the Deployment goes through, as its watch tells them.
        let watched = deployments.clone();
        let least = tokio::spawn(async move {
            let mut changes = kube::runtime::watcher(watched, kube::runtime::watcher::Config::default())
                .applied_objects()
                .boxed();
            let mut least = i32::MAX;
            loop {
                let state = changes.try_next().await?.context("the watch ended")?;
                let status = state.status.unwrap_or_default();
                least = least.min(status.available_replicas.unwrap_or(0));
                let replaced = state.metadata.annotations.unwrap_or_default()[annotations::DIGEST]
                    == digest('b')
                    && status.updated_replicas == Some(4)
                    && status.replicas == Some(4)
                    && status.observed_generation == state.metadata.generation;
                if replaced {
                    return anyhow::Ok(least);
                }
            }
        });
        story::serves(&namespace, "bc", 'b').await?;
        assert_eq!(least.await??, 4);
        let deployment = deployments.get("bc").await?;
        let strategy = deployment.spec.unwrap().strategy.unwrap().rolling_update.unwrap();
        assert_eq!(serde_json::to_value(strategy)?, json!({"maxSurge": "25%", "maxUnavailable": 0}));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn autoscalers_number_is_never_written_over() -> anyhow::Result<()> {
    with_scripted_node("autoscaling", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        let spec = "  serving:\n    autoscaling: {minReplicas: 2, maxReplicas: 6, cpu: 50}\n    \
                    resources: {requests: {cpu: 1}}\n";
        namespace.apply(&model("bc", spec)).await?;
        serves(&namespace, "bc", 'a').await?;
        let autoscalers = namespace.api::<HorizontalPodAutoscaler>();
        let autoscaler = autoscalers.get("bc").await?;
        let metric = &autoscaler.spec.unwrap().metrics.unwrap()[0];
        assert_eq!(metric.container_resource.as_ref().unwrap().container, "serve");

        // As the autoscaler does it: by the scale subresource.
        let deployments = namespace.api::<Deployment>();
        let scale = json!({"spec": {"replicas": 5}});
        deployments.patch_scale("bc", &PatchParams::default(), &Patch::Merge(&scale)).await?;
        tokio::time::sleep(QUIET).await;
        assert_eq!(deployments.get("bc").await?.spec.unwrap().replicas, Some(5));
        // A change of the template leaves it, too.
        story::change(&namespace, "bc", json!({"serving": {"startupTimeout": "2m"}})).await?;
        serves(&namespace, "bc", 'a').await?;
        assert_eq!(deployments.get("bc").await?.spec.unwrap().replicas, Some(5));

        // Given back: the autoscaler goes first, then the spec's number counts.
        story::change(&namespace, "bc", json!({"serving": {"autoscaling": null, "replicas": 3}})).await?;
        wait::object(&deployments, "bc", "3 replicas", TIMEOUT, |deployment| {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            Seen::or_else_saw((replicas == Some(3)).then_some(()), format!("{replicas:?}"))
        })
        .await?;
        assert!(autoscalers.get_opt("bc").await?.is_none());

        // Somebody else's autoscaler: the number is never ours.
        story::change(
            &namespace,
            "bc",
            json!({"serving": {"autoscaling": {"mode": "External"}, "replicas": null}}),
        )
        .await?;
        autoscaling::observed(&namespace).await?;
        deployments.patch_scale("bc", &PatchParams::default(), &Patch::Merge(&scale)).await?;
        tokio::time::sleep(QUIET).await;
        assert_eq!(deployments.get("bc").await?.spec.unwrap().replicas, Some(5));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_children_are_put_right_and_additions_of_others_stay() -> anyhow::Result<()> {
    with_scripted_node("drift", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        let services = namespace.api::<Service>();
        let edit = json!({"metadata": {"annotations": {"of": "others"}}, "spec": {"selector": {"modelwright.dev/role": "x"}}});
        services.patch("bc", &PatchParams::default(), &Patch::Merge(&edit)).await?;
        let service = wait::object(&services, "bc", "its selector again", TIMEOUT, |service| {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
            let right = selector.get("modelwright.dev/role").is_some_and(|role| role == "server");
            Seen::or_else_saw(right.then(|| service.clone()), format!("{selector:?}"))
        })
        .await?;
        assert_eq!(service.annotations().get("of").map(String::as_str), Some("others"));
        services.delete("bc-headless", &DeleteParams::default()).await?;
        wait::object(&services, "bc-headless", "to be there again", TIMEOUT, |service| {
            Seen::or_else_saw(service.metadata.deletion_timestamp.is_none().then_some(()), "it is being deleted")
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_model_ends_its_pods_and_comes_back_with_the_same_revision() -> anyhow::Result<()> {
    with_scripted_node("suspend", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        story::change(&namespace, "bc", json!({"suspend": true})).await?;
        story::reason(&namespace, "bc", "Suspended").await?;
        let pods = namespace.api::<Pod>();
        wait::wait_for("no server pod", TIMEOUT, || async {
            let left =
                pods.list(&ListParams::default().labels("modelwright.dev/role=server")).await?.items.len();
            Ok(Seen::or_else_saw((left == 0).then_some(()), left))
        })
        .await?;
        story::change(&namespace, "bc", json!({"suspend": null})).await?;
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_leaves_nothing_behind_although_the_operator_is_down() -> anyhow::Result<()> {
    with_scripted_node("deletion", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace
            .apply(&model(
                "bc",
                "  serving:\n    autoscaling: {minReplicas: 1, maxReplicas: 2}\n    resources: {requests: {cpu: 1}}\n    \
                 networkPolicy: {enabled: true}\n",
            ))
            .await?;
        serves(&namespace, "bc", 'a').await?;
        operator.kill()?;
        namespace.api::<Model>().delete("bc", &DeleteParams::default()).await?;
        wait::wait_for("every child to be gone", TIMEOUT, || async {
            let ours = ListParams::default().labels("modelwright.dev/model=bc");
            let left = [
                namespace.api::<Deployment>().list_metadata(&ours).await?.items.len(),
                namespace.api::<Job>().list_metadata(&ours).await?.items.len(),
                namespace.api::<Pod>().list_metadata(&ours).await?.items.len(),
                namespace.api::<Service>().list_metadata(&ours).await?.items.len(),
                namespace.api::<ServiceAccount>().list_metadata(&ours).await?.items.len(),
                namespace.api::<PodDisruptionBudget>().list_metadata(&ours).await?.items.len(),
                namespace.api::<HorizontalPodAutoscaler>().list_metadata(&ours).await?.items.len(),
            ];
            Ok(Seen::or_else_saw((left.iter().sum::<usize>() == 0).then_some(()), format!("{left:?}")))
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn poll_finds_new_bytes_without_being_asked() -> anyhow::Result<()> {
    with_scripted_node("poll", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "").replace("model.onnx'", "model.onnx', pollInterval: 5m")).await?;
        let model = serves(&namespace, "bc", 'a').await?;
        let checked = model.status.unwrap().source.unwrap().checked_at.unwrap();
        // As if five minutes had passed.
        let models: Api<Model> = namespace.api();
        let earlier: jiff::Timestamp = checked.parse()?;
        let earlier = earlier - jiff::SignedDuration::from_mins(6);
        let jobs = namespace.api::<Job>();
        jobs.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        resolves_to(node, 'b');
        let patch = json!({"status": {"source": {"checkedAt": earlier.to_string()}}});
        models.patch_status("bc", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        serves(&namespace, "bc", 'b').await?;
        let job = jobs.list(&ListParams::default()).await?.items.pop().unwrap();
        assert!(job.annotations().contains_key(annotations::JOB_HASH));
        let args = job.spec.unwrap().template.spec.unwrap().containers[0].args.clone().unwrap();
        assert!(args.contains(&"--unless-fingerprint".to_owned()), "{args:?}");
        Ok(())
    })
    .await
}
