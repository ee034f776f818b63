//! Credentials for stores: allow-listed names only, values never shown.

use std::collections::BTreeMap;
use std::fmt;

use crate::Error;

/// The names that credentials may have, in Secrets, environment files and the process environment.
pub const CREDENTIAL_NAMES: [&str; 11] = [
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN,
    AWS_REGION,
    AWS_ENDPOINT_URL,
    GOOGLE_SERVICE_ACCOUNT_KEY,
    AZURE_STORAGE_ACCOUNT_NAME,
    AZURE_STORAGE_ACCOUNT_KEY,
    AZURE_STORAGE_SAS_TOKEN,
    HTTP_BEARER_TOKEN,
    CA_CERTIFICATE,
];

pub(crate) const AWS_ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";
pub(crate) const AWS_SECRET_ACCESS_KEY: &str = "AWS_SECRET_ACCESS_KEY";
pub(crate) const AWS_SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";
pub(crate) const AWS_REGION: &str = "AWS_REGION";
pub(crate) const AWS_ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";
pub(crate) const GOOGLE_SERVICE_ACCOUNT_KEY: &str = "GOOGLE_SERVICE_ACCOUNT_KEY";
pub(crate) const AZURE_STORAGE_ACCOUNT_NAME: &str = "AZURE_STORAGE_ACCOUNT_NAME";
pub(crate) const AZURE_STORAGE_ACCOUNT_KEY: &str = "AZURE_STORAGE_ACCOUNT_KEY";
pub(crate) const AZURE_STORAGE_SAS_TOKEN: &str = "AZURE_STORAGE_SAS_TOKEN";
pub(crate) const HTTP_BEARER_TOKEN: &str = "HTTP_BEARER_TOKEN";
/// PEM certificates of further authorities to trust.
pub(crate) const CA_CERTIFICATE: &str = "ca.crt";

/// The longest value, in bytes: what a Kubernetes Secret can hold.
const MAX_VALUE: usize = 1 << 20;

/// Names and secret values. `Debug` shows the names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials(BTreeMap<&'static str, String>);

impl Credentials {
    /// Credentials from pairs. A name that is not in [`CREDENTIAL_NAMES`] is refused.
    pub fn from_map(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let mut credentials = Self::default();
        for (name, value) in pairs {
            credentials.insert(&name, value).map_err(|problem| Error::InvalidCredentials { problem })?;
        }
        Ok(credentials)
    }

    /// Credentials from whatever `look_up` knows of [`CREDENTIAL_NAMES`], e.g. the process environment. Empty values
    /// count as absent.
    pub fn from_lookup(look_up: impl Fn(&str) -> Option<String>) -> Self {
        let known = |name: &'static str| Some((name, look_up(name).filter(|value| !value.is_empty())?));
        Self(CREDENTIAL_NAMES.into_iter().filter_map(known).collect())
    }

    /// Credentials from the text of an environment file: `NAME=value` lines, optionally with `export` before and
    /// quotes around the value; a quoted value may span lines; `#` begins a comment line.
    pub fn from_env_file(text: &str) -> Result<Self, Error> {
        let mut credentials = Self::default();
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        while let Some((number, line)) = lines.next() {
            let refuse =
                |problem: String| Error::InvalidCredentials { problem: format!("line {number}: {problem}") };
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((name, value)) = line.split_once('=') else {
                return Err(refuse("expected NAME=value".into()));
            };
            let more = lines.by_ref().map(|(_, line)| line);
            let value = unquoted(value.trim(), more).map_err(|problem| refuse(problem.into()))?;
            credentials.insert(name.trim(), value).map_err(refuse)?;
        }
        Ok(credentials)
    }

