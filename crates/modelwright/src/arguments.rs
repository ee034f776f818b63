//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use modelwright_api::{contract::environment, defaults::DRAIN_DELAY, serving::ExecutionProvider};
use modelwright_artifact::Retry;

pub(crate) use self::container::{AgentArguments, CheckOutputArguments, MlArguments, PublishArguments};
pub(crate) use self::session::{SessionArguments, WeightsArguments, parse_duration, word};
pub(crate) use self::training::{DataArguments, TrainArguments};
use crate::access::AccessArguments;
use crate::cluster::{CheckArguments, OperatorArguments, PlanArguments, WhyArguments};
use crate::payload_log::PayloadLogArguments;

mod container;
mod session;
mod training;

/// Serve ONNX models from one manifest over the Open Inference Protocol.
#[derive(Debug, Parser)]
#[command(name = "modelwright", version, max_term_width = 110)]
pub(crate) struct Arguments {
    /// How log lines look. They go to stderr; the environment variable `MODELWRIGHT_LOG` filters them, for instance
    /// `MODELWRIGHT_LOG=debug`.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for log collectors.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArguments),
    Resolve(ResolveArguments),
    Fetch(FetchArguments),
    Agent(AgentArguments),
    Check(CheckOutputArguments),
    Publish(PublishArguments),
    Train(TrainArguments),
    Data(DataArguments),
    Delete(DeleteArguments),
    Serve(Box<ServeArguments>),
    Operator(OperatorArguments),
    Plan(PlanArguments),
    Why(WhyArguments),
    CheckInstallation(CheckArguments),
    HashKey(HashKeyArguments),
    /// Print Model's custom resource definition as YAML.
    Crd,
}

/// Serve the Models of one or more manifests on this machine.
///
/// Resolves each Model's source, fetches and verifies it into the data folder, and serves all of them side by side.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Manifests: YAML files, each with one Model or several.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Where clients reach the models. Port 0 picks a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = parse_listen_address)]
    pub(crate) listen: SocketAddr,
    /// Where health and metrics are. Port 0 picks a free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9090", value_parser = parse_listen_address)]
    pub(crate) admin_listen: SocketAddr,
    /// The folder that keeps fetched revisions [default: `modelwright` in `$XDG_DATA_HOME`, else in `~/.local/share`].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Credentials of a Secret that a manifest names, as lines `KEY=value`. May be repeated. A Secret without such a
    /// file is taken from this process's environment. The Secret of `access.apiKeys` is a file with lines
    /// `CLIENT=sha256:…` or a folder with a file for each client, and that of `access.tls` a folder with `tls.crt` and
    /// `tls.key`.
    #[arg(long = "secret", value_name = "NAME=PATH", value_parser = parse_secret)]
    pub(crate) secrets: Vec<(String, PathBuf)>,
    /// Exit as soon as every Model is ready (0) or one failed (1).
    #[arg(long)]
    pub(crate) once: bool,
}

/// Make a key for a client, and print its hash for the Secret of `serving.access.apiKeys`.
///
/// The key goes to standard error and the hash to standard output. Servers know hashes only, so a lost key is replaced and never
/// found again.
#[derive(Debug, Args)]
pub(crate) struct HashKeyArguments {
    /// Hash the key that standard input holds instead of making one.
    #[arg(long)]
    pub(crate) stdin: bool,
}

/// Find out what a source holds: its digest and its signature, or the reason why it cannot be served.
///
/// Reads the source once, keeps nothing. Credentials come from the environment, under the names in the documentation.
#[derive(Debug, Args)]
pub(crate) struct ResolveArguments {
    /// The source: a file, a prefix with one ONNX file, or a revision folder.
    #[arg(long, value_name = "URI")]
    pub(crate) uri: String,
    /// The digest that the source must have.
    #[arg(long, value_name = "sha256:…")]
    pub(crate) digest: Option<String>,
    /// Publish the revision below this prefix of an object store. Its credentials come from the environment, each name
    /// prefixed with `COPY_TO_`.
    #[arg(long, value_name = "URI")]
    pub(crate) copy_to: Option<String>,
    /// The Secret that the credentials for `--copy-to` come from, as `--credentials-secret` for the source.
    #[arg(long, value_name = "NAME", requires = "copy_to")]
    pub(crate) copy_to_secret: Option<String>,
    /// End at once with the reason `Unchanged` if the source still has the `fingerprint` of an earlier outcome: names,
    /// sizes, entity tags and versions of its files are compared and nothing is read or copied.
    #[arg(long, value_name = "sha256:…")]
    pub(crate) unless_fingerprint: Option<String>,
    /// The execution provider that the model is checked for. Both take the same models: what CUDA has no kernel for, ONNX
    /// Runtime computes on the CPU.
    #[arg(long, default_value = "CPU", value_parser = word::<ExecutionProvider>(&["CPU", "CUDA"]))]
    pub(crate) execution_provider: ExecutionProvider,
    #[command(flatten)]
    pub(crate) step: StepArguments,
}

