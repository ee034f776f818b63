//! The words for what can be wrong with data, settings and the trainer itself, and how a command ends because of each.

use modelwright_api::contract::ExitCode;

use crate::data::DataError;
use crate::evaluate::EvaluateError;
use crate::export::ExportError;
use crate::export::replay::ReplayError;
use crate::export::schema::SchemaError;
use crate::export::scorer::ScoreError;
use crate::features::FeaturesError;
use crate::training::TrainingError;

/// Gives each variant of an error its reason and its exit code, and makes the list of all of them from the same lines.
macro_rules! reasons {
    ($error:ident: $($variant:ident => $reason:literal, $exit:ident;)*) => {
        impl $error {
            /// Every reason with the exit code of a command that ends because of it.
            pub const REASONS: &[(&str, modelwright_api::contract::ExitCode)] =
                &[$(($reason, modelwright_api::contract::ExitCode::$exit)),*];

            /// Why, as one word in `CamelCase` for termination messages, conditions and metrics.
            pub const fn reason(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $reason,)*
                }
            }

            /// How a command ends because of it.
            pub const fn exit_code(&self) -> modelwright_api::contract::ExitCode {
                match self {
                    $(Self::$variant { .. } => modelwright_api::contract::ExitCode::$exit,)*
                }
            }
        }
    };
}

pub(crate) use reasons;

/// Every reason for which the built-in trainer ends without a revision, with its exit code; those of its gate, of stores and of
/// ONNX Runtime come besides.
pub fn all() -> impl Iterator<Item = (&'static str, ExitCode)> {
    let each = [
        DataError::REASONS,
        FeaturesError::REASONS,
        EvaluateError::REASONS,
        TrainingError::REASONS,
        ExportError::REASONS,
        ReplayError::REASONS,
        SchemaError::REASONS,
        ScoreError::REASONS,
    ];
    each.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use modelwright_api::training::GATE_REASONS;

    use super::*;
    use crate::gate::Refusal;

    /// What the command says around this crate.
    const OF_THE_COMMAND: [&str; 3] = ["FormatUnknown", "MetricsMissing", "MetricsUnusable"];

    /// The words in backticks of a cell.
    fn words(cell: &str) -> impl Iterator<Item = String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned)
    }

    fn page() -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cluster-training.md");
        std::fs::read_to_string(path).unwrap()
    }

    /// The reasons of the built-in trainer's own table.
    fn documented() -> BTreeSet<String> {
        let page = page();
        let section = page.split("### The data and settings of the built-in trainer").nth(1).unwrap();
        let section = section.split("\n### ").next().unwrap();
        let rows = section.lines().skip_while(|line| !line.starts_with("| REASON |")).skip(2);
        let cells = rows.take_while(|line| line.starts_with('|')).map(|row| row.split('|').nth(1).unwrap());
        cells.flat_map(words).collect()
    }

    #[test]
    fn page_has_a_row_for_every_reason_that_people_can_do_something_about() {
        let theirs = |(_, exit): &(&str, ExitCode)| !matches!(exit, ExitCode::Bug | ExitCode::Preempted);
        let ours = all().filter(theirs).map(|(reason, _)| reason).chain(OF_THE_COMMAND);
        let ours: BTreeSet<String> = ours.map(str::to_owned).collect();
        assert_eq!(documented(), ours);
    }

    #[test]
    fn page_names_every_mistake_of_ours_beside_its_exit_code() {
        let page = page();
        let row = page.lines().find(|line| line.starts_with("| 70 |")).unwrap();
        let named: BTreeSet<String> = words(row.split('|').nth(2).unwrap()).collect();
        for (reason, _) in all().filter(|(_, exit)| *exit == ExitCode::Bug) {
            assert!(named.contains(reason), "docs/cluster-training.md, exit code 70: {reason}");
        }
    }

    #[test]
    fn reason_means_one_exit_code() {
        for (reason, exit) in all() {
            assert!(all().all(|(other, code)| other != reason || code == exit), "{reason}");
        }
    }

    #[test]
    fn gate_has_the_reasons_that_the_operator_knows() {
        let (metric, name, id) = ("valAccuracy".to_owned(), "logistic".to_owned(), "a".to_owned());
        let refusals = [
            Refusal::NotMeasured { metric: metric.clone(), why: "" },
            Refusal::WorseThanBaseline { metric: metric.clone(), value: 0.1, name, baseline: 0.2 },
            Refusal::WorseThanActive { metric, value: 0.1, id: id.clone(), active: 0.2 },
            Refusal::NotComparable { id, why: String::new() },
        ];
        assert_eq!(refusals.map(|refusal| refusal.reason()), GATE_REASONS);
    }
}
