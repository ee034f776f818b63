//! Many pods at once, measured. Times are printed and never asserted: they are the machine's. The API server counts the
//! requests of every client, so figures to keep are those of a run of this test alone.
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use modelwright_e2e::{load::Meter, namespace::with_scripted_node, wait};

use crate::objects;

const PODS: u32 = 1000;
const TIMEOUT: Duration = Duration::from_mins(10);

#[tokio::test(flavor = "multi_thread")]
async fn thousand_pods_become_ready() -> anyhow::Result<()> {
    with_scripted_node("scale", async |namespace, _| {
        let meter = Meter::start(&namespace.client).await?;
        namespace.apply(&objects::deployment("many", PODS, "1")).await?;
        wait::deployment_available(&namespace.api::<Deployment>(), "many", TIMEOUT).await?;
        eprintln!("| {PODS} pods of one Deployment, all Ready | {} |", meter.load().await?);
        Ok(())
    })
    .await
}
