//! S3, Google Cloud Storage and Azure Blob Storage.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::StaticCredentialProvider;
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, RetryConfig,
    WriteMultipart,
};

use super::client::{Connector, check_endpoint};
use super::failure::of_object_store;
use super::{Put, Source, identity};
use crate::credentials::{
    AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, AWS_REGION, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
    AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_SAS_TOKEN,
    GOOGLE_SERVICE_ACCOUNT_KEY,
};
use crate::identity::AWS_DEFAULT_REGION;
use crate::progress::Transfer;
use crate::uri::ObjectStoreKind;
use crate::{Connection, Error, RemoteFile, Transfers};

/// The smallest part that S3 accepts.
const MIN_PART: u64 = 5 << 20;
/// S3 accepts 10,000 parts; a few are kept in reserve.
const MAX_PARTS: u64 = 9_900;
/// The region of stores that have none.
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket and a prefix in it.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The key of the uri, without a final slash.
    prefix: String,
    transfers: Transfers,
}

impl Objects {
    pub(super) fn open(
        kind: ObjectStoreKind,
        bucket: &str,
        key: &str,
        connection: &Connection,
    ) -> Result<Self, Error> {
        let store = match kind {
            ObjectStoreKind::S3 => s3(bucket, connection)?,
            ObjectStoreKind::Gcs => gcs(bucket, connection)?,
            ObjectStoreKind::Azure => azure(bucket, connection)?,
        };
        let prefix = key.strip_suffix('/').unwrap_or(key).to_owned();
        Ok(Self { store, prefix, transfers: connection.transfers })
    }

    fn key(&self, path: &str, what: &str) -> Result<Path, Error> {
        let key = match (self.prefix.as_str(), path) {
            (prefix, "") => prefix.to_owned(),
            ("", path) => path.to_owned(),
            (prefix, path) => format!("{prefix}/{path}"),
        };
        Path::parse(key).map_err(|_| Error::InvalidUri {
            uri: what.to_owned(),
            problem: "the store cannot have such a path".into(),
        })
    }

    pub(super) async fn head(&self, path: &str, what: &str) -> Result<RemoteFile, Error> {
        let key = self.key(path, what)?;
        if key.as_ref().is_empty() {
            return Err(Error::SourceNotFound { what: what.to_owned() });
        }
        let meta = self.store.head(&key).await.map_err(|error| of_object_store(&error, what, "read"))?;
        Ok(remote(path.to_owned(), meta))
    }

    pub(super) async fn list(&self, limit: usize, what: &str) -> Result<Vec<RemoteFile>, Error> {
        let prefix = self.key("", what)?;
        let mut listing = self.store.list(Some(&prefix));
        let mut files = Vec::new();
        while let Some(meta) =
            listing.try_next().await.map_err(|error| of_object_store(&error, what, "list"))?
        {
            let key = meta.location.as_ref();
            let below = if self.prefix.is_empty() { Some(key) } else { key.strip_prefix(&self.prefix) };
            let Some(path) = below.map(|path| path.trim_start_matches('/')).filter(|path| !path.is_empty())
            else {
                continue;
            };
            if files.len() == limit {
                return Err(super::too_many(what, limit));
            }
            files.push(remote(path.to_owned(), meta));
        }
        Ok(files)
    }

