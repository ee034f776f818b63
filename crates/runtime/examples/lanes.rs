//! Measures how much the lanes add to the bare runs of a session, for a small and a medium dense network:
//! `cargo run --release -p modelwright-runtime --example lanes`.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use modelwright_protocol::{Tensor, TensorData};
use modelwright_runtime::lane::enter_io_thread;
use modelwright_runtime::{LaneChoice, LoadRequest, LoadedModel, Session, SessionOptions};

mod model;

/// How long each figure is measured.
const TIME: Duration = Duration::from_millis(700);

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    modelwright_runtime::telemetry::refuse();
    for widths in [vec![1000, 128, 1], vec![1000, 2048, 2048, 1]] {
        let folder = tempfile::tempdir()?;
        let path = model::write(folder.path(), &widths)?;
        println!("{widths:?}");
        bare(&path)?;
        for lane in [LaneChoice::Auto, LaneChoice::Inline, LaneChoice::Pooled] {
            on_lane(&path, lane)?;
        }
    }
    Ok(())
}

fn rows(count: i64) -> Result<Vec<Tensor>, Failure> {
    let values = vec![0.5; usize::try_from(count * 1000)?];
    Ok(vec![Tensor::new("x", vec![count, 1000], TensorData::Fp32(values))?])
}

fn bare(path: &Path) -> Result<(), Failure> {
    let mut session = Session::open(path, &SessionOptions::default())?;
    for count in [1, 8, 32] {
        let inputs = rows(count)?;
        let mut times = Vec::new();
        let began = Instant::now();
        while began.elapsed() < TIME {
            let started = Instant::now();
            session.run(&inputs)?;
            times.push(started.elapsed());
        }
        times.sort_unstable();
        let (middle, worst) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let rate = count as f64 / middle.as_secs_f64();
        println!("  session, {count:2} rows: p50 {middle:9.1?}  p99 {worst:9.1?}  {rate:9.0} rows/s");
    }
    Ok(())
}

fn on_lane(path: &Path, lane: LaneChoice) -> Result<(), Failure> {
    // One session on one thread, so that the figures are those of one processor.
    let one = NonZeroUsize::new(1);
    let request = LoadRequest { lane, instances: one, intra_op_threads: one, ..LoadRequest::new(path) };
    let model = LoadedModel::load(&request)?;
    let report = model.report();
    println!("  {lane:?}: {} because {}; {:?}", report.lane.as_str(), report.lane_reason, report.fit);
    if lane == LaneChoice::Auto {
        println!("    batches of {}: {}", report.batching.max_batch_size, report.batching.reason);
        return Ok(());
    }
    enter_io_thread(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    for clients in [1, 8, 64] {
        let (before, processor) = (model.load_now(), processor_time()?);
        let began = Instant::now();
        let done = runtime.block_on(async {
            let clients = (0..clients).map(|_| client_of(&model, began));
            futures::future::try_join_all(clients).await
        })?;
        let done: u32 = done.iter().sum();
        let (took, after) = (began.elapsed().as_secs_f64(), model.load_now());
        let runs = after.executions - before.executions;
        println!(
            "    {clients:2} clients: {:9.0} rows/s  {:6.1} µs of processor per row  {:6.1} µs per row in runs  {:4.1} rows per run",
            f64::from(done) / took,
            (processor_time()? - processor) / f64::from(done),
            after.busy.saturating_sub(before.busy).as_secs_f64() * 1e6 / f64::from(done),
            f64::from(done) / runs as f64,
        );
    }
    Ok(())
}

/// The processor time of all threads that there are, in microseconds.
fn processor_time() -> Result<f64, Failure> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        let time: f64 = text.split_whitespace().next().ok_or("the kernel does not tell")?.parse()?;
        nanoseconds += time;
    }
    Ok(nanoseconds / 1000.0)
}

/// Sends one row after the other; how many were answered.
async fn client_of(model: &LoadedModel, began: Instant) -> Result<u32, String> {
    let mut done = 0;
    while began.elapsed() < TIME {
        // Copying the row stands for parsing it.
        let inputs = rows(1).map_err(|error| error.to_string())?;
        model.infer(inputs).await.map_err(|error| error.to_string())?;
        done += 1;
    }
    Ok(done)
}
