//! Every reason, in one list.

macro_rules! reasons {
    ($($variant:ident, $class:ident, $meaning:literal, $action:literal;)+) => {
        /// Why a condition is as it is. Commands in pods have reasons of their own, which `docs/contract.md` lists.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason {
            $(#[doc = $meaning] $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)+ }
            }

            /// Who must do something.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)+ }
            }

            /// What it means, for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)+ }
            }

            /// What to do; empty where there is nothing to do.
            pub const fn action(self) -> &'static str {
                match self { $(Self::$variant => $action,)+ }
            }
        }
    };
}

/// Who must do something.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// Nobody: it is as it should be.
    Settled,
    /// Nobody: it is on its way.
    Working,
    /// The user; nothing more happens until then.
    User,
    /// Somebody, perhaps another; it goes on by itself when that is done.
    Wait,
    /// Nobody, most of the time: it is tried again.
    Transient,
    /// The makers of Modelwright; it is tried again meanwhile.
    Bug,
}

reasons! {
    Serving, Settled, "the wanted revision is served", "";
    Pinned, Settled, "`spec.rollout.revision` holds the revision that is served; the source has a newer one", "remove `spec.rollout.revision` to serve the newest";
    ScaledToZero, Settled, "`spec.serving.replicas` is 0, so nothing is served", "`kubectl scale mdl NAME --replicas=1`";
    Suspended, Settled, "`spec.suspend` is true, so nothing is served and nothing is started", "set `spec.suspend: false`";
    Resolving, Working, "a Job reads the source to find its digest and signature", "";
    Queued, Working, "the training waits until its queue admits it", "";
    Training, Working, "a Job trains the model", "";
    Deploying, Working, "the first pods of the first revision are starting", "";
    RollingOut, Working, "pods of a new revision or spec are starting; the former one serves meanwhile", "";
    Scaling, Working, "pods are added or removed", "";
    RollingBack, Working, "the former revision is put back", "";
    WaitingForDeletion, Working, "objects of a deleted Model of the same name are still going away", "";
    AutoscalerHandOver, Working, "the autoscaler is going away before the number of pods is set again", "";
    AutoscalerConflict, User, "more than one decides how many pods there are: another autoscaler scales the same Deployment", "delete one of them; to keep yours, write `autoscaling: {mode: External}`";
    MetricsAPIMissing, Wait, "the autoscaler cannot act: the cluster does not have the API that it reads its metrics from", "install metrics-server for CPU and memory, or the adapter that the message names";
    MetricsUnavailable, Wait, "the autoscaler cannot act: there are no values of its metrics", "see the message; `kubectl top pods` shows what metrics-server has";
    RequestMissing, User, "the autoscaler cannot act: a container requests nothing of what its share is to be measured of", "write the request that the message names";
    AutoscalerFailing, Wait, "the autoscaler cannot act, for a reason of its own", "see the message, and `kubectl describe hpa NAME`";
    InvalidSpec, User, "the spec has a value that cannot be used", "correct the field that the message names";
    InvalidPodTemplate, User, "`podTemplate` has a field that no pod has, changes what Modelwright needs, or makes a pod that the API server refuses", "correct the field that the message names";
    InvalidAutoscaling, User, "`metrics` or `behavior` are not what a HorizontalPodAutoscaler takes", "correct the field that the message names";
    NameConflict, User, "an object that a child must have the name of belongs to somebody else", "rename the Model, or delete the other object";
    RevisionUnknown, User, "`spec.rollout.revision` names a revision that this Model does not know", "write one of `status.revisions`, or the full digest";
    RevisionBytesGone, User, "the bytes of the wanted former revision are no longer where they were", "write another revision; `spec.source.copyTo` keeps copies from now on";
    SourceChanged, User, "the source's bytes changed under a revision that is served: running pods go on, new ones refuse the new bytes", "accept the new bytes with the annotation `modelwright.dev/resolve-at`, or put the old ones back; `copyTo` prevents it";
    CUDAImageMissing, User, "the Model wants CUDA and the operator was installed without an image for it", "set `cudaImage` in the chart's values, or write `executionProvider: CPU`";
    ProgressDeadlineExceeded, User, "the pods of a new revision or spec were not ready in time", "see the message; then change the spec";
    RolledBack, User, "a new revision or spec did not become ready, and the former one is back and was serving all along", "see the message; then change the spec or the source";
    Unschedulable, Wait, "no node takes a pod", "free or add what the message names, or request less";
    WaitingForAccelerator, Wait, "no node has a free accelerator for a pod", "free or add one";
    ImageUnavailable, Wait, "an image cannot be pulled", "check the name that the message shows and the pull secrets";
    ContainerConfigError, Wait, "a container cannot be made from its description, most of the time because a Secret or ConfigMap is missing", "create what the message names";
    VolumeUnavailable, Wait, "a volume cannot be mounted", "check the claim that the message names";
    ServiceAccountMissing, Wait, "the account of `spec.serviceAccountName` does not exist", "create it";
    QuotaExceeded, Wait, "the namespace's quota refuses a pod", "free what the message names, or ask for a larger quota";
    AdmissionDenied, Wait, "the cluster's admission refuses a pod", "change what the message names; for instance `podTemplate` or the namespace's pod security level";
    OutOfMemory, User, "a container was killed because it used more memory than its limit", "raise `spec.serving.resources.limits.memory` above what the message names";
    Evicted, Wait, "a node removed a pod because something ran short there", "see the message; requests in `spec.serving.resources` protect a pod";
    StartupTimeout, User, "a server did not become ready within `startupTimeout`", "raise `spec.serving.startupTimeout`, or give it more CPU";
    ContainerFailed, Bug, "a container ended without a reason of ours", "see its last lines: `kubectl logs POD -c CONTAINER --previous`";
    NotReady, Wait, "pods run and are not ready", "";
    JobDeadlineExceeded, Transient, "a Job did not end in time; another is started", "see the message; a source that is large or slow may need a nearer copy";
    JobPodLost, Transient, "the pod of a Job went away before its outcome was read; another is started", "";
    Trained, Settled, "a training gave a revision, and its gate let it pass", "";
    Reused, Settled, "the store has a revision of the same data and settings: nothing was trained", "";
    ApprovalRequired, User, "the newest revision passed the gate, and `spec.training.gate.approval` is Manual", "write the revision's id as `spec.rollout.revision` to serve it";
    RetriesExhausted, User, "a training failed as often as `spec.training.retries` allows", "see the message; then change the spec, or set the annotation `modelwright.dev/retrain-at`";
    TrainingDeadlineExceeded, User, "an attempt of the training took longer than `spec.training.deadline`", "raise `spec.training.deadline`, or give the training more CPU";
    TrainingStalled, Transient, "a training made no progress for `spec.training.stallTimeout`, and was ended", "see its last lines: `kubectl logs POD -c train`";
    TrainingPreempted, Transient, "a node was taken from a training; it goes on from its checkpoint", "";
    ApplyFailed, Transient, "an object cannot be written; it is tried again", "see the message";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_unique_words_and_say_what_to_do_where_somebody_must_act() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            let word = reason.as_str();
            assert!(word.starts_with(|c: char| c.is_ascii_uppercase()) && word.len() <= 64, "{word}");
            assert!(!Reason::ALL[..index].iter().any(|other| other.as_str() == word), "{word}");
            let acts = matches!(reason.class(), Class::User | Class::Bug);
            assert!(!acts || !reason.action().is_empty(), "{word}");
        }
    }
}
