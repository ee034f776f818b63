//! An S3 server of a test's own, which it may stop, kill, and take keys away from.
use std::fs;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use modelwright_e2e::{
    chart, images,
    namespace::TestNamespace,
    processes::Process,
    storage::{SECRET_KEY, Storage},
    wait::{self, Seen},
};
use serde_json::json;

use super::story::TIMEOUT;
use crate::serving::{SECRET, restrict};

/// The user of the Models' Secret.
const USER: &str = "trainer-of-models";

/// The server.
pub(super) struct Store {
    namespace: TestNamespace,
    pub(super) storage: Storage,
}

impl Store {
    /// A namespace that takes only restricted pods, with the chart installed, a server, and the Secret for it.
    pub(super) async fn prepared(namespace: &TestNamespace) -> anyhow::Result<Self> {
        restrict(namespace).await?;
        namespace.apply(&images::in_registry(include_str!("store.yaml"))).await?;
        chart::install(namespace).await?;
        let storage = Storage::of(namespace.client.clone(), &namespace.name).await?;
        let store = Self { namespace: namespace.clone(), storage };
        store.give_keys().await?;
        store.create_secret().await?;
        Ok(store)
    }

    pub(super) async fn create_secret(&self) -> anyhow::Result<()> {
        self.storage.create_secret_of(&self.namespace.name, SECRET, USER).await
    }

    async fn process(&self) -> anyhow::Result<Process> {
        let pods = self.namespace.api::<Pod>().list(&ListParams::default().labels("app=s3")).await?;
        let pod = pods.items.first().context("the S3 server has no pod")?;
        Process::of_pod(&pod.name_any(), "versitygw")
    }

    async fn write_users(&self, users: &serde_json::Value) -> anyhow::Result<()> {
        let folder = self.process().await?.file("/data/users");
        let new = folder.join("users.json.new");
        fs::write(&new, json!({"accessAccounts": users}).to_string())?;
        Ok(fs::rename(new, folder.join("users.json"))?)
    }

    /// The keys of the Secret open the bucket.
    pub(super) async fn give_keys(&self) -> anyhow::Result<()> {
        let user = json!({"access": USER, "secret": SECRET_KEY, "role": "admin"});
        self.write_users(&json!({USER: user})).await
    }

    /// Nobody has these keys any more.
    pub(super) async fn take_keys(&self) -> anyhow::Result<()> {
        self.write_users(&json!({})).await
    }

    /// It takes connections and does not answer.
    pub(super) async fn freeze(&self) -> anyhow::Result<()> {
        self.process().await?.signal("STOP")
    }

    pub(super) async fn thaw(&self) -> anyhow::Result<()> {
        self.process().await?.signal("CONT")
    }

    async fn select(&self, app: &str) -> anyhow::Result<()> {
        let patch = json!({"spec": {"selector": {"app": app}}});
        let services = self.namespace.api::<Service>();
        services.patch("s3", &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(())
    }

    /// Open connections break, and new ones are refused.
    pub(super) async fn goes_away(&self) -> anyhow::Result<()> {
        self.select("nothing").await?;
        self.process().await?.signal("KILL")
    }

    /// It is there again, with all that it held.
    pub(super) async fn comes_back(&mut self) -> anyhow::Result<()> {
        self.select("s3").await?;
        let Self { namespace, .. } = self;
        let storage = wait::wait_for("the S3 server to be back", TIMEOUT, || async {
            let storage = Storage::of(namespace.client.clone(), &namespace.name).await?;
            storage.list("x").await?;
            Ok(Seen::Done(storage))
        })
        .await?;
        self.storage = storage;
        Ok(())
    }
}
