//! Sending bodies to web servers that are no stores, under the same rules for addresses.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use http::{HeaderMap, Response};
use url::Url;

use super::failure::of_transport;
use crate::credentials::CA_CERTIFICATE;
use crate::path::printable;
use crate::{AccessRules, Connection, Credentials, Error};

/// The most of an answer that is kept.
const MAX_ANSWER: usize = 64 << 10;

/// A client that sends, keeps its connections, and follows no redirect.
#[derive(Clone, Debug)]
pub struct Sender {
    client: reqwest::Client,
    rules: AccessRules,
}

impl Sender {
    /// `authorities` are certificates as PEM that are trusted beside the system's.
    pub fn new(rules: AccessRules, authorities: Option<&str>) -> Result<Self, Error> {
        let lookup = |name: &str| authorities.filter(|_| name == CA_CERTIFICATE).map(str::to_owned);
        let connection =
            Connection { rules, credentials: Credentials::from_lookup(lookup), ..Connection::default() };
        Ok(Self { client: super::client::client(&connection, rules)?, rules })
    }

    /// Reads a URL as the client does and checks it; what its name resolves to is checked when it is asked.
    pub fn check(&self, url: &str) -> Result<Url, Error> {
        // The url itself is not shown, because what is refused may be a password.
        let refuse = |problem: &str| Error::InvalidUri { uri: String::new(), problem: problem.to_owned() };
        let parsed = Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
        let user = !parsed.username().is_empty() || parsed.password().is_some();
        if !matches!(parsed.scheme(), "https" | "http") || user {
            return Err(refuse("write https://HOST/PATH without a user or password"));
        }
        let checked = self.rules.check_literal(parsed.host_str().unwrap_or_default());
        checked.map_err(|refusal| of_transport(&refusal, &printable(url)))?;
        Ok(parsed)
    }

    /// POSTs once. Answers of any status are answers; of a long one the beginning.
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Bytes) -> Result<Response<Bytes>, Error> {
        let (parsed, what) = (self.check(url)?, printable(url));
        let sent = self.client.post(parsed).headers(headers).body(body).send().await;
        let answer = sent.map_err(|error| of_transport(&error, &what))?;
        let status = answer.status();
        let (mut chunks, mut kept) = (answer.bytes_stream(), BytesMut::new());
        while kept.len() < MAX_ANSWER
            && let Some(chunk) = chunks.try_next().await.map_err(|error| of_transport(&error, &what))?
        {
            kept.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - kept.len())]);
        }
        let mut response = Response::new(kept.freeze());
        *response.status_mut() = status;
        Ok(response)
    }
}
