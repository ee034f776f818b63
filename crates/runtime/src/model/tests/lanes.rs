//! What both lanes promise, on each of them.

use bytes::Bytes;
use futures::future::join_all;
use rstest::rstest;

use super::*;
use crate::lane::{Priority, enter_io_thread};

/// A model on a lane with two sessions; rows share runs of up to `rows`.
fn on_lane(name: &str, lane: LaneChoice, rows: usize) -> LoadedModel {
    let batching = BatchingRequest { max_batch_size: NonZeroUsize::new(rows), ..BatchingRequest::default() };
    let request = LoadRequest {
        lane,
        instances: NonZeroUsize::new(2),
        intra_op_threads: NonZeroUsize::new(1),
        batching: Some(batching),
        ..request(name)
    };
    let model = load(&request);
    assert_eq!(
        model.report().lane,
        if lane == LaneChoice::Inline { LaneKind::Inline } else { LaneKind::Pooled }
    );
    model
}

/// The same numbers for the same seed, as different as need be.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    /// Numbers whose products with the model's weights are added without rounding: in any order, the sum is the same.
    fn floats(&mut self, shape: &[i64]) -> Tensor {
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        let values =
            (0..count).map(|_| f32::from(u8::try_from(self.next(128)).unwrap()) / 64.0 - 1.0).collect();
        Tensor::new("x", shape.to_vec(), TensorData::Fp32(values)).unwrap()
    }
}

/// What single runs of the rows give, put together.
fn one_by_one(session: &mut session::Session, input: &Tensor) -> Vec<Tensor> {
    let rows =
        (0..input.rows()).map(|row| session.run_rows(std::slice::from_ref(input), &(row..row + 1)).unwrap());
    crate::batch::concatenate(rows.collect()).unwrap()
}

#[rstest]
#[case(LaneChoice::Inline, 8)]
#[case(LaneChoice::Inline, 32)]
#[case(LaneChoice::Inline, 1)]
#[case(LaneChoice::Pooled, 8)]
#[case(LaneChoice::Pooled, 5)]
#[tokio::test]
async fn any_mix_of_requests_gets_what_single_runs_give(#[case] lane: LaneChoice, #[case] rows: usize) {
    let model = on_lane("dense", lane, rows);
    let mut session =
        session::Session::open(&request("dense").path, &session::SessionOptions::default()).unwrap();
    let mut numbers = Numbers(7);
    let (mut shared, mut cut) = (false, false);
    let (mut told, mut told_rows, mut all_rows) = (0, 0, 0);
    for _ in 0..20 {
        let inputs: Vec<Tensor> = (0..=numbers.next(40))
            .map(|_| {
                // Mostly small ones, some larger than a run.
                let most = if numbers.next(8) == 0 { 100 } else { 4 };
                let rows = 1 + numbers.next(most);
                numbers.floats(&[i64::try_from(rows).unwrap(), 8])
            })
            .collect();
        let priority = |low| if low { Priority::Low } else { Priority::Normal };
        let pending: Vec<_> = inputs
            .iter()
            .map(|input| {
                let options =
                    SubmitOptions { priority: priority(numbers.next(4) == 0), ..SubmitOptions::default() };
                model.submit_with(vec![input.clone()], options).unwrap()
            })
            .collect();
        for (input, outcome) in inputs.iter().zip(join_all(pending).await) {
            let outcome = outcome.unwrap();
            assert_eq!(outcome.outputs, one_by_one(&mut session, input));
            assert!(outcome.batch_rows <= rows || rows == 1, "{} rows in a run", outcome.batch_rows);
            shared |= outcome.batch_rows > input.rows();
            cut |= outcome.batch_rows < input.rows();
            told += outcome.runs.iter().count();
            told_rows += outcome.runs.iter().map(|run| run.rows).sum::<usize>();
            all_rows += input.rows();
        }
    }
    assert_eq!(shared, rows > 1, "requests share runs unless batching is off");
    assert!(cut, "large requests are cut");
    let load = model.load_now();
    assert_eq!(
        (told, told_rows),
        (usize::try_from(load.executions).unwrap(), all_rows),
        "each run is told once"
    );
    assert_eq!((load.waiting, load.waiting_rows, load.waiting_bytes, load.running), (0, 0, 0, 0));
    assert!(
        load.busy > Duration::ZERO
            && load.executions > 0
            && load.rows > load.executions
            && load.capacity == 2
    );
}

