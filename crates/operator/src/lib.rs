//! The controller: makes of each Model what it describes, and says what is going on.
//!
//! One pass over a Model has four steps, and each says what it may do:
//!
//! | Step | What | I/O |
//! |---|---|---|
//! | [`observe`] | what is there, from stores that watches keep | none here; the watches are the controller's |
//! | [`plan`] | what shall be there, and the first thing that is not as it shall be | none: no client, no clock, no environment |
//! | [`apply`] | writes the difference | the API server |
//! | [`report`] | says it in the Model's status and in Events, if it changed | computes; the writing is in [`controller`] |
//!
//! Around it: [`scaler`] for autoscalers that ask, [`settings`] of one operator, [`causes`] of what pods and Jobs suffer from,
//! [`why`] for people who ask, [`controller`] with its watches and retries, [`lease`], [`metrics`], and the [`clock`] by which
//! passes decide.
#![forbid(unsafe_code)]

pub mod apply;
pub mod causes;
pub mod client;
pub mod clock;
pub mod controller;
pub mod error;
mod facts;
pub mod health;
pub mod lease;
pub mod metrics;
pub mod observe;
pub mod plan;
pub mod pull;
pub mod report;
pub mod scaler;
pub mod settings;
pub mod startup;
pub mod stores;
pub mod why;
