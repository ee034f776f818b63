//! Writes a plan: in its order, each child under its own field manager, and goes on after a failure where that is safe.
//!
//! Everything is server-side apply, but for Jobs, which are posted once. A child that the stores know is applied with force:
//! the plan looked whose it is. One that they do not know is applied without, so that an object which somebody else made
//! under its name is a conflict, and not taken over.

use std::collections::BTreeMap;

use kube::Client;
use modelwright_api::{
    Model,
    conditions::Cause,
    contract::{field_managers, names},
};

use crate::{
    observe::Observed,
    plan::{DeploymentChange, Plan},
};

mod denials;
mod holder;
mod jobs;
mod refused;
mod restore;
#[cfg(test)]
mod tests;
mod writer;

use writer::{Known, Writer};

/// What came of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// What could not be written, in the order of the plan.
    pub failures: Vec<Failure>,
    /// What the cluster said about Jobs that have no pod, by the Job's name.
    pub denials: BTreeMap<String, Cause>,
    /// The newest resource version that was written of each kind.
    pub written: BTreeMap<&'static str, u64>,
}

/// A child that could not be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The child, as `KIND/NAME`.
    pub child: String,
    /// Why.
    pub cause: Cause,
}

/// Writes what a plan says. `None` if the Model's namespace is going away: then there is nothing more to do or to say.
pub async fn apply(client: &Client, model: &Model, observed: &Observed, plan: &Plan) -> Option<Applied> {
    let Plan {
        service_account,
        service,
        headless_service,
        disruption_budget,
        network_policy,
        train_service,
        jobs,
        deployment,
        replicas,
        autoscaler,
        situation: _,
        look_again_at: _,
    } = plan;
    let mut writer = Writer::new(client, model);
    let name = names::child(&writer.key.name);
    let headless = names::headless_service(&writer.key.name);
    let train = names::train_service(&writer.key.name);

    let account = Known::of(observed.service_account.as_deref());
    let has_account = writer.account(service_account, account, &name).await;
    writer.child(service, Known::of(observed.service.as_deref()), &name).await;
    writer.child(headless_service, Known::of(observed.headless_service.as_deref()), &headless).await;
    writer.child(disruption_budget, Known::of(observed.disruption_budget.as_deref()), &name).await;
    writer.child(network_policy, Known::of(observed.network_policy.as_deref()), &name).await;
    writer.child(train_service, Known::of(observed.train_service.as_deref()), &train).await;
    // Without its account a pod would not start, or would run as an account that somebody else made.
    writer.jobs(jobs, observed, has_account).await;
    let deployed = match deployment {
        DeploymentChange::Keep => observed.deployment.is_some(),
        _ if !has_account => false,
        DeploymentChange::Apply(deployment) => {
            let known = Known::of(observed.deployment.as_deref());
            writer.write(deployment.as_ref(), known, &name, field_managers::TEMPLATE).await
        }
        DeploymentChange::Restore(restore) => writer.restore(restore, observed.deployment.as_deref()).await,
    };
    if let Some(replicas) = replicas.filter(|_| deployed) {
        writer.replicas(&name, replicas).await;
    }
    writer.child(autoscaler, Known::of(observed.autoscaler.as_deref()), &name).await;
    writer.finish()
}
