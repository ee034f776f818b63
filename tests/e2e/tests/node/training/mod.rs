//! Trainings on a real node: from rows in a bucket to an endpoint, through kills, and by a container of the user's.
mod builtin;
mod here;
mod kills;
mod own;
mod progress;
mod retention;
mod store;
mod stores;
mod story;
mod torchrun;
mod volumes;
