//! What a request shows of who it is from.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::Denial;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request shows; neither has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Presented<'a> {
    /// A key or a token: `Authorization: Bearer …`.
    pub(super) bearer: Option<&'a str>,
    /// A key: `X-API-Key: …`.
    pub(super) api_key: Option<&'a str>,
}

impl<'a> Presented<'a> {
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Self, Denial> {
        let bearer = single(headers, &AUTHORIZATION)?.and_then(|value| {
            let (scheme, rest) = value.split_once(' ')?;
            // Schemes are not case-sensitive (RFC 9110 §11.1).
            scheme.eq_ignore_ascii_case("Bearer").then(|| rest.trim())
        });
        let api_key = single(headers, &API_KEY)?.map(str::trim);
        Ok(Self { bearer: bearer.filter(|it| !it.is_empty()), api_key: api_key.filter(|it| !it.is_empty()) })
    }
}

/// The one value of a header. Of two, a proxy in front may have checked the other.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Denial> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Denial::Invalid("Authorization and X-API-Key may be sent once each"));
    }
    first.map(|value| value.to_str().map_err(|_| Denial::Invalid("a key or token is ASCII"))).transpose()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn read(headers: &[(&'static str, &str)]) -> Result<(Option<String>, Option<String>), Denial> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                *name,
                HeaderValue::from_bytes(value.as_bytes()).map_err(|_| Denial::Invalid("no header"))?,
            );
        }
        let shown = Presented::read(&map)?;
        Ok((shown.bearer.map(str::to_owned), shown.api_key.map(str::to_owned)))
    }

    #[rstest]
    #[case(&[], None, None)]
    #[case(&[("authorization", "Bearer k")], Some("k"), None)]
    #[case(&[("authorization", "bEARER  k ")], Some("k"), None)]
    #[case(&[("x-api-key", "k"), ("authorization", "Bearer t")], Some("t"), Some("k"))]
    #[case(&[("authorization", "Basic YTpi")], None, None)]
    #[case(&[("authorization", "Bearer ")], None, None)]
    #[case(&[("authorization", "k")], None, None)]
    #[case(&[("x-api-key", "")], None, None)]
    fn keys_and_tokens_are_found(
        #[case] headers: &[(&'static str, &str)],
        #[case] bearer: Option<&str>,
        #[case] api_key: Option<&str>,
    ) {
        assert_eq!(read(headers).unwrap(), (bearer.map(str::to_owned), api_key.map(str::to_owned)));
    }

    #[rstest]
    #[case(&[("authorization", "Bearer a"), ("authorization", "Bearer b")])]
    #[case(&[("x-api-key", "a"), ("x-api-key", "b")])]
    #[case(&[("x-api-key", "ä")])]
    fn what_could_mean_two_things_is_refused(#[case] headers: &[(&'static str, &str)]) {
        assert!(matches!(read(headers), Err(Denial::Invalid(_))));
    }
}
