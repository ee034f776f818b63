//! Publishing to a disk; `servers` does the same on object stores.

use std::fs;
use std::future::Future as _;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use modelwright_artifact::{
    Class, Error, FetchRequest, MANIFEST_FILE, MODEL_FILE, NoProgress, PublishRequest, Published, SourceUri,
    fetch, publish, verify,
};

use crate::fixture::{connection, files_below, model, request, revision};

fn to(prefix: &Path, folder: &Path) -> PublishRequest {
    PublishRequest {
        folder: folder.to_owned(),
        digest: None,
        prefix: SourceUri::from_path(prefix).unwrap(),
        connection: connection(),
    }
}

async fn published(request: &PublishRequest) -> Result<Published, Error> {
    publish(request, &NoProgress).await
}

#[tokio::test]
async fn revision_is_found_by_its_digest_and_published_once() {
    let (folder, manifest) = revision(20_000, 0);
    let store = tempfile::tempdir().unwrap();
    let first = published(&to(store.path(), folder.path())).await.unwrap();
    assert_eq!(first.digest, manifest.digest().unwrap());
    let place = store.path().join("revisions").join(first.digest.id());
    assert_eq!(first.uri.local_path(), Some(place.join("").as_path()));
    verify(&place, &first.digest).unwrap();
    assert_eq!(files_below(store.path()).len(), 3);
    assert!(first.bytes_written > 80_000);
    let second = published(&to(store.path(), folder.path())).await.unwrap();
    assert_eq!((second.bytes_written, second.uri.clone()), (0, first.uri));

    let source = request(&second.uri.to_string());
    let out = tempfile::tempdir().unwrap();
    let request = FetchRequest { source: &source, resolved: None, folder: out.path().to_owned() };
    assert_eq!(fetch(&request, &NoProgress).await.unwrap().digest, second.digest);
}

#[tokio::test]
async fn folder_of_another_revision_than_the_expected_is_not_published() {
    let (folder, manifest) = revision(100, 0);
    let (_, other) = revision(100, 1);
    let store = tempfile::tempdir().unwrap();
    let mut request = to(store.path(), folder.path());
    request.digest = Some(other.digest().unwrap());
    let error = published(&request).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("DigestMismatch", Class::DigestMismatch));
    for digest in [manifest.digest().unwrap(), other.digest().unwrap()] {
        assert!(error.to_string().contains(&digest.to_string()), "{error}");
    }
    assert!(files_below(store.path()).is_empty());
    request.digest = Some(manifest.digest().unwrap());
    published(&request).await.unwrap();
}

#[tokio::test]
async fn racing_publishers_all_succeed() {
    let (folder, manifest) = revision(20_000, 0);
    let store = tempfile::tempdir().unwrap();
    let request = to(store.path(), folder.path());
    let race = (0..8).map(|_| {
        let request = request.clone();
        tokio::spawn(async move { publish(&request, &NoProgress).await })
    });
    for publisher in race.collect::<Vec<_>>() {
        assert_eq!(publisher.await.unwrap().unwrap().digest, manifest.digest().unwrap());
    }
    verify(
        &store.path().join("revisions").join(manifest.digest().unwrap().id()),
        &manifest.digest().unwrap(),
    )
    .unwrap();
}

#[tokio::test]
async fn other_bytes_under_the_digest_are_a_collision() {
    let (folder, manifest) = revision(20_000, 0);
    let id = manifest.digest().unwrap().id();
    for (name, bytes) in
        [(MANIFEST_FILE, b"{}".to_vec()), (MODEL_FILE, model(20_000, 1)), ("data/notes.txt", b"n".to_vec())]
    {
        let store = tempfile::tempdir().unwrap();
        published(&to(store.path(), folder.path())).await.unwrap();
        let place = store.path().join("revisions").join(&id).join(name);
        fs::write(&place, &bytes).unwrap();
        let error = published(&to(store.path(), folder.path())).await.unwrap_err();
        assert_eq!((error.reason(), error.class()), ("RevisionCollision", Class::Refused));
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(fs::read(place).unwrap(), bytes, "nothing is overwritten");
    }
}

#[tokio::test]
async fn file_that_a_published_revision_lacks_is_uploaded() {
    let (folder, manifest) = revision(20_000, 0);
    let (digest, store) = (manifest.digest().unwrap(), tempfile::tempdir().unwrap());
    let request = to(store.path(), folder.path());
    published(&request).await.unwrap();
    let place = store.path().join("revisions").join(digest.id());
    let content = fs::read(place.join(MODEL_FILE)).unwrap();
    fs::remove_file(place.join(MODEL_FILE)).unwrap();
    assert_eq!(published(&request).await.unwrap().bytes_written, content.len() as u64);
    assert_eq!(fs::read(place.join(MODEL_FILE)).unwrap(), content);
    verify(&place, &digest).unwrap();
    assert_eq!(published(&request).await.unwrap().bytes_written, 0);
}

#[tokio::test]
async fn damaged_folder_is_not_published() {
    let (folder, _) = revision(20_000, 0);
    fs::write(folder.path().join(MODEL_FILE), model(20_000, 1)).unwrap();
    let store = tempfile::tempdir().unwrap();
    let error = published(&to(store.path(), folder.path())).await.unwrap_err();
    assert_eq!(error.class(), Class::DigestMismatch);
    assert!(!files_below(store.path()).iter().any(|path| path.ends_with(MANIFEST_FILE)));
}

/// Stops a publisher after each number of steps that it can take.
#[tokio::test]
async fn publisher_stopped_at_any_point_leaves_nothing_visible_and_a_later_one_completes() {
    let (folder, manifest) = revision(3000, 0);
    let digest = manifest.digest().unwrap();
    for steps in 0.. {
        let store = tempfile::tempdir().unwrap();
        let request = to(store.path(), folder.path());
        let done = {
            let mut publisher = pin!(published(&request));
            let mut done = false;
            for _ in 0..steps {
                if let Poll::Ready(result) = publisher.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                {
                    result.unwrap();
                    done = true;
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
            done
        };
        let place = store.path().join("revisions").join(digest.id());
        let visible = place.join(MANIFEST_FILE).exists();
        assert!(!visible || verify(&place, &digest).is_ok(), "after {steps} steps");
        published(&request).await.unwrap();
        verify(&place, &digest).unwrap();
        if done {
            assert!(steps > 5);
            break;
        }
    }
}

#[tokio::test]
async fn web_server_cannot_be_published_to() {
    let (folder, _) = revision(100, 0);
    let server = crate::web_server::WebServer::start(|_| crate::web_server::Reply::new(404, "")).await;
    let prefix = SourceUri::parse(&server.url("/models/"), None).unwrap();
    let request = PublishRequest { prefix, ..to(Path::new("/unused"), folder.path()) };
    assert_eq!(published(&request).await.unwrap_err().reason(), "Unsupported");
}
