//! Which revisions of an object store go, and what happens where they may not.

use modelwright_artifact::retention::{MODEL_UID, RetentionRequest, delete_revisions, list_revisions};
use modelwright_artifact::{Class, NoProgress, SourceUri, find_revision, provenance, publish};
use rstest::rstest;

use crate::fixture::{connection, credentials, revision};
use crate::servers::{Start, publishing, reach, started};
use crate::web_server::{Reply, WebServer};

fn run(number: u32, uid: &str) -> provenance::Run {
    provenance::Run {
        id: format!("run-{number}"),
        finished: format!("2026-01-{number:02}T00:00:00Z"),
        parameters: [(MODEL_UID.to_owned(), uid.to_owned())].into(),
        ..provenance::Run::default()
    }
}

#[rstest]
#[case::versitygw(modelwright_test_servers::versitygw)]
#[case::s3rver(modelwright_test_servers::s3rver)]
#[case::azurite(modelwright_test_servers::azurite)]
#[case::fake_gcs(modelwright_test_servers::fake_gcs)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oldest_revisions_of_a_model_go_and_those_of_others_stay(#[case] start: Start) {
    let Some(server) = started(start) else { return };
    let mut ids = Vec::new();
    for (number, uid) in [(1, "us"), (2, "them"), (3, "us"), (4, "us")] {
        let (folder, manifest) = revision(10, number.try_into().unwrap());
        let request = publishing(&server, "a/b", folder.path());
        ids.push(publish(&request, &NoProgress).await.unwrap().digest.id());
        provenance::write(&request.prefix, &request.connection, &manifest, &run(number, uid)).await.unwrap();
    }
    let request = RetentionRequest {
        prefix: SourceUri::parse(&server.uri("a/b"), None).unwrap(),
        connection: reach(&server),
        uid: "us".into(),
        keep: Some(1),
        protected: vec![ids[2].clone()],
    };
    assert_eq!(list_revisions(&request).await.unwrap(), ids[..1]);
    let deleted = delete_revisions(&request, Some(&ids)).await.unwrap();
    assert_eq!((deleted.revisions.as_slice(), deleted.objects), (&ids[..1], 4));
    let mut left = Vec::new();
    for id in &ids {
        left.push(find_revision(&request.prefix, &request.connection, id).await.unwrap().is_some());
    }
    assert_eq!(left, [false, true, true, true]);
}

#[tokio::test]
async fn bucket_that_may_only_be_read_says_what_to_grant() {
    let (_folder, manifest) = revision(10, 0);
    let statement = provenance::statement(&manifest, &run(1, "us")).unwrap();
    let server = WebServer::start(move |request| {
        let listing = "<ListBucketResult><Contents><Key>m/provenance/run-1.json</Key><Size>SIZE</Size>\
                       <LastModified>2026-11-24T00:00:00.000Z</LastModified><ETag>\"1\"</ETag></Contents></ListBucketResult>";
        match request.method.as_str() {
            "GET" | "HEAD" if request.path.contains("provenance/run-1") => {
                Reply::file(request, &statement, "1").with("Last-Modified", "Tue, 24 Nov 2026 00:00:00 GMT")
            }
            "GET" if request.path.contains("prefix=m%2Fprovenance") => {
                Reply::new(200, listing.replace("SIZE", &statement.len().to_string()))
            }
            "GET" if request.path.contains("list-type") => Reply::new(200, "<ListBucketResult></ListBucketResult>"),
            "GET" | "HEAD" => Reply::new(404, ""),
            _ => Reply::new(403, ""),
        }
    })
    .await;
    let mut connection = connection();
    connection.credentials = credentials([("AWS_ENDPOINT_URL", &server.url(""))]);
    let prefix = SourceUri::parse("s3://bucket/m", None).unwrap();
    let request =
        RetentionRequest { prefix, connection, uid: "us".into(), keep: None, protected: Vec::new() };
    assert_eq!(list_revisions(&request).await.unwrap().len(), 1);
    let error = delete_revisions(&request, None).await.unwrap_err();
    assert_eq!((error.reason(), error.class()), ("DeletionDenied", Class::CannotWrite));
    assert!(error.to_string().contains("s3:DeleteObject"), "{error}");
}
