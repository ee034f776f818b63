//! Rows on a volume.
use anyhow::Context as _;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::{Api, api::DeleteParams};
use modelwright_e2e::{
    images,
    namespace::{TestNamespace, with_namespace},
    wait,
};
use serde_json::json;

use super::{
    builtin::rows,
    story::{TIMEOUT, has_reason, is_ready, prepared, training, until},
};

/// Puts rows into a folder of the node, by a pod that may: those of trainings may not.
async fn rows_on_node(namespace: &TestNamespace, folder: &str) -> anyhow::Result<()> {
    let rows = String::from_utf8(rows("penguins")?)?;
    let objects = [
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"data.csv": rows}}),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy"},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "copy", "image": images::busybox(),
                    "command": ["/bin/busybox", "cp", "-L", "/from/data.csv", "/to/data.csv"],
                    "volumeMounts": [{"name": "from", "mountPath": "/from"}, {"name": "to", "mountPath": "/to"}],
                }],
                "volumes": [
                    {"name": "from", "configMap": {"name": "rows"}},
                    {"name": "to", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}},
                ],
            },
        }),
    ];
    for object in objects {
        namespace.apply(&object.to_string()).await?;
    }
    wait::pod(&namespace.api::<Pod>(), "copy", "rows on the node", TIMEOUT, |pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded")
    })
    .await?;
    Ok(())
}

fn volume(namespace: &TestNamespace, folder: &str) -> [serde_json::Value; 2] {
    let size = json!({"storage": "1Mi"});
    [
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace.name},
            "spec": {
                "capacity": size, "accessModes": ["ReadOnlyMany"], "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "", "hostPath": {"path": folder},
                "claimRef": {"namespace": namespace.name, "name": "lake"},
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "lake"},
            "spec": {
                "accessModes": ["ReadOnlyMany"], "storageClassName": "", "volumeName": namespace.name,
                "resources": {"requests": size},
            },
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_on_a_volume_are_trained_on_as_soon_as_their_claim_is_there() -> anyhow::Result<()> {
    with_namespace("volume-node", async |node| {
        with_namespace("volume", async |namespace| {
            let folder = format!("/tmp/{}", namespace.name);
            rows_on_node(&node, &folder).await?;
            prepared(&namespace).await?;
            let model = json!({
                "apiVersion": "modelwright.dev/v1alpha1", "kind": "Model", "metadata": {"name": "penguins"},
                "spec": {"training": {
                    "data": {"source": {"uri": "pvc://lake/data.csv"}, "target": "species"},
                    "builtin": {"seed": 7},
                    "output": {
                        "uri": format!("s3://models/{}/out", namespace.name), "credentialsSecretRef": {"name": "s3"},
                    },
                }},
            });
            namespace.apply(&model.to_string()).await?;
            let waiting = has_reason(&namespace, "penguins", "VolumeUnavailable").await?;
            let said = training(&waiting).message.context("no message")?;
            eprintln!("| VolumeUnavailable | {said} |");
            assert!(said.contains("lake"), "{said}");
            for object in volume(&namespace, &folder) {
                namespace.apply(&object.to_string()).await?;
            }
            let model = is_ready(&namespace, "penguins").await?;
            assert_eq!(training(&model).attempt, Some(1), "its pod waited");

            // A file that is not on the volume.
            let patch = json!({"spec": {"training": {"data": {"source": {"uri": "pvc://lake/other.csv"}}}}});
            let models = namespace.api::<modelwright_api::Model>();
            models.patch("penguins", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&patch)).await?;
            let model = until(&namespace, "penguins", "a file that is not there", |model| {
                training(model).reason.as_deref() == Some("SourceNotFound")
            })
            .await?;
            let said = training(&model).message.context("no message")?;
            assert!(said.contains("pvc://lake/other.csv"), "{said}");
            let volumes: Api<PersistentVolume> = Api::all(namespace.client.clone());
            volumes.delete(&namespace.name, &DeleteParams::default()).await?;
            Ok(())
        })
        .await
    })
    .await
}
