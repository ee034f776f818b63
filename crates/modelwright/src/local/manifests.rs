//! From files to Models: read, check, and find what credentials they need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use modelwright_api::Model;
use modelwright_api::contract::ExitCode;
use modelwright_api::model::SecretReference;
use modelwright_api::serving::Serving;
use modelwright_api::training::Training;
use modelwright_artifact::Credentials;

use crate::environment;
use crate::failure::Failure;

/// The namespace of a Model that names none, as in a cluster.
const DEFAULT_NAMESPACE: &str = "default";

/// A Model and where its manifest was.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) model: Model,
    /// The manifest's folder: relative `file:` sources are relative to it.
    pub(crate) folder: PathBuf,
}

impl Entry {
    pub(crate) fn name(&self) -> &str {
        self.model.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn namespace(&self) -> &str {
        self.model.metadata.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE)
    }

    /// The fields of this manifest that only a cluster applies, with their paths.
    pub(crate) fn not_applied(&self) -> Vec<String> {
        let spec = &self.model.spec;
        let mut fields = spec.serving.as_ref().map(serving_not_applied).unwrap_or_default();
        fields.extend(spec.training.as_ref().map(training_not_applied).unwrap_or_default());
        let poll = spec.source.as_ref().is_some_and(|source| source.poll_interval.is_some());
        let rollout = spec.rollout.as_ref();
        let written = [
            ("spec.source.pollInterval", poll),
            ("spec.rollout.strategy", rollout.is_some_and(|rollout| rollout.strategy.is_some())),
            ("spec.rollout.surge", rollout.is_some_and(|rollout| rollout.surge.is_some())),
            (
                "spec.rollout.progressDeadline",
                rollout.is_some_and(|rollout| rollout.progress_deadline.is_some()),
            ),
            ("spec.serviceAccountName", spec.service_account_name.is_some()),
            ("spec.podTemplate", spec.pod_template.is_some()),
            ("spec.suspend", spec.suspend == Some(true)),
            ("spec.deletionPolicy", spec.deletion_policy.is_some()),
        ];
        fields.extend(written.into_iter().filter(|(_, written)| *written).map(|(field, _)| field.to_owned()));
        fields
    }
}

/// The fields of `spec.serving` that only a cluster applies.
fn serving_not_applied(serving: &Serving) -> Vec<String> {
    let written = [
        // One replica is what runs here anyway.
        ("replicas", serving.replicas.is_some_and(|replicas| replicas != 1)),
        ("autoscaling", serving.autoscaling.is_some()),
        ("service", serving.service.is_some()),
        ("networkPolicy", serving.network_policy.is_some()),
        ("podTemplate", serving.pod_template.is_some()),
    ];
    let mut fields: Vec<String> = written
        .iter()
        .filter(|(_, written)| *written)
        .map(|(field, _)| format!("spec.serving.{field}"))
        .collect();
    if let Some(resources) = &serving.resources {
        for (kind, quantities) in [("requests", &resources.requests), ("limits", &resources.limits)] {
            // CPUs bound the threads here too.
            let names = quantities.iter().flat_map(BTreeMap::keys).filter(|name| *name != "cpu");
            fields.extend(names.map(|name| format!("spec.serving.resources.{kind}.{name}")));
        }
    }
    fields
}

/// The fields of `spec.training` that only a cluster applies. Here a training begins when somebody starts it.
fn training_not_applied(training: &Training) -> Vec<String> {
    let written = [
        ("data.pollInterval", training.data.poll_interval.is_some()),
        ("cron", training.cron.is_some()),
        ("timeZone", training.time_zone.is_some()),
        ("deadline", training.deadline.is_some()),
        ("stallTimeout", training.stall_timeout.is_some()),
        ("retries", training.retries.is_some()),
        ("queue", training.queue.is_some()),
        ("keep", training.keep.is_some()),
        ("resources", training.resources.is_some()),
        ("podTemplate", training.pod_template.is_some()),
    ];
    let written = written.into_iter().filter(|(_, written)| *written);
    written.map(|(field, _)| format!("spec.training.{field}")).collect()
}

/// Reads all manifests. All problems of all files are reported together.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Entry>, Failure> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
        match modelwright_api::parse(&text, &file.display().to_string()) {
            Ok(models) => {
                let parent =
                    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let folder = parent.canonicalize().map_err(|error| unreadable(file, &error))?;
                entries.extend(models.into_iter().map(|model| Entry { model, folder: folder.clone() }));
            }
            Err(found) => problems.push(found.to_string()),
        }
    }
    problems.extend(shared_names(&entries));
    if problems.is_empty() {
        return Ok(entries);
    }
    Err(Failure::new(ExitCode::InvalidConfiguration, "InvalidManifest", problems.join("\n")))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::InvalidData {
        ExitCode::InvalidConfiguration
    } else {
        ExitCode::InputMissing
    };
    let message = format!("cannot read the manifest {}: {error}; name a YAML file", file.display());
    Failure::new(exit, "ManifestUnreadable", message)
}

