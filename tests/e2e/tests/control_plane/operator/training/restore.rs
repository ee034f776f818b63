//! Models come back from a backup into an empty namespace: what was served is served again, and nothing is trained twice.
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use modelwright_api::{Model, Outcome, contract::labels};
use modelwright_e2e::{
    crd,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::Exit,
    wait::{self, Seen},
};
use rstest::rstest;
use serde_json::json;

use super::{
    super::story::{TIMEOUT, digest, model, resolves_to, serves},
    story::{builtin, jobs, status, trained, training_ends, trains_to},
};

/// The Model as backups keep it: without what the cluster gave it.
async fn backup(namespace: &TestNamespace, name: &str) -> anyhow::Result<Model> {
    let mut model = namespace.api::<Model>().get(name).await?;
    let metadata = &mut model.metadata;
    (metadata.uid, metadata.resource_version, metadata.generation) = (None, None, None);
    (metadata.creation_timestamp, metadata.managed_fields) = (None, None);
    Ok(model)
}

/// Removes the Model, and waits until nothing of it is left.
async fn remove(namespace: &TestNamespace, name: &str) -> anyhow::Result<()> {
    namespace.api::<Model>().delete(name, &DeleteParams::default()).await?;
    wait::gone(&namespace.api::<Model>(), name, TIMEOUT).await?;
    wait::gone(&namespace.api::<Deployment>(), name, TIMEOUT).await?;
    let of_model = ListParams::default().labels(&format!("{}={name}", labels::MODEL));
    wait::wait_for("no Jobs", TIMEOUT, || async {
        let left = namespace.api::<Job>().list_metadata(&of_model).await?.items;
        let names: Vec<_> = left.iter().map(kube::ResourceExt::name_any).collect();
        Ok(Seen::or_else_saw(left.is_empty().then_some(()), format!("{names:?}")))
    })
    .await
}

/// Makes the Model again, with its status where the backup had it.
async fn restore(namespace: &TestNamespace, backup: &Model, with_status: bool) -> anyhow::Result<()> {
    let models = namespace.api::<Model>();
    models.create(&PostParams::default(), backup).await?;
    if with_status {
        let status = Patch::Merge(json!({"status": backup.status}));
        models.patch_status(&backup.name_any(), &PatchParams::default(), &status).await?;
    }
    Ok(())
}

/// Waits until `bc` serves, keeps it, and removes it and its operator: where it is restored, one may be there before, or come after.
async fn taken_away(namespace: &TestNamespace, operator: Operator) -> anyhow::Result<Model> {
    serves(namespace, "bc", 'a').await?;
    let kept = backup(namespace, "bc").await?;
    remove(namespace, "bc").await?;
    assert_eq!(operator.stop().await?.code(), Some(0));
    Ok(kept)
}

/// Restores `bc`, starts an operator, and waits until it serves with so many pods.
async fn comes_back(
    namespace: &TestNamespace,
    kept: &Model,
    with_status: bool,
    pods: i32,
) -> anyhow::Result<(Operator, Model)> {
    restore(namespace, kept, with_status).await?;
    let operator = Operator::of(namespace).start()?;
    // With its status it says so from the beginning, before its pods are there.
    let awaited = format!("{pods} pods that are available");
    wait::object(&namespace.api::<Deployment>(), "bc", awaited, TIMEOUT, |deployment| {
        let status = deployment.status.clone().unwrap_or_default();
        Seen::or_else_saw((status.available_replicas == Some(pods)).then_some(()), format!("{status:?}"))
    })
    .await?;
    Ok((operator, serves(namespace, "bc", 'a').await?))
}

#[rstest]
#[case::without_status("restored", false)]
#[case::with_status("restored-whole", true)]
#[tokio::test(flavor = "multi_thread")]
async fn restored_model_with_a_source_serves_the_same_revision(
    #[case] name: &'static str,
    #[case] with_status: bool,
) -> anyhow::Result<()> {
    with_scripted_node(name, async |namespace, node| {
        crd::install(&namespace.client).await?;
        let operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "  serving: {replicas: 2}\n")).await?;
        let kept = taken_away(&namespace, operator).await?;
        let _operator = comes_back(&namespace, &kept, with_status, 2).await?;
        Ok(())
    })
    .await
}

#[rstest]
#[case::without_status("restored-trained", false)]
#[case::with_status("restored-trained-whole", true)]
#[tokio::test(flavor = "multi_thread")]
async fn restored_model_with_a_training_trains_nothing_again(
    #[case] name: &'static str,
    #[case] with_status: bool,
) -> anyhow::Result<()> {
    with_scripted_node(name, async |namespace, node| {
        crd::install(&namespace.client).await?;
        let operator = Operator::of(&namespace).start()?;
        trains_to(node, "bc", 'a');
        namespace.apply(&builtin("bc", "", "")).await?;
        let kept = taken_away(&namespace, operator).await?;

        // The trainer finds the same inputs in the memory of the store.
        let reused = Outcome { reason: "Reused".to_owned(), ..trained('a', 0.97) };
        training_ends(node, "bc", "train", &Exit::code(80).message(&reused.to_line()));
        let (_operator, model) = comes_back(&namespace, &kept, with_status, 1).await?;
        assert_eq!(status(&model).revision, Some(digest('a')));
        let trainings = jobs(&namespace, "bc", labels::ROLE_TRAIN).await?;
        assert!(trainings.len() <= 1, "{trainings:#?}");
        Ok(())
    })
    .await
}
