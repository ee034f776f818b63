//! Tests with pods that run.
mod serving;
