//! Where things that are built or downloaded once are kept between runs.

use std::path::PathBuf;

use anyhow::Context as _;

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
