//! A cluster in memory: what a plan writes is there, and pods, Jobs and Deployments become what a test says. Nothing is
//! written but through the writes of a plan, of which a test can let only the first few happen.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
    batch::v1::{Job, JobCondition, JobStatus},
    core::v1::{
        Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus, PodTemplateSpec,
    },
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use modelwright_api::{
    Model, Outcome,
    contract::{annotations, field_managers},
    status::{ModelStatus, Revision, Revisions, SourceStatus},
};

use serde_json::{Value, json};

use super::super::{
    Change, DeploymentChange, JobChanges, Plan, RolloutState, Situation, plan, said_of_rejection,
};
use crate::{
    apply::Applied,
    observe::Observed,
    report::{Facts, report},
    settings::Settings,
};

pub(crate) const UID: &str = "uid-of-the-model";

pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) observed: Observed,
    pub(crate) settings: Settings,
    pub(crate) now: Timestamp,
    /// Every template that the Deployment ever had, as its ReplicaSets keep them.
    pub(crate) templates: Vec<PodTemplateSpec>,
    /// Every write, in order.
    pub(crate) writes: Vec<String>,
}

pub(crate) fn settings(version: &str) -> Settings {
    let settings = Settings::with_image(format!("modelwright:{version}"), version);
    Settings { namespace: Some("modelwright".into()), ..settings }
}

pub(crate) fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

impl World {
    pub(crate) fn new(spec: &str) -> Self {
        let mut model = Model::new("bc", serde_json::from_str(spec).unwrap());
        model.metadata.namespace = Some("demo".into());
        model.metadata.uid = Some(UID.into());
        model.metadata.generation = Some(1);
        Self {
            model,
            observed: Observed::default(),
            settings: settings("1"),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            templates: Vec::new(),
            writes: Vec::new(),
        }
    }

    pub(crate) fn spec(&mut self, spec: &str) {
        self.model.spec = serde_json::from_str(spec).unwrap();
        self.model.metadata.generation = self.model.metadata.generation.map(|generation| generation + 1);
    }

