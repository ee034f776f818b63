//! With what a step asks a store: credentials of Secrets, the identity of a pod, and the addresses that it may ask.

use modelwright_api::contract::CREDENTIALS;
use serde_json::Value;

use crate::command::Workbench;
use crate::steps::resolve_from;
use crate::web::{Manner, Web};

#[test]
fn secret_that_is_missing_is_named_with_the_command_that_creates_it() {
    let bench = Workbench::new();
    let log = bench.path("log");
    let path = log.to_str().unwrap();
    let options = ["--credentials-secret", "store", "--termination-log", path];
    let outcome = resolve_from("s3://bucket/m", &options, &[("MODELWRIGHT_NAMESPACE", "team")]);
    let outcome = outcome.expect_code(66).outcome();
    assert_eq!(outcome["reason"], "SecretMissing");
    let message = outcome["message"].as_str().unwrap();
    for part in
        ["\"store\"", "namespace team", "kubectl create secret generic store", "AWS_SECRET_ACCESS_KEY"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(log).unwrap()).unwrap(), outcome);

    let model = format!("file:{}", bench.copy_fixture("add.onnx", "add.onnx").display());
    let copy = ["--copy-to", "gs://bucket/m", "--copy-to-secret", "target"];
    // A key of the source's Secret is none of the target's.
    let variables = [("GOOGLE_SERVICE_ACCOUNT_KEY", "{}")];
    let outcome = resolve_from(&model, &copy, &variables).expect_code(66).outcome();
    assert_eq!(outcome["reason"], "SecretMissing");
    assert!(outcome["message"].as_str().unwrap().contains("\"target\""), "{outcome}");
}

#[test]
fn denied_access_names_the_secret_that_was_used() {
    let web = Web::start(Vec::new(), Manner::Status("403 Forbidden"));
    let options = ["--credentials-secret", "store"];
    let outcome = resolve_from(&web.uri("m.onnx"), &options, &[("HTTP_BEARER_TOKEN", "hunter2")]);
    let outcome = outcome.expect_code(66).outcome();
    assert_eq!(outcome["reason"], "AccessDenied");
    let message = outcome["message"].as_str().unwrap();
    assert!(
        message.ends_with("they come from the Secret \"store\"") && !message.contains("hunter2"),
        "{message}"
    );
    let outcome = resolve_from(&web.uri("m.onnx"), &[], &[]).expect_code(66).outcome();
    assert!(outcome["message"].as_str().unwrap().contains("credentialsSecretRef"), "{outcome}");
}

#[test]
fn credentials_of_the_contract_are_those_that_are_read() {
    assert_eq!(CREDENTIALS, modelwright_artifact::CREDENTIAL_NAMES);
}

#[test]
fn private_addresses_are_refused_where_that_is_asked_for() {
    // Refused before anything is sent.
    let outcome =
        resolve_from("http://10.255.255.1/m.onnx", &["--refuse-private"], &[]).expect_code(64).outcome();
    assert_eq!(outcome["reason"], "AddressRefused");
    assert!(outcome["message"].as_str().unwrap().contains("private"), "{outcome}");
}

#[test]
fn identity_of_the_pod_is_used_only_where_that_is_asked_for() {
    let bench = Workbench::new();
    let token = bench.write("token", "hunter2");
    let web = Web::start(Vec::new(), Manner::Status("403 Forbidden"));
    let (store, agent) = (web.uri(""), web.uri("v1/credentials"));
    let variables = [
        ("AWS_ENDPOINT_URL", store.as_str()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
    ];
    let outcome = resolve_from("s3://bucket/m.onnx", &["--instance-identity"], &variables);
    let outcome = outcome.expect_code(66).outcome();
    assert_eq!(outcome["reason"], "IdentityUnavailable", "{outcome}");
    assert!(outcome["message"].as_str().unwrap().contains("EKS Pod Identity"), "{outcome}");
    let outcome = resolve_from("s3://bucket/m.onnx", &[], &variables).expect_code(66).outcome();
    assert_eq!(outcome["reason"], "AccessDenied", "{outcome}");

    let port = agent.split('/').nth(2).unwrap();
    let google = [("GCE_METADATA_HOST", port), ("GCE_METADATA_IP", port)];
    let outcome = resolve_from("gs://bucket/m.onnx", &["--instance-identity"], &google);
    let outcome = outcome.expect_code(66).outcome();
    assert_eq!(outcome["reason"], "IdentityUnavailable", "{outcome}");
    assert!(outcome["message"].as_str().unwrap().contains("iam.gke.io"), "{outcome}");
}
