//! `podTemplate`: what users lay over the pods that we write, by strategic merge as `kubectl patch` does it.
//!
//! The type of a pod template reads the overlay, and a key that it does not know is refused rather than dropped. What
//! Modelwright needs itself must be the same afterwards.

use k8s_openapi::{
    DeepMerge as _,
    api::core::v1::{Container, PodTemplateSpec, Volume},
};
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::{containers, environment},
    free_form::FreeForm,
};
use serde_json::{Value, json};

use super::{drift, verbatim};

/// Lays the overlays over a template, in their order.
pub(super) fn merge(
    mut template: PodTemplateSpec,
    overlays: &[(&str, Option<&FreeForm>)],
) -> Result<PodTemplateSpec, Cause> {
    for (path, written) in overlays {
        let Some(written) = written else { continue };
        let mut overlay: PodTemplateSpec = verbatim::verbatim(written, path, Reason::InvalidPodTemplate)?;
        leave_out_others(&mut overlay, &template);
        check_names(&overlay, path)?;
        check_lists(&overlay, &template, path)?;
        let needed = needed(&template);
        let commanded = with_command(&template);
        let volumes = template.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
        template.merge_from(overlay);
        check_needed(&needed, &commanded, &template, path)?;
        check_volumes(&volumes, &template, path)?;
    }
    Ok(template)
}

/// Removes what is said about containers of ours that other pods have.
fn leave_out_others(overlay: &mut PodTemplateSpec, template: &PodTemplateSpec) {
    let Some(spec) = &mut overlay.spec else { return };
    let here: Vec<String> = containers_of(template).map(|container| container.name.clone()).collect();
    let keep = |container: &Container| {
        here.contains(&container.name) || !containers::ALL.contains(&container.name.as_str())
    };
    spec.containers.retain(keep);
    if let Some(init) = &mut spec.init_containers {
        init.retain(keep);
    }
}

fn containers_of(template: &PodTemplateSpec) -> impl Iterator<Item = &Container> {
    template.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
}

/// Containers are merged by name, so one without is a mistake.
fn check_names(overlay: &PodTemplateSpec, path: &str) -> Result<(), Cause> {
    if containers_of(overlay).any(|container| container.name.is_empty()) {
        return Err(Cause::new(
            Reason::InvalidPodTemplate,
            format!(
                "{path}: a container has no name; write serve, fetch, resolve or train to change ours, or a new name"
            ),
        ));
    }
    Ok(())
}

/// A container is merged with the one of its name in the same list, so one of ours in the other list would be another one.
fn check_lists(overlay: &PodTemplateSpec, template: &PodTemplateSpec, path: &str) -> Result<(), Cause> {
    let (Some(written), Some(spec)) = (&overlay.spec, &template.spec) else { return Ok(()) };
    let (mains, inits) = (written.containers.as_slice(), written.init_containers.as_deref());
    let has = |list: &[Container], name: &str| list.iter().any(|container| container.name == name);
    let init_here = |name: &str| has(spec.init_containers.as_deref().unwrap_or_default(), name);
    let misplaced =
        mains.iter().find(|container| init_here(&container.name)).map(|at| (at, "initContainers"));
    let misplaced = misplaced.or_else(|| {
        let found = inits?.iter().find(|container| has(&spec.containers, &container.name));
        found.map(|at| (at, "containers"))
    });
    let Some((container, list)) = misplaced else { return Ok(()) };
    let message = format!(
        "{path}: the container {} is one of spec.{list} in these pods; write it there",
        container.name
    );
    Err(Cause::new(Reason::InvalidPodTemplate, message))
}

