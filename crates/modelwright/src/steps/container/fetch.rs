//! `modelwright fetch --config`: the data of a training and its newest checkpoint, unless a revision for them is published.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use modelwright_api::Outcome;
use modelwright_api::contract::{ExitCode, environment as variables, paths};
use modelwright_api::free_form::FreeForm;
use modelwright_api::training::order::TrainingOrder;
use modelwright_api::training::{DataFormat, DataSource, TrainingContainer};
use modelwright_artifact::data::{
    DataFile, DataListing, DataRequest, data_tree_digest, fetch_data_tree, list_data,
};
use modelwright_artifact::provenance::Dependency;
use modelwright_artifact::{Digest, checkpoints, inputs, published_file};
use modelwright_trainer::container::{Measured, NO_NUMERICS};
use modelwright_trainer::gate;
use modelwright_trainer::pipeline::metrics::METRICS_FILE;
use serde::Serialize;

use super::{InputsRecord, OutputStore, Pod, Reader};
use crate::arguments::StepArguments;
use crate::failure::Failure;
use crate::steps::reuse;
use crate::terminal::Terminal;

/// The most bytes of a published `metrics.json`.
const MAX_METRICS_BYTES: usize = 4 << 20;

/// One set of rows.
struct Set {
    name: &'static str,
    reader: Reader,
    endings: Vec<&'static str>,
}

/// Runs it.
pub(in crate::steps) async fn fetch(
    config: &Path,
    ml: &Path,
    step: &StepArguments,
) -> Result<(Outcome, ExitCode), Failure> {
    let pod = Pod::open(config, ml)?;
    let store = pod.store(step)?;
    let sets = list(&pod.order, step).await?;
    let fingerprint = fingerprint(&sets);
    let record = bring(&pod, &sets, fingerprint).await?;
    let known = inputs::find(&store.prefix, &store.connection, &record.inputs_digest).await;
    if let Some(digest) = known.map_err(|error| store.explain(error))? {
        return known_revision(&pod, &store, &record, digest).await;
    }
    record.write(&pod.folders.records())?;
    let restored = restore(&pod, &store, record.inputs_digest).await?;
    let bytes: u64 = sets.iter().filter_map(|(_, listing)| listing.total_bytes()).sum();
    let message = format!("{} files of data{restored}", record.files.len());
    tracing::info!(inputs = %record.inputs_digest, bytes, "{message}");
    let outcome = Outcome { bytes: Some(bytes), message, ..Outcome::success("Fetched") };
    Ok((about(outcome, &record), ExitCode::Done))
}

/// What the data looks like without reading it; `None` if a store tells too little to be sure.
pub(in crate::steps) async fn look(
    order: &TrainingOrder,
    step: &StepArguments,
) -> Result<Option<String>, Failure> {
    Ok(fingerprint(&list(order, step).await?))
}

async fn list(order: &TrainingOrder, step: &StepArguments) -> Result<Vec<(Set, DataListing)>, Failure> {
    let mut sets = Vec::new();
    for set in sets_of(order, step)? {
        let request = DataRequest {
            uri: set.reader.uri.clone(),
            endings: set.endings.clone(),
            connection: set.reader.connection.clone(),
        };
        let listing = list_data(&request).await.map_err(|error| set.reader.explain(error))?;
        sets.push((set, listing));
    }
    Ok(sets)
}

/// An outcome with what it is made from.
pub(in crate::steps) fn about(outcome: Outcome, record: &InputsRecord) -> Outcome {
    Outcome {
        inputs_digest: Some(record.inputs_digest.to_string()),
        fingerprint: record.fingerprint.clone(),
        ..outcome
    }
}

