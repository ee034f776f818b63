//! The Secret that a step's credentials come from. In a pod each key becomes a variable, and of a Secret that does not exist
//! there is none: the store would answer that access is denied, which sends people looking in the wrong place.

use modelwright_artifact::{CREDENTIAL_NAMES, Credentials, Error, SourceUri};

use crate::arguments::{ResolveArguments, StepArguments};
use crate::environment;
use crate::failure::Failure;

/// A Secret by name; where none is named, nothing is checked.
pub(super) struct Secret<'a> {
    name: Option<&'a str>,
    /// Whether the cloud gives the pod an identity: its webhook then sets the region, which says nothing of the Secret.
    identity: bool,
    credentials: &'a Credentials,
}

/// The keys that are read for a scheme, and those that a new Secret for it begins with.
struct Keys {
    read: &'static [&'static str],
    create: &'static [&'static str],
}

/// The one key among the credentials that clouds set themselves.
const REGION: &str = "AWS_REGION";

impl Keys {
    fn of(scheme: &str) -> Self {
        match scheme {
            "s3" => Self {
                read: &[
                    "AWS_ACCESS_KEY_ID",
                    "AWS_SECRET_ACCESS_KEY",
                    "AWS_SESSION_TOKEN",
                    REGION,
                    "AWS_ENDPOINT_URL",
                    "ca.crt",
                ],
                create: &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", REGION],
            },
            "gs" => Self {
                read: &["GOOGLE_SERVICE_ACCOUNT_KEY", "ca.crt"],
                create: &["GOOGLE_SERVICE_ACCOUNT_KEY"],
            },
            "az" => Self {
                read: &[
                    "AZURE_STORAGE_ACCOUNT_NAME",
                    "AZURE_STORAGE_ACCOUNT_KEY",
                    "AZURE_STORAGE_SAS_TOKEN",
                    "ca.crt",
                ],
                create: &["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"],
            },
            "http" | "https" => {
                Self { read: &["HTTP_BEARER_TOKEN", "ca.crt"], create: &["HTTP_BEARER_TOKEN"] }
            }
            // A volume and a file need no credentials, so a Secret for them is as good as any.
            _ => Self { read: &CREDENTIAL_NAMES, create: &[] },
        }
    }
}

impl<'a> Secret<'a> {
    /// That of the source, with what was found in the environment.
    pub(super) fn of_source(arguments: &'a StepArguments, credentials: &'a Credentials) -> Self {
        let name = arguments.credentials_secret.as_deref();
        Self { name, identity: arguments.instance_identity, credentials }
    }

    /// That of `--copy-to`.
    pub(super) fn of_copy(arguments: &'a ResolveArguments, credentials: &'a Credentials) -> Self {
        let name = arguments.copy_to_secret.as_deref();
        Self { name, identity: arguments.step.instance_identity, credentials }
    }

    /// One that a training's order names.
    pub(super) fn named(name: Option<&'a str>, identity: bool, credentials: &'a Credentials) -> Self {
        Self { name, identity, credentials }
    }

    /// Refuses to go on without any of the Secret's keys.
    pub(super) fn check(&self, uri: &SourceUri) -> Result<(), Failure> {
        let Some(name) = self.name else { return Ok(()) };
        let keys = Keys::of(uri.scheme());
        let tells = |key: &str| keys.read.contains(&key) && !(self.identity && key == REGION);
        if self.credentials.names().any(tells) {
            return Ok(());
        }
        Err(Failure::secret_missing(missing(name, uri.scheme(), &keys, environment::namespace().as_deref())))
    }

    /// The failure with the name of the Secret, where the Secret or the lack of one is what to look at.
    pub(super) fn explain(&self, error: Error) -> Failure {
        let denied = matches!(error, Error::AccessDenied { .. });
        let of_credentials = denied || matches!(error, Error::InvalidCredentials { .. });
        let mut failure = Failure::from(error);
        let more = match self.name {
            Some(name) if of_credentials => format!("they come from the Secret \"{name}\""),
            None if denied && self.credentials.is_empty() && !self.identity => {
                "there were none; a Model names their Secret in credentialsSecretRef".to_owned()
            }
            _ => return failure,
        };
        failure.message = format!("{}; {more}", failure.message);
        failure
    }
}

