//! `keep`: what is too many is listed, then deleted, and nothing else is.
use anyhow::Context as _;
use k8s_openapi::{
    api::batch::v1::{Job, JobStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use modelwright_api::{Model, conditions::ConditionType, contract::annotations, status::TrainingPhase};
use modelwright_e2e::{
    namespace::{TestNamespace, with_namespace},
    storage::Storage,
    wait::{self, Seen},
};
use serde_json::json;

use super::{
    builtin::rows,
    here::{self, Here},
    progress::digits,
    story::{TIMEOUT, active, is_ready, prepared, training, until},
};

/// A training of a moment, whose seed makes it another.
fn manifest(namespace: &TestNamespace, name: &str, seed: u32, more: &str) -> String {
    digits(namespace, name, 1, &[more])
        .replace("digits.csv", "penguins.csv")
        .replace("target: digit", "target: species")
        .replace("seed: 7", &format!("seed: {seed}"))
}

/// Trains with this seed until that is what is served; its id.
async fn trained(namespace: &TestNamespace, seed: u32) -> anyhow::Result<String> {
    let before = namespace.api::<Model>().get_opt("shop").await?.and_then(|model| active(&model).ok());
    let before = before.map(|revision| revision.digest);
    namespace.apply(&manifest(namespace, "shop", seed, "keep: 1")).await?;
    let model = until(namespace, "shop", "the next revision, served", |model| {
        let now = active(model).ok().map(|revision| revision.digest);
        model.holds(ConditionType::Ready)
            && training(model).phase == Some(TrainingPhase::Succeeded)
            && now.is_some_and(|now| Some(now) != before)
    })
    .await?;
    Ok(active(&model)?.id)
}

fn expiring(model: &Model) -> Vec<String> {
    let revisions = model.status.as_ref().and_then(|status| status.revisions.as_ref());
    revisions.map(|revisions| revisions.expiring.clone()).unwrap_or_default()
}

/// The Job that lists or deletes while this is the newest revision, once it is over; what it was told.
async fn delete_job(
    namespace: &TestNamespace,
    deletes: bool,
    newest: &str,
) -> anyhow::Result<(Job, serde_json::Value)> {
    let jobs = namespace.api::<Job>();
    let selector = ListParams::default().labels("modelwright.dev/role=delete,modelwright.dev/model=shop");
    wait::wait_for(format!("a Job that is over; deletes: {deletes}"), TIMEOUT, || async {
        let mut found = None;
        let all = jobs.list(&selector).await?.items;
        for job in &all {
            let order = job.annotations().get(annotations::ORDER).context("no order")?;
            let order: serde_json::Value = serde_json::from_str(order)?;
            let of_newest = order["protected"].to_string().contains(newest);
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
            let over = conditions.into_iter().flatten().any(|condition| condition.type_ == "Complete");
            if over && of_newest && order["delete"].is_array() == deletes {
                found = Some((job.clone(), order));
            }
        }
        Ok(Seen::or_else_saw(found, format!("{} Jobs", all.len())))
    })
    .await
}

/// Lets the time pass that people have to object, by saying that the list is older.
async fn notice_has_passed(namespace: &TestNamespace, newest: &str) -> anyhow::Result<()> {
    let (job, _) = delete_job(namespace, false, newest).await?;
    let JobStatus { conditions, .. } = job.status.clone().context("no status")?;
    let mut conditions = conditions.context("no conditions")?;
    for condition in &mut conditions {
        let Some(Time(time)) = &mut condition.last_transition_time else { continue };
        *time -= std::time::Duration::from_mins(6);
    }
    let patch = json!({"status": {"conditions": conditions}});
    let jobs = namespace.api::<Job>();
    jobs.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(())
}

/// Everything in the stores of both Models.
async fn listed(storage: &Storage, namespace: &TestNamespace) -> anyhow::Result<Vec<String>> {
    storage.list(&format!("{0}/out/{0}", namespace.name)).await
}

/// What is of a revision of `shop`: its files, and what remembers it by its digest.
async fn of_revision(storage: &Storage, listed: &[String], id: &str) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for path in listed.iter().filter(|path| path.contains("/shop/")) {
        let inside = path.contains(&format!("/revisions/{id}/"));
        let tells =
            !path.contains("/revisions/") && String::from_utf8_lossy(&storage.get(path).await?).contains(id);
        if inside || tells {
            found.push(path.clone());
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_that_are_too_many_are_listed_then_deleted_and_nothing_else_is() -> anyhow::Result<()> {
    with_namespace("keep", async |namespace| {
        let storage = prepared(&namespace).await?;
        for example in ["digits", "penguins"] {
            storage.put(&format!("{}/{example}.csv", namespace.name), rows(example)?).await?;
        }
        let folder = std::env::temp_dir().join(&namespace.name);
        let here = Here { namespace: &namespace, storage: &storage, folder: &folder };
        // A Model of the same name in another cluster that uses the same bucket, and a neighbour that has the first revision, too.
        let foreign = here::ended(here.train("shop", 1, 99, here::free_port()?)?).await?;
        let foreign = foreign.digest.context("no digest")?;
        namespace.apply(&manifest(&namespace, "neighbour", 1, "retries: 1")).await?;

        let mut ids = Vec::new();
        for seed in 1..=2 {
            ids.push(trained(&namespace, seed).await?);
        }
        is_ready(&namespace, "neighbour").await?;
        // What is served and what was before it stay, beyond `keep`.
        delete_job(&namespace, false, &ids[1]).await?;
        assert!(expiring(&namespace.api::<Model>().get("shop").await?).is_empty());
        for seed in 3..=4 {
            ids.push(trained(&namespace, seed).await?);
            let [.., goes, _, newest] = ids.as_slice() else { anyhow::bail!("{ids:?}") };
            until(&namespace, "shop", "the list of what goes", |model| expiring(model) == [goes.as_str()])
                .await?;
            let before = listed(&storage, &namespace).await?;
            let of_it = of_revision(&storage, &before, goes).await?;
            assert!(of_it.len() > 3, "it is all there while it is listed: {of_it:#?}");
            notice_has_passed(&namespace, newest).await?;
            until(&namespace, "shop", "nothing that goes", |model| expiring(model).is_empty()).await?;
            let after = listed(&storage, &namespace).await?;
            let stays: Vec<_> = before.into_iter().filter(|path| !of_it.contains(path)).collect();
            assert_eq!(after, stays, "all of it is gone, and nothing else: {of_it:#?}");
            let (_, order) = delete_job(&namespace, true, newest).await?;
            let again = here::ended(here.step("delete", &order.to_string())?.spawn()?).await?;
            assert!(again.reason == "Deleted" && again.revisions.is_empty(), "{again:?}");
            assert_eq!(listed(&storage, &namespace).await?, stays, "once more is no more");
        }
        std::fs::remove_dir_all(&folder)?;
        let left = listed(&storage, &namespace).await?;
        let foreign = foreign.trim_start_matches("sha256:").chars().take(16).collect::<String>();
        for id in [&foreign, &ids[2], &ids[3]] {
            let manifest = format!("shop/revisions/{id}/manifest.json");
            assert!(left.iter().any(|path| path.ends_with(&manifest)), "{id}: {left:#?}");
        }
        // The former one can be gone back to.
        let patch = json!({"spec": {"rollout": {"revision": ids[2]}}});
        namespace.api::<Model>().patch("shop", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        until(&namespace, "shop", "the former revision, served", |model| {
            model.holds(ConditionType::Ready) && active(model).is_ok_and(|now| now.id == ids[2])
        })
        .await?;
        Ok(())
    })
    .await
}
