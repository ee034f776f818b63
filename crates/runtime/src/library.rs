//! Finding and loading ONNX Runtime's shared library, once per process.
//!
//! Where it is looked for, first hit wins:
//!
//! 1. the file that the environment variable `ORT_DYLIB_PATH` names. If it is set, nothing else is tried;
//! 2. the executable's own folder, then `../lib` seen from there;
//! 3. with the Cargo feature `development`: the folder that `cargo xtask onnxruntime` fills,
//!    `${XDG_CACHE_HOME:-$HOME/.cache}/modelwright/onnxruntime/1.32.0`.
//!
//! Never the system's search path: which library runs must not depend on what else is installed. This module is the only
//! place that reads these variables.

use std::ffi::{CStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use ort::environment::Environment;
use ort::logging::LogLevel;

use crate::{error::Error, telemetry};

/// The release that `cargo xtask onnxruntime` fetches.
pub const RELEASE: &str = "1.32.0";
/// The oldest release that works; releases before it were not tried.
pub const MINIMUM: &str = "1.20.0";

/// The library's file name on this platform.
const FILE: &str = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };

const HINT: &str = if cfg!(feature = "development") {
    "run `cargo xtask onnxruntime`, or name the library in ORT_DYLIB_PATH"
} else {
    "put it beside the executable, or name it in ORT_DYLIB_PATH"
};

static LOADED: OnceLock<Library> = OnceLock::new();
/// Only one thread at a time may try to load.
static LOADING: Mutex<()> = Mutex::new(());

/// The loaded library and its process-wide environment.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    version: String,
    took: Duration,
    environment: Environment,
}

impl Library {
    /// Loads the library where the module's documentation says, or returns the one that is already loaded.
    ///
    /// Telemetry is off, and what ONNX Runtime logs goes to `tracing` with the target `onnxruntime`. After an error it may
    /// be tried again.
    pub fn load() -> Result<&'static Self, Error> {
        if let Some(library) = LOADED.get() {
            return Ok(library);
        }
        let path = find(&Surroundings::read())?;
        Self::load_from(&path)
    }

    /// Loads this very file, or returns the library that is already loaded, whichever it is.
    pub fn load_from(path: &Path) -> Result<&'static Self, Error> {
        let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(library) = LOADED.get() {
            return Ok(library);
        }
        let library = open(path)?;
        tracing::info!(path = %library.path.display(), version = library.version, "loaded ONNX Runtime");
        Ok(LOADED.get_or_init(|| library))
    }

    /// The version that the library reports, such as `1.32.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The file that was loaded.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long loading took.
    pub const fn took(&self) -> Duration {
        self.took
    }

    pub(crate) const fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// What decides where the library is looked for.
#[derive(Debug, Default, Clone)]
struct Surroundings {
    /// `ORT_DYLIB_PATH`.
    variable: Option<OsString>,
    /// The folder of the executable.
    executable: Option<PathBuf>,
    /// The user's cache folder.
    cache: Option<PathBuf>,
}

impl Surroundings {
    fn read() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            variable: variable("ORT_DYLIB_PATH"),
            executable: std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf)),
            cache: variable("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".cache"))),
        }
    }
}

/// The places to look at, in order.
fn candidates(surroundings: &Surroundings) -> Vec<PathBuf> {
    if let Some(path) = &surroundings.variable {
        return vec![PathBuf::from(path)];
    }
    let mut places = Vec::new();
    if let Some(folder) = &surroundings.executable {
        places.push(folder.join(FILE));
        places.push(folder.join("../lib").join(FILE));
    }
    if cfg!(feature = "development")
        && let Some(cache) = &surroundings.cache
    {
        places.push(cache.join("modelwright/onnxruntime").join(RELEASE).join(FILE));
    }
    places
}

fn find(surroundings: &Surroundings) -> Result<PathBuf, Error> {
    let looked = candidates(surroundings);
    match looked.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        // The variable replaces every other place, so a library elsewhere would not help.
        None if surroundings.variable.is_some() => {
            Err(Error::LibraryMissing { looked, hint: "correct or unset ORT_DYLIB_PATH" })
        }
        None => Err(Error::LibraryMissing { looked, hint: HINT }),
    }
}

