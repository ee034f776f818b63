//! Codes for what goes wrong. Pure.

use std::time::Duration;

use http::StatusCode;
use modelwright_runtime::ErrorClass;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::access::Denial;
use crate::answer::Refusal;
use crate::infer::NoOutputs;

/// Tells a client that retries by itself when to do so, in milliseconds.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// Of a request that is wrong, or a result that cannot be written.
pub(super) fn of_protocol(error: &modelwright_protocol::Error) -> Status {
    let code = match error.class() {
        modelwright_protocol::ErrorClass::BadRequest => Code::InvalidArgument,
        modelwright_protocol::ErrorClass::Internal => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// Of a request that has no outputs.
pub(super) fn of_no_outputs(none: &NoOutputs) -> Status {
    match none {
        NoOutputs::Failed(error) => of_runtime(error),
        NoOutputs::Late(timeout) => Status::deadline_exceeded(NoOutputs::late(*timeout)),
    }
}

/// Of a run that did not happen or failed.
fn of_runtime(error: &modelwright_runtime::Error) -> Status {
    let message = error.to_string();
    let code = match error.class() {
        ErrorClass::Request => Code::InvalidArgument,
        ErrorClass::Overloaded => Code::ResourceExhausted,
        ErrorClass::Closed => Code::Unavailable,
        ErrorClass::Deadline => Code::DeadlineExceeded,
        ErrorClass::Configuration | ErrorClass::Model | ErrorClass::Missing | ErrorClass::Internal => {
            Code::Internal
        }
    };
    match error {
        modelwright_runtime::Error::Overloaded { retry_after, .. } => {
            pushed_back(code, message, *retry_after)
        }
        _ => Status::new(code, message),
    }
}

/// Of a client that is turned away.
pub(super) fn of_denial(denial: &Denial) -> Status {
    match denial.retry_after() {
        Some(after) => pushed_back(Code::ResourceExhausted, denial.message(), after),
        None => Status::unauthenticated(denial.message()),
    }
}

/// With the time after which another try is worth it.
fn pushed_back(code: Code, message: String, after: Duration) -> Status {
    let milliseconds = u64::try_from(after.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut metadata = MetadataMap::new();
    metadata.insert(PUSHBACK, MetadataValue::from(milliseconds));
    Status::with_metadata(code, message, metadata)
}

/// Of a model that is not there or does not answer, where the status says which.
pub(super) fn of_refusal(refusal: Refusal) -> Status {
    let code = match refusal.status() {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    };
    Status::new(code, refusal.into_message())
}

/// Of a request for which there is no memory at the moment.
pub(super) fn overloaded(refusal: Refusal) -> Status {
    Status::resource_exhausted(refusal.into_message())
}

/// What REST would have answered, for the metrics.
pub(super) const fn as_http(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::InvalidArgument
        | Code::OutOfRange
        | Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::Cancelled => StatusCode::BAD_REQUEST,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::ResourceExhausted | Code::Unavailable | Code::Aborted => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Internal | Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use modelwright_runtime::Error;

    use super::*;

    #[test]
    fn errors_of_the_runtime_get_the_code_of_their_class() {
        let code = |error: &Error| of_runtime(error).code();
        let detail = String::new;
        assert_eq!(code(&Error::InvalidInput { detail: detail() }), Code::InvalidArgument);
        assert_eq!(code(&Error::OutOfMemory { detail: detail() }), Code::ResourceExhausted);
        assert_eq!(code(&Error::Closed), Code::Unavailable);
        assert_eq!(code(&Error::DeadlineExceeded), Code::DeadlineExceeded);
        assert_eq!(code(&Error::RunFailed { detail: detail() }), Code::Internal);
    }

    #[test]
    fn refusals_keep_their_sentence() {
        let status = of_refusal(Refusal::not_found("there is no model"));
        assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no model"));
        let status = of_refusal(Refusal::unavailable("still loading", Duration::from_secs(1)));
        assert_eq!(status.code(), Code::Unavailable);
    }
}
