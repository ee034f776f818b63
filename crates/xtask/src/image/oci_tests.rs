use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::image::layer::Content;

fn image(compression: Compression) -> Image {
    let mut first = Layer::new("first");
    first.add_file("etc/passwd", Content::Bytes(b"root".to_vec()), 0o644).unwrap();
    let mut second = Layer::new("second");
    second.add_file("bin/tool", Content::Bytes(vec![7; 100_000]), 0o755).unwrap();
    Image {
        name: "localhost:5000/some/tool:v1_A".into(),
        entrypoint: vec!["/bin/tool".into()],
        command: vec!["--help".into()],
        user: "65532:65532".into(),
        environment: vec!["LEVEL=info".into()],
        working_directory: "/tmp".into(),
        ports: vec![8080, 9090],
        labels: BTreeMap::from([("org.opencontainers.image.version".into(), "1".into())]),
        layers: vec![first, second],
        compression,
    }
}

/// The files of an archive by their paths.
fn read(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if entry.header().entry_type() == tar::EntryType::Regular {
            assert!(files.insert(path, bytes).is_none());
        }
    }
    files
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", modelwright_test_servers::sha256(bytes))
}

/// Writes an image and returns what was said about it and the archive.
fn write(image: &Image) -> (Written, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/image.tar");
    let written = image.write(&path).unwrap();
    let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "a temporary file is left");
    let bytes = fs::read(&path).unwrap();
    assert_eq!(written.size, bytes.len() as u64);
    (written, bytes)
}

/// The blob of a descriptor, whose size and digest must be right.
fn blob(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let bytes = &files[&format!("blobs/{}", digest.replace(':', "/"))];
    assert_eq!(sha256(bytes), digest);
    assert_eq!(descriptor["size"], bytes.len());
    bytes.clone()
}

#[test]
fn documents_point_at_each_other_with_right_digests() {
    for (compression, suffix) in [(Compression::None, "tar"), (Compression::Gzip, "tar+gzip")] {
        let (written, archive) = write(&image(compression));
        let files = read(&archive);
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(json(&files["oci-layout"]), json!({"imageLayoutVersion": "1.0.0"}));

        let index = json(&files["index.json"]);
        let entry = &index["manifests"][0];
        assert_eq!(entry["digest"], written.digest.to_string());
        assert_eq!(entry["annotations"]["io.containerd.image.name"], "localhost:5000/some/tool:v1_A");
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], "v1_A");
        let manifest = json(&blob(&files, entry));
        let config = json(&blob(&files, &manifest["config"]));
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!((layers.len(), written.layers.len()), (2, 2));
        for (at, layer) in layers.iter().enumerate() {
            assert_eq!(layer["mediaType"], format!("application/vnd.oci.image.layer.v1.{suffix}"));
            assert_eq!(layer["size"], written.layers[at].1);
            let stored = blob(&files, layer);
            let plain = match compression {
                Compression::None => stored,
                Compression::Gzip => {
                    let mut plain = Vec::new();
                    flate2::read::GzDecoder::new(stored.as_slice()).read_to_end(&mut plain).unwrap();
                    plain
                }
            };
            assert_eq!(config["rootfs"]["diff_ids"][at], sha256(&plain));
        }
        assert_eq!(files.len(), 3 + 4, "something else is in the archive: {:?}", files.keys());

        let docker = json(&files["manifest.json"]);
        assert_eq!(docker[0]["RepoTags"], json!(["localhost:5000/some/tool:v1_A"]));
        let path = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
        assert_eq!(docker[0]["Config"], path(&manifest["config"]["digest"]));
        assert_eq!(docker[0]["Layers"][1], path(&layers[1]["digest"]));
    }
}

#[test]
fn configuration_says_how_to_run() {
    let config = image(Compression::None).config(&[]).unwrap();
    let expected = json!({
        "Cmd": ["--help"],
        "Entrypoint": ["/bin/tool"],
        "Env": ["LEVEL=info"],
        "ExposedPorts": {"8080/tcp": {}, "9090/tcp": {}},
        "Labels": {"org.opencontainers.image.version": "1"},
        "User": "65532:65532",
        "WorkingDir": "/tmp",
    });
    assert_eq!(config["config"], expected);
    assert_eq!(config["history"], json!([{"created_by": "first"}, {"created_by": "second"}]));
    assert!(config.get("created").is_none());
    let nothing = Image { name: "localhost/x:1".into(), ..Image::default() };
    assert_eq!(nothing.config(&[]).unwrap()["config"], json!({}));
}

#[test]
fn same_image_has_the_same_bytes() {
    for compression in [Compression::None, Compression::Gzip] {
        let (first, second) = (write(&image(compression)), write(&image(compression)));
        assert_eq!(first.0.digest, second.0.digest);
        assert_eq!(Sha256::digest(&first.1), Sha256::digest(&second.1));
    }
}

#[test]
fn equal_layers_are_stored_once() {
    let mut image = image(Compression::None);
    image.layers[1] = image.layers[0].clone();
    let files = read(&write(&image).1);
    assert_eq!(files.len(), 3 + 3);
}

#[test]
fn names_without_registry_or_tag_are_refused() {
    for (name, expected) in [
        ("localhost/modelwright:0.1.0", Some("0.1.0")),
        ("registry.example.com/team/modelwright:x", Some("x")),
        ("localhost:5000/modelwright:x", Some("x")),
        ("modelwright:x", None),
        ("team/modelwright:x", None),
        ("localhost/modelwright", None),
        ("localhost:5000/modelwright", None),
        ("localhost/Modelwright:x", None),
        ("localhost/modelwright:", None),
        ("localhost/modelwright:a b", None),
    ] {
        assert_eq!(tag(name).ok(), expected, "{name}");
    }
}

#[test]
fn failed_write_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = image(Compression::None);
    let gone = Content::File("/nonexistent/tool".into());
    image.layers[0].add_file("gone", gone, 0o755).unwrap();
    let error = format!("{:#}", image.write(&folder.path().join("image.tar")).unwrap_err());
    assert!(error.contains("/nonexistent/tool"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
