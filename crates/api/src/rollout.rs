//! `spec.rollout`: how a new revision may replace the one that is served. The doc comments are the descriptions in the CRD,
//! where a field whose type is an enum shows the description of the enum.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// How a new revision may replace the one that is served.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::SURGE_OF_ROLLING)]
pub struct Rollout {
    /// How pods are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<RolloutStrategy>,
    /// How many pods more than wanted there may be meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surge: Option<Surge>,
    /// The only revision that is served, by its full digest or its id (the first 16 digits): to approve one, to go back, or
    /// to hold one. Absent: the newest that passed the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 16, max = 71))]
    #[x_kube(validation = rules::REVISION)]
    pub revision: Option<String>,
    /// How long a new revision or setting may take until its pods are ready, counted from the last pod that became ready. After
    /// that the former one is put back, which served all along. A duration from 10 seconds to 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = rules::DURATION, validation = rules::PROGRESS_DEADLINE)]
    pub progress_deadline: Option<String>,
}

/// How pods are replaced: new ones first, a few at a time (`Rolling`), or all old ones before the first new one
/// (`Recreate`), which interrupts the service and needs no spare room.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum RolloutStrategy {
    /// New pods first, a few at a time.
    #[default]
    Rolling,
    /// All old pods end before the first new one starts.
    Recreate,
}

/// How many pods more than wanted there may be while pods are replaced. `Auto`: a quarter more on CPUs, none with
/// accelerators, which are rarely spare. `One`: one more. `None`: none, so that one pod less than wanted serves meanwhile.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum Surge {
    /// A quarter more on CPUs, none with accelerators.
    #[default]
    Auto,
    /// One more.
    One,
    /// None; one pod less serves meanwhile.
    None,
}
