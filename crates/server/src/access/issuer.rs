//! An issuer's keys: found by OIDC discovery, kept while the issuer is away, and asked for again when a token names
//! one that is not known.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use super::AccessError;

/// How often keys are fetched without a reason.
const REFRESH: Duration = Duration::from_mins(5);
/// Unknown keys are a reason at most this often: whoever makes tokens up must not make the issuer busy.
const LEAST_PAUSE: Duration = Duration::from_secs(10);
/// How long discovery and keys may take together.
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a token with an unknown key waits for that.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest document.
const MAX_BYTES: usize = 256 << 10;
/// The most keys: each of those without a name is tried.
const MAX_KEYS: usize = 32;

/// A document on its way; the error is a sentence.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send + 'a>>;

/// Fetches documents. The caller of this crate decides which addresses may be asked.
pub trait Documents: fmt::Debug + Send + Sync {
    /// The document at this url; an error if it has more bytes than that.
    fn get<'a>(&'a self, url: &'a str, at_most: usize) -> Fetching<'a>;
}

/// A public key, and the one algorithm that it is used with.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) public: DecodingKey,
}

/// The keys of an issuer.
pub(super) struct Issuer {
    pub(super) name: String,
    jwks_uri: Option<String>,
    documents: Arc<dyn Documents>,
    keys: RwLock<Arc<[Key]>>,
    asked: Mutex<Asked>,
    wanted: Notify,
    /// Counts how often keys were asked for.
    fetched: watch::Sender<u64>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// When a token was last a reason to ask.
#[derive(Debug, Default)]
struct Asked {
    last: Option<Instant>,
    waiting: bool,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Each key by itself: one of a kind that is not known here must not hide the others.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Issuer {
    /// Fetches the keys for the first time.
    pub(super) async fn open(
        name: String,
        jwks_uri: Option<String>,
        documents: Arc<dyn Documents>,
    ) -> Result<Self, AccessError> {
        let issuer = Self {
            name,
            jwks_uri,
            documents,
            keys: RwLock::new(Arc::new([])),
            asked: Mutex::default(),
            wanted: Notify::new(),
            fetched: watch::Sender::new(0),
        };
        let keys = issuer.fetch().await?;
        issuer.set(keys);
        Ok(issuer)
    }

    /// The keys that may have signed a token which names its key, or does not.
    pub(super) async fn candidates(&self, id: Option<&str>) -> Vec<Key> {
        let found = self.known(id);
        if !found.is_empty() {
            return found;
        }
        // First, so that the end of a fetch that is already on its way is not missed.
        let mut fetched = self.fetched.subscribe();
        if self.ask() {
            // Late is the same as never: the token is refused, and may be shown again.
            let _ = tokio::time::timeout(PATIENCE, fetched.changed()).await;
        }
        self.known(id)
    }

    /// Fetches the keys every now and then, and when a token is a reason. Never completes.
    pub(super) async fn keep_fresh(&self) {
        loop {
            // Completes either way; the time is up, or there is a reason.
            let _ = tokio::time::timeout(REFRESH, self.wanted.notified()).await;
            match self.fetch().await {
                Ok(keys) => self.set(keys),
                Err(error) => tracing::error!("{error}; those from before stay in use"),
            }
            self.asked().waiting = false;
            self.fetched.send_modify(|count| *count += 1);
        }
    }

    fn known(&self, id: Option<&str>) -> Vec<Key> {
        let keys = Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner));
        // Without a name on one of the two sides, only the signature can tell.
        let may = |key: &&Key| key.id.is_none() || id.is_none() || key.id.as_deref() == id;
        keys.iter().filter(may).cloned().collect()
    }

    fn set(&self, keys: Vec<Key>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.into();
    }

