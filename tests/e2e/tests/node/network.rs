//! What a network that enforces policies makes of `spec.serving.networkPolicy`.
use std::time::Duration;

use anyhow::{Context as _, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};
use modelwright_e2e::{
    chart,
    namespace::{TestNamespace, with_namespace},
    pods,
    storage::Storage,
    wait::{self, Seen},
};
use serde_json::json;

use crate::serving::{SECRET, TIMEOUT, example, reaches, restrict};

const WHY: &str = "needs a network that enforces policies: cargo xtask e2e network";

fn model(uri: &str, from: &str) -> String {
    format!(
        "apiVersion: modelwright.dev/v1alpha1\nkind: Model\nmetadata: {{name: iris}}\nspec:\n  \
         source: {{uri: '{uri}', credentialsSecretRef: {{name: {SECRET}}}}}\n  \
         serving: {{networkPolicy: {{enabled: true{from}}}}}\n"
    )
}

/// The address of the only server, once it is ready.
async fn server(namespace: &TestNamespace) -> anyhow::Result<String> {
    let pods: Api<Pod> = namespace.api();
    wait::wait_for("a ready server", TIMEOUT, || async {
        let servers = pods.list(&ListParams::default().labels("modelwright.dev/role=server")).await?;
        let ready = servers.iter().find(|pod| pods::is_ready(pod));
        let address = ready.and_then(|pod| pod.status.as_ref()?.pod_ip.clone());
        Ok(Seen::or_else_saw(
            address,
            format!("{:?}", servers.iter().map(ResourceExt::name_any).collect::<Vec<_>>()),
        ))
    })
    .await
}

/// Who reaches both ports of a server: a client of its namespace, and one of another.
async fn who_reaches(
    server: &str,
    home: &TestNamespace,
    away: &TestNamespace,
    round: &str,
) -> anyhow::Result<[bool; 4]> {
    let data = format!("http://{server}:8080/v2/health/live");
    let admin = format!("http://{server}:9090/metrics");
    Ok([
        reaches(home, &format!("data-{round}"), &data).await?,
        reaches(home, &format!("admin-{round}"), &admin).await?,
        reaches(away, &format!("data-{round}"), &data).await?,
        reaches(away, &format!("admin-{round}"), &admin).await?,
    ])
}

/// Rules come to the network a moment after they come to the API server.
async fn settles(
    server: &str,
    home: &TestNamespace,
    away: &TestNamespace,
    name: &str,
    expected: [bool; 4],
) -> anyhow::Result<()> {
    let mut seen = [false; 4];
    for attempt in 0..10 {
        seen = who_reaches(server, home, away, &format!("{name}-{attempt}")).await?;
        if seen == expected {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    ensure!(
        seen == expected,
        "{name}: data and admin from home, data and admin from away: {seen:?}, not {expected:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a network that enforces policies: cargo xtask e2e network"]
async fn only_admitted_clients_reach_a_server() -> anyhow::Result<()> {
    with_namespace("policies", async |home| {
        restrict(&home).await?;
        let storage = Storage::connect(home.client.clone()).await?;
        storage.create_secret(&home.name, SECRET).await?;
        chart::install(&home).await?;
        let uri = storage.put(&format!("{}/model.onnx", home.name), example("model.onnx")).await?;
        with_namespace("elsewhere", async |away| {
            // Without a list of clients: the Model's own namespace, and nobody else.
            home.apply(&model(&uri, "")).await?;
            let address = server(&home).await?;
            settles(&address, &home, &away, "own", [true, true, false, false]).await?;

            // With one: those, and nobody else; but the operator's namespace, which is the Model's here, at the admin port.
            let label =
                json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": away.name}}});
            home.apply(&model(&uri, &format!(", from: [{label}]"))).await?;
            settles(&address, &home, &away, "listed", [false, true, true, true]).await?;

            // Without a policy everybody is admitted.
            home.apply(&model(&uri, "").replace("enabled: true", "enabled: false")).await?;
            settles(&address, &home, &away, "none", [true; 4]).await
        })
        .await
        .context(WHY)
    })
    .await
}
