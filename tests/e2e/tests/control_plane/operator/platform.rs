//! Parts of the cluster are away: the operator, a node. What the Models say meanwhile, and what becomes of them.
use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Pod},
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use modelwright_api::Model;
use modelwright_e2e::{
    crd,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::ScriptedNode,
    wait::{self, Seen},
};
use serde_json::json;

use super::story::{self, TIMEOUT, condition, model, resolves_to, serves, words};

/// Until Kubernetes has given up a node: 50 s after it heard of it last, and as long again on a busy machine.
const NODE_LOSS: Duration = Duration::from_mins(4);

/// The pods that serve a Model.
async fn servers(namespace: &TestNamespace, name: &str) -> anyhow::Result<BTreeSet<String>> {
    let labels = format!("modelwright.dev/model={name},modelwright.dev/role=server");
    let pods = namespace.api::<Pod>().list(&ListParams::default().labels(&labels)).await?;
    Ok(pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).filter_map(Pod::uid).collect())
}

async fn has_ready(namespace: &TestNamespace, name: &str, number: i32) -> anyhow::Result<Model> {
    let awaited = format!("{number} ready pods");
    wait::object(&namespace.api::<Model>(), name, awaited, TIMEOUT, |model| {
        let ready = model.status.as_ref().and_then(|status| status.ready_replicas);
        Seen::or_else_saw((ready == Some(number)).then(|| model.clone()), words(model))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_made_while_no_operator_runs_are_carried_out_afterwards_and_nothing_restarts()
-> anyhow::Result<()> {
    with_scripted_node("absent", async |namespace, node| {
        crd::install(&namespace.client).await?;
        resolves_to(node, 'a');
        let operator = Operator::of(&namespace).start()?;
        for name in ["quiet", "edited", "deleted"] {
            namespace.apply(&model(name, "")).await?;
        }
        for name in ["quiet", "edited", "deleted"] {
            serves(&namespace, name, 'a').await?;
            story::at_rest(&namespace, name).await?;
        }
        let (quiet, edited) = (servers(&namespace, "quiet").await?, servers(&namespace, "edited").await?);
        assert!(operator.stop().await?.success());

        story::change(&namespace, "edited", json!({"serving": {"replicas": 2}})).await?;
        namespace.api::<Model>().delete("deleted", &DeleteParams::default()).await?;
        namespace.apply(&model("made", "")).await?;
        // Owner references need no operator.
        wait::gone(&namespace.api::<Deployment>(), "deleted", TIMEOUT).await?;

        let _operator = Operator::of(&namespace).start()?;
        serves(&namespace, "made", 'a').await?;
        has_ready(&namespace, "edited", 2).await?;
        assert!(servers(&namespace, "edited").await?.is_superset(&edited));
        assert_eq!(servers(&namespace, "quiet").await?, quiet);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_takes_over_from_one_that_died_when_its_lease_is_over() -> anyhow::Result<()> {
    with_scripted_node("dead", async |namespace, node| {
        crd::install(&namespace.client).await?;
        resolves_to(node, 'a');
        let start = || Operator::of(&namespace).environment("MODELWRIGHT_LEASE_DURATION", "5s").start();
        let first = start()?;
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        first.kill()?;
        let _second = start()?;
        namespace.apply(&model("later", "")).await?;
        serves(&namespace, "later", 'a').await?;
        Ok(())
    })
    .await
}

/// Waits until the condition `Ready` says that.
async fn says(namespace: &TestNamespace, ready: bool, part: &str) -> anyhow::Result<Model> {
    let awaited = format!("Ready={ready} with {part:?}");
    wait::object(&namespace.api::<Model>(), "bc", awaited, NODE_LOSS, |model| {
        let found = condition(model, "Ready").is_some_and(|condition| condition.message.contains(part));
        let right = model.holds(modelwright_api::conditions::ConditionType::Ready) == ready;
        Seen::or_else_saw((found && right).then(|| model.clone()), words(model))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn node_that_is_lost_is_named_and_its_pods_are_replaced() -> anyhow::Result<()> {
    with_scripted_node("lost", async |namespace, node| {
        crd::install(&namespace.client).await?;
        resolves_to(node, 'a');
        let nodes: Api<Node> = Api::all(namespace.client.clone());
        let other = format!("{}-b", namespace.name);
        let builder = || ScriptedNode::builder(namespace.client.clone(), &other).pool(&namespace.name);
        let doomed = builder().start().await?;
        let closed = |closed: bool| Patch::Merge(json!({"spec": {"unschedulable": closed}}));
        let cordon = async |name: &str, is_closed: bool| {
            nodes.patch(name, &PatchParams::default(), &closed(is_closed)).await
        };
        let _operator = Operator::of(&namespace).start()?;
        // So the server comes to the other one.
        cordon(node.name(), true).await?;
        resolves_to(&doomed, 'a');
        let tolerated: Vec<_> = ["unreachable", "not-ready"]
            .map(|taint| {
                let key = format!("node.kubernetes.io/{taint}");
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10})
            })
            .into();
        let overlay = json!({"spec": {"tolerations": tolerated}});
        namespace.apply(&model("bc", &format!("  serving: {{podTemplate: {overlay}}}\n"))).await?;
        serves(&namespace, "bc", 'a').await?;
        cordon(node.name(), false).await?;

        // As a node that is switched off.
        drop(doomed);
        says(&namespace, false, &format!("node {other} is not heard of since")).await?;
        // Its pod is replaced on the first node, and cannot end on its own.
        says(&namespace, true, &format!("node {other} does not confirm")).await?;
        let back = builder().start().await?;
        story::at_rest(&namespace, "bc").await?;
        serves(&namespace, "bc", 'a').await?;
        back.stop().await
    })
    .await
}