    /// The names that are present, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn insert(&mut self, name: &str, value: String) -> Result<(), String> {
        let Some(known) = CREDENTIAL_NAMES.into_iter().find(|known| *known == name) else {
            let name: String = name.chars().take(60).flat_map(char::escape_debug).collect();
            return Err(format!(
                "{name} is not a name that is read; the names are {}",
                CREDENTIAL_NAMES.join(", ")
            ));
        };
        if value.len() > MAX_VALUE {
            return Err(format!("the value of {known} is longer than 1 MiB"));
        }
        if self.0.insert(known, value).is_some() {
            return Err(format!("{known} is given twice"));
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The value without its quotes. In double quotes `\n`, `\"` and `\\` are read; single quotes hold everything as it is.
fn unquoted<'a>(value: &str, mut more: impl Iterator<Item = &'a str>) -> Result<String, &'static str> {
    let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return Ok(value.to_owned());
    };
    let mut text = String::new();
    let mut line = &value[1..];
    loop {
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            if character == quote {
                let rest = characters.as_str().trim();
                let ends = rest.is_empty() || rest.starts_with('#');
                return if ends { Ok(text) } else { Err("there is text after the closing quote") };
            }
            match (character, quote) {
                ('\\', '"') => match characters.next() {
                    Some('n') => text.push('\n'),
                    Some(escaped @ ('"' | '\\')) => text.push(escaped),
                    Some(other) => text.extend(['\\', other]),
                    None => return Err("a backslash ends the line"),
                },
                _ => text.push(character),
            }
        }
        text.push('\n');
        line = more.next().ok_or("the closing quote is missing")?;
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn environment_file_is_read() {
        let text = "# S3\n\nexport AWS_ACCESS_KEY_ID=id\nAWS_SECRET_ACCESS_KEY='a\"b\\n#='\n\
                    AWS_REGION = \"eu\\\\west\" # where\nca.crt=\"-----BEGIN\nabc\n-----END\"\nHTTP_BEARER_TOKEN=a=b\n";
        let credentials = Credentials::from_env_file(text).unwrap();
        assert_eq!(credentials.get(AWS_ACCESS_KEY_ID), Some("id"));
        assert_eq!(credentials.get(AWS_SECRET_ACCESS_KEY), Some("a\"b\\n#="));
        assert_eq!(credentials.get(AWS_REGION), Some("eu\\west"));
        assert_eq!(credentials.get(CA_CERTIFICATE), Some("-----BEGIN\nabc\n-----END"));
        assert_eq!(credentials.get(HTTP_BEARER_TOKEN), Some("a=b"));
        assert_eq!(credentials.names().count(), 5);
    }

    #[rstest]
    #[case("AWS_REGION=a\nnonsense-secret", "line 2: expected NAME=value")]
    #[case("\nAWS_REGIN=secret", "line 2: AWS_REGIN is not a name")]
    #[case("AWS_REGION='secret", "line 1: the closing quote is missing")]
    #[case("AWS_REGION='secret' more", "line 1: there is text after")]
    #[case("AWS_REGION=a\nAWS_REGION=secret", "line 2: AWS_REGION is given twice")]
    fn wrong_environment_file_is_refused_by_line_without_values(#[case] text: &str, #[case] problem: &str) {
        let message = Credentials::from_env_file(text).unwrap_err().to_string();
        assert!(message.contains(problem) && !message.contains("secret"), "{message}");
    }

    #[test]
    fn debug_shows_names_only() {
        let pairs = [(HTTP_BEARER_TOKEN.to_owned(), "hunter2".to_owned())];
        let shown = format!("{:?}", Credentials::from_map(pairs).unwrap());
        assert!(shown.contains(HTTP_BEARER_TOKEN) && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn lookup_takes_only_known_names_and_no_empty_values() {
        let credentials = Credentials::from_lookup(|name| {
            Some(if name == AWS_REGION { String::new() } else { "x".into() })
        });
        assert_eq!(credentials.names().count(), CREDENTIAL_NAMES.len() - 1);
        assert!(Credentials::from_map([("PATH".to_owned(), "x".to_owned())]).is_err());
    }
}
