//! The built-in trainer in pods.
use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::batch::v1::Job;
use kube::api::ListParams;
use modelwright_api::{Model, conditions::ConditionType, status::TrainingPhase};
use modelwright_e2e::{
    forward::Forward,
    namespace::{TestNamespace, with_namespace},
    operator::program,
    storage::Storage,
};
use serde_json::{Value, json};

use super::story::{
    active, folder, has_reason, is_ready, manifest, predict, prepared, retrain, training, until,
};

/// The id of the revision that `modelwright run` trains from an example's manifest and data on this machine.
fn trained_here(example: &str) -> anyhow::Result<String> {
    let data = std::env::temp_dir().join(format!("modelwright-{example}-{}", std::process::id()));
    let manifest = folder(example).join("model.yaml");
    let output = std::process::Command::new(program()?)
        .args(["run", "--once", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
        .arg(&data)
        .arg(manifest)
        .stdin(Stdio::null())
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let revisions = data.join("models/default").join(example).join("revisions");
    let found = std::fs::read_dir(&revisions).with_context(|| format!("{}", revisions.display()))?;
    let mut names: Vec<_> =
        found.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    std::fs::remove_dir_all(&data)?;
    ensure!(names.len() == 1, "{names:?}");
    names.pop().context("no revision")
}

/// The rows of an example, made first where they are not in the repository.
pub(super) fn rows(example: &str) -> anyhow::Result<Vec<u8>> {
    let (file, script) = (folder(example).join("data.csv"), folder(example).join("make.py"));
    if !file.is_file() {
        let status = std::process::Command::new("python3").arg(&script).stdout(Stdio::null()).status();
        ensure!(status.context("python3 makes the data")?.success(), "{}", script.display());
    }
    Ok(std::fs::read(file)?)
}

/// Applies an example, waits until it is served, and compares what the bucket then has. Returns whether progress was seen.
async fn becomes_an_endpoint(
    namespace: &TestNamespace,
    storage: &Storage,
    example: &str,
) -> anyhow::Result<bool> {
    storage.put(&format!("{}/examples/{example}/data.csv", namespace.name), rows(example)?).await?;
    let start = Instant::now();
    namespace.apply(&manifest(namespace, example)?).await?;
    let model = until(namespace, example, "progress, or Ready", |model| {
        model.holds(ConditionType::Ready) || training(model).progress_percent.is_some()
    })
    .await?;
    let seen = training(&model);
    if seen.progress_percent.is_some() && !model.holds(ConditionType::Ready) {
        eprintln!("| {example} | progress after {:.1} s: {seen:?} |", start.elapsed().as_secs_f64());
        assert!(matches!(seen.phase, Some(TrainingPhase::Fetching | TrainingPhase::Training)), "{seen:?}");
    }
    let model = is_ready(namespace, example).await?;
    eprintln!("| {example} | from kubectl apply to Ready | {:.1} s |", start.elapsed().as_secs_f64());
    let revision = active(&model)?;
    let store = format!("{}/trained/{}/{example}", namespace.name, namespace.name);
    let listed = storage.list(&store).await?;
    eprintln!("{}", listed.join("\n"));
    let below = format!("{store}/revisions/{}/", revision.id);
    for file in ["manifest.json", "model.onnx", "metrics.json"] {
        assert!(listed.contains(&format!("{below}{file}")), "{file} is missing in {listed:#?}");
    }
    let manifest: Value = serde_json::from_slice(&storage.get(&format!("{below}manifest.json")).await?)?;
    for file in manifest["files"].as_object().context("no files")?.keys() {
        assert!(listed.contains(&format!("{below}{file}")), "{file} is missing in {listed:#?}");
    }
    assert!(!listed.iter().any(|path| path.contains("/checkpoints/")), "{listed:#?}");
    let known = training(&model);
    assert_eq!(known.phase, Some(TrainingPhase::Succeeded));
    assert!(known.metric.is_some_and(|metric| metric.starts_with("valAccuracy")), "{:?}", known.metrics);
    let example = example.to_owned();
    let here = tokio::task::spawn_blocking(move || trained_here(&example)).await??;
    assert_eq!(revision.id, here, "as modelwright run trains it");
    Ok(seen.progress_percent.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_a_bucket_become_an_endpoint_with_the_digest_of_run() -> anyhow::Result<()> {
    with_namespace("train", async |namespace| {
        let storage = prepared(&namespace).await?;
        becomes_an_endpoint(&namespace, &storage, "penguins").await?;
        let bird = json!({"island": "Biscoe", "bill_length_mm": 50.0, "bill_depth_mm": 15.2, "flipper_length_mm": 218,
            "body_mass_g": 5700, "sex": "male"});
        assert_eq!(predict(&namespace, "penguins", &bird).await?["label"], "Gentoo");
        becomes_an_endpoint(&namespace, &storage, "document-network").await?;
        Ok(())
    })
    .await
}

/// Requests one after the other until told to stop: how many, and how many failed.
fn load(
    namespace: &TestNamespace,
    name: &'static str,
    record: Value,
) -> (Arc<AtomicBool>, tokio::task::JoinHandle<anyhow::Result<(u64, u64)>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, client, of) = (stop.clone(), namespace.client.clone(), namespace.name.clone());
    let task = tokio::spawn(async move {
        let forward = Forward::to_service(client, &of, name, 80).await?;
        let http = reqwest::Client::builder().timeout(Duration::from_mins(1)).build()?;
        let (mut sent, mut failed) = (0, 0);
        while !stopped.load(Ordering::Relaxed) {
            let body = json!({"instances": [record]}).to_string();
            let request = http.post(forward.url(&format!("/v1/models/{name}:predict"))).body(body);
            sent += 1;
            failed += u64::from(!request.send().await.is_ok_and(|answer| answer.status() == 200));
        }
        Ok((sent, failed))
    });
    (stop, task)
}

/// The rows with the answers of every second one dealt out anew.
fn poisoned(rows: &str) -> String {
    let mut lines = rows.lines();
    let header = lines.next().unwrap_or_default();
    let column = header.split(',').position(|name| name == "species").unwrap_or_default();
    let species = ["Adelie", "Chinstrap", "Gentoo"];
    let poison = |(number, line): (usize, &str)| {
        let mut values: Vec<_> = line.split(',').collect();
        if let Some(value) = values.get_mut(column).filter(|_| number.is_multiple_of(2)) {
            *value = species[number / 2 % 3];
        }
        values.join(",")
    };
    let lines = lines.enumerate().map(poison);
    std::iter::once(header.to_owned()).chain(lines).collect::<Vec<_>>().join("\n") + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn poisoned_data_are_refused_while_the_active_revision_answers_every_request() -> anyhow::Result<()> {
    with_namespace("poisoned", async |namespace| {
        let storage = prepared(&namespace).await?;
        let path = format!("{}/examples/penguins/data.csv", namespace.name);
        let rows = String::from_utf8(rows("penguins")?)?;
        storage.put(&path, rows.clone().into_bytes()).await?;
        namespace.apply(&manifest(&namespace, "penguins")?).await?;
        let first = active(&is_ready(&namespace, "penguins").await?)?;
        let bird = json!({"island": "Biscoe", "bill_length_mm": 50.0, "bill_depth_mm": 15.2, "flipper_length_mm": 218,
            "body_mass_g": 5700, "sex": "male"});
        let (stop, requests) = load(&namespace, "penguins", bird);
        storage.put(&path, poisoned(&rows).into_bytes()).await?;
        retrain(&namespace, "penguins", "poisoned").await?;
        let model = until(&namespace, "penguins", "a refusal", |model| {
            training(model).phase == Some(TrainingPhase::Refused)
        })
        .await?;
        assert!(model.holds(ConditionType::Ready));
        assert_eq!(active(&model)?.digest, first.digest);
        let rejected = model.status.as_ref().unwrap().revisions.as_ref().unwrap().rejected[0].clone();
        eprintln!("| poisoned | {}: {} |", rejected.reason, rejected.message);
        assert_eq!(rejected.reason, "RequirementNotMet");
        assert!(rejected.message.contains("0.9"), "{}", rejected.message);
        let id = rejected.digest.trim_start_matches("sha256:").chars().take(16).collect::<String>();
        let store = format!("{0}/trained/{0}/penguins/revisions/{id}", namespace.name);
        assert!(!storage.list(&store).await?.is_empty(), "it stays in the store");
        stop.store(true, Ordering::Relaxed);
        let (sent, failed) = requests.await??;
        eprintln!("| meanwhile | {sent} requests, {failed} failed |");
        assert!(sent > 0 && failed == 0, "{failed} of {sent}");
        let jobs = namespace.api::<Job>().list(&ListParams::default()).await?;
        assert!(jobs.iter().all(|job| job.spec.as_ref().and_then(|spec| spec.backoff_limit) == Some(0)));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn trained_before_is_found_in_seconds_and_bad_rows_are_named() -> anyhow::Result<()> {
    with_namespace("rows", async |namespace| {
        let storage = prepared(&namespace).await?;
        let path = format!("{}/examples/penguins/data.csv", namespace.name);
        namespace.apply(&manifest(&namespace, "penguins")?).await?;
        has_reason(&namespace, "penguins", "SourceNotFound").await?;
        let mut ragged = rows("penguins")?;
        ragged.extend_from_slice(b"Gentoo,Biscoe,1,2\n");
        storage.put(&path, ragged).await?;
        // Its pod says it first, and then its Job ends.
        until(&namespace, "penguins", "RaggedRow, and nothing more", |model| {
            training(model).reason.as_deref() == Some("RaggedRow") && model.holds(ConditionType::Stalled)
        })
        .await?;
        storage.put(&path, rows("penguins")?).await?;
        retrain(&namespace, "penguins", "1").await?;
        let first = active(&is_ready(&namespace, "penguins").await?)?;
        // The same rows and settings, asked for again.
        let before = training(&namespace.api::<Model>().get("penguins").await?).job;
        retrain(&namespace, "penguins", "2").await?;
        let model = until(&namespace, "penguins", "another Job's end", |model| {
            let known = training(model);
            known.job != before && known.phase == Some(TrainingPhase::Succeeded)
        })
        .await?;
        assert_eq!(active(&model)?.digest, first.digest);
        Ok(())
    })
    .await
}
