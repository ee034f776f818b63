use std::fs;

use super::*;
use crate::AccessRules;

const RUN: &str = "run-1";

struct Fixture {
    store: tempfile::TempDir,
    folder: tempfile::TempDir,
    prefix: SourceUri,
    connection: Connection,
}

impl Fixture {
    fn new() -> Self {
        let (store, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let prefix = SourceUri::from_path(store.path()).unwrap();
        let connection = Connection { rules: AccessRules::LOCAL, ..Connection::default() };
        Self { store, folder, prefix, connection }
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    async fn push(&self) -> Pushed {
        push(&self.prefix, &self.connection, RUN, self.folder.path(), None).await.unwrap()
    }

    /// The number and what is restored, by path.
    async fn restored(&self) -> Option<(u64, Vec<(String, String)>)> {
        let into = tempfile::tempdir().unwrap();
        let restored = restore(&self.prefix, &self.connection, RUN, into.path(), None).await.unwrap()?;
        let mut paths = Vec::new();
        collect(&Folder::open(into.path()).unwrap(), "", 100, &mut paths).unwrap();
        paths.sort();
        assert_eq!(paths.len(), restored.files);
        let read = |path: &RelativePath| fs::read_to_string(into.path().join(path.as_str())).unwrap();
        Some((restored.number, paths.iter().map(|path| (path.to_string(), read(path))).collect()))
    }

    /// Paths below the run's checkpoints.
    fn stored(&self) -> Vec<String> {
        let root = self.store.path().join("runs").join(RUN).join("checkpoints");
        let Ok(folder) = Folder::open(&root) else { return Vec::new() };
        let mut paths = Vec::new();
        collect(&folder, "", 100, &mut paths).unwrap();
        paths.sort();
        paths.iter().map(ToString::to_string).collect()
    }

    fn place(&self, path: &str) -> std::path::PathBuf {
        self.store.path().join("runs").join(RUN).join("checkpoints").join(path)
    }
}

fn one(path: &str, content: &str) -> Vec<(String, String)> {
    vec![(path.to_owned(), content.to_owned())]
}

#[tokio::test]
async fn newest_checkpoint_comes_back_and_older_ones_are_deleted() {
    let fixture = Fixture::new();
    assert_eq!(fixture.restored().await, None);
    assert_eq!(fixture.push().await, Pushed::default());
    fixture.write("step-1/weights", "one");
    fixture.write("step-1/copy", "one");
    let first = fixture.push().await;
    assert_eq!(first, Pushed { number: 1, files: 2, bytes: 6, bytes_written: 3 });
    fixture.write("step-2/weights", "two!");
    let second = fixture.push().await;
    assert_eq!(second, Pushed { number: 2, files: 3, bytes: 10, bytes_written: 4 });
    assert_eq!(fixture.push().await, Pushed { bytes_written: 0, ..second }, "nothing changed");
    fs::remove_dir_all(fixture.folder.path().join("step-1")).unwrap();
    fixture.push().await;
    assert_eq!(fixture.stored(), [format!("{:010}.json", 3), file_path(&Digest::of(b"two!"))]);
    assert_eq!(fixture.restored().await, Some((3, one("step-2/weights", "two!"))));
    discard(&fixture.prefix, &fixture.connection, RUN).await.unwrap();
    assert_eq!((fixture.stored(), fixture.restored().await), (Vec::new(), None));
}

#[tokio::test]
async fn torn_checkpoints_are_passed_over_for_the_newest_whole_one() {
    let fixture = Fixture::new();
    fixture.write("state", "whole");
    fixture.push().await;
    let (whole, newer) =
        (fs::read_to_string(fixture.place("0000000001.json")).unwrap(), Digest::of(b"newer"));
    let other = whole.replace(&Digest::of(b"whole").to_string(), &newer.to_string());
    let torn = [
        // An upload of files only; manifests cut, of another contract, or without their files.
        (file_path(&newer), "new".to_owned()),
        ("0000000002.json".to_owned(), whole[..whole.len() / 2].to_owned()),
        ("0000000003.json".to_owned(), whole.replace("\"contract\":\"1\"", "\"contract\":\"2\"")),
        ("0000000004.json".to_owned(), other),
    ];
    for (path, content) in torn {
        fs::write(fixture.place(&path), content).unwrap();
        assert_eq!(fixture.restored().await, Some((1, one("state", "whole"))), "{path}");
    }
    // A file that was cut is uploaded again, whatever it is called.
    fixture.write("state", "newer");
    assert_eq!(fixture.push().await.bytes_written, 5);
    assert_eq!(fixture.restored().await, Some((5, one("state", "newer"))));
    assert_eq!(fixture.stored().len(), 2);
    // Other bytes of the same length are found by their digest.
    fs::write(fixture.place(&file_path(&newer)), "wrong").unwrap();
    assert_eq!(fixture.restored().await, None);
}

#[tokio::test]
async fn manifest_that_leads_out_of_the_folder_is_passed_over() {
    let fixture = Fixture::new();
    fixture.write("state", "whole");
    fixture.push().await;
    let place = fixture.place("0000000001.json");
    let hostile = fs::read_to_string(&place).unwrap().replace("\"state\"", "\"../state\"");
    fs::write(&place, hostile).unwrap();
    assert_eq!(fixture.restored().await, None);
}

#[tokio::test]
async fn links_and_unfinished_files_of_ours_stay_here() {
    let fixture = Fixture::new();
    fixture.write("state", "whole");
    fixture.write(".modelwright-x.partial", "half");
    std::os::unix::fs::symlink("/etc/hostname", fixture.folder.path().join("last")).unwrap();
    fixture.push().await;
    assert_eq!(fixture.restored().await, Some((1, one("state", "whole"))));
}

#[tokio::test]
async fn run_is_one_component_and_a_web_server_keeps_nothing() {
    let fixture = Fixture::new();
    for run in ["a/b", "..", ""] {
        let error =
            push(&fixture.prefix, &fixture.connection, run, fixture.folder.path(), None).await.unwrap_err();
        assert_eq!(error.reason(), "UnsafePath", "{run}");
    }
    let web = SourceUri::parse("http://127.0.0.1:1/models/", None).unwrap();
    let error = restore(&web, &fixture.connection, RUN, fixture.folder.path(), None).await.unwrap_err();
    assert_eq!(error.reason(), "Unsupported");
}

#[tokio::test]
async fn checkpoint_of_other_inputs_is_passed_over_and_one_that_does_not_say_is_taken() {
    let fixture = Fixture::new();
    let (old, new) = (Some(Digest::of(b"old data")), Some(Digest::of(b"new data")));
    let push = async |inputs| {
        push(&fixture.prefix, &fixture.connection, RUN, fixture.folder.path(), inputs).await.unwrap()
    };
    let into = tempfile::tempdir().unwrap();
    let restored = async |inputs| {
        let restored = restore(&fixture.prefix, &fixture.connection, RUN, into.path(), inputs).await.unwrap();
        restored.map(|restored| restored.number)
    };
    fixture.write("state", "learnt");
    push(None).await;
    assert_eq!(restored(new).await, Some(1));
    push(old).await;
    assert_eq!((restored(new).await, restored(old).await, restored(None).await), (None, Some(2), Some(2)));
    assert_eq!(
        (push(new).await.number, restored(new).await),
        (3, Some(3)),
        "the same bytes, learnt of these"
    );
}
