//! From the former release of the chart to this one, with a Model that is served. The cluster has nobody else: definitions
//! belong to all namespaces.
use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use k8s_openapi::{
    api::{apps::v1::Deployment, batch::v1::Job, core::v1::Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use modelwright_api::{
    Model, Outcome,
    conditions::ConditionType,
    contract::{field_managers, labels},
};
use modelwright_e2e::{
    apply, chart, images,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript},
    wait::{self, Seen},
};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(90);
/// The Model of the former release.
const NAME: &str = "former";
const FORMER_IMAGE: &str = "registry.example.com/modelwright:former";
const SINCE: &str = "2026-11-01T08:00:00Z";

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/former").join(name)
}

fn digest() -> String {
    format!("sha256:{}", "a".repeat(64))
}

/// Installs or upgrades the release. Nothing runs in this cluster: the operator is a process beside it.
async fn helm(namespace: &TestNamespace, verb: &str, chart: &str) -> anyhow::Result<()> {
    let watched = format!("watchNamespaces={{{}}}", namespace.name);
    let mut arguments = vec![verb, "modelwright", chart, "--namespace", &namespace.name, "--wait"];
    match verb {
        // As docs/installation.md says.
        "upgrade" => arguments.push("--reset-then-reuse-values"),
        _ => arguments.extend(["--set", &watched, "--set", "operator.replicas=0"]),
    }
    chart::helm(&arguments).await.map(drop)
}

/// The text of the definition as it is served.
async fn definition(namespace: &TestNamespace) -> anyhow::Result<String> {
    let all: Api<CustomResourceDefinition> = Api::all(namespace.client.clone());
    let found = wait::object(&all, "models.modelwright.dev", "Established", TIMEOUT, |found| {
        let conditions = found.status.as_ref().and_then(|status| status.conditions.as_ref());
        let established =
            conditions.into_iter().flatten().any(|it| it.type_ == "Established" && it.status == "True");
        Seen::or_else_saw(established.then(|| found.clone()), format!("{conditions:?}"))
    })
    .await?;
    Ok(serde_json::to_string(&found.spec)?)
}

/// The Model with all that the former operator had made for it, and its status.
async fn former(namespace: &TestNamespace) -> anyhow::Result<()> {
    namespace.apply(&std::fs::read_to_string(fixture("model.yaml"))?).await?;
    let models = namespace.api::<Model>();
    let uid = models.get(NAME).await?.uid().context("no uid")?;
    // Of then the version had not been counted up yet.
    let children = std::fs::read_to_string(fixture("children.yaml"))?
        .replace("00000000-0000-0000-0000-000000000000", &uid)
        .replace("namespace: default", &format!("namespace: {}", namespace.name))
        .replace("value: default", &format!("value: {}", namespace.name))
        .replace("\"0.1.0\"", "\"0.0.1\"");
    for child in children.split("\n---\n") {
        let (manager, child) =
            if child.contains("kind: Deployment") && child.contains("progressDeadlineSeconds") {
                // Its autoscaler writes the number, see below.
                (field_managers::TEMPLATE, child.replace("\n  replicas: 2\n", "\n"))
            } else {
                (field_managers::CHILDREN, child.to_owned())
            };
        apply::yaml_as(&namespace.client, Some(&namespace.name), &child, manager).await?;
    }
    let scaled = Patch::Merge(json!({"spec": {"replicas": 2}}));
    namespace.api::<Deployment>().patch_scale(NAME, &PatchParams::default(), &scaled).await?;
    wait::object(&namespace.api::<Deployment>(), NAME, "two pods available", TIMEOUT, |deployment| {
        let status = deployment.status.clone().unwrap_or_default();
        let all = status.available_replicas == Some(2) && status.replicas == Some(2);
        Seen::or_else_saw(all.then_some(()), format!("{status:?}"))
    })
    .await?;
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": "Serving", "message": "as the former release said it",
            "observedGeneration": 1, "lastTransitionTime": SINCE})
    };
    let status = json!({"apiVersion": "modelwright.dev/v1alpha1", "kind": "Model", "metadata": {"name": NAME}, "status": {
        "observedGeneration": 1, "replicas": 2,
        "conditions": [condition("Ready", "True"), condition("Available", "True"), condition("Progressing", "False"),
            condition("Stalled", "False")],
        "revisions": {"active": {"id": "a".repeat(16), "digest": digest(), "uri": "s3://models/former/model.onnx",
            "retrievable": "WhileUnchanged", "since": SINCE}},
    }});
    let manager = PatchParams::apply(field_managers::STATUS).force();
    models.patch_status(NAME, &manager, &Patch::Apply(&status)).await?;
    Ok(())
}

