//! The operator on a real API server: what it makes, what it says, what it leaves alone. Pods are scripted.
mod artifacts;
mod autoscaling;
mod death;
mod failures;
mod lifecycle;
mod ownership;
mod platform;
mod resilience;
mod rights;
mod scaler;
mod story;
mod training;
