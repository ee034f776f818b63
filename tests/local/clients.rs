//! Who may call a model: keys, TLS, and what is said where they are missing.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::command::{Finished, Serving, Workbench, finish, http, manifest_with, modelwright};
use crate::steps::{ended, serve_fetched};

/// What `hash-key --stdin` says of a key.
fn hash(key: &str) -> Finished {
    let mut command = modelwright();
    command.args(["hash-key", "--stdin"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn hash_key_makes_a_key_or_hashes_one() {
    let made = finish(modelwright().arg("hash-key"));
    made.expect_code(0);
    let key = made.stderr.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
    assert!(!made.stdout.contains(key) && made.stdout.starts_with("sha256:"), "{}", made.stdout);
    let again = hash(&format!("{key}\n"));
    assert_eq!(again.expect_code(0).stdout, made.stdout);
    hash("hunter2").expect_code(64).expect_error(&["20 to 1024 characters"]);
}

/// A bench with the model `add`, keys in `clients.env` and a certificate in `tls`.
fn bench(key: &str) -> (Workbench, String) {
    let bench = Workbench::new();
    let model = bench.copy_fixture("add.onnx", "add.onnx");
    bench.write("clients.env", format!("shop={}", hash(key).expect_code(0).stdout));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    bench.write("tls/tls.crt", made.cert.pem());
    bench.write("tls/tls.key", made.signing_key.serialize_pem());
    let manifest = manifest_with(
        "add",
        &format!(
            "source: {{uri: 'file:{}'}}\n  serving: {{access: {{apiKeys: {{secretRef: {{name: clients}}}}, tls: {{secretRef: {{name: \
             cert}}}}}}}}",
            model.display()
        ),
    );
    (bench, manifest)
}

fn secret(bench: &Workbench, name: &str, path: &str) -> String {
    format!("{name}={}", bench.path(path).display())
}

const KEY: &str = "a-key-that-is-long-enough";

#[test]
fn run_answers_the_clients_of_its_manifest_over_tls() {
    let (bench, manifest) = bench(KEY);
    let mut command = bench.run_command(&manifest);
    command.args(["--secret", &secret(&bench, "clients", "clients.env")]);
    command.args(["--secret", &secret(&bench, "cert", "tls")]);
    let mut serving = Serving::start(&mut command, 1);
    assert!(serving.url().starts_with("https://"), "{}", serving.url());
    let curl = serving.line_starting_with("curl ");
    let answer = |key: &str| {
        let output = Command::new("sh").env("KEY", key).args(["-c", &curl]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str::<serde_json::Value>(&text)
            .unwrap_or_else(|error| panic!("{error}: {curl}: {text}"))
    };
    assert_eq!(answer(KEY)["model_name"], "add");
    assert_eq!(answer("another-key-that-is-long")["error"], "the key is not known");
    let admin = serving.line_starting_with("admin ").replace("admin ", "");
    assert_eq!(http("GET", &format!("{admin}/readyz"), None).0, 200);
    let finished = serving.terminate();
    finished.expect_code(0);
    assert!(!finished.stderr.contains(KEY), "{}", finished.stderr);
}

#[test]
fn run_without_the_secrets_of_access_says_what_to_pass() {
    let (bench, manifest) = bench(KEY);
    bench.run_once(&manifest).expect_code(66).expect_error(&["--secret clients=PATH", "CLIENT=sha256:…"]);
    let mut command = bench.run_command(&manifest);
    command.args(["--secret", &secret(&bench, "clients", "clients.env")]);
    finish(&mut command).expect_code(66).expect_error(&["--secret cert=FOLDER", "tls.crt and tls.key"]);
    // The other way round.
    command.args(["--secret", &secret(&bench, "cert", "clients.env")]);
    finish(&mut command).expect_code(66).expect_error(&["has no tls.crt"]);
}

#[test]
fn models_of_one_endpoint_have_one_access() {
    let (bench, manifest) = bench(KEY);
    let uri = format!("file:{}", bench.path("add.onnx").display());
    let other = manifest_with("open", &format!("source: {{uri: {uri:?}}}"));
    bench
        .run_once(&format!("{manifest}---\n{other}"))
        .expect_code(64)
        .expect_error(&["\"add\" and \"open\" have different spec.serving.access"]);
}

#[test]
fn serve_without_its_keys_or_its_issuer_says_why() {
    let bench = Workbench::new();
    let mut command = serve_fetched(&bench, "add.onnx");
    command.arg("--api-keys").arg(bench.path("none"));
    let outcome = ended(&bench, &mut command, 66);
    assert_eq!(outcome["reason"], "SecretMissing");
    assert!(outcome["message"].as_str().unwrap().contains("serving.access.apiKeys"), "{outcome}");

    let mut command = serve_fetched(&bench, "add.onnx");
    command.args(["--jwt-issuer", "https://127.0.0.1:9", "--jwt-audience", "m"]);
    let outcome = ended(&bench, &mut command, 69);
    assert_eq!(outcome["reason"], "IssuerUnreachable");
    assert!(outcome["message"].as_str().unwrap().contains("a loopback address"), "{outcome}");

    let mut command = serve_fetched(&bench, "add.onnx");
    bench.write("keys/shop", KEY);
    command.arg("--api-keys").arg(bench.path("keys"));
    let outcome = ended(&bench, &mut command, 64);
    assert_eq!(outcome["reason"], "ApiKeysInvalid");
    let message = outcome["message"].as_str().unwrap();
    assert!(message.contains("keys/shop: line 1") && !message.contains(KEY), "{outcome}");
}
