//! The conditions that a kubelet (1.37) sets on a pod.
use k8s_openapi::{
    api::core::v1::{PodCondition, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    course::{Course, Failure},
    life::{Kind, Life},
    status::{Situation, initialized},
};

/// What a condition says, without its times.
struct Verdict {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    const TRUE: Self = Self { holds: true, reason: None, message: None };

    fn no(reason: &'static str) -> Self {
        Self { holds: false, reason: Some(reason), message: None }
    }
}

/// The conditions, each with the time at which it took its present value.
pub(super) fn of(
    situation: &Situation<'_>,
    spec: &PodSpec,
    course: &Course<'_>,
    status: &PodStatus,
) -> Vec<PodCondition> {
    let phase = status.phase.as_deref().unwrap_or_default();
    let terminal = matches!(phase, "Succeeded" | "Failed");
    let mut verdicts = vec![
        (
            "PodReadyToStartContainers",
            Verdict { holds: course.sandbox && !terminal, reason: None, message: None },
        ),
        ("Initialized", initialized_condition(phase, course)),
        ("Ready", ready(situation, spec, phase, course)),
        ("ContainersReady", containers_ready(phase, course)),
    ];
    let disrupted = |failure: &&Failure| {
        failure.reason == "Evicted" && !failure.message.contains("storage usage exceeds")
    };
    if let Some(failure) = course.failure.as_ref().filter(disrupted) {
        verdicts.push((
            "DisruptionTarget",
            Verdict {
                holds: true,
                reason: Some("TerminationByKubelet"),
                message: Some(failure.message.clone()),
            },
        ));
    }
    let condition = |(type_, verdict): (&str, Verdict)| {
        let value = if verdict.holds { "True" } else { "False" };
        let old = situation.reported.conditions.iter().flatten();
        let kept = old.into_iter().find(|old| old.type_ == type_ && old.status == value);
        PodCondition {
            type_: type_.to_owned(),
            status: value.to_owned(),
            reason: verdict.reason.map(str::to_owned),
            message: verdict.message,
            last_transition_time: kept
                .and_then(|kept| kept.last_transition_time.clone())
                .or(Some(Time(course.now))),
            observed_generation: situation.pod.metadata.generation,
            ..PodCondition::default()
        }
    };
    verdicts.into_iter().map(condition).collect()
}

fn initialized_condition(phase: &str, course: &Course<'_>) -> Verdict {
    if phase == "Succeeded" {
        return Verdict { reason: Some("PodCompleted"), ..Verdict::TRUE };
    }
    if initialized(course) {
        return Verdict::TRUE;
    }
    let incomplete = |life: &&Life<'_>| life.kind != Kind::Main && !life.initialized(course.now);
    Verdict {
        message: Some(format!("containers with incomplete status: {}", names(course, incomplete))),
        ..Verdict::no("ContainersNotInitialized")
    }
}

fn containers_ready(phase: &str, course: &Course<'_>) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::no("PodCompleted"),
        "Failed" => return Verdict::no("PodFailed"),
        _ => {}
    }
    let unready = |life: &&Life<'_>| life.kind != Kind::Init && !life.ready(course.now);
    if !course.lives.iter().any(|life| unready(&life)) {
        return Verdict::TRUE;
    }
    Verdict {
        message: Some(format!("containers with unready status: {}", names(course, unready))),
        ..Verdict::no("ContainersNotReady")
    }
}

fn ready(situation: &Situation<'_>, spec: &PodSpec, phase: &str, course: &Course<'_>) -> Verdict {
    let containers = containers_ready(phase, course);
    if !containers.holds {
        return containers;
    }
    let conditions =
        situation.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let missing = spec.readiness_gates.iter().flatten().filter_map(|gate| {
        let type_ = &gate.condition_type;
        match conditions.iter().find(|condition| condition.type_ == *type_) {
            None => Some(format!("corresponding condition of pod readiness gate {type_:?} does not exist.")),
            Some(condition) if condition.status != "True" => Some(format!(
                "the status of pod readiness gate {type_:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => None,
        }
    });
    let missing = missing.collect::<Vec<_>>().join(", ");
    if missing.is_empty() {
        return Verdict::TRUE;
    }
    Verdict { message: Some(missing), ..Verdict::no("ReadinessGatesNotReady") }
}

/// In Go's notation of a list, as the kubelet prints it.
fn names<'a>(course: &'a Course<'a>, wanted: impl Fn(&&Life<'a>) -> bool) -> String {
    let names: Vec<_> =
        course.lives.iter().filter(|life| wanted(life)).map(|life| &*life.spec.name).collect();
    format!("[{}]", names.join(" "))
}
