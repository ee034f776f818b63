//! Writes images as archives of the OCI image layout: no daemon, no root, no registry, and the same bytes every time.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>. Beside the layout's own index the archive has
//! the `manifest.json` of `docker save`: Docker's classic image store, the default before Docker 29, reads nothing else.
//! containerd, podman and skopeo take the index.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufWriter, Read, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::{
    blob::{Blob, BlobContent, Compression, Digest, LayerBlob},
    layer::{Layer, header},
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image for Linux on this machine's architecture.
#[derive(Debug, Default)]
pub(crate) struct Image {
    /// With registry and tag, such as `localhost/modelwright:0.1.0`: Kubernetes asks for images by their full name.
    pub(crate) name: String,
    /// The program and its first arguments.
    pub(crate) entrypoint: Vec<String>,
    /// Arguments that whoever runs the image may replace.
    pub(crate) command: Vec<String>,
    /// `user:group`, as numbers: `runAsNonRoot` cannot judge a name. Empty means root.
    pub(crate) user: String,
    /// Variables as `NAME=value`. Without any, runtimes set a usual `PATH`.
    pub(crate) environment: Vec<String>,
    /// Empty means the root.
    pub(crate) working_directory: String,
    /// TCP ports that the program listens on.
    pub(crate) ports: Vec<u16>,
    /// See <https://github.com/opencontainers/image-spec/blob/main/annotations.md>.
    pub(crate) labels: BTreeMap<String, String>,
    /// The lowest first.
    pub(crate) layers: Vec<Layer>,
    pub(crate) compression: Compression,
}

/// What was written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The manifest's, by which registries know the image.
    pub(crate) digest: Digest,
    /// Title and stored size in bytes of each layer.
    pub(crate) layers: Vec<(String, u64)>,
    /// The archive's size in bytes.
    pub(crate) size: u64,
}

impl Image {
    /// Writes the archive, all or nothing; its folder is made if it does not exist. Layers pass through temporary files
    /// beside it, not through memory.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<Written> {
        self.write_into_place(path).with_context(|| format!("cannot write the image {}", path.display()))
    }

    fn write_into_place(&self, path: &Path) -> anyhow::Result<Written> {
        let tag = tag(&self.name)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;

        let mut layers = Vec::new();
        for layer in &self.layers {
            layers.push(LayerBlob::write(layer, self.compression, folder).context(layer.title().to_owned())?);
        }
        let config = Blob::from_bytes(serde_json::to_vec(&self.config(&layers)?)?);
        let manifest = Blob::from_bytes(serde_json::to_vec(&self.manifest(&config, &layers))?);
        let documents = [
            ("index.json", self.index(&manifest, tag)?),
            ("manifest.json", self.docker_manifest(&config, &layers)),
            ("oci-layout", json!({"imageLayoutVersion": "1.0.0"})),
        ];
        let digest = manifest.digest.clone();
        let sizes =
            self.layers.iter().zip(&layers).map(|(layer, blob)| (layer.title().into(), blob.blob.size));
        let sizes = sizes.collect();

        let blobs = [config, manifest].into_iter().chain(layers.into_iter().map(|layer| layer.blob));
        // Temporary files are their owner's alone, but an image is for whoever loads it.
        let for_all = fs::Permissions::from_mode(0o644);
        let mut file = tempfile::Builder::new().prefix(".image-").permissions(for_all).tempfile_in(folder)?;
        write_archive(file.as_file_mut(), &documents, blobs.collect())?;
        let size = file.as_file().metadata()?.len();
        file.persist(path)?;
        Ok(Written { digest, layers: sizes, size })
    }

    fn config(&self, layers: &[LayerBlob]) -> anyhow::Result<Value> {
        let ports: Map<_, _> = self.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
        let settings = [
            ("Cmd", json!(self.command)),
            ("Entrypoint", json!(self.entrypoint)),
            ("Env", json!(self.environment)),
            ("ExposedPorts", Value::Object(ports)),
            ("Labels", json!(self.labels)),
            ("User", json!(self.user)),
            ("WorkingDir", json!(self.working_directory)),
        ];
        let settings: Map<_, _> = settings
            .into_iter()
            .filter(|(_, value)| !is_empty(value))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let history: Vec<_> = self.layers.iter().map(|layer| json!({"created_by": layer.title()})).collect();
        // `created` is optional and would make every image another one.
        Ok(json!({
            "architecture": architecture()?,
            "os": "linux",
            "config": settings,
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        }))
    }

    fn manifest(&self, config: &Blob, layers: &[LayerBlob]) -> Value {
        let layers: Vec<_> =
            layers.iter().map(|layer| descriptor(self.compression.media_type(), &layer.blob)).collect();
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": layers,
        })
    }

    fn index(&self, manifest: &Blob, tag: &str) -> anyhow::Result<Value> {
        let mut entry = descriptor(MANIFEST, manifest);
        entry["platform"] = json!({"architecture": architecture()?, "os": "linux"});
        entry["annotations"] = json!({
            // containerd and Docker name the loaded image by this one, podman and skopeo by the other.
            "io.containerd.image.name": self.name,
            "org.opencontainers.image.ref.name": tag,
        });
        Ok(json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
    }

    fn docker_manifest(&self, config: &Blob, layers: &[LayerBlob]) -> Value {
        let layers: Vec<_> = layers.iter().map(|layer| blob_path(&layer.blob.digest)).collect();
        json!([{"Config": blob_path(&config.digest), "RepoTags": [self.name], "Layers": layers}])
    }
}

