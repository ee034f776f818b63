//! Who may send requests to the data port: keys, tokens, limits for each client, and TLS.
//!
//! [`Access::open`] reads everything once and fails if something is missing; afterwards a thread of its own reads files again
//! when they change and asks the issuer for its keys now and then. What cannot be read then is logged, and what was there
//! before holds on.
//!
//! * `credentials`: what a request shows. `keys`, `token`, `issuer`: whether that is known.
//! * `limits`: what each client may ask. `denial`: why a request is turned away.
//! * `tls`: the port's certificate. `files`: files that change.

mod credentials;
mod denial;
mod error;
mod files;
mod issuer;
mod keys;
mod limits;
mod tls;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use tokio::sync::oneshot;
use tokio_rustls::rustls::sign::CertifiedKey;

use self::credentials::Presented;
pub(crate) use self::denial::Denial;
pub use self::error::AccessError;
use self::files::Files;
use self::issuer::Issuer;
pub use self::issuer::{Documents, Fetching};
use self::keys::KeyTable;
pub use self::limits::ClientLimits;
use self::limits::{Limiter, Slot};
pub(crate) use self::tls::{MaybeTls, Tls};
use self::token::Tokens;

/// Paths that need no credentials: load balancers ask them, and have none.
const OPEN: [&str; 7] = [
    "/",
    "/v2/health/live",
    "/v2/health/ready",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
];

/// Who may send requests, and how.
#[derive(Debug)]
pub struct AccessConfig {
    /// The hashes of clients' keys: a folder with one file for each client, named like it, or one file with lines
    /// `CLIENT=sha256:…`.
    pub api_keys: Option<PathBuf>,
    /// Whose tokens are taken.
    pub jwt: Option<JwtConfig>,
    /// What each client may ask.
    pub limits: ClientLimits,
    /// A folder with `tls.crt` and `tls.key`. With it the data port speaks TLS and nothing else.
    pub tls: Option<PathBuf>,
    /// How often files are looked at. Default 5 s.
    pub reload_every: Duration,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            api_keys: None,
            jwt: None,
            limits: ClientLimits::default(),
            tls: None,
            reload_every: Duration::from_secs(5),
        }
    }
}

/// Whose tokens are taken.
#[derive(Debug)]
pub struct JwtConfig {
    /// What tokens must have as `iss`.
    pub issuer: String,
    /// What tokens must have in `aud`: one of these.
    pub audiences: Vec<String>,
    /// Where the issuer's keys are; without it, where OIDC discovery says.
    pub jwks_uri: Option<String>,
    /// What fetches the issuer's documents.
    pub documents: Arc<dyn Documents>,
}

/// Decides about requests, and holds the port's certificate. Dropping it ends its thread.
#[derive(Debug)]
pub struct Access {
    keys: Option<Arc<Files<KeyTable>>>,
    tokens: Option<Tokens>,
    limiter: Option<Arc<Limiter>>,
    tls: Option<Tls>,
    _stop: oneshot::Sender<()>,
}

/// A request that may go on. It counts against its client's limit until this is dropped, which must not be before its answer
/// has left.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    _slot: Option<Slot>,
}

impl Access {
    /// Reads keys and certificate, fetches the issuer's keys, and starts to watch them.
    pub async fn open(config: AccessConfig) -> Result<Arc<Self>, AccessError> {
        let keys = config.api_keys.map(keys::open).transpose()?.map(Arc::new);
        let certificate = config.tls.map(|path| Files::open(path, tls::parse)).transpose()?.map(Arc::new);
        let (issuer, tokens) = match config.jwt {
            None => (None, None),
            Some(jwt) => {
                let issuer = Arc::new(Issuer::open(jwt.issuer, jwt.jwks_uri, jwt.documents).await?);
                (Some(Arc::clone(&issuer)), Some(Tokens::new(issuer, jwt.audiences)))
            }
        };
        let tls = certificate.as_ref().map(|certificate| Tls::new(Arc::clone(certificate))).transpose()?;
        let (stop, stopped) = oneshot::channel();
        let watched = Watched { keys: keys.clone(), certificate, issuer, every: config.reload_every };
        watched.start(stopped)?;
        let limiter = config.limits.any().then(|| Arc::new(Limiter::new(config.limits)));
        Ok(Arc::new(Self { keys, tokens, limiter, tls, _stop: stop }))
    }

    /// `http` or `https`.
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    pub(crate) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Decides about a request, of any protocol, before its body is read.
    pub(crate) async fn admit(&self, path: &str, headers: &HeaderMap) -> Result<Admitted, Denial> {
        let open = self.keys.is_none() && self.tokens.is_none();
        if open || OPEN.contains(&path) {
            return Ok(Admitted::default());
        }
        let client = self.client(headers).await?;
        let slot = self.limiter.as_ref().map(|limiter| limiter.take(&client, Instant::now())).transpose();
        // The name, never what the client showed.
        let slot = slot.inspect_err(|denial| tracing::debug!(%client, "refused: {}", denial.message()))?;
        Ok(Admitted { _slot: slot })
    }

    /// Who a request is from: a key that is known, or a valid token.
    async fn client(&self, headers: &HeaderMap) -> Result<Arc<str>, Denial> {
        let shown = Presented::read(headers)?;
        if let Some(keys) = &self.keys {
            let table = keys.current();
            let known = [shown.api_key, shown.bearer].into_iter().flatten().find_map(|key| table.client(key));
            if let Some(client) = known {
                return Ok(client);
            }
        }
        if let (Some(tokens), Some(token)) = (&self.tokens, shown.bearer)
            && (self.keys.is_none() || token::is_token(token))
        {
            return tokens.verify(token).await.map_err(Denial::Invalid);
        }
        let key_counts = self.keys.is_some() && shown.api_key.is_some();
        if key_counts || shown.bearer.is_some() {
            return Err(Denial::Invalid("the key is not known"));
        }
        Err(Denial::Missing { keys: self.keys.is_some(), tokens: self.tokens.is_some() })
    }
}

/// What may change while the server runs.
struct Watched {
    keys: Option<Arc<Files<KeyTable>>>,
    certificate: Option<Arc<Files<CertifiedKey>>>,
    issuer: Option<Arc<Issuer>>,
    every: Duration,
}

impl Watched {
    /// Starts a thread with a runtime of its own: reading files blocks, and whatever threads answer requests need not know.
    fn start(self, stopped: oneshot::Receiver<()>) -> Result<(), AccessError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(AccessError::Thread)?;
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    // Completes when the other end is dropped.
                    _ = stopped => {}
                    ((), ()) = async { tokio::join!(self.reload_files(), self.refresh_keys()) } => {}
                }
            });
        };
        std::thread::Builder::new().name("access".to_owned()).spawn(run).map_err(AccessError::Thread)?;
        Ok(())
    }

    async fn reload_files(&self) {
        loop {
            tokio::time::sleep(self.every).await;
            if let Some(keys) = &self.keys {
                keys.reload();
            }
            if let Some(certificate) = &self.certificate {
                certificate.reload();
            }
        }
    }

    async fn refresh_keys(&self) {
        match &self.issuer {
            Some(issuer) => issuer.keep_fresh().await,
            None => std::future::pending().await,
        }
    }
}
