//! Each server as a client sees it: objects go in and come out, conditional writes behave as claimed, nothing stays behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the failure's message")]

use std::{net::TcpStream, time::Duration};

use futures::future::join_all;
use modelwright_test_servers::{Server, azurite, fake_gcs, s3rver, versitygw};
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, path::Path,
};

/// What a server does with a conditional creation of an object that exists.
#[derive(Debug, PartialEq)]
enum SecondCreation {
    Refused,
    Overwrites,
}

/// The builders share no trait.
macro_rules! with_options {
    ($builder:expr, $credentials:expr) => {
        $credentials.iter().fold($builder, |builder, (name, value)| {
            builder.with_config(name.to_lowercase().parse().unwrap(), value)
        })
    };
}
fn client(server: &Server) -> Box<dyn ObjectStore> {
    let credentials = server.credentials();
    let plain = ClientOptions::new().with_allow_http(true);
    match server.scheme() {
        "s3" => {
            let builder = AmazonS3Builder::new().with_bucket_name(server.bucket()).with_client_options(plain);
            Box::new(with_options!(builder, credentials).build().unwrap())
        }
        "az" => {
            let builder =
                MicrosoftAzureBuilder::new().with_container_name(server.bucket()).with_client_options(plain);
            Box::new(with_options!(builder, credentials).build().unwrap())
        }
        "gs" => {
            let builder =
                GoogleCloudStorageBuilder::new().with_bucket_name(server.bucket()).with_client_options(plain);
            Box::new(with_options!(builder, credentials).build().unwrap())
        }
        scheme => panic!("no client for {scheme}"),
    }
}

/// Writes and reads an object whole and in parts, lists it, and creates it a second time.
async fn exercise(server: &Server) -> SecondCreation {
    let store = client(server);
    let path = Path::from("a folder/model.onnx");
    store.put(&path, PutPayload::from_static(b"first")).await.unwrap();
    let read = store.get_range(&path, 1..4).await.unwrap();
    assert_eq!(read.as_ref(), b"irs");
    let listed = store.list_with_delimiter(Some(&Path::from("a folder"))).await.unwrap();
    assert_eq!(listed.objects.iter().map(|object| &object.location).collect::<Vec<_>>(), [&path]);
    assert!(matches!(store.get(&Path::from("absent")).await, Err(Error::NotFound { .. })));

    let mut upload = store.put_multipart(&Path::from("large")).await.unwrap();
    let part = vec![7; 5 * 1024 * 1024];
    upload.put_part(part.clone().into()).await.unwrap();
    upload.put_part(PutPayload::from_static(b"end")).await.unwrap();
    upload.complete().await.unwrap();
    let large = store.get(&Path::from("large")).await.unwrap().bytes().await.unwrap();
    assert_eq!(large.len(), part.len() + 3);
    assert!(large.starts_with(&part) && large.ends_with(b"end"));

    let creation = store.put_opts(&path, PutPayload::from_static(b"second"), PutMode::Create.into()).await;
    let content = store.get(&path).await.unwrap().bytes().await.unwrap();
    match (creation, content.as_ref()) {
        (Err(Error::AlreadyExists { .. }), b"first") => SecondCreation::Refused,
        (Ok(_), b"second") => SecondCreation::Overwrites,
        (creation, content) => panic!("{creation:?} left {content:?}; log:\n{}", server.log()),
    }
}

/// Runs the exercise, and sees that the server is gone once it was dropped.
async fn check(server: anyhow::Result<Option<Server>>, expected: SecondCreation) {
    let Some(server) = server.unwrap() else { return };
    assert_eq!(exercise(&server).await, expected);

    let address = server.endpoint().trim_start_matches("http://").split('/').next().unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    TcpStream::connect(&address).unwrap();
    drop(server);
    assert!(TcpStream::connect(&address).is_err(), "{address} still accepts connections");
}

#[tokio::test]
async fn versitygw_refuses_to_create_an_object_that_exists() {
    check(versitygw(), SecondCreation::Refused).await;
}

#[tokio::test]
async fn s3rver_overwrites_in_spite_of_if_none_match() {
    check(s3rver(), SecondCreation::Overwrites).await;
}

#[tokio::test]
async fn azurite_refuses_to_create_an_object_that_exists() {
    check(azurite(), SecondCreation::Refused).await;
}

#[tokio::test]
async fn fake_gcs_refuses_to_create_an_object_that_exists() {
    check(fake_gcs(), SecondCreation::Refused).await;
}

#[test]
fn uris_name_the_bucket() {
    let Some(server) = versitygw().unwrap() else { return };
    assert_eq!(server.uri("bc/model.onnx"), "s3://models/bc/model.onnx");
    assert_eq!(server.uri("/bc/"), "s3://models/bc/");
}

#[tokio::test]
async fn versitygw_lets_one_of_many_creations_win() {
    let Some(server) = versitygw().unwrap() else { return };
    let store = client(&server);
    let path = Path::from("contended");
    let creations =
        (0..16).map(|writer: u8| store.put_opts(&path, vec![writer].into(), PutMode::Create.into()));
    let outcomes = join_all(creations).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Error::AlreadyExists { .. }))));
}

#[tokio::test]
async fn paused_server_answers_once_it_is_resumed() {
    let Some(mut server) = versitygw().unwrap() else { return };
    server.pause().unwrap();
    let endpoint = server.endpoint().to_owned();
    let patient = reqwest::Client::builder().timeout(Duration::from_mins(1)).build().unwrap();
    let hasty = reqwest::Client::builder().timeout(Duration::from_millis(200)).build().unwrap();
    assert!(hasty.get(&endpoint).send().await.unwrap_err().is_timeout());
    let pending = tokio::spawn(patient.get(&endpoint).send());
    server.resume().unwrap();
    pending.await.unwrap().unwrap();
    server.stop().unwrap();
    server.stop().unwrap();
    TcpStream::connect(endpoint.trim_start_matches("http://")).unwrap_err();
    assert!(server.pause().is_err());
}

#[test]
fn servers_of_one_program_run_side_by_side() {
    let (Some(one), Some(other)) = (versitygw().unwrap(), versitygw().unwrap()) else { return };
    assert_ne!(one.endpoint(), other.endpoint());
}
