//! What the control plane makes of the pods of a scripted node.
use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    batch::v1::Job,
    core::v1::{Node, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use modelwright_e2e::{
    cluster,
    namespace::with_scripted_node,
    scripted_node::{ContainerScript, Exit, PodMatcher, PodScript, ScriptedNode},
    wait::{self, Seen},
};

use crate::objects::{self, TIMEOUT, condition, container, phase, waiting_reason};

fn fails(exit: Exit) -> ContainerScript {
    ContainerScript::exits(exit)
}

#[tokio::test]
async fn deployment_becomes_available_and_its_endpoints_fill() -> anyhow::Result<()> {
    with_scripted_node("deployment", async |namespace, node| {
        let late = ContainerScript::runs().ready_after(Duration::from_millis(300));
        node.on(PodMatcher::any().label("app", "shop"), PodScript::default().container("serve", late));
        namespace.apply(&objects::deployment("shop", 3, "1")).await?;
        wait::deployment_available(&namespace.api::<Deployment>(), "shop", TIMEOUT).await?;
        let slices = namespace.api::<EndpointSlice>();
        let addresses = wait::wait_for("3 ready endpoints", TIMEOUT, || async {
            let slices = slices.list(&ListParams::default()).await?;
            let endpoints: Vec<_> = slices.iter().flat_map(|slice| &slice.endpoints).collect();
            let ready = |endpoint: &&&k8s_openapi::api::discovery::v1::Endpoint| {
                endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
            };
            let addresses: Vec<_> =
                endpoints.iter().filter(ready).flat_map(|endpoint| endpoint.addresses.clone()).collect();
            Ok(Seen::or_else_saw((addresses.len() == 3).then_some(addresses), format!("{endpoints:?}")))
        })
        .await?;
        assert!(addresses.iter().all(|address| address.starts_with("239.")), "{addresses:?}");
        for pod in namespace.api::<Pod>().list(&ListParams::default()).await? {
            assert_eq!(pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()), Some(node.name()));
            for type_ in
                ["PodScheduled", "PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"]
            {
                assert_eq!(condition(&pod, type_), Some(true), "{type_}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn failing_init_container_leaves_its_termination_message() -> anyhow::Result<()> {
    with_scripted_node("init", async |namespace, node| {
        let fetch = fails(Exit::code(65).message("no such column: price"));
        node.on(PodMatcher::any().name_prefix("broken"), PodScript::default().container("fetch", fetch));
        namespace.apply(&objects::pod("broken", "Never")).await?;
        let pod =
            wait::pod(&namespace.api(), "broken", "Failed", TIMEOUT, |pod| phase(pod) == "Failed").await?;
        let ended = container(&pod, "fetch").unwrap().state.clone().unwrap().terminated.unwrap();
        assert_eq!((ended.exit_code, ended.message.as_deref()), (65, Some("no such column: price")));
        assert_eq!(waiting_reason(&pod, "serve"), Some("PodInitializing"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn job_fails_by_its_pod_failure_policy() -> anyhow::Result<()> {
    with_scripted_node("job", async |namespace, node| {
        let publish = PodScript::default().container("publish", ContainerScript::completes());
        node.on(PodMatcher::any(), publish);
        node.on(
            PodMatcher::any().label("job-name", "bad-data"),
            PodScript::default().container("train", fails(Exit::code(65).message("bad data"))),
        );
        for (name, reason) in [("bad-data", "PodFailurePolicy"), ("good-data", "CompletionsReached")] {
            namespace
                .apply(&format!(
                    r"
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  backoffLimit: 0
  podReplacementPolicy: Failed
  podFailurePolicy:
    rules:
    - {{action: Ignore, onPodConditions: [{{type: DisruptionTarget}}]}}
    - {{action: FailJob, onExitCodes: {{containerName: train, operator: In, values: [65]}}}}
  template:
    spec:
      restartPolicy: Never
      initContainers:
      - {{name: fetch, image: 'nothing:1'}}
      - {{name: agent, image: 'nothing:1', restartPolicy: Always}}
      - {{name: train, image: 'nothing:1'}}
      containers: [{{name: publish, image: 'nothing:1'}}]
"
                ))
                .await?;
            let condition = wait::job_finished(&namespace.api::<Job>(), name, TIMEOUT).await?;
            assert_eq!(condition.reason.as_deref(), Some(reason), "{condition:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn disrupted_pod_of_a_job_is_replaced_and_not_counted() -> anyhow::Result<()> {
    with_scripted_node("evicted", async |namespace, node| {
        node.on(
            PodMatcher::any(),
            PodScript::default().evicted_after(Duration::from_millis(200), "low on memory"),
        );
        namespace
            .apply(
                r"
apiVersion: batch/v1
kind: Job
metadata: {name: train}
spec:
  backoffLimit: 0
  podReplacementPolicy: Failed
  podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}
  template: {spec: {restartPolicy: Never, containers: [{name: train, image: 'nothing:1'}]}}
",
            )
            .await?;
        let pods = namespace.api::<Pod>();
        wait::wait_for("an evicted pod", TIMEOUT, || async {
            let pods = pods.list(&ListParams::default()).await?;
            let evicted = pods.iter().find(|pod| condition(pod, "DisruptionTarget") == Some(true));
            Ok(Seen::or_else_saw(evicted.map(|_| ()), pods.items.len()))
        })
        .await?;
        let done = ContainerScript::completes();
        node.on(PodMatcher::any(), PodScript::default().container("train", done));
        let condition = wait::job_finished(&namespace.api::<Job>(), "train", TIMEOUT).await?;
        assert_eq!(condition.type_, "Complete", "{condition:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn crash_loop_counts_restarts_until_a_later_rule_ends_it() -> anyhow::Result<()> {
    with_scripted_node("crash", async |namespace, node| {
        node.on(
            PodMatcher::any(),
            PodScript::default()
                .container("serve", fails(Exit::oom_killed()))
                .back_off(Duration::from_millis(100)),
        );
        namespace.apply(&objects::pod("looping", "Always")).await?;
        let pods = namespace.api::<Pod>();
        let looping = wait::pod(&pods, "looping", "a crash loop with 3 restarts", TIMEOUT, |pod| {
            waiting_reason(pod, "serve") == Some("CrashLoopBackOff")
                && container(pod, "serve").is_some_and(|serve| serve.restart_count >= 3)
        })
        .await?;
        let last = container(&looping, "serve").unwrap().last_state.clone().unwrap().terminated.unwrap();
        assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("OOMKilled")));
        assert_eq!((phase(&looping), condition(&looping, "Ready")), ("Running", Some(false)));
        node.on(PodMatcher::any().name_prefix("looping"), PodScript::default());
        wait::pod(&pods, "looping", "Ready", TIMEOUT, |pod| condition(pod, "Ready") == Some(true)).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn pod_without_an_image_or_a_node_stays_pending() -> anyhow::Result<()> {
    with_scripted_node("pending", async |namespace, node| {
        node.on(
            PodMatcher::any().name_prefix("image"),
            PodScript::default()
                .container("serve", ContainerScript::waits("ImagePullBackOff", "no such image")),
        );
        node.on(PodMatcher::any().name_prefix("slow"), PodScript::default().stays_pending());
        let gpu = objects::pod("gpu", "Always")
            .replace("{name: serve,", "{name: serve, resources: {limits: {nvidia.com/gpu: 1}},");
        namespace
            .apply(&[objects::pod("image", "Always"), objects::pod("slow", "Always"), gpu].join("---"))
            .await?;
        let pods = namespace.api::<Pod>();
        wait::pod(&pods, "image", "ImagePullBackOff", TIMEOUT, |pod| {
            waiting_reason(pod, "serve") == Some("ImagePullBackOff") && phase(pod) == "Pending"
        })
        .await?;
        wait::pod(&pods, "slow", "a pod that waits for its network", TIMEOUT, |pod| {
            condition(pod, "PodReadyToStartContainers") == Some(false) && phase(pod) == "Pending"
        })
        .await?;
        wait::pod(&pods, "gpu", "no node for it", TIMEOUT, |pod| {
            condition(pod, "PodScheduled") == Some(false)
        })
        .await?;
        let name = format!("{}-gpu", namespace.name);
        let second = ScriptedNode::builder(namespace.client.clone(), &name)
            .pool(&namespace.name)
            .resource("nvidia.com/gpu", "2")
            .start()
            .await?;
        let running = |pod: &Pod| condition(pod, "Ready") == Some(true);
        let pod = wait::pod(&pods, "gpu", "Ready", TIMEOUT, running).await?;
        assert_eq!(pod.spec.unwrap().node_name, Some(name));
        pods.delete("gpu", &DeleteParams::default()).await?;
        wait::gone(&pods, "gpu", TIMEOUT).await?;
        second.stop().await
    })
    .await
}

#[tokio::test]
async fn deleted_pod_ends_in_its_own_time() -> anyhow::Result<()> {
    with_scripted_node("deletion", async |namespace, node| {
        let slow = ContainerScript::runs().ends_after(Duration::from_secs(10), Exit::code(143));
        node.on(PodMatcher::any(), PodScript::default().container("serve", slow));
        namespace.apply(&objects::pod("slow", "Always")).await?;
        let pods = namespace.api::<Pod>();
        let ready = |pod: &Pod| condition(pod, "Ready") == Some(true);
        wait::pod(&pods, "slow", "Ready", TIMEOUT, ready).await?;
        let start = std::time::Instant::now();
        pods.delete("slow", &DeleteParams::default()).await?;
        let pod = pods.get("slow").await?;
        assert!(pod.metadata.deletion_timestamp.is_some() && container(&pod, "serve").unwrap().ready);
        wait::gone(&pods, "slow", TIMEOUT).await?;
        assert!(start.elapsed() > Duration::from_millis(9_900), "{:?}", start.elapsed());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rolling_update_stops_at_a_replica_set_that_is_never_ready() -> anyhow::Result<()> {
    with_scripted_node("rollout", async |namespace, node| {
        let bad = PodScript::default().container("serve", ContainerScript::runs().never_ready());
        node.on(PodMatcher::any().label("version", "bad"), bad);
        let deployments = namespace.api::<Deployment>();
        namespace.apply(&objects::deployment("shop", 3, "good")).await?;
        wait::deployment_available(&deployments, "shop", TIMEOUT).await?;
        namespace.apply(&objects::deployment("shop", 3, "bad")).await?;
        wait::object(&deployments, "shop", "a rollout past its deadline", TIMEOUT, |deployment| {
            let status = deployment.status.clone().unwrap_or_default();
            let conditions = status.conditions.clone().unwrap_or_default();
            let stuck = conditions
                .iter()
                .any(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"));
            Seen::or_else_saw(stuck.then_some(()), format_args!("{conditions:?}"))
        })
        .await?;
        let sets = namespace.api::<ReplicaSet>();
        wait::wait_for("three ready pods and one that is not", TIMEOUT, || async {
            let mut ready: Vec<_> = sets
                .list(&ListParams::default())
                .await?
                .iter()
                .map(|set| set.status.clone().unwrap_or_default())
                .map(|status| (status.replicas, status.ready_replicas.unwrap_or(0)))
                .collect();
            ready.sort_unstable();
            Ok(Seen::or_else_saw((ready == [(1, 0), (3, 3)]).then_some(()), format!("{ready:?}")))
        })
        .await?;
        // The serving pods lose their readiness too, while they live.
        node.on(
            PodMatcher::any().label("version", "good"),
            PodScript::default().container("serve", ContainerScript::runs().never_ready()),
        );
        wait::object(&deployments, "shop", "nothing ready", TIMEOUT, |deployment| {
            let ready = deployment.status.as_ref().and_then(|status| status.ready_replicas);
            Seen::or_else_saw(ready.unwrap_or(0).eq(&0).then_some(()), format_args!("{ready:?} ready"))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn node_of_the_same_name_takes_over_what_a_killed_one_left() -> anyhow::Result<()> {
    with_scripted_node("takeover", async |namespace, _node| {
        let start = async || {
            let client = cluster::connect().await?;
            let name = format!("{}-killed", namespace.name);
            let node = ScriptedNode::builder(client, &name).pool(&namespace.name).label("role", "killed");
            node.start().await
        };
        let killed = start().await?;
        let pod =
            objects::pod("survivor", "Always").replace("spec:", "spec:\n  nodeSelector: {role: killed}");
        namespace.apply(&pod).await?;
        let pods = namespace.api::<Pod>();
        let ready = |pod: &Pod| condition(pod, "Ready") == Some(true);
        let before = wait::pod(&pods, "survivor", "Ready", TIMEOUT, ready).await?;
        // Dropped, not stopped: what is in the API stays as a process that is killed leaves it.
        drop(killed);
        pods.delete("survivor", &DeleteParams::default()).await?;
        let again = start().await?;
        wait::gone(&pods, "survivor", TIMEOUT).await?;
        assert!(before.uid().is_some());
        again.stop().await
    })
    .await
}

#[tokio::test]
async fn conditions_of_others_survive_status_updates() -> anyhow::Result<()> {
    with_scripted_node("conditions", async |namespace, node| {
        namespace.apply(&objects::pod("gated", "Always")).await?;
        let pods = namespace.api::<Pod>();
        let ready = |pod: &Pod| condition(pod, "Ready") == Some(true);
        wait::pod(&pods, "gated", "Ready", TIMEOUT, ready).await?;
        let other: Pod = serde_json::from_str(
            r#"{"status": {"conditions": [{"type": "example.com/other", "status": "True"}]}}"#,
        )?;
        pods.patch_status("gated", &PatchParams::default(), &Patch::Strategic(&other)).await?;
        let unready = PodScript::default().container("serve", ContainerScript::runs().never_ready());
        node.on(PodMatcher::any(), unready);
        let pod = wait::pod(&pods, "gated", "not Ready", TIMEOUT, |pod| !ready(pod)).await?;
        assert_eq!(condition(&pod, "example.com/other"), Some(true));
        assert_eq!(condition(&pod, "PodScheduled"), Some(true));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn stopped_node_is_gone() -> anyhow::Result<()> {
    let client = cluster::connect().await?;
    let name = format!("e2e-stopped-{}", std::process::id());
    let node = ScriptedNode::builder(client.clone(), &name).pool(&name).start().await?;
    let nodes: Api<Node> = Api::all(client);
    let ready = nodes.get(&name).await?.status.unwrap().conditions.unwrap();
    assert!(ready.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"));
    node.stop().await?;
    wait::gone(&nodes, &name, TIMEOUT).await
}
