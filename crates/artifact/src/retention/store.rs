//! The same on a store.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Claims, Deleted, RetentionRequest, chosen, id_of};
use crate::path::printable;
use crate::store::Store;
use crate::{Digest, Error, Limits, MANIFEST_FILE, MAX_MANIFEST_BYTES, RemoteFile};

/// The longest provenance, and record of inputs, that is read.
const MAX_DOCUMENT_BYTES: usize = 8 << 20;
/// The most objects in each of a store's folders: what was kept for years is still listed.
const MOST_OBJECTS: usize = 1_000_000;
/// How often files are deleted anew that somebody publishes again at this moment.
const ROUNDS: u32 = 3;

/// Ids of the revisions that go by `request`, the oldest first. Nothing is deleted.
pub async fn list_revisions(request: &RetentionRequest) -> Result<Vec<String>, Error> {
    let place = Place::open(request).await?;
    Ok(place.going(request).iter().map(Digest::id).collect())
}

/// Deletes those of `revisions` (digests or ids) that still go by `request`; `None`: all that go.
///
/// Where `request` keeps none and no list is given, the checkpoints go, too: those of runs that provenance says are the
/// Model's, and all where nobody else ever wrote to this place.
pub async fn delete_revisions(
    request: &RetentionRequest,
    revisions: Option<&[String]>,
) -> Result<Deleted, Error> {
    let place = Place::open(request).await?;
    let going = place.going(request);
    let named: Option<BTreeSet<&str>> =
        revisions.map(|revisions| revisions.iter().map(|name| id_of(name)).collect());
    let (mut deleted, mut gone) = (Deleted::default(), BTreeSet::new());
    for digest in going {
        let id = digest.id();
        if named.as_ref().is_none_or(|named| named.contains(id.as_str())) {
            place.delete(&digest, &mut deleted).await?;
            gone.insert(id.clone());
            deleted.revisions.push(id);
        }
    }
    // What is deleted already is deleted as asked.
    let here = |id: &&&str| !gone.contains(**id) && place.knows(id);
    deleted.kept = named.iter().flatten().filter(here).map(|id| (*id).to_owned()).collect();
    if request.keep.is_none() && revisions.is_none() {
        place.delete_checkpoints(request, &mut deleted).await?;
    }
    Ok(deleted)
}

/// A Model's part of a store, as far as it matters here.
struct Place {
    store: Store,
    claims: Claims,
    /// What is in each revision's folder, by its id; paths are below the prefix.
    revisions: BTreeMap<String, Vec<RemoteFile>>,
    /// The digests of the manifests that are there, by the revision's id.
    manifests: BTreeMap<String, Digest>,
    /// The records of inputs, with the revision that each leads to.
    inputs: Vec<(RemoteFile, Digest)>,
}

#[derive(Deserialize)]
struct InputsRecord {
    revision: Digest,
}

impl Place {
    async fn open(request: &RetentionRequest) -> Result<Self, Error> {
        let store = Store::open(&request.prefix, &request.connection)?;
        let mut claims = Claims::default();
        for file in list(request, "provenance").await? {
            if let Some(content) = read(&store, &file.path, MAX_DOCUMENT_BYTES).await? {
                claims.add(&file.path, &content);
            }
        }
        let claims = claims.complete();
        let mut revisions: BTreeMap<String, Vec<RemoteFile>> = BTreeMap::new();
        for file in list(request, "revisions").await? {
            if let Some(id) = file.path.split('/').nth(1) {
                revisions.entry(id.to_owned()).or_default().push(file);
            }
        }
        let mut manifests = BTreeMap::new();
        // Only of those that could go: reading every manifest of a large store would take long.
        for id in claims.by_revision.keys().map(Digest::id) {
            let path = manifest_path(&id);
            let file = revisions.get(&id).and_then(|files| files.iter().find(|file| file.path == path));
            if let Some(file) = file
                && let Some(content) = read(&store, &file.path, MAX_MANIFEST_BYTES).await?
            {
                manifests.insert(id, Digest::of(&content));
            }
        }
        let mut inputs = Vec::new();
        for file in list(request, "inputs").await? {
            if let Some(content) = read(&store, &file.path, MAX_DOCUMENT_BYTES).await?
                && let Ok(InputsRecord { revision }) = serde_json::from_slice(&content)
            {
                inputs.push((file, revision));
            }
        }
        Ok(Self { store, claims, revisions, manifests, inputs })
    }

