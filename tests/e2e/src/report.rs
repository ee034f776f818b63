//! What went on in a namespace, for a test that failed: short on standard error, in full in a folder.
use std::{env, fmt::Write, path::PathBuf};

use anyhow::Context;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Event, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams, TypeMeta},
};

use crate::contents::{self, containers};

/// The folder for whole logs and objects.
const LOGS: &str = "MODELWRIGHT_E2E_LOGS";
const EVENTS: usize = 30;
const PODS: usize = 20;
const LINES: i64 = 20;

/// Prints the report. Trouble with it is part of it: the failure of the test must stay in sight.
pub(crate) async fn print(client: &Client, namespace: &str) {
    let mut text = format!("---- namespace {namespace} ----\n");
    if let Err(error) = brief(client, namespace, &mut text).await {
        let _ = writeln!(text, "the rest is missing: {error:#}");
    }
    match env::var_os(LOGS).map(|folder| PathBuf::from(folder).join(namespace)) {
        None => {
            let _ = writeln!(text, "for every object and log name a folder in {LOGS}");
        }
        Some(folder) => {
            let written = full(client, namespace, &folder).await;
            let _ = match written {
                Ok(()) => writeln!(text, "every object and log: {}", folder.display()),
                Err(error) => writeln!(text, "{} is incomplete: {error:#}", folder.display()),
            };
        }
    }
    eprintln!("{text}----");
}

async fn brief(client: &Client, namespace: &str, text: &mut String) -> anyhow::Result<()> {
    let mut events =
        Api::<Event>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?.items;
    events.sort_by_key(when);
    let left_out = events.len().saturating_sub(EVENTS);
    writeln!(text, "events ({left_out} earlier ones left out):")?;
    for event in &events[left_out..] {
        let time = when(event).map_or_else(String::new, |time| time.strftime("%H:%M:%S").to_string());
        let object = &event.involved_object;
        writeln!(
            text,
            "  {time} {}/{} {}: {}",
            object.kind.as_deref().unwrap_or_default(),
            object.name.as_deref().unwrap_or_default(),
            event.reason.as_deref().unwrap_or_default(),
            event.message.as_deref().unwrap_or_default()
        )?;
    }
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let mut pods = api.list(&ListParams::default()).await?.items;
    // What is wrong comes first.
    pods.sort_by_key(fine);
    writeln!(text, "pods ({}):", pods.len())?;
    for pod in pods.iter().take(PODS) {
        writeln!(text, "  {} {}", pod.name_any(), pod_in_words(pod))?;
    }
    for pod in pods.iter().take(PODS).filter(|pod| !fine(pod)) {
        for container in containers(pod).filter(|container| !container_fine(container)) {
            let params = LogParams {
                container: Some(container.name.clone()),
                tail_lines: Some(LINES),
                previous: container.restart_count > 0,
                ..LogParams::default()
            };
            // A scripted node has no logs.
            if let Ok(log) = api.logs(&pod.name_any(), &params).await {
                writeln!(text, "log of {}/{}, last lines:", pod.name_any(), container.name)?;
                log.lines().for_each(|line| {
                    let _ = writeln!(text, "  {line}");
                });
            }
        }
    }
    Ok(())
}

/// Writes every object of the namespace as YAML and every log.
async fn full(client: &Client, namespace: &str, folder: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (resource, objects) in contents::objects(client, namespace).await? {
        let mut text = String::new();
        for mut object in objects {
            object.metadata.managed_fields = None;
            // The items of a list do not say what they are.
            object.types =
                Some(TypeMeta { api_version: resource.api_version.clone(), kind: resource.kind.clone() });
            write!(text, "---\n{}", serde_yaml::to_string(&object)?)?;
        }
        if !text.is_empty() {
            std::fs::write(folder.join(format!("{}.yaml", resource.plural)), text)?;
        }
    }
    for log in contents::logs(client, namespace).await? {
        let kind = if log.previous { "previous.log" } else { "log" };
        std::fs::write(folder.join(format!("{}.{}.{kind}", log.pod, log.container)), log.text)?;
    }
    Ok(())
}

/// Phase, conditions that do not hold, and the containers that are not simply running or done.
pub(crate) fn pod_in_words(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    let mut words = vec![status.phase.unwrap_or_else(|| "no phase".to_owned())];
    words.extend(status.reason);
    words.extend(status.message);
    if pod.metadata.deletion_timestamp.is_some() {
        words.push("being deleted".to_owned());
    }
    for condition in status.conditions.iter().flatten().filter(|condition| condition.status != "True") {
        let message = condition.message.as_deref().unwrap_or_default();
        words.push(format!("{}={} {message}", condition.type_, condition.status).trim_end().to_owned());
    }
    for container in containers(pod).filter(|container| !container_fine(container)) {
        words.push(format!("container {}: {}", container.name, container_in_words(container)));
    }
    words.join("; ")
}

fn container_in_words(container: &ContainerStatus) -> String {
    let mut words = state_in_words(container.state.as_ref());
    if container.last_state.is_some() {
        let last = state_in_words(container.last_state.as_ref());
        let _ = write!(words, ", {} restarts, before that {last}", container.restart_count);
    }
    words
}

fn state_in_words(state: Option<&ContainerState>) -> String {
    let (words, message) = match state.cloned().unwrap_or_default() {
        ContainerState { running: Some(_), .. } => ("running, not ready".to_owned(), None),
        ContainerState { waiting: Some(waiting), .. } => {
            (format!("waiting {}", waiting.reason.unwrap_or_default()), waiting.message)
        }
        ContainerState { terminated: Some(ended), .. } => {
            (format!("ended {} {}", ended.exit_code, ended.reason.unwrap_or_default()), ended.message)
        }
        _ => ("unknown".to_owned(), None),
    };
    match message {
        Some(message) => format!("{words}: {}", message.trim()),
        None => words,
    }
}

fn container_fine(container: &ContainerStatus) -> bool {
    let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    container.restart_count == 0 && (container.ready || ended.is_some_and(|ended| ended.exit_code == 0))
}

fn fine(pod: &Pod) -> bool {
    containers(pod).count() > 0 && containers(pod).all(container_fine)
}

fn when(event: &Event) -> Option<jiff::Timestamp> {
    event
        .last_timestamp
        .as_ref()
        .map(|time| time.0)
        .or(event.event_time.as_ref().map(|time| time.0))
        .or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}
