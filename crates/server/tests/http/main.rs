//! The whole server over real sockets: one server per test, on ports that the system picks.
//!
//! The tests need ONNX Runtime; without it they fail with the command that gets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod access_log;
mod admin;
mod compression;
mod connections;
mod control;
mod documents;
mod explain;
mod grpc;
mod harness;
mod hostile;
mod lifecycle;
mod overload;
mod payloads;
mod protocol;
mod receiver;
mod smuggling;
mod tracing;
mod trained;