fn sets_of(order: &TrainingOrder, step: &StepArguments) -> Result<Vec<Set>, Failure> {
    let data = &order.training.data;
    let validation = data.validation.as_ref().and_then(|validation| validation.source.as_ref());
    let test = data.test.as_ref().map(|test| &test.source);
    let all = [
        ("train", Some(&data.source), "", paths::SOURCE),
        ("validation", validation, variables::VALIDATION_PREFIX, paths::VALIDATION),
        ("test", test, variables::TEST_PREFIX, paths::TEST),
    ];
    let set = |(name, source, prefix, volume): (&'static str, Option<&DataSource>, &str, &str)| {
        let source = source?;
        let secret = source.credentials_secret_ref.as_ref().map(|secret| secret.name.clone());
        let reader = Reader::new(&source.uri, secret, prefix, Some(volume), step);
        Some(reader.map(|reader| Set { name, reader, endings: endings(source.format) }))
    };
    all.into_iter().filter_map(set).collect()
}

/// A container may read anything; a format that is written picks the files of a prefix.
fn endings(format: Option<DataFormat>) -> Vec<&'static str> {
    match format {
        None => Vec::new(),
        Some(DataFormat::Csv) => vec![".csv", ".tsv", ".txt"],
        Some(DataFormat::Parquet) => vec![".parquet", ".pq"],
    }
}

/// What changes when the data does; `None` if a store tells too little to be sure.
fn fingerprint(sets: &[(Set, DataListing)]) -> Option<String> {
    let each = sets.iter().map(|(set, listing)| Some(listing.probe().fingerprint(&set.reader.uri)?.hex()));
    let all: Vec<String> = each.collect::<Option<_>>()?;
    Some(Digest::of(all.join("\n").as_bytes()).to_string())
}

/// Copies the data, and says what a training of it is made from.
async fn bring(
    pod: &Pod,
    sets: &[(Set, DataListing)],
    fingerprint: Option<String>,
) -> Result<InputsRecord, Failure> {
    let (started, terminal) = (Timestamp::now().to_string(), Terminal::new());
    let mut fetched: BTreeMap<&str, Vec<DataFile>> = BTreeMap::new();
    for (set, listing) in sets {
        let progress = terminal.transfers_of(set.name);
        let files = fetch_data_tree(listing, &pod.folders.data(set.name), &*progress).await;
        fetched.insert(set.name, files.map_err(|error| set.reader.explain(error))?);
    }
    let of = |name: &str| fetched.get(name).map(Vec::as_slice);
    let folders = ["train", "validation", "test"].map(|name| (name, pod.folders.data(name)));
    let [training, validation, test] = folders.each_ref().map(|(name, folder)| Some((of(name)?, &**folder)));
    let data = data_tree_digest(training.unwrap_or((&[], &folders[0].1)), validation, test)?;
    let spec = settings_digest(pod.container()?, pod.order.retrain_at.as_deref())?;
    let dependency = |file: &DataFile| Dependency {
        uri: file.name.clone(),
        digest: file.sha256,
        annotations: [("bytes".to_owned(), file.size.to_string())].into(),
    };
    Ok(InputsRecord {
        data,
        spec,
        inputs_digest: inputs::key(&modelwright_artifact::Inputs { data, spec }, NO_NUMERICS)?,
        fingerprint,
        started,
        files: ["train", "validation", "test"].into_iter().filter_map(of).flatten().map(dependency).collect(),
    })
}

/// The sha256 of the canonical JSON of all that a container's result depends on besides its data.
fn settings_digest(container: &TrainingContainer, retrain_at: Option<&str>) -> Result<Digest, Failure> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Settings<'a> {
        container: ContainerSettings<'a>,
        retrain_at: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct ContainerSettings<'a> {
        image: &'a str,
        command: &'a [String],
        args: &'a [String],
        env: &'a [modelwright_api::training::EnvironmentVariable],
        parameters: Option<&'a FreeForm>,
        nodes: i32,
    }
    // By name, so that a field that comes later is not forgotten.
    let TrainingContainer { image, command, args, env, parameters, nodes } = container;
    let container = ContainerSettings {
        image,
        command,
        args,
        env,
        parameters: parameters.as_ref(),
        nodes: nodes.unwrap_or(1),
    };
    let bytes = serde_json_canonicalizer::to_vec(&Settings { container, retrain_at })
        .map_err(|error| Failure::bug(format!("the container's settings do not serialise: {error}")))?;
    Ok(Digest::of(&bytes))
}