#[rstest]
#[tokio::test]
async fn different_shapes_and_types_never_meet_in_a_run(
    #[values(LaneChoice::Inline, LaneChoice::Pooled)] lane: LaneChoice,
) {
    let model = on_lane("identity", lane, 16);
    assert!(model.report().batching.enabled, "{}", model.report().batching.reason);
    let inputs_of = |seed: i64| -> Vec<Tensor> {
        let (rows, width) = (1 + seed % 3, 1 + seed % 2);
        let count = usize::try_from(rows * width).unwrap();
        let tensor = |input: &modelwright_protocol::TensorMetadata| {
            let like = TensorData::with_capacity(input.datatype, 0);
            let data = match like {
                TensorData::Int64(_) => TensorData::Int64(vec![seed; count]),
                TensorData::Bytes(_) => TensorData::Bytes(vec![Bytes::from(format!("text {seed}")); count]),
                TensorData::Fp64(_) => TensorData::Fp64(vec![f64::from(i32::try_from(seed).unwrap()); count]),
                _ => zeros(input.datatype, count),
            };
            Tensor::new(input.name.clone(), vec![rows, width], data).unwrap()
        };
        model.signature().inputs.iter().map(tensor).collect()
    };
    let all: Vec<_> = (0..60).map(inputs_of).collect();
    let pending: Vec<_> = all.iter().map(|inputs| model.submit(inputs.clone(), None).unwrap()).collect();
    let mut shared = 0;
    for (inputs, outcome) in all.iter().zip(join_all(pending).await) {
        let outcome = outcome.unwrap();
        shared += usize::from(outcome.batch_rows > inputs[0].rows());
        for (input, output) in inputs.iter().zip(&outcome.outputs) {
            assert_eq!((output.shape(), output.data()), (input.shape(), input.data()));
        }
    }
    assert!(shared > 0);
}

fn zeros(datatype: modelwright_protocol::Datatype, count: usize) -> TensorData {
    use modelwright_protocol::Datatype as D;
    match datatype {
        D::Bool => TensorData::Bool(vec![false; count]),
        D::Uint8 => TensorData::Uint8(vec![0; count]),
        D::Uint16 => TensorData::Uint16(vec![0; count]),
        D::Uint32 => TensorData::Uint32(vec![0; count]),
        D::Uint64 => TensorData::Uint64(vec![0; count]),
        D::Int8 => TensorData::Int8(vec![0; count]),
        D::Int16 => TensorData::Int16(vec![0; count]),
        D::Int32 => TensorData::Int32(vec![0; count]),
        D::Fp16 => TensorData::Fp16(vec![half::f16::ZERO; count]),
        D::Bf16 => TensorData::Bf16(vec![half::bf16::ZERO; count]),
        D::Fp32 => TensorData::Fp32(vec![0.0; count]),
        D::Int64 | D::Fp64 | D::Bytes => panic!("made by the caller"),
    }
}

#[rstest]
#[tokio::test]
async fn a_request_that_fails_makes_no_other_fail(
    #[values(LaneChoice::Inline, LaneChoice::Pooled)] lane: LaneChoice,
) {
    let model = on_lane("lookup", lane, 32);
    assert!(model.report().batching.enabled, "{}", model.report().batching.reason);
    let index = |index| vec![Tensor::new("index", vec![1], TensorData::Int64(vec![index])).unwrap()];
    let pending: Vec<_> = (0..32).map(|at| model.submit(index(at % 8), None).unwrap()).collect();
    for (at, outcome) in join_all(pending).await.into_iter().enumerate() {
        match at % 8 {
            valid @ 0..=3 => {
                let expected = [10.0, 20.0, 30.0, 40.0][valid];
                assert_eq!(outcome.unwrap().outputs[0].data(), &TensorData::Fp32(vec![expected]));
            }
            _ => assert_eq!(outcome.unwrap_err().reason(), "InvalidInput"),
        }
    }
}

#[rstest]
#[tokio::test]
async fn a_lane_keeps_deadlines_and_drops_who_left(
    #[values(LaneChoice::Inline, LaneChoice::Pooled)] lane: LaneChoice,
) {
    let model = on_lane("dense", lane, 8);
    let input = || vec![Numbers(1).floats(&[1, 8])];
    let late = model.submit(input(), Some(Instant::now())).unwrap();
    drop(model.submit(input(), None).unwrap());
    let kept = model.submit(input(), Some(Instant::now() + Duration::from_mins(1))).unwrap();
    assert_eq!(late.await.unwrap_err(), Error::DeadlineExceeded);
    kept.await.unwrap();
    assert_eq!(model.load_now().waiting, 0);
}

