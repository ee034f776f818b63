//! What real servers tell autoscalers of their load.
use std::sync::atomic::Ordering;

use modelwright_e2e::{
    autoscaler::{Autoscaler, trigger},
    forward::Forward,
    namespace::with_namespace,
};

use crate::{
    operator::{is_ready, load, manifest, prepared},
    serving::{TIMEOUT, example},
};

#[tokio::test(flavor = "multi_thread")]
async fn autoscaler_learns_how_busy_servers_are() -> anyhow::Result<()> {
    with_namespace("signals", async |namespace| {
        let storage = prepared(&namespace).await?;
        let uri = storage.put(&format!("{}/model.onnx", namespace.name), example("model.onnx")).await?;
        namespace.apply(&manifest(&uri, "  serving: {autoscaling: {mode: External}}\n")).await?;
        is_ready(&namespace).await?;
        let service = format!("{}-operator-scaler", namespace.name);
        let forward = Forward::to_service(namespace.client.clone(), &namespace.name, &service, 9092).await?;
        let mut autoscaler = Autoscaler::connect(forward.address()).await?;
        let busy = trigger(&namespace.name, "iris", "utilization", "70");
        let mut value = async |awaited: &str, wanted: fn(f64) -> bool| {
            let mut last = f64::NAN;
            for _ in 0..TIMEOUT.as_secs() {
                // The watches of the scaler may be a moment behind those of this test.
                if let Ok(value) = autoscaler.value(&busy).await {
                    last = value;
                    if wanted(value) {
                        return Ok(value);
                    }
                }
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            }
            anyhow::bail!("the utilization never was {awaited}; it is {last}")
        };
        value("zero", |value| value <= 0.0).await?;
        let (stop, requests) = load(&namespace);
        let share = value("more than zero", |value| value > 0.0).await?;
        stop.store(true, Ordering::Relaxed);
        let (sent, failed) = requests.await??;
        eprintln!("| utilization under {sent} requests one after the other | {share:.2} % |");
        assert_eq!(failed, 0);
        Ok(())
    })
    .await
}