/// These inputs were trained before: there is nothing to do but to judge the result by the gate as it is now.
async fn known_revision(
    pod: &Pod,
    store: &OutputStore,
    record: &InputsRecord,
    digest: Digest,
) -> Result<(Outcome, ExitCode), Failure> {
    let file = published_file(&store.prefix, &store.connection, &digest, METRICS_FILE, MAX_METRICS_BYTES);
    let measured = match file.await.map_err(|error| store.explain(error))? {
        Some(bytes) => Measured::parse(&bytes)?,
        None => Measured::default(),
    };
    if pod.is_first() {
        let claimed = reuse::claim(&pod.order, &store.prefix, &store.connection, &digest).await;
        claimed.map_err(|error| store.explain(error))?;
        // Left where the attempt that published was lost before it was done.
        store.discard_checkpoints(&pod.order.run).await;
    }
    let training = &pod.order.training;
    let require = training.gate.as_ref().map(|gate| gate.require.as_slice()).unwrap_or_default();
    let refusals = gate::requirements(require, &measured.metrics, training.data.test.is_some());
    let outcome = Outcome {
        digest: Some(digest.to_string()),
        metrics: measured.metrics,
        baseline: measured.baseline,
        ..about(Outcome::default(), record)
    };
    let Some(first) = refusals.first() else {
        let message = format!("these inputs were trained before, as revision {}", digest.id());
        return Ok((
            Outcome { ok: true, reason: "Reused".to_owned(), message, ..outcome },
            ExitCode::AlreadyPublished,
        ));
    };
    let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    let message = format!("the gate refused the revision {}: {}", digest.id(), reasons.join("; "));
    Ok((Outcome { ok: false, reason: first.reason().to_owned(), message, ..outcome }, ExitCode::Refused))
}

/// Brings the newest checkpoint of the run back; says so.
async fn restore(pod: &Pod, store: &OutputStore, inputs: Digest) -> Result<String, Failure> {
    if !pod.is_first() {
        return Ok(String::new());
    }
    let (run, into) = (&pod.order.run, pod.folders.checkpoints());
    let restored = checkpoints::restore(&store.prefix, &store.connection, run, &into, Some(inputs)).await;
    Ok(restored.map_err(|error| store.explain(error))?.map_or_else(String::new, |restored| {
        format!(", and checkpoint {} with {} files", restored.number, restored.files)
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn container() -> TrainingContainer {
        serde_json::from_value(json!({"image": "i", "args": ["--x"], "parameters": {"b": 1, "a": [2]}}))
            .unwrap()
    }

    #[test]
    fn settings_are_the_documented_json() {
        let json = r#"{"container":{"args":["--x"],"command":[],"env":[],"image":"i","nodes":1,"parameters":{"a":[2],"b":1}},"retrainAt":null}"#;
        assert_eq!(settings_digest(&container(), None).unwrap(), Digest::of(json.as_bytes()));
    }

    #[test]
    fn every_setting_and_the_annotation_count_and_one_node_is_the_default() {
        let of = |container: &TrainingContainer, at| settings_digest(container, at).unwrap();
        let plain = of(&container(), None);
        assert_ne!(plain, of(&container(), Some("again")));
        assert_eq!(plain, of(&TrainingContainer { nodes: Some(1), ..container() }, None));
        for other in [
            TrainingContainer { image: "j".into(), ..container() },
            TrainingContainer { command: vec!["c".into()], ..container() },
            TrainingContainer { args: Vec::new(), ..container() },
            TrainingContainer { nodes: Some(2), ..container() },
            TrainingContainer { parameters: None, ..container() },
        ] {
            assert_ne!(plain, of(&other, None));
        }
    }
}
