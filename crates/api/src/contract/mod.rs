//! Every name, number and path that two parts of the system share; the same facts stand in `docs/contract.md`.
//!
//! What a part alone knows is not here. Parts that come with a later version are reserved in the document and get
//! their constants with the code that uses them.

mod exit_code;
pub mod names;
#[cfg(test)]
mod tests;

pub use exit_code::{Class, ExitCode};

/// The API group of every resource, and the prefix of labels and annotations.
pub const GROUP: &str = "modelwright.dev";
/// What a manifest writes as `apiVersion`.
pub const API_VERSION: &str = "modelwright.dev/v1alpha1";
/// What a manifest writes as `kind`.
pub const KIND: &str = "Model";
/// The value of `app.kubernetes.io/name` and `app.kubernetes.io/managed-by`.
pub const APPLICATION: &str = "modelwright";

/// Ports that containers listen on.
pub mod ports {
    /// Port of `serve` and `run` for predictions: HTTP/1.1 and h2c.
    pub const DATA: u16 = 8080;
    /// Name of [`DATA`] in a pod.
    pub const DATA_NAME: &str = "data";
    /// Port of `serve`, `run` and the operator for probes and metrics.
    pub const ADMIN: u16 = 9090;
    /// Name of [`ADMIN`] in a pod.
    pub const ADMIN_NAME: &str = "admin";
    /// Port of `train` and `agent` for the progress of a training.
    pub const PROGRESS: u16 = 9091;
    /// Name of [`PROGRESS`] in a pod.
    pub const PROGRESS_NAME: &str = "progress";
    /// Port of the operator for autoscalers that ask by gRPC.
    pub const SCALER: u16 = 9092;
    /// Name of [`SCALER`] in a pod.
    pub const SCALER_NAME: &str = "scaler";
    /// The Service's port for HTTP, which leads to [`DATA`].
    pub const SERVICE_HTTP: u16 = 80;
    /// Name of [`SERVICE_HTTP`].
    pub const SERVICE_HTTP_NAME: &str = "http";
    /// The Service's port instead of [`SERVICE_HTTP`] where servers speak TLS.
    pub const SERVICE_HTTPS: u16 = 443;
    /// Name of [`SERVICE_HTTPS`].
    pub const SERVICE_HTTPS_NAME: &str = "https";
    /// The Service's port for gRPC, which leads to [`DATA`].
    pub const SERVICE_GRPC: u16 = 9000;
    /// Name of [`SERVICE_GRPC`].
    pub const SERVICE_GRPC_NAME: &str = "grpc";
    /// The `appProtocol` of [`SERVICE_GRPC`]: HTTP/2 without TLS.
    pub const SERVICE_GRPC_PROTOCOL: &str = "kubernetes.io/h2c";
    /// The `appProtocol` of both ports where servers speak TLS.
    pub const SERVICE_TLS_PROTOCOL: &str = "https";
}

/// Paths on the admin port.
pub mod probes {
    /// Answers 200 while the process can make progress.
    pub const LIVE: &str = "/livez";
    /// Answers 200 while predictions are accepted.
    pub const READY: &str = "/readyz";
    /// Prometheus metrics.
    pub const METRICS: &str = "/metrics";
    /// Where the time between start and ready went, as JSON.
    pub const COLD_START: &str = "/debug/coldstart";
    /// How busy each model of a server was in the last seconds, as JSON.
    pub const LOAD: &str = "/load";
}

/// Label keys, and the values that are fixed.
pub mod labels {
    /// The Model's name; on every child and pod.
    pub const MODEL: &str = "modelwright.dev/model";
    /// What a pod does; on pods.
    pub const ROLE: &str = "modelwright.dev/role";
    /// Which of two Deployments a server belongs to; on server pods.
    pub const TRACK: &str = "modelwright.dev/track";
    /// The first 16 hexadecimal digits of the revision; on server pods.
    pub const REVISION: &str = "modelwright.dev/revision";
    /// Recommended label: the application.
    pub const APP_NAME: &str = "app.kubernetes.io/name";
    /// Recommended label: the Model's name.
    pub const APP_INSTANCE: &str = "app.kubernetes.io/instance";
    /// Recommended label: who made the object.
    pub const APP_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// Recommended label: the version that made the object.
    pub const APP_VERSION: &str = "app.kubernetes.io/version";

