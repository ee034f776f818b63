//! The built-in trainer: rows of data become a dense network in ONNX, with its metrics, samples and report.
//!
//! | Module | Question it answers |
//! |---|---|
//! | [`data`] | What do the files hold, and which rows are for what? |
//! | [`features`] | Which numbers does the network see of a row? |
//! | [`network`] | What does it compute, and what are its gradients? |
//! | [`training`] | Which steps lead to the final weights, and how are they continued after an interruption? |
//! | [`evaluate`] | How good is it, and how good is something simple? |
//! | [`export`] | What is written into `model.onnx`, and does ONNX Runtime compute the same? |
//! | [`report`] | What does a person want to see? |
//! | [`gate`] | May the revision be served? |
//! | [`pipeline`] | In which order does all of this happen? |
//! | [`reasons`] | What can be wrong, in one word? |
//! | [`container`] | Can the model of a user's own training be served? |
//!
//! Every number that ends up in a revision comes from arithmetic whose order is fixed here: the same data, the same
//! settings and the same [`NUMERICS_VERSION`] give the same bytes on every machine of one
//! [SIMD class](network::simd_class).
#![forbid(unsafe_code)]

pub mod container;
pub mod data;
pub mod evaluate;
pub mod export;
pub mod features;
pub mod gate;
pub mod matrix;
pub mod network;
pub mod pipeline;
pub mod random;
pub mod reasons;
pub mod report;
pub mod table;
pub mod training;

/// The version of the trainer's arithmetic. It changes whenever the same inputs would give other bytes.
pub const NUMERICS_VERSION: &str = "2";
