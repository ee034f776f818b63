//! What a manifest means by `valAccuracy`.

use std::fmt;

use modelwright_api::training::Task;

use super::metric::Metric;

/// The rows that a metric is of.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Set {
    /// The validation rows: `val`.
    Validation,
    /// The test rows: `test`.
    Test,
}

impl Set {
    /// How names of its metrics begin.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Validation => "val",
            Self::Test => "test",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Named {
    /// What the training minimises, without its penalties.
    Loss,
    /// A metric.
    Metric(Metric),
}

impl Named {
    const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Metric(metric) => metric.name(),
        }
    }
}

/// A metric of a set of rows. Displays as manifests write it: `valAccuracy`, `testRmse`, `valLoss`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MetricName {
    /// The rows.
    pub set: Set,
    /// What is measured.
    pub named: Named,
}

impl MetricName {
    /// A metric of the validation rows.
    pub const fn validation(metric: Metric) -> Self {
        Self { set: Set::Validation, named: Named::Metric(metric) }
    }

    /// A metric of the test rows.
    pub const fn test(metric: Metric) -> Self {
        Self { set: Set::Test, named: Named::Metric(metric) }
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, rest) = self.named.name().split_at(1);
        write!(formatter, "{}{}{rest}", self.set.prefix(), first.to_ascii_uppercase())
    }
}

/// Why a metric's name is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// No metric has this name.
    #[error("there is no metric \"{name}\"{}; write one of {known}", suggestion(nearest.as_deref()))]
    UnknownMetric {
        /// What was written.
        name: String,
        /// What it probably means.
        nearest: Option<String>,
        /// What may be written.
        known: String,
    },
    /// The metric is one of other tasks.
    #[error("\"{name}\" is a metric for {tasks} and the task is {task:?}; write one of {known}")]
    MetricOfAnotherTask {
        /// What was written.
        name: String,
        /// The tasks that the metric is for.
        tasks: String,
        /// The task.
        task: Task,
        /// What may be written.
        known: String,
    },
    /// A decision that looks at the test rows.
    #[error(
        "earlyStopping.monitor is \"{name}\", and test rows are there to be measured once, when everything is decided; write a \
         metric of the validation rows, such as valLoss"
    )]
    MonitorOfTest {
        /// What was written.
        name: String,
    },
}

crate::reasons::reasons! {
    EvaluateError:
    UnknownMetric => "UnknownMetric", InvalidConfiguration;
    MetricOfAnotherTask => "MetricOfAnotherTask", InvalidConfiguration;
    MonitorOfTest => "MonitorOfTest", InvalidConfiguration;
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(" (is \"{nearest}\" meant?)"))
}

/// The metric that `text` names in a task, or in any where the task is not known yet.
pub fn parse_name(text: &str, task: Option<Task>) -> Result<MetricName, EvaluateError> {
    let of_task: Vec<MetricName> = names(task.map_or(&Metric::ALL[..], Metric::of)).collect();
    if let Some(&found) = of_task.iter().find(|name| name.to_string() == text) {
        return Ok(found);
    }
    let known = of_task.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let elsewhere = names(&Metric::ALL).find(|name| name.to_string() == text);
    Err(match (elsewhere, task) {
        (Some(MetricName { named: Named::Metric(metric), .. }), Some(task)) => {
            EvaluateError::MetricOfAnotherTask {
                name: text.to_owned(),
                tasks: metric
                    .tasks()
                    .iter()
                    .map(|task| format!("{task:?}"))
                    .collect::<Vec<_>>()
                    .join(" and "),
                task,
                known,
            }
        }
        _ => EvaluateError::UnknownMetric {
            name: text.chars().take(LONGEST).collect(),
            nearest: nearest(text, &of_task).map(|name| name.to_string()),
            known,
        },
    })
}

/// What early stopping watches, by its name.
pub fn parse_monitor(text: &str, task: Option<Task>) -> Result<Named, EvaluateError> {
    match parse_name(text, task)? {
        MetricName { set: Set::Validation, named } => Ok(named),
        MetricName { set: Set::Test, .. } => Err(EvaluateError::MonitorOfTest { name: text.to_owned() }),
    }
}

/// No name is longer, so what is longer is not compared, and is shortened in messages.
const LONGEST: usize = 64;

