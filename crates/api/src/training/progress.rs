//! How far a training is, as its pod tells it: `GET /progress` on port 9091 of `train` and of `agent`.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::status::{Metrics, TrainingPhase};

/// The path of a [`TrainingProgress`] as JSON.
pub const PATH: &str = "/progress";
/// The most bytes that a reader takes.
pub const MAX_BYTES: usize = 16 << 10;
/// The most metrics; the status holds no more.
pub const MAX_METRICS: usize = 32;

/// How far a training is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingProgress {
    /// What it is doing.
    pub phase: ProgressPhase,
    /// How much of it is done, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_percent: Option<u8>,
    /// The epochs that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// The seconds that it will probably still take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    /// The newest numbers, such as `trainLoss` and `valLoss`.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub metrics: Metrics,
    /// For how many seconds nothing has moved: no step, no line of progress, no checkpoint.
    #[serde(default)]
    pub stalled_seconds: u64,
    /// When something moved last (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<String>,
}

/// What a training's pod is doing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ProgressPhase {
    /// It reads data.
    #[default]
    Fetching,
    /// It trains.
    Training,
    /// The result is checked.
    Checking,
    /// The result is published.
    Publishing,
}

impl ProgressPhase {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetching => "Fetching",
            Self::Training => "Training",
            Self::Checking => "Checking",
            Self::Publishing => "Publishing",
        }
    }
}

impl From<ProgressPhase> for TrainingPhase {
    fn from(phase: ProgressPhase) -> Self {
        match phase {
            ProgressPhase::Fetching => Self::Fetching,
            ProgressPhase::Training => Self::Training,
            ProgressPhase::Checking => Self::Checking,
            ProgressPhase::Publishing => Self::Publishing,
        }
    }
}

impl TrainingProgress {
    /// The same as gauges in the text format of Prometheus. What is not known has no line.
    pub fn to_prometheus(&self) -> String {
        let mut text = String::new();
        let mut gauge = |name: &str, help: &str, labels: &str, value: f64| {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}\n");
        };
        let phase = format!("{{phase=\"{}\"}}", self.phase.as_str());
        gauge("model_training_phase", "1 for what the training is doing.", &phase, 1.0);
        if let Some(percent) = self.progress_percent {
            let done = f64::from(percent) / 100.0;
            gauge("model_training_progress", "How much of the training is done, 0 to 1.", "", done);
        }
        if let Some(epoch) = self.epoch {
            gauge("model_training_epoch", "The epochs that are done.", "", epoch as f64);
        }
        if let Some(seconds) = self.eta_seconds {
            let help = "The seconds that the training will probably still take.";
            gauge("model_training_eta_seconds", help, "", seconds as f64);
        }
        let help = "For how many seconds nothing has moved.";
        gauge("model_training_stalled_seconds", help, "", self.stalled_seconds as f64);
        if let Some(loss) = self.metrics.get("trainLoss") {
            gauge("model_training_loss", "The loss on the training rows.", "", *loss);
        }
        let mut first = true;
        for (name, value) in &self.metrics {
            if std::mem::take(&mut first) {
                text.push_str("# HELP model_training_metric The newest numbers, by name.\n");
                text.push_str("# TYPE model_training_metric gauge\n");
            }
            // Names come from a user's program.
            let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = writeln!(text, "model_training_metric{{metric=\"{name}\"}} {value}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_as_it_is_written_and_only_the_phase_must_be_there() {
        let text = r#"{"phase":"Training","progressPercent":45,"epoch":12,"etaSeconds":95,"metrics":{"valLoss":0.23},"stalledSeconds":0,"updatedAt":"2026-01-02T03:04:05Z"}"#;
        let progress: TrainingProgress = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&progress).unwrap(), text);
        let least: TrainingProgress = serde_json::from_str(r#"{"phase":"Checking","later":1}"#).unwrap();
        assert_eq!(least, TrainingProgress { phase: ProgressPhase::Checking, ..TrainingProgress::default() });
        assert!(serde_json::from_str::<TrainingProgress>("{}").is_err());
    }

    #[test]
    fn gauges_say_what_is_known_and_names_cannot_break_a_line() {
        let metrics = Metrics::from([("trainLoss".to_owned(), 0.5), ("a\"\nb".to_owned(), 2.0)]);
        let progress = TrainingProgress {
            phase: ProgressPhase::Training,
            progress_percent: Some(45),
            metrics,
            ..TrainingProgress::default()
        };
        let text = progress.to_prometheus();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "model_training_phase{phase=\"Training\"} 1",
                "model_training_progress 0.45",
                "model_training_stalled_seconds 0",
                "model_training_loss 0.5",
                "model_training_metric{metric=\"a\\\"\\nb\"} 2",
                "model_training_metric{metric=\"trainLoss\"} 0.5",
            ]
        );
    }
}
