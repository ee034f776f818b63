//! Reports of every task, of what is hostile and of what is hardly there.

#![expect(clippy::cast_possible_truncation, reason = "numbers of tests")]

use std::collections::BTreeSet;

use modelwright_api::training::{ColumnKind, Task};
use rstest::rstest;

use super::*;

/// What a [`Report`] borrows.
#[derive(Clone, Default)]
struct Sample {
    classes: Vec<String>,
    notes: Vec<String>,
    metrics: Vec<MetricRow>,
    epochs: Vec<Epoch>,
    confusion: Vec<Vec<u64>>,
    roc: Vec<RocCurve>,
    actual: Vec<f32>,
    predicted: Vec<f32>,
    features: Vec<FeatureImportance>,
    columns: Vec<ColumnSummary>,
    settings: Vec<(String, String)>,
}

impl Sample {
    fn report(&self, task: Task) -> Report<'_> {
        let evaluation = if task == Task::Regression {
            Evaluation::Regression { actual: &self.actual, predicted: &self.predicted }
        } else {
            Evaluation::Classification { confusion: &self.confusion, roc: &self.roc }
        };
        Report {
            target: "diagnosis",
            task,
            classes: &self.classes,
            notes: &self.notes,
            rows: Rows { training: 1455, validation: 364, test: None },
            metrics: &self.metrics,
            learning: Learning {
                epochs: &self.epochs,
                score: "Accuracy",
                best: self.epochs.get(self.epochs.len() * 2 / 3).map(|epoch| epoch.number),
            },
            evaluation,
            importance: Importance { metric: "Accuracy", repeats: 5, features: &self.features },
            columns: &self.columns,
            settings: &self.settings,
        }
    }
}

/// Numbers from 0 to 1 that look random.
fn noise(mut state: u32) -> impl Iterator<Item = f64> {
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    })
}

fn metric(label: &str, better: Better, model: f64, linear: f64, constant: f64) -> MetricRow {
    let [model, linear, constant] = [model, linear, constant].map(Some);
    MetricRow { label: label.to_owned(), better, model, constant, linear, test: None }
}

fn sample(task: Task, columns: usize) -> Sample {
    let classes = match task {
        Task::Binary => vec!["benign".to_owned(), "malignant".to_owned()],
        Task::Multiclass => (0..10).map(|class| class.to_string()).collect(),
        Task::Regression => Vec::new(),
    };
    let count = classes.len();
    let mut sample = Sample {
        notes: vec!["3 rows have no target and were left out.".to_owned()],
        metrics: match task {
            Task::Regression => vec![
                metric("RMSE", Better::Lower, 55.31, 54.02, 77.1),
                metric("MAE", Better::Lower, 44.1, 43.9, 66.0),
                metric("R²", Better::Higher, 0.48, 0.5023, -0.0012),
            ],
            Task::Binary | Task::Multiclass => vec![
                metric("ROC AUC", Better::Higher, 0.9981, 0.9967, 0.5),
                metric("Accuracy", Better::Higher, 0.9825, 0.9737, 0.6316),
                metric("Log loss", Better::Lower, 0.0612, 0.08, 0.6581),
            ],
        },
        epochs: noise(1)
            .take(34)
            .zip(1_u32..)
            .map(|(noise, number)| {
                let done = f64::from(number);
                Epoch {
                    number,
                    training_loss: 0.7 / done,
                    validation_loss: 0.62 / done + 0.05 + done * 0.0015 + noise * 0.01,
                    score: 0.985 - 0.25 / done - noise * 0.008,
                }
            })
            .collect(),
        settings: vec![
            ("layers".to_owned(), "128 × Relu".to_owned()),
            ("optimizer".to_owned(), "Adam, learning rate 0.001, beta1 0.9, beta2 0.999".to_owned()),
            ("seed".to_owned(), "7".to_owned()),
        ],
        features: noise(2)
            .take(columns)
            .enumerate()
            .map(|(index, noise)| FeatureImportance {
                name: format!("mean_fractal_dimension_{index}"),
                mean: 0.12 / (index as f64 + 1.0) - 0.004,
                deviation: 0.01 * noise,
            })
            .collect(),
        columns: (0..columns).map(column).collect(),
        classes,
        ..Sample::default()
    };
    sample.confusion = (0..count)
        .map(|row| {
            (0..count)
                .map(|column| if row == column { 33 } else { [2, 0, 1, 0, 5][(row * 7 + column) % 5] })
                .collect()
        })
        .collect();
    sample.roc = sample
        .classes
        .iter()
        .skip(usize::from(task == Task::Binary))
        .enumerate()
        .map(|(index, class)| curve(class, index))
        .collect();
    if task == Task::Regression {
        let actual: Vec<f64> = noise(3).take(111).map(|noise| 25.0 + 320.0 * noise * noise).collect();
        let misses = noise(4).zip(noise(5)).map(|(a, b)| (a + b - 1.0) * 110.0);
        sample.predicted =
            actual.iter().zip(misses).map(|(actual, miss)| (60.0 + actual * 0.6 + miss) as f32).collect();
        sample.actual = actual.into_iter().map(|actual| actual as f32).collect();
    }
    sample
}

