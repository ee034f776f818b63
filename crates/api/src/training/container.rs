//! `spec.training.container`: training by an image of the user's.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{free_form::FreeForm, rules};

/// A container of yours that trains: it reads `ML_DATA_DIR` and writes `model.onnx` into `ML_OUT_DIR`. It sees no
/// credentials of the stores.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrainingContainer {
    /// The image.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,
    /// What runs instead of the image's entry point.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 4096)))]
    pub args: Vec<String>,
    /// Environment variables. Values from Secrets: `podTemplate`, `train` among `initContainers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub env: Vec<EnvironmentVariable>,
    /// Free settings: the file `ML_CONFIG` as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<FreeForm>,
    /// How many pods train together. More than one: `torchrun` finds the others by `PET_*`, and the first one's
    /// result counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub nodes: Option<i32>,
}

/// An environment variable.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentVariable {
    /// The name; those that Modelwright sets itself are refused.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = rules::ENVIRONMENT_NAME)]
    pub name: String,
    /// The value.
    #[schemars(length(max = 4096))]
    pub value: String,
}