#[rstest]
#[tokio::test]
async fn a_closed_lane_answers_what_it_has(
    #[values(LaneChoice::Inline, LaneChoice::Pooled)] lane: LaneChoice,
) {
    let model = on_lane("dense", lane, 8);
    let input = || vec![Numbers(1).floats(&[20, 8])];
    let pending: Vec<_> = (0..10).map(|_| model.submit(input(), None).unwrap()).collect();
    model.close();
    assert_eq!(model.submit(input(), None).unwrap_err(), Error::Closed);
    drop(model);
    for outcome in join_all(pending).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn an_aborted_inline_lane_answers_what_waits_with_closed() {
    let model = on_lane("dense", LaneChoice::Inline, 8);
    let input = || vec![Numbers(1).floats(&[20, 8])];
    let pending: Vec<_> = (0..10).map(|_| model.submit(input(), None).unwrap()).collect();
    model.abort();
    for outcome in join_all(pending).await {
        assert_eq!(outcome.unwrap_err(), Error::Closed);
    }
    nobody_waits(&model);
}

#[test]
fn requests_of_a_runtime_that_ends_are_answered_and_later_ones_run() {
    let model = on_lane("dense", LaneChoice::Inline, 8);
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let input = || vec![Numbers(1).floats(&[1, 8])];
    enter_io_thread(0);
    let ending = runtime();
    let pending = {
        let _entered = ending.enter();
        model.submit(input(), None).unwrap()
    };
    drop(ending);
    runtime().block_on(pending).unwrap();
    assert_eq!(model.load_now().waiting, 0);
    runtime().block_on(async { model.infer(input()).await.unwrap() });
}

#[test]
fn outside_of_a_runtime_the_caller_runs_the_model() {
    let model = on_lane("dense", LaneChoice::Inline, 8);
    let pending = model.submit(vec![Numbers(1).floats(&[20, 8])], None).unwrap();
    assert_eq!(model.load_now().waiting, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(pending).unwrap().outputs[0].shape(), [20, 3]);
}

/// Several I/O threads and strangers submit at once; clients leave at random.
#[rstest]
fn many_threads_get_their_own_answers(#[values(LaneChoice::Inline, LaneChoice::Pooled)] lane: LaneChoice) {
    let model = on_lane("dense", lane, 8);
    let expected = |input: &Tensor| {
        let mut session =
            session::Session::open(&request("dense").path, &session::SessionOptions::default()).unwrap();
        one_by_one(&mut session, input)
    };
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (model, expected) = (&model, &expected);
            scope.spawn(move || {
                if thread < 2 {
                    enter_io_thread(usize::try_from(thread).unwrap());
                }
                let mut numbers = Numbers(thread);
                let input = numbers.floats(&[3, 8]);
                let answer = expected(&input);
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..50 {
                        let pending: Vec<_> =
                            (0..8).map(|_| model.submit(vec![input.clone()], None).unwrap()).collect();
                        let kept = pending.into_iter().filter(|_| numbers.next(4) > 0);
                        for outcome in join_all(kept.collect::<Vec<_>>()).await {
                            assert_eq!(outcome.unwrap().outputs, answer);
                        }
                    }
                });
            });
        }
    });
    nobody_waits(&model);
}

#[tokio::test]
async fn what_arrives_in_one_round_shares_a_run() {
    let model = on_lane("dense", LaneChoice::Inline, 32);
    enter_io_thread(0);
    let pending: Vec<_> =
        (0..16).map(|seed| model.submit(vec![Numbers(seed).floats(&[2, 8])], None).unwrap()).collect();
    for outcome in join_all(pending).await {
        assert_eq!(outcome.unwrap().batch_rows, 32);
    }
    assert_eq!(model.load_now().executions, 1);
}

#[tokio::test]
async fn low_priority_gives_way_even_between_the_parts_of_a_request() {
    let model = on_lane("dense", LaneChoice::Inline, 8);
    enter_io_thread(0);
    let low = SubmitOptions { priority: Priority::Low, ..SubmitOptions::default() };
    let large = model.submit_with(vec![Numbers(1).floats(&[800, 8])], low).unwrap();
    tokio::task::yield_now().await;
    let small = model.submit(vec![Numbers(2).floats(&[1, 8])], None).unwrap();
    small.await.unwrap();
    let before = model.load_now().rows;
    assert!(before < 100, "{before} rows came first");
    assert_eq!(large.await.unwrap().outputs[0].shape(), [800, 3]);
}

