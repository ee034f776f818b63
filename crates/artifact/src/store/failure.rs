//! What a failed request means. Bodies of answers never reach a message.

use std::error::Error as StdError;
use std::io;

use http::StatusCode;

use super::identity::Unavailable;
use crate::Error;
use crate::access::Refusal;
use crate::path::printable;

/// The error and its causes, those wrapped in `io::Error` included.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref::<T>())
}

/// Whether our own rules refused the request, so that trying again is pointless.
pub(super) fn is_refusal(error: &(dyn StdError + 'static)) -> bool {
    cause::<Refusal>(error).is_some() || cause::<rustls::Error>(error).is_some()
}

/// The meaning of a request that got no answer.
pub(super) fn of_transport(error: &(dyn StdError + 'static), what: &str) -> Error {
    let what = what.to_owned();
    if let Some(Refusal { host, address, kind }) = cause(error) {
        return Error::AddressRefused { host: host.clone(), address: *address, kind };
    }
    if let Some(problem) = cause::<rustls::Error>(error) {
        return Error::TlsFailed { what, problem: printable(&problem.to_string()) };
    }
    let client = cause::<reqwest::Error>(error);
    if client.is_some_and(reqwest::Error::is_dns) {
        return Error::NameNotResolved { what };
    }
    let kinds = || causes(error).filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind);
    if kinds().any(|kind| kind == io::ErrorKind::ConnectionRefused) {
        return Error::ConnectionRefused { what };
    }
    let problem = if client.is_some_and(reqwest::Error::is_timeout)
        || kinds().any(|kind| kind == io::ErrorKind::TimedOut)
    {
        "it does not answer in time"
    } else if client.is_some_and(reqwest::Error::is_connect) {
        "no connection can be made"
    } else {
        "the connection broke or the answer is not HTTP"
    };
    Error::StoreUnreachable { what, problem: problem.into() }
}

/// The meaning of an answer that is no success. The redirects of web servers do not come here.
pub(super) fn of_status(status: StatusCode, what: &str, action: &'static str) -> Error {
    let what = what.to_owned();
    match status.as_u16() {
        404 | 410 => Error::SourceNotFound { what },
        401 | 403 | 407 => Error::AccessDenied { what, action },
        412 | 416 => {
            Error::SourceChanged { what, problem: "its entity tag or size is another than before".into() }
        }
        300..=399 => Error::RedirectRefused {
            what,
            problem: "an object store must answer itself; check endpoint and region",
        },
        408 | 429 | 500.. => {
            Error::StoreUnreachable { what, problem: format!("HTTP status {}", status.as_u16()) }
        }
        status => Error::StoreRefused { what, status },
    }
}

/// The meaning of an object store's failure.
pub(super) fn of_object_store(error: &object_store::Error, what: &str, action: &'static str) -> Error {
    use object_store::Error as Store;
    let text = || what.to_owned();
    if let Some(Unavailable { problem }) = cause(error) {
        return Error::IdentityUnavailable { what: text(), problem: problem.clone() };
    }
    match error {
        Store::NotFound { .. } => Error::SourceNotFound { what: text() },
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => {
            Error::AccessDenied { what: text(), action }
        }
        Store::Precondition { .. } | Store::NotModified { .. } => {
            of_status(StatusCode::PRECONDITION_FAILED, what, action)
        }
        Store::InvalidPath { .. } => {
            Error::InvalidUri { uri: text(), problem: "the store cannot have such a path".into() }
        }
        Store::NotSupported { .. } | Store::NotImplemented { .. } => Error::Unsupported {
            what: text(),
            problem: format!("the store does not offer what it takes to {action}"),
        },
        other => match status(other) {
            Some(status) => of_status(status, what, action),
            None => of_transport(other, what),
        },
    }
}

/// The HTTP status of an object store's failure.
///
/// `object_store` keeps its error types private, so this reads the one place that has the status: the beginning of the
/// message that precedes the answer's body. `http_status_is_found_in_the_stores_errors` in `tests/stores` holds it to that.
pub(super) fn status(error: &(dyn StdError + 'static)) -> Option<StatusCode> {
    causes(error).find_map(|error| {
        let text = error.to_string();
        if text.starts_with("Received redirect without LOCATION") {
            return Some(StatusCode::MOVED_PERMANENTLY);
        }
        let digits = text.strip_prefix("Server returned non-2xx status code: ")?.get(..3)?;
        digits.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_is_found_inside_an_io_error() {
        let refusal = Refusal { host: "h".into(), address: [127, 0, 0, 1].into(), kind: "loopback" };
        let wrapped = io::Error::other(io::Error::other(refusal));
        assert!(is_refusal(&wrapped));
        assert_eq!(of_transport(&wrapped, "https://h/a").reason(), "AddressRefused");
    }

    #[test]
    fn every_status_has_a_meaning() {
        let reason = |status: u16| of_status(StatusCode::from_u16(status).unwrap(), "u", "read").reason();
        assert_eq!(reason(404), "SourceNotFound");
        assert_eq!(reason(403), "AccessDenied");
        assert_eq!(reason(301), "RedirectRefused");
        assert_eq!(reason(503), "StoreUnreachable");
        assert_eq!(reason(400), "StoreRefused");
        assert_eq!(reason(412), "SourceChanged");
    }
}
