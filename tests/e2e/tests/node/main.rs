//! Tests with pods that run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
mod autoscaling;
mod autoscaling_signals;
mod disk;
mod disruption;
mod network;
mod operator;
mod serving;
mod training;
