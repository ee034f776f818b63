//! The custom resource definitions of Modelwright.
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};

use crate::{
    apply::FIELD_MANAGER,
    wait::{self, Seen},
};

/// Installs the definitions as the types say, or brings them up to date, and waits until the API server serves them.
pub async fn install(client: &Client) -> anyhow::Result<()> {
    let definition = modelwright_api::crd::typed()?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    definitions.patch(&definition.name_any(), &apply, &Patch::Apply(&definition)).await?;
    wait::object(&definitions, &definition.name_any(), "Established", Duration::from_secs(30), |found| {
        let conditions = found.status.as_ref().and_then(|status| status.conditions.as_ref());
        let condition = conditions.into_iter().flatten().find(|condition| condition.type_ == "Established");
        Seen::or_else_saw(
            condition.filter(|condition| condition.status == "True").map(|_| ()),
            format!("{conditions:?}"),
        )
    })
    .await
}
