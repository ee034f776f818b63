//! Object storage servers for tests: real programs that speak the wire protocols of S3, Azure Blob Storage and Google
//! Cloud Storage, each a process of its own on a loopback port with its data in a temporary folder.
//!
//! `cargo xtask test-servers` installs the programs; their versions are pinned in `go/` and `npm/` beside this crate.
//! Each starter answers `Ok(None)` and says so on standard error where its program is not installed, so that a test
//! without it is skipped by name:
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let Some(server) = modelwright_test_servers::versitygw()? else { return Ok(()) };
//! let uri = server.uri("bc/model.onnx"); // s3://models/bc/model.onnx
//! # Ok(())
//! # }
//! ```
//!
//! With [`REQUIRE`] set to `1` a missing program is an error: continuous integration sets it, so that nothing is skipped there.
#![forbid(unsafe_code)]

mod cache;
mod process;
mod program;
mod server;

pub use cache::{cache_folder, sha256};
pub use program::{Program, REQUIRE, Toolchain, required};
pub use server::{Server, azurite, fake_gcs, s3rver, versitygw};