/// Fetch a revision into a folder and verify every byte of it. An interrupted fetch is continued.
///
/// With `--config`, in the pod of a training by a container of the user's: fetch its data and its newest checkpoint instead.
#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    /// The source: a file, a prefix with one ONNX file, or a revision folder.
    #[arg(long, value_name = "URI", required_unless_present = "config")]
    pub(crate) uri: Option<String>,
    /// The revision's digest, as `modelwright resolve` prints it.
    #[arg(long, value_name = "sha256:…", required_unless_present = "config")]
    pub(crate) digest: Option<String>,
    /// The folder to write to; made if it does not exist.
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    pub(crate) out: Option<PathBuf>,
    /// The order of a training, as JSON.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["uri", "digest", "out", "credentials_secret"])]
    pub(crate) config: Option<PathBuf>,
    /// With `--config`: the folder that the training's folders lie in.
    #[arg(long, value_name = "DIR", default_value = container::ML, requires = "config")]
    pub(crate) ml_dir: PathBuf,
    #[command(flatten)]
    pub(crate) weights: WeightsArguments,
    #[command(flatten)]
    pub(crate) step: StepArguments,
}

/// List the revisions that a Model has too many of in its store, or delete them, as the order says.
///
/// Only what provenance ascribes to the Model is looked at. Credentials come from the environment, each name prefixed with
/// `OUTPUT_`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    /// The order of a deletion, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    #[command(flatten)]
    pub(crate) step: StepArguments,
}

/// What the steps that read a source share.
#[derive(Debug, Args)]
pub(crate) struct StepArguments {
    /// The Secret that the credentials in the environment come from. Where it is missing or lacks the keys for the uri,
    /// the step says so instead of asking the store without credentials.
    #[arg(long, value_name = "NAME")]
    pub(crate) credentials_secret: Option<String>,
    /// Use the identity that the cloud gives this pod or machine where the credentials hold no keys: IAM roles for
    /// service accounts, EKS Pod Identity, Google's and Azure's workload identity, the metadata service.
    #[arg(long)]
    pub(crate) instance_identity: bool,
    /// Refuse addresses of private networks, too. Addresses of links and metadata services are always refused.
    #[arg(long)]
    pub(crate) refuse_private: bool,
    /// Allow sources on this machine's own addresses, which are refused otherwise because in a cluster they are a
    /// way around network policy. `run` always allows them.
    #[arg(long)]
    pub(crate) allow_loopback: bool,
    /// How long a request to a store is tried again that fails for a passing reason [default: 20s to find out what a source is,
    /// 2m for everything else].
    #[arg(long, env = environment::STORE_RETRY, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) store_retry: Option<Duration>,
    /// Also write the final JSON object to this file [default: /dev/termination-log in a pod].
    #[arg(long, value_name = "FILE")]
    pub(crate) termination_log: Option<PathBuf>,
}

impl StepArguments {
    /// How long requests are tried again: as `usual`, unless something else is asked for.
    pub(crate) fn retry(&self, usual: Retry) -> Retry {
        self.store_retry.map_or(usual, |timeout| Retry { timeout, attempts: usize::MAX })
    }
}

