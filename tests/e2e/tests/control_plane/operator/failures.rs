//! What the Model says when something is wrong, and that the former revision goes on serving.
use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Event, ResourceQuota},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use modelwright_api::Model;
use modelwright_e2e::{
    crd,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript, ScriptedNode},
};
use rstest::rstest;
use serde_json::json;

use super::story::{
    self, condition, digest, failure, model, reason, resolve_ends, resolves_to, servers_of, serves,
};

fn status(model: &Model, type_: &str) -> String {
    condition(model, type_).map(|condition| format!("{:?}", condition.status)).unwrap_or_default()
}

fn message(model: &Model) -> String {
    condition(model, "Ready").map(|condition| condition.message.clone()).unwrap_or_default()
}

/// What a resolve Job says, and what the Model then shows.
#[rstest]
#[case::wrong_bytes(65, "NotOnnx", true)]
#[case::opset(65, "UnsupportedOpset", true)]
#[case::external_data(65, "MissingExternalData", true)]
#[case::pin(76, "DigestMismatch", true)]
#[case::uri(64, "AddressRefused", true)]
#[case::missing(66, "SourceNotFound", false)]
#[case::denied(66, "AccessDenied", false)]
#[case::secret(66, "SecretMissing", false)]
#[case::tls(69, "TlsFailed", false)]
#[case::away(69, "StoreUnreachable", false)]
#[tokio::test(flavor = "multi_thread")]
async fn source_that_cannot_be_served_is_named(
    #[case] code: i32,
    #[case] word: &'static str,
    #[case] stalls: bool,
) -> anyhow::Result<()> {
    with_scripted_node("source", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let said = format!("s3://models/bc/model.onnx: what {word} is about");
        resolve_ends(node, &failure(code, word, &said));
        namespace.apply(&model("bc", "")).await?;
        let model = reason(&namespace, "bc", word).await?;
        assert!(message(&model).contains(&said), "{}", message(&model));
        let expected = if stalls { ("False", "True") } else { ("True", "False") };
        assert_eq!((status(&model, "Progressing").as_str(), status(&model, "Stalled").as_str()), expected);
        assert_eq!(status(&model, "Available"), "False");
        assert!(
            namespace.api::<Deployment>().get_opt("bc").await?.is_none(),
            "no pod before the source is good"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_that_appears_later_heals_by_itself() -> anyhow::Result<()> {
    with_scripted_node("heals", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolve_ends(node, &failure(66, "SecretMissing", "the Secret \"s3\" does not exist"));
        namespace.apply(&model("bc", "")).await?;
        reason(&namespace, "bc", "SecretMissing").await?;
        resolves_to(node, 'a');
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

/// What the servers of a new revision do, what is said of it, and that the former one serves all along.
async fn failed_candidate(
    namespace: &TestNamespace,
    node: &ScriptedNode,
    script: PodScript,
    said: &str,
) -> anyhow::Result<Model> {
    crd::install(&namespace.client).await?;
    let _operator = Operator::of(namespace).start()?;
    resolves_to(node, 'a');
    namespace.apply(&model("bc", "  rollout: {progressDeadline: 10s}\n")).await?;
    serves(namespace, "bc", 'a').await?;
    servers_of(node, 'b', script);
    resolves_to(node, 'b');
    story::resolve_again(namespace, "bc", "1").await?;
    let model = reason(namespace, "bc", "RolledBack").await?;
    assert!(message(&model).contains(said), "{}", message(&model));
    assert_eq!(status(&model, "Available"), "True");
    let revisions = model.status.as_ref().unwrap().revisions.as_ref().unwrap();
    assert_eq!(revisions.active.as_ref().unwrap().digest, digest('a'));
    assert_eq!(revisions.rejected[0].digest, digest('b'));
    // Back to the template that served: its pods were never replaced.
    let deployment = namespace.api::<Deployment>().get("bc").await?;
    let annotations = deployment.metadata.annotations.unwrap();
    assert_eq!(annotations["modelwright.dev/digest"], digest('a'));
    // A new spec is a new try.
    servers_of(node, 'b', PodScript::default());
    let patient = json!({"serving": {"startupTimeout": "3m"}, "rollout": {"progressDeadline": "5m"}});
    story::change(namespace, "bc", patient).await?;
    serves(namespace, "bc", 'b').await
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_whose_bytes_are_wrong_is_taken_back_at_once() -> anyhow::Result<()> {
    with_scripted_node("bytes", async |namespace, node| {
        let said = "expected sha256:b, found sha256:c";
        let script = PodScript::default()
            .container("fetch", ContainerScript::exits(failure(76, "DigestMismatch", said)));
        failed_candidate(&namespace, node, script, said).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_that_does_not_load_is_taken_back() -> anyhow::Result<()> {
    with_scripted_node("load", async |namespace, node| {
        let said = "the model cannot be loaded: Gather index out of range";
        let script = PodScript::default()
            .container("serve", ContainerScript::exits(failure(65, "InvalidModel", said)));
        failed_candidate(&namespace, node, script, said).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_that_finds_the_disk_full_is_taken_back() -> anyhow::Result<()> {
    with_scripted_node("disk", async |namespace, node| {
        let said = "no space left to write /models/model.onnx";
        let script =
            PodScript::default().container("fetch", ContainerScript::exits(failure(73, "DiskFull", said)));
        failed_candidate(&namespace, node, script, &format!("{said}; the disk of ")).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn candidate_that_is_never_ready_is_taken_back_after_its_deadline() -> anyhow::Result<()> {
    with_scripted_node("deadline", async |namespace, node| {
        let script = PodScript::default().container("serve", ContainerScript::runs().never_ready());
        failed_candidate(&namespace, node, script, "progressDeadline").await?;
        Ok(())
    })
    .await
}

/// What the first pods of a Model suffer from, and what is said of it.
#[rstest]
#[case::image(
    PodScript::default().container("fetch", ContainerScript::waits("ImagePullBackOff", "Back-off pulling image \"localhost/x:1\"")),
    "ImageUnavailable", "localhost/"
)]
#[case::config(
    PodScript::default().container("fetch", ContainerScript::waits("CreateContainerConfigError", "configmap \"extra\" not found")),
    "ContainerConfigError", "configmap \"extra\" not found"
)]
#[case::memory(
    PodScript::default().container("serve", ContainerScript::exits(Exit::oom_killed())),
    "OutOfMemory", "256Mi"
)]
#[case::storage(
    PodScript::default()
        .container("serve", ContainerScript::runs().never_ready())
        .evicted_after(Duration::from_secs(2), "Pod ephemeral local storage usage exceeds the total limit of containers 10Mi. "),
    "Evicted", "raise spec.serving.resources.limits.ephemeral-storage"
)]
#[tokio::test(flavor = "multi_thread")]
async fn root_cause_of_pods_is_named(
    #[case] script: PodScript,
    #[case] word: &'static str,
    #[case] part: &'static str,
) -> anyhow::Result<()> {
    with_scripted_node("pods", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        servers_of(node, 'a', script.clone());
        namespace.apply(&model("bc", "  serving: {resources: {limits: {memory: 256Mi}}}\n")).await?;
        let model = reason(&namespace, "bc", word).await?;
        assert!(message(&model).contains(part), "{}", message(&model));
        assert_eq!(status(&model, "Available"), "False");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_that_no_node_takes_is_named_with_the_schedulers_words() -> anyhow::Result<()> {
    with_scripted_node("unschedulable", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        let nowhere = "  serving: {podTemplate: {spec: {nodeSelector: {disk: none}}}}\n";
        namespace.apply(&model("bc", nowhere)).await?;
        let unschedulable = reason(&namespace, "bc", "Unschedulable").await?;
        assert!(message(&unschedulable).contains("affinity/selector"), "{}", message(&unschedulable));
        namespace.apply(&model("gpu", "  serving: {resources: {limits: {nvidia.com/gpu: 1}}}\n")).await?;
        let waiting = reason(&namespace, "gpu", "WaitingForAccelerator").await?;
        assert!(message(&waiting).contains("nvidia.com/gpu"), "{}", message(&waiting));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_is_named_and_its_end_noticed() -> anyhow::Result<()> {
    with_scripted_node("quota", async |namespace, node| {
        crd::install(&namespace.client).await?;
        namespace
            .apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {pods: 0}}}")
            .await?;
        // The quota's controller first finds out what is used.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "")).await?;
        let model = reason(&namespace, "bc", "QuotaExceeded").await?;
        assert!(message(&model).contains("exceeded quota: none"), "{}", message(&model));
        namespace.api::<ResourceQuota>().delete("none", &DeleteParams::default()).await?;
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

#[rstest]
#[case::misspelt("  podTemplate: {spec: {tolleration: [{key: x}]}}\n", "spec.podTemplate.spec.tolleration")]
#[case::ours(
    "  serving: {podTemplate: {spec: {containers: [{name: serve, args: [x]}]}}}\n",
    "containers[serve].args"
)]
#[case::refused_by_the_api_server(
    "  podTemplate: {spec: {containers: [{name: UPPER, image: x}]}}\n",
    "UPPER"
)]
#[tokio::test(flavor = "multi_thread")]
async fn overlay_that_cannot_be_is_named_by_its_path(
    #[case] spec: &'static str,
    #[case] part: &'static str,
) -> anyhow::Result<()> {
    with_scripted_node("overlay", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", spec)).await?;
        let model = reason(&namespace, "bc", "InvalidPodTemplate").await?;
        assert!(message(&model).contains(part), "{}", message(&model));
        assert_eq!((status(&model, "Stalled"), status(&model, "Available")), ("True".into(), "False".into()));
        Ok(())
    })
    .await
}

/// Specs that the API server takes and the cluster cannot carry out.
#[rstest]
#[case::cuda(
    "  serving: {executionProvider: CUDA, resources: {limits: {nvidia.com/gpu: 1}}}\n",
    "CUDAImageMissing",
    "cudaImage",
    true
)]
#[case::metric(
    "  serving: {autoscaling: {maxReplicas: 2, metrics: [{type: Pods, pod: {}}]}}\n",
    "InvalidAutoscaling",
    "spec.serving.autoscaling.metrics[0].pod",
    true
)]
#[case::peer(
    "  serving: {networkPolicy: {enabled: true, from: [{podSelektor: {}}]}}\n",
    "InvalidSpec",
    "spec.serving.networkPolicy.from[0].podSelektor",
    true
)]
#[case::account("  serviceAccountName: nobody\n", "ServiceAccountMissing", "nobody", false)]
#[tokio::test(flavor = "multi_thread")]
async fn spec_that_cannot_be_carried_out_is_named(
    #[case] spec: &'static str,
    #[case] word: &'static str,
    #[case] part: &'static str,
    #[case] stalls: bool,
) -> anyhow::Result<()> {
    with_scripted_node("spec", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", spec)).await?;
        let model = reason(&namespace, "bc", word).await?;
        assert!(message(&model).contains(part), "{}", message(&model));
        assert_eq!(status(&model, "Stalled") == "True", stalls, "{}", message(&model));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_that_admission_refuses_is_named_with_what_it_says() -> anyhow::Result<()> {
    with_scripted_node("admission", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(namespace.client.clone());
        let restricted = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        namespaces.patch(&namespace.name, &PatchParams::default(), &Patch::Merge(&restricted)).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("good", "")).await?;
        serves(&namespace, "good", 'a').await?;
        let rooted = "  serving: {podTemplate: {spec: {containers: [{name: serve, securityContext: {runAsNonRoot: false}}]}}}\n";
        namespace.apply(&model("bc", rooted)).await?;
        let model = reason(&namespace, "bc", "AdmissionDenied").await?;
        assert!(message(&model).contains("runAsNonRoot"), "{}", message(&model));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn source_that_changed_under_a_served_model_is_said_when_it_is_scaled_up() -> anyhow::Result<()> {
    with_scripted_node("changed", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        // New pods only: those that run have ended fetching long ago.
        let said = "model.onnx: expected sha256:a, found sha256:c";
        node.on(
            PodMatcher::any().label("modelwright.dev/role", "server"),
            PodScript::default()
                .container("fetch", ContainerScript::exits(failure(76, "DigestMismatch", said))),
        );
        story::change(&namespace, "bc", json!({"serving": {"replicas": 2}})).await?;
        let model = reason(&namespace, "bc", "SourceChanged").await?;
        assert!(message(&model).contains(said) && message(&model).contains("copyTo"), "{}", message(&model));
        assert_eq!(status(&model, "Available"), "True");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pinned_revision_whose_bytes_are_gone_is_said_and_the_present_one_goes_on() -> anyhow::Result<()> {
    with_scripted_node("gone", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        resolves_to(node, 'b');
        story::resolve_again(&namespace, "bc", "1").await?;
        serves(&namespace, "bc", 'b').await?;
        let lost = failure(76, "DigestMismatch", "model.onnx: expected sha256:a, found sha256:b");
        servers_of(node, 'a', PodScript::default().container("fetch", ContainerScript::exits(lost)));
        story::change(&namespace, "bc", json!({"rollout": {"revision": "a".repeat(16)}})).await?;
        let model = reason(&namespace, "bc", "RolledBack").await?;
        assert!(message(&model).contains("no longer where they were"), "{}", message(&model));
        assert_eq!(status(&model, "Available"), "True");
        let rejected = &model.status.as_ref().unwrap().revisions.as_ref().unwrap().rejected[0];
        assert_eq!(rejected.reason, "RevisionBytesGone");
        // A name that no revision has.
        story::change(&namespace, "bc", json!({"rollout": {"revision": "d".repeat(16)}})).await?;
        reason(&namespace, "bc", "RevisionUnknown").await?;
        story::change(&namespace, "bc", json!({"rollout": null})).await?;
        serves(&namespace, "bc", 'b').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn transitions_are_told_as_events_once() -> anyhow::Result<()> {
    with_scripted_node("events", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let events: Api<Event> = namespace.api();
        let about = ListParams::default().fields("involvedObject.kind=Model");
        let events = events.list(&about).await?.items;
        let serving: Vec<_> =
            events.iter().filter(|event| event.reason.as_deref() == Some("Serving")).collect();
        assert_eq!(serving.len(), 1, "{events:#?}");
        assert!(serving[0].series.is_none() && serving[0].count.unwrap_or(1) == 1);
        Ok(())
    })
    .await
}
