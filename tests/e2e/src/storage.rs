//! The S3 server in the cluster, where tests put what pods read.
use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Secret, Service},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use object_store::{ObjectStoreExt as _, aws::AmazonS3Builder, path::Path};

use crate::{apply, forward::Forward, images, wait};

/// Namespace and name of the server.
const NAME: &str = "s3";
const PORT: u16 = 7070;
const BUCKET: &str = "models";
/// Both of the only user's; the server holds nothing but test data, and ends with the cluster.
const KEY: &str = "modelwright";

/// The server and a way to it.
pub struct Storage {
    client: Client,
    forward: Forward,
}

impl Storage {
    /// Connects to the cluster's S3 server, and starts one in a cluster that was not started by `cargo xtask cluster`.
    ///
    /// # Errors
    /// Fails if the server does not become available.
    pub async fn connect(client: Client) -> anyhow::Result<Self> {
        if Api::<Service>::namespaced(client.clone(), NAME).get_opt(NAME).await?.is_none() {
            let manifest = images::in_registry(include_str!("../../cluster/deploy/s3.yaml"));
            apply::yaml(&client, Some(NAME), &manifest).await.context("cannot start an S3 server")?;
        }
        let deployments = Api::<Deployment>::namespaced(client.clone(), NAME);
        wait::deployment_available(&deployments, NAME, Duration::from_mins(2)).await?;
        let forward = Forward::to_service(client.clone(), NAME, NAME, PORT).await?;
        Ok(Self { client, forward })
    }

    /// Stores an object and returns its URI.
    ///
    /// # Errors
    /// Fails if the server does not take it.
    pub async fn put(&self, path: &str, content: Vec<u8>) -> anyhow::Result<String> {
        let store = AmazonS3Builder::new()
            .with_endpoint(self.forward.url(""))
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(BUCKET)
            .with_access_key_id(KEY)
            .with_secret_access_key(KEY)
            .build()?;
        store
            .put(&Path::parse(path)?, content.into())
            .await
            .with_context(|| format!("cannot store {path}"))?;
        Ok(format!("s3://{BUCKET}/{path}"))
    }

    /// Makes a Secret called `name` with which pods of `namespace` read and write the bucket.
    ///
    /// # Errors
    /// Fails if the API server refuses it.
    pub async fn create_secret(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        let data = [
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL", format!("http://{NAME}.{NAME}:{PORT}")),
        ];
        let data: BTreeMap<_, _> = data.map(|(key, value)| (key.to_owned(), value)).into();
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let secret = Secret { metadata, string_data: Some(data), ..Secret::default() };
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        secrets.create(&PostParams::default(), &secret).await?;
        Ok(())
    }
}
