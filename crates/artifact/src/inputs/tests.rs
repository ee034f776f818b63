use std::fs;
use std::path::Path;

use super::*;
use crate::{AccessRules, MANIFEST_FILE, NoProgress, PublishRequest, compose, publish, revision_uri};

fn inputs() -> Inputs {
    Inputs { data: Digest::of(b"data"), spec: Digest::of(b"spec") }
}

fn connection() -> Connection {
    Connection { rules: AccessRules::LOCAL, ..Connection::default() }
}

/// A store on this disk.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn prefix(&self) -> SourceUri {
        SourceUri::from_path(self.0.path()).unwrap()
    }

    /// Publishes a revision of `inputs`; `model` makes another one of the same.
    async fn publish(&self, inputs: Inputs, model: &str) -> Manifest {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.onnx"), model).unwrap();
        let (manifest, digest) = compose(folder.path(), inputs, Some("1"), Some(7)).unwrap();
        let request = PublishRequest {
            folder: folder.path().to_owned(),
            digest: Some(digest),
            prefix: self.prefix(),
            connection: connection(),
        };
        publish(&request, &NoProgress).await.unwrap();
        manifest
    }

    async fn record(&self, manifest: &Manifest) -> Result<Digest, Error> {
        record(&self.prefix(), &connection(), manifest).await
    }

    async fn find(&self) -> Option<Digest> {
        find(&self.prefix(), &connection(), &key(&inputs(), "1").unwrap()).await.unwrap()
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join(path(&key(&inputs(), "1").unwrap()))
    }

    fn manifest_of(&self, digest: &Digest) -> std::path::PathBuf {
        let uri = revision_uri(&self.prefix(), digest).unwrap();
        uri.local_path().map(|folder: &Path| folder.join(MANIFEST_FILE)).unwrap()
    }
}

#[tokio::test]
async fn revision_is_found_by_what_went_into_it_and_by_nothing_else() {
    let disk = Disk::new();
    assert_eq!(disk.find().await, None);
    let manifest = disk.publish(inputs(), "model").await;
    assert_eq!(disk.find().await, None);
    let digest = manifest.digest().unwrap();
    assert_eq!(disk.record(&manifest).await.unwrap(), digest);
    assert_eq!(disk.record(&manifest).await.unwrap(), digest);
    assert_eq!(disk.find().await, Some(digest));
    let (data, spec) = (Inputs { data: digest, ..inputs() }, Inputs { spec: digest, ..inputs() });
    for (inputs, version) in [(data, "1"), (spec, "1"), (inputs(), "2")] {
        let other = key(&inputs, version).unwrap();
        assert_eq!(find(&disk.prefix(), &connection(), &other).await.unwrap(), None);
    }
}

#[tokio::test]
async fn first_revision_of_the_same_inputs_stays() {
    let disk = Disk::new();
    let (first, second) = (disk.publish(inputs(), "m").await, disk.publish(inputs(), "m of AVX-512").await);
    assert_ne!(first, second);
    let digest = first.digest().unwrap();
    assert_eq!(disk.record(&first).await.unwrap(), digest);
    assert_eq!(disk.record(&second).await.unwrap(), digest);
    assert_eq!(disk.find().await, Some(digest));
}

#[tokio::test]
async fn record_is_canonical_json_under_the_digest_of_its_inputs() {
    let disk = Disk::new();
    let manifest = disk.publish(inputs(), "model").await;
    disk.record(&manifest).await.unwrap();
    let (data, spec) = (inputs().data.hex(), inputs().spec.hex());
    let name = format!(r#"{{"dataSha256":"{data}","numericsVersion":"1","specSha256":"{spec}"}}"#);
    let path = disk.0.path().join(format!("inputs/{}.json", Digest::of(name.as_bytes()).hex()));
    let expected = format!(
        r#"{{"contract":"1","dataSha256":"{data}","numericsVersion":"1","revision":"{}","specSha256":"{spec}"}}"#,
        manifest.digest().unwrap()
    );
    assert_eq!(fs::read_to_string(path).unwrap(), expected);
}

#[tokio::test]
async fn unusable_record_counts_as_absent_and_is_replaced() {
    let disk = Disk::new();
    let manifest = disk.publish(inputs(), "model").await;
    let (digest, revision) = (manifest.digest().unwrap(), manifest.digest().unwrap().to_string());
    disk.record(&manifest).await.unwrap();
    let good = fs::read_to_string(disk.file()).unwrap();
    let other = Inputs { data: Digest::of(b"others"), ..inputs() };
    let foreign = disk.publish(other, "model").await.digest().unwrap().to_string();
    let damaged = [
        String::new(),
        "<html>".into(),
        good[..good.len() - 1].into(),
        good.replace(r#""contract":"1""#, r#""contract":"2""#),
        good.replace(&inputs().data.hex(), &other.data.hex()),
        good.replace(&inputs().data.hex(), "é"),
        // Was never there; of other inputs.
        good.replace(&revision, &Digest::of(b"gone").to_string()),
        good.replace(&revision, &foreign),
        " ".repeat(MAX_BYTES + 1),
    ];
    for text in damaged {
        fs::write(disk.file(), &text).unwrap();
        assert_eq!(disk.find().await, None, "{text}");
        assert_eq!(disk.record(&manifest).await.unwrap(), digest, "{text}");
        assert_eq!(fs::read_to_string(disk.file()).unwrap(), good);
    }
}

#[tokio::test]
async fn record_leads_to_no_revision_that_was_deleted_or_changed() {
    let disk = Disk::new();
    let manifest = disk.publish(inputs(), "model").await;
    let digest = disk.record(&manifest).await.unwrap();
    let place = disk.manifest_of(&digest);
    fs::write(&place, "{}").unwrap();
    assert_eq!(disk.find().await, None);
    assert_eq!(disk.record(&manifest).await.unwrap_err().reason(), "RevisionCollision");
    fs::remove_file(&place).unwrap();
    assert_eq!(disk.find().await, None);
    assert_eq!(disk.record(&manifest).await.unwrap_err().reason(), "SourceNotFound");
    // The same training on another kind of processor takes the place.
    let other = disk.publish(inputs(), "m of AVX-512").await;
    assert_eq!(disk.record(&other).await.unwrap(), other.digest().unwrap());
}

#[tokio::test]
async fn revision_that_does_not_say_what_it_was_trained_from_is_not_recorded() {
    let disk = Disk::new();
    let manifest = Manifest::new(disk.publish(inputs(), "model").await.files().clone()).unwrap();
    assert_eq!(disk.record(&manifest).await.unwrap_err().reason(), "InvalidManifest");
}
