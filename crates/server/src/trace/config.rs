//! The environment variables of OpenTelemetry that decide about traces.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;

/// The path of traces below `OTEL_EXPORTER_OTLP_ENDPOINT`.
const TRACES_PATH: &str = "v1/traces";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go, of which requests, and what they say of this process.
#[derive(Debug, Clone)]
pub struct TraceConfig {
    /// Where batches of spans are sent as protobuf of OTLP.
    pub endpoint: String,
    /// What is sent along, such as a token. Never shown.
    pub headers: HeaderMap,
    /// How long one export may take.
    pub timeout: Duration,
    /// Whether batches are packed with gzip.
    pub gzip: bool,
    /// A file with the certificates that the collector's is checked with, beside the system's.
    pub certificate: Option<PathBuf>,
    /// Attributes of this process, `service.name` among them.
    pub resource: BTreeMap<String, String>,
    /// Which requests are traced.
    pub sampler: Sampler,
}

/// A variable that cannot be honoured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} {problem}")]
pub struct TraceConfigError {
    /// Its name.
    pub name: String,
    problem: String,
}

impl TraceConfig {
    /// Reads the standard variables of OpenTelemetry. `None`: no endpoint is given, or traces are switched off.
    ///
    /// What cannot be honoured is an error: traces that silently go nowhere are noticed when they are needed. Values of headers
    /// are in no message.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TraceConfigError> {
        let lookup =
            |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let off = lookup("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let exporter = lookup("OTEL_TRACES_EXPORTER");
        if off || exporter.as_deref() == Some("none") {
            return Ok(None);
        }
        // The variable for traces alone before the one for all signals, with the name that it was found under.
        let find = |name: &str| {
            [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")]
                .into_iter()
                .find_map(|name| lookup(&name).map(|value| (name, value)))
        };
        let Some((name, endpoint)) = find("ENDPOINT") else { return Ok(None) };
        if let Some(other) = exporter.filter(|exporter| exporter != "otlp") {
            return Err(wrong("OTEL_TRACES_EXPORTER", format!("is {other:?}; write otlp or none")));
        }
        for name in ["CLIENT_KEY", "CLIENT_CERTIFICATE"] {
            if let Some((name, _)) = find(name) {
                return Err(wrong(
                    &name,
                    "asks for a certificate of the client, which is not offered; use a token in OTEL_EXPORTER_OTLP_HEADERS",
                ));
            }
        }
        if let Some((name, protocol)) = find("PROTOCOL").filter(|(_, protocol)| protocol != "http/protobuf") {
            return Err(wrong(
                &name,
                format!("is {protocol:?}; write http/protobuf and the collector's port for it, usually 4318"),
            ));
        }
        Ok(Some(Self {
            endpoint: url(&name, &endpoint)?,
            headers: find("HEADERS")
                .map_or_else(|| Ok(HeaderMap::new()), |(name, text)| headers(&name, &text))?,
            timeout: find("TIMEOUT").map_or(Ok(TIMEOUT), |(name, text)| timeout(&name, &text))?,
            gzip: match find("COMPRESSION") {
                None => false,
                Some((_, word)) if word == "none" => false,
                Some((_, word)) if word == "gzip" => true,
                Some((name, word)) => return Err(wrong(&name, format!("is {word:?}; write gzip or none"))),
            },
            certificate: find("CERTIFICATE").map(|(_, path)| path.into()),
            resource: resource(lookup("OTEL_RESOURCE_ATTRIBUTES").as_deref(), lookup("OTEL_SERVICE_NAME"))?,
            sampler: sampler(
                lookup("OTEL_TRACES_SAMPLER").as_deref().unwrap_or("parentbased_always_on"),
                lookup("OTEL_TRACES_SAMPLER_ARG").as_deref(),
            )?,
        }))
    }
}

fn wrong(name: &str, problem: impl Into<String>) -> TraceConfigError {
    TraceConfigError { name: name.to_owned(), problem: problem.into() }
}

/// The endpoint of traces as it is written; that of all signals with their path.
fn url(name: &str, text: &str) -> Result<String, TraceConfigError> {
    let parsed = Uri::from_str(text).ok();
    let scheme = parsed.as_ref().and_then(Uri::scheme_str);
    let authority = parsed.as_ref().and_then(Uri::authority).map_or("", |authority| authority.as_str());
    if !matches!(scheme, Some("http" | "https")) || authority.is_empty() {
        // Without the value: what is wrong with it may be a password in a place where the parser did not expect one.
        return Err(wrong(name, "is no URL; write http://HOST:4318 or https://HOST:4318"));
    }
    if authority.contains('@') {
        return Err(wrong(name, "holds a user or password; write it into OTEL_EXPORTER_OTLP_HEADERS"));
    }
    if name.contains("TRACES") {
        return Ok(text.to_owned());
    }
    Ok(format!("{}/{TRACES_PATH}", text.trim_end_matches('/')))
}

/// `KEY=VALUE,KEY=VALUE` with percent-encoded values, as W3C baggage writes them.
fn pairs<'a>(name: &str, text: &'a str) -> Result<Vec<(&'a str, String)>, TraceConfigError> {
    let pair = |pair: &'a str| {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| wrong(name, "is no list KEY=VALUE,KEY=VALUE"))?;
        let value = percent_decode_str(value.trim()).decode_utf8();
        let value =
            value.map_err(|_| wrong(name, format!("has a value for {:?} that is no text", key.trim())))?;
        Ok((key.trim(), value.into_owned()))
    };
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect()
}

