//! Puts the former pods back, from the `ReplicaSet` that made them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, ReplicaSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Resource, ResourceExt, api::ListParams};
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::{GROUP, annotations, field_managers, names},
};

use super::{
    refused::Refused,
    writer::{Known, Writer},
};
use crate::plan::{Restore, said_of_rejection};

impl Writer<'_> {
    /// Applies the template of former pods. Returns whether it is written.
    pub(super) async fn restore(&mut self, restore: &Restore, deployment: Option<&Deployment>) -> bool {
        let name = names::child(&self.key.name);
        let restored = match deployment {
            Some(deployment) => self.restored(restore, deployment).await,
            None => Err(nothing_to_go_back_to(restore, &name)),
        };
        match restored {
            Ok(restored) => {
                let known = Known::of(deployment);
                self.write(&restored, known, &name, field_managers::TEMPLATE).await
            }
            Err(refused) => self.note::<Deployment>(&name, Err(refused)),
        }
    }

    async fn restored(&self, restore: &Restore, deployment: &Deployment) -> Result<Deployment, Refused> {
        let name = deployment.name_any();
        let labels = deployment.spec.iter().filter_map(|spec| spec.selector.match_labels.as_ref()).flatten();
        let selector: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
        let params = ListParams::default().labels(&selector.join(","));
        let sets = self.api::<ReplicaSet>().list(&params).await;
        let sets = sets.map_err(|error| Refused::because::<Deployment>(&name, &error))?;
        let template = former_template(&sets.items, restore, deployment.meta().uid.as_deref());
        let template = template.ok_or_else(|| nothing_to_go_back_to(restore, &name))?;
        Ok(with_template(deployment, template, restore, &self.uid))
    }
}

fn nothing_to_go_back_to(restore: &Restore, name: &str) -> Refused {
    let message = format!(
        "{} The former pods cannot be put back: no ReplicaSet of Deployment/{name} holds them any more; change the spec",
        restore.cause.message
    );
    Refused::Because(Cause::new(Reason::ProgressDeadlineExceeded, message))
}

/// The template that the wanted pods were made from.
fn former_template(
    sets: &[ReplicaSet],
    restore: &Restore,
    deployment: Option<&str>,
) -> Option<PodTemplateSpec> {
    let ours = |set: &&ReplicaSet| {
        let mut owners = set.owner_references().iter();
        owners.any(|owner| owner.controller == Some(true) && Some(owner.uid.as_str()) == deployment)
    };
    let mut templates = sets.iter().filter(ours).filter_map(|set| set.spec.as_ref()?.template.as_ref());
    let rendered_from = |template: &&PodTemplateSpec| {
        let metadata = template.metadata.as_ref();
        metadata.and_then(|metadata| metadata.annotations.as_ref()?.get(annotations::RENDERED_FROM))
            == Some(&restore.rendered_from)
    };
    let mut template = templates.find(rendered_from)?.clone();
    // The Deployment's controller adds it to each ReplicaSet's template, and would refuse to work with it in its own.
    if let Some(labels) = template.metadata.as_mut().and_then(|metadata| metadata.labels.as_mut()) {
        labels.remove("pod-template-hash");
    }
    Some(template)
}

/// What is applied: the former template in the Deployment as it is now.
fn with_template(
    observed: &Deployment,
    template: PodTemplateSpec,
    restore: &Restore,
    uid: &str,
) -> Deployment {
    let metadata = ObjectMeta {
        name: observed.metadata.name.clone(),
        namespace: observed.metadata.namespace.clone(),
        labels: observed.metadata.labels.clone().map(|mut labels| {
            labels.retain(|key, _| is_ours(key));
            labels
        }),
        owner_references: observed.metadata.owner_references.clone().map(|mut owners| {
            owners.retain(|owner| owner.uid == uid);
            owners
        }),
        annotations: Some(annotations_of(&template, observed, restore)),
        ..ObjectMeta::default()
    };
    let spec = observed.spec.clone().unwrap_or_default();
    let spec = DeploymentSpec {
        template,
        selector: spec.selector,
        strategy: spec.strategy,
        min_ready_seconds: spec.min_ready_seconds,
        progress_deadline_seconds: spec.progress_deadline_seconds,
        revision_history_limit: spec.revision_history_limit,
        // Their own field manager owns the replicas; whether it is paused is for people.
        replicas: None,
        paused: None,
    };
    Deployment { metadata, spec: Some(spec), status: None }
}

fn is_ours(key: &str) -> bool {
    key.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP || prefix == "app.kubernetes.io")
}

