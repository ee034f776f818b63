//! Tensors in both forms, and streams.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use modelwright_protocol::grpc::inference::model_infer_request::InferRequestedOutputTensor;
use modelwright_protocol::grpc::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse,
};
use tonic::Code;
use tonic::codec::CompressionEncoding;

use super::client::{Client, add, input, singles, slow, typed_add};
use crate::harness::{ENDLESS, TestServer, config, until};

const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// Every datatype with the bytes of two elements.
const ELEMENTS: [(&str, &[u8]); 14] = [
    ("BOOL", &[1, 0]),
    ("UINT8", &[1, 255]),
    ("UINT16", &[1, 0, 255, 255]),
    ("UINT32", &[1, 0, 0, 0, 255, 255, 255, 255]),
    ("UINT64", &[1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
    ("INT8", &[1, 128]),
    ("INT16", &[1, 0, 0, 128]),
    ("INT32", &[1, 0, 0, 0, 0, 0, 0, 128]),
    ("INT64", &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128]),
    ("FP16", &[0, 60, 0, 126]),
    ("BF16", &[128, 63, 192, 127]),
    ("FP32", &[0, 0, 128, 63, 0, 0, 128, 127]),
    ("FP64", &[0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 240, 255]),
    ("BYTES", &[1, 0, 0, 0, 97, 0, 0, 0, 0]),
];

#[tokio::test]
async fn every_datatype_comes_back_raw_as_it_was_sent() {
    let server = TestServer::start(&["identity"]).await;
    let mut request = ModelInferRequest { model_name: "identity".into(), ..Default::default() };
    for (datatype, raw) in ELEMENTS {
        request.inputs.push(input(&format!("x_{}", datatype.to_lowercase()), datatype, &[1, 2]));
        request.raw_input_contents.push(Bytes::from_static(raw));
    }
    let answer = Client::of(&server).await.infer(request).await.unwrap();
    assert_eq!(answer.outputs.len(), ELEMENTS.len());
    for ((output, raw), (datatype, sent)) in
        answer.outputs.iter().zip(&answer.raw_output_contents).zip(ELEMENTS)
    {
        assert_eq!(
            (output.datatype.as_str(), &output.shape[..], &output.contents),
            (datatype, &[1, 2][..], &None)
        );
        assert_eq!(raw, sent, "{datatype}");
    }
}

#[tokio::test]
async fn typed_contents_are_answered_typed() {
    let server = TestServer::start(&["add", "text"]).await;
    let mut client = Client::of(&server).await;
    let answer = client.infer(typed_add()).await.unwrap();
    assert_eq!(
        (answer.model_name.as_str(), answer.model_version.as_str(), answer.id.as_str()),
        ("add", "1", "7")
    );
    assert!(answer.raw_output_contents.is_empty());
    assert_eq!(answer.outputs[0].contents.as_ref().unwrap().fp32_contents, [11.0, 22.5]);

    let mut x = input("x", "BYTES", &[2]);
    let texts = vec![Bytes::from_static("é".as_bytes()), Bytes::new()];
    x.contents = Some(InferTensorContents { bytes_contents: texts.clone(), ..Default::default() });
    let request = ModelInferRequest { model_name: "text".into(), inputs: vec![x], ..Default::default() };
    let answer = client.infer(request).await.unwrap();
    assert_eq!(answer.outputs[0].contents.as_ref().unwrap().bytes_contents, texts);
}

#[tokio::test]
async fn only_the_outputs_asked_for_are_sent_in_that_order() {
    let server = TestServer::start(&["identity"]).await;
    let mut request = ModelInferRequest { model_name: "identity".into(), ..Default::default() };
    for (datatype, raw) in ELEMENTS {
        request.inputs.push(input(&format!("x_{}", datatype.to_lowercase()), datatype, &[1, 2]));
        request.raw_input_contents.push(Bytes::from_static(raw));
    }
    let output = |name: &str| InferRequestedOutputTensor { name: name.into(), parameters: HashMap::new() };
    request.outputs = vec![output("y_int64"), output("y_bool")];
    let answer = Client::of(&server).await.infer(request).await.unwrap();
    let names: Vec<&str> = answer.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!((names, answer.raw_output_contents.len()), (vec!["y_int64", "y_bool"], 2));
}

#[tokio::test]
async fn megabytes_go_through_in_both_directions() {
    let server = TestServer::start(&["add"]).await;
    let values = vec![1.5; 4 << 20];
    let mut request = add();
    for (input, raw) in request.inputs.iter_mut().zip(&mut request.raw_input_contents) {
        input.shape = vec![2 << 20, 2];
        *raw = singles(&values);
    }
    let answer = Client::of(&server).await.infer(request).await.unwrap();
    assert_eq!(answer.raw_output_contents[0], singles(&vec![3.0; 4 << 20]));
}

#[tokio::test]
async fn packed_messages_are_taken_and_answered_packed() {
    let server = TestServer::start(&["add"]).await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let mut client = Client::of(&server).await;
        client.0 = client.0.send_compressed(encoding).accept_compressed(encoding);
        let answer = client.infer(add()).await.unwrap();
        assert_eq!(answer.raw_output_contents[0], singles(&[11.0, 22.5]));
    }
}

