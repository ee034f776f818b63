//! Revisions of models: what they are, where they come from, and how they get from a store to a disk and back.
//!
//! A *revision* is an immutable set of files named by its [`Manifest`]; the sha256 of the manifest is its [`Digest`]
//! and all that the rest of the system says, it says about digests.
//!
//! * [`resolve()`] streams a source ([`SourceUri`]), computes its manifest and reads the model's signature
//!   ([`onnx::OnnxFacts`]) in bounded memory; [`probe()`] and [`resolve_if_changed()`] tell cheaply whether a source is
//!   still the same.
//! * [`fetch()`] brings a revision into a folder, verified; [`verify()`] verifies such a folder again.
//! * [`publish()`] copies a folder into a store as an immutable revision, [`provenance`] beside it.
//! * [`data`] brings what a training reads into a folder, hashed; [`compose()`] makes a revision of what it writes, and
//!   [`inputs`] remembers which revision came of which data and settings.
//!
//! No environment variable is read here: credentials, rules and limits come in a [`Connection`].
#![forbid(unsafe_code)]

mod access;
mod compose;
mod connection;
mod credentials;
pub mod data;
mod digest;
mod error;
mod fetch;
mod folder;
mod identity;
pub mod inputs;
mod inspect;
mod manifest;
pub mod onnx;
mod path;
mod progress;
pub mod provenance;
mod publish;
mod resolve;
mod revisions;
mod store;
mod uri;
mod verify;

pub use access::AccessRules;
pub use compose::compose;
pub use connection::{Connection, Limits, Retry, Transfers};
pub use credentials::{CREDENTIAL_NAMES, Credentials};
pub use digest::{Digest, Hasher};
pub use error::{Class, Error};
pub use fetch::{FetchRequest, Fetched, fetch};
pub use identity::{IDENTITY_NAMES, Identity};
pub use manifest::{
    CONTRACT, FileEntry, Inputs, MANIFEST_FILE, MAX_FILES, MAX_MANIFEST_BYTES, MODEL_FILE, Manifest,
};
pub use path::RelativePath;
pub use progress::{NoProgress, Progress};
pub use publish::{PublishRequest, Published, publish};
pub use resolve::{
    Kind, Probe, RemoteFile, ResolveRequest, Resolved, Retrievable, SourceFile, probe, resolve,
    resolve_if_changed,
};
pub use revisions::{find_revision, revision_uri};
pub use store::read_document;
pub use uri::SourceUri;
pub use verify::{Verified, verify};
