//! The images that tests run.
//!
//! `cargo xtask cluster` loads them into the nodes that it starts, under `localhost/`. For another cluster push them to a
//! registry that it can pull from and name that, with its path, in [`REGISTRY`].

/// The environment variable with the registry of the images.
pub const REGISTRY: &str = "MODELWRIGHT_E2E_REGISTRY";

/// The image under test.
pub fn modelwright() -> String {
    named("modelwright", env!("CARGO_PKG_VERSION"))
}

/// Shell, `wget` and `nslookup` for test clients.
pub fn busybox() -> String {
    named("busybox", "1")
}

/// PyTorch with the script of its example; there only where `cargo xtask e2e node --examples` made it.
pub fn pytorch_training() -> String {
    named("pytorch-training", "1")
}

/// `manifest` with the images of the registry instead of those loaded into a node.
pub fn in_registry(manifest: &str) -> String {
    manifest.replace("localhost/", &format!("{}/", registry()))
}

fn named(image: &str, tag: &str) -> String {
    format!("{}/{image}:{tag}", registry())
}

fn registry() -> String {
    std::env::var(REGISTRY).unwrap_or_else(|_| "localhost".to_owned())
}
