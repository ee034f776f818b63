//! What a source is resolved for, and hashes of what things are made from.

use std::fmt::Write as _;

use modelwright_api::{
    Model,
    contract::annotations,
    model::{CopyTo, SecretReference},
    serving::ExecutionProvider,
    training::{Beat, Builtin, Requirement, TrainingContainer, TrainingData},
};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Everything that decides what resolving a source gives. `pollInterval` does not.
#[derive(Serialize)]
struct Asked<'a> {
    uri: &'a str,
    digest: Option<&'a str>,
    credentials: Option<&'a SecretReference>,
    copy_to: Option<&'a CopyTo>,
    execution_provider: ExecutionProvider,
    resolve_at: Option<&'a str>,
}

/// The identity of the question what this Model's source holds: 64 hexadecimal digits; `None` without a source.
pub(super) fn resolved_from(model: &Model) -> Option<String> {
    let source = model.spec.source.as_ref()?;
    let serving = model.spec.serving.as_ref();
    Some(sha256(&Asked {
        uri: &source.uri,
        digest: source.digest.as_deref(),
        credentials: source.credentials_secret_ref.as_ref(),
        copy_to: source.copy_to.as_ref(),
        execution_provider: serving.and_then(|serving| serving.execution_provider).unwrap_or_default(),
        resolve_at: annotation(model, annotations::RESOLVE_AT),
    }))
}

/// What decides what a training gives and whether its gate lets it pass. Neither credentials nor when, where and how long it runs
/// do.
#[derive(Serialize)]
struct Trained<'a> {
    data: TrainingData,
    builtin: Option<Builtin>,
    container: Option<&'a TrainingContainer>,
    output: Option<&'a str>,
    require: &'a [Requirement],
    beat: Option<Beat>,
    retrain_at: Option<&'a str>,
}

/// The identity of what this Model's training is asked for: 64 hexadecimal digits; `None` without a training.
pub(super) fn trained_from(model: &Model) -> Option<String> {
    let training = model.spec.training.as_ref()?;
    let mut data = TrainingData { poll_interval: None, ..training.data.clone() };
    let validation = data.validation.as_mut().and_then(|validation| validation.source.as_mut());
    let test = data.test.as_mut().map(|test| &mut test.source);
    for source in validation.into_iter().chain(test).chain([&mut data.source]) {
        source.credentials_secret_ref = None;
    }
    let gate = training.gate.as_ref();
    Some(sha256(&Trained {
        data,
        // Results do not depend on the number of threads.
        builtin: training.builtin.clone().map(|builtin| Builtin { threads: None, ..builtin }),
        container: training.container.as_ref(),
        output: training.output.as_ref().map(|output| output.uri.as_str()),
        require: gate.map_or(&[], |gate| &gate.require),
        beat: gate.and_then(|gate| gate.beat),
        retrain_at: annotation(model, annotations::RETRAIN_AT),
    }))
}

/// An annotation of the Model.
pub(super) fn annotation<'a>(model: &'a Model, key: &str) -> Option<&'a str> {
    model.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The sha256 of a value's canonical JSON (RFC 8785), as 64 hexadecimal digits.
pub(super) fn sha256(value: &impl Serialize) -> String {
    // Plain data serialises; if ever not, all such values are the same, and nothing is rendered twice for it.
    let bytes = serde_json_canonicalizer::to_vec(value).unwrap_or_default();
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(spec: &str) -> Model {
        Model::new("m", serde_json::from_str(spec).unwrap())
    }

    #[test]
    fn identity_changes_with_what_would_be_read_and_with_nothing_else() {
        let of = |spec: &str| resolved_from(&model(spec)).unwrap();
        let first = of(r#"{"source": {"uri": "s3://m/x"}}"#);
        assert_eq!(first.len(), 64);
        assert_eq!(
            first,
            of(r#"{"source": {"uri": "s3://m/x", "pollInterval": "10m"}, "serving": {"replicas": 3}}"#)
        );
        assert_ne!(first, of(r#"{"source": {"uri": "s3://m/y"}}"#));
        assert_ne!(first, of(r#"{"source": {"uri": "s3://m/x", "credentialsSecretRef": {"name": "s"}}}"#));
        let mut again = model(r#"{"source": {"uri": "s3://m/x"}}"#);
        again.metadata.annotations = Some([(annotations::RESOLVE_AT.to_owned(), "now".to_owned())].into());
        assert_ne!(Some(first), resolved_from(&again));
        assert_eq!(resolved_from(&model("{}")), None);
    }
}