    pub(super) async fn range(
        &self,
        file: &RemoteFile,
        range: Range<u64>,
        what: &str,
    ) -> Result<Bytes, Error> {
        let key = self.key(&file.path, what)?;
        let expected = range.end - range.start;
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: file.etag.clone(),
            version: file.version.clone(),
            ..GetOptions::default()
        };
        let failed = |error: object_store::Error| of_object_store(&error, what, "read");
        let answer = match self.store.get_opts(&key, options).await {
            Ok(answer) => answer,
            // It was there when it was described.
            Err(object_store::Error::NotFound { .. }) if file.version.is_some() => {
                return Err(Error::SourceChanged {
                    what: what.to_owned(),
                    problem: "the version that was found is not there any more".into(),
                });
            }
            Err(error) => return Err(failed(error)),
        };
        super::unchanged(file, answer.meta.e_tag.as_deref(), Some(answer.meta.size), what)?;
        super::collect(answer.into_stream().map_err(failed), expected, what).await
    }

    pub(super) async fn put(&self, path: &str, bytes: Bytes, create: bool, what: &str) -> Result<Put, Error> {
        use object_store::Error as Store;
        let key = self.key(path, what)?;
        let failed = |error: object_store::Error| of_object_store(&error, what, "write");
        if !create {
            self.store.put(&key, bytes.into()).await.map_err(failed)?;
            return Ok(Put::Written);
        }
        match self.store.put_opts(&key, bytes.clone().into(), PutMode::Create.into()).await {
            Ok(_) => Ok(Put::Written),
            Err(Store::AlreadyExists { .. } | Store::Precondition { .. }) => Ok(Put::Exists),
            Err(error) if conditional_write_is_unknown(&error) => match self.store.head(&key).await {
                Ok(_) => Ok(Put::Exists),
                Err(Store::NotFound { .. }) => {
                    self.store.put(&key, bytes.into()).await.map_err(failed)?;
                    Ok(Put::Written)
                }
                Err(error) => Err(failed(error)),
            },
            Err(error) => Err(failed(error)),
        }
    }

    pub(super) async fn delete(&self, path: &str, what: &str) -> Result<(), Error> {
        let key = self.key(path, what)?;
        match self.store.delete(&key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(of_object_store(&error, what, "delete")),
        }
    }

    /// Uploads `size` bytes; nothing is visible before the last of them.
    pub(super) async fn upload(
        &self,
        path: &str,
        source: Source,
        size: u64,
        progress: &Transfer<'_>,
        what: &str,
    ) -> Result<(), Error> {
        let part = u64::from(self.transfers.chunk_bytes).max(MIN_PART).max(size.div_ceil(MAX_PARTS));
        if size <= part {
            let bytes = source.read(0..size).await?;
            let sent = bytes.len();
            self.put(path, bytes, false, what).await?;
            progress.advance(sent);
            return Ok(());
        }
        let key = self.key(path, what)?;
        let failed = |error: object_store::Error| of_object_store(&error, what, "write");
        let upload = self.store.put_multipart(&key).await.map_err(failed)?;
        let part_bytes = usize::try_from(part).unwrap_or(usize::MAX);
        let mut writer = WriteMultipart::new_with_chunk_size(upload, part_bytes);
        for range in super::chunks(0..size, part) {
            let sent = async {
                writer.wait_for_capacity(self.transfers.concurrency.max(1)).await.map_err(failed)?;
                source.read(range).await
            };
            match sent.await {
                Ok(bytes) => {
                    progress.advance(bytes.len());
                    writer.put(bytes);
                }
                Err(error) => {
                    // The parts would be kept, and paid for; the first failure is the one to report.
                    let _ = writer.abort().await;
                    return Err(error);
                }
            }
        }
        writer.finish().await.map(|_| ()).map_err(failed)
    }
}

/// Whether the store says that it has no conditional writes: then its absence is checked by a read.
fn conditional_write_is_unknown(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. })
        || super::failure::status(error).is_some_and(|status| status == http::StatusCode::NOT_IMPLEMENTED)
}

fn remote(path: String, meta: ObjectMeta) -> RemoteFile {
    // S3 calls the version of an object "null" where versioning is off: overwriting keeps that name.
    let version = meta.version.filter(|version| version != "null");
    RemoteFile { path, size: Some(meta.size), etag: meta.e_tag, version, ranges: true }
}

fn retry(connection: &Connection) -> RetryConfig {
    let backoff =
        BackoffConfig { max_backoff: std::time::Duration::from_secs(5), ..BackoffConfig::default() };
    RetryConfig { backoff, max_retries: connection.retry.attempts, retry_timeout: connection.retry.timeout }
}

fn unusable(problem: &str) -> Error {
    Error::InvalidCredentials { problem: problem.to_owned() }
}

