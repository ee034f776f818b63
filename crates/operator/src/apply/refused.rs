//! What an answer of the API server means for a child.

use modelwright_api::conditions::{Cause, Class, Reason};

use crate::{
    error::{Refusal, detail, is_immutable},
    stores::Kept,
};

/// Why a child could not be written.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// Because of this.
    Because(Cause),
    /// The namespace is going away, and the Model with it.
    NamespaceGone,
}

impl Refused {
    /// What this answer means for the child of this kind and name.
    pub(super) fn because<K: Kept>(name: &str, error: &kube::Error) -> Self {
        because(K::KIND, name, error)
    }
}

fn because(kind: &str, name: &str, error: &kube::Error) -> Refused {
    let child = format!("{kind}/{name}");
    let said = detail(error);
    let cause = match Refusal::of(error) {
        Refusal::NamespaceGone => return Refused::NamespaceGone,
        Refusal::QuotaExceeded => Cause::new(Reason::QuotaExceeded, format!("{child} is refused: {said}")),
        Refusal::AdmissionDenied => {
            Cause::new(Reason::AdmissionDenied, format!("{child} is refused: {said}"))
        }
        Refusal::Invalid if is_immutable(error) => Cause::new(
            Reason::NameConflict,
            format!(
                "{child} exists and differs in what cannot be changed ({said}); delete it, and it is made again"
            ),
        ),
        Refusal::Invalid => Cause::new(invalid(kind), format!("the API server refuses {child}: {said}")),
        Refusal::MissingRight => Cause::new(
            Reason::ApplyFailed,
            format!("the operator may not write {child}: {said}; the chart's roles grant that right"),
        ),
        Refusal::Conflict => {
            Cause::new(Reason::ApplyFailed, format!("{child} was changed by somebody else meanwhile: {said}"))
        }
        Refusal::Unreachable => {
            Cause::new(Reason::ApplyFailed, format!("{child}: the API server cannot be reached: {said}"))
        }
        Refusal::Busy | Refusal::AlreadyExists | Refusal::NotFound => {
            Cause::new(Reason::ApplyFailed, format!("{child} cannot be written: {said}"))
        }
        Refusal::Unexpected => {
            let message = format!("{child} cannot be written: {said}");
            Cause { class: Class::Bug, ..Cause::new(Reason::ApplyFailed, message) }
        }
    };
    Refused::Because(cause)
}

/// What is wrong if an object of this kind is.
fn invalid(kind: &str) -> Reason {
    match kind {
        "Deployment" | "Job" => Reason::InvalidPodTemplate,
        "HorizontalPodAutoscaler" => Reason::InvalidAutoscaling,
        _ => Reason::InvalidSpec,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Deployment", 422, "bad", Reason::InvalidPodTemplate)]
    #[case("Deployment", 400, "bad", Reason::InvalidPodTemplate)]
    #[case("Job", 422, "bad", Reason::InvalidPodTemplate)]
    #[case("HorizontalPodAutoscaler", 422, "bad", Reason::InvalidAutoscaling)]
    #[case("Service", 422, "bad", Reason::InvalidSpec)]
    #[case("Job", 403, "exceeded quota: q", Reason::QuotaExceeded)]
    #[case("Job", 403, "no", Reason::AdmissionDenied)]
    #[case("Job", 403, "User \"u\" cannot create resource \"jobs\"", Reason::ApplyFailed)]
    #[case("Job", 409, "no", Reason::ApplyFailed)]
    #[case("Job", 503, "no", Reason::ApplyFailed)]
    fn causes_fit_the_child(
        #[case] kind: &str,
        #[case] code: u16,
        #[case] message: &str,
        #[case] expected: Reason,
    ) {
        let error = kube::Error::Api(Status::failure(message, "").with_code(code).boxed());
        let Refused::Because(cause) = because(kind, "m", &error) else { panic!("no cause") };
        assert_eq!((cause.reason.as_ref(), cause.class), (expected.as_str(), expected.class()));
        assert!(cause.message.contains(&format!("{kind}/m")) && cause.message.contains(message), "{cause:?}");
    }
}
