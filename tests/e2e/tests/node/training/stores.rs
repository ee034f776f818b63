//! What becomes of trainings whose store fails them: keys are taken away, it is gone for a while, somebody else publishes.
use anyhow::{Context as _, ensure};
use k8s_openapi::api::{batch::v1::Job, core::v1::Secret};
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use modelwright_api::{
    Model,
    conditions::ConditionType,
    contract::{
        annotations,
        environment::{CHECKPOINT_INTERVAL, STORE_RETRY},
    },
    status::TrainingPhase,
};
use modelwright_e2e::{
    namespace::{TestNamespace, with_namespace},
    wait::{self, Seen},
};
use serde_json::{Value, json};

use super::{
    builtin::rows,
    here::{self, Here},
    progress::{Training, checkpoints, digits, last_log, with_variables},
    store::Store,
    story::{TIMEOUT, active, has_reason, is_ready, predict, training, training_pods, until},
};
use crate::serving::SECRET;

/// So many epochs take a few seconds.
const EPOCHS: u32 = 1500;

async fn prepared(namespace: &TestNamespace) -> anyhow::Result<Store> {
    let store = Store::prepared(namespace).await?;
    store.storage.put(&format!("{}/digits.csv", namespace.name), rows("digits")?).await?;
    Ok(store)
}

fn impatient() -> String {
    with_variables(&[(CHECKPOINT_INTERVAL, "1s"), (STORE_RETRY, "3s")])
}

async fn failed_with(namespace: &TestNamespace, name: &str, reasons: &[&str]) -> anyhow::Result<String> {
    let model = until(namespace, name, &format!("a failure of {reasons:?}"), |model| {
        let known = training(model);
        known.phase == Some(TrainingPhase::Failed)
            && known.reason.is_some_and(|reason| reasons.contains(&reason.as_str()))
    })
    .await?;
    let known = training(&model);
    let said = known.message.unwrap_or_default();
    eprintln!("| {} | {said} |", known.reason.unwrap_or_default());
    Ok(said)
}

async fn is_answered(namespace: &TestNamespace, name: &str) -> anyhow::Result<()> {
    let pixels: serde_json::Map<String, Value> =
        (0..64).map(|pixel| (format!("p{}{}", pixel / 8, pixel % 8), json!(0))).collect();
    let answer = predict(namespace, name, &Value::Object(pixels)).await?;
    ensure!(answer["label"].is_string() || answer["label"].is_number(), "{answer}");
    Ok(())
}