    pub(crate) fn pass_time(&mut self, seconds: i64) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
    }

    pub(crate) fn plan(&self) -> Plan {
        plan(&self.model, &self.observed, &self.settings, self.now)
    }

    /// One pass: plans, and does at most `most` of the writes. Returns how many writes the plan has.
    pub(crate) fn pass(&mut self, most: usize) -> usize {
        let plan = self.plan();
        let before = self.writes.len();
        let mut left = most;
        let mut count = 0;
        let mut may = |name: String, writes: &mut Vec<String>| {
            count += 1;
            let does = left > 0;
            left = left.saturating_sub(1);
            if does {
                writes.push(name);
            }
            does
        };
        let Plan {
            service_account,
            service,
            headless_service,
            disruption_budget,
            network_policy,
            train_service,
            jobs: JobChanges { deleted, created, without_pod: _ },
            deployment,
            replicas,
            autoscaler,
            situation,
            look_again_at: _,
        } = plan;
        macro_rules! child {
            ($change:expr, $field:ident) => {
                match $change {
                    Change::Keep => {}
                    Change::Apply(object) => {
                        if may(format!("apply {}", stringify!($field)), &mut self.writes) {
                            self.observed.$field = Some(Arc::new(*object));
                        }
                    }
                    Change::Delete => {
                        if may(format!("delete {}", stringify!($field)), &mut self.writes) {
                            self.observed.$field = None;
                        }
                    }
                }
            };
        }
        child!(service_account, service_account);
        child!(service, service);
        child!(headless_service, headless_service);
        child!(disruption_budget, disruption_budget);
        child!(network_policy, network_policy);
        child!(train_service, train_service);
        for name in deleted {
            if may(format!("delete {name}"), &mut self.writes) {
                self.observed.jobs.retain(|job| job.metadata.name.as_deref() != Some(&name));
                self.observed.pods.retain(|pod| owner(pod) != Some(name.as_str()));
            }
        }
        if let Some(job) = created {
            let name = job.metadata.name.clone().unwrap();
            let exists = self.observed.jobs.iter().any(|other| other.metadata.name.as_ref() == Some(&name));
            if may(format!("create {name}"), &mut self.writes) && !exists {
                let mut job = *job;
                job.metadata.creation_timestamp = Some(Time(self.now));
                job.metadata.uid = Some(format!("uid-of-{name}"));
                self.observed.jobs.push(Arc::new(job));
            }
        }
        let changes = !matches!(deployment, DeploymentChange::Keep);
        if changes && may("apply deployment".into(), &mut self.writes) {
            self.write_deployment(deployment);
        }
        if let Some(replicas) = replicas
            && may(format!("replicas {replicas}"), &mut self.writes)
        {
            self.change_deployment(|deployment| {
                is_scaled(deployment, replicas);
            });
        }
        child!(autoscaler, autoscaler);
        assert!(self.writes.len() - before <= most);
        self.remember(situation);
        count
    }

    /// The report: what the next plan reads of it.
    fn remember(&mut self, situation: Situation) {
        if situation.rollout == RolloutState::Settled
            && let Some(deployed) = &situation.deployed
        {
            let active = Some(Revision { digest: deployed.digest.clone(), ..Revision::default() });
            let status = self.model.status.get_or_insert_with(ModelStatus::default);
            status.revisions = Some(Revisions { active, ..Revisions::default() });
        }
        if situation.training.is_some() {
            self.report_training(&situation);
        } else if let Some(known) = situation.resolution {
            let status = self.model.status.get_or_insert_with(ModelStatus::default);
            status.source = Some(SourceStatus {
                resolved_from: known.resolved_from,
                digest: known.revision.digest,
                uri: known.revision.uri,
                retrievable: known.revision.retrievable,
                fingerprint: known.fingerprint,
                checked_at: known.checked_at.map(|at| at.to_string()),
                look_failed: None,
            });
        }
    }

    /// Passes until one writes nothing.
    pub(crate) fn converge(&mut self) {
        for _ in 0..20 {
            if self.pass(usize::MAX) == 0 {
                return;
            }
        }
        panic!("no end of writing: {:#?}", self.writes);
    }

    /// The writes since the last time this was asked.
    pub(crate) fn written(&mut self) -> Vec<String> {
        std::mem::take(&mut self.writes)
    }

    fn write_deployment(&mut self, change: DeploymentChange) {
        let present = self.observed.deployment.clone();
        let mut desired = match change {
            DeploymentChange::Keep => return,
            DeploymentChange::Apply(desired) => *desired,
            DeploymentChange::Restore(restore) => {
                let template = self.templates.iter().find(|template| {
                    annotation(template.metadata.as_ref().unwrap(), annotations::RENDERED_FROM)
                        == Some(restore.rendered_from.as_str())
                });
                let template = template.expect("a template to go back to").clone();
                let mut restored = (*present.clone().unwrap()).clone();
                let from = template.metadata.clone().unwrap();
                let all = restored.metadata.annotations.as_mut().unwrap();
                for key in [annotations::DIGEST, annotations::URI, annotations::RENDERED_FROM] {
                    all.insert(key.into(), annotation(&from, key).unwrap().into());
                }
                all.insert(annotations::ACTIVE.into(), restore.rendered_from.clone());
                all.insert(annotations::REJECTED.into(), restore.rejected);
                all.insert(annotations::REJECTED_FOR.into(), said_of_rejection(&restore.cause));
                all.remove(annotations::RESOLVED_FROM);
                restored.spec.as_mut().unwrap().template = template;
                restored
            }
        };
        let replicas = present.as_ref().and_then(|present| present.spec.as_ref()?.replicas).unwrap_or(1);
        let changed = present.as_ref().is_none_or(|present| {
            present.spec.as_ref().unwrap().template != desired.spec.as_ref().unwrap().template
        });
        desired.spec.as_mut().unwrap().replicas = Some(replicas);
        let generation = present.as_ref().and_then(|present| present.metadata.generation).unwrap_or(0);
        desired.metadata.generation = Some(generation + i64::from(changed));
        desired.metadata.managed_fields =
            present.as_ref().and_then(|present| present.metadata.managed_fields.clone());
        desired.status = present.and_then(|present| present.status.clone());
        if changed {
            self.templates.push(desired.spec.clone().unwrap().template);
        }
        self.observed.deployment = Some(Arc::new(desired));
    }

    pub(crate) fn change_deployment(&mut self, change: impl FnOnce(&mut Deployment)) {
        if let Some(deployment) = &mut self.observed.deployment {
            change(Arc::make_mut(deployment));
        }
    }

    /// Somebody else sets the number of pods.
    pub(crate) fn is_scaled_by_another(&mut self, replicas: i32) {
        self.change_deployment(|deployment| {
            deployment.spec.as_mut().unwrap().replicas = Some(replicas);
            deployment.metadata.managed_fields = None;
        });
    }

    /// What the Deployment's controller says.
    pub(crate) fn deployment_says(&mut self, progressing: &str, reason: &str, available: i32) {
        self.change_deployment(|deployment| {
            deployment.status = Some(DeploymentStatus {
                observed_generation: deployment.metadata.generation,
                replicas: Some(available),
                available_replicas: Some(available),
                updated_replicas: Some(available),
                conditions: Some(vec![DeploymentCondition {
                    type_: "Progressing".into(),
                    status: progressing.into(),
                    reason: Some(reason.into()),
                    ..DeploymentCondition::default()
                }]),
                ..DeploymentStatus::default()
            });
        });
    }

    /// All pods of the Deployment are ready.
    pub(crate) fn deployment_is_ready(&mut self) {
        let replicas = self.observed.deployment.as_ref().unwrap().spec.as_ref().unwrap().replicas.unwrap();
        self.deployment_says("True", "NewReplicaSetAvailable", replicas);
    }

    /// The Jobs that have not ended.
    pub(crate) fn active_jobs(&self) -> Vec<String> {
        let over = |job: &&Arc<Job>| job.status.as_ref().is_some_and(|status| status.conditions.is_some());
        let active = self.observed.jobs.iter().filter(|job| !over(job));
        active.map(|job| job.metadata.name.clone().unwrap()).collect()
    }

    /// The one active Job ends so.
    pub(crate) fn job_ends(&mut self, code: i32, outcome: &Outcome) {
        let active = self.active_jobs();
        let [name] = active.as_slice() else { panic!("not one active Job: {active:?}") };
        let now = self.now;
        for job in &mut self.observed.jobs {
            if job.metadata.name.as_ref() == Some(name) {
                let type_ = if code == 0 { "Complete" } else { "Failed" };
                Arc::make_mut(job).status = Some(JobStatus {
                    conditions: Some(vec![JobCondition {
                        type_: type_.into(),
                        status: "True".into(),
                        last_transition_time: Some(Time(now)),
                        ..JobCondition::default()
                    }]),
                    ..JobStatus::default()
                });
            }
        }
        self.observed.pods.push(Arc::new(ended_pod(name, code, outcome)));
    }

    /// `status.training`, as the report makes it.
    fn report_training(&mut self, situation: &Situation) {
        let facts = Facts {
            model: &self.model,
            observed: &self.observed,
            situation,
            applied: &Applied::default(),
            settings: &self.settings,
            now: self.now,
        };
        let training = report(&facts).status.training;
        self.model.status.get_or_insert_with(ModelStatus::default).training = training;
    }

    /// The pod of the one active Job: the containers before this one ended well, and this one is as given.
    pub(crate) fn job_pod(&mut self, container: &str, phase: &str, state: &Value) {
        let active = self.active_jobs();
        let [name] = active.as_slice() else { panic!("not one active Job: {active:?}") };
        let job = self.observed.jobs.iter().find(|job| job.metadata.name.as_ref() == Some(name)).unwrap();
        let template = job.spec.as_ref().unwrap().template.clone();
        let spec = template.spec.unwrap();
        let mut reached = false;
        let mut statuses = |containers: &[Container]| {
            let status = |own: &Container| {
                let state = match (reached, own.name == container, own.restart_policy.is_some()) {
                    (false, true, _) => state.clone(),
                    (false, _, true) => json!({"running": {}}),
                    (false, ..) => json!({"terminated": {"exitCode": 0}}),
                    (true, ..) => json!({"waiting": {"reason": "PodInitializing"}}),
                };
                reached |= own.name == container;
                json!({"name": own.name, "image": own.image, "imageID": "", "ready": false, "restartCount": 0, "state": state})
            };
            containers.iter().map(status).collect::<Vec<_>>()
        };
        let inits = statuses(spec.init_containers.as_deref().unwrap_or_default());
        let mains = statuses(&spec.containers);
        let status = json!({"phase": phase, "initContainerStatuses": inits, "containerStatuses": mains});
        let mut pod = ended_pod(name, 0, &Outcome::default());
        pod.metadata.labels.get_or_insert_default().extend(template.metadata.unwrap().labels.unwrap());
        pod.spec = Some(spec);
        pod.status = Some(serde_json::from_value(status).unwrap());
        self.observed.pods.retain(|other| other.metadata.name != pod.metadata.name);
        self.observed.pods.push(Arc::new(pod));
    }

    /// The one active Job ends: this container of its pod with this code and these words.
    pub(crate) fn training_ends(&mut self, container: &str, code: i32, words: &str) {
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        self.job_pod(container, phase, &json!({"terminated": {"exitCode": code, "message": words}}));
        self.job_is_over(code == 0, "", "");
    }

    /// The Job's controller says of the one active Job that it is over.
    pub(crate) fn job_is_over(&mut self, complete: bool, reason: &str, message: &str) {
        let active = self.active_jobs();
        let [name] = active.as_slice() else { panic!("not one active Job: {active:?}") };
        let now = self.now;
        let job = self.observed.jobs.iter_mut().find(|job| job.metadata.name.as_ref() == Some(name)).unwrap();
        Arc::make_mut(job).status = Some(JobStatus {
            conditions: Some(vec![JobCondition {
                type_: if complete { "Complete" } else { "Failed" }.into(),
                status: "True".into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                last_transition_time: Some(Time(now)),
                ..JobCondition::default()
            }]),
            ..JobStatus::default()
        });
    }

    /// The training gave this revision.
    pub(crate) fn training_gives(&mut self, digit: char) {
        self.training_ends("train", 0, &Self::trained(digit).to_line());
    }

    pub(crate) fn trained(digit: char) -> Outcome {
        Outcome {
            digest: Some(digest(digit)),
            fingerprint: Some(digest('f')),
            inputs_digest: Some(digest('e')),
            metrics: [("valAccuracy".to_owned(), 0.97)].into(),
            ..Outcome::success("Trained")
        }
    }

    pub(crate) fn job_finds(&mut self, digit: char) {
        let found = Outcome {
            digest: Some(digest(digit)),
            fingerprint: Some(digest('f')),
            ..Outcome::success("Resolved")
        };
        self.job_ends(0, &found);
    }
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn owner(pod: &Pod) -> Option<&str> {
    pod.metadata.owner_references.as_ref()?.first().map(|owner| owner.name.as_str())
}

