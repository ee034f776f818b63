//! `cargo xtask bench operator`: a thousand Models on a real control plane with scripted pods, beside a client that does
//! nothing but create the same objects.
//!
//! Prints a table; nothing is asserted, since times are the machine's.
mod all;
mod churn;
mod edits;
mod null;
mod places;
mod process;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::{Api, Client, api::PostParams};
use modelwright_api::{Model, conditions::ConditionType};
use modelwright_e2e::{
    cluster, crd,
    load::Meter,
    operator::Operator,
    settings::number,
    wait::{self, Seen},
};
use serde_json::json;

use self::{places::Places, process::Process};

/// What to measure.
pub(crate) struct Size {
    /// Models in all.
    pub(crate) models: usize,
    /// How many namespaces they are in, each with as many.
    pub(crate) namespaces: usize,
    /// How many of them with an autoscaler.
    pub(crate) autoscaled: usize,
    /// How many edits are timed.
    pub(crate) edits: usize,
    /// How long nothing may be written.
    pub(crate) steady: Duration,
    /// How long Models are edited, deleted and made anew beside others that fail.
    pub(crate) churn: Duration,
    /// Whether the client that only makes the objects is measured, too.
    pub(crate) null: bool,
}

/// Requests at the same time, of the null client and of whoever applies Models: as many as the operator works on.
const CONCURRENCY: usize = 8;
const TIMEOUT: Duration = Duration::from_hours(1);

fn size() -> anyhow::Result<Size> {
    let models = number("BENCH_MODELS", 1000)?;
    Ok(Size {
        models,
        namespaces: number("BENCH_NAMESPACES", 1)?,
        autoscaled: number("BENCH_AUTOSCALED", models / 5)?,
        edits: number("BENCH_EDITS", 200)?,
        steady: Duration::from_secs(number("BENCH_STEADY_SECONDS", 300)?),
        churn: Duration::from_secs(number("BENCH_CHURN_SECONDS", 0)?),
        null: number("BENCH_NULL", 1_u8)? == 1,
    })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let size = size()?;
    let client = cluster::connect().await?;
    crd::install(&client).await?;
    let Size { models, namespaces, autoscaled, .. } = size;
    println!("{models} Models in {namespaces} namespaces, {autoscaled} of them autoscaled\n");

    let null = if size.null { Some(without_operator(&client, &size).await?) } else { None };

    let places = Places::new(&client, "bench-operator", &size).await?;
    let operator = Operator::of(&places.of(0)).everywhere().start()?;
    leads(&operator).await?;
    let idle = Process::of(operator.pid())?;
    let meter = Meter::start(&client).await?;
    let start = Instant::now();
    apply(&places, &size).await?;
    all::are(Api::all(client.clone()), models, |model: &Model| model.holds(ConditionType::Ready)).await?;
    let ours = start.elapsed();
    println!("| operator: all Ready | {:.1} s | {} |", ours.as_secs_f64(), meter.load().await?);
    if let Some(null) = null {
        println!("| ratio | {:.2} |", ours.as_secs_f64() / null.as_secs_f64());
    }
    let busy = Process::of(operator.pid())?;
    println!(
        "| operator | {:.1} CPU s, {:.1} ms a Model | memory {:.1} MiB before, {:.1} MiB at most |",
        busy.cpu_seconds - idle.cpu_seconds,
        (busy.cpu_seconds - idle.cpu_seconds) * 1_000.0 / models as f64,
        idle.resident_mib,
        busy.peak_mib
    );
    let writes = process::writes(&operator).await?;
    println!(
        "| writes of the operator, {:.1} a Model | {} |",
        total(&writes) / models as f64,
        listed(&writes)
    );

    edits::measure(&places, &size).await?;
    steady(&operator, &size, "steady state").await?;
    if !size.churn.is_zero() {
        churn::run(&places, &operator, &size).await?;
    }
    operator.stop().await?;
    let operator = Operator::of(&places.of(0)).everywhere().start()?;
    leads(&operator).await?;
    steady(&operator, &size, "after a restart").await?;
    let after = Process::of(operator.pid())?;
    println!(
        "| memory after the restart | {:.1} MiB, {:.1} MiB at most |",
        after.resident_mib, after.peak_mib
    );
    operator.stop().await?;
    places.remove().await
}

/// How long a client takes that only makes the same objects.
async fn without_operator(client: &Client, size: &Size) -> anyhow::Result<Duration> {
    let places = Places::new(client, "bench-null", size).await?;
    let meter = Meter::start(client).await?;
    let start = Instant::now();
    null::create(&places, size).await?;
    let time = start.elapsed();
    println!(
        "| null client: the same objects, all Available | {:.1} s | {} |",
        time.as_secs_f64(),
        meter.load().await?
    );
    places.remove().await?;
    Ok(time)
}

/// The i-th Model.
pub(crate) fn model(index: usize, size: &Size) -> Model {
    let serving = if index < size.autoscaled {
        json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 3}, "resources": {"requests": {"cpu": "10m"}}})
    } else {
        json!({"replicas": 1, "resources": {"requests": {"cpu": "10m"}}})
    };
    let spec = json!({"source": {"uri": format!("s3://models/m{index}/model.onnx")}, "serving": serving});
    Model::new(&format!("m{index}"), serde_json::from_value(spec).unwrap_or_default())
}

async fn apply(places: &Places, size: &Size) -> anyhow::Result<()> {
    let mut creations = futures::stream::iter(0..size.models)
        .map(|index| {
            let (models, model) = (places.of(index).api::<Model>(), model(index, size));
            async move { models.create(&PostParams::default(), &model).await }
        })
        .buffer_unordered(CONCURRENCY);
    while let Some(created) = creations.next().await {
        created?;
    }
    Ok(())
}

/// Waits until the operator leads.
async fn leads(operator: &Operator) -> anyhow::Result<()> {
    wait::wait_for("the operator to lead", TIMEOUT, || async {
        let text = process::metrics(operator).await?;
        let leads = text.lines().any(|line| line == "modelwright_leader 1");
        Ok(Seen::or_else_saw(leads.then_some(()), "it does not"))
    })
    .await
}

/// How much is written while nothing happens.
async fn steady(operator: &Operator, size: &Size, what: &str) -> anyhow::Result<()> {
    // What the last change set going ends.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let (before, cpu) = (process::writes(operator).await?, Process::of(operator.pid())?.cpu_seconds);
    tokio::time::sleep(size.steady).await;
    let (after, later) = (process::writes(operator).await?, Process::of(operator.pid())?.cpu_seconds);
    println!(
        "| {what}: writes in {} s, the Lease aside | {} | {:.2} CPU s |",
        size.steady.as_secs(),
        total(&after) - total(&before),
        later - cpu
    );
    Ok(())
}

fn total(writes: &process::Writes) -> f64 {
    writes.values().sum()
}

fn listed(writes: &process::Writes) -> String {
    writes.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
