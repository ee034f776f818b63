//! Tests of the whole command: each starts the real binary, as a user would, on loopback and in a folder of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends by panicking, in its harness too"
)]

mod access;
mod bad_data;
mod clients;
mod command;
mod examples;
mod manifests;
mod restart;
mod sources;
mod steps;
mod training;
mod training_container;
mod training_pod;
mod web;
mod weights;
