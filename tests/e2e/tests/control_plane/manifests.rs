//! What the API server makes of Models: the CRD is accepted, and each of its rules refuses what it should.
use std::{fs, path::Path, time::Duration};

use anyhow::Context as _;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
};
use modelwright_api::{
    Scope,
    contract::{API_VERSION, GROUP, KIND},
    manifest::EXAMPLE,
    parse_for,
    rules::{self, Rule},
};
use modelwright_e2e::{
    cluster::program,
    crd,
    namespace::{TestNamespace, with_namespace},
    wait::{self, Seen},
};
use rstest::rstest;
use serde_json::{Value, json};

fn models(namespace: &TestNamespace) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1alpha1", KIND));
    Api::namespaced_with(namespace.client.clone(), &namespace.name, &resource)
}

/// The documents of a manifest that are Models, in the test's namespace.
fn documents(text: &str, namespace: &TestNamespace) -> Vec<DynamicObject> {
    let documents: Vec<Option<Value>> = serde_yaml::from_multiple(text).unwrap();
    let models = documents.into_iter().flatten().filter(|document| document["kind"] == KIND);
    models
        .map(|mut model| {
            model["metadata"]["namespace"] = json!(namespace.name);
            serde_json::from_value(model).unwrap()
        })
        .collect()
}

/// What the API server says to a Model, without storing it: nothing, if it would accept it.
async fn refusal(namespace: &TestNamespace, model: &DynamicObject) -> anyhow::Result<Option<String>> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match models(namespace).create(&dry_run, model).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 422 => Ok(Some(status.message)),
        Err(error) => Err(error.into()),
    }
}

