//! The proxy in front of a real API server.
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, Pod, ServiceAccount},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt, reflector, watcher},
};
use modelwright_e2e::{
    cluster,
    faults::{Fault, FaultyApi, Outcome, Requests},
    namespace::{TestNamespace, with_namespace, with_scripted_node},
    scripted_node::ScriptedNode,
    wait::{self, Seen},
};

use crate::objects::{self, TIMEOUT, condition};

/// A proxy and the `ConfigMap`s of the namespace through it.
async fn faulty(namespace: &TestNamespace) -> anyhow::Result<(FaultyApi, Api<ConfigMap>)> {
    let api = FaultyApi::start(cluster::config().await?).await?;
    let maps = Api::namespaced(api.client()?, &namespace.name);
    Ok((api, maps))
}

fn map(name: &str) -> ConfigMap {
    let metadata = kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() };
    ConfigMap {
        metadata,
        data: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())])),
        ..Default::default()
    }
}

fn code<T>(result: kube::Result<T>) -> Option<u16> {
    match result {
        Err(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

#[tokio::test]
async fn answer_lost_after_a_create_shows_as_already_exists() -> anyhow::Result<()> {
    with_namespace("lost", async |namespace| {
        let (api, maps) = faulty(&namespace).await?;
        let fault = api.inject(Fault::lost_answer().on(Requests::writes().resource("configmaps")).times(1));
        let lost = maps.create(&PostParams::default(), &map("one")).await;
        assert!(!matches!(lost, Ok(_) | Err(kube::Error::Api(_))), "{lost:?}");
        assert_eq!(code(maps.create(&PostParams::default(), &map("one")).await), Some(409));
        assert_eq!(fault.remove(), 1);
        let outcomes: Vec<_> = api.writes().iter().map(|write| write.outcome).collect();
        assert_eq!(outcomes, [Outcome::Lost(201), Outcome::Answered(409)]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn too_many_requests_are_tried_again_when_the_answer_says() -> anyhow::Result<()> {
    with_namespace("busy", async |namespace| {
        let (api, maps) = faulty(&namespace).await?;
        let busy = Fault::answer(429).retry_after(Duration::from_secs(2)).on(Requests::writes()).times(1);
        let fault = api.inject(busy);
        let start = Instant::now();
        maps.create(&PostParams::default(), &map("one")).await?;
        assert_eq!(fault.hits(), 1);
        assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
        assert_eq!(api.count("create", "configmaps"), 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn errors_are_injected_by_kind_count_and_matcher() -> anyhow::Result<()> {
    with_namespace("errors", async |namespace| {
        let (api, maps) = faulty(&namespace).await?;
        let patch = async |name: &str| {
            let (params, map) = (PatchParams::apply("test"), map(name));
            maps.patch(name, &params, &Patch::Apply(&map)).await
        };
        api.inject(Fault::answer(409).on(Requests::writes()).nth(2));
        api.inject(Fault::answer(500).on(Requests::any().path("/configmaps/three")));
        api.inject(Fault::latency(Duration::from_millis(300)).on(Requests::any().verb("get")));
        patch("one").await?;
        assert_eq!(code(patch("two").await), Some(409));
        patch("two").await?;
        assert_eq!(code(patch("three").await), Some(500));
        let start = Instant::now();
        maps.get("one").await?;
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert_eq!(api.count("patch", "configmaps"), 4);
        api.clear();
        patch("three").await?;
        api.forget();
        maps.list(&ListParams::default()).await?;
        assert_eq!((api.writes().len(), api.count("list", "configmaps")), (0, 1));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_write_can_be_the_one_that_fails() -> anyhow::Result<()> {
    with_namespace("each-write", async |namespace| {
        let (api, maps) = faulty(&namespace).await?;
        // Three writes; each run is cut off one write later, as a process that is killed there.
        let work = async || {
            for name in ["one", "two", "three"] {
                maps.patch(name, &PatchParams::apply("test"), &Patch::Apply(&map(name))).await?;
            }
            kube::Result::<()>::Ok(())
        };
        let mut runs = 0;
        for write in 1.. {
            let fault = api.inject(Fault::refused().on(Requests::writes()).from_nth(write));
            let cut_off = work().await.is_err();
            runs += 1;
            assert_eq!(cut_off, fault.remove() > 0);
            if !cut_off {
                break;
            }
        }
        assert_eq!(runs, 4);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn watches_flow_and_are_cut() -> anyhow::Result<()> {
    with_namespace("watch", async |namespace| {
        let (api, maps) = faulty(&namespace).await?;
        let real = namespace.api::<ConfigMap>();
        let version = maps.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
        let watch =
            async || Ok::<_, kube::Error>(maps.watch(&WatchParams::default(), &version).await?.boxed());
        let added = |event: Option<kube::Result<WatchEvent<ConfigMap>>>| match event {
            Some(Ok(WatchEvent::Added(map))) => map.name_any(),
            other => format!("{other:?}"),
        };
        api.inject(Fault::watch_cut_after_events(2).times(1));
        let (mut first, mut second) = (watch().await?, watch().await?);
        for name in ["one", "two", "three"] {
            real.create(&PostParams::default(), &map(name)).await?;
        }
        assert_eq!([added(first.next().await), added(first.next().await)], ["one", "two"]);
        assert!(matches!(first.next().await, None | Some(Err(_))));
        for name in ["one", "two", "three"] {
            assert_eq!(added(second.next().await), name);
        }
        api.cut_watches();
        assert!(matches!(second.next().await, None | Some(Err(_))));
        api.inject(Fault::watch_cut_after(Duration::from_secs(2)));
        let start = Instant::now();
        let events: Vec<_> = watch().await?.collect().await;
        assert!(start.elapsed() >= Duration::from_secs(2) && events.len() >= 3, "{events:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn reflector_catches_up_after_an_outage() -> anyhow::Result<()> {
    with_namespace("reflector", async |namespace| {
        let (mut api, maps) = faulty(&namespace).await?;
        let real = namespace.api::<ConfigMap>();
        let (reader, writer) = reflector::store();
        let stream = watcher(maps, watcher::Config::default()).default_backoff().reflect(writer);
        let task = tokio::spawn(stream.for_each(|_| async {}));
        let sees = async |name: &'static str| {
            wait::wait_for(format!("the reflector to see {name}"), TIMEOUT, || async {
                let names: Vec<_> = reader.state().iter().map(|map| map.name_any()).collect();
                Ok(Seen::or_else_saw(names.iter().any(|seen| seen == name).then_some(()), names.join(" ")))
            })
            .await
        };
        real.create(&PostParams::default(), &map("one")).await?;
        sees("one").await?;
        api.cut_watches();
        real.create(&PostParams::default(), &map("two")).await?;
        sees("two").await?;
        api.stop().await;
        real.create(&PostParams::default(), &map("three")).await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!reader.state().iter().any(|map| map.name_any() == "three"));
        api.resume().await?;
        sees("three").await?;
        task.abort();
        Ok(())
    })
    .await
}

#[tokio::test]
async fn scripted_node_survives_an_outage() -> anyhow::Result<()> {
    with_scripted_node("outage", async |namespace, _| {
        let mut api = FaultyApi::start(cluster::config().await?).await?;
        let name = format!("{}-proxied", namespace.name);
        let node = ScriptedNode::builder(api.client()?, &name).pool(&namespace.name).label("role", "proxied");
        let node = node.start().await?;
        let deployment = objects::deployment("shop", 2, "1")
            .replace("    spec:\n", "    spec:\n      nodeSelector: {role: proxied}\n");
        let deployments = namespace.api::<Deployment>();
        namespace.apply(&deployment).await?;
        wait::deployment_available(&deployments, "shop", TIMEOUT).await?;
        api.stop().await;
        namespace.apply(&deployment.replace("replicas: 2", "replicas: 4")).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let ready = |pods: &[Pod]| pods.iter().filter(|pod| condition(pod, "Ready") == Some(true)).count();
        let pods = namespace.api::<Pod>();
        assert_eq!(ready(&pods.list(&ListParams::default()).await?.items), 2);
        api.inject(Fault::answer(409).on(Requests::any().resource("pods/status")).times(2));
        api.inject(Fault::answer(500).on(Requests::any().resource("pods/status")).times(2));
        api.inject(Fault::lost_answer().on(Requests::any().resource("pods/status")).times(2));
        api.resume().await?;
        wait::deployment_available(&deployments, "shop", TIMEOUT).await?;
        api.inject(Fault::watch_cut_after_events(1));
        namespace.apply(&deployment.replace("replicas: 2", "replicas: 0")).await?;
        wait::wait_for("every pod to be gone", TIMEOUT, || async {
            let left = pods.list(&ListParams::default()).await?.items.len();
            Ok(Seen::or_else_saw((left == 0).then_some(()), format_args!("{left} left")))
        })
        .await?;
        node.stop().await
    })
    .await
}

#[tokio::test]
async fn service_account_has_only_its_own_rights_through_the_proxy() -> anyhow::Result<()> {
    with_namespace("rights", async |namespace| {
        let (api, maps) = faulty(&namespace).await?;
        maps.create(&PostParams::default(), &map("one")).await?;
        namespace.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: nobody}}").await?;
        let request = TokenRequest {
            spec: TokenRequestSpec { audiences: vec![], ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let accounts = namespace.api::<ServiceAccount>();
        let request = accounts.create_token_request("nobody", &PostParams::default(), &request).await?;
        let token = request.status.unwrap().token;
        let nobody = Client::try_from(api.config(Some(&token)).await?)?;
        let maps = Api::<ConfigMap>::namespaced(nobody, &namespace.name);
        let refused = maps.get("one").await.unwrap_err().to_string();
        assert!(refused.contains(&format!("system:serviceaccount:{}:nobody", namespace.name)), "{refused}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn large_answer_arrives_whole() -> anyhow::Result<()> {
    with_namespace("large", async |namespace| {
        let (_api, maps) = faulty(&namespace).await?;
        let mut large = map("large");
        large.data = Some(BTreeMap::from([("text".to_owned(), "x".repeat(900_000))]));
        maps.create(&PostParams::default(), &large).await?;
        let config = watcher::Config::default().fields("metadata.name=large");
        let seen = Box::pin(watcher(maps, config).applied_objects()).try_next().await?.unwrap();
        assert!(seen.data == large.data);
        Ok(())
    })
    .await
}
