//! Small models and folders that the tests share.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use modelwright_artifact::{
    AccessRules, Connection, Credentials, Digest, Error, FileEntry, MANIFEST_FILE, MODEL_FILE, Manifest,
    NoProgress, RelativePath, ResolveRequest, Resolved, Retry, SourceUri, Transfers, resolve,
};

/// Bytes read at a time: small, so that small models take several reads.
pub(crate) const CHUNK: u32 = 16 << 10;

/// On this machine, without second attempts.
pub(crate) fn connection() -> Connection {
    Connection {
        rules: AccessRules::LOCAL,
        retry: Retry::NEVER,
        transfers: Transfers { chunk_bytes: CHUNK, concurrency: 4 },
        ..Connection::default()
    }
}

pub(crate) fn credentials<const N: usize>(pairs: [(&str, &str); N]) -> Credentials {
    Credentials::from_map(pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
}

pub(crate) fn request(uri: &str) -> ResolveRequest {
    let uri = SourceUri::parse(uri, None).unwrap();
    ResolveRequest { uri, digest: None, connection: connection() }
}

pub(crate) fn file_request(path: &Path) -> ResolveRequest {
    request(&format!("file:{}", path.display()))
}

pub(crate) async fn resolved(request: &ResolveRequest) -> Result<Resolved, Error> {
    resolve(request, &NoProgress).await
}

/// A protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

/// A protobuf field of an integer.
fn integer(number: u8, value: u64) -> Vec<u8> {
    let mut out = vec![number << 3];
    out.extend(varint(value));
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

/// `name: float[1, size]`.
fn value_info(name: &str, size: u64) -> Vec<u8> {
    let dimensions = [field(1, &integer(1, 1)), field(1, &integer(1, size))].concat();
    let tensor = [integer(1, 1), field(2, &dimensions)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

fn model_of(initializer: &[u8], size: u64) -> Vec<u8> {
    let node = [field(1, b"x"), field(1, b"w"), field(2, b"y"), field(4, b"Add")].concat();
    let graph = [
        field(1, &node),
        field(2, b"graph"),
        field(5, initializer),
        field(11, &value_info("x", size)),
        field(12, &value_info("y", size)),
    ]
    .concat();
    let opset = [field(1, b""), integer(2, 17)].concat();
    [integer(1, 8), field(2, b"modelwright-tests"), field(7, &graph), field(8, &opset)].concat()
}

/// `y = x + w` with `count` weights in the file; `seed` makes another one.
pub(crate) fn model(count: u64, seed: u8) -> Vec<u8> {
    let weights: Vec<u8> =
        (0..count * 4).map(|at| at.to_le_bytes()[0].wrapping_mul(31).wrapping_add(seed) & 0x3f).collect();
    let tensor =
        [integer(1, 1), integer(1, count), integer(2, 1), field(8, b"w"), field(9, &weights)].concat();
    model_of(&tensor, count)
}

/// The same with the weights in another file.
pub(crate) fn model_with_external_data(count: u64, location: &str) -> Vec<u8> {
    let entry =
        |key: &str, value: &str| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat());
    let tensor = [
        integer(1, 1),
        integer(1, count),
        integer(2, 1),
        field(8, b"w"),
        entry("location", location),
        entry("length", &(count * 4).to_string()),
        integer(14, 1),
    ]
    .concat();
    model_of(&tensor, count)
}

/// A folder with a revision of a model of `count` weights and `data/notes.txt`.
pub(crate) fn revision(count: u64, seed: u8) -> (tempfile::TempDir, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = BTreeMap::new();
    for (path, bytes) in [(MODEL_FILE, model(count, seed)), ("data/notes.txt", b"notes".to_vec())] {
        let place = folder.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, &bytes).unwrap();
        let entry = FileEntry { sha256: Digest::of(&bytes), size: bytes.len() as u64 };
        files.insert(RelativePath::new(path).unwrap(), entry);
    }
    let manifest = Manifest::new(files).unwrap();
    fs::write(folder.path().join(MANIFEST_FILE), manifest.to_bytes().unwrap()).unwrap();
    (folder, manifest)
}

/// A folder with a revision whose model keeps its weights in `w.bin`, which lies there and is not in the manifest.
pub(crate) fn uncovered_revision() -> (tempfile::TempDir, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let content = model_with_external_data(100, "w.bin");
    fs::write(folder.path().join(MODEL_FILE), &content).unwrap();
    fs::write(folder.path().join("w.bin"), vec![7; 400]).unwrap();
    let entry = FileEntry { sha256: Digest::of(&content), size: content.len() as u64 };
    let files = BTreeMap::from([(RelativePath::new(MODEL_FILE).unwrap(), entry)]);
    let manifest = Manifest::new(files).unwrap();
    fs::write(folder.path().join(MANIFEST_FILE), manifest.to_bytes().unwrap()).unwrap();
    (folder, manifest)
}

/// Every file below a folder, in order.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
