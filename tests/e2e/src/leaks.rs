//! Whether a secret of a test can be read where only its Secret may show it.
use anyhow::ensure;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, api::ListParams};

use crate::{contents, storage::SECRET_KEY};

/// Fails if the secret of the tests' store stands in an object of the namespace other than its Secret, in an Event, a
/// status or a termination message, or in a log. Namespaces without such a Secret are not looked at.
pub(crate) async fn none(client: &Client, namespace: &str) -> anyhow::Result<()> {
    if !holds_the_secret(client, namespace).await? {
        return Ok(());
    }
    let mut leaks = Vec::new();
    for (resource, objects) in contents::objects(client, namespace).await? {
        for object in objects {
            if shows(&serde_json::to_string(&object)?) {
                leaks.push(format!("{}/{}", resource.kind, object.metadata.name.unwrap_or_default()));
            }
        }
    }
    for log in contents::logs(client, namespace).await? {
        if shows(&log.text) {
            leaks.push(format!("log of {}/{}", log.pod, log.container));
        }
    }
    ensure!(leaks.is_empty(), "the secret of the store can be read in {}", leaks.join(", "));
    Ok(())
}

async fn holds_the_secret(client: &Client, namespace: &str) -> anyhow::Result<bool> {
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
    let values = secrets.items.iter().flat_map(|secret| secret.data.iter().flat_map(|data| data.values()));
    Ok(values.into_iter().any(|value| value.0 == SECRET_KEY.as_bytes()))
}

/// Plain, or as the API writes it in a Secret.
fn shows(text: &str) -> bool {
    text.contains(SECRET_KEY) || text.contains(&encoded())
}

/// In base64, without the padding that depends on what follows.
fn encoded() -> String {
    let value = serde_json::to_value(ByteString(SECRET_KEY.into())).unwrap_or_default();
    value.as_str().unwrap_or(SECRET_KEY).trim_end_matches('=').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_seen_plain_and_encoded() {
        assert!(shows(&format!("key={SECRET_KEY};")));
        assert!(shows(&format!("data: {}", encoded())));
        assert!(!shows("planted"));
    }
}
