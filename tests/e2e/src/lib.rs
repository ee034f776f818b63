//! The harness of the tests that need a real Kubernetes.
//!
//! - [`cluster`]: the connection to the cluster that `KUBECONFIG` names.
//! - [`namespace`]: a namespace per test, and a report of what went on in it when the test fails.
//! - [`apply`], [`wait`]: create objects, and wait for what becomes of them; [`crd`]: the definition of Models.
//! - [`images`]: what pods run; [`storage`]: an S3 server for what they read; [`forward`]: ports of pods and Services here.
//! - [`scripted_node`]: a node that runs nothing and reports what a test says.
//! - [`faults`]: an API server proxy that fails when a test says so.
//! - [`load`]: what a piece of work costs the API server.
#![forbid(unsafe_code)]

pub mod apply;
pub mod chart;
pub mod cluster;
pub mod crd;
pub mod faults;
pub mod forward;
pub mod images;
pub mod load;
pub mod namespace;
pub mod operator;
mod report;
pub mod scripted_node;
pub mod storage;
pub mod wait;
