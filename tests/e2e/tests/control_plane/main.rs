//! Tests against a control plane whose nodes are scripted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
mod faults;
mod manifests;
mod objects;
mod operator;
mod scale;
mod scripted_node;