fn column(index: usize) -> ColumnSummary {
    let name = format!("column_{index:02}");
    match index % 5 {
        3 => ColumnSummary {
            name,
            kind: ColumnKind::String,
            missing: 11,
            distinct: Some(12),
            values: ColumnValues::Categories(vec![
                ("Zürich".to_owned(), 512),
                ("Bern".to_owned(), 301),
                ("Genève".to_owned(), 40),
            ]),
            fill: Some(String::new()),
            scaling: None,
        },
        4 => ColumnSummary {
            name,
            kind: ColumnKind::Ignored,
            missing: 0,
            distinct: None,
            values: ColumnValues::Unknown,
            fill: None,
            scaling: None,
        },
        _ => ColumnSummary {
            name,
            kind: ColumnKind::Numeric,
            missing: index,
            distinct: None,
            values: ColumnValues::Numbers { min: 6.981, mean: 14.127_291, max: 28_110.0 },
            fill: Some("13.37".to_owned()),
            scaling: Some((14.127_291, 3.524_048)),
        },
    }
}

fn curve(class: &str, index: usize) -> RocCurve {
    let bend = 9.0 - index as f64 * 0.6;
    let points = (0..=60)
        .map(|step| f64::from(step) / 60.0)
        .map(|x| (x, (x * bend / (1.0 + x * (bend - 1.0))).min(1.0)));
    RocCurve { class: class.to_owned(), points: points.collect(), area: Some(0.98 - index as f64 * 0.01) }
}

/// Classes of which each is mostly found, and taken for every other now and then.
fn set_classes(sample: &mut Sample, count: usize) {
    sample.classes = (0..count).map(|class| format!("class {class}")).collect();
    let cell =
        |row: usize, column: usize| if row == column { 90 } else { [0, 5, 0, 1, 0, 0, 20][row * column % 7] };
    sample.confusion = (0..count).map(|row| (0..count).map(|column| cell(row, column)).collect()).collect();
}

