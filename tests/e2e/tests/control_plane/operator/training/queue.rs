//! Many trainings that wait for a queue which admits none.
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use modelwright_api::{Model, contract::labels, status::TrainingPhase};
use modelwright_e2e::{
    cluster, crd,
    faults::FaultyApi,
    namespace::with_scripted_node,
    operator::Operator,
    wait::{self, Seen},
};
use serde_json::json;

use super::{
    super::story::serves,
    story::{builtin, line_of_kubectl, status, trains_to},
};

const TRAININGS: usize = 200;
const TIMEOUT: Duration = Duration::from_mins(3);
/// Half the time in which a steady state is measured elsewhere would do; a hot loop shows at once.
const QUIET: Duration = Duration::from_secs(30);

/// The passes of the operator so far, of every outcome.
async fn passes(operator: &Operator) -> anyhow::Result<f64> {
    let text = reqwest::get(format!("{}/metrics", operator.admin())).await?.text().await?;
    let counts = text.lines().filter(|line| line.starts_with("modelwright_reconcile_duration_seconds_count"));
    Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_queued_trainings_cost_nothing_while_they_wait() -> anyhow::Result<()> {
    with_scripted_node("queue", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let api = FaultyApi::start(cluster::config().await?).await?;
        let operator = Operator::of(&namespace).through(&api, None).start()?;
        let manifests: Vec<_> =
            (0..TRAININGS).map(|number| builtin(&format!("m{number}"), "    queue: gpus\n", "")).collect();
        namespace.apply(&manifests.join("---\n")).await?;
        let models = namespace.api::<Model>();
        wait::wait_for("every training to be queued", TIMEOUT, || async {
            let all = models.list(&ListParams::default()).await?;
            let queued =
                all.iter().filter(|model| status(model).phase == Some(TrainingPhase::Queued)).count();
            Ok(Seen::or_else_saw((queued == TRAININGS).then_some(()), queued))
        })
        .await?;
        let jobs = namespace.api::<Job>();
        let all = jobs.list(&ListParams::default()).await?.items;
        assert_eq!(all.len(), TRAININGS);
        for job in &all {
            assert_eq!(job.spec.as_ref().and_then(|spec| spec.suspend), Some(true));
            assert_eq!(job.labels().get(labels::QUEUE).map(String::as_str), Some("gpus"));
        }
        let line = line_of_kubectl(&namespace, "m7").await?;
        assert!(line.contains("Queued"), "{line}");

        // Whatever the last status caused is over.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = passes(&operator).await?;
        api.forget();
        tokio::time::sleep(QUIET).await;
        let writes: Vec<_> =
            api.writes().into_iter().filter(|write| write.request.resource != "leases").collect();
        assert!(writes.is_empty(), "{writes:#?}");
        let requests: u64 = api
            .counts()
            .into_iter()
            .filter(|((_, resource), _)| resource != "leases")
            .map(|(_, count)| count)
            .sum();
        let passed = passes(&operator).await? - before;
        eprintln!(
            "| {TRAININGS} queued trainings, {} s | {passed} passes, {requests} requests, 0 writes |",
            QUIET.as_secs()
        );
        assert!(passed <= 2.0 * 200.0, "a hot loop: {passed} passes");
        assert!(requests < 50, "{:?}", api.counts());

        // The queue admits one: only that one trains, and nobody suspends it again.
        trains_to(node, "m7", 'a');
        let admitted = all.iter().find(|job| job.name_any().starts_with("m7-train-")).unwrap().name_any();
        let admit = json!({"spec": {"suspend": false}});
        jobs.patch(&admitted, &PatchParams::default(), &Patch::Merge(&admit)).await?;
        serves(&namespace, "m7", 'a').await?;
        assert_eq!(jobs.get(&admitted).await?.spec.unwrap().suspend, Some(false));
        Ok(())
    })
    .await
}