/// The tag of a full image name.
pub(super) fn tag(name: &str) -> anyhow::Result<&str> {
    let parse = || {
        let (registry, path) = name.split_once('/')?;
        let (repository, tag) = path.rsplit_once(':')?;
        // The rule by which all clients tell a registry from the first part of a path on Docker Hub.
        let is_registry = registry == "localhost" || registry.contains(['.', ':']);
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let any_case = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        (is_registry
            && !repository.is_empty()
            && repository.chars().all(lower)
            && !tag.is_empty()
            && tag.chars().all(any_case))
        .then_some(tag)
    };
    parse().with_context(|| {
        format!("{name:?} is no full image name: write REGISTRY/NAME:TAG, such as localhost/modelwright:test")
    })
}

/// This machine's architecture, as images name it.
pub(super) fn architecture() -> anyhow::Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => anyhow::bail!("images are made on x86_64 and aarch64; this machine is {other}"),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"mediaType": media_type, "digest": blob.digest.to_string(), "size": blob.size})
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hexadecimal())
}

fn write_archive(to: &mut File, documents: &[(&str, Value)], mut blobs: Vec<Blob>) -> anyhow::Result<()> {
    let mut archive = tar::Builder::new(BufWriter::new(to));
    let mut append = |path: &str, kind, mode, size, content: &mut dyn Read| {
        archive.append_data(&mut header(kind, mode, size), path, content)
    };
    for folder in ["blobs/", "blobs/sha256/"] {
        append(folder, tar::EntryType::Directory, 0o755, 0, &mut io::empty())?;
    }
    blobs.sort_by(|one, other| one.digest.cmp(&other.digest));
    let mut written = BTreeSet::new();
    for blob in blobs {
        // Two layers may be the same.
        if !written.insert(blob.digest.clone()) {
            continue;
        }
        let mut content: Box<dyn Read> = match blob.content {
            BlobContent::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            BlobContent::File(file) => Box::new(file),
        };
        let path = blob_path(&blob.digest);
        append(&path, tar::EntryType::Regular, 0o644, blob.size, &mut content)?;
    }
    for (path, document) in documents {
        let bytes = serde_json::to_vec(document)?;
        append(path, tar::EntryType::Regular, 0o644, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

#[cfg(test)]
#[path = "oci_tests.rs"]
mod tests;
