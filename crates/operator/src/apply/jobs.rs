//! Jobs: posted once, never written again.

use k8s_openapi::api::batch::v1::Job;
use kube::{ResourceExt, api::PostParams};
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::annotations,
};

use super::{
    holder::{Holder, holder},
    refused::Refused,
    writer::{Known, Writer},
};
use crate::{error::Refusal, observe::Observed, plan::JobChanges};

impl Writer<'_> {
    /// Deletes what shall go, makes what shall be, and asks why pods are missing.
    pub(super) async fn jobs(&mut self, changes: &JobChanges, observed: &Observed, has_account: bool) {
        let JobChanges { deleted, created, without_pod } = changes;
        let mut all_deleted = true;
        for name in deleted {
            let known = observed.jobs.iter().find(|job| job.name_any() == *name);
            all_deleted &= self.delete::<Job>(name, Known::of(known.map(AsRef::as_ref))).await;
        }
        // A Job that could not be deleted may still run, and there are never two.
        if let Some(job) = created.as_deref().filter(|_| all_deleted && has_account) {
            self.create_job(job).await;
        }
        for job in &observed.jobs {
            if without_pod.contains(&job.name_any()) {
                self.denial(job).await;
            }
        }
    }

    async fn create_job(&mut self, job: &Job) {
        let name = job.name_any();
        let result = self.api::<Job>().create(&PostParams::default(), job).await;
        let result = match result {
            Ok(answer) => {
                self.wrote(&answer);
                Ok(())
            }
            Err(error) if Refusal::of(&error) == Refusal::AlreadyExists => self.existing_job(job).await,
            Err(error) => Err(Refused::because::<Job>(&name, &error)),
        };
        self.note::<Job>(&name, result);
    }

    /// Whether the Job that is there already is the one that was to be made: the stores may not have known it yet.
    async fn existing_job(&self, wanted: &Job) -> Result<(), Refused> {
        let name = wanted.name_any();
        let existing = match self.api::<Job>().get_metadata_opt(&name).await {
            Ok(Some(existing)) => existing,
            Ok(None) => {
                let message = format!("Job/{name} went away while it was to be made");
                return Err(Refused::Because(Cause::new(Reason::ApplyFailed, message)));
            }
            Err(error) => return Err(Refused::because::<Job>(&name, &error)),
        };
        match holder(&existing, &self.key, &self.uid) {
            Holder::Other(cause) => Err(Refused::Because(cause)),
            Holder::Ours | Holder::Nobody
                if existing.annotations().get(annotations::JOB_HASH)
                    == wanted.annotations().get(annotations::JOB_HASH) =>
            {
                Ok(())
            }
            Holder::Ours | Holder::Nobody => Err(Refused::Because(Cause::new(
                Reason::NameConflict,
                format!("Job/{name} was made for something else; delete it, and it is made again"),
            ))),
        }
    }
}