    /// Value of [`ROLE`]: answers predictions.
    pub const ROLE_SERVER: &str = "server";
    /// Value of [`ROLE`]: finds out what a source holds.
    pub const ROLE_RESOLVE: &str = "resolve";
    /// Value of [`ROLE`]: trains.
    pub const ROLE_TRAIN: &str = "train";
    /// Value of [`ROLE`]: looks whether a training's data changed.
    pub const ROLE_DATA: &str = "data";
    /// Value of [`ROLE`]: deletes revisions from a store.
    pub const ROLE_DELETE: &str = "delete";
    /// On Jobs: the LocalQueue that admits them, as Kueue reads it.
    pub const QUEUE: &str = "kueue.x-k8s.io/queue-name";
    /// On pods of an Indexed Job, by the Job's controller, and an annotation as well: their number, from 0, which is the rank of a
    /// pod that trains with others.
    pub const POD_INDEX: &str = "batch.kubernetes.io/job-completion-index";
    /// Value of [`TRACK`]: the only Deployment there is now.
    pub const TRACK_STABLE: &str = "stable";
}

/// Annotation keys.
pub mod annotations {
    /// The revision's first 16 hexadecimal digits.
    pub const REVISION: &str = "modelwright.dev/revision";
    /// The revision's full digest, `sha256:…`.
    pub const DIGEST: &str = "modelwright.dev/digest";
    /// Where the revision's bytes are read from.
    pub const URI: &str = "modelwright.dev/uri";
    /// What the pods' template was rendered from: the sha256 of the Model's part, a dot, and the beginning of that of
    /// the operator's part (images and settings); on the Deployment and its pods.
    pub const RENDERED_FROM: &str = "modelwright.dev/rendered-from";
    /// The version of the operator that rendered the template.
    pub const RENDERER: &str = "modelwright.dev/renderer";
    /// What the revision was resolved for: the [`JOB_HASH`] of the Job that found it; on the Deployment.
    pub const RESOLVED_FROM: &str = "modelwright.dev/resolved-from";
    /// The [`RENDERED_FROM`] of the pods that served before, to go back to; on a Deployment whose pods are new.
    pub const ACTIVE: &str = "modelwright.dev/active";
    /// The [`RENDERED_FROM`] and [`RESOLVED_FROM`] of pods that did not become ready, so that they are not tried again; on
    /// the Deployment.
    pub const REJECTED: &str = "modelwright.dev/rejected";
    /// Why they did not: the reason, a colon and a sentence; on the Deployment.
    pub const REJECTED_FOR: &str = "modelwright.dev/rejected-for";
    /// The full digest of the newest revision that was served before and that no gate refused, and after a slash the beginning of
    /// the [`RESOLVED_FROM`] that it answered, if it did; on the Deployment.
    pub const FORMER: &str = "modelwright.dev/former";
    /// That the gate refused a revision that is served because `spec.rollout.revision` named it: its full digest, the reason, a
    /// colon and why; on the Deployment.
    pub const REFUSED: &str = "modelwright.dev/refused";
    /// The beginning of the sha256 of what was applied, so that a field which is no longer written is a difference as well; on
    /// Service, autoscaler and network policy.
    pub const APPLIED: &str = "modelwright.dev/applied";
    /// The full hash of what a Job was made for.
    pub const JOB_HASH: &str = "modelwright.dev/job-hash";
    /// On a Model: a new value asks for the source to be read again.
    pub const RESOLVE_AT: &str = "modelwright.dev/resolve-at";
    /// On a Model: a new value asks for a training.
    pub const RETRAIN_AT: &str = "modelwright.dev/retrain-at";
    /// On a training Job: the name of the run, the same for all attempts that go on from one another's checkpoints.
    pub const RUN: &str = "modelwright.dev/run";
    /// On a training Job: how many attempts before it failed in a way that counts. On a Job that resolves: how many failed by a
    /// mistake of ours.
    pub const FAILURES: &str = "modelwright.dev/failures";
    /// On a training Job: the number of the attempt at its run, from 0.
    pub const ATTEMPT: &str = "modelwright.dev/attempt";
    /// On a training Job that never starts: why the attempt was ended in whose place it stands, since it made no progress.
    pub const GIVEN_UP: &str = "modelwright.dev/given-up";
    /// On a training Job: what it was started for, such as `first` or `cron 2026-11-27T03:00:00Z`.
    pub const TRIGGER: &str = "modelwright.dev/trigger";
    /// On training, data and delete pods: the order, as JSON.
    pub const ORDER: &str = "modelwright.dev/order";
    /// On training pods: what the container of the user finds as `ML_CONFIG`, as JSON.
    pub const PARAMETERS: &str = "modelwright.dev/parameters";
}

