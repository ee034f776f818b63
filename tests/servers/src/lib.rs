//! Object storage servers for tests, each a process of its own on a loopback port.
#![forbid(unsafe_code)]

mod cache;

pub use cache::cache_folder;
