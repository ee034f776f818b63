//! Tests of the clusters that `cargo xtask cluster` starts: what they leave, what they survive, where their packets go.
//! They need root and start clusters themselves, one test at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod installation;
mod isolation;
mod machine;
mod outages;
mod recovery;
mod side_by_side;
