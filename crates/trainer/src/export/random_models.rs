//! Small models of every kind for tests, with rows to predict and what double precision predicts for them.

use std::collections::BTreeMap;
use std::path::Path;

use modelwright_api::training::{Activation, InputLayout, Task};
use modelwright_artifact::MODEL_FILE;

use super::schema::SCHEMA_FILE;
use super::{EXPLAIN_FILE, Exported, Schema, explain, model};
use crate::features::preprocessing::{Prepared, PreparedKind, Preprocessing};
use crate::features::target::Target;
use crate::matrix::Matrix;
use crate::network::{Dense, Network};
use crate::random::{Purpose, Stream};
use crate::table::{Column, Table, Texts, Values};

pub(super) const ACTIVATIONS: [Activation; 5] =
    [Activation::Relu, Activation::Tanh, Activation::Sigmoid, Activation::Gelu, Activation::Linear];

/// Names that inner tensors would like to have, and names that need care in a file.
const NAMES: [&str; 12] = [
    "age",
    "age/filled",
    "age/scaled",
    "features",
    "layer1/sum",
    "output/second",
    "output/scaled",
    "ein Wort",
    "größe",
    "\"quoted\"",
    "prediction/2",
    "日本",
];

const TEXTS: [&str; 9] = ["Bern", "Genf", "Zürich", "two words", "\"q\"", "日本", "0", "a\nb", "bern"];

/// A model and rows for it.
#[derive(Debug)]
pub(super) struct RandomModel {
    pub(super) preprocessing: Preprocessing,
    pub(super) target: Target,
    pub(super) network: Network,
    pub(super) table: Table,
}

/// Draws from a stream.
struct Draw(Stream);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(u32::try_from(bound).unwrap()) as usize
    }

    /// A number between `from` and `to`.
    #[expect(clippy::cast_possible_truncation, reason = "any number near will do")]
    fn between(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * self.0.unit() as f32
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

impl RandomModel {
    /// One of any kind.
    pub(super) fn any(seed: u64) -> Self {
        let mut draw = Draw(Stream::new(seed, Purpose::Split, 0));
        let task = [Task::Binary, Task::Multiclass, Task::Regression][draw.below(3)];
        let layout = [InputLayout::Features, InputLayout::Columns][draw.below(2)];
        let hidden: Vec<_> = (0..draw.below(4)).map(|_| ACTIVATIONS[draw.below(5)]).collect();
        Self::new(seed, task, layout, &hidden)
    }

    /// One of this kind, with a layer for each of `hidden`.
    pub(super) fn new(seed: u64, task: Task, layout: InputLayout, hidden: &[Activation]) -> Self {
        let mut draw = Draw(Stream::new(seed, Purpose::Samples, 0));
        let mut names = NAMES.map(str::to_owned);
        draw.0.shuffle(&mut names);
        let columns = 1 + draw.below(names.len());
        let columns: Vec<_> =
            names.into_iter().take(columns).map(|name| prepared(&mut draw, name, layout)).collect();
        let classes = match task {
            Task::Binary => 2,
            Task::Multiclass => 3 + draw.below(4),
            Task::Regression => 0,
        };
        let regression = task == Task::Regression;
        let target = Target {
            name: "target".to_owned(),
            task,
            classes: (0..classes).map(|class| format!("class {class}")).collect(),
            center: if regression { draw.between(-1000.0, 1000.0) } else { 0.0 },
            spread: if regression { draw.between(0.1, 100.0) } else { 1.0 },
        };
        let width = columns.iter().map(|column| width(&column.kind)).sum();
        let network = network(&mut draw, width, hidden, if task == Task::Multiclass { classes } else { 1 });
        let rows = 1 + draw.below(40);
        let values = |column: &Prepared, draw: &mut Draw| Column {
            name: column.name.clone(),
            values: values(draw, &column.kind, rows),
        };
        let table = Table::new(columns.iter().map(|column| values(column, &mut draw)).collect(), rows);
        Self { preprocessing: Preprocessing { layout, columns }, target, network, table }
    }

    pub(super) fn exported(&self) -> Exported<'_> {
        let schema = Schema::new(&self.preprocessing, &self.target).to_json().unwrap();
        let metadata = BTreeMap::from([("schema".to_owned(), String::from_utf8(schema).unwrap())]);
        let Self { preprocessing, target, network, .. } = self;
        Exported { preprocessing, target, network, metadata }
    }

    /// Writes the model, its explanation and its schema.
    pub(super) fn write(&self, folder: &Path) {
        let schema = Schema::new(&self.preprocessing, &self.target).with_baseline(&self.table);
        std::fs::write(folder.join(MODEL_FILE), model(&self.exported()).unwrap()).unwrap();
        std::fs::write(folder.join(EXPLAIN_FILE), explain(&self.exported()).unwrap()).unwrap();
        std::fs::write(folder.join(SCHEMA_FILE), schema.to_json().unwrap()).unwrap();
    }

    /// What the network sees, `[rows, features]`.
    pub(super) fn features(&self) -> Matrix {
        let rows = self.table.rows();
        let values: Vec<f32> = (0..rows).flat_map(|row| self.features_of(row)).collect();
        Matrix::new(rows, values.len() / rows, values).unwrap()
    }

    fn features_of(&self, row: usize) -> Vec<f32> {
        let mut features = Vec::new();
        for column in &self.preprocessing.columns {
            match (&column.kind, &self.table.column(&column.name).unwrap().values) {
                (PreparedKind::Numeric { fill, mean, deviation }, Values::Numeric(values)) => {
                    let value = if values[row].is_nan() { *fill } else { values[row] };
                    features.push((value - mean) / deviation);
                }
                (PreparedKind::Boolean { fill }, Values::Boolean(values)) => {
                    features.push(if values[row].unwrap_or(*fill) { 1.0 } else { 0.0 });
                }
                (PreparedKind::Text { categories, fill }, Values::Text(texts)) => {
                    let text = texts.get(row).or(fill.as_deref()).unwrap_or_default();
                    features.extend(categories.iter().map(|category| f32::from(u8::from(category == text))));
                }
                (kind, values) => panic!("{kind:?} of {values:?}"),
            }
        }
        features
    }

    /// What the outputs are in double precision: for each row the probabilities, or one number.
    pub(super) fn expected(&self) -> Vec<Vec<f64>> {
        let features = self.features();
        (0..self.table.rows()).map(|row| self.predict(features.row(row))).collect()
    }

    fn predict(&self, features: &[f32]) -> Vec<f64> {
        let mut values: Vec<f64> = features.iter().map(|value| f64::from(*value)).collect();
        for layer in &self.network.layers {
            let unit = |unit: usize| {
                let products = values.iter().enumerate();
                let sum: f64 =
                    products.map(|(row, value)| value * f64::from(layer.weights.row(row)[unit])).sum();
                let sum = sum + f64::from(layer.bias[unit]);
                match layer.activation {
                    Activation::Relu => sum.max(0.0),
                    Activation::Tanh => libm::tanh(sum),
                    Activation::Sigmoid => 1.0 / (1.0 + libm::exp(-sum)),
                    Activation::Gelu => sum / 2.0 * (1.0 + libm::erf(sum / 2_f64.sqrt())),
                    Activation::Linear => sum,
                }
            };
            values = (0..layer.bias.len()).map(unit).collect();
        }
        match self.target.task {
            Task::Binary => {
                let second = 1.0 / (1.0 + libm::exp(-values[0]));
                vec![1.0 - second, second]
            }
            Task::Multiclass => {
                let powers: Vec<f64> = values.iter().map(|value| libm::exp(*value)).collect();
                powers.iter().map(|power| power / powers.iter().sum::<f64>()).collect()
            }
            Task::Regression => {
                vec![values[0] * f64::from(self.target.spread) + f64::from(self.target.center)]
            }
        }
    }
}

