//! What makes a Model train again, and what does not.
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use modelwright_api::{
    Model, Outcome,
    contract::{annotations, labels},
};
use modelwright_e2e::{
    crd,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript, ScriptedNode},
};
use serde_json::json;

use super::{
    super::story::{self, digest, serves},
    story::{annotation, builtin, jobs, retrain, status, training, training_job, trains_to},
};

/// Longer than it takes to begin a training for nothing.
const QUIET: Duration = Duration::from_secs(6);

async fn uids(namespace: &TestNamespace, role: &str) -> anyhow::Result<Vec<String>> {
    Ok(jobs(namespace, "bc", role).await?.iter().filter_map(kube::ResourceExt::uid).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn new_settings_and_retrain_at_train_again_and_the_rest_does_not() -> anyhow::Result<()> {
    with_scripted_node("triggers", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        trains_to(node, "bc", 'a');
        namespace.apply(&builtin("bc", "", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        let before = uids(&namespace, labels::ROLE_TRAIN).await?;
        // What the next training has.
        let later = json!({"training": {
            "retries": 5, "deadline": "3h", "resources": {"limits": {"cpu": 1}}, "cron": "0 3 * * *", "keep": 3
        }});
        story::change(&namespace, "bc", later).await?;
        serves(&namespace, "bc", 'a').await?;
        tokio::time::sleep(QUIET).await;
        assert_eq!(uids(&namespace, labels::ROLE_TRAIN).await?, before);
        // What the result depends on.
        trains_to(node, "bc", 'b');
        story::change(&namespace, "bc", json!({"training": {"builtin": {"epochs": 7}}})).await?;
        let model = serves(&namespace, "bc", 'b').await?;
        assert_eq!(model.status.unwrap().revisions.unwrap().former[0].digest, digest('a'));
        trains_to(node, "bc", 'c');
        retrain(&namespace, "bc", "2026-11-27").await?;
        serves(&namespace, "bc", 'c').await?;
        let newest = jobs(&namespace, "bc", labels::ROLE_TRAIN).await?.pop().unwrap();
        assert!(annotation(&newest, annotations::TRIGGER).contains("retrain-at"), "{:?}", newest.annotations());
        // The same value again is no other.
        let before = uids(&namespace, labels::ROLE_TRAIN).await?;
        retrain(&namespace, "bc", "2026-11-27").await?;
        tokio::time::sleep(QUIET).await;
        assert_eq!(uids(&namespace, labels::ROLE_TRAIN).await?.last(), before.last());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn tick_of_the_clock_trains_again() -> anyhow::Result<()> {
    with_scripted_node("cron", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        trains_to(node, "bc", 'a');
        // So that the first training is served well before the tick that is looked for.
        let past = Timestamp::now().as_second().rem_euclid(60);
        if past > 15 {
            tokio::time::sleep(Duration::from_secs(u64::try_from(61 - past)?)).await;
        }
        namespace.apply(&builtin("bc", "    cron: '* * * * *'\n", "")).await?;
        let model = serves(&namespace, "bc", 'a').await?;
        let due: Timestamp = status(&model).next_at.unwrap().parse()?;
        assert_eq!(due.as_second() % 60, 0);
        trains_to(node, "bc", 'b');
        let job = training_job(&namespace, "bc", "1").await?;
        assert!(Timestamp::now() >= due, "not before its time");
        assert!(annotation(&job, annotations::TRIGGER).starts_with("cron"), "{:?}", job.annotations());
        assert_eq!(annotation(&job, annotations::ATTEMPT), "0");
        serves(&namespace, "bc", 'b').await?;
        Ok(())
    })
    .await
}

/// From now on looks at the data end so.
fn looks_end(node: &ScriptedNode, reason: &str, fingerprint: char) {
    let said = Outcome { fingerprint: Some(digest(fingerprint)), ..Outcome::success(reason) };
    node.on(
        PodMatcher::any().label(labels::ROLE, labels::ROLE_DATA),
        PodScript::default()
            .container("data", ContainerScript::exits(Exit::completed().message(&said.to_line()))),
    );
}

/// As if the interval had passed and the Jobs were as old as that.
async fn interval_passes(namespace: &TestNamespace) -> anyhow::Result<Timestamp> {
    let model = namespace.api::<Model>().get("bc").await?;
    let checked: Timestamp = status(&model).checked_at.unwrap().parse()?;
    let jobs = namespace.api::<Job>();
    jobs.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
    let earlier = Timestamp::now() - SignedDuration::from_mins(6);
    let patch = json!({"status": {"training": {"checkedAt": earlier.to_string()}}});
    namespace.api::<Model>().patch_status("bc", &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(checked)
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_changed_are_trained_on_and_others_are_not() -> anyhow::Result<()> {
    with_scripted_node("train-poll", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        trains_to(node, "bc", 'a');
        let manifest = builtin("bc", "", "").replace("target:", "pollInterval: 5m, target:");
        namespace.apply(&manifest).await?;
        serves(&namespace, "bc", 'a').await?;
        looks_end(node, "Unchanged", 'f');
        let before = interval_passes(&namespace).await?;
        training(&namespace, "bc", "a later look", |status| {
            status.checked_at.as_ref().and_then(|at| at.parse().ok()).is_some_and(|at: Timestamp| at > before)
        })
        .await?;
        let look = jobs(&namespace, "bc", labels::ROLE_DATA).await?.pop().unwrap();
        let args = look.spec.unwrap().template.spec.unwrap().containers[0].args.clone().unwrap();
        let compared =
            args.iter().position(|arg| arg == "--unless-fingerprint").map(|at| args[at + 1].clone());
        assert_eq!(compared, Some(digest('f')), "{args:?}");
        tokio::time::sleep(QUIET).await;
        assert_eq!(uids(&namespace, labels::ROLE_TRAIN).await?, Vec::<String>::new());

        looks_end(node, "Changed", 'e');
        trains_to(node, "bc", 'b');
        interval_passes(&namespace).await?;
        serves(&namespace, "bc", 'b').await?;
        let newest = jobs(&namespace, "bc", labels::ROLE_TRAIN).await?.pop().unwrap();
        assert_eq!(annotation(&newest, annotations::TRIGGER), "data changed");
        Ok(())
    })
    .await
}
