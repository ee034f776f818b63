//! The S3 server in the cluster, where tests put what pods read.
use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use futures::TryStreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Secret, Service},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use object_store::{
    ObjectStore as _, ObjectStoreExt as _,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
    signer::Signer as _,
};

use crate::{apply, forward::Forward, images, wait};

/// Namespace and name of the server.
const NAME: &str = "s3";
const PORT: u16 = 7070;
const BUCKET: &str = "models";
/// The only user's; the server holds nothing but test data, and ends with the cluster.
const KEY: &str = "modelwright";
/// The secret of every user. A word that is nowhere else, so that a test that shows it is noticed.
pub const SECRET_KEY: &str = "secret-of-the-examples";

/// The server and a way to it.
pub struct Storage {
    client: Client,
    namespace: String,
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
        Self::of(client, NAME).await
    }

    /// Connects to the server of a namespace, which is called as the cluster's is and has the same keys.
    ///
    /// # Errors
    /// Fails if the server does not become available.
    pub async fn of(client: Client, namespace: &str) -> anyhow::Result<Self> {
        let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
        wait::deployment_available(&deployments, NAME, Duration::from_mins(2)).await?;
        let forward = Forward::to_service(client.clone(), namespace, NAME, PORT).await?;
        Ok(Self { client, namespace: namespace.to_owned(), forward })
    }

    /// What a program on this machine reaches the server with, by the names of variables.
    pub fn credentials(&self) -> [(&'static str, String); 4] {
        credentials(KEY, self.forward.url(""))
    }

    /// Stores an object and returns its URI.
    ///
    /// # Errors
    /// Fails if the server does not take it.
    pub async fn put(&self, path: &str, content: Vec<u8>) -> anyhow::Result<String> {
        self.bucket()?
            .put(&Path::parse(path)?, content.into())
            .await
            .with_context(|| format!("cannot store {path}"))?;
        Ok(format!("s3://{BUCKET}/{path}"))
    }

    /// An object's bytes.
    ///
    /// # Errors
    /// Fails if there is none of that path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let found = self.bucket()?.get(&Path::parse(path)?).await;
        let found = found.with_context(|| format!("cannot read {path}"))?;
        Ok(found.bytes().await?.to_vec())
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// Fails if the server does not let it go.
    pub async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let deleted = self.bucket()?.delete(&Path::parse(path)?).await;
        deleted.with_context(|| format!("cannot delete {path}"))
    }

    /// The paths of the objects below a prefix, sorted.
    ///
    /// # Errors
    /// Fails if the server does not list them.
    pub async fn list(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let prefix = Path::parse(prefix)?;
        let bucket = self.bucket()?;
        let mut paths: Vec<String> =
            bucket.list(Some(&prefix)).map_ok(|object| object.location.to_string()).try_collect().await?;
        paths.sort();
        Ok(paths)
    }

    /// A link by which pods read an object without a key, for so long.
    ///
    /// # Errors
    /// Fails if the path is none.
    pub async fn link(&self, path: &str, time: Duration) -> anyhow::Result<String> {
        let bucket = bucket_at(format!("http://{NAME}.{}:{PORT}", self.namespace))?;
        Ok(bucket.signed_url(http::Method::GET, &Path::parse(path)?, time).await?.to_string())
    }

    fn bucket(&self) -> anyhow::Result<AmazonS3> {
        bucket_at(self.forward.url(""))
    }

    /// Makes a Secret called `name` with which pods of `namespace` read and write the bucket.
    ///
    /// # Errors
    /// Fails if the API server refuses it.
    pub async fn create_secret(&self, namespace: &str, name: &str) -> anyhow::Result<()> {
        self.create_secret_of(namespace, name, KEY).await
    }

    /// The same for another user of the server, who has the same secret.
    ///
    /// # Errors
    /// Fails if the API server refuses it.
    pub async fn create_secret_of(&self, namespace: &str, name: &str, key: &str) -> anyhow::Result<()> {
        let data = credentials(key, format!("http://{NAME}.{}:{PORT}", self.namespace));
        let data: BTreeMap<_, _> = data.map(|(key, value)| (key.to_owned(), value)).into();
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let secret = Secret { metadata, string_data: Some(data), ..Secret::default() };
        let secrets = Api::<Secret>::namespaced(self.client.clone(), namespace);
        secrets.create(&PostParams::default(), &secret).await?;
        Ok(())
    }
}

fn credentials(key: &str, url: String) -> [(&'static str, String); 4] {
    [
        ("AWS_ACCESS_KEY_ID", key.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT_URL", url),
    ]
}

/// The bucket of the server at this address.
fn bucket_at(endpoint: String) -> anyhow::Result<AmazonS3> {
    Ok(AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(BUCKET)
        .with_access_key_id(KEY)
        .with_secret_access_key(SECRET_KEY)
        .build()?)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// What follows `word` in files of the repository, up to a white space, with the file's name.
    fn after(word: &str, endings: &[&str]) -> Vec<(String, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let examples = fs::read_dir(root.join("examples")).unwrap().flatten().map(|entry| entry.path());
        let folders = examples.flat_map(|example| [example.join("cluster"), example]);
        let deploy = root.join("tests/cluster/deploy");
        let mut found = Vec::new();
        for folder in folders.chain([root.clone(), root.join("docs"), deploy]) {
            for file in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = file.path().display().to_string();
                if !endings.iter().any(|ending| name.ends_with(ending)) {
                    continue;
                }
                let text = fs::read_to_string(file.path()).unwrap();
                let parts = text.split(word).skip(1).filter_map(|rest| rest.split_whitespace().next());
                found.extend(parts.map(|part| (name.clone(), part.to_owned())));
            }
        }
        found
    }

    #[test]
    fn documentation_and_examples_have_the_keys_of_the_server() {
        let commands = after("--aws-sigv4 aws:amz:us-east-1:s3 --user ", &[".md"]);
        assert!(commands.len() >= 5, "{commands:?}");
        for (file, keys) in commands {
            assert_eq!(keys, format!("{KEY}:{SECRET_KEY}"), "{file}");
        }
        let secrets = after("AWS_SECRET_ACCESS_KEY: ", &[".yaml"]);
        assert!(secrets.len() >= 5, "{secrets:?}");
        for (file, secret) in secrets {
            assert_eq!(secret, SECRET_KEY, "{file}");
        }
    }
}
