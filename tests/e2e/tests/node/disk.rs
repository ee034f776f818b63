//! Disks that are too small for a model, on a real node.
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use modelwright_api::Model;
use modelwright_e2e::{disruption::course::described, namespace::with_namespace};
use serde_json::json;

use crate::{
    operator::{answers, has_reason, is_ready, manifest, prepared, words},
    serving::example,
};

/// A model of more than 4 MB.
fn large() -> Vec<u8> {
    described(&example("model.onnx"), &"x".repeat(4 << 20))
}

#[tokio::test(flavor = "multi_thread")]
async fn volume_that_is_full_is_named_and_heals_when_it_is_larger() -> anyhow::Result<()> {
    with_namespace("full", async |namespace| {
        let storage = prepared(&namespace).await?;
        let uri = storage.put(&format!("{}/model.onnx", namespace.name), large()).await?;
        let volume = |size: &str| {
            json!({"spec": {"serving": {"podTemplate": {"spec": {"volumes": [
                {"name": "model", "emptyDir": {"medium": "Memory", "sizeLimit": size}},
            ]}}}}})
        };
        namespace
            .apply(&manifest(&uri, &format!("  serving: {}\n", volume("1Mi")["spec"]["serving"])))
            .await?;
        let model = has_reason(&namespace, "DiskFull").await?;
        assert!(words(&model).contains("no space left to write"), "{}", words(&model));
        let models: Api<Model> = namespace.api();
        models.patch("iris", &PatchParams::default(), &Patch::Merge(&volume("16Mi"))).await?;
        is_ready(&namespace).await?;
        answers(&namespace).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pod_that_is_evicted_for_what_it_wrote_names_the_limit_to_raise() -> anyhow::Result<()> {
    with_namespace("evicted", async |namespace| {
        let storage = prepared(&namespace).await?;
        let uri = storage.put(&format!("{}/model.onnx", namespace.name), large()).await?;
        let limit = |size: &str| json!({"resources": {"limits": {"ephemeral-storage": size}}});
        namespace.apply(&manifest(&uri, &format!("  serving: {}\n", limit("2Mi")))).await?;
        let model = has_reason(&namespace, "Evicted").await?;
        assert!(
            words(&model).contains("spec.serving.resources.limits.ephemeral-storage"),
            "{}",
            words(&model)
        );
        let models: Api<Model> = namespace.api();
        let raised = json!({"spec": {"serving": limit("64Mi")}});
        models.patch("iris", &PatchParams::default(), &Patch::Merge(&raised)).await?;
        is_ready(&namespace).await?;
        answers(&namespace).await
    })
    .await
}
