//! What holds where `spec.serving.payloadLogging` says nothing.

use super::{Error, number};
use crate::serving::{PayloadLogging, PayloadMode};

/// The share of requests that is logged, in percent.
pub const PAYLOAD_SAMPLE_PERCENT: u8 = 100;
/// The most bytes of JSON for the tensors of an event: 64 KiB.
pub const PAYLOAD_MAX_BYTES: u64 = 64 << 10;

/// `spec.serving.payloadLogging` with every default resolved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedPayloadLogging {
    /// Where events go: `http:`, `https:`, `file:` or `stdout:`.
    pub url: String,
    /// What is logged.
    pub mode: PayloadMode,
    /// The share of requests, in percent.
    pub sample_percent: u8,
    /// Names whose values are left out.
    pub redact: Vec<String>,
    /// The most bytes of JSON.
    pub max_bytes: u64,
}

impl PayloadLogging {
    /// This with every default resolved.
    pub fn resolved(&self) -> Result<ResolvedPayloadLogging, Error> {
        let Self { url, mode, sample_percent, redact, max_bytes } = self;
        Ok(ResolvedPayloadLogging {
            url: url.clone(),
            mode: mode.unwrap_or_default(),
            sample_percent: sample_percent.map_or(Ok(PAYLOAD_SAMPLE_PERCENT), |percent| {
                number("spec.serving.payloadLogging.samplePercent", percent.into())
            })?,
            redact: redact.iter().map(|name| name.0.clone()).collect(),
            max_bytes: max_bytes.map_or(Ok(PAYLOAD_MAX_BYTES), |bytes| {
                number("spec.serving.payloadLogging.maxBytes", bytes)
            })?,
        })
    }
}

/// What holds where a field is absent.
pub(super) fn describe(path: &str) -> Option<String> {
    let text = match path.strip_prefix("spec.serving.payloadLogging.")? {
        "mode" => format!("{:?}", PayloadMode::default()),
        "samplePercent" => PAYLOAD_SAMPLE_PERCENT.to_string(),
        "maxBytes" => format!("{PAYLOAD_MAX_BYTES} ({} KiB)", PAYLOAD_MAX_BYTES >> 10),
        _ => return None,
    };
    Some(text)
}
