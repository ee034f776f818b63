//! Sources and stores as they are in the world: web servers with their habits, S3, Azure and Google servers, disks.
#![allow(clippy::panic, reason = "tests fail by panicking; helpers outside of #[test] functions too")]
#![allow(clippy::unwrap_used, reason = "the same")]
#![allow(clippy::expect_used, reason = "the same")]

#[path = "stores/data.rs"]
mod data;
#[path = "stores/document.rs"]
mod document;
#[path = "stores/fetching.rs"]
mod fetching;
#[path = "stores/fixture.rs"]
mod fixture;
#[path = "stores/identity.rs"]
mod identity;
#[path = "stores/publishing.rs"]
mod publishing;
#[path = "stores/resolving.rs"]
mod resolving;
#[path = "stores/retention.rs"]
mod retention;
#[path = "stores/servers.rs"]
mod servers;
#[path = "stores/training.rs"]
mod training;
#[path = "stores/web.rs"]
mod web;
#[path = "stores/web_server.rs"]
mod web_server;