/// Elements that were opened and not closed, and the other way round.
fn assert_balanced(page: &str) {
    const VOID: [&str; 6] = ["meta", "line", "rect", "circle", "polyline", "path"];
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap();
        if tag.starts_with('!') || tag.ends_with('/') || VOID.contains(&name) {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

fn assert_self_contained(page: &str) {
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    for reference in
        ["http://", "https://", "//", "<script", "<link", "<img", "src=", "href=", "url(", "@import"]
    {
        assert!(!outside.contains(reference), "{reference} in the page");
    }
}

#[rstest]
fn every_task_makes_a_whole_page_without_outside_references(
    #[values(Task::Binary, Task::Multiclass, Task::Regression)] task: Task,
) {
    let sample = sample(task, 30);
    let page = render(&sample.report(task)).unwrap();
    assert_balanced(&page);
    assert_self_contained(&page);
    let ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "{ids:?}");
    for part in
        ["Metrics", "Learning curves", "What the model relies on", "Data", "Settings", "How to read this"]
    {
        assert!(page.contains(&format!(">{part}</h2>")), "{part} is missing");
    }
    let own = if task == Task::Regression { "Predictions and residuals" } else { "ROC curve" };
    assert!(page.contains(own));
    assert!(!page.contains("NaN") && !page.contains("#010203"));
}

#[rstest]
fn same_report_gives_the_same_bytes(#[values(Task::Binary, Task::Multiclass, Task::Regression)] task: Task) {
    let page = || render(&sample(task, 12).report(task)).unwrap();
    assert_eq!(page(), page());
}

#[test]
fn report_of_64_columns_is_smaller_than_300_kilobytes() {
    for task in [Task::Multiclass, Task::Regression] {
        let mut sample = sample(task, 64);
        let first = sample.epochs[0];
        sample.epochs = (1..=20_000).map(|number| Epoch { number, ..first }).collect();
        sample.actual = noise(8).take(50_000).map(|noise| noise as f32).collect();
        sample.predicted = noise(9).take(50_000).map(|noise| noise as f32).collect();
        let page = render(&sample.report(task)).unwrap();
        assert!(page.len() < 300_000, "{} bytes", page.len());
    }
}

#[test]
fn hostile_names_are_text_everywhere() {
    let hostile = "<script>alert('x')</script>\"'&\u{0}\u{202e}";
    let mut sample = sample(Task::Binary, 3);
    let name = || hostile.to_owned();
    sample.classes = vec![name(), name()];
    sample.notes = vec![name()];
    sample.settings = vec![(name(), name())];
    sample.metrics.iter_mut().for_each(|metric| metric.label = name());
    sample.roc.iter_mut().for_each(|curve| curve.class = name());
    sample.features.iter_mut().for_each(|feature| feature.name = name());
    for column in &mut sample.columns {
        column.name = name();
        column.fill = Some(name());
        column.values = ColumnValues::Categories(vec![(name(), 1)]);
    }
    let mut report = sample.report(Task::Binary);
    report.target = hostile;
    (report.learning.score, report.importance.metric) = (hostile, hostile);
    let page = render(&report).unwrap();
    assert_balanced(&page);
    assert_self_contained(&page);
    assert!(page.contains("&lt;script&gt;"));
    assert!(!page.contains('\u{0}') && !page.contains('\u{202e}'));
    assert!(!page.contains("alert('"), "a quote is left");
}

#[test]
fn long_names_are_cut() {
    let mut sample = sample(Task::Regression, 1);
    sample.columns[0].name = "x".repeat(10_000);
    let page = render(&sample.report(Task::Regression)).unwrap();
    assert!(!page.contains(&"x".repeat(81)));
}

#[rstest]
fn report_of_almost_nothing_is_still_a_page(
    #[values(Task::Binary, Task::Multiclass, Task::Regression)] task: Task,
) {
    let mut sample = Sample::default();
    assert_balanced(&render(&sample.report(task)).unwrap());

    sample.epochs = vec![Epoch { number: 1, training_loss: 0.5, validation_loss: 0.5, score: 0.5 }];
    (sample.actual, sample.predicted) = (vec![3.0], vec![3.0]);
    sample.features = vec![FeatureImportance { name: "a".to_owned(), mean: 0.0, deviation: 0.0 }];
    if task != Task::Regression {
        sample.classes = vec!["a".to_owned(), "b".to_owned()];
        sample.confusion = vec![vec![0, 0], vec![0, 0]];
        sample.roc = vec![RocCurve { class: "b".to_owned(), points: Vec::new(), area: None }];
    }
    let page = render(&sample.report(task)).unwrap();
    assert_balanced(&page);
    assert!(!page.contains("NaN") && !page.contains("inf"));
}

#[test]
fn numbers_that_are_not_finite_are_dashes() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut sample = sample(Task::Regression, 6);
        sample.metrics.iter_mut().for_each(|metric| metric.model = Some(bad));
        for epoch in &mut sample.epochs {
            (epoch.training_loss, epoch.validation_loss, epoch.score) = (bad, bad, bad);
        }
        sample.features.iter_mut().for_each(|feature| feature.mean = bad);
        sample.columns[0].values = ColumnValues::Numbers { min: bad, mean: bad, max: bad };
        sample.predicted.fill(bad as f32);
        let page = render(&sample.report(Task::Regression)).unwrap();
        assert!(!page.contains("NaN") && !page.contains(">inf") && !page.contains(">−inf"));
        assert!(page.contains("no finite values"));
    }
}