/// The part of a template that must be there unchanged: how pods are found, and what our containers are told.
fn needed(template: &PodTemplateSpec) -> Value {
    let spec = template.spec.clone().unwrap_or_default();
    let part = |container: &Container| {
        json!({
            "name": container.name,
            "command": container.command,
            "args": container.args,
            "env": container.env,
            "ports": container.ports,
            "volumeMounts": container.volume_mounts,
        })
    };
    let metadata = template.metadata.clone().unwrap_or_default();
    json!({
        "metadata": {"labels": metadata.labels, "annotations": metadata.annotations},
        "spec": {
            "serviceAccountName": spec.service_account_name,
            "restartPolicy": spec.restart_policy,
            "volumes": spec.volumes,
            "containers": spec.containers.iter().map(part).collect::<Vec<_>>(),
            "initContainers": spec.init_containers.iter().flatten().map(part).collect::<Vec<_>>(),
        },
    })
}

/// The containers that have a command: only a user's own does, which says it in the spec.
fn with_command(template: &PodTemplateSpec) -> Vec<String> {
    let all = containers_of(template).filter(|container| container.command.is_some());
    all.map(|container| container.name.clone()).collect()
}

/// Whether a container runs an image of ours: all of our names do, but for `train` beside an agent.
fn is_ours(template: &PodTemplateSpec, container: &Container) -> bool {
    let users = container.name == containers::TRAIN
        && containers_of(template).any(|other| other.name == containers::AGENT);
    containers::ALL.contains(&container.name.as_str()) && !users
}

fn check_needed(
    needed: &Value,
    commanded: &[String],
    template: &PodTemplateSpec,
    path: &str,
) -> Result<(), Cause> {
    let refuse = |field: &str| {
        let own_field = match field {
            "spec.serviceAccountName" => "; write spec.serviceAccountName of the Model instead",
            _ => "; remove it",
        };
        Err(Cause::new(
            Reason::InvalidPodTemplate,
            format!("{path}.{field} changes what Modelwright needs itself{own_field}"),
        ))
    };
    let merged = serde_json::to_value(template).unwrap_or_default();
    if let Some(field) = drift::first_difference(needed, &merged) {
        return refuse(&field);
    }
    for container in
        containers_of(template).filter(|container| containers::ALL.contains(&container.name.as_str()))
    {
        let ours = is_ours(template, container);
        let added = [
            ("command", container.command.is_some() && !commanded.contains(&container.name)),
            // Everything of a Secret would get in, credentials into `serve` too.
            ("envFrom", ours && container.env_from.is_some()),
            // ONNX Runtime would report to its makers.
            ("env[ORT_DISABLE_TELEMETRY]", ours && has_variable(container, environment::NO_TELEMETRY)),
        ];
        if let Some((field, _)) = added.into_iter().find(|(_, added)| *added) {
            return refuse(&format!("spec.containers[{}].{field}", container.name));
        }
    }
    Ok(())
}

fn has_variable(container: &Container, name: &str) -> bool {
    container.env.iter().flatten().any(|variable| variable.name == name)
}

/// A volume with two sources is none; one of ours has its one. Of an empty folder of ours may be said where it is and how much
/// it holds.
fn check_volumes(before: &[Volume], template: &PodTemplateSpec, path: &str) -> Result<(), Cause> {
    let after = template.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let changed = after
        .into_iter()
        .find(|volume| before.iter().any(|ours| ours.name == volume.name && *ours != without_size(volume)));
    match changed {
        None => Ok(()),
        Some(volume) => Err(Cause::new(
            Reason::InvalidPodTemplate,
            format!(
                "{path}.spec.volumes[{}] is a volume of Modelwright's, of which only emptyDir.medium and \
                 emptyDir.sizeLimit may be set; give yours another name",
                volume.name
            ),
        )),
    }
}

