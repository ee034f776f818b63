//! What servers are told and where they are reached.

use k8s_openapi::api::core::v1::PodSpec;
use modelwright_api::contract::ports;

use super::world::World;

/// A Model with these fields of `serving`, whose source has been resolved.
fn deployed(serving: &str) -> World {
    let mut world = World::new(&format!(r#"{{"source": {{"uri": "s3://m/x"}}, "serving": {serving}}}"#));
    world.settings.images.cuda = Some("modelwright:cuda".to_owned());
    world.converge();
    world.job_finds('a');
    world.converge();
    world
}

fn pod(world: &World) -> &PodSpec {
    let deployment = world.observed.deployment.as_ref().unwrap();
    deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

fn arguments(world: &World) -> Vec<String> {
    pod(world).containers[0].args.clone().unwrap()
}

#[test]
fn every_setting_reaches_the_server() {
    let world = deployed(
        r#"{
            "executionProvider": "CUDA", "resources": {"limits": {"nvidia.com/gpu": 1}},
            "batching": {"maxBatchSize": 8, "maxQueueDelay": "2ms"},
            "session": {"lane": "Pooled", "instances": 3, "intraOpThreads": 4, "interOpThreads": 2,
                "graphOptimization": "Basic", "weights": "Mapped", "memoryArena": false,
                "cuda": {"memoryLimit": "4Gi", "convolutionSearch": "Exhaustive"}},
            "limits": {"maxRequestBytes": 2048, "maxQueuedRequests": 7, "requestTimeout": "5s", "maxConnectionAge": "1h"},
            "payloadLogging": {"url": "https://sink/x", "mode": "Request", "samplePercent": 5, "redact": ["age", "-b"], "maxBytes": 9}
        }"#,
    );
    let arguments = arguments(&world).join(" ");
    for expected in [
        "--execution-provider CUDA",
        "--max-batch-size 8 --max-queue-delay 2ms",
        "--intra-op-threads 4 --inter-op-threads 2 --graph-optimization Basic",
        "--lane Pooled --instances 3 --weights Mapped --memory-arena false",
        "--cuda-memory-limit 4294967296 --cuda-convolution-search Exhaustive",
        "--max-request-bytes 2048 --max-queued-requests 7 --request-timeout 5s --max-connection-age 1h",
        "--payload-log-url=https://sink/x --payload-log-mode=Request --payload-log-sample-percent=5 --payload-log-max-bytes=9",
        "--payload-log-redact=age --payload-log-redact=-b",
    ] {
        assert!(arguments.contains(expected), "{expected}: {arguments}");
    }
}

#[test]
fn fetch_knows_what_decides_whether_weights_are_mapped() {
    let fetch = |serving| pod(&deployed(serving)).init_containers.as_ref().unwrap()[0].args.clone().unwrap();
    let plain = fetch("{}");
    assert_eq!(plain[plain.len() - 2], "--out", "{plain:?}");
    let all = fetch(
        r#"{"executionProvider": "CPU", "batching": {"maxBatchSize": 1}, "session": {"instances": 3, "weights": "Auto"}}"#,
    );
    assert_eq!(
        all[plain.len()..].join(" "),
        "--execution-provider CPU --max-batch-size 1 --instances 3 --weights Auto"
    );
}

#[test]
fn what_the_spec_leaves_out_is_left_to_the_server() {
    let arguments = arguments(&deployed("{}"));
    assert_eq!(arguments.last().unwrap(), "CPU", "{arguments:?}");
}

#[test]
fn a_pod_has_as_long_to_end_as_its_longest_request_and_the_drain_take() {
    for (serving, seconds) in [
        ("{}", 75),
        (r#"{"limits": {"requestTimeout": "5s"}}"#, 20),
        (r#"{"limits": {"requestTimeout": "1h"}}"#, 3615),
        (r#"{"podTemplate": {"spec": {"terminationGracePeriodSeconds": 30}}}"#, 30),
    ] {
        assert_eq!(pod(&deployed(serving)).termination_grace_period_seconds, Some(seconds), "{serving}");
    }
}

#[test]
fn services_lead_both_protocols_to_the_data_port() {
    let world = deployed("{}");
    for service in [&world.observed.service, &world.observed.headless_service] {
        let spec = service.as_ref().unwrap().spec.as_ref().unwrap();
        let found: Vec<_> =
            spec.ports.iter().flatten().map(|port| (port.port, port.app_protocol.as_deref())).collect();
        assert_eq!(found, [(80, None), (i32::from(ports::SERVICE_GRPC), Some("kubernetes.io/h2c"))]);
    }
}

const ACCESS: &str = r#"{"access": {
    "apiKeys": {"secretRef": {"name": "clients"}},
    "jwt": {"issuer": "https://id.example.com", "audiences": ["a", "-b"], "jwksUri": "https://id.example.com/keys"},
    "limits": {"requestsPerSecond": 5, "burst": 9, "concurrentRequests": 2},
    "tls": {"secretRef": {"name": "bc-tls"}}}}"#;

#[test]
fn servers_are_told_who_may_call_them() {
    let mut world = deployed(ACCESS);
    let expected = "--api-keys=/etc/modelwright/api-keys --client-requests-per-second=5 --client-burst=9 \
                    --client-concurrent-requests=2 --tls=/etc/modelwright/tls --jwt-issuer=https://id.example.com \
                    --jwt-audience=a --jwt-audience=-b --jwks-uri=https://id.example.com/keys";
    assert!(arguments(&world).join(" ").ends_with(expected), "{:?}", arguments(&world));
    world.settings.private_addresses = crate::settings::PrivateAddresses::Refuse;
    world.settings.image_rollout = crate::settings::ImageRollout::Immediately;
    world.converge();
    assert_eq!(arguments(&world).last().unwrap(), "--refuse-private");
}

#[test]
fn secrets_of_access_are_mounted_into_servers_and_nowhere_else() {
    let world = deployed(ACCESS);
    let pod = pod(&world);
    let secrets: Vec<_> = pod
        .volumes
        .iter()
        .flatten()
        .filter_map(|volume| {
            let secret = volume.secret.as_ref()?;
            Some((volume.name.as_str(), secret.secret_name.as_deref()?, secret.optional))
        })
        .collect();
    assert_eq!(secrets, [("api-keys", "clients", Some(true)), ("tls", "bc-tls", Some(true))]);
    let mounts = |container: &k8s_openapi::api::core::v1::Container| {
        let secret = |name: &str| secrets.iter().any(|(volume, ..)| *volume == name);
        let mounts = container.volume_mounts.iter().flatten().filter(|mount| secret(&mount.name));
        mounts.map(|mount| (mount.mount_path.clone(), mount.read_only)).collect::<Vec<_>>()
    };
    assert_eq!(
        mounts(&pod.containers[0]),
        [
            ("/etc/modelwright/api-keys".to_owned(), Some(true)),
            ("/etc/modelwright/tls".to_owned(), Some(true))
        ]
    );
    assert_eq!(mounts(&pod.init_containers.as_ref().unwrap()[0]), []);
}

#[test]
fn services_of_servers_with_tls_say_so() {
    let world = deployed(ACCESS);
    for service in [&world.observed.service, &world.observed.headless_service] {
        let spec = service.as_ref().unwrap().spec.as_ref().unwrap();
        let found: Vec<_> = spec
            .ports
            .iter()
            .flatten()
            .map(|port| (port.name.as_deref().unwrap(), port.port, port.app_protocol.as_deref().unwrap()))
            .collect();
        assert_eq!(found, [("https", 443, "https"), ("grpc", 9000, "https")]);
    }
    assert!(super::service_url(&world.model).unwrap().starts_with("https://"));
    assert!(super::service_url(&deployed("{}").model).unwrap().starts_with("http://"));
}

#[test]
fn plan_of_a_model_without_access_mounts_no_secret() {
    let world = deployed("{}");
    assert!(pod(&world).volumes.iter().flatten().all(|volume| volume.secret.is_none()));
}
