//! Requests and answers as `CloudEvents` 1.0 in JSON: of the shape that KServe's logger sends, with the tensors as in the bodies
//! of the Open Inference Protocol whatever the client spoke.

use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;

use super::payload::Payload;

/// The content type of an event in structured mode.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Whose payloads these are.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) model: String,
    pub(super) namespace: Option<String>,
    /// A reference to the Model.
    pub(super) source: String,
}

/// Which half of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Request,
    Response,
}

/// An event that waits to be sent.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) half: Half,
    pub(super) request: Arc<RequestFacts>,
    pub(super) time: SystemTime,
    pub(super) payload: Payload,
}

/// What both events of a request say.
#[derive(Debug)]
pub(super) struct RequestFacts {
    pub(super) id: String,
    pub(super) revision: String,
    pub(super) traceparent: Option<String>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    source: &'a str,
    time: String,
    datacontenttype: &'static str,
    modelname: &'a str,
    revision: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    inputs: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outputs: Option<Box<RawValue>>,
}

impl Event {
    /// The event as one line of JSON.
    pub(super) fn to_json(&self, origin: &Origin, max_bytes: usize) -> Result<Vec<u8>, serde_json::Error> {
        let text = String::from_utf8_lossy(&self.payload.to_json(max_bytes)).into_owned();
        let tensors = Some(RawValue::from_string(text)?);
        let RequestFacts { id, revision, traceparent } = &*self.request;
        let data = match self.half {
            Half::Request => {
                Data { model_name: None, model_version: None, id, inputs: tensors, outputs: None }
            }
            Half::Response => Data {
                model_name: Some(&origin.model),
                model_version: Some(revision),
                id,
                inputs: None,
                outputs: tensors,
            },
        };
        serde_json::to_vec(&Envelope {
            specversion: "1.0",
            kind: match self.half {
                Half::Request => "dev.modelwright.inference.request",
                Half::Response => "dev.modelwright.inference.response",
            },
            id,
            source: &origin.source,
            time: jiff::Timestamp::try_from(self.time).unwrap_or_default().to_string(),
            datacontenttype: "application/json",
            modelname: &origin.model,
            revision,
            namespace: origin.namespace.as_deref(),
            traceparent: traceparent.as_deref(),
            data,
        })
    }
}
