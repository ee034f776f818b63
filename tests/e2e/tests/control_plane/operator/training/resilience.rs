//! The operator dies, the status is deleted, another operator starts: nothing is trained twice.
use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::batch::v1::Job;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use modelwright_api::{Model, contract::labels, status::TrainingPhase};
use modelwright_e2e::{
    cluster, crd,
    faults::{FaultyApi, Write},
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::ScriptedNode,
    wait::{self, Seen},
};
use serde_json::json;

use super::{
    super::{
        death,
        story::{self, TIMEOUT, digest, serves},
    },
    story::{builtin, jobs, phase, refusal, retrain, status, training, training_ends, trains_to},
};

/// Longer than whatever a controller that writes for nothing pauses.
const QUIET: Duration = Duration::from_secs(8);

fn writes(api: &FaultyApi) -> Vec<Write> {
    api.writes().into_iter().filter(|write| write.request.resource != "leases").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trained_model_is_left_alone_by_a_new_operator_and_without_its_status() -> anyhow::Result<()> {
    with_scripted_node("train-calm", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let api = FaultyApi::start(cluster::config().await?).await?;
        let operator = Operator::of(&namespace).through(&api, None).start()?;
        trains_to(node, "bc", 'a');
        namespace.apply(&builtin("bc", "    gate: {beat: Baseline}\n    cron: '0 3 * * *'\n", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        api.forget();
        tokio::time::sleep(QUIET).await;
        assert!(writes(&api).is_empty(), "{:#?}", writes(&api));

        // Another operator, with another image.
        operator.stop().await?;
        let (_, generation, all) = story::work(&namespace, "bc").await?;
        api.forget();
        let operator = Operator::of(&namespace)
            .through(&api, None)
            .environment("MODELWRIGHT_IMAGE_CPU", "localhost/modelwright:next")
            .start()?;
        wait::wait_for("the operator watches", TIMEOUT, || async {
            Ok(Seen::or_else_saw((api.count("watch", "jobs") > 0).then_some(()), "no watch"))
        })
        .await?;
        tokio::time::sleep(QUIET).await;
        assert!(writes(&api).is_empty(), "{:#?}", writes(&api));

        // Without its status, while an operator runs.
        let gone = Patch::Merge(json!({"status": null}));
        let models = namespace.api::<Model>();
        models.patch_status("bc", &PatchParams::default(), &gone).await?;
        let model = serves(&namespace, "bc", 'a').await?;
        assert_eq!(status(&model).revision, Some(digest('a')));
        // And without its status and its Jobs, while none does: the Deployment remembers.
        operator.stop().await?;
        models.patch_status("bc", &PatchParams::default(), &gone).await?;
        let everything = ListParams::default();
        namespace.api::<Job>().delete_collection(&DeleteParams::background(), &everything).await?;
        let _operator = Operator::of(&namespace).through(&api, None).start()?;
        serves(&namespace, "bc", 'a').await?;
        tokio::time::sleep(QUIET).await;
        let (_, later, left) = story::work(&namespace, "bc").await?;
        assert_eq!((later, left), (generation, Vec::new()), "before: {all:?}");
        Ok(())
    })
    .await
}

/// Every training Job that ever was, by name and uid. They stay long enough to be seen.
async fn every_job(
    namespace: &TestNamespace,
    seen: &std::sync::Mutex<BTreeSet<String>>,
) -> anyhow::Result<()> {
    loop {
        let all = jobs(namespace, "bc", labels::ROLE_TRAIN).await?;
        let running = all.iter().filter(|job| {
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_none_or(Vec::is_empty) && job.metadata.deletion_timestamp.is_none()
        });
        let running: Vec<_> = running.map(kube::ResourceExt::name_any).collect();
        anyhow::ensure!(running.len() <= 1, "two trainings at once: {running:?}");
        let names = all.iter().map(|job| format!("{} {}", job.name_any(), job.uid().unwrap_or_default()));
        seen.lock().unwrap().extend(names);
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Trains, is served, trains anew, is served, and trains something that the gate refuses.
async fn course(namespace: &TestNamespace, node: &ScriptedNode) -> anyhow::Result<String> {
    trains_to(node, "bc", 'a');
    namespace.apply(&builtin("bc", "    gate: {beat: Active}\n", "")).await?;
    serves(namespace, "bc", 'a').await?;
    trains_to(node, "bc", 'b');
    story::change(namespace, "bc", json!({"training": {"builtin": {"epochs": 7}}})).await?;
    serves(namespace, "bc", 'b').await?;
    training_ends(node, "bc", "train", &refusal('c', 0.5, "WorseThanActive", "0.5 is less than 0.97"));
    retrain(namespace, "bc", "1").await?;
    let model = phase(namespace, "bc", TrainingPhase::Refused).await?;
    let rejected: Vec<_> = model.status.unwrap().revisions.unwrap().rejected;
    let rejected: Vec<_> = rejected.into_iter().map(|revision| revision.digest).collect();
    serves(namespace, "bc", 'b').await?;
    let (deployment, ..) = story::work(namespace, "bc").await?;
    let annotations = deployment.annotations().clone();
    let template = serde_json::to_string(&deployment.spec.unwrap().template)?;
    // The time of a run is in its name, and in nothing of this.
    Ok(format!("{rejected:?} {annotations:#?} {template}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn death_at_any_write_of_a_training_trains_nothing_twice() -> anyhow::Result<()> {
    let watched = async |namespace: &TestNamespace, node: &ScriptedNode| {
        let seen = std::sync::Mutex::default();
        let state = tokio::select! {
            state = course(namespace, node) => state?,
            two = every_job(namespace, &seen) => { two?; unreachable!() }
        };
        let trainings = seen.into_inner().unwrap();
        anyhow::ensure!(trainings.len() == 3, "{trainings:#?}");
        Ok(state)
    };
    let most = death::at_each_write("train-death", &watched).await?;
    eprintln!("| writes of trainings at which the operator was killed | 1 to {most} |");
    assert!(most > 12, "{most}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn status_deleted_while_it_trains_changes_nothing() -> anyhow::Result<()> {
    with_scripted_node("train-status", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let operator = Operator::of(&namespace).start()?;
        let runs = modelwright_e2e::scripted_node::ContainerScript::runs();
        let script = modelwright_e2e::scripted_node::PodScript::default().container("train", runs);
        node.on(super::story::training_pods("bc"), script);
        namespace.apply(&builtin("bc", "", "")).await?;
        let model = phase(&namespace, "bc", TrainingPhase::Training).await?;
        operator.kill()?;
        let gone = Patch::Merge(json!({"status": null}));
        namespace.api::<Model>().patch_status("bc", &PatchParams::default(), &gone).await?;
        trains_to(node, "bc", 'a');
        let _operator = Operator::of(&namespace).start()?;
        serves(&namespace, "bc", 'a').await?;
        let job = status(&model).job;
        let after = training(&namespace, "bc", "the same Job", |found| found.job == job).await?;
        assert_eq!(status(&after).attempt, Some(1));
        assert_eq!(jobs(&namespace, "bc", labels::ROLE_TRAIN).await?.len(), 1);
        Ok(())
    })
    .await
}
