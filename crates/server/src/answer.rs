//! Building answers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use hyper::body::{Frame, SizeHint};
use modelwright_protocol::v2::ErrorBody;
use modelwright_runtime::ErrorClass;
use serde::Serialize;

/// What every handler of HTTP answers with. The bytes may keep something alive until they are written.
pub(crate) type Response = http::Response<Bytes>;

/// What leaves on a connection.
pub(crate) type Outgoing = http::Response<Body>;

/// The body of an answer. It may keep something alive until it is written.
pub(crate) enum Body {
    /// All of it at once; `None` when it is written, or empty.
    Full(Option<Bytes>),
    /// Messages of gRPC with their status behind them, and what they keep alive.
    Grpc { messages: tonic::body::Body, _kept: Box<dyn Send> },
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        Self::Full(Some(bytes.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match &mut *self {
            Self::Full(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Grpc { messages, .. } => Pin::new(messages).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Grpc { messages, .. } => messages.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Grpc { messages, .. } => messages.size_hint(),
        }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A 200 with a body that is JSON already.
pub(crate) fn json_bytes(body: impl Into<Bytes>) -> Response {
    with_type(StatusCode::OK, JSON, body)
}

/// A 200 with a value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    serde_json::to_vec(value).map_or_else(
        |error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        json_bytes,
    )
}

/// A body of any type.
pub(crate) fn with_type(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer that is not a success: a status, and the sentence that goes into `{"error": …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
    challenge: Option<&'static str>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None, allow: None, challenge: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503 with the time after which it is worth another try, rounded up to whole seconds.
    pub(crate) fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self::later(StatusCode::SERVICE_UNAVAILABLE, message, retry_after)
    }

    /// Any status with the time after which it is worth another try, rounded up to whole seconds.
    pub(crate) fn later(status: StatusCode, message: impl Into<String>, retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self { retry_after: Some(seconds.max(1)), ..Self::new(status, message) }
    }

    /// 401 with what the client should show.
    pub(crate) fn unauthenticated(message: impl Into<String>, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// 405 with the methods that the path takes.
    pub(crate) fn method(allow: &'static str) -> Self {
        let message = format!("this path takes {allow}");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    pub(crate) fn into_message(self) -> String {
        self.message
    }

    pub(crate) fn into_response(self) -> Response {
        let body = serde_json::to_vec(&ErrorBody { error: self.message }).unwrap_or_default();
        let mut response = with_type(self.status, JSON, body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<modelwright_protocol::Error> for Refusal {
    fn from(error: modelwright_protocol::Error) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.to_string())
    }
}

impl From<modelwright_runtime::Error> for Refusal {
    fn from(error: modelwright_runtime::Error) -> Self {
        let message = error.to_string();
        let soon = Duration::from_secs(1);
        match error.class() {
            ErrorClass::Request => Self::bad_request(message),
            ErrorClass::Overloaded => {
                let retry_after = match error {
                    modelwright_runtime::Error::Overloaded { retry_after, .. } => retry_after,
                    _ => soon,
                };
                Self::unavailable(message, retry_after)
            }
            ErrorClass::Closed => Self::unavailable(message, soon),
            ErrorClass::Deadline => Self::new(StatusCode::GATEWAY_TIMEOUT, message),
            ErrorClass::Configuration | ErrorClass::Model | ErrorClass::Missing | ErrorClass::Internal => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_whole_seconds_and_at_least_one() {
        for (given, expected) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (60_000, "60")] {
            let response = Refusal::unavailable("busy", Duration::from_millis(given)).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], expected, "{given} ms");
        }
    }

    #[test]
    fn errors_of_the_runtime_get_the_status_of_their_class() {
        let status = |error: modelwright_runtime::Error| Refusal::from(error).status.as_u16();
        let detail = String::new;
        assert_eq!(status(modelwright_runtime::Error::InvalidInput { detail: detail() }), 400);
        assert_eq!(status(modelwright_runtime::Error::OutOfMemory { detail: detail() }), 503);
        assert_eq!(status(modelwright_runtime::Error::Closed), 503);
        assert_eq!(status(modelwright_runtime::Error::DeadlineExceeded), 504);
        assert_eq!(status(modelwright_runtime::Error::RunFailed { detail: detail() }), 500);
    }
}
