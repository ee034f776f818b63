//! The whole server over real sockets: one server per test, on ports that the system picks.
//!
//! The tests need ONNX Runtime; without it they fail with the command that gets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod admin;
mod harness;
mod hostile;
mod lifecycle;
mod overload;
mod protocol;
mod trained;