/// The endpoint has no namespaces, so here a name may stand only once.
fn shared_names(entries: &[Entry]) -> Vec<String> {
    let mut namespaces: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in entries {
        namespaces.entry(entry.name()).or_default().push(entry.namespace());
    }
    namespaces.retain(|_, namespaces| namespaces.len() > 1);
    let problem = |(name, namespaces): (&str, Vec<&str>)| {
        format!(
            "the Model {name:?} is given {} times (namespaces {}), and on one endpoint a name stands for one model: \
             rename it, or run the manifests one by one",
            namespaces.len(),
            namespaces.join(", ")
        )
    };
    namespaces.into_iter().map(problem).collect()
}

/// What `--secret` gives, by the name of the Secret.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// Of stores.
    credentials: BTreeMap<String, Credentials>,
    /// Where those of `spec.serving.access` are; the server reads them itself, and again when they change.
    paths: BTreeMap<String, PathBuf>,
}

impl Secrets {
    /// Reads the files; a name that no Model refers to is a mistake.
    pub(crate) fn read(files: &[(String, PathBuf)], entries: &[Entry]) -> Result<Self, Failure> {
        let invalid = |message| Failure::new(ExitCode::InvalidConfiguration, "InvalidCredentials", message);
        let named: Vec<&str> = entries
            .iter()
            .flat_map(|entry| entry.model.spec.secret_references())
            .map(|reference| reference.name.as_str())
            .collect();
        let of_access: Vec<&str> =
            entries.iter().flat_map(|entry| entry.model.spec.access_secrets()).collect();
        let mut secrets = Self::default();
        for (name, file) in files {
            let (is_of_store, is_of_access) =
                (named.contains(&name.as_str()), of_access.contains(&name.as_str()));
            if !is_of_store && !is_of_access {
                let all: Vec<&str> = named.iter().chain(&of_access).copied().collect();
                let known = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
                return Err(invalid(format!(
                    "--secret {name}: no Model names this Secret; they name {known}"
                )));
            }
            let twice = || invalid(format!("--secret {name} is given twice; one file per Secret"));
            if is_of_access && secrets.paths.insert(name.clone(), file.clone()).is_some() {
                return Err(twice());
            }
            if !is_of_store {
                continue;
            }
            let text = std::fs::read_to_string(file).map_err(|error| {
                let message = format!("--secret {name}: cannot read {}: {error}", file.display());
                Failure::new(ExitCode::InputMissing, "CredentialsUnreadable", message)
            })?;
            let credentials = Credentials::from_env_file(&text)
                .map_err(|error| invalid(format!("--secret {name}: {}: {error}", file.display())))?;
            if secrets.credentials.insert(name.clone(), credentials).is_some() {
                return Err(twice());
            }
        }
        Ok(secrets)
    }

    /// Where a Secret of `spec.serving.access` is; `what` says what it must be.
    pub(crate) fn path(&self, name: &str, what: &str) -> Result<PathBuf, Failure> {
        self.paths.get(name).cloned().ok_or_else(|| {
            let message = format!(
                "the Secret {name} of spec.serving.access is not on this machine: pass --secret {name}={what}"
            );
            Failure::new(ExitCode::InputMissing, "CredentialsMissing", message)
        })
    }

    /// The credentials for a uri.
    ///
    /// Without a reference, object storage gets those of the environment, as every other tool of a developer does; a web
    /// server gets none, because a token must not go to whatever host a manifest names.
    pub(crate) fn find(
        &self,
        uri: &str,
        reference: Option<&SecretReference>,
    ) -> Result<Credentials, Failure> {
        let Some(SecretReference { name, .. }) = reference else {
            let is_store = ["s3:", "gs:", "az:"].iter().any(|scheme| uri.starts_with(scheme));
            return Ok(if is_store { environment::credentials() } else { Credentials::default() });
        };
        if let Some(credentials) = self.credentials.get(name) {
            return Ok(credentials.clone());
        }
        let credentials = environment::credentials();
        if credentials.is_empty() {
            let message = format!(
                "there are no credentials for the Secret {name}: pass --secret {name}=FILE.env, or set them in the \
                 environment, for instance AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            );
            return Err(Failure::new(ExitCode::InputMissing, "CredentialsMissing", message));
        }
        Ok(credentials)
    }
}
