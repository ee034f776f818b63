//! Clients that sign with a pod's own identity, and what they say when it gives no credentials.

use std::pin::Pin;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::CredentialProvider;
use object_store::gcp::GoogleCloudStorageBuilder;

use super::client::{check_endpoint, check_token_endpoint};
use super::failure::{self, of_transport};
use crate::identity::{
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, AWS_CONTAINER_CREDENTIALS_FULL_URI, AWS_ENDPOINT_URL_STS,
    AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME, AWS_WEB_IDENTITY_TOKEN_FILE, AZURE_AUTHORITY_HOST, AZURE_CLIENT_ID,
    AZURE_FEDERATED_TOKEN_FILE, AZURE_TENANT_ID,
};
use crate::{Connection, Error};

/// An identity that gave no credentials. Travels inside the store's errors.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(super) struct Unavailable {
    pub(super) problem: String,
}

/// Asks another provider, and says in our words what went wrong.
#[derive(Debug)]
struct Told<C> {
    inner: Arc<dyn CredentialProvider<Credential = C>>,
    /// Who is asked and what to check.
    way: &'static str,
    /// The file that holds the pod's token.
    token_file: Option<String>,
}

impl<C> Told<C> {
    fn told(&self, error: &object_store::Error) -> object_store::Error {
        let unreadable = |file: &String| {
            let error = std::fs::File::open(file).err()?;
            Some(format!("the token file {file} cannot be read: {error}"))
        };
        let problem = self.token_file.as_ref().and_then(unreadable).unwrap_or_else(|| {
            match failure::status(error) {
                // The answer's body may hold anything and is not repeated.
                Some(status) => format!("HTTP status {}", status.as_u16()),
                None => of_transport(error, "the request").to_string(),
            }
        });
        let source = Box::new(Unavailable { problem: format!("{}: {problem}", self.way) });
        object_store::Error::Generic { store: "identity", source }
    }
}

impl<C: std::fmt::Debug + Send + Sync> CredentialProvider for Told<C> {
    type Credential = C;

    fn get_credential<'life, 'future>(
        &'life self,
    ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<C>>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(async move { self.inner.get_credential().await.map_err(|error| self.told(&error)) })
    }
}

/// An S3 client by web identity, EKS Pod Identity or the instance's profile, in this order.
pub(super) fn s3(mut builder: AmazonS3Builder, connection: &Connection) -> Result<AmazonS3Builder, Error> {
    let named = |name| connection.identity.get(name);
    let role = named(AWS_WEB_IDENTITY_TOKEN_FILE).zip(named(AWS_ROLE_ARN));
    let agent = named(AWS_CONTAINER_CREDENTIALS_FULL_URI).zip(named(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE));
    let (way, token_file) = if let Some((file, role)) = role {
        builder = builder
            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, file)
            .with_config(AmazonS3ConfigKey::RoleArn, role);
        if let Some(session) = named(AWS_ROLE_SESSION_NAME) {
            builder = builder.with_config(AmazonS3ConfigKey::RoleSessionName, session);
        }
        if let Some(endpoint) = named(AWS_ENDPOINT_URL_STS) {
            check_endpoint(connection.rules, endpoint)?;
            builder = builder.with_config(AmazonS3ConfigKey::StsEndpoint, endpoint);
        }
        let way = "AWS STS was asked with AWS_WEB_IDENTITY_TOKEN_FILE for the role in AWS_ROLE_ARN; check the role's \
                   trust policy and the service account's annotation eks.amazonaws.com/role-arn";
        (way, Some(file))
    } else if let Some((uri, file)) = agent {
        check_token_endpoint(connection.rules, uri)?;
        builder = builder
            .with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, uri)
            .with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, file);
        let way = "EKS Pod Identity was asked at AWS_CONTAINER_CREDENTIALS_FULL_URI; check the service account's pod \
                   identity association";
        (way, Some(file))
    } else {
        let way = "the instance's metadata service was asked, because the pod has neither AWS_ROLE_ARN with \
                   AWS_WEB_IDENTITY_TOKEN_FILE nor AWS_CONTAINER_CREDENTIALS_FULL_URI; check the service account's \
                   annotation eks.amazonaws.com/role-arn or its pod identity association, or name a Secret with keys";
        (way, None)
    };
    let plain = builder.clone().build().map_err(|_| unusable("AWS_*"))?;
    let told = Told { inner: plain.credentials().clone(), way, token_file: token_file.map(str::to_owned) };
    Ok(builder.with_credentials(Arc::new(told)))
}

/// A Google client by the metadata service, which answers with the identity of the pod where GKE is told to.
pub(super) fn gcs(builder: GoogleCloudStorageBuilder) -> Result<GoogleCloudStorageBuilder, Error> {
    let way = "Google's metadata service was asked; check the service account's annotation \
               iam.gke.io/gcp-service-account and that the node pool has workload identity, or name a Secret with \
               GOOGLE_SERVICE_ACCOUNT_KEY";
    let plain = builder.clone().build().map_err(|_| unusable("GOOGLE_*"))?;
    let told = Told { inner: plain.credentials().clone(), way, token_file: None };
    Ok(builder.with_credentials(Arc::new(told)))
}

/// An Azure client by workload identity, else by the instance's managed identity.
pub(super) fn azure(
    mut builder: MicrosoftAzureBuilder,
    connection: &Connection,
) -> Result<MicrosoftAzureBuilder, Error> {
    let named = |name| connection.identity.get(name);
    let federated = (named(AZURE_CLIENT_ID), named(AZURE_TENANT_ID), named(AZURE_FEDERATED_TOKEN_FILE));
    let (way, token_file) = if let (Some(client), Some(tenant), Some(file)) = federated {
        builder = builder
            .with_config(AzureConfigKey::ClientId, client)
            .with_config(AzureConfigKey::AuthorityId, tenant)
            .with_config(AzureConfigKey::FederatedTokenFile, file);
        if let Some(authority) = named(AZURE_AUTHORITY_HOST) {
            check_endpoint(connection.rules, authority)?;
            builder = builder.with_config(AzureConfigKey::AuthorityHost, authority.trim_end_matches('/'));
        }
        let way = "Entra ID was asked with AZURE_FEDERATED_TOKEN_FILE for AZURE_CLIENT_ID; check its federated \
                   credential and the service account's annotation azure.workload.identity/client-id";
        (way, Some(file))
    } else {
        if let Some(client) = named(AZURE_CLIENT_ID) {
            builder = builder.with_config(AzureConfigKey::ClientId, client);
        }
        let way = "the instance's metadata service was asked, because the pod has no AZURE_FEDERATED_TOKEN_FILE; check \
                   the pod's label azure.workload.identity/use and the service account's annotation \
                   azure.workload.identity/client-id, or name a Secret with a key";
        (way, None)
    };
    let plain = builder.clone().build().map_err(|_| unusable("AZURE_*"))?;
    let told = Told { inner: plain.credentials().clone(), way, token_file: token_file.map(str::to_owned) };
    Ok(builder.with_credentials(Arc::new(told)))
}

fn unusable(names: &str) -> Error {
    Error::InvalidCredentials { problem: format!("no client can be made from the identity's {names} values") }
}
