//! Who may send requests: keys, tokens, limits, TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use modelwright_server::{
    Access, AccessConfig, AccessError, ClientLimits, Documents, Fetching, JwtConfig, ServerConfig,
};
use reqwest::RequestBuilder;
use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::{ADD, Answer, ENDLESS, TestServer, answer, client, config, slow, until};

const INFER: &str = "/v2/models/add/infer";

fn hash(key: &str) -> String {
    use sha2::Digest as _;
    let digits =
        sha2::Sha256::digest(key).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    format!("sha256:{digits}")
}

fn write(folder: &TempDir, name: &str, text: &str) {
    // In one step, as a kubelet does it: what is half written would be read, too. Such names are passed over.
    let new = folder.path().join("..new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.path().join(name)).unwrap();
}

/// A folder with a key for each of these clients: the client's name and `-key`.
pub(crate) fn keys(clients: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for client in clients {
        write(&folder, client, &hash(&format!("{client}-key")));
    }
    folder
}

pub(crate) fn with_keys(folder: &Path) -> AccessConfig {
    AccessConfig {
        api_keys: Some(folder.to_owned()),
        reload_every: Duration::from_millis(10),
        ..AccessConfig::default()
    }
}

pub(crate) async fn start(access: AccessConfig, models: &[&str]) -> TestServer {
    let access = Some(Access::open(access).await.unwrap());
    TestServer::start_with(ServerConfig { access, ..config() }, models).await
}

impl TestServer {
    fn infer(&self) -> RequestBuilder {
        self.client.post(self.url(INFER)).body(ADD)
    }

    async fn with_key(&self, key: &str) -> Answer {
        self.send(self.infer().bearer_auth(key)).await
    }
}

#[tokio::test]
async fn only_clients_with_a_key_are_answered() {
    let folder = keys(&["shop", "lab"]);
    let server = start(with_keys(folder.path()), &["add"]).await;
    assert_eq!(server.with_key("shop-key").await.status, 200);
    assert_eq!(server.send(server.infer().header("X-API-Key", "lab-key")).await.status, 200);

    let nothing = server.send(server.infer()).await;
    assert_eq!((nothing.status, nothing.header("www-authenticate")), (401, "Bearer"));
    assert_eq!(
        nothing.error(),
        "this server answers known clients only: send your key as Authorization: Bearer or X-API-Key"
    );
    for wrong in [
        server.infer().bearer_auth("shop"),
        server.infer().header("X-API-Key", "lab"),
        server.infer().bearer_auth(hash("shop-key")),
    ] {
        let wrong = server.send(wrong).await;
        assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, "Bearer error=\"invalid_token\""));
        assert_eq!(wrong.error(), "the key is not known");
    }
    let basic = server.send(server.infer().basic_auth("shop", Some("shop-key"))).await;
    assert_eq!((basic.status, basic.header("www-authenticate")), (401, "Bearer"));
    server.stop().await;
}

#[tokio::test]
async fn strangers_learn_nothing_but_health() {
    let folder = keys(&["shop"]);
    let server = start(with_keys(folder.path()), &["add"]).await;
    for path in ["/v2", "/v2/models/add", "/v2/models/none", "/v1/models", "/nothing", "/v2/health/live/"] {
        assert_eq!(server.get(path).await.status, 401, "{path}");
    }
    for path in ["/v2/health/live", "/v2/health/ready"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    assert_eq!(server.admin("/readyz").await.status, 200);
    let metrics = server.admin("/metrics").await.body;
    assert!(!metrics.contains("shop"), "no names of clients in metrics: {metrics}");
    server.stop().await;
}

#[tokio::test]
async fn keys_change_while_the_server_runs() {
    let folder = keys(&["shop"]);
    let server = start(with_keys(folder.path()), &["add"]).await;
    // Both, for as long as the client takes to change.
    write(&folder, "shop", &format!("{}\n{}\n", hash("shop-key"), hash("new-key")));
    until(async || server.with_key("new-key").await.status == 200).await;
    assert_eq!(server.with_key("shop-key").await.status, 200);
    write(&folder, "shop", &hash("new-key"));
    until(async || server.with_key("shop-key").await.status == 401).await;
    // Broken: nothing changes, not even what is right in it.
    write(&folder, "lab", &hash("lab-key"));
    write(&folder, "shop", "new-key");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.with_key("new-key").await.status, 200);
    std::fs::remove_file(folder.path().join("shop")).unwrap();
    until(async || server.with_key("lab-key").await.status == 200).await;
    assert_eq!(server.with_key("new-key").await.status, 401);
    server.stop().await;
}

