//! Which programs there are, what pins their versions, and where they are installed.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::bail;

use crate::cache::sha256;

/// The environment variable that, set to `1`, makes a missing server an error where it is a skip otherwise.
pub const REQUIRE: &str = "MODELWRIGHT_REQUIRE_SERVERS";

/// True if [`REQUIRE`] is set to `1`.
pub fn required() -> bool {
    std::env::var_os(REQUIRE).is_some_and(|value| value == "1")
}

/// What builds or installs a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toolchain {
    /// The Go compiler; every program is built by itself.
    Go,
    /// Node.js with npm; all programs are installed into one `node_modules`.
    Node,
}

impl Toolchain {
    /// Every toolchain.
    pub const ALL: [Self; 2] = [Self::Go, Self::Node];

    /// The files that fix every version and checksum, and our own sources, as path and content.
    pub fn pins(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Go => &[
                ("go.mod", include_str!("../go/go.mod")),
                ("go.sum", include_str!("../go/go.sum")),
                ("fakegcs/main.go", include_str!("../go/fakegcs/main.go")),
            ],
            Self::Node => &[
                ("package.json", include_str!("../npm/package.json")),
                ("package-lock.json", include_str!("../npm/package-lock.json")),
            ],
        }
    }

    /// Where the toolchain's programs are: `<cache>/test-servers/<go or npm>-<hash of the pins>`, so that other pins never
    /// find programs of an earlier version.
    ///
    /// # Errors
    /// Fails where [`cache_folder`](crate::cache_folder) does.
    pub fn folder(self) -> anyhow::Result<PathBuf> {
        let pins: Vec<_> = self
            .pins()
            .iter()
            .map(|(path, content)| format!("{path} {}", sha256(content.as_bytes())))
            .collect();
        let mut hash = sha256(pins.join("\n").as_bytes());
        hash.truncate(16);
        let kind = match self {
            Self::Go => "go",
            Self::Node => "npm",
        };
        Ok(crate::cache_folder()?.join("test-servers").join(format!("{kind}-{hash}")))
    }
}

/// A server program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// S3 on a folder; honours conditional writes.
    VersityGw,
    /// S3 on a folder; knows no conditional writes and overwrites.
    S3rver,
    /// Azure Blob Storage.
    Azurite,
    /// Google Cloud Storage: fake-gcs-server with the uploads that it lacks, `go/fakegcs`.
    FakeGcs,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 4] = [Self::VersityGw, Self::S3rver, Self::Azurite, Self::FakeGcs];

    /// The name that its makers give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::VersityGw => "versitygw",
            Self::S3rver => "s3rver",
            Self::Azurite => "azurite",
            Self::FakeGcs => "fake-gcs-server",
        }
    }

    /// What it is built or installed with.
    pub fn toolchain(self) -> Toolchain {
        match self {
            Self::VersityGw | Self::FakeGcs => Toolchain::Go,
            Self::S3rver | Self::Azurite => Toolchain::Node,
        }
    }

    /// What the toolchain is asked for: a Go package, or the program's script beneath `node_modules`.
    pub fn package(self) -> &'static str {
        match self {
            Self::VersityGw => "github.com/versity/versitygw/cmd/versitygw",
            Self::FakeGcs => "./fakegcs",
            Self::S3rver => "s3rver/bin/s3rver.js",
            Self::Azurite => "azurite/dist/src/blob/main.js",
        }
    }

    /// The installed file, whether or not it exists: the executable, or the script that Node.js runs.
    ///
    /// # Errors
    /// Fails where [`Toolchain::folder`] does.
    pub fn file(self) -> anyhow::Result<PathBuf> {
        let folder = self.toolchain().folder()?;
        Ok(match self.toolchain() {
            Toolchain::Go => folder.join(self.name()),
            Toolchain::Node => folder.join("node_modules").join(self.package()),
        })
    }

    /// The words that start the program, or `None`, said on standard error, if it is not installed.
    ///
    /// # Errors
    /// Fails where it would answer `None` and servers are [`required`].
    pub(crate) fn command(self) -> anyhow::Result<Option<Vec<OsString>>> {
        let file = self.file()?;
        if !file.is_file() {
            let missing = format!("{} is not installed: run `cargo xtask test-servers`", self.name());
            if required() {
                bail!("{missing} ({REQUIRE}=1 forbids to skip it)");
            }
            // The `eprintln!` of a passing test is swallowed by the test harness; this is not.
            writeln!(io::stderr(), "SKIPPED: {missing}")?;
            return Ok(None);
        }
        Ok(Some(match self.toolchain() {
            Toolchain::Go => vec![file.into()],
            Toolchain::Node => vec!["node".into(), file.into()],
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_toolchain_has_a_folder_of_its_own_that_ends_in_a_hash() {
        let names = Toolchain::ALL
            .map(|toolchain| toolchain.folder().unwrap().file_name().unwrap().to_string_lossy().into_owned());
        assert!(names[0].starts_with("go-") && names[0].len() == "go-".len() + 16, "{}", names[0]);
        assert!(names[1].starts_with("npm-") && names[1].len() == "npm-".len() + 16, "{}", names[1]);
    }

    #[test]
    fn every_program_is_pinned() {
        for program in Program::ALL {
            let package = program.package();
            let pinned = match program.toolchain() {
                Toolchain::Go if program == Program::FakeGcs => "github.com/fsouza/fake-gcs-server",
                Toolchain::Go => package.split("/cmd/").next().unwrap(),
                Toolchain::Node => package.split('/').next().unwrap(),
            };
            let (name, manifest) = program.toolchain().pins()[0];
            assert!(manifest.contains(pinned), "{pinned} is not in {name}");
        }
    }

    #[test]
    fn npm_lock_names_no_registry() {
        let (_, lock) = Toolchain::Node.pins()[1];
        assert!(!lock.contains("\"resolved\""), "keep omit-lockfile-registry-resolved=true in npm/.npmrc");
    }
}
