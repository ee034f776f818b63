//! The rights that the chart gives are those that the operator uses: nothing is missing, and nothing is left over.
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{ResourceQuota, ServiceAccount},
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use modelwright_e2e::{
    cluster::{self, program},
    crd,
    faults::FaultyApi,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::{ContainerScript, PodScript},
};
use serde_json::{Value, json};

use super::artifacts::{finalizer_is, trained};
use super::story::{self, failure, model, resolves_to, serves};

/// Whether a right is there although this course does not need it, and why.
fn is_occasional(verb: &str, resource: &str) -> bool {
    match (verb, resource) {
        // An Event that happens again becomes a series.
        ("patch", "events")
        // Whose a Job is that is there already, for a store that did not know it yet.
        | ("get", "jobs") => true,
        // Where an API server cannot stream the first list, it is asked for.
        ("list", resource) => resource != "replicasets" && resource != "events",
        _ => false,
    }
}

/// Objects of somebody else with the name of a child.
const FOREIGN: [(&str, &str); 5] = [
    (
        "taken-service",
        "{apiVersion: v1, kind: Service, metadata: {name: NAME}, spec: {selector: {a: b}, ports: [{port: 80}]}}",
    ),
    (
        "taken-budget",
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: NAME}, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}}",
    ),
    (
        "taken-policy",
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: NAME}, spec: {podSelector: {matchLabels: {a: b}}}}",
    ),
    (
        "taken-deployment",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: NAME}, spec: {replicas: 0, selector: {matchLabels: {a: b}}, \
         template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: 'nothing:1'}]}}}}",
    ),
    (
        "taken-scaler",
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: NAME}, spec: {maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}}}",
    ),
];

/// The chart's documents for an operator of this namespace alone.
fn chart(namespace: &TestNamespace) -> anyhow::Result<Vec<Value>> {
    let chart = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../charts/modelwright");
    let output = program("helm")
        .args(["template", &namespace.name])
        .arg(chart)
        .args(["--namespace", &namespace.name, "--set", "crds.install=false", "--set"])
        .arg(format!("watchNamespaces={{{}}}", namespace.name))
        .arg("--set")
        .arg(format!("fullnameOverride={}", namespace.name))
        .output()
        .context("cannot run helm")?;
    ensure!(output.status.success(), "helm template: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let documents: Vec<Option<Value>> = serde_yaml::from_multiple(&text)?;
    Ok(documents.into_iter().flatten().filter(serde_json::Value::is_object).collect())
}

/// Every verb and resource that roles for the operator's account allow.
fn allowed(documents: &[Value], account: &str) -> BTreeSet<(String, String)> {
    let of_kind = |kind: &'static str| documents.iter().filter(move |document| document["kind"] == kind);
    let bound: Vec<&str> = of_kind("RoleBinding")
        .chain(of_kind("ClusterRoleBinding"))
        .filter(|binding| {
            binding["subjects"].as_array().into_iter().flatten().any(|subject| subject["name"] == account)
        })
        .filter_map(|binding| binding["roleRef"]["name"].as_str())
        .collect();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|text| Some(text.as_str()?.to_owned())).collect()
    };
    let mut allowed = BTreeSet::new();
    for role in of_kind("Role").chain(of_kind("ClusterRole")) {
        if !bound.iter().any(|name| role["metadata"]["name"] == *name) {
            continue;
        }
        for rule in role["rules"].as_array().into_iter().flatten() {
            for resource in texts(&rule["resources"]) {
                allowed.extend(texts(&rule["verbs"]).into_iter().map(|verb| (verb, resource.clone())));
            }
        }
    }
    allowed
}

