use modelwright_protocol::{Datatype, TensorMetadata};
use rstest::rstest;

use super::*;

fn number(value: usize) -> NonZeroUsize {
    NonZeroUsize::new(value).unwrap()
}

fn signature(shape: &[i64]) -> Signature {
    let tensor = TensorMetadata { name: "x".into(), datatype: Datatype::Fp32, shape: shape.to_vec() };
    Signature { inputs: vec![tensor.clone()], outputs: vec![tensor] }
}

fn known(signature: &Signature) -> Known<'_> {
    Known {
        provider: ExecutionProvider::Cpu,
        bytes: 1 << 20,
        contents: Contents::default(),
        signature,
        intra_op_threads: None,
        batching: BatchingRequest::default(),
    }
}

fn measured(micros: &[(usize, u64)], independent: Result<usize, &str>) -> Measured {
    let times = micros.iter().map(|&(rows, time)| (rows, Duration::from_micros(time))).collect();
    Measured { times, independent: independent.map_err(str::to_owned), ..Measured::default() }
}

#[test]
fn what_was_asked_for_wins_over_everything() {
    let signature = signature(&[-1, -1]);
    let known = Known { contents: Contents { loops: true, ..Contents::default() }, ..known(&signature) };
    assert_eq!(lane_unmeasured(LaneChoice::Inline, &known).unwrap().0, LaneKind::Inline);
    assert_eq!(lane_unmeasured(LaneChoice::Pooled, &known).unwrap().0, LaneKind::Pooled);
}

#[test]
fn models_whose_runs_a_request_can_prolong_are_pooled() {
    let (fixed, variable) = (signature(&[-1, 4]), signature(&[-1, -1]));
    assert_eq!(lane_unmeasured(LaneChoice::Auto, &known(&fixed)), None);
    let base = known(&fixed);
    let delay = BatchingRequest { max_queue_delay: Duration::from_millis(1), ..BatchingRequest::default() };
    for (known, names) in [
        (Known { contents: Contents { loops: true, ..Contents::default() }, ..base }, "loop"),
        (known(&variable), "besides the batch"),
        (Known { provider: ExecutionProvider::Cuda, ..base }, "device"),
        (Known { bytes: 33 << 20, ..base }, "weights"),
        (Known { intra_op_threads: NonZeroUsize::new(2), ..base }, "threads"),
        (Known { batching: delay, ..base }, "delay"),
    ] {
        let (kind, reason) = lane_unmeasured(LaneChoice::Auto, &known).unwrap();
        assert!(kind == LaneKind::Pooled && reason.contains(names), "{reason}");
    }
}

#[rstest]
#[case(&[(1, 10), (32, 80)], Some(32), LaneKind::Inline)]
#[case(&[(1, 700), (32, 5600)], Some(32), LaneKind::Inline)]
#[case(&[(1, 1000), (32, 20_000)], Some(32), LaneKind::Pooled)]
#[case(&[(1, 1000), (2, 2000)], Some(32), LaneKind::Pooled)]
#[case(&[(1, 10)], None, LaneKind::Pooled)]
#[case(&[], Some(32), LaneKind::Pooled)]
fn short_runs_are_inline(
    #[case] times: &[(usize, u64)],
    #[case] split: Option<usize>,
    #[case] expected: LaneKind,
) {
    let signature = signature(&[-1, 4]);
    let rules = Rules { merge: split.unwrap_or(1), split };
    let (kind, reason) = lane_measured(&known(&signature), &measured(times, Ok(32)), rules);
    assert_eq!(kind, expected, "{reason}");
}

#[test]
fn a_short_model_without_a_batch_dimension_is_inline() {
    let signature = signature(&[1, 4]);
    let (kind, _) = lane_measured(&known(&signature), &measured(&[(1, 10)], Err("fixed")), Rules::ALONE);
    assert_eq!(kind, LaneKind::Inline);
}