/// Finalizers.
pub mod finalizers {
    /// On a Model with `deletionPolicy: DeleteArtifacts`: its revisions are deleted before it goes.
    pub const ARTIFACTS: &str = "modelwright.dev/artifacts";
}

/// Server-side-apply field managers.
pub mod field_managers {
    /// Owns all of the Deployment but its replicas.
    pub const TEMPLATE: &str = "modelwright-template";
    /// Owns the Deployment's replicas, unless an autoscaler does.
    pub const REPLICAS: &str = "modelwright-replicas";
    /// Owns every other child.
    pub const CHILDREN: &str = "modelwright-children";
    /// Owns the Model's status.
    pub const STATUS: &str = "modelwright-status";
}

/// Container names.
pub mod containers {
    /// Init container that brings the revision's files and verifies them.
    pub const FETCH: &str = "fetch";
    /// Answers predictions.
    pub const SERVE: &str = "serve";
    /// Finds out what a source holds.
    pub const RESOLVE: &str = "resolve";
    /// Trains: the built-in trainer, or the image of the user.
    pub const TRAIN: &str = "train";
    /// Sidecar of a user's training: brings checkpoints out and tells progress.
    pub const AGENT: &str = "agent";
    /// Judges what a user's training wrote, without credentials.
    pub const CHECK: &str = "check";
    /// Publishes what was checked.
    pub const PUBLISH: &str = "publish";
    /// Looks whether a training's data changed.
    pub const DATA: &str = "data";
    /// Deletes revisions from a store.
    pub const DELETE: &str = "delete";
    /// Every container that has its name from Modelwright.
    pub const ALL: [&str; 9] = [FETCH, SERVE, RESOLVE, TRAIN, AGENT, CHECK, PUBLISH, DATA, DELETE];
}

/// The user and group id of every container of ours.
pub const UID: i64 = 65532;

/// Paths in containers.
pub mod paths {
    /// The revision's files; read-only for the server.
    pub const MODELS: &str = "/models";
    /// Name of the `emptyDir` volume behind [`MODELS`].
    pub const MODELS_VOLUME: &str = "model";
    /// A `pvc://` source; read-only.
    pub const SOURCE: &str = "/mnt/source";
    /// A `pvc://` source of validation rows; read-only.
    pub const VALIDATION: &str = "/mnt/validation";
    /// A `pvc://` source of test rows; read-only.
    pub const TEST: &str = "/mnt/test";
    /// The folder with [`ORDER`], a downward API volume.
    pub const ORDER_FOLDER: &str = "/etc/modelwright/order";
    /// The order of a training, data or delete pod.
    pub const ORDER: &str = "/etc/modelwright/order/order.json";
    /// The built-in trainer's folder for data, checkpoints and the revision before it is published.
    pub const WORK: &str = "/ml/work";
    /// A user's training finds `train`, `validation` and `test` here; read-only.
    pub const ML_DATA: &str = "/ml/data";
    /// The folder with [`ML_CONFIG`], a downward API volume.
    pub const ML_CONFIG_FOLDER: &str = "/ml/config";
    /// `spec.training.container.parameters` as JSON.
    pub const ML_CONFIG: &str = "/ml/config/training.json";
    /// Where a user's training leaves its result.
    pub const ML_OUT: &str = "/ml/out";
    /// Where it leaves checkpoints, and finds those of earlier attempts.
    pub const ML_CHECKPOINTS: &str = "/ml/checkpoints";
    /// The folder with [`ML_PROGRESS`].
    pub const ML_PROGRESS_FOLDER: &str = "/ml/progress";
    /// Where it may tell its progress, one JSON object a line.
    pub const ML_PROGRESS: &str = "/ml/progress/progress.jsonl";
    /// What `fetch` found of the data and what `check` found of the result; not seen by the user's container.
    pub const ML_RECORDS: &str = "/ml/records";
    /// The hashes of clients' keys, one file for each client; read-only, for servers only.
    pub const API_KEYS: &str = "/etc/modelwright/api-keys";
    /// Name of the Secret volume behind [`API_KEYS`].
    pub const API_KEYS_VOLUME: &str = "api-keys";
    /// `tls.crt` and `tls.key` of the data port; read-only, for servers only.
    pub const TLS: &str = "/etc/modelwright/tls";
    /// Name of the Secret volume behind [`TLS`].
    pub const TLS_VOLUME: &str = "tls";
    /// The only other writable folder.
    pub const TEMPORARY: &str = "/tmp";
    /// Where a command in a pod leaves its outcome.
    pub const TERMINATION_LOG: &str = "/dev/termination-log";
}