/// An empty folder without what may be said of it.
fn without_size(volume: &Volume) -> Volume {
    let mut volume = volume.clone();
    if let Some(folder) = volume.empty_dir.as_mut() {
        (folder.medium, folder.size_limit) = (None, None);
    }
    volume
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn template() -> PodTemplateSpec {
        serde_json::from_value(json!({
            "metadata": {"labels": {"modelwright.dev/model": "m"}},
            "spec": {
                "serviceAccountName": "m",
                "containers": [{"name": "serve", "image": "ours", "args": ["serve"], "env": [{"name": "A", "value": "1"}],
                    "ports": [{"name": "data", "containerPort": 8080}],
                    "volumeMounts": [{"name": "model", "mountPath": "/models"}]}],
                "initContainers": [{"name": "fetch", "args": ["fetch"]}],
                "volumes": [{"name": "model", "emptyDir": {}}],
            },
        }))
        .unwrap()
    }

    fn free_form(value: Value) -> FreeForm {
        serde_json::from_value(value).unwrap()
    }

    fn merged(overlay: Value) -> Result<Value, String> {
        let overlay = free_form(overlay);
        merge(template(), &[("spec.podTemplate", Some(&overlay))]).map(|template| json!(template)).map_err(
            |cause| {
                assert_eq!(cause.reason, "InvalidPodTemplate");
                cause.message
            },
        )
    }

    #[test]
    fn overlay_adds_and_changes_by_name() {
        let merged = merged(json!({
            "metadata": {"labels": {"team": "a"}, "annotations": {"b": "c"}},
            "spec": {
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
                "containers": [
                    {"name": "serve", "env": [{"name": "B", "value": "2"}], "image": "mirror/ours"},
                    {"name": "proxy", "image": "proxy"},
                    {"name": "resolve", "image": "of another pod"},
                ],
            },
        }))
        .unwrap();
        assert_eq!(merged["metadata"]["labels"], json!({"modelwright.dev/model": "m", "team": "a"}));
        let containers = merged["spec"]["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 2);
        assert_eq!(containers[0]["env"].as_array().unwrap().len(), 2);
        assert_eq!(
            (&containers[0]["image"], &containers[0]["args"]),
            (&json!("mirror/ours"), &json!(["serve"]))
        );
        assert_eq!(merged["spec"]["tolerations"][0]["operator"], "Exists");
    }

    #[test]
    fn folder_of_ours_gets_a_place_and_a_size() {
        let folder = json!({"medium": "Memory", "sizeLimit": "1Gi"});
        let merged = merged(json!({"spec": {"volumes": [{"name": "model", "emptyDir": folder}]}})).unwrap();
        assert_eq!(merged["spec"]["volumes"], json!([{"name": "model", "emptyDir": folder}]));
    }

    #[rstest]
    #[case(json!({"spec": {"tolleration": [{"key": "x"}]}}), "spec.podTemplate.spec.tolleration is not a field")]
    #[case(json!({"spec": {"tolerations": {}}}), "spec.podTemplate: ")]
    #[case(json!({"spec": {"containers": [{"image": "x"}]}}), "a container has no name")]
    #[case(json!({"spec": {"containers": [{"name": "serve", "args": ["x"]}]}}), "spec.containers[serve].args[0] changes")]
    #[case(json!({"spec": {"containers": [{"name": "serve", "command": ["x"]}]}}), "spec.containers[serve].command")]
    #[case(json!({"spec": {"containers": [{"name": "serve", "envFrom": [{"secretRef": {"name": "s"}}]}]}}), "envFrom")]
    #[case(json!({"spec": {"containers": [{"name": "serve", "env": [{"name": "A", "value": "2"}]}]}}), "env[A].value")]
    #[case(json!({"spec": {"initContainers": [{"name": "serve"}]}}), "serve is one of spec.containers in these pods")]
    #[case(json!({"spec": {"serviceAccountName": "x"}}), "write spec.serviceAccountName of the Model")]
    #[case(json!({"spec": {"volumes": [{"name": "model", "hostPath": {"path": "/"}, "emptyDir": null}]}}), "podTemplate")]
    #[case(json!({"metadata": {"labels": {"modelwright.dev/model": "x"}}}), "metadata.labels.modelwright.dev/model")]
    fn what_modelwright_needs_and_misspelt_keys_are_refused_by_path(
        #[case] overlay: Value,
        #[case] part: &str,
    ) {
        let message = merged(overlay).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
}
