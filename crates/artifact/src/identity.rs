//! The identity that a cloud gives a pod by its service account, for stores that are asked without keys.
//!
//! A cloud's admission webhook puts variables into the pod that say where a token lies and who takes it. Only these are
//! read, and only where [`AccessRules::instance_identity`](crate::AccessRules) allows it:
//!
//! | Cloud | Variables | Asked for credentials |
//! |---|---|---|
//! | AWS, IAM roles for service accounts | `AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_SESSION_NAME`, `AWS_ENDPOINT_URL_STS` | STS |
//! | AWS, EKS Pod Identity | `AWS_CONTAINER_CREDENTIALS_FULL_URI`, `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` | the node's agent |
//! | AWS without these | | the instance's metadata service |
//! | Google | `GCE_METADATA_HOST`, `GCE_METADATA_ROOT`, `GCE_METADATA_IP` (read by the client itself) | the metadata service |
//! | Azure, workload identity | `AZURE_CLIENT_ID`, `AZURE_TENANT_ID`, `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_AUTHORITY_HOST` | Entra ID |
//! | Azure without these | `IDENTITY_HEADER` (read by the client itself) | the instance's metadata service |
//!
//! `AWS_DEFAULT_REGION` stands in for a missing `AWS_REGION`. Keys in the credentials come before any identity.

use std::collections::BTreeMap;

/// The names that an identity may have in the process environment.
pub const IDENTITY_NAMES: [&str; 11] = [
    AWS_ROLE_ARN,
    AWS_WEB_IDENTITY_TOKEN_FILE,
    AWS_ROLE_SESSION_NAME,
    AWS_ENDPOINT_URL_STS,
    AWS_DEFAULT_REGION,
    AWS_CONTAINER_CREDENTIALS_FULL_URI,
    AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE,
    AZURE_CLIENT_ID,
    AZURE_TENANT_ID,
    AZURE_FEDERATED_TOKEN_FILE,
    AZURE_AUTHORITY_HOST,
];

pub(crate) const AWS_ROLE_ARN: &str = "AWS_ROLE_ARN";
pub(crate) const AWS_WEB_IDENTITY_TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
pub(crate) const AWS_ROLE_SESSION_NAME: &str = "AWS_ROLE_SESSION_NAME";
pub(crate) const AWS_ENDPOINT_URL_STS: &str = "AWS_ENDPOINT_URL_STS";
pub(crate) const AWS_DEFAULT_REGION: &str = "AWS_DEFAULT_REGION";
pub(crate) const AWS_CONTAINER_CREDENTIALS_FULL_URI: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
pub(crate) const AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
pub(crate) const AZURE_CLIENT_ID: &str = "AZURE_CLIENT_ID";
pub(crate) const AZURE_TENANT_ID: &str = "AZURE_TENANT_ID";
pub(crate) const AZURE_FEDERATED_TOKEN_FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
pub(crate) const AZURE_AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";

/// Names and values; none is a secret: tokens lie in files, which are read when they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity(BTreeMap<&'static str, String>);

impl Identity {
    /// An identity from whatever `look_up` knows of [`IDENTITY_NAMES`], e.g. the process environment. Empty values count
    /// as absent.
    pub fn from_lookup(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let known = |name: &'static str| Some((name, look_up(name).filter(|value| !value.is_empty())?));
        Self(IDENTITY_NAMES.into_iter().filter_map(known).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
