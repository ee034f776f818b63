//! What holds for every Model of one operator.

use serde::Serialize;

/// How an operator was installed.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The images of pods.
    pub images: Images,
    /// When running servers get another image.
    pub image_rollout: ImageRollout,
    /// Whether sources may be on private networks.
    pub private_addresses: PrivateAddresses,
    /// What kind of cluster it is.
    pub platform: Platform,
    /// The operator's own namespace, whose pods may always reach the admin port of servers.
    pub namespace: Option<String>,
    /// The operator's version, which stands on what it makes.
    pub version: String,
}

impl Settings {
    /// An operator of this version with this one image, and every default.
    pub fn with_image(image: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            images: Images {
                cpu: image.into(),
                cuda: None,
                pull_policy: PullPolicy::default(),
                pull_secrets: Vec::new(),
            },
            image_rollout: ImageRollout::default(),
            private_addresses: PrivateAddresses::default(),
            platform: Platform::default(),
            namespace: None,
            version: version.into(),
        }
    }
}

/// The images of pods.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Images {
    /// For Jobs, and for servers that compute on CPUs.
    pub cpu: String,
    /// For servers that compute with CUDA, if there is one.
    pub cuda: Option<String>,
    /// When a node pulls them.
    pub pull_policy: PullPolicy,
    /// Names of Secrets in each Model's namespace with which a node may pull them.
    pub pull_secrets: Vec<String>,
}

/// When a node pulls an image, as in a container.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub enum PullPolicy {
    /// When it is not there.
    #[default]
    IfNotPresent,
    /// Before every start.
    Always,
    /// Never.
    Never,
}

impl PullPolicy {
    /// The word as a container has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IfNotPresent => "IfNotPresent",
            Self::Always => "Always",
            Self::Never => "Never",
        }
    }
}

/// When running servers get the image and the settings of a new operator.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ImageRollout {
    /// With the next change of their Model, so that the upgrade of an operator restarts nothing.
    #[default]
    OnNextChange,
    /// At once, as a rolling update.
    Immediately,
}

/// Whether sources may be on private networks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub enum PrivateAddresses {
    /// They may: most object stores of a company are.
    #[default]
    Allow,
    /// They may not: whoever writes a Model may then not reach hosts in the cluster's network by it.
    Refuse,
}

/// What kind of cluster it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub enum Platform {
    /// Any.
    #[default]
    Kubernetes,
    /// One that chooses the user id of pods itself and refuses pods that name one.
    OpenShift,
}