#[tokio::test]
async fn clients_that_ask_too_often_wait_and_others_do_not() {
    let folder = keys(&["shop", "lab"]);
    let limits = ClientLimits { requests_per_second: Some(1), burst: Some(3), ..ClientLimits::default() };
    let server = start(AccessConfig { limits, ..with_keys(folder.path()) }, &["add"]).await;
    for _ in 0..3 {
        assert_eq!(server.with_key("shop-key").await.status, 200);
    }
    let refused = server.with_key("shop-key").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.error(), "too many requests of this client: slow down");
    assert_eq!(server.with_key("lab-key").await.status, 200);
    assert_eq!(server.get("/v2/health/ready").await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn requests_in_progress_are_bounded_by_client_until_their_answers_have_left() {
    let folder = keys(&["shop", "lab"]);
    let limits = ClientLimits { concurrent_requests: Some(1), ..ClientLimits::default() };
    let server = start(AccessConfig { limits, ..with_keys(folder.path()) }, &["add", "slow"]).await;
    let endless =
        server.client.post(server.url("/v2/models/slow/infer")).bearer_auth("shop-key").body(slow(ENDLESS));
    let running = tokio::spawn(async move { endless.send().await.map(|response| response.status()) });
    until(async || server.load_of("slow").running == 1).await;
    let refused = server.with_key("shop-key").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "1"));
    assert_eq!(
        refused.error(),
        "this client has 1 requests in progress, as many as it may: wait for their answers"
    );
    assert_eq!(server.with_key("lab-key").await.status, 200);
    running.abort();
    // The client went away, and with it what it asked for.
    until(async || server.with_key("shop-key").await.status == 200).await;
    server.stop().await;
}

#[rstest]
#[case(&[], "there are no keys of clients in")]
#[case(&[("shop", "shop-key")], "shop: line 1: it is no hash of a key")]
#[tokio::test]
async fn a_server_does_not_start_without_keys(#[case] files: &[(&str, &str)], #[case] says: &str) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(&folder, name, text);
    }
    let error = Access::open(with_keys(folder.path())).await.unwrap_err().to_string();
    assert!(error.contains(says) && !error.contains("shop-key"), "{error}");
}

/// A certificate for `localhost` of its own, written as the Secret has it.
fn certificate(folder: &TempDir) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(folder, "tls.crt", &made.cert.pem());
    write(folder, "tls.key", &made.signing_key.serialize_pem());
    made.cert.der().clone()
}

fn with_tls(folder: &Path) -> AccessConfig {
    AccessConfig {
        tls: Some(folder.to_owned()),
        reload_every: Duration::from_millis(10),
        ..AccessConfig::default()
    }
}

