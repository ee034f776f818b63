//! Pods of trainings that are killed: wherever that is, and however, in the end there is the one revision of a training that
//! nobody disturbed.
use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use modelwright_api::{
    Model, conditions::ConditionType, contract::environment::CHECKPOINT_INTERVAL, status::TrainingPhase,
};
use modelwright_e2e::{
    namespace::{TestNamespace, with_namespace},
    processes::Process,
    wait::{self, Seen},
};

use super::{
    builtin::rows,
    progress::{Training, checkpoints, digits, last_log, with_variables},
    store::Store,
    story::{TIMEOUT, active, is_ready, training, until},
};

/// Where a training is when it is killed.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Its pod is there, and most likely does not run.
    Created,
    /// The data are read, and it is in its first epochs.
    Begun,
    /// This share is done.
    Percent(u8),
    /// This attempt brought a checkpoint out.
    Checkpoint,
    /// It is trained, and nothing of it is in the store.
    Publishing,
}

/// What kills it.
#[derive(Clone, Copy, Debug)]
enum By {
    /// The pod is deleted, with the grace that a drained node gives.
    Drain,
    /// The pod is deleted without any.
    Force,
    /// The process is told to end.
    Term,
    /// The process is killed, as for want of memory on the node.
    Kill,
}

/// What befalls one Model.
struct Fate {
    name: &'static str,
    kills: &'static [(At, By)],
    /// How often its state goes to the store.
    interval: &'static str,
}

static FATES: [Fate; 4] = [
    Fate {
        name: "drained",
        // A process that has only just begun hears no SIGTERM, as the first of its container: given a grace, it could train to its
        // end.
        kills: &[(At::Created, By::Force), (At::Begun, By::Drain), (At::Percent(50), By::Drain)],
        interval: "1m",
    },
    Fate {
        name: "removed",
        kills: &[(At::Begun, By::Force), (At::Checkpoint, By::Force), (At::Percent(60), By::Force)],
        interval: "1s",
    },
    Fate {
        name: "struck",
        kills: &[(At::Begun, By::Kill), (At::Checkpoint, By::Kill), (At::Percent(80), By::Term)],
        interval: "1s",
    },
    Fate {
        name: "told",
        kills: &[(At::Percent(30), By::Term), (At::Percent(70), By::Term), (At::Publishing, By::Kill)],
        // So that nothing is on its way to the store when that stops to answer.
        interval: "1m",
    },
];

async fn reach(store: &Store, pod: &Training<'_>, at: At, below: &str) -> anyhow::Result<()> {
    match at {
        At::Created => {}
        At::Begun => drop(pod.trains().await?),
        At::Percent(percent) => drop(pod.percent(percent).await?),
        At::Checkpoint => {
            pod.trains().await?;
            let before = checkpoints(&store.storage.list(below).await?).into_iter().max().unwrap_or(0);
            wait::wait_for(format!("a checkpoint after {before}"), TIMEOUT, || async {
                let listed = checkpoints(&store.storage.list(below).await?);
                let newer = listed.iter().any(|number| *number > before).then_some(());
                Ok(Seen::or_else_saw(newer, format!("{listed:?}")))
            })
            .await?;
        }
        At::Publishing => {
            pod.percent(80).await?;
            store.freeze().await?;
            pod.publishes().await?;
        }
    }
    Ok(())
}

async fn kill(namespace: &TestNamespace, pod: &str, by: By) -> anyhow::Result<()> {
    let pods = namespace.api::<Pod>();
    match by {
        By::Drain => drop(pods.delete(pod, &DeleteParams::default()).await?),
        By::Force => drop(pods.delete(pod, &DeleteParams::default().grace_period(0)).await?),
        By::Term => Process::of_pod(pod, "modelwright")?.signal("TERM")?,
        By::Kill => Process::of_pod(pod, "modelwright")?.signal("KILL")?,
    }
    Ok(())
}

/// A Model that is trained until it is ready, whatever befalls it.
async fn befalls(
    namespace: &TestNamespace,
    store: &Store,
    Fate { name, kills, interval }: &Fate,
    epochs: u32,
) -> anyhow::Result<Model> {
    let variables = with_variables(&[(CHECKPOINT_INTERVAL, interval)]);
    namespace.apply(&digits(namespace, name, epochs, &[&variables])).await?;
    let below = format!("{0}/out/{0}/{name}", namespace.name);
    let mut killed = Vec::new();
    for (at, by) in *kills {
        let pod = Training::next(namespace, name, &killed).await?;
        let reached = reach(store, &pod, *at, &below).await;
        reached.with_context(|| format!("{name} at {at:?} after {} kills", killed.len()))?;
        eprintln!("| {name} | {at:?} | {by:?} | {} |", pod.pod);
        let done = kill(namespace, &pod.pod, *by).await;
        if matches!(at, At::Publishing) {
            store.thaw().await?;
        }
        done?;
        killed.push(pod.pod);
    }
    let model = is_ready(namespace, name).await?;
    assert_eq!(training(&model).attempt, Some(i32::try_from(kills.len())? + 1), "{name}: {killed:?}");
    let listed = store.storage.list(&below).await?;
    let ending = |ending: &str| listed.iter().filter(|path| path.ends_with(ending)).count();
    assert_eq!(ending("/manifest.json"), 1, "{listed:#?}");
    let made = listed.iter().filter(|path| path.contains("/provenance/")).count();
    assert_eq!(made, 1, "it was trained to its end once: {listed:#?}");
    assert!(!listed.iter().any(|path| path.contains("/checkpoints/")), "{listed:#?}");
    let said = last_log(namespace, name).await?;
    assert!(said.contains("goes on from checkpoint") && said.contains("continued after epoch"), "{said}");
    Ok(model)
}

/// Enough that there is time to kill it, a few times each.
const EPOCHS: u32 = 1500;

#[tokio::test(flavor = "multi_thread")]
async fn training_that_is_killed_at_twelve_points_gives_one_revision_that_of_an_undisturbed_one()
-> anyhow::Result<()> {
    with_namespace("killed", async |namespace| {
        let store = Store::prepared(&namespace).await?;
        store.storage.put(&format!("{}/digits.csv", namespace.name), rows("digits")?).await?;
        namespace.apply(&digits(&namespace, "calm", EPOCHS, &[])).await?;
        let calm = async {
            // Others make it slow, so that the operator sees it at work.
            let seen = until(&namespace, "calm", "progress, or Ready", |model| {
                model.holds(ConditionType::Ready) || training(model).progress_percent.is_some()
            })
            .await?;
            eprintln!("| progress | {:?} |", training(&seen));
            is_ready(&namespace, "calm").await
        };
        let [drained, removed, struck, told] =
            [0, 1, 2, 3].map(|fate| befalls(&namespace, &store, &FATES[fate], EPOCHS));
        let (calm, drained, removed, struck, told) = tokio::try_join!(calm, drained, removed, struck, told)?;
        for model in [drained, removed, struck, told] {
            assert_eq!(active(&model)?.digest, active(&calm)?.digest);
            assert_eq!(training(&model).phase, Some(TrainingPhase::Succeeded));
        }
        Ok(())
    })
    .await
}