    /// Whether keys are being fetched now, perhaps because of this.
    fn ask(&self) -> bool {
        let mut asked = self.asked();
        if !asked.waiting && asked.last.is_none_or(|last| last.elapsed() >= LEAST_PAUSE) {
            *asked = Asked { last: Some(Instant::now()), waiting: true };
            self.wanted.notify_one();
        }
        asked.waiting
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Vec<Key>, AccessError> {
        let fetching = async {
            let discovered = match &self.jwks_uri {
                Some(uri) => uri.clone(),
                None => self.discover().await?,
            };
            let document = self.get(&discovered).await?;
            let set: KeySet = serde_json::from_slice(&document)
                .map_err(|error| self.unreachable(format!("{discovered} is no JSON Web Key Set: {error}")))?;
            let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::read).take(MAX_KEYS).collect();
            if keys.is_empty() {
                let problem = format!("{discovered} has no key for RS256, ES256 or EdDSA (Ed25519)");
                return Err(self.unreachable(problem));
            }
            Ok(keys)
        };
        let late = |_| Err(self.unreachable("it took longer than 15 s".to_owned()));
        tokio::time::timeout(FETCH_TIMEOUT, fetching).await.unwrap_or_else(late)
    }

    /// OIDC Discovery 1.0 §4: where the keys are. The document must be about this issuer.
    async fn discover(&self) -> Result<String, AccessError> {
        let url = format!("{}/.well-known/openid-configuration", self.name.trim_end_matches('/'));
        let document: Discovery = serde_json::from_slice(&self.get(&url).await?)
            .map_err(|error| self.unreachable(format!("{url} is no discovery document: {error}")))?;
        if document.issuer != self.name {
            let says = document.issuer.chars().take(256).collect();
            return Err(AccessError::IssuerMismatch { issuer: self.name.clone(), says });
        }
        if !document.jwks_uri.starts_with("https://") && !self.name.starts_with("http://") {
            return Err(self.unreachable("its discovery document names a jwks_uri without TLS".to_owned()));
        }
        Ok(document.jwks_uri)
    }

    async fn get(&self, url: &str) -> Result<Bytes, AccessError> {
        self.documents.get(url, MAX_BYTES).await.map_err(|problem| self.unreachable(problem))
    }

    fn unreachable(&self, problem: String) -> AccessError {
        AccessError::IssuerUnreachable { issuer: self.name.clone(), problem }
    }
}

impl Key {
    /// A key for signatures of a kind that is taken. The kind of the key decides on the algorithm, never the token.
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
                Algorithm::ES256
            }
            AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDSA
            }
            _ => return None,
        };
        let signs = jwk.common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
        let fits = jwk.common.key_algorithm.is_none_or(|named| named == KeyAlgorithm::from(algorithm));
        let public = DecodingKey::from_jwk(&jwk).ok()?;
        (signs && fits).then_some(Self { id: jwk.common.key_id, algorithm, public })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const X: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[rstest]
    #[case(json!({"kty": "RSA", "n": X, "e": "AQAB"}), Some(Algorithm::RS256))]
    #[case(json!({"kty": "RSA", "n": X, "e": "AQAB", "alg": "RS256", "use": "sig", "kid": "1"}), Some(Algorithm::RS256))]
    #[case(json!({"kty": "RSA", "n": X, "e": "AQAB", "alg": "RS512"}), None)]
    #[case(json!({"kty": "RSA", "n": X, "e": "AQAB", "use": "enc"}), None)]
    #[case(json!({"kty": "EC", "crv": "P-256", "x": X, "y": X}), Some(Algorithm::ES256))]
    #[case(json!({"kty": "EC", "crv": "P-384", "x": X, "y": X}), None)]
    #[case(json!({"kty": "OKP", "crv": "Ed25519", "x": X, "alg": "EdDSA"}), Some(Algorithm::EdDSA))]
    #[case(json!({"kty": "oct", "k": X}), None)]
    #[case(json!({"kty": "new", "z": 1}), None)]
    #[case(json!("nothing"), None)]
    fn a_key_has_one_algorithm_and_others_are_passed_over(
        #[case] jwk: Value,
        #[case] algorithm: Option<Algorithm>,
    ) {
        assert_eq!(Key::read(jwk).map(|key| key.algorithm), algorithm);
    }
}