fn prepared(draw: &mut Draw, name: String, layout: InputLayout) -> Prepared {
    let kinds = if layout == InputLayout::Features { 1 } else { 3 };
    let kind = match draw.below(kinds) {
        0 if draw.one_in(5) => {
            PreparedKind::Numeric { fill: draw.between(-2.0, 2.0), mean: 0.0, deviation: 1.0 }
        }
        0 => {
            let (mean, deviation) = (draw.between(-100.0, 100.0), draw.between(0.1, 30.0));
            PreparedKind::Numeric { fill: mean + draw.between(-1.0, 1.0) * deviation, mean, deviation }
        }
        1 => PreparedKind::Boolean { fill: draw.one_in(2) },
        _ => {
            let mut texts = TEXTS;
            draw.0.shuffle(&mut texts);
            let mut categories: Vec<_> =
                texts.into_iter().take(1 + draw.below(6)).map(str::to_owned).collect();
            let fill = draw.one_in(2).then(|| categories[0].clone());
            if fill.is_none() && draw.one_in(2) {
                categories.push(String::new());
            }
            PreparedKind::Text { categories, fill }
        }
    };
    Prepared { name, kind }
}

fn width(kind: &PreparedKind) -> usize {
    match kind {
        PreparedKind::Numeric { .. } | PreparedKind::Boolean { .. } => 1,
        PreparedKind::Text { categories, .. } => categories.len(),
    }
}

fn network(draw: &mut Draw, width: usize, hidden: &[Activation], outputs: usize) -> Network {
    let mut inputs = width;
    let mut layers = Vec::new();
    for activation in hidden.iter().copied().chain([Activation::Linear]) {
        let units = if layers.len() == hidden.len() { outputs } else { 1 + draw.below(20) };
        let bound = (6.0 / inputs as f32).sqrt();
        let weights = (0..inputs * units).map(|_| draw.between(-bound, bound)).collect();
        let bias = (0..units).map(|_| draw.between(-0.5, 0.5)).collect();
        layers.push(Dense { weights: Matrix::new(inputs, units, weights).unwrap(), bias, activation });
        inputs = units;
    }
    Network { layers }
}

/// Values of a column, one in five missing, and texts that no category is.
fn values(draw: &mut Draw, kind: &PreparedKind, rows: usize) -> Values {
    match kind {
        PreparedKind::Numeric { mean, deviation, .. } => {
            let mut value =
                || if draw.one_in(5) { f32::NAN } else { mean + deviation * draw.between(-3.0, 3.0) };
            Values::Numeric((0..rows).map(|_| value()).collect())
        }
        PreparedKind::Boolean { .. } => {
            Values::Boolean((0..rows).map(|_| (!draw.one_in(5)).then(|| draw.one_in(2))).collect())
        }
        PreparedKind::Text { .. } => Values::Text(Texts {
            dictionary: TEXTS.map(str::to_owned).to_vec(),
            codes: (0..rows)
                .map(|_| (!draw.one_in(5)).then(|| u32::try_from(draw.below(TEXTS.len())).unwrap()))
                .collect(),
        }),
    }
}
