//! The truth table: what each condition says where a Model stands. `docs/status.md` shows the same table, and a test compares
//! them.

use modelwright_api::conditions::Reason;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Holds {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It does if a server pod is ready.
    WithAPod,
}

impl Holds {
    /// Whether it does, with or without a ready pod.
    pub const fn is(self, pod_is_ready: bool) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
            Self::WithAPod => pod_is_ready,
        }
    }

    /// The word in the documentation.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Yes => "True",
            Self::No => "False",
            Self::WithAPod => "if a pod is ready",
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// Where the Model stands, in words.
    pub name: &'static str,
    /// What the conditions say.
    pub ready: Holds,
    /// Whether a pod answers.
    pub available: Holds,
    /// Whether something is on its way.
    pub progressing: Holds,
    /// Whether the user must act.
    pub stalled: Holds,
    /// The reason of `Ready` where nothing holds it up.
    pub reason: Reason,
    /// Whether a cause, where there is one, gives the reason instead.
    pub cause_names_it: bool,
}

macro_rules! cases {
    ($($(#[doc = $name:literal])+ $case:ident: $ready:ident $available:ident $progressing:ident $stalled:ident, $reason:ident, $by_cause:literal;)+) => {
        /// Where a Model stands.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Case {
            $($(#[doc = $name])+ $case,)+
        }

        impl Case {
            /// Every case, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$case,)+];

            /// What its conditions say.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$case => Row {
                        name: concat!($($name),+).trim_ascii(),
                        ready: Holds::$ready,
                        available: Holds::$available,
                        progressing: Holds::$progressing,
                        stalled: Holds::$stalled,
                        reason: Reason::$reason,
                        cause_names_it: $by_cause,
                    },)+
                }
            }
        }
    };
}

