//! Stores that are asked without keys, with the identity that a cloud gives the pod.

use std::fs;

use modelwright_artifact::{Class, Identity, ResolveRequest};

use crate::fixture::{credentials, model, request, resolved};
use crate::web_server::{Reply, Request, WebServer};

const MODIFIED: &str = "Tue, 03 Nov 2026 10:00:00 GMT";
const STS: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
    <AccessKeyId>FROMSTS</AccessKeyId><SecretAccessKey>key</SecretAccessKey><SessionToken>session</SessionToken>\
    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
    </AssumeRoleWithWebIdentityResponse>";
const AGENT: &str = r#"{"AccessKeyId":"FROMAGENT","SecretAccessKey":"key","Token":"session",
    "Expiration":"2099-01-01T00:00:00Z"}"#;
const ENTRA: &str = r#"{"access_token":"FROMENTRA","expires_in":3600,"token_type":"Bearer"}"#;

/// A store and, on the same port, whoever gives credentials for the pod's token.
async fn cloud() -> WebServer {
    let content = model(10, 0);
    WebServer::start(move |request| match request.path.as_str() {
        path if path.starts_with("/sts") && request.method == "POST" => Reply::new(200, STS),
        "/agent/v1/credentials" => Reply::new(200, AGENT),
        "/tenant/oauth2/v2.0/token" => Reply::new(200, ENTRA),
        _ => Reply::file(request, &content, "1").with("Last-Modified", MODIFIED),
    })
    .await
}

/// A request by identity, with the pod's token in a file.
struct Pod {
    _folder: tempfile::TempDir,
    request: ResolveRequest,
}

fn pod<const N: usize>(uri: &str, server: &WebServer, names: [(&'static str, &str); N]) -> Pod {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "hunter2").unwrap();
    let values = names.map(|(name, value)| {
        (name, value.replace("TOKEN", &token.display().to_string()).replace("SERVER", &server.url("")))
    });
    let look_up =
        |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let mut request = request(uri);
    request.connection.identity = Identity::from_lookup(look_up);
    request.connection.rules.instance_identity = true;
    request.connection.credentials = match uri.split_once(':').unwrap().0 {
        "az" => credentials([("AZURE_STORAGE_ACCOUNT_NAME", "account")]),
        _ => credentials([("AWS_ENDPOINT_URL", &server.url(""))]),
    };
    request.connection.endpoint = Some(server.url(""));
    Pod { _folder: folder, request }
}

const ROLE: [(&str, &str); 3] = [
    ("AWS_ROLE_ARN", "arn:aws:iam::1:role/models"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "TOKEN"),
    ("AWS_ENDPOINT_URL_STS", "SERVER/sts"),
];

/// The `Authorization` headers of the requests for the model.
fn authorizations(server: &WebServer) -> Vec<String> {
    let of_model = |request: &&Request| request.path.ends_with("/m.onnx");
    let header = |request: &Request| request.headers.get("authorization").cloned().unwrap_or_default();
    server.requests().iter().filter(of_model).map(header).collect()
}

#[tokio::test]
async fn role_of_the_service_account_signs_requests_to_s3() {
    let server = cloud().await;
    let pod = pod("s3://bucket/m.onnx", &server, ROLE);
    resolved(&pod.request).await.unwrap();
    let asked = server.requests().into_iter().find(|request| request.path.starts_with("/sts")).unwrap();
    assert!(
        asked.path.contains("WebIdentityToken=hunter2") && asked.path.contains("models"),
        "{}",
        asked.path
    );
    let all = authorizations(&server);
    assert!(!all.is_empty() && all.iter().all(|header| header.contains("Credential=FROMSTS/")), "{all:?}");
}

#[tokio::test]
async fn pod_identity_of_eks_signs_requests_to_s3() {
    let server = cloud().await;
    let names = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "SERVER/agent/v1/credentials"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "TOKEN"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
    ];
    let pod = pod("s3://bucket/m.onnx", &server, names);
    resolved(&pod.request).await.unwrap();
    assert_eq!(server.requests()[0].headers["authorization"], "hunter2");
    let all = authorizations(&server);
    assert!(
        all.iter().all(|header| header.contains("FROMAGENT/") && header.contains("/eu-central-1/")),
        "{all:?}"
    );
}

#[tokio::test]
async fn workload_identity_of_azure_authorizes_requests() {
    let server = cloud().await;
    let names = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_FEDERATED_TOKEN_FILE", "TOKEN"),
        ("AZURE_AUTHORITY_HOST", "SERVER/"),
    ];
    let pod = pod("az://container/m.onnx", &server, names);
    resolved(&pod.request).await.unwrap();
    let all = authorizations(&server);
    assert!(!all.is_empty() && all.iter().all(|header| header == "Bearer FROMENTRA"), "{all:?}");
}

#[tokio::test]
async fn identity_is_not_used_where_the_rules_do_not_allow_it() {
    let server = cloud().await;
    let mut pod = pod("s3://bucket/m.onnx", &server, ROLE);
    pod.request.connection.rules.instance_identity = false;
    resolved(&pod.request).await.unwrap();
    assert!(server.requests().iter().all(|request| !request.path.starts_with("/sts")));
    assert!(authorizations(&server).iter().all(String::is_empty));
}

#[tokio::test]
async fn keys_come_before_the_identity() {
    let server = cloud().await;
    let mut pod = pod("s3://bucket/m.onnx", &server, ROLE);
    pod.request.connection.credentials = credentials([
        ("AWS_ENDPOINT_URL", server.url("").as_str()),
        ("AWS_ACCESS_KEY_ID", "KEY"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
    ]);
    resolved(&pod.request).await.unwrap();
    assert!(authorizations(&server).iter().all(|header| header.contains("Credential=KEY/")));
}

#[tokio::test]
async fn identity_that_is_refused_says_what_to_check_and_not_what_was_answered() {
    let server = WebServer::start(|_| Reply::new(403, "hunter3")).await;
    let pod = pod("s3://bucket/m.onnx", &server, ROLE);
    let error = resolved(&pod.request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("IdentityUnavailable", Class::Missing), "{error}");
    let message = format!("{error} {error:?}");
    assert!(message.contains("trust policy") && message.contains("HTTP status 403"), "{message}");
    assert!(!message.contains("hunter"), "{message}");
}

#[tokio::test]
async fn token_file_that_is_not_there_is_named() {
    let server = cloud().await;
    let mut names = ROLE;
    names[1].1 = "/nowhere/token";
    let error = resolved(&pod("s3://bucket/m.onnx", &server, names).request).await.unwrap_err();
    assert_eq!(error.reason(), "IdentityUnavailable");
    assert!(error.to_string().contains("/nowhere/token cannot be read"), "{error}");
}

#[tokio::test]
async fn token_is_sent_to_no_address_that_is_refused() {
    let server = cloud().await;
    let mut names = ROLE;
    names[2].1 = "http://169.254.1.1/sts";
    let error = resolved(&pod("s3://bucket/m.onnx", &server, names).request).await.unwrap_err();
    assert_eq!(error.reason(), "AddressRefused", "{error}");
}