fn connector(trusted: &CertificateDer<'static>, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Whether a new connection is trusted, and what is spoken on it.
async fn shake_hands(
    server: &TestServer,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> Option<String> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector(trusted, protocols).connect(name, server.connect().await).await.ok()?;
    Some(String::from_utf8(stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec()).unwrap())
}

#[tokio::test]
async fn the_data_port_speaks_tls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let trusted = certificate(&folder);
    let server = start(with_tls(folder.path()), &["add"]).await;
    let url = format!("https://localhost:{}{INFER}", server.data.port());
    let https = || client().tls_certs_only([reqwest::Certificate::from_der(&trusted).unwrap()]);
    let asked = https().build().unwrap().post(&url).body(ADD).send().await.unwrap();
    assert_eq!((asked.version(), asked.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    let asked = https().http1_only().build().unwrap().post(&url).body(ADD).send().await.unwrap();
    assert_eq!(asked.version(), reqwest::Version::HTTP_11);
    assert_eq!(answer(asked).await.json()["outputs"][0]["data"], json!([11.0, 22.5]));
    assert_eq!(shake_hands(&server, &trusted, &["http/1.1", "h2"]).await.as_deref(), Some("h2"));
    assert_eq!(shake_hands(&server, &trusted, &[]).await.as_deref(), Some(""));

    let plain = server.raw(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!plain.contains("HTTP/1.1"), "{plain}");
    assert_eq!(server.admin("/readyz").await.status, 200, "probes need no certificate");
    server.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_for_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    let first = certificate(&folder);
    let server = start(with_tls(folder.path()), &["add"]).await;
    let name = ServerName::try_from("localhost").unwrap();
    let mut held = connector(&first, &[]).connect(name, server.connect().await).await.unwrap();

    let second = certificate(&folder);
    until(async || shake_hands(&server, &second, &[]).await.is_some()).await;
    assert_eq!(shake_hands(&server, &first, &[]).await, None);
    write(&folder, "tls.key", "no key");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(shake_hands(&server, &second, &[]).await.is_some(), "a broken one changes nothing");

    held.write_all(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    // Servers may leave out the goodbye of TLS.
    drop(held.read_to_string(&mut text).await);
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_a_handshake_lying_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    certificate(&folder);
    let access = Some(Access::open(with_tls(folder.path())).await.unwrap());
    let mut config = ServerConfig { access, ..config() };
    config.bounds.header_read_timeout = Duration::from_millis(200);
    let server = TestServer::start_with(config, &[]).await;
    // The beginning of a client's hello: a record of 512 bytes, of which 60 come.
    let mut hello = vec![22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
    hello.extend([7; 49]);
    assert_eq!(server.raw(&hello).await, "");
    server.stop().await;
}

#[rstest]
#[case(None, None, "has no tls.crt")]
#[case(Some("no certificate"), Some("no key"), "tls.crt: it holds no PEM certificates")]
#[case(Some("ok"), Some("no key"), "tls.key: it holds no PEM private key")]
#[case(Some("other"), Some("ok"), "certificate and key do not belong together")]
#[tokio::test]
async fn a_server_does_not_start_without_a_certificate(
    #[case] chain: Option<&str>,
    #[case] key: Option<&str>,
    #[case] says: &str,
) {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificate(&folder);
    certificate(&other);
    for (name, text) in [("tls.crt", chain), ("tls.key", key)] {
        match text {
            Some("ok") => {}
            Some("other") => {
                std::fs::copy(other.path().join(name), folder.path().join(name)).unwrap();
            }
            Some(text) => write(&folder, name, text),
            None => std::fs::remove_file(folder.path().join(name)).unwrap(),
        }
    }
    let error = Access::open(with_tls(folder.path())).await.unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
}

/// Fetches without asking whether it may, which is the caller's part.
#[derive(Debug)]
struct Fetcher(reqwest::Client);

impl Documents for Fetcher {
    fn get<'a>(&'a self, url: &'a str, _at_most: usize) -> Fetching<'a> {
        Box::pin(async move {
            let response = self.0.get(url).send().await.map_err(|error| error.to_string())?;
            response.bytes().await.map_err(|error| error.to_string())
        })
    }
}

/// An issuer on loopback that publishes one key.
async fn issuer(jwk: Jwk) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = format!("http://{}", listener.local_addr().unwrap());
    let issuer = name.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = stream.read(&mut head).await.unwrap_or(0);
            let discovery = head[..length].starts_with(b"GET /.well-known/openid-configuration ");
            let body = if discovery {
                json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}).to_string()
            } else {
                json!({ "keys": [jwk] }).to_string()
            };
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            drop(stream.write_all((head + &body).as_bytes()).await);
        }
    });
    name
}

fn with_issuer(issuer: &str) -> AccessConfig {
    let documents = Arc::new(Fetcher(client().build().unwrap()));
    let jwt = JwtConfig {
        issuer: issuer.to_owned(),
        audiences: vec!["models".to_owned()],
        jwks_uri: None,
        documents,
    };
    AccessConfig { jwt: Some(jwt), ..AccessConfig::default() }
}

#[tokio::test]
async fn a_token_of_the_issuer_is_as_good_as_a_key() {
    let der = rcgen::KeyPair::generate().unwrap().serialize_der();
    let key = EncodingKey::from_ec_der(&der);
    let name = issuer(Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap()).await;
    let token = |audience: &str, subject: &str| {
        let claims = json!({"iss": name, "aud": audience, "sub": subject, "exp": 4_102_444_800_u64});
        encode(&Header::new(Algorithm::ES256), &claims, &key).unwrap()
    };
    let folder = keys(&["shop"]);
    let limits = ClientLimits { requests_per_second: Some(1), burst: Some(1), ..ClientLimits::default() };
    let access = AccessConfig { limits, ..with_issuer(&name) };
    let server = start(AccessConfig { api_keys: Some(folder.path().to_owned()), ..access }, &["add"]).await;

    assert_eq!(server.with_key(&token("models", "shop")).await.status, 200);
    assert_eq!(
        server.with_key("shop-key").await.status,
        200,
        "a key and a subject of one name are two clients"
    );
    assert_eq!(server.with_key(&token("models", "shop")).await.status, 429);
    let wrong = server.with_key(&token("elsewhere", "shop")).await;
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, "Bearer error=\"invalid_token\""));
    assert_eq!(wrong.error(), "the token is for another audience");
    let both = server.infer().bearer_auth(token("elsewhere", "shop")).header("X-API-Key", "shop-key");
    assert_eq!(server.send(both).await.status, 429, "either of the two is enough");
    let nothing = server.send(server.infer()).await;
    assert!(nothing.error().contains("your key or token"), "{nothing:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_server_does_not_start_without_the_issuer_s_keys() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = Access::open(with_issuer(&gone)).await.unwrap_err();
    assert!(matches!(error, AccessError::IssuerUnreachable { .. }), "{error}");
}
