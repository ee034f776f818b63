//! The Jobs that trainings are.
use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{Pod, Service},
};
use kube::{ResourceExt as _, api::ListParams};
use modelwright_api::{
    Outcome,
    contract::{annotations, labels},
    training::order::TrainingOrder,
};
use modelwright_e2e::{
    crd,
    namespace::with_scripted_node,
    operator::Operator,
    scripted_node::{ContainerScript, Exit, PodScript, ScriptedNode},
};
use serde_json::{Value, json};

use super::{
    super::story::{digest, serves},
    story::{
        annotation, builtin, own, own_script, own_trains_to, status, trained, training_job, training_pods,
        trains_to,
    },
};

/// Names of the variables of a container that come from Secrets, as `SECRET/VARIABLE`.
fn secrets(container: &Value) -> Vec<String> {
    let env = container["env"].as_array().cloned().unwrap_or_default();
    let of_secret = env.iter().filter_map(|variable| {
        let secret = variable["valueFrom"]["secretKeyRef"]["name"].as_str()?;
        Some(format!("{secret}/{}", variable["name"].as_str()?))
    });
    of_secret.collect()
}

fn value<'a>(container: &'a Value, name: &str) -> &'a Value {
    let env = container["env"].as_array();
    env.into_iter().flatten().find(|variable| variable["name"] == name).unwrap_or(&Value::Null)
}

fn order(job: &Job) -> TrainingOrder {
    let metadata = job.spec.as_ref().unwrap().template.metadata.as_ref().unwrap();
    serde_json::from_str(&metadata.annotations.as_ref().unwrap()[annotations::ORDER]).unwrap()
}