/// Environment variables.
pub mod environment {
    /// The Model's name.
    pub const MODEL: &str = "MODELWRIGHT_MODEL";
    /// The Model's namespace.
    pub const NAMESPACE: &str = "MODELWRIGHT_NAMESPACE";
    /// The revision's full digest.
    pub const REVISION: &str = "MODELWRIGHT_REVISION";
    /// How many CPUs a server may use, as a number such as `2` or `0.5`.
    pub const CPUS: &str = "MODELWRIGHT_CPUS";
    /// What is logged, in the syntax of `RUST_LOG`.
    pub const LOG: &str = "MODELWRIGHT_LOG";
    /// Which share of its requests a server logs: `off`, or a number from 0 to 1.
    pub const ACCESS_LOG: &str = "MODELWRIGHT_ACCESS_LOG";
    /// How often the built-in trainer brings its state out, such as `20s`.
    pub const CHECKPOINT_INTERVAL: &str = "MODELWRIGHT_CHECKPOINT_INTERVAL";
    /// How long a request to a store is tried again that fails for a passing reason, such as `10m`.
    pub const STORE_RETRY: &str = "MODELWRIGHT_STORE_RETRY";
    /// The path of ONNX Runtime's library.
    pub const ONNX_RUNTIME: &str = "ORT_DYLIB_PATH";
    /// `1` keeps ONNX Runtime from reporting to its makers; images carry it, and containers must keep it.
    pub const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";
    /// What credentials of the store of a copy begin with.
    pub const COPY_TO_PREFIX: &str = "COPY_TO_";
    /// What credentials of the validation rows' store begin with; those of the training rows have no prefix.
    pub const VALIDATION_PREFIX: &str = "VALIDATION_";
    /// What credentials of the test rows' store begin with.
    pub const TEST_PREFIX: &str = "TEST_";
    /// What credentials of the store of revisions begin with.
    pub const OUTPUT_PREFIX: &str = "OUTPUT_";
    /// The rank of a pod among those that train together, from 0; also the name that `torchrun` reads.
    pub const NODE_RANK: &str = "PET_NODE_RANK";
    /// For the operator: the image of CPU servers.
    pub const IMAGE_CPU: &str = "MODELWRIGHT_IMAGE_CPU";
    /// For the operator: the image of CUDA servers.
    pub const IMAGE_CUDA: &str = "MODELWRIGHT_IMAGE_CUDA";
}

/// The keys of a credentials Secret that are read; every other key is ignored. Each becomes the environment variable of
/// its own name, but [`CA_CERTIFICATE`], which becomes a file.
pub const CREDENTIALS: [&str; 11] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "HTTP_BEARER_TOKEN",
    CA_CERTIFICATE,
];
/// The key of [`CREDENTIALS`] that holds PEM certificates of the authorities a store's TLS certificate may come from.
pub const CA_CERTIFICATE: &str = "ca.crt";

/// The longest outcome of a command, in bytes. A kubelet divides 12 KiB among a pod's containers.
pub const OUTCOME_MAX_BYTES: usize = 1_024;
/// The most revisions that an outcome lists.
pub const OUTCOME_MAX_REVISIONS: usize = 24;
/// The most inputs that an outcome lists.
pub const OUTCOME_MAX_INPUTS: usize = 8;
/// How many redirects are followed, each to the same scheme and without credentials.
pub const MAX_REDIRECTS: usize = 3;
