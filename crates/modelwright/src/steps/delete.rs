//! `modelwright delete`: which revisions of a Model are too many, and their deletion.

use std::fs;
use std::path::Path;
use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_api::contract::{ExitCode, environment::OUTPUT_PREFIX};
use modelwright_api::training::order::{DeletionOrder, MAX_ORDER_BYTES, store};
use modelwright_artifact::Retry;
use modelwright_artifact::retention::{Deleted, RetentionRequest, delete_revisions, list_revisions};

use crate::arguments::DeleteArguments;
use crate::failure::Failure;
use crate::steps::secret::Secret;
use crate::{environment, report, steps};

/// Runs it.
pub(crate) fn run(arguments: &DeleteArguments) -> ProcessExit {
    let result = steps::block_on(steps::until_terminated(delete(arguments)));
    report::end(result, arguments.step.termination_log.as_ref())
}

async fn delete(arguments: &DeleteArguments) -> Result<Outcome, Failure> {
    let order = read(&arguments.config)?;
    let credentials = environment::prefixed_credentials(OUTPUT_PREFIX);
    let secret = Secret::of_source(&arguments.step, &credentials);
    let prefix = steps::uri(&store(&order.output, &order.namespace, &order.model))?;
    secret.check(&prefix)?;
    let request = RetentionRequest {
        connection: steps::connection(credentials.clone(), &arguments.step, Retry::FETCH),
        prefix,
        uid: order.uid,
        keep: order.keep,
        protected: order.protected,
    };
    // A Model that goes needs no list: nothing of it stays.
    if order.delete.is_none() && order.keep.is_some() {
        let listed = list_revisions(&request).await.map_err(|error| secret.explain(error))?;
        let message = format!("{} revisions below {} are too many", listed.len(), request.prefix);
        return Ok(Outcome { revisions: listed, message, ..Outcome::success("Listed") });
    }
    let deleted = delete_revisions(&request, order.delete.as_deref()).await;
    let deleted = deleted.map_err(|error| secret.explain(error))?;
    Ok(outcome(deleted, &request.prefix.to_string()))
}

fn outcome(deleted: Deleted, prefix: &str) -> Outcome {
    let Deleted { revisions, objects, bytes, kept } = deleted;
    let mut message =
        format!("{} revisions with {objects} objects are deleted below {prefix}", revisions.len());
    if !kept.is_empty() {
        message = format!("{message}; {} stay, because they may not go any more", kept.join(", "));
    }
    Outcome { revisions, bytes: Some(bytes), message, ..Outcome::success("Deleted") }
}

/// Reads the order. One without a uid would match what nobody's provenance says.
fn read(path: &Path) -> Result<DeletionOrder, Failure> {
    let invalid = |problem: String| {
        let message =
            format!("--config {}: {problem}; use an image of the operator's version", path.display());
        Failure::new(ExitCode::InvalidConfiguration, "InvalidArguments", message)
    };
    let text = fs::read(path).map_err(|error| invalid(error.to_string()))?;
    if text.len() > MAX_ORDER_BYTES {
        return Err(invalid(format!("it has more than {MAX_ORDER_BYTES} bytes")));
    }
    let order: DeletionOrder = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    let DeletionOrder { model, namespace, uid, output, keep: _, protected: _, delete: _ } = &order;
    let parts = [("model", model), ("namespace", namespace), ("uid", uid), ("output", output)];
    if let Some((name, _)) = parts.into_iter().find(|(_, value)| value.is_empty()) {
        return Err(invalid(format!("{name} is missing")));
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn order_that_does_not_say_whose_revisions_is_refused() {
        let whole = r#"{"model": "m", "namespace": "n", "uid": "u", "output": "s3://b/m", "keep": 3}"#;
        assert_eq!(read(order_file(whole).path()).unwrap().keep, Some(3));
        for wrong in [&whole.replace("\"u\"", "\"\""), &whole.replace("\"uid\"", "\"id\""), "", "[]"] {
            let failure = read(order_file(wrong).path()).unwrap_err();
            assert_eq!((failure.exit.number(), failure.reason.as_str()), (64, "InvalidArguments"), "{wrong}");
        }
    }

    #[test]
    fn what_stays_is_said() {
        let deleted = Deleted { revisions: vec!["a".into()], kept: vec!["b".into()], ..Deleted::default() };
        let outcome = outcome(deleted, "s3://b/m");
        assert_eq!((outcome.ok, outcome.reason.as_str()), (true, "Deleted"));
        assert!(outcome.message.contains("; b stay"), "{}", outcome.message);
    }
}
