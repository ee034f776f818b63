//! The operator on a real API server: what it makes, what it says, what it leaves alone. Pods are scripted.
mod failures;
mod lifecycle;
mod ownership;
mod resilience;
mod rights;
mod story;
