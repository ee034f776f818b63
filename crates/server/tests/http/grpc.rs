//! gRPC over real sockets, with tonic's client.

mod access;
mod client;
mod errors;
mod health;
mod infer;
mod services;
