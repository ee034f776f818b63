//! The command line of `operator`. A chart gives all of it as environment variables.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args, ValueEnum};
use modelwright_api::contract::environment as variables;
use modelwright_operator::controller::Options;
use modelwright_operator::lease;
use modelwright_operator::settings::{self, Images, Settings};

use crate::arguments::{parse_duration, parse_listen_address};

/// Run the operator: make of every Model in a cluster what it describes.
///
/// Of several processes one works and the others wait for their turn. What it logs, measures and exits with is in
/// docs/operations.md.
#[derive(Debug, Args)]
pub(crate) struct OperatorArguments {
    /// The namespaces whose Models are looked after, separated by commas [default: all].
    #[arg(long, env = "MODELWRIGHT_WATCH_NAMESPACES", value_name = "NAMESPACES", value_parser = parse_names)]
    watch_namespaces: Option<Names>,
    /// Where probes and metrics are. `:9090` means port 9090 on every address.
    #[arg(long, env = "MODELWRIGHT_ADMIN_LISTEN", value_name = "ADDR", default_value = ":9090", value_parser = parse_listen_address)]
    pub(crate) admin_listen: SocketAddr,
    /// Where KEDA asks how busy Models are, by gRPC without TLS: `:9092` means port 9092 on every address. Without it, nobody is
    /// answered.
    #[arg(long, env = "MODELWRIGHT_SCALER_LISTEN", value_name = "ADDR", value_parser = parse_listen_address)]
    pub(crate) scaler_listen: Option<SocketAddr>,
    /// What this process calls itself in the Lease and in Events; no other that runs may have the same name [default:
    /// the host's name with something random].
    #[arg(long, env = "MODELWRIGHT_POD_NAME", value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) pod_name: Option<String>,
    /// The operator's own namespace, where the Lease is [default: that of the pod, or of the kubeconfig].
    #[arg(long, env = "MODELWRIGHT_POD_NAMESPACE", value_name = "NAMESPACE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) pod_namespace: Option<String>,
    /// The name of the Lease.
    #[arg(long, env = "MODELWRIGHT_LEASE_NAME", value_name = "NAME", default_value = "modelwright-operator", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) lease_name: String,
    /// How long nobody may have renewed the Lease before another process takes it, from 3s to 5m. Its holder renews it every third
    /// of that, and stops after two.
    #[arg(long, env = "MODELWRIGHT_LEASE_DURATION", value_name = "DURATION", default_value = "15s", value_parser = parse_lease_duration)]
    lease_duration: Duration,
    /// Whether to work only as long as this process holds the Lease. Without it, never run two at once, not even during an
    /// update.
    #[arg(long, env = "MODELWRIGHT_LEADER_ELECTION", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub(crate) leader_election: bool,
    /// The image of Jobs, and of servers that compute on CPUs.
    #[arg(long, env = variables::IMAGE_CPU, value_name = "IMAGE", value_parser = NonEmptyStringValueParser::new())]
    image_cpu: String,
    /// The image of servers that compute with CUDA. Without it, Models that ask for CUDA are refused.
    #[arg(long, env = variables::IMAGE_CUDA, value_name = "IMAGE", value_parser = NonEmptyStringValueParser::new())]
    image_cuda: Option<String>,
    /// When nodes pull these images.
    #[arg(long, env = "MODELWRIGHT_IMAGE_PULL_POLICY", value_enum, default_value_t = PullPolicy::IfNotPresent)]
    image_pull_policy: PullPolicy,
    /// The names of Secrets to pull these images with, separated by commas; they must be in each Model's namespace.
    #[arg(long, env = "MODELWRIGHT_IMAGE_PULL_SECRETS", value_name = "NAMES", value_parser = parse_names)]
    image_pull_secrets: Option<Names>,
    /// When servers that run already get the image and the settings of a new operator.
    #[arg(long, env = "MODELWRIGHT_IMAGE_ROLLOUT", value_enum, default_value_t = ImageRollout::OnNextChange)]
    image_rollout: ImageRollout,
    /// Whether sources may be on private networks.
    #[arg(long, env = "MODELWRIGHT_PRIVATE_ADDRESSES", value_enum, default_value_t = PrivateAddresses::Allow)]
    private_addresses: PrivateAddresses,
    /// What kind of cluster it is.
    #[arg(long, env = "MODELWRIGHT_PLATFORM", value_enum, default_value_t = Platform::Kubernetes)]
    platform: Platform,
    /// How many Models are worked on at the same time.
    #[arg(long, env = "MODELWRIGHT_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    concurrency: u16,
    /// Reach the cluster as this file says, for development [default: as a pod, or as `KUBECONFIG` says].
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
}