async fn failures(namespace: &TestNamespace, name: &str) -> anyhow::Result<String> {
    let known = training(&namespace.api::<Model>().get(name).await?);
    let jobs = namespace.api::<Job>().list(&ListParams::default()).await?.items;
    let job = jobs.into_iter().find(|job| Some(job.name_any()) == known.job).context("no Job")?;
    job.annotations().get(annotations::FAILURES).cloned().context("it counts no failures")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_taken_away_half_way_are_named_and_their_return_lets_the_training_go_on()
-> anyhow::Result<()> {
    with_namespace("keys", async |namespace| {
        let store = prepared(&namespace).await?;
        namespace.apply(&digits(&namespace, "shop", 1, &[&impatient()])).await?;
        let first = active(&is_ready(&namespace, "shop").await?)?;
        let old: Vec<_> =
            training_pods(&namespace, "shop").await?.iter().map(ResourceExt::name_any).collect();
        namespace.apply(&digits(&namespace, "shop", EPOCHS, &[&impatient()])).await?;
        let pod = Training::next(&namespace, "shop", &old).await?;
        let below = format!("{0}/out/{0}/shop", namespace.name);
        pod.trains().await?;
        wait::wait_for("a checkpoint", TIMEOUT, || async {
            let there = checkpoints(&store.storage.list(&below).await?).first().map(|_| ());
            Ok(Seen::or_else_saw(there, "none"))
        })
        .await?;
        store.take_keys().await?;
        let said = failed_with(&namespace, "shop", &["AccessDenied"]).await?;
        assert!(said.contains(&format!("Secret \"{SECRET}\"")) && said.contains("s3://models/"), "{said}");
        let logged = pod.log().await?;
        assert!(logged.contains("the checkpoint stays here"), "it trained on meanwhile: {logged}");
        let model = namespace.api::<Model>().get("shop").await?;
        assert!(model.holds(ConditionType::Ready) && active(&model)?.digest == first.digest);
        is_answered(&namespace, "shop").await?;

        let secrets = namespace.api::<Secret>();
        secrets.delete(SECRET, &DeleteParams::default()).await?;
        store.give_keys().await?;
        let said = failed_with(&namespace, "shop", &["SecretMissing"]).await?;
        assert!(said.contains("kubectl create secret generic s3"), "{said}");
        is_answered(&namespace, "shop").await?;

        store.create_secret().await?;
        let model = until(&namespace, "shop", "the second revision, served", |model| {
            model.holds(ConditionType::Ready) && active(model).is_ok_and(|now| now.digest != first.digest)
        })
        .await?;
        assert_eq!(training(&model).phase, Some(TrainingPhase::Succeeded));
        let said = last_log(&namespace, "shop").await?;
        assert!(said.contains("goes on from checkpoint"), "{said}");
        assert_eq!(failures(&namespace, "shop").await?, "0", "what waits for somebody does not count");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn store_that_is_away_for_a_moment_costs_nothing_and_for_longer_an_attempt() -> anyhow::Result<()> {
    with_namespace("away", async |namespace| {
        let mut store = prepared(&namespace).await?;
        let below = |model: &str| format!("{0}/out/{0}/{model}", namespace.name);
        let often = with_variables(&[(CHECKPOINT_INTERVAL, "1s")]);
        namespace.apply(&digits(&namespace, "patient", 2 * EPOCHS, &[&often])).await?;
        let pod = Training::next(&namespace, "patient", &[]).await?;
        let before = pod.trains().await?.progress_percent.unwrap_or(0);
        store.goes_away().await?;
        pod.percent(before.saturating_add(20)).await?;
        store.comes_back().await?;
        wait::wait_for("a checkpoint", TIMEOUT, || async {
            let there = checkpoints(&store.storage.list(&below("patient")).await?).first().map(|_| ());
            Ok(Seen::or_else_saw(there, "none"))
        })
        .await?;
        let model = is_ready(&namespace, "patient").await?;
        assert_eq!(training(&model).attempt, Some(1), "it did not end meanwhile");

        namespace.apply(&digits(&namespace, "impatient", EPOCHS, &[&impatient()])).await?;
        let pod = Training::next(&namespace, "impatient", &[]).await?;
        pod.trains().await?;
        wait::wait_for("a checkpoint", TIMEOUT, || async {
            let there = checkpoints(&store.storage.list(&below("impatient")).await?).first().map(|_| ());
            Ok(Seen::or_else_saw(there, "none"))
        })
        .await?;
        store.goes_away().await?;
        let said = failed_with(&namespace, "impatient", &["ConnectionRefused", "StoreUnreachable"]).await?;
        assert!(said.contains("s3://models/"), "{said}");
        let model = namespace.api::<Model>().get("impatient").await?;
        let next = training(&model).next_at;
        assert!(next.is_some(), "it is tried again: {:?}", training(&model));
        store.comes_back().await?;
        is_ready(&namespace, "impatient").await?;
        let said = last_log(&namespace, "impatient").await?;
        assert!(said.contains("goes on from checkpoint"), "{said}");
        assert_ne!(failures(&namespace, "impatient").await?, "0", "it counts");
        Ok(())
    })
    .await
}

/// Waits until the training on this machine is in this phase.
async fn reaches_here(progress: std::net::SocketAddr, phase: &str) -> anyhow::Result<()> {
    wait::wait_for(format!("the training here to be {phase}"), TIMEOUT, || async {
        let answer = reqwest::get(format!("http://{progress}/progress")).await?.bytes().await?;
        let seen: Value = serde_json::from_slice(&answer)?;
        Ok(Seen::or_else_saw((seen["phase"] == phase).then_some(()), seen.to_string()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_publish_the_same_at_once_both_succeed_and_other_bytes_under_its_name_are_a_collision()
-> anyhow::Result<()> {
    with_namespace("twice", async |namespace| {
        let store = prepared(&namespace).await?;
        let folder = std::env::temp_dir().join(&namespace.name);
        let progress = here::free_port()?;
        let here = Here { namespace: &namespace, storage: &store.storage, folder: &folder };
        let training_here = here.train("shop", EPOCHS, 7, progress)?;
        reaches_here(progress, "Training").await?;
        here::signal(&training_here, "STOP")?;
        let waits = with_variables(&[(STORE_RETRY, "1h")]);
        namespace.apply(&digits(&namespace, "shop", EPOCHS, &[&waits])).await?;
        let pod = Training::next(&namespace, "shop", &[]).await?;
        pod.trains().await?;
        // Both come to stand before the store, and go in together.
        store.freeze().await?;
        here::signal(&training_here, "CONT")?;
        let both = tokio::try_join!(reaches_here(progress, "Publishing"), pod.publishes());
        store.thaw().await?;
        both?;
        let outcome = here::ended(training_here).await?;
        std::fs::remove_dir_all(&folder)?;
        assert_eq!(outcome.reason, "Trained", "{outcome:?}");
        let model = is_ready(&namespace, "shop").await?;
        let (known, revision) = (training(&model), active(&model)?);
        assert_eq!((known.phase, known.attempt), (Some(TrainingPhase::Succeeded), Some(1)));
        assert_eq!(Some(&revision.digest), outcome.digest.as_ref());
        let below = format!("{0}/out/{0}/shop", namespace.name);
        let listed = store.storage.list(&below).await?;
        let count = |part: &str| listed.iter().filter(|path| path.contains(part)).count();
        assert_eq!((count("/manifest.json"), count("/provenance/")), (1, 2), "{listed:#?}");

        // The same training of another Model, where something else lies under the name of what it gives.
        let manifest = format!("{0}/out/{0}/other/revisions/{1}/manifest.json", namespace.name, revision.id);
        store.storage.put(&manifest, b"{}".to_vec()).await?;
        namespace.apply(&digits(&namespace, "other", EPOCHS, &[])).await?;
        let model = has_reason(&namespace, "other", "RevisionCollision").await?;
        let known = training(&model);
        let said = known.message.unwrap_or_default();
        assert!(said.contains(&revision.digest) && said.contains(&revision.id), "{said}");
        until(&namespace, "other", "nothing more", |model| model.holds(ConditionType::Stalled)).await?;
        assert_eq!(store.storage.get(&manifest).await?, b"{}", "nothing is overwritten");
        // As the message says: who deletes what lies there, and asks for it, gets the revision.
        store.storage.delete(&manifest).await?;
        let patch = json!({"metadata": {"annotations": {annotations::RETRAIN_AT: "now"}}});
        namespace.api::<Model>().patch("other", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        assert_eq!(active(&is_ready(&namespace, "other").await?)?.digest, revision.digest);
        Ok(())
    })
    .await
}
