//! What an answer of the API server means.

use kube::core::Status;

use super::ErrorClass;

/// Why the API server did not do what it was asked.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Refusal {
    /// It could not be reached, or its answer did not come.
    Unreachable,
    /// It cannot do it now.
    Busy,
    /// Somebody else owns a field, or wrote meanwhile.
    Conflict,
    /// An object of this name exists.
    AlreadyExists,
    /// There is no such object, or no such kind.
    NotFound,
    /// The namespace is going away, or gone.
    NamespaceGone,
    /// A quota of the namespace is used up.
    QuotaExceeded,
    /// Something that checks objects on their way in said no.
    AdmissionDenied,
    /// The operator may not do that.
    MissingRight,
    /// The object cannot be so.
    Invalid,
    /// It answered what nobody expects.
    Unexpected,
}

impl Refusal {
    /// What this error means.
    pub fn of(error: &kube::Error) -> Self {
        use kube::Error as E;
        match error {
            E::Api(status) => Self::of_status(status),
            E::HyperError(_) | E::Service(_) | E::ReadEvents(_) | E::Auth(_) | E::RustlsTls(_) => {
                Self::Unreachable
            }
            // The rest is about building requests and reading answers.
            _ => Self::Unexpected,
        }
    }

    fn of_status(status: &Status) -> Self {
        let says = |text: &str| status.message.contains(text);
        let terminating = || {
            says("because it is being terminated")
                || causes(status).any(|cause| cause.reason == "NamespaceTerminating")
        };
        let of_namespace = || status.details.as_ref().is_some_and(|details| details.kind == "namespaces");
        // Admission webhooks choose their code; policies answer 422.
        if says("denied the request") || says("denied request") || says("violates PodSecurity") {
            return Self::AdmissionDenied;
        }
        // Fields of the wrong type are answered as if they were the server's fault.
        if says("failed to create typed patch object") {
            return Self::Invalid;
        }
        match status.code {
            403 if terminating() => Self::NamespaceGone,
            403 if says("exceeded quota") => Self::QuotaExceeded,
            403 if says("cannot ") && says(" resource ") => Self::MissingRight,
            403 => Self::AdmissionDenied,
            401 => Self::MissingRight,
            404 if of_namespace() => Self::NamespaceGone,
            404 => Self::NotFound,
            409 if status.is_already_exists() => Self::AlreadyExists,
            409 => Self::Conflict,
            400 | 413 | 422 => Self::Invalid,
            429 | 500..=599 => Self::Busy,
            _ => Self::Unexpected,
        }
    }

    /// When what was refused is asked again.
    pub const fn class(self) -> ErrorClass {
        match self {
            Self::Unreachable | Self::Busy | Self::AlreadyExists | Self::NotFound | Self::MissingRight => {
                ErrorClass::Transient
            }
            Self::Conflict => ErrorClass::Conflict,
            Self::QuotaExceeded | Self::AdmissionDenied | Self::NamespaceGone => ErrorClass::Wait,
            Self::Invalid | Self::Unexpected => ErrorClass::Bug,
        }
    }
}

fn causes(status: &Status) -> impl Iterator<Item = &kube::core::response::StatusCause> {
    status.details.iter().flat_map(|details| &details.causes)
}

/// Whether an object exists already and differs in what can never be changed.
pub(crate) fn is_immutable(error: &kube::Error) -> bool {
    let immutable =
        |message: &str| message.contains("field is immutable") || message.contains("may not change once set");
    match error {
        kube::Error::Api(status) if status.code == 422 => {
            let mut causes = causes(status).peekable();
            causes.peek().is_some() && causes.all(|cause| immutable(&cause.message))
        }
        _ => false,
    }
}

