//! What the gate refuses is kept and said, and does not touch what is served.
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    api::{DeleteParams, ListParams, Patch, PatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use modelwright_api::{Model, Outcome, conditions::ConditionType, status::TrainingPhase};
use modelwright_e2e::{
    crd,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::Exit,
};
use serde_json::json;

use super::{
    super::story::{self, digest, reason, serves},
    story::{
        builtin, line_of_kubectl, own, own_script, phase, refusal, retrain, status, trained, training_ends,
        training_pods, trains_to,
    },
};

/// Fails as soon as the Model is not ready, or serves another revision.
async fn stays_ready(namespace: &TestNamespace, name: &str, digit: char) -> anyhow::Result<()> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut states = watcher(namespace.api::<Model>(), config).applied_objects().boxed();
    while let Some(model) = states.try_next().await? {
        anyhow::ensure!(model.holds(ConditionType::Ready), "{}", story::words(&model));
        let revisions = model.status.as_ref().and_then(|status| status.revisions.as_ref());
        let active = revisions.and_then(|revisions| revisions.active.as_ref()).map(|active| &active.digest);
        anyhow::ensure!(active == Some(&digest(digit)), "active is {active:?}");
    }
    anyhow::bail!("the watch ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_revision_is_named_with_both_numbers_while_the_active_one_serves() -> anyhow::Result<()> {
    with_scripted_node("gate", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let operator = Operator::of(&namespace).start()?;
        trains_to(node, "bc", 'a');
        namespace.apply(&builtin("bc", "    gate: {beat: Active}\n", "")).await?;
        serves(&namespace, "bc", 'a').await?;

        let said =
            "valAccuracy is 0.71, and that of the active revision aaaaaaaaaaaaaaaa on the same rows 0.97";
        training_ends(node, "bc", "train", &refusal('b', 0.71, "WorseThanActive", said));
        retrain(&namespace, "bc", "poisoned").await?;
        let model = tokio::select! {
            model = phase(&namespace, "bc", TrainingPhase::Refused) => model?,
            failed = stays_ready(&namespace, "bc", 'a') => { failed?; unreachable!() }
        };
        assert!(model.holds(ConditionType::Ready) && !model.holds(ConditionType::Stalled));
        let found = status(&model);
        assert_eq!((found.passed, found.revision), (Some(false), Some(digest('b'))));
        assert!(found.message.unwrap_or_default().contains(said));
        let rejected = model.status.as_ref().unwrap().revisions.as_ref().unwrap().rejected[0].clone();
        assert_eq!((rejected.digest, rejected.reason.as_str()), (digest('b'), "WorseThanActive"));
        assert!(
            rejected.message.contains("0.71") && rejected.message.contains("0.97"),
            "{}",
            rejected.message
        );
        assert_eq!(rejected.metrics.get("valAccuracy"), Some(&0.71));
        let line = line_of_kubectl(&namespace, "bc").await?;
        assert!(
            line.contains("True") && line.contains("Refused") && line.contains("aaaaaaaaaaaaaaaa"),
            "{line}"
        );

        // Nothing tries it again, and nothing is rolled out.
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(12)) => {}
            failed = stays_ready(&namespace, "bc", 'a') => { failed?; }
        }
        // Who names it wants it all the same.
        story::change(&namespace, "bc", json!({"rollout": {"revision": "b".repeat(16)}})).await?;
        let model = serves(&namespace, "bc", 'b').await?;
        let rejected = &model.status.as_ref().unwrap().revisions.as_ref().unwrap().rejected;
        assert_eq!(rejected[0].digest, digest('b'), "the gate's word stays");
        let model = story::at_rest(&namespace, "bc").await?;
        let said = &story::condition(&model, "Ready").unwrap().message;
        assert!(said.contains("as spec.rollout.revision says, although the gate refused it"), "{said}");
        // It is known as refused without a status and without Jobs, and goes with its name.
        operator.stop().await?;
        let gone = Patch::Merge(json!({"status": null}));
        namespace.api::<Model>().patch_status("bc", &PatchParams::default(), &gone).await?;
        let everything = ListParams::default();
        namespace.api::<Job>().delete_collection(&DeleteParams::background(), &everything).await?;
        let _operator = Operator::of(&namespace).start()?;
        let model = serves(&namespace, "bc", 'b').await?;
        assert_eq!(status(&model).passed, Some(false));
        story::change(&namespace, "bc", json!({"rollout": null})).await?;
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn first_revision_that_is_refused_is_not_served() -> anyhow::Result<()> {
    with_scripted_node("gate-first", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let said = "valAccuracy is 0.71, and spec.training.gate requires at least 0.9";
        training_ends(node, "bc", "train", &refusal('b', 0.71, "RequirementNotMet", said));
        namespace
            .apply(&builtin("bc", "    gate: {require: [{metric: valAccuracy, min: 0.9}]}\n", ""))
            .await?;
        let model = reason(&namespace, "bc", "RequirementNotMet").await?;
        assert!(!model.holds(ConditionType::Available) && model.holds(ConditionType::Stalled));
        assert_eq!(status(&model).phase, Some(TrainingPhase::Refused));
        // Better data.
        trains_to(node, "bc", 'a');
        retrain(&namespace, "bc", "better").await?;
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn revision_that_needs_approval_is_served_when_it_is_named() -> anyhow::Result<()> {
    with_scripted_node("approval", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        trains_to(node, "bc", 'a');
        namespace.apply(&builtin("bc", "    gate: {approval: Manual}\n", "")).await?;
        let model = reason(&namespace, "bc", "ApprovalRequired").await?;
        let candidate = model.status.as_ref().unwrap().revisions.as_ref().unwrap().candidate.clone();
        assert_eq!(candidate.unwrap().digest, digest('a'));
        story::change(&namespace, "bc", json!({"rollout": {"revision": "a".repeat(16)}})).await?;
        serves(&namespace, "bc", 'a').await?;
        // The next one waits, too, and the first goes on.
        trains_to(node, "bc", 'b');
        retrain(&namespace, "bc", "1").await?;
        let model = super::story::training(&namespace, "bc", "revision b", |status| {
            status.revision == Some(digest('b')) && status.phase == Some(TrainingPhase::Succeeded)
        })
        .await?;
        assert!(model.holds(ConditionType::Ready), "{}", story::words(&model));
        serves(&namespace, "bc", 'a').await?;
        story::change(&namespace, "bc", json!({"rollout": {"revision": digest('b')}})).await?;
        serves(&namespace, "bc", 'b').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_that_were_trained_before_give_their_revision_without_training() -> anyhow::Result<()> {
    with_scripted_node("reused", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let reused = Outcome { reason: "Reused".to_owned(), ..trained('a', 0.97) };
        node.on(training_pods("bc"), own_script("fetch", &Exit::code(80).message(&reused.to_line())));
        namespace.apply(&own("bc", "", "")).await?;
        let model = serves(&namespace, "bc", 'a').await?;
        assert_eq!(status(&model).metric.as_deref(), Some("valAccuracy 0.97"));
        // The built-in trainer finds that out itself.
        training_ends(node, "cold", "train", &Exit::completed().message(&reused.to_line()));
        namespace.apply(&builtin("cold", "", "")).await?;
        let cold = serves(&namespace, "cold", 'a').await?;
        for model in [model, cold] {
            assert_eq!(status(&model).reason.as_deref(), Some("Reused"), "{:?}", status(&model));
        }
        Ok(())
    })
    .await
}
