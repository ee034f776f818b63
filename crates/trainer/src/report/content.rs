//! What a report says, as plain data.

use modelwright_api::training::{ColumnKind, Task};

use super::ReportError;

/// A report's content. Numbers that are absent or not finite are shown as a dash.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report<'a> {
    /// The column that is predicted.
    pub target: &'a str,
    /// What is predicted.
    pub task: Task,
    /// The classes in the order of the model's probabilities; empty for a regression.
    pub classes: &'a [String],
    /// Sentences that a reader should see first, such as rows that were left out.
    pub notes: &'a [String],
    /// How many rows were for what.
    pub rows: Rows,
    /// One row for each metric, the one that decides first.
    pub metrics: &'a [MetricRow],
    /// How training went.
    pub learning: Learning<'a>,
    /// What the model answers to the validation rows.
    pub evaluation: Evaluation<'a>,
    /// Which columns the model relies on.
    pub importance: Importance<'a>,
    /// The columns of the data, in their order, without the target.
    pub columns: &'a [ColumnSummary],
    /// Settings that shaped the result: name and value.
    pub settings: &'a [(String, String)],
}

/// How many rows were for what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rows {
    /// Rows that the weights were fitted to.
    pub training: usize,
    /// Rows that the model is judged by.
    pub validation: usize,
    /// Rows that no decision looked at, if there are any.
    pub test: Option<usize>,
}

/// Which values of a metric are the better ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Better {
    /// Higher ones.
    Higher,
    /// Lower ones.
    Lower,
}

/// One metric of the model beside those of the baselines.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricRow {
    /// Its name, as people read it: "Accuracy".
    pub label: String,
    /// Which values are better.
    pub better: Better,
    /// The model's value on the validation rows.
    pub model: Option<f64>,
    /// That of the most frequent class, or of the mean.
    pub constant: Option<f64>,
    /// That of the linear model.
    pub linear: Option<f64>,
    /// The model's value on the test rows.
    pub test: Option<f64>,
}

/// How training went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learning<'a> {
    /// The epochs in their order.
    pub epochs: &'a [Epoch],
    /// What [`Epoch::score`] is: "Accuracy".
    pub score: &'a str,
    /// The epoch whose weights were taken.
    pub best: Option<u32>,
}

/// One pass over the training rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: u32,
    /// The loss of the training rows.
    pub training_loss: f64,
    /// The loss of the validation rows.
    pub validation_loss: f64,
    /// The metric that decides, on the validation rows.
    pub score: f64,
}

/// What the model answers to the validation rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Evaluation<'a> {
    /// Of two or several classes.
    Classification {
        /// How many rows of each class (first index) were taken for each class (second index), in the order of
        /// [`Report::classes`].
        confusion: &'a [Vec<u64>],
        /// One curve for the second class of two, or one for each class of several.
        roc: &'a [RocCurve],
    },
    /// Of numbers, in the unit of the data.
    Regression {
        /// What the data say.
        actual: &'a [f32],
        /// What the model says, for the same rows.
        predicted: &'a [f32],
    },
}

/// How the rate of found rows grows with that of false alarms.
#[derive(Clone, Debug, PartialEq)]
pub struct RocCurve {
    /// The class that is to be found.
    pub class: String,
    /// Pairs (false positive rate, true positive rate) from (0, 0) to (1, 1), both ascending.
    pub points: Vec<(f64, f64)>,
    /// The area under the curve.
    pub area: Option<f64>,
}

/// Which columns the model relies on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Importance<'a> {
    /// The metric that is watched while a column is shuffled: "Accuracy".
    pub metric: &'a str,
    /// How often each column was shuffled.
    pub repeats: u32,
    /// One for each column, the most important first.
    pub features: &'a [FeatureImportance],
}

/// How much worse the metric is when one column is shuffled.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureImportance {
    /// The column.
    pub name: String,
    /// By how much on average; negative if it is better.
    pub mean: f64,
    /// The standard deviation over the repeats.
    pub deviation: f64,
}

/// A column of the data.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSummary {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ColumnKind,
    /// How many values are missing.
    pub missing: usize,
    /// How many different values there are, where they were counted.
    pub distinct: Option<usize>,
    /// What the values are like.
    pub values: ColumnValues,
    /// What stands in for a missing value, if the column is used.
    pub fill: Option<String>,
    /// The mean that is subtracted and the deviation that is divided by, if the column is scaled.
    pub scaling: Option<(f64, f64)>,
}

/// What the values of a column are like.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnValues {
    /// Numbers: the least, the mean and the largest.
    Numbers {
        /// The least.
        min: f64,
        /// The mean.
        mean: f64,
        /// The largest.
        max: f64,
    },
    /// Texts or truth values: the most frequent ones with their rows, most frequent first.
    Categories(Vec<(String, usize)>),
    /// There are none, or they were not looked at.
    Unknown,
}

impl Report<'_> {
    /// Refuses a report whose parts do not fit together.
    pub(super) fn check(&self) -> Result<(), ReportError> {
        let classes = self.classes.len();
        let problem = match (self.task, self.evaluation) {
            (Task::Regression, Evaluation::Regression { actual, predicted }) => (actual.len()
                != predicted.len())
            .then(|| format!("{} actual and {} predicted numbers", actual.len(), predicted.len())),
            (Task::Binary | Task::Multiclass, Evaluation::Classification { confusion, .. }) => {
                let square = confusion.len() == classes && confusion.iter().all(|row| row.len() == classes);
                (!square).then(|| format!("a confusion matrix that is not {classes} × {classes}"))
            }
            (task, _) => Some(format!("an evaluation of another task than {task:?}")),
        };
        problem.map_or(Ok(()), |problem| Err(ReportError::Inconsistent(problem)))
    }
}
