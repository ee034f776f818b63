//! Which revisions of a store go, and how they go.
//!
//! A Model deletes what it wrote and nothing else: a revision goes only if its [`provenance`](crate::provenance) says that the
//! Model with this uid made it, and no provenance says that anybody else did. What says nothing, or cannot be read, stays.
//!
//! The manifest of a revision is deleted first, so one that is half deleted is none; then its files, the memory of inputs that
//! leads to it, and last its provenance. That is what a deletion goes on from that was interrupted. Whoever publishes the
//! same revision meanwhile may find it gone afterwards, and never half there.

mod claims;
mod store;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{Connection, Digest, SourceUri};

use self::claims::{Claim, Claims};
pub use self::store::{delete_revisions, list_revisions};

/// The key of [`Run::parameters`](crate::provenance::Run::parameters) that holds the uid of the Model that a run belongs to.
pub const MODEL_UID: &str = "modelUid";
/// The key that holds the name of the run, which is that of its folder in `runs/`.
pub const RUN: &str = "run";

/// Which revisions a Model has too many of.
#[derive(Clone, Debug)]
pub struct RetentionRequest {
    /// The Model's part of a store: what lies outside of it is never looked at.
    pub prefix: SourceUri,
    /// How to reach it.
    pub connection: Connection,
    /// The Model's uid.
    pub uid: String,
    /// How many revisions stay, the newest; `None`: none, and neither do checkpoints.
    pub keep: Option<u32>,
    /// Digests or ids of revisions that stay in any case.
    pub protected: Vec<String>,
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Ids of the revisions, the oldest first.
    pub revisions: Vec<String>,
    /// How many objects that were.
    pub objects: usize,
    /// Their bytes, as far as the store says them.
    pub bytes: u64,
    /// Ids of revisions that were to be deleted and stay, because they may not be deleted now.
    pub kept: Vec<String>,
}

/// The revisions that go, the oldest first, with all that is known of them.
///
/// `there` holds the digest of every manifest that is there, by the revision's id. One of other bytes than provenance says is not
/// the revision that the Model wrote, and stays. One that has no manifest was half deleted, and goes.
fn chosen(
    claims: &Claims,
    there: &BTreeMap<String, Digest>,
    uid: &str,
    keep: Option<u32>,
    protected: &[String],
) -> Vec<Digest> {
    let protected: BTreeSet<&str> = protected.iter().map(|name| id_of(name)).collect();
    let mut own: Vec<(Timestamp, &str, Digest)> = claims
        .by_revision
        .iter()
        .filter(|(digest, _)| !claims.undecided.contains(*digest))
        .filter_map(|(digest, claims)| {
            let newest = newest_of(claims, uid)?;
            Some((newest.finished?, newest.run.as_str(), *digest))
        })
        .filter(|(.., digest)| there.get(&digest.id()).is_none_or(|found| found == digest))
        .collect();
    own.sort_by(|left, right| right.cmp(left));
    let is_there = |digest: &Digest| there.contains_key(&digest.id());
    let mut left = keep.map_or(0, |keep| usize::try_from(keep).unwrap_or(usize::MAX));
    let mut going = Vec::new();
    for (.., digest) in own {
        if is_there(&digest) && left > 0 {
            left -= 1;
        } else if !protected.contains(digest.id().as_str()) {
            going.push(digest);
        }
    }
    going.reverse();
    going
}

/// The newest of the claims to a revision, if all of them are the Model's and say when they were made.
fn newest_of<'a>(claims: &'a [Claim], uid: &str) -> Option<&'a Claim> {
    let all_own = claims.iter().all(|claim| claim.uid.as_deref() == Some(uid) && claim.finished.is_some());
    claims.iter().filter(|_| all_own).max_by_key(|claim| (claim.finished, claim.run.as_str()))
}

/// The id of a revision that is named by its digest or id.
fn id_of(name: &str) -> &str {
    let hexadecimal = name.strip_prefix("sha256:").unwrap_or(name);
    hexadecimal.get(..16).unwrap_or(hexadecimal)
}

#[cfg(test)]
mod tests;
