//! Autoscalers, ours and those of others, by what they scale.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use modelwright_api::contract::{APPLICATION, GROUP, KIND, labels};

/// What an autoscaler scales, as far as it has to do with a Model of some name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'a> {
    /// A Deployment of this name.
    Deployment(&'a str),
    /// A Model of this name, by its scale subresource.
    Model(&'a str),
}

impl<'a> Target<'a> {
    /// The target of an autoscaler; `None` if it is of another kind.
    pub fn of(autoscaler: &'a HorizontalPodAutoscaler) -> Option<Self> {
        let target = &autoscaler.spec.as_ref()?.scale_target_ref;
        let group = target.api_version.as_deref().and_then(|version| version.split('/').next());
        match (group, target.kind.as_str()) {
            (Some("apps"), "Deployment") => Some(Self::Deployment(&target.name)),
            (Some(GROUP), KIND) => Some(Self::Model(&target.name)),
            _ => None,
        }
    }

    /// The name that both kinds share: a Model's Deployment has the Model's.
    pub const fn name(self) -> &'a str {
        match self {
            Self::Deployment(name) | Self::Model(name) => name,
        }
    }
}

/// Whether an autoscaler is the one that the operator makes for the Model of this name, or says so.
pub fn is_ours(autoscaler: &HorizontalPodAutoscaler, model: &str) -> bool {
    autoscaler.metadata.name.as_deref() == Some(model) && is_labelled(autoscaler)
}

/// Whether an autoscaler carries our label.
pub fn is_labelled(autoscaler: &HorizontalPodAutoscaler) -> bool {
    let manager = autoscaler.metadata.labels.as_ref().and_then(|all| all.get(labels::APP_MANAGED_BY));
    manager.is_some_and(|manager| manager == APPLICATION)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case("apps/v1", "Deployment", Some(Target::Deployment("bc")))]
    #[case("modelwright.dev/v1alpha1", "Model", Some(Target::Model("bc")))]
    #[case("apps/v1", "StatefulSet", None)]
    #[case("example.com/v1", "Model", None)]
    fn target_is_read_by_group_and_kind(
        #[case] api_version: &str,
        #[case] kind: &str,
        #[case] expected: Option<Target<'_>>,
    ) {
        let target = json!({"apiVersion": api_version, "kind": kind, "name": "bc"});
        let autoscaler =
            json!({"metadata": {"name": "x"}, "spec": {"maxReplicas": 2, "scaleTargetRef": target}});
        let autoscaler: HorizontalPodAutoscaler = serde_json::from_value(autoscaler).unwrap();
        assert_eq!(Target::of(&autoscaler), expected);
        assert!(!is_ours(&autoscaler, "x"), "it has no label");
    }
}
