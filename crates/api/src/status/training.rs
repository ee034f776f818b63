//! `status.training`.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Metrics;

/// What a training is doing, or did last.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingStatus {
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<TrainingPhase>,
    /// What the last finished training was made for: the sha256 of the training's settings and of the annotation
    /// `modelwright.dev/retrain-at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub trained_from: Option<String>,
    /// The Job of the newest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job: Option<String>,
    /// The number of the newest attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub attempt: Option<i32>,
    /// When the newest training began (RFC 3339); the next tick of `cron` is one after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub started_at: Option<String>,
    /// When the next training is due (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub next_at: Option<String>,
    /// How much of it is done, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub progress_percent: Option<i32>,
    /// The epochs that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,
    /// The seconds that it will probably still take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub eta_seconds: Option<i64>,
    /// The deciding metric, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub metric: Option<String>,
    /// What was measured: of the running training its newest, else of the trained revision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub metrics: Metrics,
    /// The same of the simple model that is fitted beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub baseline: Metrics,
    /// The sha256 of data and settings that the revision was trained from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub inputs_digest: Option<String>,
    /// The digest of the revision that was trained last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub revision: Option<String>,
    /// Whether the gate let it pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<bool>,
    /// What the data looked like without reading it, as a sha256; the next poll compares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71))]
    pub fingerprint: Option<String>,
    /// When the data was looked at last (RFC 3339); kept where `pollInterval` is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub checked_at: Option<String>,
    /// Why the last look whether the data changed failed, as one word for programs; none if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub look_failed: Option<String>,
    /// Why, as one word for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
    /// Why, as a sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub message: Option<String>,
}

/// What a training is doing: it waits for its queue (`Queued`) or a node and images (`Starting`), reads data (`Fetching`),
/// trains (`Training`), checks the result (`Checking`), publishes it (`Publishing`), or is at an end: `Succeeded`,
/// `Refused` by the gate, or `Failed`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum TrainingPhase {
    /// It waits for its queue.
    Queued,
    /// It waits for a node and images.
    Starting,
    /// It reads data.
    Fetching,
    /// It trains.
    Training,
    /// The result is checked.
    Checking,
    /// The result is published.
    Publishing,
    /// It gave a revision.
    Succeeded,
    /// The gate refused the revision.
    Refused,
    /// It gave none.
    Failed,
}