/// What the API server said, with the fields that it named, short enough for a status.
pub(crate) fn detail(error: &kube::Error) -> String {
    const MAX_FIELDS: usize = 3;
    const MAX_CHARACTERS: usize = 700;
    let text = match error {
        kube::Error::Api(status) => {
            let fields: Vec<_> = causes(status)
                .filter(|cause| !cause.field.is_empty())
                .take(MAX_FIELDS)
                .map(|cause| format!("{}: {}", cause.field, cause.message))
                .collect();
            if fields.is_empty() { status.message.clone() } else { fields.join("; ") }
        }
        other => chain(other),
    };
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(MAX_CHARACTERS).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

/// An error and what it came from, without what the former says already.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};
    use rstest::rstest;

    use super::*;

    fn api(code: u16, reason: &str, message: &str) -> kube::Error {
        kube::Error::Api(Status::failure(message, reason).with_code(code).boxed())
    }

    fn details(kind: &str, causes: &[(&str, &str, &str)]) -> StatusDetails {
        let causes = causes.iter().map(|(reason, field, message)| StatusCause {
            reason: (*reason).to_owned(),
            field: (*field).to_owned(),
            message: (*message).to_owned(),
        });
        StatusDetails {
            name: "x".into(),
            group: String::new(),
            kind: kind.into(),
            uid: String::new(),
            causes: causes.collect(),
            retry_after_seconds: 0,
        }
    }

    #[rstest]
    #[case(
        403,
        "Forbidden",
        "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1",
        Refusal::QuotaExceeded
    )]
    #[case(
        403,
        "Forbidden",
        "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\"",
        Refusal::AdmissionDenied
    )]
    #[case(
        403,
        "Forbidden",
        "pods \"x\" is forbidden: failed quota: q: must specify limits.cpu",
        Refusal::AdmissionDenied
    )]
    #[case(400, "BadRequest", "admission webhook \"w.x.y\" denied the request: no", Refusal::AdmissionDenied)]
    #[case(
        422,
        "Invalid",
        "deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
        Refusal::AdmissionDenied
    )]
    #[case(
        403,
        "Forbidden",
        "deployments.apps \"x\" is forbidden: User \"u\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"n\"",
        Refusal::MissingRight
    )]
    #[case(
        403,
        "Forbidden",
        "services \"x\" is forbidden: unable to create new content in namespace n because it is being terminated",
        Refusal::NamespaceGone
    )]
    #[case(401, "Unauthorized", "Unauthorized", Refusal::MissingRight)]
    #[case(404, "NotFound", "jobs.batch \"x\" not found", Refusal::NotFound)]
    #[case(409, "AlreadyExists", "jobs.batch \"x\" already exists", Refusal::AlreadyExists)]
    #[case(409, "Conflict", "Apply failed with 1 conflict", Refusal::Conflict)]
    #[case(422, "Invalid", "Deployment.apps \"x\" is invalid", Refusal::Invalid)]
    #[case(429, "TooManyRequests", "too many requests", Refusal::Busy)]
    #[case(500, "InternalError", "failed calling webhook", Refusal::Busy)]
    #[case(
        500,
        "InternalError",
        "failed to create typed patch object (n/x; apps/v1, Kind=Deployment): .spec.a: field not declared in schema",
        Refusal::Invalid
    )]
    #[case(503, "", "", Refusal::Busy)]
    #[case(418, "", "", Refusal::Unexpected)]
    fn answers_are_told_apart(
        #[case] code: u16,
        #[case] reason: &str,
        #[case] message: &str,
        #[case] expected: Refusal,
    ) {
        assert_eq!(Refusal::of(&api(code, reason, message)), expected);
    }

    #[test]
    fn a_missing_namespace_is_not_a_missing_object() {
        let status = Status::failure("namespaces \"n\" not found", "NotFound").with_code(404);
        let error = kube::Error::Api(status.with_details(details("namespaces", &[])).boxed());
        assert_eq!(Refusal::of(&error), Refusal::NamespaceGone);
    }

    #[test]
    fn connections_that_fail_are_unreachable() {
        let error = kube::Error::Service(Box::new(std::io::Error::other("connection refused")));
        assert_eq!(Refusal::of(&error), Refusal::Unreachable);
        assert_eq!(detail(&error), "ServiceError: connection refused");
    }

    #[test]
    fn immutable_fields_are_told_from_wrong_ones() {
        let invalid = |causes: &[(&str, &str, &str)]| {
            let status = Status::failure("invalid", "Invalid").with_code(422);
            kube::Error::Api(status.with_details(details("deployments", causes)).boxed())
        };
        let immutable = ("FieldValueInvalid", "spec.selector", "Invalid value: {}: field is immutable");
        let wrong = ("FieldValueRequired", "spec.template.spec.containers[0].image", "Required value");
        assert!(is_immutable(&invalid(&[immutable])));
        assert!(!is_immutable(&invalid(&[immutable, wrong])));
        assert!(!is_immutable(&invalid(&[])));
        assert_eq!(detail(&invalid(&[wrong])), "spec.template.spec.containers[0].image: Required value");
    }

    #[test]
    fn long_answers_are_cut() {
        let text = detail(&api(500, "", &"é".repeat(2_000)));
        assert_eq!(text.chars().count(), 701);
    }
}