fn names(metrics: &[Metric]) -> impl Iterator<Item = MetricName> {
    [Set::Validation, Set::Test].into_iter().flat_map(move |set| {
        let metrics = metrics.iter().map(|&metric| Named::Metric(metric));
        // The loss is measured where it decides.
        let loss = (set == Set::Validation).then_some(Named::Loss);
        loss.into_iter().chain(metrics).map(move |named| MetricName { set, named })
    })
}

/// The name that is probably meant, if one is near enough. A name without its set means the validation rows.
fn nearest(written: &str, known: &[MetricName]) -> Option<MetricName> {
    if written.len() > LONGEST {
        return None;
    }
    let written = written.to_lowercase();
    let distance = |name: &MetricName| {
        let whole = name.to_string().to_lowercase();
        let alone = &whole[name.set.prefix().len()..];
        let distance = strsim::damerau_levenshtein(&written, &whole);
        let distance = distance.min(strsim::damerau_levenshtein(&written, alone));
        (distance <= (alone.len() / 3).max(1)).then_some((distance, *name))
    };
    known.iter().filter_map(distance).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use modelwright_api::contract::ExitCode;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("valAccuracy", Task::Binary, Set::Validation, Named::Metric(Metric::Accuracy))]
    #[case("valRocAuc", Task::Multiclass, Set::Validation, Named::Metric(Metric::RocAuc))]
    #[case("testRmse", Task::Regression, Set::Test, Named::Metric(Metric::Rmse))]
    #[case("testR2", Task::Regression, Set::Test, Named::Metric(Metric::R2))]
    #[case("valLoss", Task::Regression, Set::Validation, Named::Loss)]
    fn names_are_read_and_written_alike(
        #[case] text: &str,
        #[case] task: Task,
        #[case] set: Set,
        #[case] named: Named,
    ) {
        let name = parse_name(text, Some(task)).unwrap();
        assert_eq!(name, MetricName { set, named });
        assert_eq!(name.to_string(), text);
    }

    #[rstest]
    #[case("valAcuracy", Some("valAccuracy"))]
    #[case("accuracy", Some("valAccuracy"))]
    #[case("valaccuracy", Some("valAccuracy"))]
    #[case("loss", Some("valLoss"))]
    #[case("f1", Some("valF1"))]
    #[case("testAuc", None)]
    #[case("", None)]
    #[case("colour", None)]
    fn unknown_name_is_refused_with_the_nearest_one(#[case] text: &str, #[case] nearest: Option<&str>) {
        let error = parse_name(text, Some(Task::Binary)).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("UnknownMetric", ExitCode::InvalidConfiguration));
        match &error {
            EvaluateError::UnknownMetric { nearest: found, .. } => assert_eq!(found.as_deref(), nearest),
            EvaluateError::MetricOfAnotherTask { .. } | EvaluateError::MonitorOfTest { .. } => {
                panic!("{error}")
            }
        }
    }

    #[test]
    fn message_says_what_to_write() {
        let error = parse_name("valAcuracy", Some(Task::Binary)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no metric \"valAcuracy\" (is \"valAccuracy\" meant?); write one of valLoss, valAccuracy, \
             valPrecision, valRecall, valF1, valRocAuc, valLogLoss, testAccuracy, testPrecision, testRecall, \
             testF1, testRocAuc, testLogLoss"
        );
        let error = parse_name("valAccuracy", Some(Task::Regression)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"valAccuracy\" is a metric for Binary and Multiclass and the task is Regression; write one of valLoss, \
             valMse, valRmse, valMae, valR2, testMse, testRmse, testMae, testR2"
        );
    }

    #[test]
    fn huge_name_is_shortened_and_not_compared() {
        let error = parse_name(&"valAccuracy".repeat(10_000), Some(Task::Binary)).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }

    #[test]
    fn test_rows_have_no_loss_and_are_not_watched() {
        assert!(parse_name("testLoss", None).is_err());
        assert_eq!(parse_monitor("valLoss", None).unwrap(), Named::Loss);
        assert_eq!(parse_monitor("valRmse", None).unwrap(), Named::Metric(Metric::Rmse));
        let error = parse_monitor("testAccuracy", Some(Task::Binary)).unwrap_err();
        assert_eq!((error.reason(), error.exit_code()), ("MonitorOfTest", ExitCode::InvalidConfiguration));
        assert!(error.to_string().contains("valLoss"), "{error}");
    }
}
