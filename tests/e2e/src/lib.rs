//! The harness of the tests that need a real Kubernetes.
//!
//! - [`cluster`]: the connection to the cluster that `KUBECONFIG` names.
//! - [`namespace`]: a namespace per test, a report of what went on in it when the test fails, and a look for secrets.
//! - [`apply`], [`wait`]: create objects, and wait for what becomes of them; [`crd`]: the definition of Models.
//! - [`images`]: what pods run; [`storage`]: an S3 server for what they read; [`forward`]: ports of pods and Services here.
//! - [`pods`]: what tests make and read of pods; [`processes`]: those of pods, where the node is this machine.
//! - [`scripted_node`]: a node that runs nothing and reports what a test says.
//! - [`faults`]: an API server proxy that fails when a test says so.
//! - [`autoscaler`]: asks an operator as KEDA does.
//! - [`outage`]: parts of a cluster that are taken away for a while.
//! - [`disruption`]: requests that are sent and lost while pods come, go and are killed.
//! - [`load`]: what a piece of work costs the API server; [`settings`]: how much a bench is to do.
#![forbid(unsafe_code)]

pub mod apply;
pub mod autoscaler;
pub mod chart;
pub mod cluster;
mod contents;
pub mod crd;
pub mod disruption;
pub mod faults;
pub mod forward;
pub mod images;
mod leaks;
pub mod load;
pub mod namespace;
pub mod operator;
pub mod outage;
pub mod pods;
pub mod processes;
mod report;
pub mod scripted_node;
pub mod settings;
pub mod storage;
pub mod wait;
