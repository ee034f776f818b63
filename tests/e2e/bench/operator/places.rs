//! Where the Models of the bench are.
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use modelwright_api::{Outcome, contract::labels, outcome::OutcomeTensor};
use modelwright_e2e::{
    namespace::TestNamespace,
    scripted_node::{ContainerScript, Exit, POOL_LABEL, PodMatcher, PodScript, ScriptedNode},
    wait,
};

use crate::{Size, TIMEOUT};

/// Namespaces with a node of their own whose pods are as they should be.
pub(crate) struct Places {
    pub(crate) client: Client,
    pub(crate) node: ScriptedNode,
    names: Vec<String>,
}

impl Places {
    pub(crate) async fn new(client: &Client, name: &str, size: &Size) -> anyhow::Result<Self> {
        let node = ScriptedNode::builder(client.clone(), name).pool(name).start().await?;
        let found = Outcome {
            digest: Some(format!("sha256:{}", "a".repeat(64))),
            fingerprint: Some(format!("sha256:{}", "f".repeat(64))),
            inputs: vec![OutcomeTensor { name: "x".into(), datatype: "FP32".into(), shape: vec![-1, 4] }],
            inputs_total: Some(1),
            ..Outcome::success("Resolved")
        };
        node.on(
            PodMatcher::any().label(labels::ROLE, labels::ROLE_RESOLVE),
            PodScript::default()
                .container("resolve", ContainerScript::exits(Exit::completed().message(&found.to_line()))),
        );
        let names: Vec<_> = (0..size.namespaces.max(1)).map(|index| format!("{name}-{index}")).collect();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        for place in &names {
            let labels = [(POOL_LABEL.to_owned(), name.to_owned())].into();
            let metadata =
                ObjectMeta { name: Some(place.clone()), labels: Some(labels), ..Default::default() };
            namespaces.create(&PostParams::default(), &Namespace { metadata, ..Default::default() }).await?;
        }
        // The policy that sends the namespaces' pods to the node takes effect a moment later.
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(Self { client: client.clone(), node, names })
    }

    /// The namespace of the Model of this number.
    pub(crate) fn of(&self, index: usize) -> TestNamespace {
        let name = self.names[index % self.names.len()].clone();
        TestNamespace { client: self.client.clone(), name }
    }

    /// Removes all of them with what they hold.
    pub(crate) async fn remove(self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for name in &self.names {
            namespaces.delete(name, &DeleteParams::default()).await?;
        }
        for name in &self.names {
            wait::gone(&namespaces, name, TIMEOUT).await?;
        }
        self.node.stop().await
    }
}