/// What a restart or a new rollout would change.
async fn work(namespace: &TestNamespace) -> anyhow::Result<Value> {
    let selector = ListParams::default().labels(&format!("{}={NAME}", labels::MODEL));
    let servers = selector.clone().labels(&format!(
        "{}={NAME},{}={}",
        labels::MODEL,
        labels::ROLE,
        labels::ROLE_SERVER
    ));
    let names = |mut names: Vec<(String, Option<String>)>| {
        names.sort();
        names
    };
    let pods = namespace.api::<Pod>().list(&servers).await?;
    let jobs = namespace.api::<Job>().list(&selector).await?;
    let deployment = namespace.api::<Deployment>().get(NAME).await?;
    Ok(json!({
        "pods": names(pods.iter().map(|pod| (pod.name_any(), pod.uid())).collect()),
        "jobs": names(jobs.iter().map(|job| (job.name_any(), job.uid())).collect()),
        "template": deployment.spec.context("no spec")?.template,
        "generation": deployment.metadata.generation,
    }))
}

/// Waits until this operator says that the Model is served and nothing is under way.
async fn served(namespace: &TestNamespace) -> anyhow::Result<Model> {
    wait::object(
        &namespace.api::<Model>(),
        NAME,
        "Ready and at rest, said by this release",
        TIMEOUT,
        |model| {
            let conditions = model.status.iter().flat_map(|status| &status.conditions);
            let former = conditions.clone().any(|condition| condition.message.contains("former release"));
            let progressing = model.holds(ConditionType::Progressing);
            let observed = model.status.as_ref().and_then(|status| status.observed_generation);
            let current = observed == model.metadata.generation;
            let right = model.holds(ConditionType::Ready) && !progressing && !former && current;
            Seen::or_else_saw(right.then(|| model.clone()), format!("{:?}", conditions.collect::<Vec<_>>()))
        },
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn model_of_the_former_release_is_served_on_without_a_restart() -> anyhow::Result<()> {
    with_scripted_node("upgrade", async |namespace, node| {
        let found =
            Outcome { digest: Some(digest()), fingerprint: Some(digest()), ..Outcome::success("Resolved") };
        node.on(
            PodMatcher::any().label(labels::ROLE, labels::ROLE_RESOLVE),
            PodScript::default()
                .container("resolve", ContainerScript::exits(Exit::completed().message(&found.to_line()))),
        );
        helm(&namespace, "install", &fixture("modelwright-0.1.0.tgz").display().to_string()).await?;
        assert!(!definition(&namespace).await?.contains("stallTimeout"), "it is the former one");
        former(&namespace).await?;
        let before = work(&namespace).await?;

        helm(&namespace, "upgrade", &chart::folder().display().to_string()).await?;
        assert!(definition(&namespace).await?.contains("stallTimeout"), "fields of this release");
        let operator = Operator::of(&namespace).start()?;
        let model = served(&namespace).await?;
        let active =
            model.status.and_then(|status| status.revisions?.active).context("no revision is active")?;
        assert_eq!((active.digest, active.since.as_deref()), (digest(), Some(SINCE)));
        assert_eq!(work(&namespace).await?, before, "nothing is restarted, read again or rendered anew");

        // With the next change of the Model its pods are this release's.
        let change = json!({"spec": {"serving": {"resources": {"requests": {"cpu": "300m"}}}}});
        namespace.api::<Model>().patch(NAME, &PatchParams::default(), &Patch::Merge(&change)).await?;
        served(&namespace).await?;
        let after = work(&namespace).await?;
        assert!(!after["template"].to_string().contains(FORMER_IMAGE), "{after:#}");
        assert!(after["template"].to_string().contains(&images::modelwright()), "{after:#}");
        assert_eq!(operator.stop().await?.code(), Some(0));
        Ok(())
    })
    .await
}