    fn going(&self, request: &RetentionRequest) -> Vec<Digest> {
        chosen(&self.claims, &self.manifests, &request.uid, request.keep, &request.protected)
    }

    /// Whether there is anything of a revision.
    fn knows(&self, id: &str) -> bool {
        self.revisions.contains_key(id) || self.claims.by_revision.keys().any(|digest| digest.id() == id)
    }

    /// Deletes a revision. What was deleted before is passed over.
    async fn delete(&self, digest: &Digest, deleted: &mut Deleted) -> Result<(), Error> {
        let id = digest.id();
        let manifest = manifest_path(&id);
        let files = self.revisions.get(&id).map(Vec::as_slice).unwrap_or_default();
        for round in 1.. {
            remove(&self.store, &manifest).await?;
            for file in files.iter().filter(|file| file.path != manifest) {
                remove(&self.store, &file.path).await?;
            }
            // Somebody who published it meanwhile passed over files that were still there.
            match self.store.head(&manifest).await {
                Err(Error::SourceNotFound { .. }) => break,
                Err(error) => return Err(error),
                Ok(_) if round >= ROUNDS => {
                    let problem = "others publish it while it is deleted".into();
                    return Err(Error::SourceChanged { what: self.store.describe(&manifest), problem });
                }
                Ok(_) => {}
            }
        }
        for file in files {
            deleted.count(file);
        }
        for (file, _) in self.inputs.iter().filter(|(_, revision)| revision == digest) {
            remove(&self.store, &file.path).await?;
            deleted.count(file);
        }
        for claim in self.claims.by_revision.get(digest).into_iter().flatten() {
            remove(&self.store, &claim.path).await?;
            deleted.objects += 1;
        }
        Ok(())
    }

    /// Deletes what trainings of this Model went on from, or would have.
    async fn delete_checkpoints(
        &self,
        request: &RetentionRequest,
        deleted: &mut Deleted,
    ) -> Result<(), Error> {
        let all = self.claims.are_all_of(&request.uid);
        let own = self.claims.all().filter(|claim| claim.uid.as_deref() == Some(&request.uid));
        let own: BTreeSet<&str> = own.map(|claim| claim.run.as_str()).collect();
        for file in list(request, "runs").await? {
            let run = file.path.split('/').nth(1).unwrap_or_default();
            if all || own.contains(run) {
                remove(&self.store, &file.path).await?;
                deleted.count(&file);
            }
        }
        Ok(())
    }
}

impl Deleted {
    fn count(&mut self, file: &RemoteFile) {
        self.objects += 1;
        self.bytes += file.size.unwrap_or_default();
    }
}

fn manifest_path(id: &str) -> String {
    format!("revisions/{id}/{MANIFEST_FILE}")
}

/// What a folder of the store holds, with paths below the store's prefix.
async fn list(request: &RetentionRequest, folder: &str) -> Result<Vec<RemoteFile>, Error> {
    let store = Store::open(&request.prefix.below(folder)?, &request.connection)?;
    let limits = Limits { objects: MOST_OBJECTS, ..request.connection.limits };
    match store.list(&limits).await {
        Ok(Some(files)) => {
            let below = |file: RemoteFile| RemoteFile { path: format!("{folder}/{}", file.path), ..file };
            Ok(files.into_iter().map(below).collect())
        }
        Ok(None) => Err(Error::Unsupported {
            what: store.uri().to_string(),
            problem: "nothing can be listed or deleted there; use s3, gs, az or file".into(),
        }),
        // A folder that was never written to.
        Err(Error::SourceNotFound { .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A document; `None` if it is gone.
async fn read(store: &Store, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Error> {
    // Not every store gives a file the same entity tag in a list and on its own.
    let read = match store.head(path).await {
        Ok(file) => store.read_small(&file, limit).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(content) => Ok(Some(content.to_vec())),
        Err(Error::SourceNotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn remove(store: &Store, path: &str) -> Result<(), Error> {
    match store.delete(path).await {
        Err(Error::AccessDenied { what, .. }) => {
            Err(Error::DeletionDenied { what, right: right(store.uri().scheme()) })
        }
        Err(error) => Err(error),
        Ok(()) => {
            tracing::debug!("deleted {}", printable(path));
            Ok(())
        }
    }
}

/// What lets credentials delete.
fn right(scheme: &str) -> &'static str {
    match scheme {
        "s3" => "s3:DeleteObject",
        "gs" => "storage.objects.delete",
        "az" => "Delete (\"d\" of a SAS token, or the role Storage Blob Data Contributor)",
        _ => "to write into the folder",
    }
}