fn open(path: &Path) -> Result<Library, Error> {
    let started = Instant::now();
    // Resolved here because `ort` would look for a relative path beside the executable first.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let broken = |detail: String| Error::LibraryBroken { path: path.clone(), detail };
    let version = read_version(&path).map_err(&broken)?;
    if !new_enough(&version) {
        return Err(Error::LibraryTooOld { path, version, minimum: MINIMUM });
    }
    if !telemetry::is_refused() {
        tracing::warn!(
            "ONNX Runtime may report its use to its makers; set {}=1 to keep it from that",
            telemetry::VARIABLE
        );
    }
    let environment = ort::init_from(&path)
        .map_err(|error| broken(error.to_string()))?
        .with_name("modelwright")
        .with_telemetry(false)
        .with_logger(Arc::new(log))
        .build()
        .map_err(|error| broken(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    Ok(Library { path, version, took: started.elapsed(), environment })
}

/// Asks the library for its version, before anything else of it is used.
#[expect(
    unsafe_code,
    reason = "a shared library is code: its entry point can only be called through a pointer"
)]
fn read_version(path: &Path) -> Result<String, String> {
    // SAFETY: loading runs the file's initialisers. The file is one that the installation or the user named as ONNX
    // Runtime, and running it is the purpose.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| loader_message(&error))?;
    // SAFETY: the symbol has had this signature since ONNX Runtime 1.0 (`onnxruntime_c_api.h`).
    let entry = unsafe {
        library.get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
    }
    .map_err(|_| "it does not export OrtGetApiBase".to_owned())?;
    // SAFETY: it takes nothing and returns a pointer to a static.
    let base = unsafe { entry() };
    if base.is_null() {
        return Err("OrtGetApiBase returned nothing".to_owned());
    }
    // SAFETY: `base` is not null, and its second member returns a static string that ends in NUL.
    let version = unsafe { CStr::from_ptr(((*base).GetVersionString)()) };
    Ok(version.to_string_lossy().into_owned())
}

/// What the dynamic loader said, which names the file that is missing; the error itself says only what was tried.
pub(crate) fn loader_message(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Whether `version` is [`MINIMUM`] or newer; what cannot be read is not.
fn new_enough(version: &str) -> bool {
    let numbers = |text: &str| {
        let mut parts = text.split(|character: char| !character.is_ascii_digit());
        let mut next = || parts.next().and_then(|part| part.parse::<u32>().ok());
        Some((next()?, next()?))
    };
    numbers(version) >= numbers(MINIMUM)
}

/// ONNX Runtime's log lines. Its errors come back to the caller as well, so they are no more than debugging here.
fn log(level: LogLevel, _category: &str, _id: &str, location: &str, message: &str) {
    let message = message.trim_end();
    match level {
        LogLevel::Warning => tracing::warn!(target: "onnxruntime", location, "{message}"),
        LogLevel::Fatal => tracing::error!(target: "onnxruntime", location, "{message}"),
        LogLevel::Error | LogLevel::Info | LogLevel::Verbose => {
            tracing::debug!(target: "onnxruntime", location, "{message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_replaces_every_other_place() {
        let surroundings = Surroundings {
            variable: Some("/opt/ort.so".into()),
            executable: Some("/usr/bin".into()),
            cache: Some("/home/a/.cache".into()),
        };
        assert_eq!(candidates(&surroundings), [PathBuf::from("/opt/ort.so")]);
    }

    #[test]
    fn without_it_the_executables_folder_comes_first() {
        let surroundings = Surroundings {
            executable: Some("/usr/bin".into()),
            cache: Some("/c".into()),
            ..Default::default()
        };
        let places = candidates(&surroundings);
        assert_eq!(places[0], Path::new("/usr/bin").join(FILE));
        assert_eq!(places[1], Path::new("/usr/bin/../lib").join(FILE));
        assert_eq!(places.len(), if cfg!(feature = "development") { 3 } else { 2 });
    }

    #[test]
    fn a_missing_library_names_every_place_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let surroundings = Surroundings { executable: Some(folder.path().into()), ..Default::default() };
        let message = find(&surroundings).unwrap_err().to_string();
        assert!(message.contains(&folder.path().join(FILE).display().to_string()), "{message}");
        assert!(message.contains("ORT_DYLIB_PATH"), "{message}");
        #[cfg(feature = "development")]
        assert!(message.contains("cargo xtask onnxruntime"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_library_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libonnxruntime.so");
        std::fs::write(&path, b"hello").unwrap();
        let error = open(&path).unwrap_err();
        assert_eq!(error.reason(), "LibraryBroken");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_library_is_told_from_onnx_runtime() {
        let error = read_version(Path::new("libc.so.6")).unwrap_err();
        assert_eq!(error, "it does not export OrtGetApiBase");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_old_library_is_refused_before_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let (source, path) = (folder.path().join("old.c"), folder.path().join("libonnxruntime.so"));
        let code = r#"
            static const char *version(void) { return "1.16.3"; }
            static struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { 0, version };
            const void *OrtGetApiBase(void) { return &base; }
        "#;
        std::fs::write(&source, code).unwrap();
        // Rust links with the same compiler.
        let compiled =
            std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&path, &source]).status();
        assert!(compiled.unwrap().success());
        let error = open(&path).unwrap_err();
        assert_eq!(error.reason(), "LibraryTooOld");
        assert!(error.to_string().contains("1.16.3, which is too old; install 1.20.0 or newer"), "{error}");
    }

    #[test]
    fn versions_compare_by_number() {
        for old in ["1.9.0", "1.19.2", "0.30.0", "", "nonsense"] {
            assert!(!new_enough(old), "{old}");
        }
        for new in ["1.20.0", "1.32.0", "1.100.1", "2.0.0", "1.33.0-dev"] {
            assert!(new_enough(new), "{new}");
        }
    }
}
