use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::FileEntry;
use crate::onnx::encoder::{Encoder, graph, model};

/// A model with two weights that can be moved, of bytes that are all `value`.
fn model_of(value: u8) -> Vec<u8> {
    let weight = |name: &str, count: usize| {
        let size = i64::try_from(count).unwrap();
        Encoder::new().number(1, size).number(2, 2).bytes(9, vec![value; count]).bytes(8, name)
    };
    model(&graph().message(5, &weight("first", 500_000)).message(5, &weight("second", 4096)))
}

/// A folder with a verified revision of this model.
fn revision(model: &[u8]) -> (tempfile::TempDir, Manifest, OnnxFacts) {
    let folder = tempfile::tempdir().unwrap();
    let manifest = put(folder.path(), model);
    let facts = crate::facts(folder.path()).unwrap();
    (folder, manifest, facts)
}

fn put(folder: &Path, model: &[u8]) -> Manifest {
    fs::write(folder.join(MODEL_FILE), model).unwrap();
    let entry = FileEntry { sha256: Digest::of(model), size: model.len() as u64 };
    Manifest::new(BTreeMap::from([(RelativePath::new(MODEL_FILE).unwrap(), entry)])).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn copy_lies_where_no_file_of_a_revision_can_and_names_its_model() {
    let source = model_of(1);
    let (folder, manifest, facts) = revision(&source);
    let copy = convert(folder.path(), &manifest, &facts).unwrap();
    assert_eq!(copy.moved, Externalized { weights: 2, bytes: 504_096 });
    assert_eq!(names(folder.path()), [FOLDER, MODEL_FILE]);
    RelativePath::new(&format!("{FOLDER}/{MODEL_FILE}")).unwrap_err();
    let inside = folder.path().join(FOLDER);
    assert_eq!(fs::read_to_string(inside.join(SOURCE_FILE)).unwrap(), Digest::of(&source).to_string());
    assert_eq!(fs::read(folder.path().join(MODEL_FILE)).unwrap(), source);
    assert_eq!(converted(folder.path(), &manifest).unwrap(), Some(copy));
}

#[test]
fn copy_that_is_there_is_kept() {
    let (folder, manifest, facts) = revision(&model_of(1));
    let number = |copy: &Converted| fs::metadata(&copy.model).unwrap().ino();
    let first = convert(folder.path(), &manifest, &facts).unwrap();
    let before = number(&first);
    assert_eq!(number(&convert(folder.path(), &manifest, &facts).unwrap()), before);
}

#[test]
fn copy_of_another_model_is_not_used_and_is_replaced() {
    let (folder, manifest, facts) = revision(&model_of(1));
    convert(folder.path(), &manifest, &facts).unwrap();
    let other = put(folder.path(), &model_of(2));
    assert_eq!(converted(folder.path(), &other).unwrap(), None);
    let copy = convert(folder.path(), &other, &facts).unwrap();
    assert_eq!(converted(folder.path(), &other).unwrap(), Some(copy));
}

#[test]
fn copy_that_was_tampered_with_is_refused_and_replaced() {
    let (folder, manifest, facts) = revision(&model_of(1));
    let inside = folder.path().join(FOLDER);
    let changes: [fn(&mut Vec<u8>); 4] = [
        |content| content[0] ^= 1,
        |content| *content.last_mut().unwrap() ^= 1,
        |content| content.push(0),
        |content| content.truncate(content.len() - 1),
    ];
    for name in [MODEL_FILE, DATA_FILE] {
        for change in changes {
            convert(folder.path(), &manifest, &facts).unwrap();
            let mut content = fs::read(inside.join(name)).unwrap();
            change(&mut content);
            fs::write(inside.join(name), content).unwrap();
            let error = converted(folder.path(), &manifest).unwrap_err();
            assert!(matches!(&error, NotConverted::Changed { path } if path.ends_with(name)), "{error}");
        }
        convert(folder.path(), &manifest, &facts).unwrap();
        fs::remove_file(inside.join(name)).unwrap();
        converted(folder.path(), &manifest).unwrap_err();
    }
    convert(folder.path(), &manifest, &facts).unwrap();
    converted(folder.path(), &manifest).unwrap().unwrap();
}

#[test]
fn forged_record_does_not_make_another_models_copy_believed() {
    let (folder, manifest, facts) = revision(&model_of(1));
    convert(folder.path(), &manifest, &facts).unwrap();
    let other = model_of(2);
    let manifest = put(folder.path(), &other);
    fs::write(folder.path().join(FOLDER).join(SOURCE_FILE), Digest::of(&other).to_string()).unwrap();
    assert!(matches!(converted(folder.path(), &manifest), Err(NotConverted::Changed { .. })));
}

#[test]
fn interrupted_conversion_is_not_used_and_the_next_one_cleans_up() {
    let (folder, manifest, facts) = revision(&model_of(1));
    // As after a kill in the middle.
    fs::create_dir(folder.path().join(UNFINISHED)).unwrap();
    fs::write(folder.path().join(UNFINISHED).join(DATA_FILE), [1; 100]).unwrap();
    assert_eq!(converted(folder.path(), &manifest).unwrap(), None);
    convert(folder.path(), &manifest, &facts).unwrap();
    assert_eq!(names(folder.path()), [FOLDER, MODEL_FILE]);
    discard(folder.path()).unwrap();
    assert_eq!(names(folder.path()), [MODEL_FILE]);
}

#[test]
fn copy_without_room_on_the_disk_is_not_begun() {
    let (folder, manifest, _) = revision(&model_of(1));
    let opened = Folder::open(folder.path()).unwrap();
    let error = make(&opened, &manifest, u64::MAX).unwrap_err();
    assert!(matches!(error, NotConverted::NoSpace { needed: u64::MAX, .. }), "{error}");
    assert_eq!(names(folder.path()), [MODEL_FILE]);
}

#[test]
fn failed_conversion_leaves_nothing() {
    let (folder, manifest, facts) = revision(&model_of(1));
    convert(folder.path(), &manifest, &facts).unwrap();
    // Everything is written, and then the name is taken.
    make(&Folder::open(folder.path()).unwrap(), &manifest, 0).unwrap_err();
    assert_eq!(names(folder.path()), [FOLDER, MODEL_FILE]);
    fs::write(folder.path().join(MODEL_FILE), &model_of(1)[..100_000]).unwrap();
    convert(folder.path(), &manifest, &facts).unwrap_err();
    assert_eq!(names(folder.path()), [MODEL_FILE]);
}

#[test]
fn models_that_need_no_copy_get_none() {
    let (folder, manifest, facts) = revision(&model(&graph()));
    assert!(matches!(convert(folder.path(), &manifest, &facts), Err(NotConverted::NothingToMove)));
    let facts = OnnxFacts { external_data: ["weights.bin".to_owned()].into(), ..facts };
    assert!(matches!(convert(folder.path(), &manifest, &facts), Err(NotConverted::AlreadyExternal)));
    assert_eq!(names(folder.path()), [MODEL_FILE]);
}

#[test]
fn link_in_place_of_the_copy_is_not_followed() {
    let (folder, manifest, facts) = revision(&model_of(1));
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("precious"), "x").unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), folder.path().join(FOLDER)).unwrap();
    assert!(matches!(converted(folder.path(), &manifest), Err(NotConverted::Failed(_))));
    convert(folder.path(), &manifest, &facts).unwrap();
    assert_eq!(names(elsewhere.path()), ["precious"]);
    assert!(fs::symlink_metadata(folder.path().join(FOLDER)).unwrap().is_dir());
}