#[tokio::test]
async fn a_hundred_calls_share_a_connection() {
    let server = TestServer::start(&["add"]).await;
    let client = Client::of(&server).await;
    let calls = (0..100).map(|_| {
        let mut client = client.clone();
        async move { client.infer(add()).await.unwrap().raw_output_contents[0].clone() }
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer, singles(&[11.0, 22.5]));
    }
    let metrics = server.admin("/metrics").await.body;
    assert!(metrics.contains(r#"{model="add",route="grpc_infer",code="2xx"} 100"#), "{metrics}");
}

#[tokio::test]
async fn a_stream_answers_in_order_and_outlives_an_error() {
    let server = TestServer::start(&["add"]).await;
    let requests = (0..50_u16).map(|number| {
        let mut request = add();
        request.id = number.to_string();
        request.raw_input_contents[0] = singles(&[f32::from(number), 0.0]);
        if number == 20 {
            request.model_name = "nothing".into();
        }
        request
    });
    let mut answers = Client::of(&server).await.stream(STREAM, stream::iter(requests)).await;
    for number in 0..50_u16 {
        let ModelStreamInferResponse { error_message, infer_response } =
            answers.next().await.unwrap().unwrap();
        let answer: ModelInferResponse = infer_response.unwrap();
        assert_eq!(answer.id, number.to_string());
        if number == 20 {
            assert_eq!(error_message, "there is no model \"nothing\"; the server has \"add\"");
            continue;
        }
        assert_eq!(error_message, "");
        assert_eq!(answer.raw_output_contents[0], singles(&[f32::from(number) + 10.0, 20.5]));
    }
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_message_of_a_stream_comes_in_time_once_it_has_begun() {
    let mut config = config();
    config.bounds.body_read_timeout = Duration::from_millis(200);
    let server = TestServer::start_with(config, &["add"]).await;
    let mut client = Client::of(&server).await;
    // Idle for longer than a message may take, between messages.
    let late = stream::once(tokio::time::sleep(Duration::from_millis(500))).map(|()| add());
    let requests = stream::iter([add()]).chain(late);
    let mut answers = client.stream::<_, ModelStreamInferResponse>(STREAM, requests).await;
    assert_eq!(answers.next().await.unwrap().unwrap().error_message, "");
    assert_eq!(answers.next().await.unwrap().unwrap().error_message, "");
    // Of 64 MiB a thousand bytes.
    let pieces = [Bytes::from_static(&[0, 4, 0, 0, 0]), Bytes::from(vec![0; 1000])];
    let answer = client.bytes(STREAM, stream::iter(pieces).chain(stream::pending())).await;
    let ended = tokio::time::timeout(Duration::from_secs(10), answer.into_body().collect()).await;
    let trailers = ended.unwrap().unwrap().trailers().cloned().unwrap();
    assert_eq!(trailers["grpc-status"], "4", "{trailers:?}");
}

#[tokio::test]
async fn streams_that_are_idle_are_no_requests_in_flight() {
    let server = TestServer::start(&["add", "slow"]).await;
    let mut client = Client::of(&server).await;
    let in_flight = async |count: &str| {
        let line = format!("modelwright_requests_in_flight {count}\n");
        until(async || server.admin("/metrics").await.body.contains(&line)).await;
    };
    let requests = stream::iter([slow(ENDLESS)]);
    let working = client.stream::<_, ModelStreamInferResponse>(STREAM, requests).await;
    in_flight("1").await;
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let idle = [
        client.bytes(STREAM, stream::pending()).await,
        client.bytes(reflection, stream::pending()).await,
        client.bytes("/grpc.health.v1.Health/Watch", stream::iter([Bytes::from_static(&[0; 5])])).await,
    ];
    in_flight("1").await;
    drop(working);
    in_flight("0").await;
    drop(idle);
}

#[tokio::test]
async fn a_stream_that_is_left_open_does_not_hold_up_the_end() {
    let server = TestServer::start(&["add"]).await;
    let requests = stream::iter([add()]).chain(stream::pending());
    let mut answers = Client::of(&server).await.stream::<_, ModelStreamInferResponse>(STREAM, requests).await;
    assert_eq!(answers.next().await.unwrap().unwrap().error_message, "");
    let ending = server.begin_shutdown();
    let status = answers.next().await.unwrap().unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "the server is shutting down; open the stream again")
    );
    assert_eq!(ending.wait().await.abandoned, 0);
}
