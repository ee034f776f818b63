//! Where things that are built or downloaded once are kept between runs, and how they are told apart.

use std::{fmt::Write as _, path::PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// The project's cache folder: `$XDG_CACHE_HOME/modelwright`, else `$HOME/.cache/modelwright`.
///
/// An empty or relative `XDG_CACHE_HOME` counts as unset, as the XDG Base Directory Specification asks. The
/// `development` feature of `modelwright-runtime` looks for ONNX Runtime under the same folder:
/// `onnxruntime/<version>/libonnxruntime.so` (`.dylib` on macOS).
///
/// # Errors
/// Fails if neither variable says where the cache is.
pub fn cache_folder() -> anyhow::Result<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("modelwright"))
        .context("no cache folder: set HOME or XDG_CACHE_HOME to an absolute path")
}

/// The SHA-256 of `content` in lower-case hexadecimal, as `sha256sum` prints it.
pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_as_sha256sum_prints_it() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
