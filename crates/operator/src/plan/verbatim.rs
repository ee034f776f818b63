//! Parts of a spec that are Kubernetes' own, read into its types.

use modelwright_api::{
    conditions::{Cause, Reason},
    free_form::FreeForm,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// Reads a part word for word. What the type does not know is refused by its path rather than dropped.
pub(super) fn verbatim<K: Serialize + DeserializeOwned>(
    written: &FreeForm,
    path: &str,
    reason: Reason,
) -> Result<K, Cause> {
    let refuse = |problem: String| Cause::new(reason, format!("{path}{problem}"));
    let written = written.to_value();
    let typed: K = serde_json::from_value(written.clone()).map_err(|error| refuse(format!(": {error}")))?;
    let kept = serde_json::to_value(&typed).map_err(|error| refuse(format!(": {error}")))?;
    match lost(&written, &kept, "") {
        None => Ok(typed),
        Some(lost) => Err(refuse(format!(
            "{lost} is not a field that Kubernetes knows here; look at its spelling and indentation"
        ))),
    }
}

/// The path of the first key that was written and is not kept. A key without a value says nothing.
fn lost(written: &Value, kept: &Value, path: &str) -> Option<String> {
    match (written, kept) {
        (Value::Object(written), Value::Object(kept)) => {
            written.iter().filter(|(_, value)| !value.is_null()).find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match kept.get(key) {
                    Some(kept) => lost(value, kept, &path),
                    None => Some(path),
                }
            })
        }
        (Value::Array(written), Value::Array(kept)) => written
            .iter()
            .zip(kept)
            .enumerate()
            .find_map(|(index, (written, kept))| lost(written, kept, &format!("{path}[{index}]"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::autoscaling::v2::MetricSpec;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn free_form(value: Value) -> FreeForm {
        serde_json::from_value(value).unwrap()
    }

    fn metric(written: Value) -> Result<MetricSpec, String> {
        let written = free_form(written);
        verbatim(&written, "metrics[0]", Reason::InvalidAutoscaling).map_err(|cause| cause.message)
    }

    #[test]
    fn what_kubernetes_knows_is_read() {
        let resource = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}});
        assert_eq!(metric(json!({"type": "Resource", "resource": resource})).unwrap().type_, "Resource");
    }

    #[rstest]
    #[case(json!({"type": "Resource", "resources": {}}), "metrics[0].resources is not a field")]
    #[case(json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "avg": 5}}}), "metrics[0].resource.target.avg is not")]
    #[case(json!({"type": 5}), "metrics[0]: invalid type: integer")]
    fn what_it_does_not_know_is_refused_by_its_path(#[case] written: Value, #[case] part: &str) {
        let message = metric(written).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
}
