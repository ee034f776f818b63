//! The operator dies at each of its writes in turn, and another takes over.
use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job};
use kube::api::{DeleteParams, ListParams};
use modelwright_api::Model;
use modelwright_e2e::{
    cluster, crd,
    faults::{Fault, FaultyApi, Requests},
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::ScriptedNode,
    wait::{self, Seen},
};

use super::story::TIMEOUT;

/// How many namespaces the deaths are spread over, to be done sooner.
const SIDE_BY_SIDE: u64 = 4;

/// Goes through `course` undisturbed, and then once for each write of the operator, at which it dies. `course` makes the Model `bc`,
/// watches what must never be, and returns what is there in the end, which must be the same each time. Returns at how many writes
/// the operator died.
pub(super) async fn at_each_write(
    name: &str,
    course: &impl AsyncFn(&TestNamespace, &ScriptedNode) -> anyhow::Result<String>,
) -> anyhow::Result<u64> {
    let groups = (0..SIDE_BY_SIDE).map(|group| async move {
        let mut most = 0;
        with_scripted_node(name, async |namespace, node| {
            crd::install(&namespace.client).await?;
            let api = FaultyApi::start(cluster::config().await?).await?;
            // A write that there is not: nobody dies.
            let (undisturbed, died) = at_write(&namespace, node, &api, 1_000_000, course).await?;
            assert!(!died);
            for write in (group + 1..).step_by(usize::try_from(SIDE_BY_SIDE)?) {
                let (state, died) = at_write(&namespace, node, &api, write, course).await?;
                assert_eq!(state, undisturbed, "after a death at write {write}");
                if !died {
                    break;
                }
                most = write;
            }
            Ok(())
        })
        .await
        .map(|()| most)
    });
    Ok(futures::future::try_join_all(groups).await?.into_iter().max().unwrap_or(0))
}

/// An operator that begins at once: the Lease of one that was killed would have to run out first.
fn without_election(namespace: &TestNamespace, api: &FaultyApi) -> anyhow::Result<Operator> {
    Operator::of(namespace).through(api, None).environment("MODELWRIGHT_LEADER_ELECTION", "false").start()
}

/// The operator dies at its n-th write, whether that reached the API server or not. Returns what is there in the end, and whether
/// there were so many writes.
async fn at_write(
    namespace: &TestNamespace,
    node: &ScriptedNode,
    api: &FaultyApi,
    write: u64,
    course: &impl AsyncFn(&TestNamespace, &ScriptedNode) -> anyhow::Result<String>,
) -> anyhow::Result<(String, bool)> {
    let fault = if write.is_multiple_of(2) { Fault::lost_answer() } else { Fault::refused() };
    let fault = api.inject(fault.on(Requests::writes().except("events")).nth(write));
    let mut operator = Some(without_election(namespace, api)?);
    let killer = async {
        while fault.hits() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        operator.take().map(Operator::kill).transpose()?;
        operator = Some(without_election(namespace, api)?);
        std::future::pending::<anyhow::Result<()>>().await
    };
    let state = tokio::select! {
        state = course(namespace, node) => state?,
        failed = killer => { failed?; unreachable!() }
    };
    delete(namespace).await?;
    drop(operator);
    Ok((state, fault.remove() > 0))
}

/// Deletes the Model, and waits until nothing is left of it.
async fn delete(namespace: &TestNamespace) -> anyhow::Result<()> {
    namespace.api::<Model>().delete("bc", &DeleteParams::default()).await?;
    wait::gone(&namespace.api::<Deployment>(), "bc", TIMEOUT).await?;
    let jobs = namespace.api::<Job>();
    wait::wait_for("no Jobs", TIMEOUT, || async {
        let left = jobs.list_metadata(&ListParams::default()).await?.items.len();
        Ok(Seen::or_else_saw((left == 0).then_some(()), left))
    })
    .await
}
