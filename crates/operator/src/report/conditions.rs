//! The conditions of a Model.

use modelwright_api::{
    conditions::{ConditionType, Reason},
    contract::names::revision_id,
    status::{Condition, ConditionStatus, TrainingPhase},
};

use super::{
    Facts,
    servers::Servers,
    standing::Standing,
    training::{self, Stage},
};
use crate::causes::text;

/// The longest word of a condition.
pub(super) const MAX_REASON: usize = 128;

/// One condition before it has its times.
struct Said {
    holds: bool,
    reason: String,
    message: String,
}

/// All of them, in the order of [`ConditionType::ALL`], then those that others wrote, as they are. `Trained` only where there is
/// a training.
pub(super) fn conditions(facts: &Facts<'_>, servers: &Servers<'_>, standing: &Standing) -> Vec<Condition> {
    let known = facts.model.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let stage = training::stage(facts);
    let ours = ConditionType::ALL.into_iter().filter_map(|type_| {
        let said = match type_ {
            ConditionType::Trained => trained(stage.as_ref()?),
            type_ => said(type_, servers, standing),
        };
        Some(dated(facts, type_, &said, known.iter().find(|condition| condition.type_ == type_.as_str())))
    });
    let foreign = known
        .iter()
        .filter(|condition| ConditionType::ALL.iter().all(|type_| type_.as_str() != condition.type_));
    ours.chain(foreign.cloned()).collect()
}

/// Whether the newest training gave a revision that the gate let pass. While another is at work it does not hold yet, so
/// whoever asked for that one can wait for it.
fn trained(stage: &Stage) -> Said {
    Said {
        holds: stage.phase == Some(TrainingPhase::Succeeded),
        reason: stage.reason.clone().into_owned(),
        message: stage.message.clone(),
    }
}

/// What all but `Trained` say, which follows from the training alone.
fn said(type_: ConditionType, servers: &Servers<'_>, standing: &Standing) -> Said {
    let row = standing.case.row();
    let a_pod = !servers.ready.is_empty();
    let of = |holds: bool, reason: &str, message: &str| Said {
        holds,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let (progressing, stalled) = (row.progressing.is(a_pod), row.stalled.is(a_pod));
    match type_ {
        ConditionType::Ready => of(row.ready.is(a_pod), standing.reason(), &standing.message),
        ConditionType::Available if row.available.is(a_pod) => {
            let served = servers.ready_digest().map_or("…", revision_id);
            of(true, Reason::Serving.as_str(), &format!("revision {served} answers"))
        }
        ConditionType::Available => of(false, standing.reason(), "no pod is ready"),
        ConditionType::Progressing if progressing => of(true, standing.progress(), &standing.message),
        ConditionType::Progressing if stalled => of(false, standing.reason(), &standing.message),
        ConditionType::Progressing => of(false, standing.reason(), "nothing is on its way"),
        ConditionType::Stalled if stalled => of(true, standing.reason(), &standing.message),
        ConditionType::Stalled if progressing => of(false, standing.reason(), "it goes on by itself"),
        ConditionType::Stalled | ConditionType::Trained => {
            of(false, standing.reason(), "nothing waits for anybody")
        }
    }
}

/// With its times: that of the last transition stays until the status flips.
fn dated(facts: &Facts<'_>, type_: ConditionType, said: &Said, known: Option<&Condition>) -> Condition {
    let status = if said.holds { ConditionStatus::True } else { ConditionStatus::False };
    let kept = known.filter(|known| known.status == status && !known.last_transition_time.is_empty());
    Condition {
        type_: type_.as_str().to_owned(),
        status,
        observed_generation: facts.model.metadata.generation,
        last_transition_time: kept
            .map_or_else(|| facts.now.to_string(), |known| known.last_transition_time.clone()),
        reason: text::one_line(&said.reason, MAX_REASON),
        message: text::one_line(&said.message, text::MAX_MESSAGE_BYTES),
    }
}
