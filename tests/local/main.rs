//! Tests of the whole command: each starts the real binary, as a user would, on loopback and in a folder of its own.

mod command;
mod examples;
mod manifests;
mod restart;
mod sources;
mod steps;
mod web;