/// How long passes that run may go on after the process was told to end; it ends itself two seconds later.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);

impl OperatorArguments {
    /// What holds for every Model.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            images: Images {
                cpu: self.image_cpu.clone(),
                cuda: self.image_cuda.clone(),
                pull_policy: self.image_pull_policy.into(),
                pull_secrets: self.image_pull_secrets.clone().unwrap_or_default().0,
            },
            image_rollout: self.image_rollout.into(),
            private_addresses: self.private_addresses.into(),
            platform: self.platform.into(),
            namespace: self.pod_namespace.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The times of the leader election.
    pub(crate) fn lease(&self) -> lease::Settings {
        lease::Settings::of(self.lease_duration)
    }

    /// How the controller runs.
    pub(crate) fn options(&self) -> Options {
        Options {
            watch_namespaces: self.watch_namespaces.clone().unwrap_or_default().0,
            concurrency: self.concurrency,
            shutdown_grace: SHUTDOWN_GRACE,
            ..Options::default()
        }
    }
}

/// Reads how long a Lease lasts.
fn parse_lease_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    if (lease::Settings::SHORTEST..=lease::Settings::LONGEST).contains(&duration) {
        return Ok(duration);
    }
    Err(format!("a Lease lasts from 3s to 5m, not {text}; write for example 15s"))
}

/// Names of objects, of namespaces for instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names(Vec<String>);

/// Reads names separated by commas, each once and in order.
fn parse_names(text: &str) -> Result<Names, String> {
    let mut names: Vec<_> =
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let is_plain = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '-' | '.')
    };
    if let Some(wrong) = names.iter().find(|name| name.len() > 253 || !name.chars().all(is_plain)) {
        return Err(format!("{wrong:?} is not a name: write names separated by commas, for instance a,b"));
    }
    names.sort();
    names.dedup();
    Ok(Names(names))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum PullPolicy {
    /// When it is not there.
    IfNotPresent,
    /// Before every start.
    Always,
    /// Never.
    Never,
}

