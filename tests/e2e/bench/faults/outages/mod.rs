//! What goes away, and what is done meanwhile.
mod place;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::future::{BoxFuture, FutureExt as _};
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use modelwright_e2e::{disruption::generator::now, outage::Row};
use serde_json::json;

pub(crate) use self::place::{KNOCK, example, knock};
use self::place::{Place, REPLICAS, merge};
use crate::Request;

/// The pods that are asked for, so that one more must start.
const MORE: i32 = REPLICAS + 1;
/// Kubernetes takes the pods of a node that is not heard of for that long out of their Services.
const NODE_GRACE: Duration = Duration::from_secs(40);

/// An outage, and what waits for its end.
pub(crate) struct Outage {
    /// Its name on the command line.
    name: &'static str,
    /// What is away, for people.
    fault: &'static str,
    run: for<'a> fn(&'a Place, Duration) -> BoxFuture<'a, anyhow::Result<Told>>,
}

/// What was found.
struct Told {
    /// From the end of the outage until what waited for it was done.
    recovered: Duration,
    /// What a user saw meanwhile.
    seen: String,
}

/// Every outage, in the order in which they happen.
const ALL: &[Outage] = &[
    Outage {
        name: "api-server",
        fault: "API server",
        run: |place, outage| program(place, "kube-apiserver", outage).boxed(),
    },
    Outage { name: "etcd", fault: "etcd", run: |place, outage| program(place, "etcd", outage).boxed() },
    Outage { name: "operator", fault: "operator", run: |place, outage| operator(place, outage).boxed() },
    Outage { name: "dns", fault: "DNS of the cluster", run: |place, outage| dns(place, outage).boxed() },
    Outage { name: "store", fault: "object store", run: |place, outage| store(place, outage).boxed() },
    Outage {
        name: "node-agent",
        fault: "kubelet of the only node",
        run: |place, outage| program(place, "kubelet", outage).boxed(),
    },
];

/// The names of all.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|outage| outage.name)
}

/// Prints a table of the outages that are asked for; what should not have been.
pub(crate) async fn measure(request: &Request) -> anyhow::Result<Vec<String>> {
    let mut failures = Vec::new();
    let asked: Vec<_> = ALL.iter().filter(|outage| request.asks_for(outage.name)).collect();
    if asked.is_empty() {
        return Ok(failures);
    }
    let place = Place::prepare(request.rate).await?;
    println!("{} requests a second of each kind to {REPLICAS} pods\n\n{}", request.rate, Row::HEAD);
    for outage in asked {
        let row = outage.happen(&place, request.outage).await.with_context(|| outage.name)?;
        let lost = row.requests.failures.first().filter(|_| !outage.may_fail(request.outage));
        if row.requests.total() == 0 || lost.is_some() {
            failures.push(format!("{}: {}, the first: {lost:?}", outage.name, row.requests));
        }
        println!("{row}");
    }
    place.remove().await?;
    Ok(failures)
}

impl Outage {
    /// From its beginning until all is as before.
    async fn happen(&self, place: &Place, outage: Duration) -> anyhow::Result<Row> {
        let begin = now();
        let Told { recovered, seen } = (self.run)(place, outage).await?;
        place.as_before().await?;
        let requests = place.load.between(begin, now()).await?;
        Ok(Row { fault: self.fault.to_owned(), outage, requests, recovered, seen })
    }

    /// Whether requests may be lost whatever Modelwright does.
    fn may_fail(&self, outage: Duration) -> bool {
        self.name == "node-agent" && outage >= NODE_GRACE
    }
}

/// A program of the cluster is away; the Model is scaled up right after.
async fn program(place: &Place, name: &str, outage: Duration) -> anyhow::Result<Told> {
    let held = place.programs.hold(name)?;
    tokio::time::sleep(outage).await;
    let seen = place.seen().await;
    drop(held);
    Ok(Told { recovered: place.rescaled(MORE).await?, seen })
}

/// The operator is away; the Model is scaled up meanwhile.
async fn operator(place: &Place, outage: Duration) -> anyhow::Result<Told> {
    let (namespace, name) = place.operator();
    place.scale(namespace, &name, 0).await?;
    place.ask_for(MORE).await?;
    tokio::time::sleep(outage).await;
    let seen = place.seen().await;
    let start = Instant::now();
    place.scale(namespace, &name, 1).await?;
    place.serving(MORE).await?;
    Ok(Told { recovered: start.elapsed(), seen })
}

/// Names are not resolved; the Model is scaled up meanwhile.
async fn dns(place: &Place, outage: Duration) -> anyhow::Result<Told> {
    const DNS: (&str, &str) = ("kube-system", "coredns");
    place.scale(DNS.0, DNS.1, 0).await?;
    place.until_away(DNS.0, "kube-dns").await?;
    let seen = waiting(place, outage).await?;
    place.scale(DNS.0, DNS.1, 1).await?;
    Ok(Told { recovered: place.serving(MORE).await?, seen })
}

/// Nothing listens at the store's address; the Model is scaled up meanwhile.
async fn store(place: &Place, outage: Duration) -> anyhow::Result<Told> {
    const STORE: &str = "s3";
    let services = Api::<Service>::namespaced(place.client.clone(), STORE);
    let leads_to = |app: &str| json!({"spec": {"selector": {"app": app}}});
    merge(&services, STORE, &leads_to("nobody")).await?;
    place.until_away(STORE, STORE).await?;
    let seen = waiting(place, outage).await?;
    merge(&services, STORE, &leads_to(STORE)).await?;
    Ok(Told { recovered: place.serving(MORE).await?, seen })
}

/// Asks for one more pod, which cannot start, and waits until that is said and the outage is over.
async fn waiting(place: &Place, outage: Duration) -> anyhow::Result<String> {
    let start = Instant::now();
    place.ask_for(MORE).await?;
    let seen = place.says("container fetch").await?;
    let seen = format!("after {:.0} s {seen}", start.elapsed().as_secs_f64());
    tokio::time::sleep(outage.saturating_sub(start.elapsed())).await;
    Ok(seen)
}
