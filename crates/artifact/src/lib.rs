//! Revisions of models: what they are, where they come from, and how they get from a store to a disk and back.
//!
//! A *revision* is an immutable set of files named by its [`Manifest`]; the sha256 of the manifest is its [`Digest`]
//! and all that the rest of the system says, it says about digests.
//!
//! * [`resolve()`] streams a source ([`SourceUri`]), computes its manifest and reads the model's signature
//!   ([`onnx::OnnxFacts`]) in bounded memory; [`probe()`] and [`resolve_if_changed()`] tell cheaply whether a source is
//!   still the same.
//! * [`fetch()`] brings a revision into a folder, verified; [`verify()`] verifies such a folder again.
//! * [`mapping`] derives a copy whose weights can be mapped from a verified folder, and tells whether one may be used.
//! * [`publish()`] copies a folder into a store as an immutable revision, [`provenance`] beside it.
//! * [`data`] brings what a training reads into a folder, hashed; [`compose()`] makes a revision of what it writes, and
//!   [`inputs`] remembers which revision came of which data and settings.
//! * [`output`] reads what somebody else's training wrote, trusting none of it, and [`publish_files()`] publishes exactly
//!   the bytes that were found good.
//! * [`checkpoints`] keeps the state of a training that is under way.
//! * [`retention`] deletes the revisions that a Model wrote and has too many of.
//!
//! No environment variable is read here: credentials, rules and limits come in a [`Connection`].
#![forbid(unsafe_code)]

mod access;
pub mod checkpoints;
mod compose;
mod connection;
mod credentials;
pub mod data;
mod digest;
mod error;
mod fetch;
mod folder;
pub mod gang;
mod identity;
pub mod inputs;
mod inspect;
mod manifest;
pub mod mapping;
pub mod onnx;
pub mod output;
mod path;
mod progress;
pub mod provenance;
mod publish;
mod resolve;
pub mod retention;
mod revisions;
mod store;
mod stream;
mod uri;
mod verify;

pub use access::AccessRules;
pub use compose::compose;
pub use connection::{Connection, Limits, Retry, Transfers};
pub use credentials::{CREDENTIAL_NAMES, Credentials};
pub use digest::{Digest, Hasher};
pub use error::{Class, Error};
pub use fetch::{FetchRequest, Fetched, facts, fetch};
pub use identity::{IDENTITY_NAMES, Identity};
pub use manifest::{
    CONTRACT, FileEntry, Inputs, MANIFEST_FILE, MAX_FILES, MAX_MANIFEST_BYTES, MODEL_FILE, Manifest,
};
pub use path::RelativePath;
pub use progress::{NoProgress, Progress};
pub use publish::{PublishRequest, Published, publish, publish_files};
pub use resolve::{
    Kind, Probe, RemoteFile, ResolveRequest, Resolved, Retrievable, SourceFile, probe, resolve,
    resolve_if_changed,
};
pub use revisions::{find_revision, published_file, revision_uri};
pub use store::{Sender, read_document};
pub use uri::SourceUri;
pub use verify::{Verified, read_manifest, verify};
