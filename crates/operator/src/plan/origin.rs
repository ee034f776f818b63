//! Where revisions come from: a source or a training. Both give the same kind of result.

use jiff::Timestamp;
use modelwright_api::{
    Model,
    conditions::{Cause, Reason},
};

use super::{JobChanges, Pass, Resolution, SourceState, attempts, identity, source, training};

/// What is known of where revisions come from, and what is to be done to know more.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) source: SourceState,
    pub(super) training: Option<training::TrainingSituation>,
    /// The newest revision that may be served.
    pub(super) resolution: Option<Resolution>,
    pub(super) jobs: JobChanges,
    pub(super) look_again_at: Option<Timestamp>,
}

/// The identity of what is asked for: what a source holds, or what a training gives.
pub(super) fn question(model: &Model) -> Result<String, Cause> {
    identity::resolved_from(model).or_else(|| identity::trained_from(model)).ok_or_else(|| {
        let message = "spec: names no place that the model comes from; write source or training";
        Cause::new(Reason::InvalidSpec, message)
    })
}

impl Pass<'_> {
    /// What is known, and what is to be done to know more. `question` is what is asked.
    pub(super) fn find(&self, question: &str, pin: Option<&str>) -> Result<Found, Cause> {
        let Pass { model, observed, settings, now, owner } = *self;
        if let Some(source) = &model.spec.source {
            let view =
                source::View { model, owner: &owner, observed, settings, resolved_from: question, now };
            let mut found = view.plan(source)?;
            found.jobs.deleted.extend(self.left_over(&["train", "data"]));
            return Ok(found);
        }
        let Some(training) = &model.spec.training else { return Ok(Found::default()) };
        let view = training::view::View {
            model,
            training,
            owner: &owner,
            observed,
            settings,
            trained_from: question,
            pin,
            now,
        };
        let mut found = view.plan()?;
        found.jobs.deleted.extend(self.left_over(&["resolve"]));
        Ok(found)
    }

    /// Jobs from when revisions came from elsewhere.
    fn left_over(&self, kinds: &[&str]) -> Vec<String> {
        let of_kind = |kind: &&str| attempts::jobs(self.observed, &self.owner, kind, "").1;
        kinds.iter().flat_map(of_kind).map(|job| attempts::name(job).to_owned()).collect()
    }
}
