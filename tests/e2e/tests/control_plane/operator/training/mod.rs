//! Trainings: what is made for one, what follows each end of it, and that none runs twice.
mod failures;
mod gate;
mod queue;
mod resilience;
mod restore;
mod shape;
mod story;
mod triggers;