/// What every training Job has.
fn assert_is_run_once(job: &Value) {
    let spec = &job["spec"];
    assert_eq!(spec["backoffLimit"], 0);
    assert_eq!(spec["podReplacementPolicy"], "Failed");
    assert_eq!(spec["ttlSecondsAfterFinished"], Value::Null);
    let rules = spec["podFailurePolicy"]["rules"].as_array().unwrap();
    assert_eq!(rules[0]["onPodConditions"][0]["type"], "DisruptionTarget");
    assert!(rules.iter().all(|rule| rule["action"] == "FailJob"), "{rules:?}");
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(pod["terminationGracePeriodSeconds"], 120);
    assert_eq!(pod["automountServiceAccountToken"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_training_is_a_job_of_one_container() -> anyhow::Result<()> {
    with_scripted_node("builtin", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        trains_to(node, "bc", 'a');
        namespace.apply(&builtin("bc", "    deadline: 2h\n    cron: '0 3 * * *'\n", "")).await?;
        let model = serves(&namespace, "bc", 'a').await?;
        let job = training_job(&namespace, "bc", "0").await?;
        let written = serde_json::to_value(&job)?;
        assert_is_run_once(&written);
        assert_eq!(written["spec"]["activeDeadlineSeconds"], 7200);
        let pod = &written["spec"]["template"]["spec"];
        let containers = pod["containers"].as_array().unwrap();
        assert_eq!((containers.len(), &containers[0]["name"]), (1, &json!("train")));
        assert_eq!(pod["initContainers"], Value::Null);
        let args = containers[0]["args"].to_string();
        assert!(
            args.contains("\"train\",\"--config\"") && args.contains("\"--progress-listen\",\":9091\""),
            "{args}"
        );
        assert!(secrets(&containers[0]).contains(&"s3/OUTPUT_AWS_ACCESS_KEY_ID".to_owned()));
        let order = order(&job);
        assert_eq!((order.model.as_str(), order.attempt), ("bc", 0));
        assert_eq!(order.run, annotation(&job, annotations::RUN));
        assert_eq!(order.uid, model.uid().unwrap());
        assert!(order.training.cron.is_none() && order.training.deadline.is_none(), "the operator's own");
        assert_eq!(annotation(&job, annotations::TRIGGER), "first");

        // What it gave is served from below the output, with the output's Secret and no other.
        let active = model.status.as_ref().unwrap().revisions.as_ref().unwrap().active.clone().unwrap();
        assert_eq!(active.uri, format!("s3://models/{}/bc/revisions/{}/", namespace.name, "a".repeat(16)));
        assert_eq!(active.metrics.get("valAccuracy"), Some(&0.97));
        let pods =
            namespace.api::<Pod>().list(&ListParams::default().labels("modelwright.dev/role=server")).await?;
        let server = serde_json::to_value(&pods.items[0])?;
        let fetch = &server["spec"]["initContainers"][0];
        assert!(fetch["args"].to_string().contains(&active.uri), "{fetch}");
        assert!(secrets(fetch).contains(&"s3/AWS_ACCESS_KEY_ID".to_owned()), "{fetch}");
        let known = status(&model);
        assert_eq!(known.inputs_digest, Some(digest('1')));
        assert_eq!(known.baseline.get("valAccuracy"), Some(&0.91));
        assert!(known.next_at.is_some(), "the next tick is known");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn users_training_is_five_containers_each_with_what_it_may_have() -> anyhow::Result<()> {
    with_scripted_node("own", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        own_trains_to(node, "bc", 'a');
        namespace.apply(&own("bc", "    resources: {limits: {cpu: 2500m}}\n", "")).await?;
        serves(&namespace, "bc", 'a').await?;
        let job = serde_json::to_value(training_job(&namespace, "bc", "0").await?)?;
        assert_is_run_once(&job);
        let pod = &job["spec"]["template"]["spec"];
        let all: Vec<&Value> =
            ["initContainers", "containers"].iter().flat_map(|kind| pod[kind].as_array().unwrap()).collect();
        let names: Vec<_> = all.iter().map(|container| container["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["fetch", "agent", "train", "check", "publish"]);
        let [fetch, agent, train, check, publish] = all[..] else { unreachable!() };
        assert_eq!(agent["restartPolicy"], "Always");
        assert_eq!(
            (&train["image"], &train["command"]),
            (&json!("localhost/mine:1"), &json!(["python", "train.py"]))
        );

        let has = |container: &Value, secret: &str| {
            secrets(container).iter().any(|found| found.starts_with(secret))
        };
        let credentials: Vec<_> =
            all.iter().map(|container| (has(container, "lake/"), has(container, "s3/"))).collect();
        let (none, output) = ((false, false), (false, true));
        assert_eq!(credentials, [(true, true), output, none, none, output]);
        let mounts = |container: &Value| container["volumeMounts"].to_string();
        assert!(!mounts(train).contains("/etc/modelwright") && mounts(check).contains("/etc/modelwright"));
        assert!(!mounts(train).contains("/ml/records"), "verdicts are ours");
        assert!(mounts(publish).contains("/ml/records") && mounts(fetch).contains("/ml/data"));

        let folder = |name: &str| value(train, name)["value"].as_str().unwrap_or_default().to_owned();
        assert_eq!(folder("ML_DATA_DIR"), "/ml/data");
        assert_eq!(folder("ML_OUT_DIR"), "/ml/out");
        assert_eq!(folder("SM_MODEL_DIR"), "/ml/out");
        assert_eq!(folder("AIP_MODEL_DIR"), "/ml/out");
        assert_eq!(folder("SM_HPS"), r#"{"depth":3}"#);
        assert_eq!(folder("OMP_NUM_THREADS"), "3");
        assert_eq!(folder("MODE"), "quick");
        assert!(folder("KUBEFLOW_TRAINER_SERVER_URL").starts_with("http://127.0.0.1:9091/"));
        assert_eq!(value(train, "PET_NNODES"), &Value::Null);
        Ok(())
    })
    .await
}

/// What the pods of the gang with this Job do: the first publishes, the other has nothing to.
fn gang(node: &ScriptedNode, job: &str, digit: char) {
    let of_rank = |rank: &str| {
        let pods = training_pods("bc").label("batch.kubernetes.io/job-name", job);
        pods.label("batch.kubernetes.io/job-completion-index", rank)
    };
    let first = Exit::completed().message(&trained(digit, 0.97).to_line());
    node.on(of_rank("0"), own_script("publish", &first));
    let other = Exit::completed().message(&Outcome::success("NotFirst").to_line());
    node.on(of_rank("1"), own_script("publish", &other));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_are_an_indexed_job_and_a_lost_rank_is_a_new_gang() -> anyhow::Result<()> {
    with_scripted_node("gang", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        // The first gang: one of two loses its node.
        node.on(training_pods("bc"), PodScript::default().container("train", ContainerScript::runs()));
        let lost = training_pods("bc").label("batch.kubernetes.io/job-completion-index", "1");
        let evicted = PodScript::default()
            .container("train", ContainerScript::runs())
            .evicted_after(Duration::from_secs(1), "The node had condition: DiskPressure.");
        node.on(lost, evicted);
        let manifest = own("bc", "    retries: 0\n", "").replace("command:", "nodes: 2, command:");
        namespace.apply(&manifest).await?;
        let first = training_job(&namespace, "bc", "0").await?;
        let job = serde_json::to_value(&first)?;
        assert_eq!(job["spec"]["completionMode"], "Indexed");
        assert_eq!((&job["spec"]["completions"], &job["spec"]["parallelism"]), (&json!(2), &json!(2)));
        let pod = &job["spec"]["template"]["spec"];
        assert_eq!(pod["subdomain"], "bc-train");
        let train = &pod["initContainers"][2];
        assert_eq!(value(train, "PET_NNODES")["value"], "2");
        assert_eq!(value(train, "PET_NPROC_PER_NODE")["value"], "1");
        assert_eq!(value(train, "PET_MASTER_PORT")["value"], "29400");
        assert_eq!(value(train, "PET_MASTER_ADDR")["value"], format!("{}-0.bc-train", first.name_any()));
        assert_eq!(
            value(train, "PET_NODE_RANK")["valueFrom"]["fieldRef"]["fieldPath"],
            "metadata.annotations['batch.kubernetes.io/job-completion-index']"
        );
        let service = namespace.api::<Service>().get("bc-train").await?.spec.unwrap();
        assert_eq!(service.cluster_ip.as_deref(), Some("None"));
        assert_eq!(service.publish_not_ready_addresses, Some(true));

        let failed = super::story::training(&namespace, "bc", "TrainingPreempted", |status| {
            status.reason.as_deref() == Some("TrainingPreempted")
        })
        .await?;
        assert!(status(&failed).message.unwrap_or_default().contains("DiskPressure"));
        gang(node, &format!("{}1", first.name_any().trim_end_matches('0')), 'a');
        let second = training_job(&namespace, "bc", "1").await?;
        assert_eq!(annotation(&second, annotations::RUN), annotation(&first, annotations::RUN));
        assert_eq!(annotation(&second, annotations::FAILURES), "0");
        assert_eq!(order(&second).attempt, 1);
        serves(&namespace, "bc", 'a').await?;
        assert_eq!(second.labels().get(labels::MODEL).map(String::as_str), Some("bc"));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn gang_that_lost_a_rank_is_not_trained_although_the_first_published() -> anyhow::Result<()> {
    with_scripted_node("gang-half", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let of_rank =
            |rank: &str| training_pods("bc").label("batch.kubernetes.io/job-completion-index", rank);
        let published = Exit::completed().message(&trained('b', 0.97).to_line());
        node.on(of_rank("0"), own_script("publish", &published));
        let crashes =
            ContainerScript::runs().exit_after(Duration::from_secs(4), Exit::code(3).message("KeyError"));
        node.on(of_rank("1"), PodScript::default().container("train", crashes));
        let manifest = own("bc", "    retries: 1\n", "").replace("command:", "nodes: 2, command:");
        namespace.apply(&manifest).await?;
        let first = training_job(&namespace, "bc", "0").await?;
        let failed = super::story::training(&namespace, "bc", "ContainerFailed", |status| {
            status.reason.as_deref() == Some("ContainerFailed")
        })
        .await?;
        assert!(status(&failed).message.unwrap_or_default().contains("KeyError"));
        assert!(namespace.api::<Deployment>().get_opt("bc").await?.is_none(), "nothing is rolled out");
        gang(node, &format!("{}1", first.name_any().trim_end_matches('0')), 'a');
        serves(&namespace, "bc", 'a').await?;
        let second = training_job(&namespace, "bc", "1").await?;
        assert_eq!(annotation(&second, annotations::FAILURES), "1");
        Ok(())
    })
    .await
}