cases! {
    // Case: Ready Available Progressing Stalled, reason of Ready, whether a cause gives the reason instead.
    /// the source is read for the first time
    ResolvingFirst: No WithAPod Yes No, Resolving, true;
    /// the source is read again, because its settings or `resolve-at` changed
    ResolvingAgain: No WithAPod Yes No, Resolving, true;
    /// reading the source failed and is tried again
    ResolveRetrying: No WithAPod Yes No, Resolving, true;
    /// the source holds nothing that can be served
    ResolveRefused: No WithAPod No Yes, InvalidSpec, true;
    /// the first training is at work, or about to begin
    TrainingFirst: No WithAPod Yes No, Training, true;
    /// the first training waits until its queue admits it
    TrainingQueued: No WithAPod Yes No, Queued, false;
    /// the first training failed and is tried again
    TrainingRetrying: No WithAPod Yes No, Training, true;
    /// the first training failed for good
    TrainingFailed: No WithAPod No Yes, RetriesExhausted, true;
    /// the gate refused what the first training gave
    GateRefused: No WithAPod No Yes, ApprovalRequired, true;
    /// what the first training gave waits for approval
    ApprovalNeeded: No WithAPod No Yes, ApprovalRequired, false;
    /// the spec cannot be carried out
    Blocked: No WithAPod No Yes, InvalidSpec, true;
    /// an object of somebody else has the name of a child
    NameConflict: No WithAPod No Yes, NameConflict, false;
    /// something that is not the Model's must be there or gone first
    Waiting: No WithAPod Yes No, ApplyFailed, true;
    /// an object cannot be written, and the spec changed or is not yet served
    ApplyFailing: No WithAPod Yes No, ApplyFailed, true;
    /// an object cannot be written, and the spec is served
    ApplyFailingServed: Yes Yes Yes No, Serving, false;
    /// the first pods start
    FirstDeploy: No WithAPod Yes No, Deploying, true;
    /// the first pods failed, and there is nothing to go back to
    Failed: No WithAPod No Yes, ProgressDeadlineExceeded, true;
    /// pods of a new revision or spec replace the former
    Rolling: No WithAPod Yes No, RollingOut, true;
    /// the new pods failed, and the former are put back
    FailedCandidate: No WithAPod Yes No, RollingBack, false;
    /// the former pods are back
    RolledBack: No WithAPod No Yes, RolledBack, false;
    /// the wanted revision is served
    Serving: Yes Yes No No, Serving, false;
    /// the same, and an autoscaler chooses the number of pods
    Autoscaled: Yes Yes No No, Serving, false;
    /// the same, and the autoscaler does not act
    AutoscalerFailing: Yes Yes No No, AutoscalerFailing, true;
    /// the same, and an autoscaler that is no longer wanted goes away
    HandOver: Yes Yes Yes No, Serving, false;
    /// more than one decides how many pods there are
    Contested: No WithAPod No Yes, AutoscalerConflict, false;
    /// the wanted revision is served, and looking whether the source or the data changed failed
    PollFailed: Yes Yes No No, Serving, false;
    /// `spec.rollout.revision` holds a revision that would not be served without it
    Pinned: Yes Yes No No, Pinned, false;
    /// the wanted revision is served, and a training is at work
    Retraining: Yes Yes Yes No, Serving, false;
    /// the same, and the training waits until its queue admits it
    RetrainingQueued: Yes Yes Yes No, Serving, false;
    /// the wanted revision is served; a training failed and is tried again
    RetrainingRetrying: Yes Yes Yes No, Serving, false;
    /// the wanted revision is served; a training failed for good
    RetrainingFailed: Yes Yes No No, Serving, false;
    /// the wanted revision is served; the gate refused a newer one
    RetrainingRefused: Yes Yes No No, Serving, false;
    /// the wanted revision is served; a newer one waits for approval
    RetrainingApproval: Yes Yes No No, ApprovalRequired, false;
    /// the wanted revision is served, and pods are added, removed or replaced
    Scaling: Yes Yes Yes No, Serving, false;
    /// the wanted revision was served, and no pod is ready now
    Unavailable: No No Yes No, NotReady, true;
    /// the source changed under the revision that is served, so that no new pod starts
    SourceChanged: No WithAPod No Yes, SourceChanged, true;
    /// `replicas` is 0 or `suspend` true, and pods still end
    Ending: No WithAPod Yes No, Scaling, false;
    /// `replicas` is 0
    ScaledToZero: Yes No No No, ScaledToZero, false;
    /// `suspend` is true
    Suspended: Yes No No No, Suspended, false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_do_not_contradict_each_other() {
        for case in Case::ALL {
            let row = case.row();
            // kstatus: a Model whose user must act is not on its way, and is not as it should be.
            assert!(
                row.stalled == Holds::No || (row.progressing, row.ready) == (Holds::No, Holds::No),
                "{case:?}"
            );
            // A Model that is not as it should be is on its way, or its user must act.
            assert!(row.ready == Holds::Yes || row.progressing != row.stalled, "{case:?}");
        }
    }

    #[test]
    fn documentation_has_the_same_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/status.md");
        let page = std::fs::read_to_string(path).unwrap();
        let rows: Vec<&str> = page
            .lines()
            .skip_while(|line| !line.starts_with("| The Model "))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let expected: Vec<String> = Case::ALL
            .iter()
            .map(|case| {
                let row = case.row();
                let cause = if row.cause_names_it { ", or the cause" } else { "" };
                let reason = match case {
                    Case::ResolveRetrying
                    | Case::ResolveRefused
                    | Case::Blocked
                    | Case::TrainingRetrying
                    | Case::TrainingFailed
                    | Case::GateRefused
                    | Case::Waiting
                    | Case::SourceChanged
                    | Case::AutoscalerFailing
                    | Case::Failed => "the cause".to_owned(),
                    _ => format!("`{}`{cause}", row.reason.as_str()),
                };
                let words = [row.ready, row.available, row.progressing, row.stalled].map(Holds::word);
                format!("| {} | {} | {reason} |", row.name, words.join(" | "))
            })
            .collect();
        assert_eq!(rows, expected, "docs/status.md needs these rows:\n{}", expected.join("\n"));
    }
}