fn model(name: &str, spec: &str) -> String {
    format!("apiVersion: {API_VERSION}\nkind: {KIND}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

fn source(fields: &str) -> String {
    model("m", &format!("{{source: {{{fields}}}}}"))
}

fn serving(fields: &str) -> String {
    model("m", &format!("{{source: {{uri: 's3://m/x'}}, serving: {{{fields}}}}}"))
}

fn access(fields: &str) -> String {
    serving(&format!("access: {{{fields}}}"))
}

fn jwt(fields: &str) -> String {
    access(&format!("jwt: {{{fields}}}"))
}

fn rollout(fields: &str) -> String {
    model("m", &format!("{{source: {{uri: 's3://m/x'}}, rollout: {{{fields}}}}}"))
}

/// A training with these fields of `data`, and of `training` after it.
fn training(data: &str, more: &str) -> String {
    model("m", &format!("{{training: {{data: {{source: {{uri: 's3://m/x'}}, target: label{data}}}{more}}}}}"))
}

/// A training by this container, with these fields of `training` after it.
fn container(fields: &str, more: &str) -> String {
    let data = "data: {source: {uri: 's3://m/x'}}";
    model("m", &format!("{{training: {{{data}, container: {{{fields}}}{more}}}}}"))
}

fn builtin(fields: &str) -> String {
    training("", &format!(", builtin: {{{fields}}}"))
}

fn column(fields: &str) -> String {
    builtin(&format!("columns: [{{name: a, {fields}}}]"))
}

fn requirement(fields: &str) -> String {
    training("", &format!(", gate: {{require: [{{{fields}}}]}}"))
}

/// For each rule of the CRD a Model that breaks it.
fn broken(rule: &Rule) -> String {
    let rule = *rule;
    let table = [
        (rules::NAME, model("a.b", "{source: {uri: 's3://m/x'}}")),
        (rules::SOURCE_SCHEME, source("uri: 'ftp://m/x'")),
        (rules::SOURCE_NOT_FILE, source("uri: 'file:m.onnx'")),
        (rules::COPY_SCHEME, source("uri: 's3://m/x', copyTo: {uri: 'https://m/x'}")),
        (rules::URI_NO_USERINFO, source("uri: 'https://u:p@h/x'")),
        (rules::URI_NO_QUERY, source("uri: 'https://h/x?y'")),
        (rules::DIGEST, source("uri: 's3://m/x', digest: 'sha256:0'")),
        (rules::SECRET_NAME, source("uri: 's3://m/x', credentialsSecretRef: {name: A_b}")),
        (rules::DURATION, serving("startupTimeout: '10'")),
        (rules::STARTUP_TIMEOUT, serving("startupTimeout: 25h")),
        (rules::REQUEST_TIMEOUT, serving("limits: {requestTimeout: 2h}")),
        (rules::MAX_CONNECTION_AGE, serving("limits: {maxConnectionAge: 25h}")),
        (rules::MAX_QUEUE_DELAY, serving("batching: {maxQueueDelay: 2s}")),
        (
            rules::INLINE_ON_PROCESSORS,
            serving(
                "executionProvider: CUDA, resources: {limits: {'nvidia.com/gpu': 1}}, session: {lane: Inline}",
            ),
        ),
        (rules::CUDA_SETTINGS, serving("session: {cuda: {memoryLimit: 4Gi}}")),
        (rules::CUDA_NEEDS_GPU, serving("executionProvider: CUDA")),
        (rules::SOURCE_OR_TRAINING, model("m", "{}")),
        (rules::POLL_INTERVAL, source("uri: 's3://m/x', pollInterval: 1m")),
        (
            rules::REPLICAS_OR_AUTOSCALING,
            serving("replicas: 2, resources: {requests: {cpu: 1}}, autoscaling: {maxReplicas: 3}"),
        ),
        (rules::AUTOSCALING_NEEDS_CPU, serving("autoscaling: {maxReplicas: 3}")),
        (rules::AUTOSCALING_EXTERNAL, serving("autoscaling: {mode: External, maxReplicas: 3}")),
        (
            rules::AUTOSCALING_BOUNDS,
            serving("resources: {requests: {cpu: 1}}, autoscaling: {minReplicas: 3, maxReplicas: 2}"),
        ),
        (rules::ACCESS_NOT_EMPTY, access("")),
        (
            rules::CLIENT_LIMITS_NEED_CLIENTS,
            access("tls: {secretRef: {name: t}}, limits: {requestsPerSecond: 5}"),
        ),
        (rules::CLIENT_LIMITS, access("apiKeys: {secretRef: {name: k}}, limits: {burst: 5}")),
        (rules::ISSUER, jwt("issuer: 'ftp://i', audiences: [a]")),
        (rules::ISSUER_HTTPS, jwt("issuer: 'http://localhost:1', audiences: [a]")),
        (rules::AUDIENCES, jwt("issuer: 'https://i', audiences: []")),
        (rules::JWKS_URI, jwt("issuer: 'https://i', audiences: [a], jwksUri: 'https://u@i/keys'")),
        (rules::JWKS_URI_HTTPS, jwt("issuer: 'https://i', audiences: [a], jwksUri: 'http://localhost/keys'")),
        (rules::PAYLOAD_URL, serving("payloadLogging: {url: 'https://u:p@sink/x'}")),
        (rules::PAYLOAD_URL_HTTP, serving("payloadLogging: {url: 'file:payloads.jsonl'}")),
        (rules::NETWORK_POLICY_FROM, serving("networkPolicy: {from: [{podSelector: {}}]}")),
        (rules::SURGE_OF_ROLLING, rollout("strategy: Recreate, surge: One")),
        (rules::PROGRESS_DEADLINE, rollout("progressDeadline: 1s")),
        (rules::SERVICE_ACCOUNT_NAME, model("m", "{source: {uri: 's3://m/x'}, serviceAccountName: A_b}")),
        (rules::OUTPUT_IN_A_CLUSTER, training("", "")),
        (rules::BUILTIN_OR_CONTAINER, training("", ", builtin: {}, container: {image: i}")),
        (rules::TARGET_OF_BUILTIN, training("", "").replace(", target: label", "")),
        (rules::DATA_OF_CONTAINER, training("", ", container: {image: i}")),
        (rules::BEAT_OF_BUILTIN, container("image: i", ", gate: {beat: Baseline}")),
        (rules::TIME_ZONE_OF_CRON, training("", ", timeZone: UTC")),
        (rules::CRON, training("", ", cron: '* * *'")),
        (rules::TRAINING_DEADLINE, training("", ", deadline: 1s")),
        (rules::STALL_TIMEOUT, training("", ", stallTimeout: 1s")),
        (rules::QUEUE, training("", ", queue: A_b")),
        (rules::ENVIRONMENT_NAME, container("image: i, env: [{name: ML_SEED, value: '1'}]", "")),
        (rules::DELETE_TRAINED, model("m", "{source: {uri: 's3://m/x'}, deletionPolicy: DeleteArtifacts}")),
        (
            rules::DELIMITER,
            model("m", "{training: {data: {source: {uri: 's3://m/x', delimiter: '\"'}, target: label}}}"),
        ),
        (
            rules::DELIMITER_OF_CSV,
            model(
                "m",
                "{training: {data: {source: {uri: 's3://m/x', format: Parquet, delimiter: ';'}, target: label}}}",
            ),
        ),
        (rules::VALIDATION_ONE_OF, training(", validation: {fraction: 0.2, source: {uri: 's3://m/x'}}", "")),
        (rules::COLUMN_FIELDS, column("type: Boolean, scale: None")),
        (rules::COLUMN_IGNORED, column("type: Ignored, scale: None")),
        (rules::OPTIMIZER_FIELDS, builtin("optimizer: {kind: Adam, momentum: 0.9}")),
        (rules::NESTEROV_NEEDS_MOMENTUM, builtin("optimizer: {kind: SGD, nesterov: true}")),
        (rules::SCHEDULE_FIELDS, builtin("schedule: {factor: 0.5}")),
        (rules::CLASS_WEIGHTS_VALUES, builtin("classWeights: {mode: Values}")),
        (rules::FULL_BATCH, builtin("fullBatch: true, batchSize: 32")),
        (rules::MONITOR, builtin("earlyStopping: {monitor: loss}")),
        (rules::REQUIREMENT_METRIC, requirement("metric: accuracy, min: 0.5")),
        (rules::TEST_METRIC_NEEDS_TEST, requirement("metric: testAccuracy, min: 0.5")),
        (rules::REQUIREMENT_BOUND, requirement("metric: valAccuracy")),
        (rules::REQUIREMENT_ORDER, requirement("metric: valAccuracy, min: 0.9, max: 0.5")),
        (rules::OUTPUT_SCHEME, training("", ", output: {uri: 'https://h/x'}")),
        (rules::REVISION, training("", "").replace("{training", "{rollout: {revision: latest}, training")),
    ];
    let found = table.into_iter().find(|(known, _)| *known == rule);
    found.unwrap_or_else(|| panic!("write here what breaks the rule {rule:?}")).1
}

#[tokio::test]
async fn every_rule_refuses_with_its_sentence() -> anyhow::Result<()> {
    with_namespace("rules", async |namespace| {
        crd::install(&namespace.client).await?;
        for rule in &rules::ALL {
            let text = broken(rule);
            let refused = refusal(&namespace, &documents(&text, &namespace)[0]).await?;
            let message = refused.with_context(|| format!("accepted in spite of {rule:?}:\n{text}"))?;
            assert!(
                message.contains(rule.message),
                "{rule:?} is not what the API server says to\n{text}\n{message}"
            );
            let here = parse_for(&text, "m.yaml", Scope::Cluster).unwrap_err().to_string();
            assert!(here.contains(rule.message), "`run` says otherwise to\n{text}\n{here}");
        }
        Ok(())
    })
    .await
}

/// Every example's manifests, as path and text.
fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut found = Vec::new();
    for example in fs::read_dir(folder).unwrap().flatten() {
        for manifest in ["model.yaml", "cluster/model.yaml", "cluster/two-nodes.yaml"]
            .map(|name| example.path().join(name))
        {
            if let Ok(text) = fs::read_to_string(&manifest) {
                found.push((manifest.display().to_string(), text));
            }
        }
    }
    found
}

#[tokio::test]
async fn examples_are_accepted_or_refused_for_what_only_one_machine_can() -> anyhow::Result<()> {
    with_namespace("examples", async |namespace| {
        crd::install(&namespace.client).await?;
        let (mut accepted, mut for_clusters) = (0, 0);
        for (path, text) in examples() {
            for_clusters += usize::from(path.contains("/cluster/"));
            for model in documents(&text, &namespace) {
                match refusal(&namespace, &model).await? {
                    None => accepted += 1,
                    Some(message) => {
                        assert!(!path.contains("/cluster/"), "{path} is made for clusters: {message}");
                        let here = [rules::SOURCE_NOT_FILE, rules::OUTPUT_IN_A_CLUSTER];
                        assert!(here.iter().any(|rule| message.contains(rule.message)), "{path}: {message}");
                    }
                }
            }
        }
        assert_eq!(accepted, for_clusters, "whatever else is for one machine alone");
        assert!(accepted >= 5, "{accepted}");

        // The example that the reference documents has every field there is.
        let examples = documents(EXAMPLE, &namespace);
        assert_eq!(examples.len(), 7);
        for model in &examples {
            assert_eq!(refusal(&namespace, model).await?, None);
        }
        Ok(())
    })
    .await
}

#[rstest]
#[case("1", json!(1))]
#[case("'1'", json!("1"))]
#[case("500m", json!("500m"))]
#[tokio::test]
async fn quantities_keep_the_form_that_was_written(
    #[case] written: &str,
    #[case] stored: Value,
) -> anyhow::Result<()> {
    with_namespace("quantities", async |namespace| {
        crd::install(&namespace.client).await?;
        let text = serving(&format!(
            "executionProvider: CUDA, resources: {{requests: {{cpu: {written}}}, limits: {{nvidia.com/gpu: 1, memory: '4294967296'}}}}"
        ));
        let models = models(&namespace);
        models.create(&PostParams::default(), &documents(&text, &namespace)[0]).await?;
        let resources = models.get("m").await?.data["spec"]["serving"]["resources"].clone();
        assert_eq!(resources["requests"]["cpu"], stored);
        assert_eq!(resources["limits"], json!({"nvidia.com/gpu": 1, "memory": "4294967296"}));
        // Our own types read what is stored, and write it back as it was.
        let typed: Api<modelwright_api::Model> = namespace.api();
        let model = serde_json::to_value(typed.get("m").await?)?;
        assert_eq!(model["spec"]["serving"]["resources"], resources);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn unknown_fields_are_refused_where_kubectl_asks_for_it() -> anyhow::Result<()> {
    with_namespace("unknown", async |namespace| {
        crd::install(&namespace.client).await?;
        let text = serving("replica: 2");
        let path = std::env::temp_dir().join(format!("{}.yaml", namespace.name));
        fs::write(&path, &text)?;
        let output = program("kubectl")
            .args(["apply", "--namespace", &namespace.name, "--dry-run=server", "-f"])
            .arg(&path)
            .output()
            .context("cannot run kubectl")?;
        fs::remove_file(&path)?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("unknown field \"spec.serving.replica\""),
            "{said}"
        );
        Ok(())
    })
    .await
}

fn kubectl(arguments: &[&str]) -> anyhow::Result<String> {
    let output = program("kubectl").args(arguments).output().context("cannot run kubectl")?;
    anyhow::ensure!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Short names and categories reach kubectl by the API server's discovery, a moment after the definition is established.
async fn kubectl_knows_models() -> anyhow::Result<()> {
    wait::wait_for("discovery of Models", Duration::from_secs(30), || async {
        Ok(match kubectl(&["get", "mdl,modelwright", "--all-namespaces"]) {
            Ok(_) => Seen::Done(()),
            Err(error) => Seen::NotYet(error.to_string()),
        })
    })
    .await
}

#[tokio::test]
async fn kubectl_explains_every_field() -> anyhow::Result<()> {
    with_namespace("explain", async |namespace| {
        crd::install(&namespace.client).await?;
        kubectl_knows_models().await?;
        let mut waiting = vec!["mdl".to_owned()];
        let mut explained = 0;
        while let Some(path) = waiting.pop() {
            let text = kubectl(&["explain", &path])?;
            assert!(!text.contains("<no description>") && text.contains("DESCRIPTION:"), "{path}:\n{text}");
            explained += 1;
            // Two levels: each of the others was described in the list of its parent.
            if path.matches('.').count() < 2 && path != "mdl.metadata" {
                let (_, fields) = text.split_once("FIELDS:").unwrap_or_default();
                let names = fields.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
                // The values of an enumeration stand beneath its field, as `enum: A, B`.
                let names = names.filter_map(|line| line.split_whitespace().next());
                let names = names.filter(|name| !name.ends_with(':'));
                waiting.extend(names.map(|name| format!("{path}.{name}")));
            }
        }
        assert!(explained > 15, "{explained}");
        let spec = kubectl(&["explain", "mdl.spec"])?;
        for field in ["source", "training", "serving", "rollout"] {
            assert!(spec.contains(field), "{spec}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn columns_answer_at_a_glance() -> anyhow::Result<()> {
    with_namespace("columns", async |namespace| {
        crd::install(&namespace.client).await?;
        let models = models(&namespace);
        models.create(&PostParams::default(), &documents(&source("uri: 's3://m/x'"), &namespace)[0]).await?;
        let status = json!({"status": {
            "observedGeneration": 1,
            "url": "http://m.demo.svc",
            "replicas": 2,
            "revisions": {"active": {"id": "0123456789abcdef", "digest": format!("sha256:{}", "0".repeat(64)), "uri": "s3://m/x"}},
            "runtime": {"executionProvider": "CPU"},
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Serving", "message": "all is well",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
            }],
        }});
        models.patch_status("m", &PatchParams::default(), &Patch::Merge(&status)).await?;
        kubectl_knows_models().await?;
        let table = kubectl(&["get", "mdl", "--namespace", &namespace.name])?;
        let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NAME", "READY", "REASON", "URL", "REVISION", "REPLICAS", "EP", "AGE"]);
        assert_eq!(rows[1][..7], ["m", "True", "Serving", "http://m.demo.svc", "0123456789abcdef", "2", "CPU"]);
        let all = kubectl(&["get", "modelwright", "--namespace", &namespace.name, "--output=name"])?;
        assert_eq!(all.trim(), format!("model.{GROUP}/m"));
        Ok(())
    })
    .await
}