fn s3(bucket: &str, connection: &Connection) -> Result<Arc<dyn ObjectStore>, Error> {
    let secret = |name| connection.credentials.get(name);
    let identity = connection.rules.instance_identity.then_some(&connection.identity);
    let region = secret(AWS_REGION).or_else(|| identity?.get(AWS_DEFAULT_REGION)).unwrap_or(DEFAULT_REGION);
    // It becomes a part of the host's name.
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if region.is_empty() || !region.bytes().all(allowed) {
        return Err(unusable("AWS_REGION may hold lower-case letters, digits and - only, e.g. eu-central-1"));
    }
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(region)
        .with_retry(retry(connection))
        .with_http_connector(Connector::new(connection)?);
    if let Some(endpoint) = secret(AWS_ENDPOINT_URL) {
        check_endpoint(connection.rules, endpoint)?;
        builder = builder.with_endpoint(endpoint.trim_end_matches('/')).with_allow_http(true);
    }
    builder = match (secret(AWS_ACCESS_KEY_ID), secret(AWS_SECRET_ACCESS_KEY)) {
        (Some(id), Some(key)) => builder.with_access_key_id(id).with_secret_access_key(key),
        (None, None) if identity.is_some() => identity::s3(builder, connection)?,
        (None, None) => builder.with_skip_signature(true),
        _ => {
            return Err(unusable(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together; one is missing",
            ));
        }
    };
    if let Some(token) = secret(AWS_SESSION_TOKEN) {
        builder = builder.with_token(token);
    }
    Ok(Arc::new(builder.build().map_err(|_| unusable("the S3 client cannot be made from the AWS_* values"))?))
}

fn gcs(bucket: &str, connection: &Connection) -> Result<Arc<dyn ObjectStore>, Error> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(bucket)
        .with_retry(retry(connection))
        .with_http_connector(Connector::new(connection)?);
    if let Some(endpoint) = &connection.endpoint {
        check_endpoint(connection.rules, endpoint)?;
        builder = builder.with_base_url(endpoint.trim_end_matches('/'));
    }
    match connection.credentials.get(GOOGLE_SERVICE_ACCOUNT_KEY) {
        Some(key) => {
            let fields: serde_json::Value = serde_json::from_str(key).map_err(|_| {
                unusable("GOOGLE_SERVICE_ACCOUNT_KEY is not the JSON of a service account's key")
            })?;
            if let Some(endpoint) = fields.get("gcs_base_url").and_then(serde_json::Value::as_str) {
                check_endpoint(connection.rules, endpoint)?;
            }
            builder = builder.with_service_account_key(key);
        }
        None if connection.rules.instance_identity => builder = identity::gcs(builder)?,
        None => {
            // Explicit empty credentials keep the client from looking for a file of the user's.
            let nobody = GcpCredential { bearer: String::new() };
            builder = builder
                .with_credentials(Arc::new(StaticCredentialProvider::new(nobody)))
                .with_skip_signature(true);
        }
    }
    let store = builder.build();
    Ok(Arc::new(store.map_err(|_| unusable("GOOGLE_SERVICE_ACCOUNT_KEY is not a service account's key"))?))
}

fn azure(container: &str, connection: &Connection) -> Result<Arc<dyn ObjectStore>, Error> {
    let secret = |name| connection.credentials.get(name);
    let account = secret(AZURE_STORAGE_ACCOUNT_NAME).ok_or_else(|| {
        unusable("AZURE_STORAGE_ACCOUNT_NAME is missing: an az:// uri names the container, not the account")
    })?;
    if account.is_empty() || !account.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return Err(unusable("AZURE_STORAGE_ACCOUNT_NAME may hold lower-case letters and digits only"));
    }
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(container)
        .with_retry(retry(connection))
        .with_http_connector(Connector::new(connection)?);
    if let Some(endpoint) = &connection.endpoint {
        check_endpoint(connection.rules, endpoint)?;
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned()).with_allow_http(true);
    }
    builder = match (secret(AZURE_STORAGE_ACCOUNT_KEY), secret(AZURE_STORAGE_SAS_TOKEN)) {
        (Some(key), _) => builder.with_access_key(key),
        (None, Some(token)) => builder.with_config(AzureConfigKey::SasKey, token),
        (None, None) if connection.rules.instance_identity => identity::azure(builder, connection)?,
        (None, None) => builder.with_skip_signature(true),
    };
    Ok(Arc::new(
        builder.build().map_err(|_| unusable("the Azure client cannot be made from the AZURE_* values"))?,
    ))
}
