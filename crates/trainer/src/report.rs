//! What people see of a training: one page of HTML.
//!
//! The page is a file of the revision, so its bytes are hashed: it holds no time, no path and no version, every collection is
//! drawn in the order in which it is given, and numbers are written with correctly rounded decimals. It refers to nothing
//! outside itself and runs no script. Names come from data that others made, so every text is escaped and cut to a bounded
//! length.

mod axis;
mod chart;
mod classification;
mod columns;
mod content;
mod html;
mod importance;
mod learning;
mod number;
mod page;
mod regression;
mod summary;
#[cfg(test)]
mod tests;

use modelwright_api::contract::ExitCode;

pub use content::{
    Better, ColumnSummary, ColumnValues, Epoch, Evaluation, FeatureImportance, Importance, Learning,
    MetricRow, Report, RocCurve, Rows,
};

/// Writes the page. The same report gives the same bytes on every machine.
pub fn render(report: &Report<'_>) -> Result<String, ReportError> {
    report.check()?;
    page::page(report)
}

/// Why there is no page. Both are mistakes of this program.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Parts of the report contradict each other.
    #[error("the report contradicts itself: {0}")]
    Inconsistent(String),
    /// A chart cannot be drawn.
    #[error("the chart {chart:?} of the report cannot be drawn: {cause}")]
    Drawing {
        /// The chart's title.
        chart: String,
        /// What the drawing library says.
        cause: String,
    },
}

impl ReportError {
    /// The reason in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Inconsistent(_) | Self::Drawing { .. } => "Bug",
        }
    }

    /// The exit code of a command that ends with this.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Inconsistent(_) | Self::Drawing { .. } => ExitCode::Bug,
        }
    }
}
