//! Which inputs a prediction comes from.
//!
//! The *players* of an explanation are the columns of a row. What a model says is compared with what it says of a
//! *baseline*, one row or several, in which every player has a neutral value.
//!
//! | Function | What | Needs | Adds up |
//! |---|---|---|---|
//! | [`integrated_gradients`] | gradients, averaged along the way from the baseline to the row | a network's gradients | up to the steps |
//! | [`shapley_values`] | what a player adds, averaged over the orders in which players may come | any model | always |
//! | [`sensitivities`] | what changes if one player alone gets its baseline | any model | no |
//!
//! "Adds up" means that the attributions and the base value give the prediction; [`Explanation::additivity_gap`] is what
//! is missing. Sensitivities are no attributions: two columns that stand in for each other both get none.
//!
//! Nothing here does I/O, waits or reads a clock. A model is a function from a batch to a future of its results, which the
//! caller hands in; it never gets more than [`Batch`] rows at once, and the next batch only after the last, so that an
//! explanation leaves room for other requests. The same arguments give the same result.
//!
//! ```
//! use modelwright_explain::{Batch, Coalition, ShapleySettings, shapley_values};
//!
//! // A model of two columns, the row (3, 5), and the baseline (1, 1).
//! let model = |row: Vec<f64>| row[0] * row[1];
//! let evaluate = |coalitions: Vec<Coalition>| async move {
//!     Ok::<_, String>(coalitions.iter().map(|players| model(players.mix(&[3.0, 5.0], &[1.0, 1.0]))).collect())
//! };
//! let settings = ShapleySettings { max_evaluations: 100, background_rows: 1, batch: Batch::default(), seed: 0 };
//! # futures::FutureExt::now_or_never(async {
//! let explanation = shapley_values(2, &settings, evaluate).await?;
//! let attributions: Vec<f64> = explanation.attributions.iter().map(|attribution| attribution.value).collect();
//! assert_eq!((explanation.base_value, attributions, explanation.prediction), (1.0, vec![6.0, 8.0], 15.0));
//! # Ok::<(), modelwright_explain::Error<String>>(())
//! # }).unwrap().unwrap();
//! ```
#![forbid(unsafe_code)]

mod coalition;
mod error;
mod explanation;
mod gradients;
mod permutation;
mod sensitivity;
mod shapley;

pub use coalition::{Batch, Coalition};
pub use error::Error;
pub use explanation::{Attribution, Explanation, Method};
pub use gradients::{IntegratedGradientsSettings, MeanGradient, integrated_gradients, midpoints};
pub use sensitivity::sensitivities;
pub use shapley::{
    EXACT_PLAYERS, ShapleySettings, enumerated_evaluations, sampled_evaluations, shapley_values,
    usual_evaluations,
};

#[cfg(test)]
mod fixtures;
