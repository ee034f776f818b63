//! Measures the memory that sessions of a 117 MB model take with copied and with mapped weights:
//! `cargo run -p modelwright-runtime --example weights`. Linux only.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use modelwright_runtime::{Library, Session, SessionOptions};

mod model;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    modelwright_runtime::telemetry::refuse();
    let folder = tempfile::tempdir()?;
    let path = model::write(folder.path(), &[1000, 3800, 3800, 3000, 1])?;
    let megabytes = std::fs::metadata(folder.path().join("weights.data"))?.len() >> 20;
    println!("{megabytes} MiB of weights in an external file");
    // What the library itself takes is not counted.
    Library::load()?;
    for prepacking in [false, true] {
        let name = if prepacking { "copied" } else { "mapped" };
        let before = proportional_set_size()?;
        let mut sessions = Vec::new();
        for count in 1..=4 {
            let started = Instant::now();
            let mut session = open(&path, prepacking)?;
            let took = started.elapsed();
            let input = modelwright_protocol::TensorData::Fp32(vec![0.5; 1000]);
            session.run(&[modelwright_protocol::Tensor::new("x", vec![1, 1000], input)?])?;
            sessions.push(session);
            let grown = proportional_set_size()?.saturating_sub(before) >> 10;
            println!("{name}: {count} session(s) take {grown} MiB; the last was opened in {took:.1?}");
        }
    }
    Ok(())
}

fn open(path: &Path, prepacking: bool) -> Result<Session, Failure> {
    let options =
        SessionOptions { prepacking, intra_op_threads: NonZeroUsize::MIN, ..SessionOptions::default() };
    Ok(Session::open(path, &options)?)
}

/// The process's share of the memory that it uses, in KiB.
fn proportional_set_size() -> Result<u64, Failure> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("the kernel does not tell")?;
    Ok(line.split_whitespace().next().ok_or("the kernel does not tell")?.parse()?)
}