#[test]
fn extreme_numbers_do_not_break_charts() {
    let mut sample = sample(Task::Regression, 1);
    sample.actual = vec![f32::MAX, f32::MIN, 0.0, f32::MIN_POSITIVE];
    sample.predicted = vec![f32::MIN, f32::MAX, 1e-30, 0.0];
    for (epoch, loss) in sample.epochs.iter_mut().zip([1e300, -1e300, f64::MAX, f64::MIN, 1e-300]) {
        epoch.training_loss = loss;
    }
    assert_balanced(&render(&sample.report(Task::Regression)).unwrap());
}

#[rstest]
#[case::written(20)]
#[case::drawn(21)]
#[case::drawn_at_most(100)]
#[case::listed(101)]
fn confusion_of_many_classes_stays_readable(#[case] count: usize) {
    let mut sample = sample(Task::Multiclass, 2);
    sample.classes = (0..count).map(|class| format!("class {class}")).collect();
    sample.confusion =
        (0..count).map(|row| (0..count).map(|column| if row == column { 9 } else { 1 }).collect()).collect();
    let page = render(&sample.report(Task::Multiclass)).unwrap();
    assert_balanced(&page);
    assert!(page.len() < 300_000, "{} bytes", page.len());
    assert_eq!(page.contains("class=\"heat"), count <= 20);
    assert_eq!(page.contains("Heat map"), (21..=100).contains(&count));
    assert_eq!(page.contains("Most frequent confusions"), count > 20);
}

#[test]
fn linear_model_that_is_better_is_said_to_be() {
    let page = |model, linear| {
        let mut sample = sample(Task::Regression, 1);
        sample.metrics[0] = metric("RMSE", Better::Lower, model, linear, 9.0);
        render(&sample.report(Task::Regression)).unwrap()
    };
    assert!(page(2.0, 1.0).contains("a linear model is better than this network"));
    assert!(page(1.0, 2.0).contains("the network is better than a linear model"));
    assert!(page(1.0, 1.0).contains("as good as a linear model"));
}

#[test]
fn best_value_of_a_metric_is_bold_and_so_is_what_reads_the_same() {
    let mut sample = sample(Task::Binary, 1);
    sample.metrics = vec![metric("Accuracy", Better::Higher, 0.900_01, 0.900_02, 0.5)];
    let page = render(&sample.report(Task::Binary)).unwrap();
    assert!(page.contains("<td><b>0.9000</b></td><td><b>0.9000</b></td><td>0.5000</td>"));
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let mut sample = sample(Task::Binary, 1);
    sample.confusion.pop();
    let error = render(&sample.report(Task::Binary)).unwrap_err();
    assert_eq!(error.to_string(), "the report contradicts itself: a confusion matrix that is not 2 × 2");
    assert_eq!((error.reason(), error.exit_code()), ("Bug", modelwright_api::contract::ExitCode::Bug));
}

#[test]
#[ignore = "writes pages for a person to look at"]
fn write_pages_to_look_at() {
    let folder = std::env::temp_dir().join("modelwright-reports");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, task, columns) in [
        ("binary", Task::Binary, 30),
        ("multiclass", Task::Multiclass, 64),
        ("many-classes", Task::Multiclass, 3),
        ("regression", Task::Regression, 10),
    ] {
        let mut sample = sample(task, columns);
        if name == "many-classes" {
            set_classes(&mut sample, 40);
        }
        if task == Task::Binary {
            sample
                .metrics
                .iter_mut()
                .for_each(|metric| metric.test = metric.model.map(|value| value - 0.004));
        }
        let mut report = sample.report(task);
        report.rows.test = (task == Task::Binary).then_some(120);
        let path = folder.join(format!("{name}.html"));
        std::fs::write(&path, render(&report).unwrap()).unwrap();
        println!("{}", path.display());
    }
}
