//! How good a model is, and how good something simple is.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`metric`] | Which numbers describe how good predictions are, and in which range is each? |
//! | [`name`] | Which of them does a manifest mean by `valAccuracy`? |
//! | [`measure()`] | What are they for these predictions? |
//! | [`curves`] | Where do the predictions go wrong? |
//! | [`baseline`] | How good is a model that anybody could fit? |
//! | [`importance()`] | Which columns does the model rely on? |
//!
//! All of it computes in f64 and in one order. Definitions are those of scikit-learn; where it would give a number to
//! something undefined, with a warning, there is none here.

pub mod baseline;
mod classification;
pub mod curves;
pub mod importance;
pub mod measure;
pub mod metric;
pub mod name;
mod regression;
#[cfg(test)]
mod tests;

pub use baseline::{Baseline, Baselines};
pub use classification::label;
pub use curves::{RocCurve, confusion, residuals, roc};
pub use importance::{Importance, importance};
pub use measure::{measure, single};
pub use metric::{Direction, Metric};
pub use name::{EvaluateError, MetricName, Named, Set, parse_monitor, parse_name};