fn annotations_of(
    template: &PodTemplateSpec,
    observed: &Deployment,
    restore: &Restore,
) -> BTreeMap<String, String> {
    let of_template = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    let mut result: BTreeMap<_, _> =
        [annotations::RENDERED_FROM, annotations::DIGEST, annotations::URI, annotations::RENDERER]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), of_template?.get(key)?.clone())))
            .collect();
    if let Some(digest) = result.get(annotations::DIGEST) {
        let revision = names::revision_id(digest).to_owned();
        result.insert(annotations::REVISION.to_owned(), revision);
    }
    // What is remembered of revisions is the Deployment's: of the one before these pods, and of their own.
    let remembered = |key: &str| observed.metadata.annotations.as_ref()?.get(key).cloned();
    if let Some(digest) = result.get(annotations::DIGEST).cloned() {
        let of_digest = |text: &String| text.starts_with(&digest);
        let former = remembered(annotations::FORMER).filter(|text| !of_digest(text));
        let refused = remembered(annotations::REFUSED).filter(of_digest);
        result.extend(former.map(|former| (annotations::FORMER.to_owned(), former)));
        result.extend(refused.map(|refused| (annotations::REFUSED.to_owned(), refused)));
    }
    // These pods served. What the source holds now they do not say: that was rejected.
    result.insert(annotations::ACTIVE.to_owned(), restore.rendered_from.clone());
    result.insert(annotations::REJECTED.to_owned(), restore.rejected.clone());
    result.insert(annotations::REJECTED_FOR.to_owned(), said_of_rejection(&restore.cause));
    result
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn restore() -> Restore {
        Restore {
            rendered_from: "old.1".into(),
            rejected: "new.1 r".into(),
            cause: Cause::new(Reason::StartupTimeout, "The server did not start."),
        }
    }

    fn set(rendered_from: &str, owner: &str) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "s", "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "Deployment", "name": "m", "uid": owner, "controller": true},
            ]},
            "spec": {"selector": {}, "template": {
                "metadata": {
                    "labels": {"pod-template-hash": "abc", "modelwright.dev/model": "m"},
                    "annotations": {
                        "modelwright.dev/rendered-from": rendered_from,
                        "modelwright.dev/digest": "sha256:0123456789abcdef0123",
                        "modelwright.dev/uri": "s3://old",
                    },
                },
                "spec": {"containers": [{"name": "serve", "image": "old"}]},
            }},
        }))
        .unwrap()
    }

    fn deployment() -> Deployment {
        serde_json::from_value(json!({
            "metadata": {
                "name": "m", "namespace": "n", "uid": "d",
                "labels": {"modelwright.dev/model": "m", "team": "x"},
                "annotations": {
                    "modelwright.dev/resolved-from": "r", "modelwright.dev/active": "old.1",
                    "modelwright.dev/rendered-from": "new.1", "deployment.kubernetes.io/revision": "2",
                },
                "ownerReferences": [
                    {"apiVersion": "modelwright.dev/v1alpha1", "kind": "Model", "name": "m", "uid": "u", "controller": true},
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "other"},
                ],
            },
            "spec": {
                "replicas": 3, "paused": true, "strategy": {"type": "Recreate"}, "progressDeadlineSeconds": 600,
                "selector": {"matchLabels": {"modelwright.dev/model": "m"}},
                "template": {"spec": {"containers": [{"name": "serve", "image": "new"}]}},
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_a_set_of_this_deployment_with_the_wanted_pods_is_taken() {
        let sets = [set("new.1", "d"), set("old.1", "other"), set("old.1", "d")];
        assert!(former_template(&sets[..2], &restore(), Some("d")).is_none());
        let template = former_template(&sets, &restore(), Some("d")).unwrap();
        let labels = template.metadata.unwrap().labels.unwrap();
        assert_eq!(labels.into_keys().collect::<Vec<_>>(), ["modelwright.dev/model"]);
    }

    #[test]
    fn the_former_template_comes_back_in_the_deployment_as_it_is() {
        let template = former_template(&[set("old.1", "d")], &restore(), Some("d")).unwrap();
        let restored =
            serde_json::to_value(with_template(&deployment(), template.clone(), &restore(), "u")).unwrap();
        let expected = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {
                "name": "m", "namespace": "n", "labels": {"modelwright.dev/model": "m"},
                "annotations": {
                    "modelwright.dev/rendered-from": "old.1", "modelwright.dev/rejected": "new.1 r",
                    "modelwright.dev/rejected-for": "StartupTimeout: The server did not start.",
                    "modelwright.dev/digest": "sha256:0123456789abcdef0123", "modelwright.dev/uri": "s3://old",
                    "modelwright.dev/revision": "0123456789abcdef", "modelwright.dev/active": "old.1",
                },
                "ownerReferences": [
                    {"apiVersion": "modelwright.dev/v1alpha1", "kind": "Model", "name": "m", "uid": "u", "controller": true},
                ],
            },
            "spec": {
                "strategy": {"type": "Recreate"}, "progressDeadlineSeconds": 600,
                "selector": {"matchLabels": {"modelwright.dev/model": "m"}},
                "template": template,
            },
        });
        assert_eq!(restored, expected);
    }
}
