//! What stands on every child: its name, its owner, and the labels by which it is found and selected.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use modelwright_api::{
    Model,
    contract::{self, labels},
};

/// Who a Model is, as its children need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner<'a> {
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) uid: &'a str,
    /// The operator's version.
    pub(super) version: &'a str,
}

impl<'a> Owner<'a> {
    pub(super) fn of(model: &'a Model, version: &'a str) -> Self {
        let metadata = &model.metadata;
        let text = |field: &'a Option<String>| field.as_deref().unwrap_or_default();
        Self {
            name: text(&metadata.name),
            namespace: text(&metadata.namespace),
            uid: text(&metadata.uid),
            version,
        }
    }

    /// The metadata of a child.
    ///
    /// The owner reference does not block the owner's deletion: that would need the right to change finalizers of Models,
    /// and nothing waits for it.
    pub(super) fn child(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(self.labels()),
            owner_references: Some(vec![OwnerReference {
                api_version: contract::API_VERSION.to_owned(),
                kind: contract::KIND.to_owned(),
                name: self.name.to_owned(),
                uid: self.uid.to_owned(),
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        }
    }

    /// The labels of every child.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        strings([
            (labels::MODEL, self.name),
            (labels::APP_NAME, contract::APPLICATION),
            (labels::APP_INSTANCE, self.name),
            (labels::APP_MANAGED_BY, contract::APPLICATION),
            (labels::APP_VERSION, self.version),
        ])
    }

    /// The labels of a pod with this role.
    pub(super) fn pod_labels(&self, role: &str) -> BTreeMap<String, String> {
        let mut labels = self.labels();
        labels.insert(contract::labels::ROLE.to_owned(), role.to_owned());
        labels
    }

    /// What Service, disruption budget and network policy select.
    pub(super) fn server_selector(&self) -> BTreeMap<String, String> {
        strings([(labels::MODEL, self.name), (labels::ROLE, labels::ROLE_SERVER)])
    }

    /// What the Deployment selects; it can never be changed.
    pub(super) fn deployment_selector(&self) -> BTreeMap<String, String> {
        strings([(labels::MODEL, self.name), (labels::TRACK, labels::TRACK_STABLE)])
    }
}

pub(super) fn selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

/// A map of texts from pairs.
pub(super) fn strings<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