async fn token(namespace: &TestNamespace, account: &str) -> anyhow::Result<String> {
    let accounts: Api<ServiceAccount> = namespace.api();
    let request = TokenRequest {
        spec: TokenRequestSpec { audiences: Vec::new(), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    Ok(answer.status.context("no token")?.token)
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_gives_the_rights_that_are_used_and_no_others() -> anyhow::Result<()> {
    with_scripted_node("rights", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let documents = chart(&namespace)?;
        let account = format!("{}-operator", namespace.name);
        for document in &documents {
            let kind = document["kind"].as_str().unwrap_or_default();
            if ["ServiceAccount", "Role", "RoleBinding"].contains(&kind)
                && document["metadata"]["annotations"]["helm.sh/hook"].is_null()
            {
                namespace.apply(&serde_json::to_string(document)?).await?;
            }
        }
        let api = FaultyApi::start(cluster::config().await?).await?;
        let token = token(&namespace, &account).await?;
        let operator = Operator::of(&namespace)
            .through(&api, Some(&token))
            .environment("MODELWRIGHT_LEASE_NAME", &account)
            .start()?;

        // Everything there is, and its end.
        resolves_to(node, 'a');
        let everything = "  serving:\n    autoscaling: {minReplicas: 1, maxReplicas: 2}\n    \
                          resources: {requests: {cpu: 1}}\n    networkPolicy: {enabled: true}\n  \
                          rollout: {progressDeadline: 10s}\n";
        namespace.apply(&model("bc", everything)).await?;
        serves(&namespace, "bc", 'a').await?;
        // A failed candidate needs the former template.
        let wrong =
            ContainerScript::exits(failure(76, "DigestMismatch", "expected sha256:b, found sha256:c"));
        story::servers_of(node, 'b', PodScript::default().container("fetch", wrong));
        resolves_to(node, 'b');
        story::resolve_again(&namespace, "bc", "1").await?;
        story::reason(&namespace, "bc", "RolledBack").await?;
        // What is no longer wanted is deleted.
        namespace.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: readers}}").await?;
        resolves_to(node, 'd');
        story::resolve_again(&namespace, "bc", "2").await?;
        let less =
            json!({"serving": {"autoscaling": null, "networkPolicy": null}, "serviceAccountName": "readers",
                   "rollout": {"progressDeadline": "5m"}});
        story::change(&namespace, "bc", less).await?;
        serves(&namespace, "bc", 'd').await?;
        // A Job without a pod: Events say why.
        namespace
            .apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {pods: 0}}}")
            .await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        namespace.apply(&model("denied", "")).await?;
        story::reason(&namespace, "denied", "QuotaExceeded").await?;
        namespace.api::<ResourceQuota>().delete("none", &DeleteParams::default()).await?;
        // Children that somebody made before: looked at, not taken.
        for (name, child) in FOREIGN {
            namespace.apply(&child.replace("NAME", name)).await?;
            namespace.apply(&model(name, &everything.replace("cpu: 1", "cpu: 10m"))).await?;
            story::reason(&namespace, name, "NameConflict").await?;
        }

        // The finalizer of those whose artifacts go with them.
        namespace.apply(&trained("artifacts")).await?;
        finalizer_is(&namespace, "artifacts", true).await?;
        namespace.apply(&trained("artifacts").replace("DeleteArtifacts", "Retain")).await?;
        finalizer_is(&namespace, "artifacts", false).await?;

        // Discovery and OpenAPI, which everybody may read, have no resource.
        let mut used: BTreeSet<_> =
            api.counts().into_keys().filter(|(_, resource)| !resource.is_empty()).collect();
        // To apply what is not there is to create it, and needs both rights.
        let applied: Vec<_> = used
            .iter()
            .filter(|(verb, resource)| verb == "patch" && !resource.contains('/'))
            // These are only changed.
            .filter(|(_, resource)| resource != "events" && resource != "models")
            .map(|(_, resource)| ("create".to_owned(), resource.clone()))
            .collect();
        used.extend(applied);
        let allowed = allowed(&documents, &account);
        let missing: Vec<_> = used.difference(&allowed).collect();
        assert!(missing.is_empty(), "used and not allowed: {missing:?}\n{}", operator.log());
        let unused: Vec<_> =
            allowed.difference(&used).filter(|(verb, resource)| !is_occasional(verb, resource)).collect();
        assert!(unused.is_empty(), "allowed and not used: {unused:?}");
        assert!(!allowed.iter().any(|(_, resource)| resource.starts_with("secrets")));
        assert!(!operator.log().contains("User \"system:serviceaccount"), "{}", operator.log());
        Ok(())
    })
    .await
}
