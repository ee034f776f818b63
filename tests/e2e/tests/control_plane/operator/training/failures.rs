//! Every end of a training, as people see it, and what follows it.
use std::time::Duration;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Namespace, Pod, ResourceQuota},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use modelwright_api::{
    Outcome,
    conditions::ConditionType,
    contract::{annotations, labels},
    status::TrainingPhase,
};
use modelwright_e2e::{
    crd,
    namespace::{TestNamespace, with_scripted_node},
    operator::Operator,
    scripted_node::{ContainerScript, Exit, PodScript, ScriptedNode},
};
use serde_json::json;

use super::{
    super::story::{failure, reason, serves},
    story::{
        annotation, builtin, jobs, line_of_kubectl, own, own_script, own_trains_to, phase, retrain, status,
        trained, training_job, training_pods, trains_to,
    },
};

/// What follows an end by itself.
#[derive(Clone, Copy, PartialEq)]
enum Follows {
    /// Another attempt, which does not count.
    Uncounted,
    /// Another attempt, which counts.
    Counted,
    /// Nothing, until the user acts.
    Nothing,
    /// The pod starts when what it waits for is there.
    Start,
}
use Follows::{Counted, Nothing, Start, Uncounted};

/// An end: the Model's name, the container, what it does, the reason that is shown, a part of the message, what follows.
struct End(&'static str, &'static str, ContainerScript, &'static str, &'static str, Follows);

fn ends(code: i32, word: &str) -> ContainerScript {
    ContainerScript::exits(failure(code, word, &format!("s3://data: what {word} is about")))
}

/// Ends of the built-in trainer.
fn ends_of_the_trainer() -> Vec<End> {
    vec![
        End("config", "train", ends(64, "TargetMissing"), "TargetMissing", "about", Nothing),
        End("data", "train", ends(65, "RaggedRow"), "RaggedRow", "what RaggedRow is about", Nothing),
        End("missing", "train", ends(66, "SourceNotFound"), "SourceNotFound", "about", Uncounted),
        End("denied", "train", ends(66, "AccessDenied"), "AccessDenied", "about", Uncounted),
        End("secret", "train", ends(66, "SecretMissing"), "SecretMissing", "about", Uncounted),
        End("away", "train", ends(69, "StoreUnreachable"), "StoreUnreachable", "about", Counted),
        End("bug", "train", ends(70, "ExportDiffers"), "ExportDiffers", "about", Counted),
        End("unwritable", "train", ends(73, "CannotWrite"), "CannotWrite", "about", Uncounted),
        End("again", "train", ends(75, "SourceChanged"), "SourceChanged", "about", Counted),
        End("digest", "train", ends(76, "DigestMismatch"), "DigestMismatch", "about", Nothing),
        End("collision", "train", ends(78, "RevisionCollision"), "RevisionCollision", "about", Nothing),
        End("preempted", "train", ends(143, "Preempted"), "TrainingPreempted", "goes on from", Uncounted),
        End("memory", "train", ContainerScript::exits(Exit::oom_killed()), "OutOfMemory", "128Mi", Nothing),
        End("killed", "train", ContainerScript::exits(Exit::code(137)), "ContainerFailed", "137", Counted),
        End(
            "silent",
            "train",
            ContainerScript::exits(Exit::code(1)),
            "ContainerFailed",
            "kubectl logs",
            Counted,
        ),
        End(
            "image",
            "train",
            ContainerScript::waits("ImagePullBackOff", "not found"),
            "ImageUnavailable",
            "not found",
            Start,
        ),
    ]
}

