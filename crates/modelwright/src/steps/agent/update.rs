//! What a training says of itself: lines of `progress.jsonl`, and the callback of Kubeflow Trainer (KEP-2779). Pure: bytes
//! in, bounded values out; what is not understood is passed over.

use modelwright_api::status::Metrics;
use modelwright_api::training::progress::MAX_METRICS;
use serde_json::{Map, Value};

/// The longest line that is read.
const MAX_LINE: usize = 16 << 10;
/// How many lines are tried from the end of the file.
const TRIED_LINES: usize = 64;
/// The longest name of a metric.
const MAX_NAME: usize = 64;
/// The metrics in which callbacks tell the epoch.
const EPOCH_METRICS: [&str; 2] = ["current_epoch", "epoch"];

/// What a training says of itself; only what it said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::steps) struct Update {
    pub(in crate::steps) percent: Option<u8>,
    pub(in crate::steps) epoch: Option<u64>,
    pub(in crate::steps) eta_seconds: Option<u64>,
    pub(in crate::steps) metrics: Metrics,
}

/// The last line that is complete and says something, of the end of a file.
pub(in crate::steps) fn last_line(end: &[u8]) -> Option<Update> {
    // What follows the last line break is still being written.
    let complete = &end[..end.iter().rposition(|byte| *byte == b'\n')?];
    complete.rsplit(|byte| *byte == b'\n').take(TRIED_LINES).find_map(line)
}

/// One line: `{"progressPercent": 45, "epoch": 12, "etaSeconds": 95, "metrics": {"valLoss": 0.23}}`, every key optional.
fn line(line: &[u8]) -> Option<Update> {
    if line.len() > MAX_LINE {
        return None;
    }
    let line: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let metrics = line.get("metrics").and_then(Value::as_object).into_iter().flatten();
    let update = Update {
        percent: line.get("progressPercent").and_then(percent),
        epoch: line.get("epoch").and_then(whole),
        eta_seconds: line.get("etaSeconds").and_then(whole),
        metrics: bounded(metrics.filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)))),
    };
    (update != Update::default()).then_some(update)
}

/// The body of a callback: `{"trainerStatus": {"progressPercentage": 45, "estimatedRemainingSeconds": 95, "metrics":
/// [{"name": "loss", "value": "0.23"}], "lastUpdatedTime": "…"}}`, every key below `trainerStatus` optional.
pub(in crate::steps) fn callback(body: &[u8]) -> Option<Update> {
    let body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let status = body.get("trainerStatus")?.as_object()?;
    let listed = status.get("metrics").and_then(Value::as_array).into_iter().flatten();
    let metrics = bounded(listed.filter_map(|metric| {
        let value = metric.get("value")?;
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
        Some((metric.get("name")?.as_str()?, number))
    }));
    let epoch = EPOCH_METRICS.iter().find_map(|name| metrics.get(*name));
    Some(Update {
        percent: status.get("progressPercentage").and_then(percent),
        epoch: epoch.and_then(|epoch| whole(&Value::from(*epoch))),
        eta_seconds: status.get("estimatedRemainingSeconds").and_then(whole),
        metrics,
    })
}

/// The numbers that can be told, at most so many.
fn bounded<'a>(metrics: impl Iterator<Item = (&'a str, f64)>) -> Metrics {
    let fits = |(name, value): &(&str, f64)| {
        value.is_finite() && (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
    };
    metrics.filter(fits).take(MAX_METRICS).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A share of 100, rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 100 after the clamp")]
fn percent(value: &Value) -> Option<u8> {
    value.as_f64().map(|number| number.clamp(0.0, 100.0) as u8)
}

/// A number that is not negative, rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn whole(value: &Value) -> Option<u64> {
    value.as_f64().filter(|number| (0.0..=1e15).contains(number)).map(|number| number as u64)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn last_complete_line_counts() {
        let text = b"{\"epoch\": 1}\n{\"epoch\": 2, \"progressPercent\": 45.9, \"etaSeconds\": 95, \"metrics\": {\"valLoss\": 0.23}}\n{\"epoch\": 3";
        let update = last_line(text).unwrap();
        let metrics = [("valLoss".to_owned(), 0.23)].into();
        assert_eq!(update, Update { percent: Some(45), epoch: Some(2), eta_seconds: Some(95), metrics });
        assert_eq!(last_line(b"{\"epoch\": 3"), None);
        assert_eq!(last_line(b""), None);
    }

    #[rstest]
    #[case::no_json("hello\n")]
    #[case::list("[1]\n")]
    #[case::nothing_said("{\"step\": 4}\n")]
    #[case::types("{\"epoch\": \"2\", \"progressPercent\": null, \"metrics\": [1]}\n")]
    #[case::ranges("{\"epoch\": -1, \"etaSeconds\": 1e300}\n")]
    #[case::binary("\u{0}\u{1}\n\n\n")]
    fn line_that_says_nothing_is_passed_over(#[case] after: &str) {
        let text = format!("{{\"epoch\": 7}}\n{after}");
        assert_eq!(last_line(text.as_bytes()).unwrap().epoch, Some(7));
        assert_eq!(last_line(after.as_bytes()), None);
    }

    #[test]
    fn hostile_lines_are_bounded() {
        let many: Map<String, Value> = (0..1000).map(|i| (format!("m{i}"), Value::from(i))).collect();
        let text = format!("{}\n", serde_json::json!({"metrics": many}));
        assert_eq!(last_line(text.as_bytes()).unwrap().metrics.len(), MAX_METRICS);
        let long = format!("{{\"epoch\": 1, \"x\": \"{}\"}}\n", "y".repeat(MAX_LINE));
        assert_eq!(last_line(long.as_bytes()), None);
        let names = serde_json::json!({"metrics": {"": 1, "a\nb": 2, "c".repeat(65): 3, "ok": 4}});
        let update = last_line(format!("{names}\n").as_bytes()).unwrap();
        assert_eq!(update.metrics.into_keys().collect::<Vec<_>>(), ["ok"]);
        let deep = format!("{}\n", "[".repeat(10_000));
        assert_eq!(last_line(deep.as_bytes()), None);
        assert_eq!(last_line(b"{\"progressPercent\": 1e9}\n").unwrap().percent, Some(100));
    }

    #[test]
    fn callback_is_that_of_kubeflow_trainer() {
        let body = br#"{"trainerStatus": {"progressPercentage": 45, "estimatedRemainingSeconds": 95,
            "metrics": [{"name": "loss", "value": "0.23"}, {"name": "current_epoch", "value": "1.5"}, {"name": "x", "value": "n/a"}],
            "lastUpdatedTime": "2026-01-02T03:04:05Z"}}"#;
        let update = callback(body).unwrap();
        assert_eq!((update.percent, update.epoch, update.eta_seconds), (Some(45), Some(1), Some(95)));
        assert_eq!(update.metrics.keys().collect::<Vec<_>>(), ["current_epoch", "loss"]);
        for other in ["", "{}", "[]", "{\"trainerStatus\": 1}"] {
            assert_eq!(callback(other.as_bytes()), None, "{other}");
        }
        assert_eq!(callback(b"{\"trainerStatus\": {\"metrics\": {}}}"), Some(Update::default()));
    }
}
