use std::fs;
use std::path::Path;

use rstest::rstest;

use super::*;
use crate::provenance::{Run, statement};
use crate::{AccessRules, FileEntry, MANIFEST_FILE, MODEL_FILE, Manifest, RelativePath};

const UID: &str = "us";

fn manifest(content: &str) -> Manifest {
    let entry = FileEntry { sha256: Digest::of(content.as_bytes()), size: content.len() as u64 };
    Manifest::new(BTreeMap::from([(RelativePath::new(MODEL_FILE).unwrap(), entry)])).unwrap()
}

/// A store in a folder, with a revision for each letter.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn has(&self, path: &str) -> bool {
        self.0.path().join(path).exists()
    }

    /// A revision that this Model made on this day of a month, with a record of its inputs.
    fn revision(&self, content: &str, uid: &str, day: u32) -> String {
        let manifest = manifest(content);
        let digest = manifest.digest().unwrap();
        let folder = format!("revisions/{}", digest.id());
        self.write(&format!("{folder}/{MANIFEST_FILE}"), manifest.to_bytes().unwrap());
        self.write(&format!("{folder}/{MODEL_FILE}"), content);
        self.write(&format!("inputs/{content}.json"), format!(r#"{{"revision":"{digest}"}}"#));
        self.claim(content, uid, &format!("2026-01-{day:02}T00:00:00Z"), &format!("run-{content}-{uid}"));
        digest.id()
    }

    fn claim(&self, content: &str, uid: &str, finished: &str, run: &str) {
        let mut parameters = BTreeMap::from([(RUN.to_owned(), run.to_owned())]);
        if !uid.is_empty() {
            parameters.insert(MODEL_UID.to_owned(), uid.to_owned());
        }
        let of_run = Run { id: run.into(), finished: finished.into(), parameters, ..Run::default() };
        let content = statement(&manifest(content), &of_run).unwrap();
        self.write(&format!("provenance/{run}.json"), content);
    }

    fn request(&self, keep: Option<u32>, protected: &[&str]) -> RetentionRequest {
        RetentionRequest {
            prefix: SourceUri::from_path(self.0.path()).unwrap(),
            connection: Connection { rules: AccessRules::LOCAL, ..Connection::default() },
            uid: UID.into(),
            keep,
            protected: protected.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    async fn going(&self, keep: u32, protected: &[&str]) -> Vec<String> {
        list_revisions(&self.request(Some(keep), protected)).await.unwrap()
    }
}

fn id(content: &str) -> String {
    manifest(content).digest().unwrap().id()
}

#[tokio::test]
async fn newest_revisions_and_protected_ones_stay() {
    let place = Place::new();
    let [a, b, c, d] =
        [("a", 1), ("b", 2), ("c", 3), ("d", 4)].map(|(name, day)| place.revision(name, UID, day));
    assert_eq!(place.going(4, &[]).await, Vec::<String>::new());
    assert_eq!(place.going(2, &[]).await, [a.clone(), b.clone()]);
    let digest = manifest("a").digest().unwrap().to_string();
    assert_eq!(place.going(2, &[&digest]).await, std::slice::from_ref(&b));
    assert_eq!(place.going(1, &[&b, &d]).await, [a, c]);
    // Trained anew with an equal result: it is the newest now.
    place.claim("b", UID, "2026-02-01T00:00:00.5Z", "again");
    assert_eq!(place.going(1, &[]).await.last(), Some(&d));
}

#[rstest]
#[case::somebody_else("them", "2026-01-01T00:00:00Z")]
#[case::nobody("", "2026-01-01T00:00:00Z")]
#[case::at_no_time(UID, "yesterday")]
#[tokio::test]
async fn revision_that_is_not_surely_ours_stays(#[case] uid: &str, #[case] finished: &str) {
    let place = Place::new();
    place.revision("a", UID, 1);
    let b = place.revision("b", UID, 2);
    place.claim("a", uid, finished, "other");
    assert_eq!(place.going(0, &[]).await, std::slice::from_ref(&b));
    let deleted = delete_revisions(&place.request(None, &[]), None).await.unwrap();
    assert_eq!(deleted.revisions, [b]);
    assert!(place.has(&format!("revisions/{}/{MANIFEST_FILE}", id("a"))) && place.has("inputs/a.json"));
    assert!(place.has("provenance/other.json") && place.has("provenance/run-a-us.json"));
}

#[tokio::test]
async fn what_cannot_be_read_holds_the_revision_that_it_names_and_no_other() {
    let place = Place::new();
    place.revision("a", UID, 1);
    let b = place.revision("b", UID, 2);
    place.write("provenance/odd.json", format!("of {} {{", manifest("a").digest().unwrap().hex()));
    place.write("provenance/binary.json", [0xff, 0x00]);
    assert_eq!(place.going(0, &[]).await, [b]);
}

#[tokio::test]
async fn revision_without_provenance_and_one_of_other_bytes_stay() {
    let place = Place::new();
    let a = place.revision("a", UID, 1);
    place.revision("b", UID, 2);
    fs::remove_file(place.0.path().join("provenance/run-b-us.json")).unwrap();
    place.write(&format!("revisions/{a}/{MANIFEST_FILE}"), "{}");
    assert_eq!(place.going(0, &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn only_what_is_named_and_still_eligible_is_deleted() {
    let place = Place::new();
    let [a, b, c] = [("a", 1), ("b", 2), ("c", 3)].map(|(name, day)| place.revision(name, UID, day));
    let named = [a.clone(), c.clone(), "0123456789abcdef".to_owned(), "../../x".to_owned()];
    let deleted = delete_revisions(&place.request(Some(1), &[]), Some(&named)).await.unwrap();
    assert_eq!((deleted.revisions, deleted.kept), (vec![a.clone()], vec![c.clone()]));
    assert_eq!((deleted.objects, place.has(&format!("revisions/{a}"))), (4, false));
    for path in
        [format!("revisions/{b}/{MODEL_FILE}"), format!("revisions/{c}/{MODEL_FILE}"), "inputs/b.json".into()]
    {
        assert!(place.has(&path), "{path}");
    }
    assert!(!place.has("inputs/a.json") && !place.has("provenance/run-a-us.json"));
    // Again: nothing is left to do, and that is fine.
    let again = delete_revisions(&place.request(Some(1), &[]), Some(&[a])).await.unwrap();
    assert_eq!(again, Deleted::default());
}

#[rstest]
#[case::after_the_manifest(&[MANIFEST_FILE])]
#[case::after_the_files(&[MANIFEST_FILE, MODEL_FILE])]
#[tokio::test]
async fn interrupted_deletion_is_continued(#[case] gone: &[&str]) {
    let place = Place::new();
    let a = place.revision("a", UID, 1);
    place.revision("b", UID, 2);
    for file in gone {
        fs::remove_file(place.0.path().join("revisions").join(&a).join(file)).unwrap();
    }
    assert_eq!(place.going(1, &[]).await, std::slice::from_ref(&a), "it does not count as one that stays");
    let deleted =
        delete_revisions(&place.request(Some(1), &[]), Some(std::slice::from_ref(&a))).await.unwrap();
    assert_eq!(deleted.revisions, std::slice::from_ref(&a));
    assert!(files(&place.0.path().join("revisions").join(&a)).is_empty() && !place.has("inputs/a.json"));
    assert_eq!(place.going(1, &[]).await, Vec::<String>::new());
}

#[tokio::test]
async fn all_of_a_model_goes_with_it_and_nothing_outside_of_its_place() {
    let place = Place::new();
    let inner = Place(tempfile::tempdir_in(place.0.path()).unwrap());
    place.revision("a", UID, 1);
    inner.revision("a", UID, 1);
    inner.write("runs/run-a-us/checkpoints/1/weights", "w");
    inner.write("runs/unfinished/checkpoints/1/weights", "w");
    let deleted = delete_revisions(&inner.request(None, &[]), None).await.unwrap();
    assert_eq!(deleted.objects, 6);
    assert!(files(inner.0.path()).is_empty());
    assert_eq!(files(place.0.path()).len(), 4);
}

#[tokio::test]
async fn checkpoints_of_others_stay() {
    let place = Place::new();
    place.revision("a", UID, 1);
    place.revision("b", "them", 1);
    for run in ["run-a-us", "run-b-them", "unfinished"] {
        place.write(&format!("runs/{run}/checkpoints/1/weights"), "w");
    }
    delete_revisions(&place.request(None, &[]), None).await.unwrap();
    let left = ["run-a-us", "run-b-them", "unfinished"].map(|run| place.has(&format!("runs/{run}")));
    assert_eq!(left, [false, true, true]);
}

#[tokio::test]
async fn store_that_was_never_written_to_has_nothing_to_delete() {
    let place = Place::new();
    assert_eq!(delete_revisions(&place.request(None, &[]), None).await.unwrap(), Deleted::default());
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[tokio::test]
async fn revision_that_another_model_found_again_stays_and_the_models_own_reuse_is_no_obstacle() {
    let place = Place::new();
    let (first, second) = (place.revision("a", UID, 1), place.revision("b", UID, 2));
    let request = place.request(Some(0), &[]);
    let reuse = async |content: &str, uid: &str, finished: &str| {
        let digest = manifest(content).digest().unwrap();
        let run = Run {
            id: format!("reused-{uid}-{}", digest.id()),
            finished: finished.to_owned(),
            parameters: BTreeMap::from([(MODEL_UID.to_owned(), uid.to_owned())]),
            ..Run::default()
        };
        crate::provenance::write_reuse(&request.prefix, &request.connection, &digest, &run).await
    };
    // The second time tells nothing new.
    for finished in ["2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z"] {
        reuse("a", "them", finished).await.unwrap();
        reuse("b", UID, finished).await.unwrap();
    }
    assert_eq!(reuse("c", UID, "").await.unwrap_err().reason(), "SourceNotFound");
    let deleted = delete_revisions(&request, None).await.unwrap();
    assert_eq!(deleted.revisions, std::slice::from_ref(&second));
    assert!(place.has(&format!("revisions/{first}/{MANIFEST_FILE}")));
    assert!(!place.has(&format!("provenance/reused-{UID}-{second}.json")), "its claims go with it");
}