impl From<PullPolicy> for settings::PullPolicy {
    fn from(policy: PullPolicy) -> Self {
        match policy {
            PullPolicy::IfNotPresent => Self::IfNotPresent,
            PullPolicy::Always => Self::Always,
            PullPolicy::Never => Self::Never,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum ImageRollout {
    /// With the next change of their Model, so that the upgrade of an operator restarts nothing.
    OnNextChange,
    /// At once, as a rolling update.
    Immediately,
}

impl From<ImageRollout> for settings::ImageRollout {
    fn from(rollout: ImageRollout) -> Self {
        match rollout {
            ImageRollout::OnNextChange => Self::OnNextChange,
            ImageRollout::Immediately => Self::Immediately,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum PrivateAddresses {
    /// They may.
    Allow,
    /// They may not: whoever writes a Model cannot reach hosts in the cluster's network by it.
    Refuse,
}

impl From<PrivateAddresses> for settings::PrivateAddresses {
    fn from(addresses: PrivateAddresses) -> Self {
        match addresses {
            PrivateAddresses::Allow => Self::Allow,
            PrivateAddresses::Refuse => Self::Refuse,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Platform {
    /// Any.
    #[value(name = "Kubernetes")]
    Kubernetes,
    /// One that chooses the user id of pods itself and refuses pods that name one.
    #[value(name = "OpenShift")]
    OpenShift,
}

impl From<Platform> for settings::Platform {
    fn from(platform: Platform) -> Self {
        match platform {
            Platform::Kubernetes => Self::Kubernetes,
            Platform::OpenShift => Self::OpenShift,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        operator: OperatorArguments,
    }

    fn parse(words: &[&str]) -> Result<OperatorArguments, clap::Error> {
        Line::try_parse_from(["operator"].iter().chain(words)).map(|line| line.operator)
    }

    #[test]
    fn image_is_all_that_must_be_given() {
        let arguments = parse(&["--image-cpu", "registry/modelwright:1"]).unwrap();
        let settings = arguments.settings();
        assert_eq!(settings.images.cpu, "registry/modelwright:1");
        assert_eq!((settings.images.cuda, settings.images.pull_secrets), (None, Vec::new()));
        assert_eq!(settings.image_rollout, settings::ImageRollout::OnNextChange);
        assert_eq!((arguments.options().watch_namespaces, arguments.options().concurrency), (Vec::new(), 8));
        assert!(arguments.leader_election);
        assert_eq!(arguments.scaler_listen, None);
        assert_eq!(arguments.lease(), lease::Settings::default());
        let error = parse(&[]).err().unwrap().to_string();
        assert!(error.contains("--image-cpu"), "{error}");
    }

    /// An operator that the chart installs must start.
    #[test]
    fn chart_takes_the_concurrency_that_the_operator_takes() {
        let schema = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../charts/modelwright/values.schema.json");
        let schema: serde_json::Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
        let bounds = &schema["properties"]["operator"]["properties"]["concurrency"];
        let takes = |concurrency: u64| {
            parse(&["--image-cpu", "c", "--concurrency", &concurrency.to_string()]).is_ok()
        };
        let (least, most) = (bounds["minimum"].as_u64().unwrap(), bounds["maximum"].as_u64().unwrap());
        assert!(takes(least) && !takes(least - 1));
        assert!(takes(most) && !takes(most + 1));
    }

    #[test]
    fn every_argument_reaches_settings_or_options() {
        let line = "--image-cpu c --image-cuda g --image-pull-policy Always --image-pull-secrets b,a, \
                    --image-rollout Immediately --private-addresses Refuse --platform OpenShift --pod-namespace ops \
                     --watch-namespaces team-b,team-a,team-b --concurrency 2 --leader-election false \
                     --scaler-listen :9092 --lease-duration 1m";
        let arguments = parse(&line.split_ascii_whitespace().collect::<Vec<_>>()).unwrap();
        let expected = Settings {
            images: Images {
                cpu: "c".to_owned(),
                cuda: Some("g".to_owned()),
                pull_policy: settings::PullPolicy::Always,
                pull_secrets: vec!["a".to_owned(), "b".to_owned()],
            },
            image_rollout: settings::ImageRollout::Immediately,
            private_addresses: settings::PrivateAddresses::Refuse,
            platform: settings::Platform::OpenShift,
            namespace: Some("ops".to_owned()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        assert_eq!(arguments.settings(), expected);
        let namespaces = vec!["team-a".to_owned(), "team-b".to_owned()];
        assert_eq!((arguments.options().watch_namespaces, arguments.options().concurrency), (namespaces, 2));
        assert!(!arguments.leader_election);
        assert_eq!(arguments.scaler_listen, Some(SocketAddr::from(([0, 0, 0, 0], 9092))));
        assert_eq!(arguments.lease().duration, Duration::from_mins(1));
    }

    #[test]
    fn wrong_values_say_what_to_write() {
        for (words, expected) in [
            (["--watch-namespaces", "A B"], "separated by commas"),
            (["--image-pull-policy", "always"], "IfNotPresent, Always, Never"),
            (["--platform", "Other"], "Kubernetes, OpenShift"),
            (["--concurrency", "0"], "1..=64"),
            (["--lease-duration", "2s"], "from 3s to 5m"),
            (["--pod-name", ""], "a value is required"),
            (["--admin-listen", "9090"], "HOST:PORT"),
            (["--scaler-listen", "9092"], "HOST:PORT"),
        ] {
            let words: Vec<_> = ["--image-cpu", "c"].into_iter().chain(words).collect();
            let error = parse(&words).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