fn headers(name: &str, text: &str) -> Result<HeaderMap, TraceConfigError> {
    let mut headers = HeaderMap::new();
    for (key, value) in pairs(name, text)? {
        let refuse = || wrong(name, format!("has a header {key:?} that HTTP does not allow"));
        let key = HeaderName::from_str(key).map_err(|_| refuse())?;
        let mut value = HeaderValue::from_str(&value).map_err(|_| refuse())?;
        value.set_sensitive(true);
        headers.append(key, value);
    }
    Ok(headers)
}

fn timeout(name: &str, text: &str) -> Result<Duration, TraceConfigError> {
    match text.parse() {
        Ok(milliseconds) if milliseconds > 0 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(wrong(name, format!("is {text:?}; write a number of milliseconds, such as 10000"))),
    }
}

fn resource(
    attributes: Option<&str>,
    service: Option<String>,
) -> Result<BTreeMap<String, String>, TraceConfigError> {
    let mut resource = BTreeMap::from([
        ("service.name".to_owned(), "modelwright".to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
        ("telemetry.sdk.name".to_owned(), "opentelemetry".to_owned()),
    ]);
    let written = pairs("OTEL_RESOURCE_ATTRIBUTES", attributes.unwrap_or_default())?;
    resource.extend(written.into_iter().map(|(key, value)| (key.to_owned(), value)));
    resource.extend(service.map(|service| ("service.name".to_owned(), service)));
    Ok(resource)
}

fn sampler(name: &str, argument: Option<&str>) -> Result<Sampler, TraceConfigError> {
    let ratio = || match argument.map(str::parse) {
        None => Ok(Sampler::TraceIdRatioBased(1.0)),
        Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(Sampler::TraceIdRatioBased(ratio)),
        Some(_) => {
            let written = argument.unwrap_or_default();
            Err(wrong(
                "OTEL_TRACES_SAMPLER_ARG",
                format!("is {written:?}; write a share from 0 to 1, such as 0.01"),
            ))
        }
    };
    let parent_based = |root| Sampler::ParentBased(Box::new(root));
    Ok(match name {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => ratio()?,
        "parentbased_always_on" => parent_based(Sampler::AlwaysOn),
        "parentbased_always_off" => parent_based(Sampler::AlwaysOff),
        "parentbased_traceidratio" => parent_based(ratio()?),
        other => {
            let known = "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or \
                         parentbased_traceidratio";
            return Err(wrong("OTEL_TRACES_SAMPLER", format!("is {other:?}; write {known}")));
        }
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceConfig>, TraceConfigError> {
        let find =
            |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        TraceConfig::from_lookup(find)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    #[test]
    fn nothing_is_traced_without_an_endpoint_or_when_it_is_off() {
        for more in [
            &[][..],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "true")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
        ] {
            assert!(read(more).unwrap().is_none(), "{more:?}");
        }
        assert!(read(&[("OTEL_TRACES_SAMPLER", "nonsense")]).unwrap().is_none());
    }

    #[test]
    fn endpoint_of_all_signals_gets_their_path_and_that_of_traces_is_whole() {
        assert_eq!(read(&[ENDPOINT]).unwrap().unwrap().endpoint, "http://collector:4318/v1/traces");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t.example/x");
        assert_eq!(read(&[ENDPOINT, own]).unwrap().unwrap().endpoint, "https://t.example/x");
    }

    #[test]
    fn every_variable_counts() {
        let config = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret, x-team = a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,k8s.pod.name=p%2C1"),
            ("OTEL_SERVICE_NAME", "heart"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(
            (config.headers["authorization"].as_bytes(), &config.headers["x-team"]),
            (&b"Bearer secret"[..], &HeaderValue::from_static("a"))
        );
        assert!(!format!("{config:?}").contains("secret"), "{config:?}");
        assert_eq!((config.timeout, config.gzip), (Duration::from_millis(250), true));
        assert_eq!(config.certificate.unwrap().to_str(), Some("/ca.pem"));
        assert_eq!(
            (config.resource["service.name"].as_str(), config.resource["k8s.pod.name"].as_str()),
            ("heart", "p,1")
        );
        assert_eq!(format!("{:?}", config.sampler), "ParentBased(TraceIdRatioBased(0.25))");
    }

    #[rstest]
    #[case("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf")]
    #[case("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4318", "http://HOST:4318")]
    #[case("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://u:p@collector", "OTEL_EXPORTER_OTLP_HEADERS")]
    #[case("OTEL_EXPORTER_OTLP_HEADERS", "secret", "KEY=VALUE")]
    #[case("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret", "\"a b\"")]
    #[case("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds")]
    #[case("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip")]
    #[case("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key", "token")]
    #[case("OTEL_TRACES_EXPORTER", "zipkin", "otlp")]
    #[case("OTEL_TRACES_SAMPLER", "jaeger_remote", "traceidratio")]
    fn what_cannot_be_honoured_is_named(#[case] name: &str, #[case] value: &str, #[case] says: &str) {
        let error = read(&[(name, value), ENDPOINT]).unwrap_err();
        assert_eq!(error.name, name);
        let message = error.to_string();
        assert!(message.contains(says) && !message.contains("secret"), "{message}");
    }

    #[test]
    fn share_out_of_range_is_refused() {
        for wrong in ["1.5", "-1", "some"] {
            let error = read(&[
                ENDPOINT,
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", wrong),
            ]);
            assert_eq!(error.unwrap_err().name, "OTEL_TRACES_SAMPLER_ARG");
        }
    }
}
