//! Names of children. The Model's name has at most 40 characters, so every name fits the 63 of a DNS label.

/// Deployment, Service, autoscaler, disruption budget, network policy and service account.
pub fn child(model: &str) -> String {
    model.to_owned()
}

/// The headless Service.
pub fn headless_service(model: &str) -> String {
    format!("{model}-headless")
}

/// The Job that resolves a source: `hash` is what it was made for, `attempt` counts from 0.
///
/// Only the first 8 characters of `hash` stand in the name; the annotation
/// [`JOB_HASH`](super::annotations::JOB_HASH) carries all of it.
pub fn resolve_job(model: &str, hash: &str, attempt: u32) -> String {
    format!("{model}-resolve-{}-{attempt}", short(hash))
}

/// The Job that trains, in the same way.
pub fn train_job(model: &str, hash: &str, attempt: u32) -> String {
    format!("{model}-train-{}-{attempt}", short(hash))
}

/// The Job that looks whether a training's data changed, in the same way.
pub fn data_job(model: &str, hash: &str, attempt: u32) -> String {
    format!("{model}-data-{}-{attempt}", short(hash))
}

/// The Job that lists or deletes revisions: `hash` is that of its order.
pub fn delete_job(model: &str, hash: &str) -> String {
    format!("{model}-delete-{}", short(hash))
}

/// The headless Service through which training pods find each other.
pub fn train_service(model: &str) -> String {
    format!("{model}-train")
}

fn short(hash: &str) -> String {
    hash.chars().take(8).collect()
}

/// The display id of a digest: its first 16 hexadecimal digits, without `sha256:`.
pub fn revision_id(digest: &str) -> &str {
    let hexadecimal = digest.strip_prefix("sha256:").unwrap_or(digest);
    hexadecimal.get(..16).unwrap_or(hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_names_fit_a_dns_label() {
        let model = "m".repeat(40);
        let hash = "0123456789abcdef".repeat(4);
        assert!(resolve_job(&model, &hash, 9_999).len() <= 63);
        // A pod of an Indexed Job has the Job's name and its index, at most 63.
        assert!(train_job(&model, &hash, 999).len() + "-63".len() <= 63);
        assert!(data_job(&model, &hash, 9_999).len() <= 63 && delete_job(&model, &hash).len() <= 63);
        assert!(headless_service(&model).len() <= 63);
    }

    #[test]
    fn revision_id_is_the_digests_beginning() {
        let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(revision_id(&digest), "0123456789abcdef");
        assert_eq!(revision_id("sha256:ab"), "ab");
    }
}
