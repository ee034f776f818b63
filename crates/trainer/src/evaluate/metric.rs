//! The metrics: their names, ranges and tasks, in one table.

use modelwright_api::training::Task;
use serde::{Deserialize, Serialize};

/// A number that says how good predictions are. Serialises as its [`name`](Metric::name).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Metric {
    /// The share of rows whose label is right. The label is the likeliest class, of equally likely ones the first.
    Accuracy,
    /// The share of rows given a class that have it: of the second class in binary tasks, in multiclass tasks the mean over
    /// the classes that occur among the rows or the labels. 0 where no row is given the class.
    Precision,
    /// The share of rows that have a class that are given it; classes as for [`Precision`](Self::Precision).
    Recall,
    /// The harmonic mean of precision and recall; classes as for [`Precision`](Self::Precision).
    F1,
    /// The probability that a row of a class is given more of it than a row of another class, equal ones counting half: of
    /// the second class in binary tasks, in multiclass tasks the mean over all classes, each against the rest. Undefined
    /// when one of these classes has no row, or has all.
    RocAuc,
    /// The mean of -ln p, where p is the probability given to the right class.
    LogLoss,
    /// The mean of squared errors.
    Mse,
    /// The root of the mean of squared errors.
    Rmse,
    /// The mean of absolute errors.
    Mae,
    /// The share of the target's variance that is explained. Undefined when all targets are the same.
    R2,
}

/// Which values of a metric are the better ones.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// The higher.
    Higher,
    /// The lower.
    Lower,
}

impl Direction {
    /// Whether `value` is better than `other`. Nothing is better than itself, and NaN is not better than anything.
    pub fn better(self, value: f64, other: f64) -> bool {
        match self {
            Self::Higher => value > other,
            Self::Lower => value < other,
        }
    }
}

/// What there is to know about one metric.
struct Entry {
    name: &'static str,
    label: &'static str,
    range: (f64, f64),
    direction: Direction,
    tasks: &'static [Task],
}

const CLASSIFICATION: &[Task] = &[Task::Binary, Task::Multiclass];
const REGRESSION: &[Task] = &[Task::Regression];

const fn share(name: &'static str, label: &'static str) -> Entry {
    Entry { name, label, range: (0.0, 1.0), direction: Direction::Higher, tasks: CLASSIFICATION }
}

const fn error(name: &'static str, label: &'static str, tasks: &'static [Task]) -> Entry {
    Entry { name, label, range: (0.0, f64::INFINITY), direction: Direction::Lower, tasks }
}

/// In the order of [`Metric`].
const TABLE: [Entry; 10] = [
    share("accuracy", "Accuracy"),
    share("precision", "Precision"),
    share("recall", "Recall"),
    share("f1", "F1"),
    share("rocAuc", "ROC AUC"),
    error("logLoss", "Log loss", CLASSIFICATION),
    error("mse", "Mean squared error", REGRESSION),
    error("rmse", "Root mean squared error", REGRESSION),
    error("mae", "Mean absolute error", REGRESSION),
    Entry {
        name: "r2",
        label: "R²",
        range: (f64::NEG_INFINITY, 1.0),
        direction: Direction::Higher,
        tasks: REGRESSION,
    },
];

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 10] = [
        Self::Accuracy,
        Self::Precision,
        Self::Recall,
        Self::F1,
        Self::RocAuc,
        Self::LogLoss,
        Self::Mse,
        Self::Rmse,
        Self::Mae,
        Self::R2,
    ];

    /// The metrics of a task.
    pub const fn of(task: Task) -> &'static [Self] {
        match task {
            Task::Binary | Task::Multiclass => {
                &[Self::Accuracy, Self::Precision, Self::Recall, Self::F1, Self::RocAuc, Self::LogLoss]
            }
            Task::Regression => &[Self::Mse, Self::Rmse, Self::Mae, Self::R2],
        }
    }

    /// The one that decides where nobody chose: accuracy for classes, R² for numbers.
    ///
    /// These are what scikit-learn's `score` gives, they need no unit to be read, and they are defined for every model that
    /// names a class. Where classes are rare or errors cost differently, a gate should name a metric that says so.
    pub const fn primary(task: Task) -> Self {
        match task {
            Task::Binary | Task::Multiclass => Self::Accuracy,
            Task::Regression => Self::R2,
        }
    }

    /// Its name in files and manifests, in camelCase: `rocAuc`.
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// Its name for people: `ROC AUC`.
    pub const fn label(self) -> &'static str {
        self.entry().label
    }

    /// The least and the largest value it can have; either may be infinite.
    pub const fn range(self) -> (f64, f64) {
        self.entry().range
    }

    /// Which values are better.
    pub const fn direction(self) -> Direction {
        self.entry().direction
    }

    /// The tasks that it describes.
    pub const fn tasks(self) -> &'static [Task] {
        self.entry().tasks
    }

    const fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_serialise_as_their_names_in_the_table() {
        assert!(Metric::ALL.is_sorted());
        for metric in Metric::ALL {
            let json = format!("\"{}\"", metric.name());
            assert_eq!(serde_json::to_string(&metric).unwrap(), json);
            assert_eq!(serde_json::from_str::<Metric>(&json).unwrap(), metric);
        }
    }

    #[test]
    fn metrics_of_a_task_are_those_that_name_it() {
        for task in [Task::Binary, Task::Multiclass, Task::Regression] {
            let named: Vec<_> =
                Metric::ALL.into_iter().filter(|metric| metric.tasks().contains(&task)).collect();
            assert_eq!(named, Metric::of(task));
            assert!(named.contains(&Metric::primary(task)));
        }
    }

    #[test]
    fn better_is_higher_or_lower_and_never_equal_or_undefined() {
        assert!(Metric::Accuracy.direction().better(0.9, 0.8));
        assert!(Metric::Rmse.direction().better(0.8, 0.9));
        for direction in [Direction::Higher, Direction::Lower] {
            assert!(!direction.better(0.5, 0.5));
            assert!(!direction.better(f64::NAN, 0.5));
        }
    }
}
