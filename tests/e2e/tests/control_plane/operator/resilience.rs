//! The operator dies, the API server goes away, two operators run.
use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, coordination::v1::Lease};
use kube::{ResourceExt as _, api::ListParams};
use modelwright_e2e::{
    cluster, crd,
    faults::{Fault, FaultyApi, Requests},
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::{ContainerScript, PodScript, ScriptedNode},
    wait::{self, Seen},
};
use serde_json::json;

use super::{
    death,
    story::{self, TIMEOUT, digest, failure, model, resolves_to, serves},
};

/// Every object that a Model should have in the end, without what differs from run to run.
async fn state(namespace: &TestNamespace) -> anyhow::Result<String> {
    let (deployment, _, jobs) = story::work(namespace, "bc").await?;
    let mut annotations = deployment.annotations().clone();
    if let Some(why) = annotations.get_mut("modelwright.dev/rejected-for") {
        // It names the pod.
        why.truncate(why.find(':').unwrap_or(why.len()));
    }
    let template = deployment.spec.unwrap().template;
    Ok(format!("{annotations:#?} {jobs:?} {}", serde_json::to_string(&template)?))
}

/// Watches that there never are two resolve Jobs at once.
async fn never_two_jobs(namespace: &TestNamespace) -> anyhow::Result<()> {
    loop {
        let jobs = namespace.api::<Job>().list(&ListParams::default()).await?;
        let over = |job: &&Job| {
            let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions.is_some_and(|conditions| !conditions.is_empty())
        };
        let active: Vec<_> = jobs.iter().filter(|job| !over(job)).map(kube::ResourceExt::name_any).collect();
        anyhow::ensure!(active.len() <= 1, "two Jobs at once: {active:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Create, update, roll back and delete.
async fn course(namespace: &TestNamespace, node: &ScriptedNode) -> anyhow::Result<String> {
    resolves_to(node, 'a');
    namespace.apply(&model("bc", "  serving: {replicas: 2}\n")).await?;
    serves(namespace, "bc", 'a').await?;
    resolves_to(node, 'b');
    story::change(
        namespace,
        "bc",
        json!({"serving": {"replicas": 1}, "source": {"uri": "s3://models/other"}}),
    )
    .await?;
    serves(namespace, "bc", 'b').await?;
    let wrong = ContainerScript::exits(failure(76, "DigestMismatch", "expected sha256:c, found sha256:d"));
    story::servers_of(node, 'c', PodScript::default().container("fetch", wrong));
    resolves_to(node, 'c');
    story::resolve_again(namespace, "bc", "1").await?;
    story::reason(namespace, "bc", "RolledBack").await?;
    wait::object(&namespace.api::<Deployment>(), "bc", "revision b again", TIMEOUT, |deployment| {
        let right = deployment.annotations().get("modelwright.dev/digest") == Some(&digest('b'));
        Seen::or_else_saw(right.then_some(()), format!("{:?}", deployment.annotations()))
    })
    .await?;
    state(namespace).await
}

#[tokio::test(flavor = "multi_thread")]
async fn death_at_any_write_ends_in_the_same_objects() -> anyhow::Result<()> {
    let watched = async |namespace: &TestNamespace, node: &ScriptedNode| {
        tokio::select! {
            state = course(namespace, node) => state,
            two = never_two_jobs(namespace) => { two?; unreachable!() }
        }
    };
    let most = death::at_each_write("death", &watched).await?;
    eprintln!("| writes at which the operator was killed | 1 to {most} |");
    assert!(most > 15, "{most}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_waits_for_an_api_server_that_is_away_and_goes_on() -> anyhow::Result<()> {
    with_scripted_node("away", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let mut api = FaultyApi::start(cluster::config().await?).await?;
        resolves_to(node, 'a');
        let mut operator = Operator::of(&namespace).through(&api, None).start()?;
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        api.stop().await;
        // Longer than the Lease is renewed: it must stop leading, at the latest now.
        wait::wait_for("the operator to end", TIMEOUT, || {
            let ended = operator.ended();
            async move { Ok(Seen::or_else_saw(ended?, "it runs")) }
        })
        .await?;
        assert_eq!(operator.ended()?.and_then(|status| status.code()), Some(75), "{}", operator.log());
        // Started again by the kubelet, it waits.
        let mut operator = Operator::of(&namespace).through(&api, None).start()?;
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert!(operator.ended()?.is_none(), "{}", operator.log());
        namespace.apply(&model("later", "")).await?;
        api.resume().await?;
        serves(&namespace, "later", 'a').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn second_operator_takes_over_at_once_from_one_that_ends_well() -> anyhow::Result<()> {
    with_scripted_node("handover", async |namespace, node| {
        crd::install(&namespace.client).await?;
        resolves_to(node, 'a');
        let first = Operator::of(&namespace).start()?;
        let leases = namespace.api::<Lease>();
        let holder = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        let held = wait::object(&leases, "modelwright-operator", "a holder", TIMEOUT, |lease| {
            Seen::or_else_saw(
                holder(lease).filter(|holder| !holder.is_empty()),
                format!("{:?}", holder(lease)),
            )
        })
        .await?;
        let _second = Operator::of(&namespace).start()?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(first.stop().await?.success());
        wait::object(&leases, "modelwright-operator", "another holder", Duration::from_secs(10), |lease| {
            let now = holder(lease).filter(|now| !now.is_empty() && *now != held);
            Seen::or_else_saw(now, format!("{:?}", holder(lease)))
        })
        .await?;
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn flaky_api_server_delays_and_loses_nothing() -> anyhow::Result<()> {
    with_scripted_node("flaky", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let api = FaultyApi::start(cluster::config().await?).await?;
        api.inject(Fault::answer(500).on(Requests::writes()).every(5));
        api.inject(Fault::answer(409).on(Requests::writes()).every(7));
        api.inject(Fault::latency(Duration::from_millis(30)).on(Requests::any()));
        let _operator = Operator::of(&namespace).through(&api, None).start()?;
        resolves_to(node, 'a');
        for name in ["m1", "m2", "m3", "m4", "m5"] {
            namespace.apply(&model(name, "")).await?;
        }
        for name in ["m1", "m2", "m3", "m4", "m5"] {
            serves(&namespace, name, 'a').await?;
            api.cut_watches();
        }
        Ok(())
    })
    .await
}
