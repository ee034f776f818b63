//! The log of payloads, from arguments and manifests to what the server takes.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use modelwright_api::contract::ExitCode;
use modelwright_api::defaults::{PAYLOAD_MAX_BYTES, PAYLOAD_SAMPLE_PERCENT, ResolvedPayloadLogging};
use modelwright_api::serving::PayloadMode as Mode;
use modelwright_artifact::AccessRules;
use modelwright_server::{PayloadLog, PayloadLogConfig, PayloadLogError, PayloadMode, PayloadSink};

use crate::arguments::word;
use crate::failure::Failure;
use crate::outbound::Web;

/// Which requests and answers are logged, and where to. Without these options: none.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log of payloads")]
#[expect(clippy::struct_field_names, reason = "the options are named after them")]
pub(crate) struct PayloadLogArguments {
    /// Send what the model is asked and answers to this URL, as `CloudEvents`. Also `file:PATH` and `stdout:`.
    #[arg(long, value_name = "URL")]
    pub(crate) payload_log_url: Option<String>,
    /// What is logged.
    #[arg(long, default_value = "All", requires = "payload_log_url", value_parser = word::<Mode>(&["All", "Request", "Response"]))]
    payload_log_mode: Mode,
    /// The share of requests that is logged, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = PAYLOAD_SAMPLE_PERCENT, requires = "payload_log_url",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    payload_log_sample_percent: u8,
    /// An input, output or column of the training data whose values are left out. May be repeated.
    #[arg(long, value_name = "NAME", requires = "payload_log_url")]
    payload_log_redact: Vec<String>,
    /// The most bytes of JSON; of more, only names, datatypes and shapes are logged.
    #[arg(long, value_name = "BYTES", default_value_t = PAYLOAD_MAX_BYTES, requires = "payload_log_url",
        value_parser = clap::value_parser!(u64).range(1..))]
    payload_log_max_bytes: u64,
}

impl PayloadLogArguments {
    /// What is wanted, if anything.
    pub(crate) fn resolved(&self) -> Option<ResolvedPayloadLogging> {
        Some(ResolvedPayloadLogging {
            url: self.payload_log_url.clone()?,
            mode: self.payload_log_mode,
            sample_percent: self.payload_log_sample_percent,
            redact: self.payload_log_redact.clone(),
            max_bytes: self.payload_log_max_bytes,
        })
    }
}

/// Opens the log of a model, if one is wanted. Files lie relative to `folder`.
pub(crate) fn open(
    wanted: Option<&ResolvedPayloadLogging>,
    model: &str,
    namespace: Option<String>,
    folder: &Path,
    rules: AccessRules,
) -> Result<Option<Arc<PayloadLog>>, Failure> {
    let Some(wanted) = wanted else { return Ok(None) };
    let config = PayloadLogConfig {
        model: model.to_owned(),
        namespace,
        sink: sink(&wanted.url, folder, rules)?,
        mode: match wanted.mode {
            Mode::All => PayloadMode::All,
            Mode::Request => PayloadMode::Request,
            Mode::Response => PayloadMode::Response,
        },
        sample_percent: wanted.sample_percent,
        redact: wanted.redact.clone(),
        max_bytes: crate::serving::bytes(wanted.max_bytes),
    };
    PayloadLog::start(config).map(Some).map_err(Failure::from)
}

fn sink(url: &str, folder: &Path, rules: AccessRules) -> Result<PayloadSink, Failure> {
    if url == "stdout:" {
        return Ok(PayloadSink::Stdout);
    }
    if let Some(path) = url.strip_prefix("file:") {
        return Ok(PayloadSink::File(folder.join(path.strip_prefix("//").unwrap_or(path))));
    }
    let poster = Web::open(rules, None)?;
    poster.check(url).map_err(|problem| {
        let message = format!("the URL of the log of payloads cannot be used: {problem}");
        Failure::new(ExitCode::InvalidConfiguration, "InvalidPayloadLog", message)
    })?;
    Ok(PayloadSink::Http { url: url.to_owned(), poster: Arc::new(poster) })
}

impl From<PayloadLogError> for Failure {
    fn from(error: PayloadLogError) -> Self {
        let exit = match &error {
            PayloadLogError::UnknownName { .. } => ExitCode::InvalidConfiguration,
            PayloadLogError::Unwritable { .. } => ExitCode::OutputUnwritable,
            PayloadLogError::Thread(_) => ExitCode::TryAgain,
        };
        Self::new(exit, "InvalidPayloadLog", error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urls_are_sinks_under_the_rules_for_addresses() {
        let open = |url: &str, rules| sink(url, Path::new("/w"), rules).map_err(|failure| failure.message);
        assert!(matches!(open("stdout:", AccessRules::CLUSTER), Ok(PayloadSink::Stdout)));
        assert!(
            matches!(open("file:a.jsonl", AccessRules::LOCAL), Ok(PayloadSink::File(path)) if path == Path::new("/w/a.jsonl"))
        );
        assert!(
            matches!(open("file:///b", AccessRules::LOCAL), Ok(PayloadSink::File(path)) if path == Path::new("/b"))
        );
        assert!(open("http://127.0.0.1:9/x", AccessRules::LOCAL).is_ok());
        for (url, says) in [
            ("http://127.0.0.1:9/x", "a loopback address"),
            ("http://2130706433/x", "a loopback address"),
            ("http://169.254.169.254/", "metadata"),
            ("https://user:secret@sink/", "without a user or password"),
            ("ftp://sink/", "https://HOST/PATH"),
        ] {
            let error = open(url, AccessRules::CLUSTER).unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{error}");
        }
    }
}
