//! Measures the memory that sessions of a 117 MB model take with copied weights, and with weights that were moved to a file of
//! their own as `fetch` does and are mapped: `cargo run -p modelwright-runtime --example weights`. Linux only.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use modelwright_artifact::mapping;
use modelwright_artifact::{Digest, FileEntry, MODEL_FILE, Manifest, RelativePath};
use modelwright_protocol::{Tensor, TensorData};
use modelwright_runtime::{Library, Session, SessionOptions};

mod model;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    modelwright_runtime::telemetry::refuse();
    let folder = tempfile::tempdir()?;
    let original = model::write(folder.path(), &[1000, 3800, 3800, 3000, 8])?;
    println!("{} MB of weights", std::fs::metadata(&original)?.len() / 1_000_000);
    let copy = convert(folder.path())?;
    // What the library itself takes is not counted.
    Library::load()?;
    let mapped = measure("mapped", &copy, false)?;
    let copied = measure("copied", &original, true)?;
    let largest = mapped.iter().zip(&copied).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
    println!("copied and mapped, outputs differ by {largest:e} at most");
    // In the same order, nothing may differ.
    let unpacked = run(&mut open(&original, false)?)?;
    if unpacked.iter().map(|number| number.to_bits()).ne(mapped.iter().map(|number| number.to_bits())) {
        return Err("the converted model computes other numbers".into());
    }
    Ok(())
}

/// Moves the weights, and says how long that takes and how long the comparison at every start.
fn convert(folder: &Path) -> Result<PathBuf, Failure> {
    let bytes = std::fs::read(folder.join(MODEL_FILE))?;
    let entry = FileEntry { sha256: Digest::of(&bytes), size: bytes.len() as u64 };
    let manifest = Manifest::new(BTreeMap::from([(RelativePath::new(MODEL_FILE)?, entry)]))?;
    drop(bytes);
    let facts = modelwright_artifact::facts(folder)?;
    let started = Instant::now();
    let copy = mapping::convert(folder, &manifest, &facts)?;
    let converting = started.elapsed();
    let started = Instant::now();
    mapping::converted(folder, &manifest)?.ok_or("the copy is not there")?;
    println!("converted in {converting:.1?}, compared in {:.1?}", started.elapsed());
    Ok(copy.model)
}

/// Opens four sessions and gives what the last one computes.
fn measure(name: &str, path: &Path, prepacking: bool) -> Result<Vec<f32>, Failure> {
    let before = proportional_set_size()?;
    let (mut sessions, mut output) = (Vec::new(), Vec::new());
    for count in 1..=4 {
        let started = Instant::now();
        let mut session = open(path, prepacking)?;
        let took = started.elapsed();
        output = run(&mut session)?;
        sessions.push(session);
        let grown = proportional_set_size()?.saturating_sub(before) * 1024 / 1_000_000;
        println!("{name}: {count} session(s) take {grown} MB; the last was opened in {took:.1?}");
    }
    Ok(output)
}

fn run(session: &mut Session) -> Result<Vec<f32>, Failure> {
    let input = TensorData::Fp32(vec![0.5; 1000]);
    let outputs = session.run(&[Tensor::new("x", vec![1, 1000], input)?])?;
    match outputs.first().map(Tensor::data) {
        Some(TensorData::Fp32(numbers)) => Ok(numbers.clone()),
        _ => Err("the model gives no numbers".into()),
    }
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
