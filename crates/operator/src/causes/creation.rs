//! Why no pod could be made, from what the controllers of Jobs and ReplicaSets say of it.

use modelwright_api::conditions::Reason;

/// What the text means that a controller says when it cannot make a pod, in the Event `FailedCreate` of a Job or in the
/// condition `ReplicaFailure` of a Deployment. There is nothing but the text: the pod never existed.
pub fn refused_creation(said: &str) -> Reason {
    let says = |text: &str| said.contains(text);
    if says("exceeded quota") {
        Reason::QuotaExceeded
    } else if says("error looking up service account") {
        Reason::ServiceAccountMissing
    } else if says("forbidden") || says("denied") || says("violates PodSecurity") {
        Reason::AdmissionDenied
    } else if says("is invalid") {
        Reason::InvalidPodTemplate
    } else {
        Reason::ApplyFailed
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "pods \"j-x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1",
        Reason::QuotaExceeded
    )]
    #[case(
        "pods \"j-x\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
        Reason::AdmissionDenied
    )]
    #[case("admission webhook \"w\" denied the request: no", Reason::AdmissionDenied)]
    #[case(
        "pods \"j-x\" is forbidden: error looking up service account n/s: serviceaccount \"s\" not found",
        Reason::ServiceAccountMissing
    )]
    #[case("Pod \"j-x\" is invalid: spec.containers: Required value", Reason::InvalidPodTemplate)]
    #[case("Timeout", Reason::ApplyFailed)]
    fn refusals_are_told_apart(#[case] said: &str, #[case] expected: Reason) {
        assert_eq!(refused_creation(said), expected);
    }
}
