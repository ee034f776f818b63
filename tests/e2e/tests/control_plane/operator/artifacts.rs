//! `deletionPolicy: DeleteArtifacts`: a Model waits for its artifacts, and nothing waits for it for long.
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use modelwright_api::{
    Model, Outcome,
    contract::{annotations, finalizers, labels},
    training::order::DeletionOrder,
};
use modelwright_e2e::{
    crd,
    namespace::{TestNamespace, with_namespace, with_scripted_node},
    operator::Operator,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript},
    wait::{self, Seen},
};
use rstest::rstest;
use serde_json::json;

use super::story::{TIMEOUT, failure};

/// A Model that trains into a store, and takes what it wrote with it.
pub(super) fn trained(name: &str) -> String {
    format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: {name}}}\nspec:\n  \
         deletionPolicy: DeleteArtifacts\n  suspend: true\n  training:\n    \
         data: {{source: {{uri: 's3://data/{name}.csv'}}, target: label}}\n    output: {{uri: 's3://models'}}\n"
    )
}

/// Waits until the finalizer is there, or not.
pub(super) async fn finalizer_is(namespace: &TestNamespace, name: &str, there: bool) -> anyhow::Result<()> {
    let models = namespace.api::<Model>();
    wait::object(&models, name, format!("finalizer there: {there}"), TIMEOUT, |model: &Model| {
        let all = model.finalizers();
        let is_there = all.iter().any(|one| one == finalizers::ARTIFACTS);
        Seen::or_else_saw((is_there == there).then_some(()), format!("{all:?}"))
    })
    .await
}

async fn delete_job(namespace: &TestNamespace) -> anyhow::Result<Job> {
    let jobs = namespace.api::<Job>();
    let of_role = ListParams::default().labels(&format!("{}={}", labels::ROLE, labels::ROLE_DELETE));
    wait::wait_for("a delete Job", TIMEOUT, || async {
        Ok(Seen::or_else_saw(jobs.list(&of_role).await?.items.into_iter().next(), "none"))
    })
    .await
}

#[rstest]
#[case::in_the_background(DeleteParams::background())]
#[case::in_the_foreground(DeleteParams::foreground())]
#[tokio::test(flavor = "multi_thread")]
async fn model_goes_when_its_artifacts_are_deleted(#[case] how: DeleteParams) -> anyhow::Result<()> {
    with_scripted_node("artifacts", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let deleted = Outcome { message: "2 revisions".into(), ..Outcome::success("Deleted") };
        let exit = Exit::completed().message(&deleted.to_line());
        // A while, so that a test sees the Model wait.
        let script = ContainerScript::runs().exit_after(Duration::from_secs(3), exit);
        node.on(
            PodMatcher::any().label(labels::ROLE, labels::ROLE_DELETE),
            PodScript::default().container("delete", script),
        );
        namespace.apply(&trained("bc")).await?;
        finalizer_is(&namespace, "bc", true).await?;
        let models = namespace.api::<Model>();
        let uid = models.get("bc").await?.uid();
        models.delete("bc", &how).await?;
        let job = delete_job(&namespace).await?;
        let order = job.annotations().get(annotations::ORDER).context("no order")?;
        let order: DeletionOrder = serde_json::from_str(order)?;
        assert_eq!((Some(order.uid), order.keep, order.delete), (uid, None, None));
        assert_eq!((order.output.as_str(), order.model.as_str()), ("s3://models", "bc"));
        assert!(models.get_opt("bc").await?.is_some(), "it waits");
        wait::gone(&models, "bc", TIMEOUT).await?;
        // The Job is there for people to look at, and made once.
        assert_eq!(delete_job(&namespace).await?.uid(), job.uid());
        let jobs = namespace.api::<Job>().list_metadata(&ListParams::default()).await?.items;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn model_whose_artifacts_cannot_be_deleted_waits_until_the_policy_is_set_back() -> anyhow::Result<()> {
    with_scripted_node("artifacts-kept", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let denied = failure(73, "DeletionDenied", "grant s3:DeleteObject");
        node.on(
            PodMatcher::any().label(labels::ROLE, labels::ROLE_DELETE),
            PodScript::default().container("delete", ContainerScript::exits(denied)),
        );
        namespace.apply(&trained("bc")).await?;
        finalizer_is(&namespace, "bc", true).await?;
        let models = namespace.api::<Model>();
        models.delete("bc", &DeleteParams::default()).await?;
        delete_job(&namespace).await?;
        let pods = namespace.api::<Pod>();
        wait::wait_for("a failed pod", TIMEOUT, || async {
            let all = pods.list(&ListParams::default()).await?.items;
            let failed = all.iter().any(|pod| {
                pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Failed"))
            });
            Ok(Seen::or_else_saw(failed.then_some(()), all.len()))
        })
        .await?;
        assert!(models.get_opt("bc").await?.is_some(), "the Job tries again");
        let retain = json!({"spec": {"deletionPolicy": "Retain"}});
        models.patch("bc", &PatchParams::default(), &Patch::Merge(&retain)).await?;
        wait::gone(&models, "bc", TIMEOUT).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizer_follows_the_policy() -> anyhow::Result<()> {
    with_namespace("artifacts-policy", async |namespace| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        namespace.apply(&trained("bc")).await?;
        finalizer_is(&namespace, "bc", true).await?;
        namespace.apply(&trained("bc").replace("DeleteArtifacts", "Retain")).await?;
        finalizer_is(&namespace, "bc", false).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn namespace_that_is_deleted_does_not_wait() -> anyhow::Result<()> {
    with_namespace("artifacts-outer", async |outer| {
        crd::install(&outer.client).await?;
        let name = outer.name.replace("outer", "inner");
        let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let namespaces: Api<Namespace> = Api::all(outer.client.clone());
        namespaces.create(&PostParams::default(), &Namespace { metadata, ..Namespace::default() }).await?;
        let inner = TestNamespace { client: outer.client.clone(), name: name.clone() };
        let _operator = Operator::of(&inner).start()?;
        inner.apply(&trained("bc")).await?;
        finalizer_is(&inner, "bc", true).await?;
        namespaces.delete(&name, &DeleteParams::default()).await?;
        wait::gone(&inner.api::<Model>(), "bc", TIMEOUT).await?;
        wait::gone(&namespaces, &name, TIMEOUT).await
    })
    .await
}
