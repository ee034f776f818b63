//! Why a request is turned away, for any protocol.

use std::time::Duration;

use http::StatusCode;

use crate::answer::Refusal;

/// When to ask again while a client has too many requests in progress.
const RETRY_CONCURRENT: Duration = Duration::from_secs(1);

/// Why a request is turned away. Over HTTP [`Missing`](Self::Missing) and [`Invalid`](Self::Invalid) are 401 (gRPC:
/// `UNAUTHENTICATED`), the others 429 (`RESOURCE_EXHAUSTED`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It shows nothing that says who it is from.
    Missing { keys: bool, tokens: bool },
    /// What it shows is wrong, and why.
    Invalid(&'static str),
    /// Its client asks too often; the time after which another request is taken.
    TooManyRequests(Duration),
    /// Its client has so many requests in progress, which is the most.
    TooManyAtOnce(u32),
}

impl Denial {
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Missing { keys: true, tokens: true } => {
                "this server answers known clients only: send Authorization: Bearer with your key or token, or X-API-Key".into()
            }
            Self::Missing { keys: true, tokens: false } => {
                "this server answers known clients only: send your key as Authorization: Bearer or X-API-Key".into()
            }
            Self::Missing { .. } => {
                "this server answers known clients only: send a token as Authorization: Bearer".into()
            }
            Self::Invalid(why) => (*why).to_owned(),
            Self::TooManyRequests(_) => "too many requests of this client: slow down".into(),
            Self::TooManyAtOnce(most) => {
                format!("this client has {most} requests in progress, as many as it may: wait for their answers")
            }
        }
    }

    /// When another try is worth it.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Missing { .. } | Self::Invalid(_) => None,
            Self::TooManyRequests(after) => Some(*after),
            Self::TooManyAtOnce(_) => Some(RETRY_CONCURRENT),
        }
    }
}

impl From<Denial> for Refusal {
    /// With the challenge of RFC 6750 §3, which has an error code only where something was shown.
    fn from(denial: Denial) -> Self {
        match (&denial, denial.retry_after()) {
            (_, Some(after)) => Self::later(StatusCode::TOO_MANY_REQUESTS, denial.message(), after),
            (Denial::Missing { .. }, None) => Self::unauthenticated(denial.message(), "Bearer"),
            _ => Self::unauthenticated(denial.message(), "Bearer error=\"invalid_token\""),
        }
    }
}