/// Ends of the containers around a user's, and of that.
fn ends_of_a_users_container() -> Vec<End> {
    let traceback = "Traceback (most recent call last):\n  line 3\nValueError: no column price\n";
    let crash = |code| ContainerScript::exits(Exit::code(code).message(traceback));
    let root = "container has runAsNonRoot and image will run as root (pod: \"x\", container: train)";
    let config = ContainerScript::waits("CreateContainerConfigError", root);
    let image = ContainerScript::waits("ErrImagePull", "localhost/mine:1: not found");
    vec![
        End("fetch-missing", "fetch", ends(66, "SourceNotFound"), "SourceNotFound", "about", Uncounted),
        End("fetch-away", "fetch", ends(69, "StoreUnreachable"), "StoreUnreachable", "about", Counted),
        End("fetch-changed", "fetch", ends(76, "DigestMismatch"), "DigestMismatch", "about", Nothing),
        End("crash", "train", crash(3), "ContainerFailed", "ValueError: no column price", Counted),
        End("own-config", "train", crash(64), "ContainerFailed", "ValueError", Nothing),
        End("own-data", "train", crash(65), "ContainerFailed", "ValueError", Nothing),
        End(
            "own-memory",
            "train",
            ContainerScript::exits(Exit::oom_killed()),
            "OutOfMemory",
            "128Mi",
            Nothing,
        ),
        End("own-told", "train", ContainerScript::exits(Exit::code(143)), "TrainingPreempted", "", Uncounted),
        End("own-image", "train", image, "ImageUnavailable", "localhost/mine:1", Start),
        End("root", "train", config, "ContainerConfigError", "numeric USER", Start),
        End("no-model", "check", ends(65, "NoModelWritten"), "NoModelWritten", "about", Nothing),
        End("samples", "check", ends(65, "SamplesDiffer"), "SamplesDiffer", "about", Nothing),
        End("keras", "check", ends(65, "UnexpectedInputs"), "UnexpectedInputs", "about", Nothing),
        End("hostile", "check", ends(65, "UnsafeOutput"), "UnsafeOutput", "about", Nothing),
        End("swapped", "publish", ends(76, "DigestMismatch"), "DigestMismatch", "about", Nothing),
        End("bucket", "publish", ends(73, "AccessDenied"), "AccessDenied", "about", Uncounted),
        End("removed", "publish", ends(66, "SecretMissing"), "SecretMissing", "about", Uncounted),
        End("second", "publish", ends(78, "RevisionCollision"), "RevisionCollision", "about", Nothing),
    ]
}

/// One end, as `kubectl` shows it, and how it heals.
async fn is_shown_and_heals(
    namespace: &TestNamespace,
    node: &ScriptedNode,
    end: &End,
    manifest: &str,
    heals: fn(&ScriptedNode, &str, char),
) -> anyhow::Result<()> {
    let End(name, container, script, word, part, follows) = end;
    let mut pod = PodScript::default().container(container, script.clone());
    if manifest.contains("container:") {
        // Told to end when the container beside it has, it says that it did.
        let told = Exit::completed().message(&Outcome::success("Ended").to_line());
        pod = pod.container("agent", ContainerScript::runs().ends_after(Duration::ZERO, told));
    }
    node.on(training_pods(name), pod);
    namespace.apply(manifest).await?;
    let model = reason(namespace, name, word).await?;
    let found = status(&model);
    let said = found.message.clone().unwrap_or_default();
    let condition =
        model.condition(ConditionType::Ready).map(|ready| ready.message.clone()).unwrap_or_default();
    assert!(said.contains(part) && condition.contains(part), "{name}: {said} | {condition}");
    assert_eq!(found.reason.as_deref(), Some(*word), "{name}");
    assert_eq!(model.holds(ConditionType::Stalled), *follows == Nothing, "{name}: {said}");
    assert_eq!(model.holds(ConditionType::Progressing), *follows != Nothing, "{name}: {said}");
    if *follows != Start {
        assert_eq!(found.phase, Some(TrainingPhase::Failed), "{name}");
        assert_eq!(found.next_at.is_some(), *follows != Nothing, "{name}: {found:?}");
    }
    // What is tried again begins ten seconds after its end, which kubectl may miss on a busy machine.
    if matches!(follows, Nothing | Start) {
        let line = line_of_kubectl(namespace, name).await?;
        assert!(line.contains("False") && line.contains(word), "{line}");
    }
    heals(node, name, 'a');
    match follows {
        Nothing => retrain(namespace, name, "now").await?,
        Start => {}
        Counted | Uncounted => {
            let next = training_job(namespace, name, "1").await?;
            let counted = if *follows == Counted { "1" } else { "0" };
            assert_eq!(annotation(&next, annotations::FAILURES), counted, "{name}");
            assert_eq!(annotation(&next, annotations::ATTEMPT), "1", "{name}");
        }
    }
    serves(namespace, name, 'a').await?;
    let line = line_of_kubectl(namespace, name).await?;
    assert!(line.contains("Succeeded") && line.contains("valAccuracy 0.97"), "{line}");
    Ok(())
}

