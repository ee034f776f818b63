//! The whole way on real data: as good as others are, and the same bytes as ever.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch};
use modelwright_api::training::{DataFormat, Training};
use modelwright_artifact::Digest;
use parquet::arrow::ArrowWriter;
use rstest::rstest;
use serde::Deserialize;
use serde_json::json;

use super::metrics::MetricsDocument;
use super::{Request, prepare};
use crate::data::{DataFile, FileSet};
use crate::evaluate::{Metric, MetricName};
use crate::network::simd_class;
use crate::training::{EpochRecord, Observer, StepProgress};

struct Nobody;

impl Observer for Nobody {
    fn step(&mut self, _progress: &StepProgress) {}
    fn epoch(&mut self, _record: &EpochRecord) {}
}

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(path: &Path) -> FileSet {
    FileSet {
        files: vec![DataFile { path: path.to_owned(), name: path.display().to_string() }],
        format: DataFormat::Csv,
        delimiter: ',',
    }
}

fn request(training: &Path, validation: Option<&Path>, spec: serde_json::Value) -> Request {
    let spec: Training = serde_json::from_value(spec).unwrap();
    Request {
        training: files(training),
        validation: validation.map(files),
        test: None,
        spec: spec.resolved(),
        memory: u64::MAX,
    }
}

fn train(request: &Request, folder: &Path) -> MetricsDocument {
    let prepared = prepare(request).unwrap();
    prepared.train(folder, None, &AtomicBool::new(false), &mut Nobody).unwrap().metrics
}

/// One set of `testdata/scores/scores.json`, which scikit-learn wrote.
#[derive(Deserialize)]
struct Scores {
    name: String,
    data: PathBuf,
    target: String,
    metric: Metric,
    network: Spread,
    linear: Spread,
    /// The test rows of each split.
    tests: Vec<BTreeSet<usize>>,
}

#[derive(Deserialize)]
struct Spread {
    mean: f64,
    deviation: f64,
}

impl Spread {
    #[track_caller]
    fn expect(&self, what: &str, mean: f64) {
        let least = self.mean - 2.0 * self.deviation;
        assert!(
            mean >= least,
            "{what}: {mean:.4}, and scikit-learn has {:.4} ± {:.4}",
            self.mean,
            self.deviation
        );
    }
}

/// Writes the lines of a CSV file whose rows are wanted.
fn part(lines: &[&str], wanted: impl Fn(usize) -> bool, path: PathBuf) -> PathBuf {
    let rows = lines[1..].iter().enumerate().filter(|(row, _)| wanted(*row)).map(|(_, line)| *line);
    let text: Vec<&str> = std::iter::once(lines[0]).chain(rows).collect();
    fs::write(&path, text.join("\n")).unwrap();
    path
}

#[rstest]
fn network_and_baseline_are_as_good_as_those_of_scikit_learn(
    #[values("breast-cancer", "iris", "wine", "digits", "diabetes")] name: &str,
) {
    let text = fs::read(crate_folder().join("testdata/scores/scores.json")).unwrap();
    let sets: Vec<Scores> = serde_json::from_slice(&text).unwrap();
    let set = sets.into_iter().find(|set| set.name == name).unwrap();
    let data = fs::read_to_string(crate_folder().join("../..").join(&set.data)).unwrap();
    let lines: Vec<&str> = data.lines().collect();
    let folder = tempfile::tempdir().unwrap();
    let (mut network, mut linear) = (0.0, 0.0);
    for (split, test) in set.tests.iter().enumerate() {
        let training = part(&lines, |row| !test.contains(&row), folder.path().join("training.csv"));
        let validation = part(&lines, |row| test.contains(&row), folder.path().join("validation.csv"));
        // What scores.json's script gave to scikit-learn.
        let spec = json!({
            "data": {"source": {"uri": "file:training.csv"}, "target": set.target},
            "builtin": {
                "layers": [{"units": 128, "activation": "Relu"}], "optimizer": {"kind": "Adam"}, "epochs": 30,
                "batchSize": 32, "earlyStopping": {"enabled": false}, "seed": split,
            },
        });
        let measured = train(&request(&training, Some(&validation), spec), &folder.path().join("revision"));
        let metric = MetricName::validation(set.metric).to_string();
        network += measured.metrics[&metric] / set.tests.len() as f64;
        linear += measured.baselines[1].metrics[&metric] / set.tests.len() as f64;
    }
    eprintln!("{name}: network {network:.4}, linear {linear:.4}");
    set.network.expect("network", network);
    set.linear.expect("linear", linear);
}

/// The sha256 of every file of one training, by SIMD class. Other bytes mean that digests change for everybody: raise
/// [`NUMERICS_VERSION`](crate::NUMERICS_VERSION) with them.
const GOLDEN: [(&str, [(&str, &str); 6]); 1] = [(
    "x86-64-v3",
    [
        ("explain.onnx", "02ddaa757c6ceb1625ade04fbc6cce1e819634b2e55f359cd74d74d8c0cf8942"),
        ("metrics.json", "ee5283d79e8d55dd5f0e73f7849811eae0c5c0170212abf693e8d7bd3f549e5c"),
        ("model.onnx", "27c9bbc90a77717b4d9edf5e7de7e7adc35fea06650eef4f028695391c2f8c41"),
        ("report.html", "8935fd4d65bd6d36b5f4c26f854c7cca508e874644ad12c935b5ffe181541aa2"),
        ("samples.json", "7405f82855b35a178a156e2868a25a2433369063730457c19e872f794be0524b"),
        ("schema.json", "912b4ef3f5a7e944ee250abf1d660a2dd4df843c9b3bac53b00e53e999b4f576"),
    ],
)];

