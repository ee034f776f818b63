use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn found(name: &str, license: Option<&str>, checksum: Option<&str>, dependencies: &[usize]) -> Crate {
    Crate {
        name: name.to_owned(),
        version: "1.0.0+build".to_owned(),
        license: license.map(str::to_owned),
        checksum: checksum.map(str::to_owned),
        dependencies: dependencies.to_vec(),
    }
}

fn document() -> Value {
    let crates = [
        found("modelwright", Some("Apache-2.0"), None, &[1, 2]),
        found("csv_core", Some("Unlicense/MIT"), Some(DIGEST), &[2]),
        found("nothing", None, None, &[]),
    ];
    let wheel = Wheel { requirement: "nvidia-cublas==13.10.0.20", python: "", tags: &[], sha256: DIGEST };
    let components = [Component::wheel(&wheel, None)];
    let materials = Materials {
        image: "localhost:5000/team/modelwright:0.1.0-cuda",
        digest: DIGEST,
        license: "Apache-2.0",
        crates: &crates,
        rust: "1.95.0",
        components: &components,
        created: timestamp("0").unwrap(),
    };
    serde_json::to_value(materials.document().unwrap()).unwrap()
}

fn package<'a>(document: &'a Value, name: &str) -> &'a Value {
    let packages = document["packages"].as_array().unwrap();
    packages.iter().find(|package| package["name"] == name).unwrap()
}

fn purl(package: &Value) -> &str {
    package["externalRefs"][0]["referenceLocator"].as_str().unwrap()
}

#[test]
fn document_has_what_spdx_demands() {
    let document = document();
    for (field, expected) in [
        ("spdxVersion", json!("SPDX-2.3")),
        ("dataLicense", json!("CC0-1.0")),
        ("SPDXID", json!("SPDXRef-DOCUMENT")),
        ("name", json!("localhost:5000/team/modelwright:0.1.0-cuda")),
        ("documentNamespace", json!(format!("https://spdx.org/spdxdocs/modelwright-0.1.0-cuda-{DIGEST}"))),
    ] {
        assert_eq!(document[field], expected);
    }
    assert_eq!(document["creationInfo"]["created"], "1970-01-01T00:00:00Z");
    let creator = document["creationInfo"]["creators"][0].as_str().unwrap();
    assert!(creator.starts_with("Tool: "), "{creator}");
    for package in document["packages"].as_array().unwrap() {
        for field in
            ["name", "SPDXID", "downloadLocation", "licenseConcluded", "licenseDeclared", "copyrightText"]
        {
            assert!(package[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {package}");
        }
        // SPDX wants a digest of all files of a package whose files are analysed.
        assert_eq!(package["filesAnalyzed"], false);
        assert_eq!(package["externalRefs"][0]["referenceType"], "purl");
    }
}

#[test]
fn identifiers_are_valid_distinct_and_the_only_ones_referred_to() {
    let document = document();
    let mut known = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    for package in document["packages"].as_array().unwrap() {
        let id = package["SPDXID"].as_str().unwrap();
        let rest = id.strip_prefix("SPDXRef-").unwrap();
        assert!(rest.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)), "{id}");
        assert!(known.insert(id), "{id} is there twice");
    }
    for relationship in document["relationships"].as_array().unwrap() {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            assert!(known.contains(relationship[end].as_str().unwrap()), "{relationship}");
        }
    }
}

#[test]
fn image_is_described_and_contains_what_contains_the_rest() {
    let document = document();
    let edges: Vec<_> = document["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .map(|edge| {
            let end = |name: &str| edge[name].as_str().unwrap().trim_start_matches("SPDXRef-");
            format!("{} {} {}", end("spdxElementId"), end("relationshipType"), end("relatedSpdxElement"))
        })
        .collect();
    let expected = [
        "DOCUMENT DESCRIBES image",
        "image CONTAINS file-nvidia-cublas-13.10.0.20",
        "image CONTAINS crate-modelwright-1.0.0-build",
        "crate-modelwright-1.0.0-build DEPENDS_ON rust-rust-std-1.95.0",
        "crate-modelwright-1.0.0-build DEPENDS_ON crate-csv-core-1.0.0-build",
        "crate-modelwright-1.0.0-build DEPENDS_ON crate-nothing-1.0.0-build",
        "crate-csv-core-1.0.0-build DEPENDS_ON crate-nothing-1.0.0-build",
    ];
    assert_eq!(edges, expected);
}

#[test]
fn packages_have_purls_licences_and_digests() {
    let document = document();
    let image = package(&document, "localhost:5000/team/modelwright:0.1.0-cuda");
    assert_eq!(image["checksums"], json!([{"algorithm": "SHA256", "checksumValue": DIGEST}]));
    assert_eq!(image["primaryPackagePurpose"], "CONTAINER");
    let expected = format!("pkg:oci/modelwright@sha256%3A{DIGEST}?arch=");
    assert!(purl(image).starts_with(&expected), "{image}");
    assert!(
        purl(image).ends_with("&repository_url=localhost%3A5000/team/modelwright&tag=0.1.0-cuda"),
        "{image}"
    );

    let csv = package(&document, "csv_core");
    assert_eq!(purl(csv), "pkg:cargo/csv_core@1.0.0%2Bbuild");
    assert_eq!(csv["licenseDeclared"], "Unlicense OR MIT");
    assert_eq!(csv["checksums"][0]["checksumValue"], DIGEST);
    assert!(csv["downloadLocation"].as_str().unwrap().ends_with("csv_core-1.0.0+build.crate"));
    let nothing = package(&document, "nothing");
    assert_eq!(
        (&nothing["licenseDeclared"], &nothing["downloadLocation"]),
        (&json!(NOT_SAID), &json!(NOT_SAID))
    );
    assert!(nothing.get("checksums").is_none());
    assert_eq!(package(&document, "modelwright")["primaryPackagePurpose"], "APPLICATION");

    let cublas = package(&document, "nvidia-cublas");
    assert_eq!(purl(cublas), "pkg:pypi/nvidia-cublas@13.10.0.20");
    assert!(cublas["licenseComments"].as_str().unwrap().contains("/usr/share/doc/nvidia-cublas"));
}

#[test]
fn names_of_debian_packages_are_encoded() {
    assert_eq!(encode("libstdc++6"), "libstdc%2B%2B6");
    assert_eq!(encode("1:1.2.13.dfsg-1"), "1%3A1.2.13.dfsg-1");
}

#[test]
fn time_is_in_seconds_since_1970_or_refused() {
    assert_eq!(timestamp("1767225599").unwrap(), "2025-12-31T23:59:59Z");
    let error = timestamp("yesterday").unwrap_err().to_string();
    assert!(error.contains("SOURCE_DATE_EPOCH") && error.contains("yesterday"), "{error}");
}

#[test]
fn bill_lies_beside_the_archive() {
    assert_eq!(
        beside(Path::new("target/image/modelwright.tar")),
        Path::new("target/image/modelwright.spdx.json")
    );
}
