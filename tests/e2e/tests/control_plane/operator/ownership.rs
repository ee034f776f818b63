//! What belongs to somebody else is not taken.
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Service, ServiceAccount},
};
use kube::api::DeleteParams;
use modelwright_e2e::{crd, namespace::with_scripted_node, operator::Operator};
use rstest::rstest;

use super::story::{condition, model, reason, resolves_to, serves};

#[rstest]
#[case::service(
    "Service",
    "{apiVersion: v1, kind: Service, metadata: {name: bc}, spec: {selector: {app: shop}, ports: [{port: 80}]}}"
)]
#[case::account("ServiceAccount", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: bc}}")]
#[case::deployment(
    "Deployment",
    "{apiVersion: apps/v1, kind: Deployment, metadata: {name: bc}, spec: {replicas: 0, selector: {matchLabels: {app: shop}}, \
     template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: shop, image: 'nothing:1'}]}}}}"
)]
#[case::budget(
    "PodDisruptionBudget",
    "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: bc}, spec: {minAvailable: 1, selector: {matchLabels: {app: shop}}}}"
)]
#[tokio::test(flavor = "multi_thread")]
async fn object_of_somebody_else_is_refused_until_it_is_gone(
    #[case] kind: &'static str,
    #[case] object: &'static str,
) -> anyhow::Result<()> {
    with_scripted_node("conflict", async |namespace, node| {
        crd::install(&namespace.client).await?;
        namespace.apply(object).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "")).await?;
        let found = reason(&namespace, "bc", "NameConflict").await?;
        let message = &condition(&found, "Ready").unwrap().message;
        assert!(message.contains(&format!("{kind}/bc")), "{message}");
        let owned = match kind {
            "Service" => namespace.api::<Service>().get("bc").await?.metadata.owner_references,
            "ServiceAccount" => namespace.api::<ServiceAccount>().get("bc").await?.metadata.owner_references,
            "Deployment" => namespace.api::<Deployment>().get("bc").await?.metadata.owner_references,
            _ => None,
        };
        assert!(owned.is_none(), "it was taken over: {owned:?}");

        match kind {
            "Service" => drop(namespace.api::<Service>().delete("bc", &DeleteParams::default()).await?),
            "ServiceAccount" => {
                drop(namespace.api::<ServiceAccount>().delete("bc", &DeleteParams::default()).await?);
            }
            "Deployment" => drop(namespace.api::<Deployment>().delete("bc", &DeleteParams::default()).await?),
            _ => drop(
                namespace
                    .api::<k8s_openapi::api::policy::v1::PodDisruptionBudget>()
                    .delete("bc", &DeleteParams::default())
                    .await?,
            ),
        }
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn model_that_is_made_anew_waits_for_the_children_of_the_former() -> anyhow::Result<()> {
    with_scripted_node("anew", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        resolves_to(node, 'a');
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        let models = namespace.api::<modelwright_api::Model>();
        models.delete("bc", &DeleteParams::default()).await?;
        resolves_to(node, 'b');
        namespace.apply(&model("bc", "")).await?;
        serves(&namespace, "bc", 'b').await?;
        Ok(())
    })
    .await
}