fn ended_pod(job: &str, code: i32, outcome: &Outcome) -> Pod {
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{job}-x")),
            labels: Some([("batch.kubernetes.io/job-name".to_owned(), job.to_owned())].into()),
            owner_references: Some(vec![OwnerReference {
                name: job.into(),
                uid: format!("uid-of-{job}"),
                kind: "Job".into(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: None,
        status: Some(PodStatus {
            phase: Some(if code == 0 { "Succeeded" } else { "Failed" }.into()),
            container_statuses: Some(vec![ContainerStatus {
                name: "resolve".into(),
                state: Some(ContainerState {
                    terminated: Some(ContainerStateTerminated {
                        exit_code: code,
                        message: Some(outcome.to_line()),
                        ..ContainerStateTerminated::default()
                    }),
                    ..ContainerState::default()
                }),
                ..ContainerStatus::default()
            }]),
            ..PodStatus::default()
        }),
    }
}

/// The operator sets the number of pods.
fn is_scaled(deployment: &mut Deployment, replicas: i32) {
    deployment.spec.as_mut().unwrap().replicas = Some(replicas);
    let manager = Some(field_managers::REPLICAS.to_owned());
    deployment.metadata.managed_fields =
        Some(vec![ManagedFieldsEntry { manager, ..ManagedFieldsEntry::default() }]);
}