/// Serve one fetched revision, as the pods of a cluster do.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The folder that `modelwright fetch` wrote.
    #[arg(long, value_name = "DIR")]
    pub(crate) model_dir: PathBuf,
    /// The model's name on the endpoint.
    #[arg(long)]
    pub(crate) name: String,
    /// The revision's digest; other bytes are refused.
    #[arg(long, value_name = "sha256:…")]
    pub(crate) digest: String,
    /// Where clients reach the model. `:8080` means port 8080 on every address.
    #[arg(long, value_name = "ADDR", default_value = ":8080", value_parser = parse_listen_address)]
    pub(crate) listen: SocketAddr,
    /// Where health and metrics are.
    #[arg(long, value_name = "ADDR", default_value = ":9090", value_parser = parse_listen_address)]
    pub(crate) admin_listen: SocketAddr,
    #[command(flatten)]
    pub(crate) session: SessionArguments,
    /// The largest request body, in bytes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_request_bytes: Option<u64>,
    /// Requests that may wait for the model; more are refused at once with 503.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_queued_requests: Option<u32>,
    #[command(flatten)]
    pub(crate) access: AccessArguments,
    #[command(flatten)]
    pub(crate) payload_log: PayloadLogArguments,
    /// How long to keep serving after SIGTERM while the endpoint leaves its Service, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = DRAIN_DELAY.as_secs())]
    pub(crate) drain_delay: u64,
    /// How long requests may take to finish after that, in seconds [default: `--request-timeout` and 5 s].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) drain_grace: Option<u64>,
    /// How long a request may wait and run before it is answered with 504, such as `30s`.
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    pub(crate) request_timeout: Duration,
    /// How old a client's connection may get, give or take a tenth, before the client is asked to open another, so that
    /// long-lived clients spread over new pods, such as `10m`. `0s`: any age.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    pub(crate) max_connection_age: Duration,
    /// Let requests on the admin port load the model again from its folder, and take it out of service.
    #[arg(long)]
    pub(crate) repository_control: bool,
    /// Log requests: `off`, or the share of them from 0 to 1, such as 0.01 for every hundredth.
    #[arg(long, env = environment::ACCESS_LOG, value_name = "off|RATE", default_value = "off", value_parser = parse_rate)]
    pub(crate) access_log: f64,
    /// Also write the final JSON object to this file [default: /dev/termination-log in a pod].
    #[arg(long, value_name = "FILE")]
    pub(crate) termination_log: Option<PathBuf>,
}

/// Reads `HOST:PORT`, with an IP address as the host, `localhost`, or nothing for every address.
pub(crate) fn parse_listen_address(text: &str) -> Result<SocketAddr, String> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("{text:?} has no port: write HOST:PORT, for instance 127.0.0.1:8080"))?;
    let port: u16 =
        port.parse().map_err(|_| format!("{port:?} is not a port: write a number from 0 to 65535"))?;
    let address = match host {
        "" | "*" => std::net::IpAddr::from([0, 0, 0, 0]),
        "localhost" => std::net::IpAddr::from([127, 0, 0, 1]),
        host => host.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| {
            format!("{host:?} is not an IP address: write for instance 127.0.0.1, [::1] or localhost")
        })?,
    };
    Ok(SocketAddr::new(address, port))
}

/// Reads `off` or a share from 0 to 1.
fn parse_rate(text: &str) -> Result<f64, String> {
    if text == "off" {
        return Ok(0.0);
    }
    text.parse()
        .ok()
        .filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or_else(|| format!("{text:?} is not a share of requests: write off, or a number from 0 to 1"))
}

fn parse_secret(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(file)))
        }
        _ => Err("write NAME=FILE.env, for instance --secret s3=./s3.env".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn command_line_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn secret_for_a_copy_needs_a_copy() {
        let parse = |more: &[&str]| {
            Arguments::try_parse_from(["modelwright", "resolve", "--uri", "s3://b/m"].iter().chain(more))
        };
        assert!(parse(&["--copy-to-secret", "store"]).is_err());
        assert!(parse(&["--copy-to-secret", "store", "--copy-to", "s3://c/m"]).is_ok());
    }

    #[test]
    fn listen_address_without_host_means_every_address() {
        assert_eq!(parse_listen_address(":8080").unwrap(), SocketAddr::from(([0, 0, 0, 0], 8080)));
        assert_eq!(parse_listen_address("localhost:0").unwrap(), SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(parse_listen_address("[::1]:80").unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn listen_address_errors_say_what_to_write() {
        assert!(parse_listen_address("8080").unwrap_err().contains("HOST:PORT"));
        assert!(parse_listen_address("127.0.0.1:99999").unwrap_err().contains("0 to 65535"));
        assert!(parse_listen_address("example.com:80").unwrap_err().contains("IP address"));
    }

    #[test]
    fn a_share_of_requests_is_off_or_between_none_and_all() {
        for (text, rate) in [("off", 0.0), ("0", 0.0), ("0.01", 0.01), ("1", 1.0)] {
            assert!((parse_rate(text).unwrap() - rate).abs() < f64::EPSILON, "{text}");
        }
        for wrong in ["on", "", "-1", "1.5", "NaN"] {
            assert!(parse_rate(wrong).unwrap_err().contains("from 0 to 1"));
        }
    }

    #[test]
    fn secret_needs_a_name_and_a_file() {
        assert_eq!(parse_secret("s3=a.env").unwrap(), ("s3".to_owned(), PathBuf::from("a.env")));
        for wrong in ["s3", "=a.env", "s3="] {
            assert!(parse_secret(wrong).unwrap_err().contains("NAME=FILE.env"));
        }
    }
}
