//! The one HTTP client: every address checked, redirects bounded, nothing taken from the environment.

use std::net::SocketAddr;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use url::Url;

use super::failure::is_refusal;
use crate::credentials::CA_CERTIFICATE;
use crate::{AccessRules, Connection, Error};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the address of a name may take: shorter, so that a DNS that does not answer is told from a server that does not.
const NAME_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a server may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Hosts of metadata services, which only a store's own client asks, and only with `instance_identity`.
const METADATA_HOSTS: [&str; 5] =
    ["169.254.169.254", "169.254.170.2", "169.254.170.23", "metadata.google.internal", "[fd00:ec2::23]"];

/// Whoever names a source does not get to speak with the metadata service, whatever a store's own client may.
pub(super) fn web_rules(connection: &Connection) -> AccessRules {
    AccessRules { instance_identity: false, ..connection.rules }
}

/// A client that checks every address that a name resolves to, and follows no redirect: an object store must answer
/// itself, and redirects of web servers are followed by [`Web`](super::web::Web), which knows where the token may go.
pub(super) fn client(connection: &Connection, rules: AccessRules) -> Result<reqwest::Client, Error> {
    let authorities = authorities(connection)?;
    let builder = || {
        reqwest::Client::builder()
            .user_agent(concat!("modelwright/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(Resolver(rules))
    };
    builder()
        .tls_certs_merge(authorities.clone())
        .build()
        // A system without any trusted certificate (an empty image) is refused there; plain HTTP and stores whose
        // authority is given work without.
        .or_else(|_| builder().tls_certs_only(authorities).build())
        .map_err(|error| Error::Internal { detail: format!("no HTTP client can be made: {error}") })
}

/// The certificates of `ca.crt`.
fn authorities(connection: &Connection) -> Result<Vec<reqwest::Certificate>, Error> {
    let Some(pem) = connection.credentials.get(CA_CERTIFICATE) else { return Ok(Vec::new()) };
    match reqwest::Certificate::from_pem_bundle(pem.as_bytes()) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(Error::InvalidCredentials { problem: "ca.crt holds no PEM certificates".into() }),
    }
}

/// Resolves with the system's resolver and refuses a name if any of its addresses is forbidden.
struct Resolver(AccessRules);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let rules = self.0;
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::time::timeout(NAME_TIMEOUT, tokio::net::lookup_host((host, 0))).await?;
            let addresses: Vec<SocketAddr> = found?.collect();
            let identity = rules.instance_identity && METADATA_HOSTS.contains(&host);
            if !identity {
                for address in &addresses {
                    rules.check(host, address.ip())?;
                }
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Gives `object_store` our client instead of its own.
#[derive(Debug)]
pub(super) struct Connector {
    client: reqwest::Client,
    rules: AccessRules,
}

impl Connector {
    pub(super) fn new(connection: &Connection) -> Result<Self, Error> {
        Ok(Self { client: client(connection, connection.rules)?, rules: connection.rules })
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Guarded { client: self.client.clone(), rules: self.rules }))
    }
}

/// Checks literal addresses, which no resolver sees, and keeps refused requests from being tried again.
#[derive(Debug)]
struct Guarded {
    client: reqwest::Client,
    rules: AccessRules,
}

impl HttpService for Guarded {
    fn call<'life, 'future>(
        &'life self,
        request: HttpRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'future>>
    where
        'life: 'future,
        Self: 'future,
    {
        Box::pin(async move {
            // As the client will read it, which takes more spellings for an address (`2130706433`) than `http` does.
            let url = Url::parse(&request.uri().to_string())
                .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
            let host = url.host_str().unwrap_or_default();
            let identity = self.rules.instance_identity && METADATA_HOSTS.contains(&host);
            if !identity {
                let checked = self.rules.check_literal(host);
                checked.map_err(|refusal| HttpError::new(HttpErrorKind::Unknown, refusal))?;
            }
            self.client.call(request).await.map_err(|error| {
                if is_refusal(&error) { HttpError::new(HttpErrorKind::Unknown, error) } else { error }
            })
        })
    }
}

/// Checks the endpoint of an object store as it is written; what its name resolves to is checked when it is asked.
pub(super) fn check_endpoint(rules: AccessRules, endpoint: &str) -> Result<(), Error> {
    let refuse = |problem: &str| Error::InvalidCredentials {
        problem: format!("the endpoint is not usable: {problem}"),
    };
    let url = Url::parse(endpoint).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("it must begin with https:// or http://"));
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(refuse("it may not hold a user, a password, a query or a fragment"));
    }
    let host = url.host_str().ok_or_else(|| refuse("it names no host"))?;
    if METADATA_HOSTS.contains(&host) {
        return Err(refuse("it is a cloud's metadata service"));
    }
    rules.check_literal(host).map_err(|refusal| Error::AddressRefused {
        host: refusal.host,
        address: refusal.address,
        kind: refusal.kind,
    })
}

/// Checks who gets the pod's token: as the SDKs of AWS do, without TLS only the agents that clouds put on their nodes, and
/// this machine where that is allowed.
pub(super) fn check_token_endpoint(rules: AccessRules, endpoint: &str) -> Result<(), Error> {
    let url = Url::parse(endpoint).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let is_http = url.as_ref().is_some_and(|url| url.scheme() == "http");
    if is_http && METADATA_HOSTS.contains(&host) {
        return Ok(());
    }
    let is_loopback =
        host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_http && !is_loopback {
        return Err(Error::InvalidCredentials {
            problem: "AWS_CONTAINER_CREDENTIALS_FULL_URI must begin with https:// unless it is an agent on the node"
                .into(),
        });
    }
    check_endpoint(rules, endpoint)
}

#[cfg(test)]
mod tests {
    use object_store::client::HttpRequestBody;
    use rstest::rstest;

    use super::super::failure::of_transport;
    use super::*;

    #[rstest]
    #[case("http://2130706433/")]
    #[case("http://0x7f.1/")]
    #[case("http://127.1/")]
    #[case("http://[::1]/")]
    #[tokio::test]
    async fn every_spelling_of_an_address_is_checked_as_the_client_reads_it(#[case] uri: &str) {
        let connector = Connector::new(&Connection::default()).unwrap();
        let guarded = Guarded { client: connector.client, rules: AccessRules::CLUSTER };
        let request = http::Request::get(uri).body(HttpRequestBody::empty()).unwrap();
        let error = guarded.call(request).await.unwrap_err();
        assert!(is_refusal(&error), "{error:?}");
        assert_eq!(of_transport(&error, uri).reason(), "AddressRefused");
    }

    #[rstest]
    #[case("http://169.254.170.23/v1/credentials", None)]
    #[case("http://[fd00:ec2::23]/v1/credentials", None)]
    #[case("https://agent.example/v1", None)]
    #[case("http://agent.example/v1", Some("InvalidCredentials"))]
    #[case("http://10.0.0.1/v1", Some("InvalidCredentials"))]
    #[case("http://127.0.0.1/v1", Some("AddressRefused"))]
    #[case("https://169.254.1.1/v1", Some("AddressRefused"))]
    #[case("no uri", Some("InvalidCredentials"))]
    fn token_goes_without_tls_to_agents_on_the_node_only(#[case] uri: &str, #[case] reason: Option<&str>) {
        let checked = check_token_endpoint(AccessRules::CLUSTER, uri);
        assert_eq!(checked.err().map(|error| error.reason()), reason);
    }
}
