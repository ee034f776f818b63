//! `spec.serving.payloadLogging`: which requests and answers are logged, and where to.
#![allow(unreachable_pub, reason = "KubeSchema copies each struct, `pub` and all, into a function")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{free_form::Text, rules};

/// Send what the model is asked and answers to a sink, as `CloudEvents`. Absent: nothing is logged.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PayloadLogging {
    /// Where each event is sent by HTTP POST. In `modelwright run` also `file:PATH` or `stdout:`.
    #[schemars(length(min = 1, max = 2048))]
    #[x_kube(validation = rules::PAYLOAD_URL, validation = rules::PAYLOAD_URL_HTTP)]
    pub url: String,
    /// What is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<PayloadMode>,
    /// The share of requests that is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub sample_percent: Option<i32>,
    /// Inputs, outputs and columns of the training data whose values are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub redact: Vec<Text>,
    /// The most bytes of JSON; of more, only names, datatypes and shapes are logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max_bytes: Option<i64>,
}

/// What is logged: requests, answers, or both.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
pub enum PayloadMode {
    /// Both.
    #[default]
    All,
    /// Requests.
    Request,
    /// Answers.
    Response,
}