const MEMORY: &str = "    resources: {limits: {memory: 128Mi}}\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_the_trainer_is_named_and_heals() -> anyhow::Result<()> {
    with_scripted_node("ends", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let ends = ends_of_the_trainer();
        let all = ends.iter().map(|end| {
            let manifest = builtin(end.0, MEMORY, "");
            let namespace = &namespace;
            async move { is_shown_and_heals(namespace, node, end, &manifest, trains_to).await }
        });
        futures::future::try_join_all(all).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_end_of_a_users_training_is_named_and_heals() -> anyhow::Result<()> {
    with_scripted_node("own-ends", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let ends = ends_of_a_users_container();
        let all = ends.iter().map(|end| {
            let manifest = own(end.0, MEMORY, "");
            let namespace = &namespace;
            async move { is_shown_and_heals(namespace, node, end, &manifest, own_trains_to).await }
        });
        futures::future::try_join_all(all).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_end_when_the_retries_are_used_up() -> anyhow::Result<()> {
    with_scripted_node("retries", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        node.on(training_pods("bc"), PodScript::default().container("train", ends(70, "RunFailed")));
        namespace.apply(&builtin("bc", "    retries: 1\n", "")).await?;
        let model = reason(&namespace, "bc", "RetriesExhausted").await?;
        let said = status(&model).message.unwrap_or_default();
        assert!(said.contains("failed 2 times") && said.contains("what RunFailed is about"), "{said}");
        assert!(model.holds(ConditionType::Stalled));
        tokio::time::sleep(Duration::from_secs(12)).await;
        let all = jobs(&namespace, "bc", labels::ROLE_TRAIN).await?;
        let newest = all.last().map(kube::ResourceExt::name_any).unwrap_or_default();
        assert!(newest.ends_with("-1"), "{newest}");
        trains_to(node, "bc", 'a');
        retrain(&namespace, "bc", "now").await?;
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn training_that_takes_too_long_names_the_deadline() -> anyhow::Result<()> {
    with_scripted_node("train-deadline", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let asked =
            ContainerScript::runs().ends_after(Duration::ZERO, failure(143, "Preempted", "told to end"));
        node.on(training_pods("bc"), PodScript::default().container("train", asked));
        namespace.apply(&builtin("bc", "    deadline: 1h\n", "")).await?;
        let model = phase(&namespace, "bc", TrainingPhase::Training).await?;
        let job = status(&model).job.unwrap_or_default();
        // As if most of the hour had passed.
        let soon = json!({"spec": {"activeDeadlineSeconds": 1}});
        namespace.api::<Job>().patch(&job, &PatchParams::default(), &Patch::Merge(&soon)).await?;
        let model = reason(&namespace, "bc", "TrainingDeadlineExceeded").await?;
        let said = status(&model).message.unwrap_or_default();
        assert!(said.contains("spec.training.deadline"), "{said}");
        assert!(model.holds(ConditionType::Stalled));
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_that_refuses_a_training_is_named_and_its_end_noticed() -> anyhow::Result<()> {
    with_scripted_node("train-quota", async |namespace, node| {
        crd::install(&namespace.client).await?;
        namespace
            .apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: none}, spec: {hard: {pods: 0}}}")
            .await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _operator = Operator::of(&namespace).start()?;
        trains_to(node, "bc", 'a');
        namespace.apply(&builtin("bc", "", "")).await?;
        let model = reason(&namespace, "bc", "QuotaExceeded").await?;
        let said = status(&model).message.unwrap_or_default();
        assert!(said.contains("exceeded quota: none"), "{said}");
        namespace.api::<ResourceQuota>().delete("none", &DeleteParams::default()).await?;
        serves(&namespace, "bc", 'a').await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn training_that_asks_for_root_where_it_is_forbidden_is_named() -> anyhow::Result<()> {
    with_scripted_node("train-root", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let namespaces: Api<Namespace> = Api::all(namespace.client.clone());
        let restricted = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        namespaces.patch(&namespace.name, &PatchParams::default(), &Patch::Merge(&restricted)).await?;
        let _operator = Operator::of(&namespace).start()?;
        own_trains_to(node, "good", 'a');
        namespace.apply(&own("good", "", "")).await?;
        serves(&namespace, "good", 'a').await?;
        let rooted = "    podTemplate: {spec: {initContainers: [{name: train, securityContext: {runAsUser: 0, runAsNonRoot: false}}]}}\n";
        namespace.apply(&own("bc", rooted, "")).await?;
        let model = reason(&namespace, "bc", "AdmissionDenied").await?;
        let said = status(&model).message.unwrap_or_default();
        assert!(said.contains("runAsNonRoot") || said.contains("runAsUser"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn drained_node_is_no_failure_and_the_run_goes_on() -> anyhow::Result<()> {
    with_scripted_node("train-evicted", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let evicted = PodScript::default()
            .container("train", ContainerScript::runs())
            .evicted_after(Duration::from_secs(1), "The node was low on resource: memory.");
        node.on(training_pods("bc"), evicted);
        namespace.apply(&builtin("bc", "    retries: 0\n", "")).await?;
        let model = reason(&namespace, "bc", "TrainingPreempted").await?;
        let said = status(&model).message.unwrap_or_default();
        assert!(said.contains("low on resource: memory"), "{said}");
        let first = training_job(&namespace, "bc", "0").await?;
        trains_to(node, "bc", 'a');
        let second = training_job(&namespace, "bc", "1").await?;
        assert_eq!(annotation(&second, annotations::RUN), annotation(&first, annotations::RUN));
        assert_eq!(annotation(&second, annotations::FAILURES), "0");
        let model = serves(&namespace, "bc", 'a').await?;
        assert_eq!(status(&model).attempt, Some(2));
        Ok(())
    })
    .await
}

/// The pod is removed before anybody has read its words: the Job's condition keeps container and exit code.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_pod_of_a_training_is_no_failure() -> anyhow::Result<()> {
    with_scripted_node("train-deleted", async |namespace, node| {
        crd::install(&namespace.client).await?;
        let _operator = Operator::of(&namespace).start()?;
        let asked =
            ContainerScript::runs().ends_after(Duration::ZERO, failure(143, "Preempted", "told to end"));
        node.on(training_pods("bc"), PodScript::default().container("train", asked));
        namespace.apply(&builtin("bc", "    retries: 0\n", "")).await?;
        let model = phase(&namespace, "bc", TrainingPhase::Training).await?;
        next_attempt_trains(node, status(&model).job.as_deref().unwrap_or_default());
        let role = ListParams::default().labels("modelwright.dev/role=train");
        namespace.api::<Pod>().delete_collection(&DeleteParams::default(), &role).await?;
        let model = serves(&namespace, "bc", 'a').await?;
        assert_eq!(status(&model).attempt, Some(2));
        Ok(())
    })
    .await
}

/// From now on the pods of the attempt after this Job train, and those of others do as before.
fn next_attempt_trains(node: &ScriptedNode, job: &str) {
    let next = format!("{}1", job.trim_end_matches('0'));
    let exit = Exit::completed().message(&trained('a', 0.97).to_line());
    let pods = training_pods("bc").label("batch.kubernetes.io/job-name", &next);
    node.on(pods, own_script("train", &exit));
}
