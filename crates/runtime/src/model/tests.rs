use modelwright_protocol::TensorData;

use super::*;

mod lanes;

fn request(name: &str) -> LoadRequest {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.onnx"));
    LoadRequest { instances: NonZeroUsize::new(1), ..LoadRequest::new(path) }
}

/// Loads a model of `testdata/`; fails with the command to run if ONNX Runtime is missing.
fn load(request: &LoadRequest) -> LoadedModel {
    LoadedModel::load(request).unwrap_or_else(|error| panic!("{error}"))
}

fn slow_inputs(turns: i64) -> Vec<Tensor> {
    vec![
        Tensor::new("times", vec![1], TensorData::Int64(vec![turns])).unwrap(),
        Tensor::new("x", vec![1, 1], TensorData::Fp32(vec![1.0])).unwrap(),
    ]
}

const ENDLESS: i64 = i64::MAX;

/// Keeps the only session busy and returns once its thread has taken the request.
fn occupy(model: &LoadedModel) -> Pending {
    let pending = model.submit(slow_inputs(ENDLESS), None).unwrap();
    while model.load_now().running == 0 {
        std::thread::yield_now();
    }
    pending
}

#[tokio::test]
async fn a_loaded_model_answers() {
    let model = load(&request("log"));
    let input = Tensor::new("x", vec![1], TensorData::Fp32(vec![1.0])).unwrap();
    let outputs = model.infer(vec![input]).await.unwrap();
    assert_eq!(outputs[0].data(), &TensorData::Fp32(vec![0.0]));
    let report = model.report();
    assert!(report.warm_up.first_run.is_some() && report.warm_up.failure.is_none(), "{report:?}");
    assert_eq!(report.runtime_version, Library::load().unwrap().version());
}

#[tokio::test]
async fn a_model_that_fails_on_zeros_is_served_and_says_so() {
    let model = load(&request("picky"));
    let failure = model.report().warm_up.failure.clone().unwrap();
    assert!(failure.contains("Gather"), "{failure}");
    let index = Tensor::new("index", vec![1], TensorData::Int64(vec![6])).unwrap();
    assert_eq!(model.infer(vec![index]).await.unwrap()[0].data(), &TensorData::Fp32(vec![20.0]));
}

#[tokio::test]
async fn rows_whose_size_depends_on_what_they_hold_are_never_batched() {
    let batching =
        BatchingRequest { max_batch_size: NonZeroUsize::new(8), max_queue_delay: Duration::from_millis(50) };
    let model = load(&LoadRequest { batching: Some(batching), ..request("split") });
    let report = &model.report().batching;
    assert!(!report.enabled && report.reason.contains("depends on what the inputs hold"), "{report:?}");
    let ask = |text: &'static str| {
        let texts = TensorData::Bytes(vec![text.into()]);
        model.infer(vec![Tensor::new("x", vec![1], texts).unwrap()])
    };
    let (short, long) = futures::join!(ask("a"), ask("a b c"));
    assert_eq!((short.unwrap()[0].shape(), long.unwrap()[0].shape()), (&[1, 1][..], &[1, 3][..]));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_with_a_time_to_come_back() {
    let model =
        load(&LoadRequest { queue: QueueBounds { requests: 1, ..Default::default() }, ..request("slow") });
    let running = occupy(&model);
    let waiting = model.submit(slow_inputs(1), None).unwrap();
    let error = model.submit(slow_inputs(1), None).unwrap_err();
    let Error::Overloaded { waiting: 1, retry_after, .. } = error else { panic!("{error}") };
    assert!((1..=60).contains(&retry_after.as_secs()));
    model.abort();
    assert_eq!(waiting.await.unwrap_err(), Error::Closed);
    assert_eq!(running.await.unwrap_err(), Error::Closed);
}

#[tokio::test]
async fn a_client_that_went_away_makes_room() {
    let model =
        load(&LoadRequest { queue: QueueBounds { requests: 1, ..Default::default() }, ..request("slow") });
    let _running = occupy(&model);
    drop(model.submit(slow_inputs(1), None).unwrap());
    let _waiting = model.submit(slow_inputs(1), None).unwrap();
    assert_eq!(model.load_now().waiting, 1);
    model.abort();
}

/// Until nothing waits for a session: its thread sees a moment later that a client left.
fn nobody_waits(model: &LoadedModel) {
    let end = Instant::now() + Duration::from_secs(30);
    while model.load_now().waiting > 0 {
        assert!(Instant::now() < end, "{:?}", model.load_now());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What nobody waits for would keep an autoscaler from going to 0.
#[tokio::test]
async fn a_client_that_went_away_does_not_wait_for_the_next_one() {
    let model = load(&request("slow"));
    let running = occupy(&model);
    drop(model.submit(slow_inputs(1), None).unwrap());
    assert_eq!(model.load_now().waiting, 1);
    drop(running);
    nobody_waits(&model);
}

#[tokio::test]
async fn a_client_that_goes_away_during_its_run_frees_the_session() {
    let model = load(&request("slow"));
    drop(occupy(&model));
    model.infer(slow_inputs(1)).await.unwrap();
}

#[tokio::test]
async fn a_request_past_its_deadline_is_not_run() {
    let model = load(&request("slow"));
    let pending = model.submit(slow_inputs(ENDLESS), Some(Instant::now())).unwrap();
    assert_eq!(pending.await.unwrap_err(), Error::DeadlineExceeded);
}

#[tokio::test]
async fn a_closed_model_answers_what_it_has_and_takes_no_more() {
    let model = load(&request("slow"));
    let pending = model.submit(slow_inputs(10), None).unwrap();
    model.close();
    assert_eq!(model.submit(slow_inputs(1), None).unwrap_err(), Error::Closed);
    pending.await.unwrap();
}

#[tokio::test]
async fn dropping_a_model_answers_what_it_has() {
    let model = load(&request("slow"));
    let pending = model.submit(slow_inputs(10), None).unwrap();
    drop(model);
    pending.await.unwrap();
}

#[tokio::test]
async fn several_sessions_run_side_by_side() {
    let model = load(&LoadRequest { instances: NonZeroUsize::new(2), ..request("slow") });
    let _first = model.submit(slow_inputs(ENDLESS), None).unwrap();
    let _second = model.submit(slow_inputs(ENDLESS), None).unwrap();
    while model.load_now().running < 2 {
        tokio::task::yield_now().await;
    }
    model.abort();
}

#[test]
fn inputs_are_checked_before_they_wait() {
    let model = load(&request("log"));
    assert_eq!(model.submit(vec![], None).unwrap_err().reason(), "InvalidInput");
}
