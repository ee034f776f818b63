//! Web servers: files by name, with or without ranges, entity tags and HEAD.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap,
    HeaderValue, IF_MATCH, LAST_MODIFIED, LOCATION, RANGE,
};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::Response;
use url::Url;

use super::failure::{of_status, of_transport};
use crate::credentials::HTTP_BEARER_TOKEN;
use crate::path::printable;
use crate::{AccessRules, Connection, Error, RemoteFile, Retry, SourceUri};

/// What a path segment may not hold as it is (RFC 3986 §3.3), `%` included: names are not encoded yet.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// Pauses between attempts double from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 3;
/// Marks a modification time that stands in for a missing entity tag.
const MODIFIED: &str = "modified ";

/// A file, or a folder if the url ends in `/`.
#[derive(Clone, Debug)]
pub(super) struct Web {
    client: reqwest::Client,
    rules: AccessRules,
    base: Url,
    authorization: Option<HeaderValue>,
    retry: Retry,
}

impl Web {
    pub(super) fn open(base: &Url, uri: &SourceUri, connection: &Connection) -> Result<Self, Error> {
        let host = base.host_str().unwrap_or_default();
        connection.rules.check_literal(host).map_err(|refusal| of_transport(&refusal, &uri.to_string()))?;
        let authorization = match connection.credentials.get(HTTP_BEARER_TOKEN) {
            None => None,
            Some(token) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
                    Error::InvalidCredentials {
                        problem: "HTTP_BEARER_TOKEN holds characters that a header cannot".into(),
                    }
                })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let rules = super::client::web_rules(connection);
        let client = super::client::client(connection, rules)?;
        Ok(Self { client, rules, base: base.clone(), authorization, retry: connection.retry })
    }

    /// For one document without credentials, which is asked for once.
    pub(super) fn of_document(url: &str, rules: AccessRules) -> Result<Self, Error> {
        let refuse = |problem: &str| Error::InvalidUri { uri: printable(url), problem: problem.to_owned() };
        let base = Url::parse(url).map_err(|error| refuse(&error.to_string()))?;
        if !matches!(base.scheme(), "https" | "http")
            || !base.username().is_empty()
            || base.password().is_some()
        {
            return Err(refuse("write https://HOST/PATH without a user or password"));
        }
        rules
            .check_literal(base.host_str().unwrap_or_default())
            .map_err(|refusal| of_transport(&refusal, &printable(url)))?;
        let connection = Connection { rules, retry: Retry::NEVER, ..Connection::default() };
        let client = super::client::client(&connection, rules)?;
        Ok(Self { client, rules, base, authorization: None, retry: connection.retry })
    }

    /// The whole document, if it has at most so many bytes.
    pub(super) async fn document(&self, at_most: usize) -> Result<Bytes, Error> {
        let what = printable(self.base.as_str());
        let answer = self.send(Method::GET, "", HeaderMap::new(), &what).await?;
        if !answer.status().is_success() {
            return Err(of_status(answer.status(), &what, "read"));
        }
        let mut body = answer.bytes_stream();
        let mut document = BytesMut::new();
        while let Some(chunk) = body.try_next().await.map_err(|error| of_transport(&error, &what))? {
            if document.len() + chunk.len() > at_most {
                return Err(Error::TooLarge { what, problem: format!("more than {at_most} bytes") });
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document.freeze())
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if !path.is_empty() {
            let encoded: Vec<String> =
                path.split('/').map(|segment| utf8_percent_encode(segment, SEGMENT).to_string()).collect();
            url.set_path(&format!("{}/{}", self.base.path().trim_end_matches('/'), encoded.join("/")));
        }
        url
    }

    /// HEAD where the server has it; else the answer to a request for the first byte.
    pub(super) async fn head(&self, path: &str, what: &str) -> Result<RemoteFile, Error> {
        let answer = self.attempts(|| self.send(Method::HEAD, path, HeaderMap::new(), what)).await?;
        let headers = answer.headers();
        if answer.status().is_success() && number(headers, CONTENT_LENGTH.as_str()).is_some() {
            let ranges = headers.get(ACCEPT_RANGES).is_some_and(|units| units.as_bytes() == b"bytes");
            let size = number(headers, CONTENT_LENGTH.as_str());
            return Ok(described(path, size, ranges, headers));
        }
        let first = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
        let answer = self.attempts(|| self.send(Method::GET, path, first.clone(), what)).await?;
        let (status, headers) = (answer.status(), answer.headers());
        let total = content_range(headers).and_then(|(_, total)| total);
        let (size, ranges) = match status {
            StatusCode::PARTIAL_CONTENT => (total, total.is_some()),
            // The first byte of nothing.
            StatusCode::RANGE_NOT_SATISFIABLE if total == Some(0) => (total, true),
            status if status.is_success() => (number(headers, CONTENT_LENGTH.as_str()), false),
            status => return Err(of_status(status, what, "read")),
        };
        Ok(described(path, size, ranges, headers))
    }

    pub(super) async fn range(
        &self,
        file: &RemoteFile,
        range: Range<u64>,
        what: &str,
    ) -> Result<Bytes, Error> {
        self.attempts(|| self.range_once(file, range.clone(), what)).await
    }

    async fn range_once(&self, file: &RemoteFile, range: Range<u64>, what: &str) -> Result<Bytes, Error> {
        let expected = range.end - range.start;
        let wanted = HeaderValue::from_str(&format!("bytes={}-{}", range.start, range.end - 1));
        let wanted = wanted.map_err(|error| Error::Internal { detail: error.to_string() })?;
        let mut headers = HeaderMap::from_iter([(RANGE, wanted)]);
        // A weak tag, or our stand-in, cannot be a condition (RFC 9110 §13.1.1); both are compared below.
        let strong = file.etag.as_deref().filter(|etag| etag.starts_with('"'));
        if let Some(etag) = strong.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(IF_MATCH, etag);
        }
        let answer = self.send(Method::GET, &file.path, headers, what).await?;
        let broken =
            |problem: &str| Error::StoreUnreachable { what: what.to_owned(), problem: problem.to_owned() };
        match (answer.status(), content_range(answer.headers())) {
            (StatusCode::PARTIAL_CONTENT, Some((got, total))) => {
                super::unchanged(file, identity(answer.headers()).as_deref(), total, what)?;
                if got != range {
                    return Err(broken("it answers with another range than asked for"));
                }
            }
            (StatusCode::PARTIAL_CONTENT, None) => return Err(broken("it answers without Content-Range")),
            (status, _) if status.is_success() => {
                super::unchanged(file, identity(answer.headers()).as_deref(), None, what)?;
                if range.start != 0 || file.size != Some(range.end) {
                    return Err(broken("it announces ranges and ignores them"));
                }
            }
            (status, _) => return Err(of_status(status, what, "read")),
        }
        // A body that breaks off is shorter than expected, which says more than how it broke.
        let body = answer.bytes_stream().take_while(|chunk| std::future::ready(chunk.is_ok()));
        let body = body.map_err(|error| of_transport(&error, what));
        super::collect(body, expected, what).await
    }

    /// The whole content as one answer, for servers without ranges.
    pub(super) async fn whole<'a>(
        &'a self,
        file: &'a RemoteFile,
        what: String,
    ) -> Result<BoxStream<'a, Result<Bytes, Error>>, Error> {
        let answer = self.attempts(|| self.send(Method::GET, &file.path, HeaderMap::new(), &what)).await?;
        if !answer.status().is_success() {
            return Err(of_status(answer.status(), &what, "read"));
        }
        let announced = number(answer.headers(), CONTENT_LENGTH.as_str());
        super::unchanged(file, identity(answer.headers()).as_deref(), announced, &what)?;
        let expected = file.size.or(announced);
        let state = (answer.bytes_stream(), 0_u64, what);
        let chunks = futures::stream::try_unfold(state, move |(mut body, got, what)| async move {
            match (body.try_next().await, expected) {
                (Ok(Some(chunk)), _) => {
                    let got = got + chunk.len() as u64;
                    if expected.is_some_and(|expected| got > expected) {
                        return Err(super::too_long(&what));
                    }
                    Ok(Some((chunk, (body, got, what))))
                }
                (Ok(None), Some(expected)) if got != expected => {
                    Err(Error::Truncated { what, got, expected })
                }
                (Ok(None), _) => Ok(None),
                (Err(_), Some(expected)) if got < expected => Err(Error::Truncated { what, got, expected }),
                (Err(error), _) => Err(of_transport(&error, &what)),
            }
        });
        Ok(chunks.boxed())
    }

    /// One request. Failures of the server itself are errors, so that they are tried again; other answers are the caller's.
    async fn send(
        &self,
        method: Method,
        path: &str,
        mut headers: HeaderMap,
        what: &str,
    ) -> Result<Response, Error> {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answer = self.redirected(method, self.url(path), &headers, what).await?;
        let status = answer.status();
        // 501 is the answer of a server that has no HEAD; that does not pass.
        if status.is_success() || status == StatusCode::NOT_IMPLEMENTED {
            return Ok(answer);
        }
        let failure = of_status(status, what, "read");
        if is_passing(&failure) { Err(failure) } else { Ok(answer) }
    }

    /// The answer after at most [`MAX_REDIRECTS`] redirects. The token goes to the origin of the uri and to no other,
    /// whatever the way there: the HTTP client itself compares a redirect with the request before it only.
    async fn redirected(
        &self,
        method: Method,
        mut url: Url,
        headers: &HeaderMap,
        what: &str,
    ) -> Result<Response, Error> {
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.client.request(method.clone(), url.clone()).headers(headers.clone());
            if let Some(authorization) = &self.authorization
                && url.origin() == self.base.origin()
            {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let answer = request.send().await.map_err(|error| of_transport(&error, what))?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            url = self.follow(&url, &answer, what)?;
        }
        Err(not_followed(what, "there are more than 3 redirects"))
    }

    /// Where a redirect leads, if that is allowed: an allowed address, and the same scheme.
    fn follow(&self, from: &Url, answer: &Response, what: &str) -> Result<Url, Error> {
        if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Err(not_followed(what, "its status is not one that names another place"));
        }
        let Some(location) = answer.headers().get(LOCATION) else {
            return Err(not_followed(what, "it does not say where to (it has no Location)"));
        };
        let url = location.to_str().ok().and_then(|location| from.join(location).ok());
        let url = url.ok_or_else(|| not_followed(what, "what it leads to is no address"))?;
        if url.scheme() != self.base.scheme() {
            return Err(not_followed(what, "it leads to another scheme"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(not_followed(what, "it leads to an address with a user or password"));
        }
        let host = url.host_str().ok_or_else(|| not_followed(what, "it leads to no host"))?;
        self.rules.check_literal(host).map_err(|refusal| of_transport(&refusal, what))?;
        Ok(url)
    }

    /// Tries again, within the limits, what may pass.
    async fn attempts<T, F: Future<Output = Result<T, Error>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, Error> {
        let begin = Instant::now();
        let mut pause = PAUSES.0;
        let mut attempt = 0;
        loop {
            match request().await {
                Err(error)
                    if is_passing(&error)
                        && attempt < self.retry.attempts
                        && begin.elapsed() + pause < self.retry.timeout =>
                {
                    tracing::warn!(reason = error.reason(), "trying again in {pause:?}: {error}");
                }
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
            attempt += 1;
        }
    }
}

fn not_followed(what: &str, problem: &'static str) -> Error {
    Error::RedirectRefused { what: what.to_owned(), problem }
}

/// What headers say of a file. Parts of it are asked for only if each of them says which content it is a part of: of
/// two contents of one size, a file could be put together that never existed.
fn described(path: &str, size: Option<u64>, ranges: bool, headers: &HeaderMap) -> RemoteFile {
    let etag = identity(headers);
    RemoteFile { path: path.to_owned(), size, ranges: ranges && etag.is_some(), etag, version: None }
}

/// Whether the same request may succeed later.
fn is_passing(error: &Error) -> bool {
    matches!(
        error,
        Error::StoreUnreachable { .. }
            | Error::Truncated { .. }
            | Error::NameNotResolved { .. }
            | Error::ConnectionRefused { .. }
    )
}

/// The entity tag, else the modification time.
fn identity(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    text(ETAG).map(str::to_owned).or_else(|| text(LAST_MODIFIED).map(|time| format!("{MODIFIED}{time}")))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// `bytes 0-9/100`, `bytes 0-9/*` or `bytes */100`: the range (empty in the last) and the size, if it is said.
fn content_range(headers: &HeaderMap) -> Option<(Range<u64>, Option<u64>)> {
    let (range, total) =
        headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?.split_once('/')?;
    let total = total.parse().ok();
    if range == "*" {
        return Some((0..0, total));
    }
    let (first, last) = range.split_once('-')?;
    let last: u64 = last.parse().ok()?;
    Some((first.parse().ok()?..last.checked_add(1)?, total))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("bytes 0-9/100", Some((0..10, Some(100))))]
    #[case("bytes 5-9/*", Some((5..10, None)))]
    #[case("bytes */0", Some((0..0, Some(0))))]
    #[case("bytes 0-18446744073709551615/1", None)]
    #[case("items 0-9/100", None)]
    #[case("bytes 0/100", None)]
    fn content_ranges_are_read(#[case] text: &str, #[case] expected: Option<(Range<u64>, Option<u64>)>) {
        let headers = HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_str(text).unwrap())]);
        assert_eq!(content_range(&headers), expected);
    }
}
