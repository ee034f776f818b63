//! Who may call the models of `serve` and `run`: from arguments and manifests to what the server takes.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use modelwright_api::serving::access::Jwt;
use modelwright_artifact::{AccessRules, read_document};
use modelwright_server::{Access, AccessConfig, ClientLimits, Documents, Fetching, JwtConfig};

use crate::failure::Failure;

/// Who may call the model, and over what. Without these options: everybody, without TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArguments {
    /// The hashes of clients' keys, as `modelwright hash-key` prints them: a folder with one file for each client, or a file
    /// with lines `CLIENT=sha256:…`. Changes take effect without a restart.
    #[arg(long, value_name = "PATH")]
    pub(crate) api_keys: Option<PathBuf>,
    /// Take the tokens (JWT) of this OIDC issuer.
    #[arg(long, value_name = "URL", requires = "jwt_audience")]
    pub(crate) jwt_issuer: Option<String>,
    /// Whom tokens must be for. May be repeated; one is enough.
    #[arg(long, value_name = "AUDIENCE", requires = "jwt_issuer")]
    pub(crate) jwt_audience: Vec<String>,
    /// Where the issuer's keys are [default: where its discovery document says].
    #[arg(long, value_name = "URL", requires = "jwt_issuer")]
    pub(crate) jwks_uri: Option<String>,
    /// Requests per second that each client may send, on average.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) client_requests_per_second: Option<u32>,
    /// Requests that each client may send at once after a pause [default: those of a second].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "client_requests_per_second")]
    pub(crate) client_burst: Option<u32>,
    /// Requests of each client that may be in progress at the same time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) client_concurrent_requests: Option<u32>,
    /// A folder with `tls.crt` and `tls.key`: speak TLS and nothing else. A renewed certificate needs no restart.
    #[arg(long, value_name = "DIR")]
    pub(crate) tls: Option<PathBuf>,
    /// Refuse an issuer, and a sink of payloads, on a private network, too.
    #[arg(long)]
    pub(crate) refuse_private: bool,
    /// Allow an issuer, and a sink of payloads, on this machine, and an issuer without TLS.
    #[arg(long)]
    pub(crate) allow_loopback: bool,
}

impl AccessArguments {
    /// Which addresses may be asked.
    pub(crate) fn rules(&self) -> AccessRules {
        AccessRules { loopback: self.allow_loopback, private: !self.refuse_private, ..AccessRules::CLUSTER }
    }

    /// What the server takes; nothing where no option is given.
    pub(crate) fn config(&self) -> Result<Option<AccessConfig>, Failure> {
        let rules = self.rules();
        let limits = ClientLimits {
            requests_per_second: self.client_requests_per_second,
            burst: self.client_burst,
            concurrent_requests: self.client_concurrent_requests,
        };
        let knows_clients = self.api_keys.is_some() || self.jwt_issuer.is_some();
        if limits != ClientLimits::default() && !knows_clients {
            return Err(Failure::invalid_arguments(
                "limits count by client, and none is known: give --api-keys or --jwt-issuer, too",
            ));
        }
        let jwt = self.jwt_issuer.as_ref().map(|issuer| JwtConfig {
            issuer: issuer.clone(),
            audiences: self.jwt_audience.clone(),
            jwks_uri: self.jwks_uri.clone(),
            documents: Arc::new(Web(rules)),
        });
        let config = AccessConfig {
            api_keys: self.api_keys.clone(),
            jwt,
            limits,
            tls: self.tls.clone(),
            ..AccessConfig::default()
        };
        Ok((knows_clients || config.tls.is_some()).then_some(config))
    }
}

/// Of a manifest, for one machine.
pub(crate) fn jwt(written: &Jwt) -> JwtConfig {
    JwtConfig {
        issuer: written.issuer.clone(),
        audiences: written.audiences.iter().map(|audience| audience.0.clone()).collect(),
        jwks_uri: written.jwks_uri.clone(),
        documents: Arc::new(Web(AccessRules::LOCAL)),
    }
}

/// Opens what is configured, if anything is.
pub(crate) async fn open(config: Option<AccessConfig>) -> Result<Option<Arc<Access>>, Failure> {
    match config {
        None => Ok(None),
        Some(config) => Ok(Some(Access::open(config).await?)),
    }
}

/// `http` or `https`.
pub(crate) fn scheme(access: Option<&Arc<Access>>) -> &'static str {
    access.map_or("http", |access| access.scheme())
}

/// The issuer's documents, under the rules for addresses that hold for sources as well.
#[derive(Debug)]
struct Web(AccessRules);

impl Documents for Web {
    fn get<'a>(&'a self, url: &'a str, at_most: usize) -> Fetching<'a> {
        Box::pin(async move {
            // Keys that come without TLS are anybody's keys.
            if !url.starts_with("https://") && !self.0.loopback {
                return Err(format!("{url} has no TLS; write https://"));
            }
            read_document(url, self.0, at_most).await.map_err(|error| error.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        access: AccessArguments,
    }

    fn config(arguments: &[&str]) -> Result<Option<AccessConfig>, String> {
        let line =
            Line::try_parse_from(["serve"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        line.access.config().map_err(|failure| failure.message)
    }

    #[test]
    fn without_options_everybody_may_call() {
        assert!(config(&[]).unwrap().is_none());
        assert!(config(&["--allow-loopback"]).unwrap().is_none());
    }

    #[test]
    fn every_option_reaches_the_server() {
        let config = config(&[
            "--api-keys=/k",
            "--jwt-issuer=https://id.example.com",
            "--jwt-audience=a",
            "--jwt-audience=-b",
            "--jwks-uri=https://id.example.com/keys",
            "--client-requests-per-second=5",
            "--client-burst=9",
            "--client-concurrent-requests=2",
            "--tls=/t",
        ])
        .unwrap()
        .unwrap();
        let jwt = config.jwt.unwrap();
        assert_eq!((config.api_keys, config.tls), (Some("/k".into()), Some("/t".into())));
        assert_eq!(
            (jwt.issuer.as_str(), jwt.audiences),
            ("https://id.example.com", vec!["a".to_owned(), "-b".to_owned()])
        );
        assert_eq!(jwt.jwks_uri.as_deref(), Some("https://id.example.com/keys"));
        let limits =
            ClientLimits { requests_per_second: Some(5), burst: Some(9), concurrent_requests: Some(2) };
        assert_eq!(config.limits, limits);
    }

    #[test]
    fn options_without_effect_are_refused() {
        assert!(config(&["--jwt-issuer=https://i"]).unwrap_err().contains("--jwt-audience"));
        assert!(config(&["--jwks-uri=https://i/k"]).unwrap_err().contains("--jwt-issuer"));
        assert!(
            config(&["--api-keys=/k", "--client-burst=2"])
                .unwrap_err()
                .contains("--client-requests-per-second")
        );
        assert!(
            config(&["--tls=/t", "--client-concurrent-requests=2"]).unwrap_err().contains("none is known")
        );
    }

    #[tokio::test]
    async fn keys_come_over_tls_and_not_from_where_nobody_may_ask() {
        for (url, says) in [
            ("http://127.0.0.1:9/keys", "has no TLS"),
            ("https://127.0.0.1:9/keys", "a loopback address"),
            ("https://169.254.169.254/keys", "metadata"),
            ("https://a:b@127.0.0.1/keys", "without a user or password"),
        ] {
            let error = Web(AccessRules::CLUSTER).get(url, 100).await.unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