#[tokio::test]
async fn a_queue_delay_waits_for_company_only_among_close_arrivals() {
    let batching =
        BatchingRequest { max_batch_size: NonZeroUsize::new(32), max_queue_delay: Duration::from_secs(30) };
    let model = load(&LoadRequest { batching: Some(batching), ..request("dense") });
    assert_eq!(model.report().lane, LaneKind::Pooled);
    assert_eq!(model.report().batching.max_queue_delay, Duration::from_secs(30));
    let started = Instant::now();
    for seed in 0..5 {
        model.infer(vec![Numbers(seed).floats(&[1, 8])]).await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(10), "a lone request waited");
}

#[test]
fn short_models_are_inline_and_those_that_may_take_long_are_not() {
    let automatic = |name: &str| {
        let model = load(&request(name));
        (model.report().lane, model.report().lane_reason.clone(), model.report().batching.clone())
    };
    let (lane, reason, batching) = automatic("dense");
    assert_eq!(lane, LaneKind::Inline, "{reason}");
    assert!(batching.enabled && batching.max_batch_size == 32, "{batching:?}");
    assert!(load(&request("dense")).report().fit.is_some());
    let (lane, reason, _) = automatic("slow");
    assert!(lane == LaneKind::Pooled && reason.contains("loop"), "{reason}");
    let (lane, reason, _) = automatic("identity");
    assert!(lane == LaneKind::Pooled && reason.contains("besides the batch"), "{reason}");
}

#[test]
fn rows_that_depend_on_each_other_are_never_batched() {
    let model = on_lane("centred", LaneChoice::Inline, 32);
    let batching = &model.report().batching;
    assert!(
        !batching.enabled && batching.reason.contains("differs from the run of that row alone"),
        "{batching:?}"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let input = Tensor::new("x", vec![2, 2], TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0])).unwrap();
    let outputs = runtime.block_on(model.infer(vec![input])).unwrap();
    assert_eq!(outputs[0].data(), &TensorData::Fp32(vec![-1.0, -1.0, 1.0, 1.0]));
}

#[tokio::test]
async fn a_deadline_that_cannot_be_kept_is_refused_at_once() {
    let model = load(&request("slow"));
    for _ in 0..40 {
        // Real runs take far longer than made-up ones; the estimate follows.
        model.infer(slow_inputs(40)).await.unwrap();
    }
    let _running = occupy(&model);
    let _waiting: Vec<_> = (0..100).map(|_| model.submit(slow_inputs(40), None).unwrap()).collect();
    let error = model.submit(slow_inputs(1), Some(Instant::now() + Duration::from_micros(10))).unwrap_err();
    assert_eq!(error.reason(), "Overloaded");
    model.submit(slow_inputs(1), Some(Instant::now() + Duration::from_hours(1))).unwrap();
    model.abort();
}

#[test]
fn weights_that_cannot_be_mapped_are_not_claimed_to_be() {
    let mapped = |name| LoadedModel::load(&LoadRequest { weights: Weights::Mapped, ..request(name) });
    assert_eq!(mapped("external").unwrap().report().weights, Weights::Mapped);
    assert_eq!(mapped("dense").unwrap().report().weights, Weights::Copied);
    assert_eq!(load(&request("dense")).report().weights, Weights::Copied);
}

/// As for a session on another device, which this machine may not have.
#[tokio::test]
async fn batches_put_together_ahead_are_the_same_batches() {
    let session =
        || session::Session::open(&request("dense").path, &session::SessionOptions::default()).unwrap();
    let rules = crate::batch::Rules { merge: 8, split: Some(8) };
    let bounds = QueueBounds { requests: 1 << 20, ..QueueBounds::default() };
    let lane =
        Pooled::start(Engines::new(vec![session()], rules, None, bounds), Duration::ZERO, true).unwrap();
    let (mut numbers, mut alone) = (Numbers(3), session());
    for _ in 0..20 {
        let inputs: Vec<Tensor> = (0..100)
            .map(|_| {
                let rows = 1 + numbers.next(12);
                numbers.floats(&[i64::try_from(rows).unwrap(), 8])
            })
            .collect();
        let submit = |input: &Tensor| lane.submit(vec![input.clone()], SubmitOptions::default()).unwrap();
        let pending: Vec<_> = inputs.iter().map(submit).collect();
        // Some leave when their rows may have been put together already.
        for (index, (input, pending)) in inputs.iter().zip(pending).enumerate() {
            if index % 5 > 0 {
                assert_eq!(pending.await.unwrap().outputs, one_by_one(&mut alone, input));
            }
        }
    }
    lane.close();
    assert_eq!((lane.load().waiting, lane.load().capacity), (0, 1));
}