#[rstest]
#[case(None, &[(1, 10), (32, 80)], Ok(32), (32, Rules { merge: 32, split: Some(32) }))]
#[case(Some(8), &[(1, 10), (8, 20)], Ok(8), (8, Rules { merge: 8, split: Some(8) }))]
// A slow model whose batches take as long as their rows one by one.
#[case(None, &[(1, 100), (32, 3190)], Ok(32), (1, Rules { merge: 1, split: Some(32) }))]
#[case(Some(8), &[(1, 100), (8, 800)], Ok(8), (8, Rules { merge: 8, split: Some(8) }))]
#[case(Some(1), &[(1, 10)], Ok(3), (1, Rules { merge: 1, split: Some(3) }))]
#[case(None, &[(1, 900_000)], Ok(3), (1, Rules { merge: 1, split: Some(3) }))]
#[case(Some(8), &[(1, 10)], Err("differs"), (1, Rules::ALONE))]
fn rows_share_runs_where_that_is_proven_and_pays(
    #[case] asked: Option<usize>,
    #[case] times: &[(usize, u64)],
    #[case] independent: Result<usize, &str>,
    #[case] expected: (usize, Rules),
) {
    let asked = BatchingRequest { max_batch_size: asked.map(number), ..BatchingRequest::default() };
    let (batching, rules) = super::batching(asked, &measured(times, independent));
    assert_eq!((batching.max_batch_size, rules), expected, "{}", batching.reason);
    assert_eq!(batching.enabled, batching.max_batch_size > 1);
}

#[rstest]
#[case(Weights::Auto, 4, 1 << 20, false, true)]
#[case(Weights::Auto, 1, 1 << 20, false, false)]
#[case(Weights::Auto, 1, 33 << 20, false, true)]
#[case(Weights::Auto, 4, 33 << 20, true, false)]
#[case(Weights::Mapped, 1, 1, true, true)]
#[case(Weights::Copied, 4, 33 << 20, false, false)]
fn weights_are_mapped_where_that_costs_no_speed(
    #[case] asked: Weights,
    #[case] sessions: usize,
    #[case] bytes: u64,
    #[case] batched: bool,
    #[case] expected: bool,
) {
    assert_eq!(mapped(asked, ExecutionProvider::Cpu, number(sessions), bytes, batched), expected);
}

#[rstest]
#[case(Weights::Auto, None, 33 << 20, false, true)]
#[case(Weights::Auto, None, 31 << 20, false, false)]
#[case(Weights::Auto, Some(4), 2 << 20, false, true)]
// Too little to bother.
#[case(Weights::Auto, Some(4), 1000, false, false)]
#[case(Weights::Auto, Some(4), 117 << 20, true, false)]
#[case(Weights::Mapped, None, 1000, true, true)]
#[case(Weights::Copied, Some(4), 117 << 20, false, false)]
fn weights_are_moved_where_they_will_be_mapped(
    #[case] weights: Weights,
    #[case] instances: Option<usize>,
    #[case] bytes: u64,
    #[case] batched: bool,
    #[case] expected: bool,
) {
    let instances = instances.map(number);
    let request = LoadRequest { instances, weights, ..LoadRequest::default() };
    assert_eq!(worth_moving(&request, bytes, batched), expected);
    let provider = ExecutionProvider::Cuda;
    let on_a_gpu = worth_moving(&LoadRequest { execution_provider: provider, ..request }, bytes, batched);
    assert_eq!(on_a_gpu, weights == Weights::Mapped);
}

#[rstest]
// processors, most sessions, instances, threads → instances, threads
#[case(4, 100, None, None, (4, 1))]
#[case(4, 1, None, None, (1, 4))]
#[case(64, 8, None, None, (8, 8))]
#[case(4, 100, Some(2), None, (2, 2))]
#[case(4, 100, None, Some(2), (2, 2))]
#[case(4, 1, None, Some(2), (1, 2))]
#[case(2, 100, Some(8), None, (8, 1))]
#[case(2, 1, Some(3), Some(5), (3, 5))]
fn processors_are_divided(
    #[case] cpus: usize,
    #[case] most: usize,
    #[case] instances: Option<usize>,
    #[case] threads: Option<usize>,
    #[case] expected: (usize, usize),
) {
    let division = divide(number(cpus), number(most), instances.map(number), threads.map(number));
    assert_eq!((division.instances.get(), division.intra_op_threads.get()), expected);
}

#[rstest]
#[case(0, 268_435_456)]
#[case(1 << 20, 256)]
#[case(32 << 20, 8)]
#[case((32 << 20) + 1, 1)]
#[case(u64::MAX, 1)]
fn sessions_are_bounded_by_the_memory_of_their_weights(#[case] bytes: u64, #[case] most: usize) {
    assert_eq!(most_sessions(ExecutionProvider::Cpu, bytes).get(), most);
    assert_eq!(most_sessions(ExecutionProvider::Cuda, bytes).get(), 1);
}
