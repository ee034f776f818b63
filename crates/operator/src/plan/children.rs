//! The children that do not depend on what is served: account, Services, disruption budget, network policy.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
    networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
};
use k8s_openapi::apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString};
use modelwright_api::{
    Model,
    conditions::{Cause, Reason},
    contract::{names, ports},
    serving::Serving,
};

use super::{
    access, drift,
    metadata::{Owner, selector, strings},
    verbatim,
};

/// The account of pods where the spec names none: it may do nothing, and pods get no token of it.
pub(super) fn service_account(model: &Model, owner: &Owner<'_>) -> Option<ServiceAccount> {
    model.spec.service_account_name.is_none().then(|| ServiceAccount {
        metadata: owner.child(names::child(owner.name)),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

/// The Service with the Model's name.
pub(super) fn service(model: &Model, owner: &Owner<'_>) -> Service {
    let written = serving(model).and_then(|serving| serving.service.as_ref());
    let annotations = written.and_then(|service| service.annotations.as_ref());
    let mut metadata = owner.child(names::child(owner.name));
    metadata.annotations = annotations
        .map(|annotations| annotations.iter().map(|(key, text)| (key.clone(), text.0.clone())).collect());
    let type_ = written.and_then(|service| service.type_).unwrap_or_default();
    drift::sealed(Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some(type_.as_str().to_owned()),
            ..ports_and_selector(model, owner)
        }),
        status: None,
    })
}

/// The Service without a virtual address, for clients that balance themselves.
pub(super) fn headless_service(model: &Model, owner: &Owner<'_>) -> Service {
    Service {
        metadata: owner.child(names::headless_service(owner.name)),
        spec: Some(ServiceSpec { cluster_ip: Some("None".to_owned()), ..ports_and_selector(model, owner) }),
        status: None,
    }
}

/// What speaks TLS has another port, so that nobody who means the other finds it.
fn ports_and_selector(model: &Model, owner: &Owner<'_>) -> ServiceSpec {
    let (http, grpc) = if access::has_tls(model) {
        let tls = Some(ports::SERVICE_TLS_PROTOCOL);
        (service_port(ports::SERVICE_HTTPS_NAME, ports::SERVICE_HTTPS, tls), tls)
    } else {
        let http = service_port(ports::SERVICE_HTTP_NAME, ports::SERVICE_HTTP, None);
        (http, Some(ports::SERVICE_GRPC_PROTOCOL))
    };
    ServiceSpec {
        selector: Some(owner.server_selector()),
        ports: Some(vec![http, service_port(ports::SERVICE_GRPC_NAME, ports::SERVICE_GRPC, grpc)]),
        ..ServiceSpec::default()
    }
}

/// A port of a Service that leads to the data port.
fn service_port(name: &str, port: u16, protocol: Option<&str>) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(port),
        target_port: Some(IntOrString::String(ports::DATA_NAME.to_owned())),
        protocol: Some("TCP".to_owned()),
        app_protocol: protocol.map(str::to_owned),
        ..ServicePort::default()
    }
}

/// At most one server pod at a time is taken away on purpose. Pods that are not ready may always go: they serve nobody,
/// and would block the drain of a node for ever.
pub(super) fn disruption_budget(owner: &Owner<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owner.child(names::child(owner.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(owner.server_selector())),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            min_available: None,
        }),
        status: None,
    }
}

/// Who may reach server pods, where the spec asks for a policy.
pub(super) fn network_policy(
    model: &Model,
    owner: &Owner<'_>,
    operator_namespace: Option<&str>,
) -> Result<Option<NetworkPolicy>, Cause> {
    let Some(written) = serving(model).and_then(|serving| serving.network_policy.as_ref()) else {
        return Ok(None);
    };
    if written.enabled != Some(true) {
        return Ok(None);
    }
    let mut clients = Vec::new();
    for (index, peer) in written.from.iter().enumerate() {
        let path = format!("spec.serving.networkPolicy.from[{index}]");
        clients.push(verbatim::<NetworkPolicyPeer>(peer, &path, Reason::InvalidSpec)?);
    }
    if clients.is_empty() {
        // An empty selector selects every pod of the policy's own namespace.
        clients.push(NetworkPolicyPeer {
            pod_selector: Some(LabelSelector::default()),
            ..NetworkPolicyPeer::default()
        });
    }
    let operator = operator_namespace.map(|namespace| {
        let labels: BTreeMap<_, _> = strings([("kubernetes.io/metadata.name", namespace)]);
        vec![NetworkPolicyPeer { namespace_selector: Some(selector(labels)), ..NetworkPolicyPeer::default() }]
    });
    let rule = |from: Option<Vec<NetworkPolicyPeer>>, ports: &[&str]| NetworkPolicyIngressRule {
        from,
        ports: Some(ports.iter().map(|port| named_port(port)).collect()),
    };
    Ok(Some(drift::sealed(NetworkPolicy {
        metadata: owner.child(names::child(owner.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(selector(owner.server_selector())),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![
                rule(Some(clients), &[ports::DATA_NAME, ports::ADMIN_NAME]),
                rule(operator, &[ports::ADMIN_NAME]),
            ]),
            egress: None,
        }),
    })))
}

fn named_port(name: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}

pub(super) fn serving(model: &Model) -> Option<&Serving> {
    model.spec.serving.as_ref()
}
