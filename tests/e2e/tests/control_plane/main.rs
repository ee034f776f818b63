//! Tests against a control plane whose nodes are scripted.
mod faults;
mod manifests;
mod objects;
mod operator;
mod scale;
mod scripted_node;
