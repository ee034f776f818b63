//! `modelwright why`: the chain from a Model to what it suffers from, and what to do next.

use std::path::PathBuf;
use std::process::ExitCode as ProcessExit;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::ListParams;
use kube::{Api, Client};
use modelwright_api::Model;
use modelwright_api::contract::{ExitCode, labels, names};
use modelwright_operator::observe::{
    Observed,
    autoscalers::{Target, is_ours},
};
use modelwright_operator::{client, why};

use crate::failure::Failure;

/// Explain why a Model is as it is: the chain from it to the root cause, and the next step.
///
/// Needs the right to read the Model and the Deployments, Jobs, pods, Services and autoscalers of its namespace.
#[derive(Debug, Args)]
pub(crate) struct WhyArguments {
    /// The Model's name; without it, all Models of the namespace.
    model: Option<String>,
    /// The Model's namespace [default: that of the kubeconfig's context].
    #[arg(short, long)]
    namespace: Option<String>,
    /// Reach the cluster as this file says [default: as `KUBECONFIG` or the file in the home folder says].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Runs it. Exits with 0 if every Model is as it should be, and with 75 if one is not.
pub(crate) fn run(arguments: &WhyArguments) -> ProcessExit {
    client::choose_cryptography();
    let exit = match crate::steps::block_on(explain(arguments)) {
        Ok(true) => ExitCode::Done,
        Ok(false) => ExitCode::TryAgain,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            failure.exit
        }
    };
    exit.number().into()
}

async fn explain(arguments: &WhyArguments) -> Result<bool, Failure> {
    let config = client::config(arguments.kubeconfig.as_deref()).await.map_err(|error| {
        Failure::new(ExitCode::InvalidConfiguration, "NoCluster", client::with_causes(&error))
    })?;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let kube = Client::try_from(config).map_err(|error| {
        Failure::new(ExitCode::InvalidConfiguration, "NoCluster", client::with_causes(&error))
    })?;
    let models: Api<Model> = Api::namespaced(kube.clone(), &namespace);
    let chosen = match &arguments.model {
        Some(name) => vec![models.get(name).await.map_err(|error| unread("the Model", &error))?],
        None => models.list(&ListParams::default()).await.map_err(|error| unread("Models", &error))?.items,
    };
    if chosen.is_empty() {
        println!("no Models in {namespace}");
    }
    let mut well = true;
    for model in chosen {
        let observed = observe(&kube, &namespace, model.metadata.name.as_deref().unwrap_or_default()).await?;
        let chain = why::explain(&model, &observed, Timestamp::now());
        well &= chain.iter().all(|link| link.mark == why::Mark::Good);
        print!("{}", why::render(&chain));
    }
    Ok(well)
}

/// What belongs to a Model, as its user may read it.
async fn observe(client: &Client, namespace: &str, model: &str) -> Result<Observed, Failure> {
    let ours = ListParams::default().labels(&format!("{}={model}", labels::MODEL));
    let (deployments, services) = (
        Api::<Deployment>::namespaced(client.clone(), namespace),
        Api::<Service>::namespaced(client.clone(), namespace),
    );
    let autoscalers = Api::<HorizontalPodAutoscaler>::namespaced(client.clone(), namespace);
    let (jobs, pods) = (
        Api::<Job>::namespaced(client.clone(), namespace),
        Api::<Pod>::namespaced(client.clone(), namespace),
    );
    let name = names::child(model);
    let all = ListParams::default();
    let (deployment, service, autoscalers, jobs, pods) = tokio::try_join!(
        deployments.get_opt(&name),
        services.get_opt(&name),
        autoscalers.list(&all),
        jobs.list(&ours),
        pods.list(&ours),
    )
    .map_err(|error| unread("what belongs to the Model", &error))?;
    let (mut own, mut others): (Vec<_>, Vec<_>) =
        autoscalers.items.into_iter().map(Arc::new).partition(|known| is_ours(known, &name));
    others.retain(|other| Target::of(other).is_some_and(|target| target.name() == name));
    Ok(Observed {
        deployment: deployment.map(Arc::new),
        service: service.map(Arc::new),
        autoscaler: own.pop(),
        other_autoscalers: others,
        jobs: jobs.items.into_iter().map(Arc::new).collect(),
        pods: pods.items.into_iter().map(Arc::new).collect(),
        ..Observed::default()
    })
}

fn unread(what: &str, error: &kube::Error) -> Failure {
    let exit = match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404) => ExitCode::InputMissing,
        _ => ExitCode::Unreachable,
    };
    Failure::new(exit, "ClusterUnreadable", format!("cannot read {what}: {}", client::with_causes(error)))
}
