//! How trainings end, seen from the statuses of their Models.

use modelwright_api::{
    conditions::Reason,
    status::{TrainingPhase, TrainingStatus},
};

/// What came of an attempt at a training.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TrainingOutcome {
    /// It gave a revision that the gate let pass.
    Succeeded,
    /// It gave one that the gate refused.
    Refused,
    /// It gave none.
    Failed,
    /// Its machine was taken away; it goes on from its checkpoint.
    Preempted,
}

impl TrainingOutcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Refused, Self::Failed, Self::Preempted];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Refused => "Refused",
            Self::Failed => "Failed",
            Self::Preempted => "Preempted",
        }
    }
}

/// What is remembered of the training of one Model.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    job: Option<String>,
    pub(super) running: bool,
    pub(super) queued: bool,
    outcome: Option<TrainingOutcome>,
}

impl Seen {
    pub(super) fn of(status: Option<&TrainingStatus>) -> Self {
        let Some(status) = status else { return Self::default() };
        let preempted = status.reason.as_deref() == Some(Reason::TrainingPreempted.as_str());
        let outcome = match status.phase {
            Some(TrainingPhase::Succeeded) => Some(TrainingOutcome::Succeeded),
            Some(TrainingPhase::Refused) => Some(TrainingOutcome::Refused),
            Some(TrainingPhase::Failed) if preempted => Some(TrainingOutcome::Preempted),
            Some(TrainingPhase::Failed) => Some(TrainingOutcome::Failed),
            _ => None,
        };
        let queued = status.phase == Some(TrainingPhase::Queued);
        let running = outcome.is_none() && !queued && status.phase.is_some();
        Self { job: status.job.clone(), running, queued, outcome }
    }

    /// How an attempt ended since `before`, if one did. Where one ended before, it must be another Job: that one is deleted, or
    /// its revision judged anew, is no end.
    pub(super) fn ended(&self, before: &Self) -> Option<TrainingOutcome> {
        let another = before.job.is_some() && self.job.is_some() && before.job != self.job;
        self.outcome.filter(|_| before.running || before.queued || another)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn seen(job: &str, phase: TrainingPhase, reason: &str) -> Seen {
        Seen::of(Some(&TrainingStatus {
            job: Some(job.to_owned()).filter(|job| !job.is_empty()),
            phase: Some(phase),
            reason: Some(reason.to_owned()),
            ..TrainingStatus::default()
        }))
    }

    #[rstest]
    #[case::succeeded(TrainingPhase::Succeeded, "Trained", TrainingOutcome::Succeeded)]
    #[case::refused(TrainingPhase::Refused, "RequirementNotMet", TrainingOutcome::Refused)]
    #[case::failed(TrainingPhase::Failed, "OutOfMemory", TrainingOutcome::Failed)]
    #[case::preempted(TrainingPhase::Failed, "TrainingPreempted", TrainingOutcome::Preempted)]
    fn attempt_that_ends_counts_once(
        #[case] phase: TrainingPhase,
        #[case] reason: &str,
        #[case] outcome: TrainingOutcome,
    ) {
        let running = seen("a", TrainingPhase::Training, "Training");
        let ended = seen("a", phase, reason);
        assert_eq!(ended.ended(&running), Some(outcome));
        assert_eq!(ended.ended(&ended), None);
        assert_eq!(seen("b", phase, reason).ended(&ended), Some(outcome), "another, seen only at its end");
        assert_eq!(seen("", phase, reason).ended(&ended), None, "its Job was deleted");
        assert_eq!(ended.ended(&Seen::default()), None, "the operator started");
    }

    #[test]
    fn running_and_queued_trainings_are_told_apart() {
        let states = |phase| {
            let seen = seen("a", phase, "");
            (seen.running, seen.queued)
        };
        assert_eq!(states(TrainingPhase::Queued), (false, true));
        assert_eq!(states(TrainingPhase::Publishing), (true, false));
        assert_eq!(states(TrainingPhase::Failed), (false, false));
    }
}
