//! KEDA, compiled from the Go module in `tests/keda` and kept in the cache folder by a hash of it. No cluster needs it; its own
//! tests do.

use std::{
    fs::{self, File},
    path::PathBuf,
    time::Instant,
};

use anyhow::Context as _;
use modelwright_test_servers::{cache_folder, sha256};

use crate::go;

const MODULE: &str = "github.com/kedacore/keda/v2";
/// What is moved into place last, by which a finished build is known.
const LAST: &str = "adapter";

/// A KEDA of one version.
pub(crate) struct Keda {
    /// Where its programs `operator` and `adapter` are.
    pub(crate) programs: PathBuf,
    /// Where the definitions of its resources are.
    pub(crate) definitions: PathBuf,
}

impl Keda {
    /// Compiles it, if it is not there: more than 3,000 packages, half an hour of two processors.
    pub(crate) fn build() -> anyhow::Result<Self> {
        let module = crate::root().join("tests/keda");
        let mut sources = Vec::new();
        for file in ["go.mod", "go.sum"] {
            sources.extend(
                fs::read(module.join(file)).with_context(|| format!("cannot read tests/keda/{file}"))?,
            );
        }
        let mut key = sha256(&sources);
        key.truncate(16);
        let programs = cache_folder()?.join("keda").join(key);
        fs::create_dir_all(&programs)?;
        let lock = File::create(programs.join("lock"))?;
        lock.lock().context("cannot lock the folder of KEDA's programs")?;
        let definitions = go::folder_of(&module, MODULE)?.join("config/crd/bases");
        if !programs.join(LAST).is_file() {
            let work = tempfile::Builder::new().prefix(".build-").tempdir_in(&programs)?;
            let started = Instant::now();
            let name = format!("KEDA {}", go::version_of(&module, MODULE)?);
            let packages = go::tools_of(&module)?;
            let packages: Vec<_> = packages.iter().map(String::as_str).collect();
            go::build(&module, &packages, work.path(), "", go::Cgo::Off, &name)?;
            for program in ["operator", LAST] {
                fs::rename(work.path().join(program), programs.join(program))?;
            }
            eprintln!("{name}: built in {} s", started.elapsed().as_secs());
        }
        Ok(Self { programs, definitions })
    }
}
