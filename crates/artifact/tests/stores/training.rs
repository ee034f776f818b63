//! What a training asks of object stores: its data, and the record of what it was trained from.

use std::fs;

use modelwright_artifact::data::{DataRequest, fetch_data, list_data, read_tail};
use modelwright_artifact::{
    Class, Digest, Inputs, Manifest, NoProgress, PublishRequest, checkpoints, compose, inputs, publish,
};
use rstest::rstest;

use crate::fixture::model;
use crate::servers::{Start, at, publishing, reach, started};

const NUMERICS: &str = "1";

fn went_in() -> Inputs {
    Inputs { data: Digest::of(b"data"), spec: Digest::of(b"spec") }
}

/// A revision with files of data in it, so that publishing brings them into the store.
fn composed(seed: u8) -> (tempfile::TempDir, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("train")).unwrap();
    for (path, content) in [
        ("model.onnx", model(10, seed)),
        ("train/b.csv", model(700_000, 1)),
        ("train/A-é 1.CSV", model(10, 2)),
        ("train/_SUCCESS", model(10, 3)),
        ("train/notes.txt", model(10, 4)),
    ] {
        fs::write(folder.path().join(path), content).unwrap();
    }
    let (manifest, _) = compose(folder.path(), went_in(), Some(NUMERICS), Some(7)).unwrap();
    (folder, manifest)
}

#[rstest]
#[case::versitygw(modelwright_test_servers::versitygw)]
#[case::s3rver(modelwright_test_servers::s3rver)]
#[case::azurite(modelwright_test_servers::azurite)]
#[case::fake_gcs(modelwright_test_servers::fake_gcs)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_a_prefix_is_listed_looked_at_and_fetched(#[case] start: Start) {
    let Some(server) = started(start) else { return };
    let (folder, manifest) = composed(0);
    publish(&publishing(&server, "a/b", folder.path()), &NoProgress).await.unwrap();
    let prefix = format!("a/b/revisions/{}/train", manifest.digest().unwrap().id());
    for path in [prefix.clone(), format!("{prefix}/")] {
        let (uri, connection) = (at(&server, &path).uri, reach(&server));
        let mut request = DataRequest { uri, endings: vec![".csv"], connection };
        let listing = list_data(&request).await.unwrap();
        let names: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(names, ["A-é 1.CSV", "b.csv"]);
        assert!(listing.probe().is_conclusive());
        assert_eq!(listing.probe(), list_data(&request).await.unwrap().probe());
        let large = model(700_000, 1);
        assert_eq!(read_tail(&listing, 1, 8).await.unwrap(), large[large.len() - 8..]);
        let out = tempfile::tempdir().unwrap();
        let files = fetch_data(&listing, out.path(), &NoProgress).await.unwrap();
        for (file, path) in files.iter().zip(["train/A-é 1.CSV", "train/b.csv"]) {
            let expected = manifest.files()[path];
            assert_eq!((file.sha256, file.size), (expected.sha256, expected.size));
            assert_eq!(Digest::of(&fs::read(&file.path).unwrap()), expected.sha256);
        }
        request.endings = vec![".parquet"];
        let error = list_data(&request).await.unwrap_err();
        assert_eq!((error.reason(), error.class()), ("NoData", Class::Missing));
    }
    let (uri, connection) = (at(&server, "a/none").uri, reach(&server));
    let request = DataRequest { uri, endings: vec![".csv"], connection };
    assert_eq!(list_data(&request).await.unwrap_err().reason(), "SourceNotFound");
}

#[rstest]
#[case::versitygw(modelwright_test_servers::versitygw, true)]
#[case::s3rver(modelwright_test_servers::s3rver, false)]
#[case::azurite(modelwright_test_servers::azurite, true)]
#[case::fake_gcs(modelwright_test_servers::fake_gcs, true)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revision_is_found_by_its_inputs_whoever_records_it_first(
    #[case] start: Start,
    #[case] conditional_writes: bool,
) {
    let Some(server) = started(start) else { return };
    let key = inputs::key(&went_in(), NUMERICS).unwrap();
    let trainings = [composed(0), composed(1)];
    let requests = trainings.each_ref().map(|(folder, _)| publishing(&server, "m", folder.path()));
    let [PublishRequest { prefix, connection, .. }, _] = &requests;
    assert_eq!(inputs::find(prefix, connection, &key).await.unwrap(), None);
    for request in &requests {
        publish(request, &NoProgress).await.unwrap();
    }
    let [first, second] = trainings.each_ref().map(|(_, manifest)| manifest);
    let race = tokio::join!(
        inputs::record(prefix, connection, first),
        inputs::record(prefix, connection, second),
        inputs::record(prefix, connection, first)
    );
    let recorded = [race.0.unwrap(), race.1.unwrap(), race.2.unwrap()];
    let found = inputs::find(prefix, connection, &key).await.unwrap().unwrap();
    assert!(recorded.contains(&found));
    if conditional_writes {
        assert_eq!(recorded, [found; 3]);
    }
    for manifest in [first, second] {
        assert_eq!(inputs::record(prefix, connection, manifest).await.unwrap(), found);
    }
}

#[rstest]
#[case::versitygw(modelwright_test_servers::versitygw)]
#[case::s3rver(modelwright_test_servers::s3rver)]
#[case::azurite(modelwright_test_servers::azurite)]
#[case::fake_gcs(modelwright_test_servers::fake_gcs)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newest_checkpoint_is_restored_and_all_are_discarded(#[case] start: Start) {
    let Some(server) = started(start) else { return };
    let (prefix, connection) = (at(&server, "c/d").uri, reach(&server));
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    // Large enough for an upload in parts.
    for (number, content) in [(1, model(10, 0)), (2, model(2_000_000, 1))] {
        fs::write(from.path().join("state"), content).unwrap();
        let pushed = checkpoints::push(&prefix, &connection, "run", from.path(), None).await.unwrap();
        assert_eq!((pushed.number, pushed.bytes_written), (number, pushed.bytes));
    }
    let restored = checkpoints::restore(&prefix, &connection, "run", to.path(), None).await.unwrap().unwrap();
    assert_eq!((restored.number, restored.files), (2, 1));
    let read = |folder: &tempfile::TempDir| fs::read(folder.path().join("state")).unwrap();
    assert!(read(&from) == read(&to));
    assert_eq!(checkpoints::restore(&prefix, &connection, "other", to.path(), None).await.unwrap(), None);
    for _ in 0..2 {
        checkpoints::discard(&prefix, &connection, "run").await.unwrap();
        assert_eq!(checkpoints::restore(&prefix, &connection, "run", to.path(), None).await.unwrap(), None);
    }
}
