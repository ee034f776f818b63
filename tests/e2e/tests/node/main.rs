//! Tests with pods that run.
mod operator;
mod serving;
