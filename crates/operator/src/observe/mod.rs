//! What is there of a Model beside itself. The controller fills it from its stores; nothing here asks the API server.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{Pod, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use modelwright_api::{Model, training::progress::TrainingProgress};

pub mod autoscalers;

/// Every object in the cluster that has to do with one Model. An object is here if it carries our labels, whoever owns it.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The account that pods run as.
    pub service_account: Option<Arc<ServiceAccount>>,
    /// The Service with the Model's name.
    pub service: Option<Arc<Service>>,
    /// The headless Service.
    pub headless_service: Option<Arc<Service>>,
    /// The disruption budget of server pods.
    pub disruption_budget: Option<Arc<PodDisruptionBudget>>,
    /// Who may reach server pods.
    pub network_policy: Option<Arc<NetworkPolicy>>,
    /// The headless Service of training pods.
    pub train_service: Option<Arc<Service>>,
    /// The server pods' Deployment.
    pub deployment: Option<Arc<Deployment>>,
    /// The autoscaler of that Deployment.
    pub autoscaler: Option<Arc<HorizontalPodAutoscaler>>,
    /// Autoscalers of others whose target is that Deployment or the Model, by name. They carry no label of ours.
    pub other_autoscalers: Vec<Arc<HorizontalPodAutoscaler>>,
    /// Jobs, in no order.
    pub jobs: Vec<Arc<Job>>,
    /// Pods of servers and Jobs, in no order.
    pub pods: Vec<Arc<Pod>>,
    /// What the pod that trains told of its progress, if one does: not from the cluster, and best effort.
    pub progress: Option<Progress>,
}

/// What the pod of a training told when it was asked last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The Job whose pod was asked.
    pub job: String,
    /// What it told last, if it ever did.
    pub told: Option<TrainingProgress>,
    /// Why it does not tell now, if it was asked more than once in vain.
    pub failure: Option<String>,
}

/// Whose an object is, seen from one Model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ownership {
    /// The Model controls it.
    Ours,
    /// Nobody controls it: it may be taken.
    Nobodys,
    /// A Model of the same name that was deleted controls it; the garbage collector removes it.
    FormerModels,
    /// Somebody else controls it.
    Foreign,
}

/// Whose an object with this metadata is, for this Model.
pub fn ownership_for(model: &Model, metadata: &ObjectMeta) -> Ownership {
    let name = model.metadata.name.as_deref().unwrap_or_default();
    ownership(metadata, name, model.metadata.uid.as_deref().unwrap_or_default())
}

/// Whose an object with this metadata is, for the Model with this name and uid.
pub fn ownership(metadata: &ObjectMeta, name: &str, uid: &str) -> Ownership {
    let controller =
        metadata.owner_references.iter().flatten().find(|reference| reference.controller == Some(true));
    match controller {
        Some(owner) if owner.uid == uid => Ownership::Ours,
        Some(owner)
            if owner.name == name
                && owner.kind == modelwright_api::contract::KIND
                && owner.api_version.starts_with(modelwright_api::contract::GROUP) =>
        {
            Ownership::FormerModels
        }
        Some(_) => Ownership::Foreign,
        None => Ownership::Nobodys,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("modelwright.dev/v1alpha1", "Model", "bc", "1", Ownership::Ours)]
    #[case("modelwright.dev/v1alpha1", "Model", "bc", "0", Ownership::FormerModels)]
    #[case("modelwright.dev/v1alpha1", "Model", "other", "2", Ownership::Foreign)]
    #[case("example.com/v1", "Model", "bc", "3", Ownership::Foreign)]
    #[case("apps/v1", "Deployment", "bc", "4", Ownership::Foreign)]
    fn controller_decides_whose_an_object_is(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] name: &str,
        #[case] uid: &str,
        #[case] expected: Ownership,
    ) {
        let owner =
            json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true});
        let metadata = serde_json::from_value(json!({"name": "bc", "ownerReferences": [owner]})).unwrap();
        assert_eq!(ownership(&metadata, "bc", "1"), expected);
    }
}
