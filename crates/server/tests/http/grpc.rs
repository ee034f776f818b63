//! gRPC over real sockets, with tonic's client.

mod access;
pub(crate) mod client;
mod errors;
mod health;
mod infer;
mod services;