#[test]
fn files_of_a_revision_are_the_same_as_ever() {
    let folder = tempfile::tempdir().unwrap();
    let spec = json!({
        "data": {"source": {"uri": "file:data.csv"}, "target": "species"},
        "builtin": {
            "columns": [{"name": "year", "type": "String"}, {"name": "sex", "impute": "MostFrequent"}],
            "layers": [{"units": 12, "dropout": 0.1}, {"units": 6, "activation": "Tanh", "l2": 0.001}],
            "epochs": 8, "classWeights": {"mode": "Balanced"}, "seed": 11,
        },
    });
    let data = crate_folder().join("../../examples/penguins/data.csv");
    train(&request(&data, None, spec), folder.path());
    let found = ["explain.onnx", "metrics.json", "model.onnx", "report.html", "samples.json", "schema.json"]
        .map(|file| (file, Digest::of(&fs::read(folder.path().join(file)).unwrap()).hex()));
    match GOLDEN.iter().find(|(class, _)| *class == simd_class()) {
        Some((_, golden)) => assert_eq!(found, golden.map(|(file, digest)| (file, digest.to_owned()))),
        None => eprintln!("SKIPPED: no golden digests for {}", simd_class()),
    }
}

#[rstest]
#[case(json!({"earlyStopping": {"monitor": "valAcuracy"}}), "UnknownMetric", "valAccuracy")]
#[case(json!({"earlyStopping": {"monitor": "testAccuracy"}}), "MonitorOfTest", "valLoss")]
#[case(json!({"task": "Binary", "loss": "MSE"}), "LossDoesNotFit", "BinaryCrossEntropy")]
fn settings_that_no_data_can_make_right_are_refused_before_any_is_read(
    #[case] builtin: serde_json::Value,
    #[case] reason: &str,
    #[case] advice: &str,
) {
    let spec = json!({"data": {"source": {"uri": "file:data.csv"}, "target": "t"}, "builtin": builtin});
    let spec: Training = serde_json::from_value(spec).unwrap();
    let error = super::check(&spec.resolved()).unwrap_err();
    assert_eq!(error.reason(), reason);
    assert!(error.to_string().contains(advice), "{error}");
}

#[rstest]
#[case(json!({"classWeights": {"mode": "Values", "values": {"Adeli": 2.0}}}), "Adeli", "Adelie")]
#[case(json!({"task": "Regression"}), "species", "Multiclass")]
#[case(json!({"columns": [{"name": "bil_length_mm", "type": "Numeric"}]}), "bil_length_mm", "bill_length_mm")]
fn settings_that_the_data_does_not_fit_are_named(
    #[case] builtin: serde_json::Value,
    #[case] written: &str,
    #[case] advice: &str,
) {
    let spec = json!({"data": {"source": {"uri": "file:data.csv"}, "target": "species"}, "builtin": builtin});
    let data = crate_folder().join("../../examples/penguins/data.csv");
    let error = prepare(&request(&data, None, spec)).err().unwrap().to_string();
    assert!(error.contains(written) && error.contains(advice), "{error}");
}

#[test]
fn one_hot_rows_that_do_not_fit_into_memory_are_refused() {
    let data = crate_folder().join("../../examples/penguins/data.csv");
    let spec = json!({"data": {"source": {"uri": "file:data.csv"}, "target": "species"}});
    let error = prepare(&Request { memory: 1_000, ..request(&data, None, spec) }).err().unwrap();
    assert_eq!(error.reason(), "DataTooLarge");
    assert!(error.to_string().contains("1000"), "{error}");
}

#[rstest]
#[case::csv(DataFormat::Csv)]
#[case::parquet(DataFormat::Parquet)]
fn codes_that_are_too_long_for_numbers_are_classes_as_texts_only(#[case] format: DataFormat) {
    let folder = tempfile::tempdir().unwrap();
    let codes: Vec<i64> = (0..40).map(|row| if row % 2 == 0 { 100_000_001 } else { 100_000_003 }).collect();
    let path = match format {
        DataFormat::Csv => csv_of_codes(folder.path(), &codes),
        DataFormat::Parquet => parquet_of_codes(folder.path(), &codes),
    };
    let data = json!({"source": {"uri": "file:codes"}, "target": "code"});
    let mut request = request(&path, None, json!({"data": data.clone()}));
    request.training.format = format;
    let error = prepare(&request).err().unwrap();
    assert_eq!(error.reason(), "ClassNotExact", "{error}");

    let columns = json!({"columns": [{"name": "code", "type": "String"}]});
    let spec: Training = serde_json::from_value(json!({"data": data, "builtin": columns})).unwrap();
    let prepared = prepare(&Request { spec: spec.resolved(), ..request }).unwrap();
    assert_eq!(prepared.target.classes, ["100000001", "100000003"]);
}

fn csv_of_codes(folder: &Path, codes: &[i64]) -> PathBuf {
    let rows: Vec<String> = codes.iter().enumerate().map(|(row, code)| format!("{row}.5,{code}\n")).collect();
    let path = folder.join("codes.csv");
    fs::write(&path, format!("x,code\n{}", rows.concat())).unwrap();
    path
}

fn parquet_of_codes(folder: &Path, codes: &[i64]) -> PathBuf {
    let x: ArrayRef = Arc::new(Float32Array::from_iter_values((0..codes.len()).map(|row| row as f32 + 0.5)));
    let code: ArrayRef = Arc::new(Int64Array::from(codes.to_vec()));
    let batch = RecordBatch::try_from_iter([("x", x), ("code", code)]).unwrap();
    let path = folder.join("codes.parquet");
    let mut writer = ArrowWriter::try_new(fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}
