//! Which pods come to which scripted node, where several are in one cluster.
//!
//! A node of a pool carries a label and a taint; an admission policy gives the pods of a namespace with the same label
//! the matching node selector and toleration. So the objects under test need no field that only the tests know.
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use crate::{
    apply,
    wait::{self, Seen},
};

/// The label of nodes and namespaces that belong together, and the key of the nodes' taint.
pub const LABEL: &str = "modelwright.dev/scripted-pool";

const POLICY: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: modelwright-e2e-scripted-pools}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector:
      matchExpressions: [{key: modelwright.dev/scripted-pool, operator: Exists}]
    resourceRules: [{apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE]}]
  variables:
  - {name: pool, expression: 'namespaceObject.metadata.labels["modelwright.dev/scripted-pool"]'}
  mutations:
  - patchType: JSONPatch
    jsonPatch:
      expression: |
        [has(object.spec.nodeSelector)
           ? JSONPatch{op: "add", path: "/spec/nodeSelector/" + jsonpatch.escapeKey("modelwright.dev/scripted-pool"),
                       value: variables.pool}
           : JSONPatch{op: "add", path: "/spec/nodeSelector",
                       value: {"modelwright.dev/scripted-pool": variables.pool}},
         has(object.spec.tolerations)
           ? JSONPatch{op: "add", path: "/spec/tolerations/-",
                       value: Object.spec.tolerations{key: "modelwright.dev/scripted-pool", operator: "Exists"}}
           : JSONPatch{op: "add", path: "/spec/tolerations",
                       value: [Object.spec.tolerations{key: "modelwright.dev/scripted-pool", operator: "Exists"}]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: modelwright-e2e-scripted-pools}
spec: {policyName: modelwright-e2e-scripted-pools}
"#;

/// Puts the policy into the cluster. It stays: it concerns only namespaces with the label.
pub(super) async fn install(client: &Client) -> anyhow::Result<()> {
    apply::yaml(client, None, POLICY).await.map(|_| ())
}

/// Waits until pods of the namespace get the selector of its pool. The API server takes a moment to act by a policy
/// that is new, and a namespace its service account.
pub(crate) async fn effective(client: &Client, namespace: &str, pool: &str) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let container =
        Container { name: "probe".to_owned(), image: Some("probe".to_owned()), ..Container::default() };
    let probe = Pod {
        metadata: ObjectMeta { name: Some("probe".to_owned()), ..ObjectMeta::default() },
        spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
        status: None,
    };
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let awaited = format!("pods of namespace {namespace} to be sent to the scripted nodes of pool {pool}");
    wait::wait_for(awaited, Duration::from_secs(30), || async {
        let selector = pods.create(&dry_run, &probe).await?.spec.unwrap_or_default().node_selector;
        let there = selector.as_ref().and_then(|selector| selector.get(LABEL)).is_some_and(|it| it == pool);
        Ok(Seen::or_else_saw(there.then_some(()), format_args!("node selector {selector:?}")))
    })
    .await
}