fn missing(name: &str, scheme: &str, keys: &Keys, namespace: Option<&str>) -> String {
    let place =
        namespace.map_or("this namespace".to_owned(), |namespace| format!("the namespace {namespace}"));
    if keys.create.is_empty() {
        return format!(
            "the Secret \"{name}\" does not exist in {place} or holds none of the keys that are read; a {scheme} uri needs \
             no credentials: remove the Secret's name from the Model"
        );
    }
    let option = namespace.map_or(String::new(), |namespace| format!(" --namespace {namespace}"));
    let literals: Vec<String> = keys.create.iter().map(|key| format!("--from-literal={key}=…")).collect();
    format!(
        "the Secret \"{name}\" does not exist in {place} or holds none of the keys that are read for {scheme} ({}); create \
         it with: kubectl create secret generic {name}{option} {}",
        keys.read.join(", "),
        literals.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn check(uri: &str, identity: bool, names: &[&str]) -> Result<(), Failure> {
        let credentials = Credentials::from_lookup(|name| names.contains(&name).then(|| "x".to_owned()));
        let uri = SourceUri::parse(uri, None)?;
        Secret { name: Some("store"), identity, credentials: &credentials }.check(&uri)
    }

    #[rstest]
    #[case("s3://b/m", false, &["AWS_ACCESS_KEY_ID"])]
    #[case("s3://b/m", false, &["AWS_REGION"])]
    #[case("s3://b/m", true, &["AWS_ENDPOINT_URL", "AWS_REGION"])]
    #[case("gs://b/m", false, &["GOOGLE_SERVICE_ACCOUNT_KEY"])]
    #[case("az://c/m", true, &["AZURE_STORAGE_ACCOUNT_NAME"])]
    #[case("https://h/m", false, &["ca.crt"])]
    #[case("pvc://c/m", false, &["AWS_REGION"])]
    fn secret_with_a_key_that_is_read_passes(
        #[case] uri: &str,
        #[case] identity: bool,
        #[case] names: &[&str],
    ) {
        check(uri, identity, names).unwrap();
    }

    #[rstest]
    #[case("s3://b/m", false, &[], "AWS_SECRET_ACCESS_KEY=…")]
    #[case("s3://b/m", true, &["AWS_REGION"], "AWS_ACCESS_KEY_ID=…")]
    #[case("gs://b/m", false, &["AWS_ACCESS_KEY_ID"], "GOOGLE_SERVICE_ACCOUNT_KEY=…")]
    #[case("az://c/m", false, &[], "AZURE_STORAGE_ACCOUNT_KEY=…")]
    #[case("http://h/m", false, &["AWS_ACCESS_KEY_ID"], "HTTP_BEARER_TOKEN=…")]
    #[case("pvc://c/m", false, &[], "needs no credentials")]
    fn secret_without_keys_is_missing_and_the_message_creates_it(
        #[case] uri: &str,
        #[case] identity: bool,
        #[case] names: &[&str],
        #[case] says: &str,
    ) {
        let failure = check(uri, identity, names).unwrap_err();
        assert_eq!((failure.exit.number(), failure.reason.as_str()), (66, "SecretMissing"));
        assert!(
            failure.message.contains("the Secret \"store\"") && failure.message.contains(says),
            "{failure:?}"
        );
    }

    #[test]
    fn namespace_is_named_where_it_is_known() {
        let message = missing("store", "s3", &Keys::of("s3"), Some("team-a"));
        assert!(
            message.contains("in the namespace team-a") && message.contains("--namespace team-a"),
            "{message}"
        );
    }

    #[test]
    fn every_key_that_is_read_belongs_to_a_scheme() {
        let schemes = ["s3", "gs", "az", "https"].map(|scheme| Keys::of(scheme).read).concat();
        assert!(CREDENTIAL_NAMES.iter().all(|name| schemes.contains(name)));
        assert!(schemes.iter().all(|name| CREDENTIAL_NAMES.contains(name)));
    }
}
