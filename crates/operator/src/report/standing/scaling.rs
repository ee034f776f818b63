//! Who decides how many pods there are, and what keeps that from working.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use modelwright_api::{conditions::Cause, serving::AutoscalingMode};

use super::{super::servers::Servers, Facts, Standing};
use crate::{causes, plan::scale, report::table::Case};

/// Where more than one decides, or one that is no longer wanted has not gone yet. Neither is seen while revisions are replaced,
/// which matters more.
pub(super) fn undecided(facts: &Facts<'_>, servers: &Servers<'_>, id: &str) -> Option<Standing> {
    if let Some(cause) = scale::contest(facts.model, facts.observed) {
        return Some(Standing::caused(Case::Contested, &cause));
    }
    let leaves = facts.observed.autoscaler.is_some() && mode(facts) != Some(AutoscalingMode::Managed);
    (leaves && !servers.changing(facts)).then(|| {
        let name = facts.model.metadata.name.as_deref().unwrap_or_default();
        Standing::new(
            Case::HandOver,
            format!("revision {id} is served, and HorizontalPodAutoscaler/{name} goes away before the number of pods is set"),
        )
    })
}

fn mode(facts: &Facts<'_>) -> Option<AutoscalingMode> {
    facts.model.autoscaling().map(|autoscaling| autoscaling.mode)
}

/// What keeps the Model's own autoscaler from acting, once that is more than usual.
pub(super) fn failure(facts: &Facts<'_>) -> Option<Cause> {
    let autoscaler =
        facts.observed.autoscaler.as_deref().filter(|_| mode(facts) == Some(AutoscalingMode::Managed))?;
    let failure = causes::autoscaler::failure(autoscaler)?;
    let settled = failure.settled_at(&facts.observed.pods).is_none_or(|at| at <= facts.now);
    settled.then_some(failure.cause)
}

/// Who decides, and what it says, for a Model that is as it should be.
pub(super) fn decided(facts: &Facts<'_>) -> String {
    let name = facts.model.metadata.name.as_deref().unwrap_or_default();
    match (mode(facts), facts.observed.autoscaler.as_deref(), facts.observed.other_autoscalers.first()) {
        (Some(AutoscalingMode::Managed), Some(own), _) => by_own(own),
        (Some(AutoscalingMode::External), _, Some(other)) => {
            let other = other.metadata.name.as_deref().unwrap_or_default();
            format!(", by as many pods as HorizontalPodAutoscaler/{other} wants")
        }
        (Some(AutoscalingMode::External), _, None) => {
            format!("; no HorizontalPodAutoscaler scales Deployment/{name}")
        }
        _ => String::new(),
    }
}

fn by_own(autoscaler: &HorizontalPodAutoscaler) -> String {
    let (Some(spec), Some(status)) = (&autoscaler.spec, &autoscaler.status) else { return String::new() };
    if status.desired_replicas == 0 {
        // It has not counted yet.
        return String::new();
    }
    let (least, most) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
    let limited = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "ScalingLimited"
            && condition.status == "True"
            && condition.reason.as_deref() == Some("TooManyReplicas")
    });
    let more = if limited { "; the load asks for more than maxReplicas" } else { "" };
    format!(", by {} pods as its autoscaler wants, of {least} to {most}{more}", status.desired_replicas)
}
