//! The Debian packages of an image's base, as apt fetches and verifies them.
//!
//! They are those of the release that builds: the program is linked against this release's glibc and runs with the same
//! or a newer one only, so the base is made of the same release. apt works on a state of its own, so it needs no root and
//! changes nothing of the system; where packages come from and whose signatures count is as the system's administrator
//! configured it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use super::oci;

/// What the image takes from the distribution; [`super::base`] says which files of them.
const PACKAGES: [&str; 6] = [
    // Which release this is, for scanners, and the texts of the licences that the others name.
    "base-files",
    // Whom to trust in TLS.
    "ca-certificates",
    // Its locale C.UTF-8: see `super::base`. None of its programs.
    "libc-bin",
    // The C library, which Rust's standard library and ONNX Runtime are linked with, and the program loader.
    "libc6",
    // Unwinding for both of them.
    "libgcc-s1",
    // ONNX Runtime is written in C++.
    "libstdc++6",
];
/// Time zones are data that changes with politics, so they come from the release and its updates. Nothing asks for local
/// time but C libraries under a `TZ`, and whoever sets that expects it to work.
const TIME_ZONES: &str = "tzdata";

/// The release of a distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Release {
    /// For people.
    pub(super) name: String,
    /// For paths, such as `debian-bookworm`.
    pub(super) id: String,
    /// The distribution, such as `debian`.
    pub(super) distribution: String,
    /// Distribution and version as scanners name them, such as `debian-12`.
    pub(super) number: String,
}

impl Release {
    fn of_this_machine() -> anyhow::Result<Self> {
        let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
        Self::parse(&text).context(
            "images are made of Debian packages of the release that builds, and /etc/os-release names none: run this on \
             Debian or Ubuntu, for instance in a container or a virtual machine",
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |wanted: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(wanted)?.strip_prefix('='))
                .map(|value| value.trim_matches(['"', '\'']))
        };
        let (distribution, codename) = (value("ID")?, value("VERSION_CODENAME")?);
        let name = value("PRETTY_NAME").map_or_else(|| format!("{distribution} {codename}"), str::to_owned);
        // What is not released yet has no number.
        let version = value("VERSION_ID").unwrap_or(codename);
        Some(Self {
            name,
            id: format!("{distribution}-{codename}"),
            distribution: distribution.to_owned(),
            number: format!("{distribution}-{version}"),
        })
    }
}

/// A package's control file: what it is called, its version, what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Control(String);

impl Control {
    fn of(package: &Path) -> anyhow::Result<Self> {
        let output = Command::new("dpkg-deb").arg("--field").arg(package).output()?;
        ensure!(output.status.success(), "dpkg-deb cannot read {}", package.display());
        Ok(Self(String::from_utf8(output.stdout)?))
    }

    /// The file itself.
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// The first line of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// The names of packages that this one depends on, whatever their versions; of alternatives all.
    fn dependencies(&self) -> impl Iterator<Item = &str> {
        let names = self.field("Depends").unwrap_or_default().split([',', '|']);
        names.filter_map(|dependency| dependency.trim().split([' ', '(', ':']).next())
    }
}

/// A package in the cache.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) file: PathBuf,
    pub(super) name: String,
    pub(super) control: Control,
}

/// The release that runs here, and its packages for the base, in the order of their names.
///
/// They are kept in `<cache>/image-base/`, so the same base is made until somebody asks to `refresh` it. `more` are
/// packages that only one variant needs.
pub(super) fn packages(refresh: bool, more: &[&'static str]) -> anyhow::Result<(Release, Vec<Package>)> {
    let release = Release::of_this_machine()?;
    for tool in ["apt-get", "dpkg-deb"] {
        let found = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
        ensure!(
            found,
            "{tool} is not installed: images are made of Debian packages, so run this on Debian or Ubuntu"
        );
    }
    let wanted: Vec<_> = PACKAGES.into_iter().chain([TIME_ZONES]).chain(more.iter().copied()).collect();
    let key = &modelwright_test_servers::sha256(wanted.join("\n").as_bytes())[..12];
    let bases = modelwright_test_servers::cache_folder()?.join("image-base");
    let folder = bases.join(format!("{}-{}-{key}", release.id, oci::architecture()?));
    if refresh || !folder.is_dir() {
        fs::create_dir_all(&bases).with_context(|| format!("cannot create {}", bases.display()))?;
        let work = tempfile::Builder::new().prefix(".fetch-").tempdir_in(&bases)?;
        eprintln!("downloading packages of {}", release.name);
        let fetched = Apt::new(work.path())?.fetch(&wanted)?;
        replace(&folder, &fetched, &work.path().join("old"))?;
    }
    Ok((release, read(&folder)?))
}

/// Moves `new` to `folder`, and what is there to `old`.
fn replace(folder: &Path, new: &Path, old: &Path) -> anyhow::Result<()> {
    match fs::rename(folder, old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot move {} away", folder.display()));
        }
        _ => {}
    }
    match fs::rename(new, folder) {
        // Another process was faster, with packages that are as new.
        Err(_) if folder.is_dir() => Ok(()),
        moved => moved.with_context(|| format!("cannot move packages to {}", folder.display())),
    }
}

fn read(folder: &Path) -> anyhow::Result<Vec<Package>> {
    let mut packages = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        let control = Control::of(&file)?;
        let name =
            control.field("Package").with_context(|| format!("{} has no name", file.display()))?.into();
        let package = Package { file, name, control };
        if let Some(other) = packages.insert(package.name.clone(), package) {
            bail!("{} has {} twice: pass --refresh", folder.display(), other.name);
        }
    }
    Ok(packages.into_values().collect())
}

/// apt with a state below a folder instead of the system's.
struct Apt {
    folder: PathBuf,
}

/// The system's hooks after an update serve its own package managers.
const NO_HOOKS: &str = "#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
";

/// Everything that apt says.
const LOG: &str = "log";

impl Apt {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        for made in ["state/lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(folder.join(made))?;
        }
        // Nothing is installed, as far as this state knows.
        fs::write(folder.join("status"), "")?;
        fs::write(folder.join("apt.conf"), NO_HOOKS)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Downloads the packages and returns their folder.
    fn fetch(&self, names: &[&str]) -> anyhow::Result<PathBuf> {
        self.run(&["update"]).context("apt could not read the lists of packages")?;
        // apt goes on if it does not reach a source, but without that source's security updates.
        let said = fs::read_to_string(self.folder.join(LOG))?;
        for warning in said.lines().filter(|line| line.starts_with("W: ")) {
            eprintln!("apt-get update: {warning}");
        }
        self.download(names)?;
        let folder = self.folder.join("packages");
        // The copyright of GCC's libraries is in a package that is named after its version.
        let mut copyrights = Vec::new();
        for package in read(&folder)? {
            let bases = package.control.dependencies().filter(|name| is_gcc_base(name));
            copyrights.extend(bases.map(str::to_owned));
        }
        copyrights.sort();
        copyrights.dedup();
        self.download(&copyrights.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok(folder)
    }

    fn download(&self, names: &[&str]) -> anyhow::Result<()> {
        let arguments: Vec<_> = ["download"].into_iter().chain(names.iter().copied()).collect();
        self.run(&arguments).with_context(|| format!("apt could not download {}", names.join(" ")))
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let log = self.folder.join(LOG);
        let path = |name: &str| self.folder.join(name).display().to_string();
        let options = [
            format!("Dir::State={}", path("state")),
            format!("Dir::State::Lists={}", path("state/lists")),
            format!("Dir::State::status={}", path("status")),
            format!("Dir::Cache={}", path("cache")),
            format!("Dir::Cache::archives={}", path("cache/archives")),
            "Debug::NoLocking=true".into(),
            // Run by root, apt would become a user who cannot write here.
            "APT::Sandbox::User=root".into(),
            // Neither translated descriptions nor lists for graphical shops.
            "Acquire::Languages=none".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
        ];
        // A download may fail because of what went wrong in the update before it.
        let open = || File::options().create(true).append(true).open(&log);
        let status = Command::new("apt-get")
            .current_dir(self.folder.join("packages"))
            .arg("-c")
            .arg(self.folder.join("apt.conf"))
            .args(options.iter().flat_map(|option| ["-o", option]))
            .arg("--quiet")
            .args(arguments)
            .stdout(open()?)
            .stderr(open()?)
            .status()?;
        if !status.success() {
            bail!("apt-get ended with {status} and said:\n{}", fs::read_to_string(&log)?.trim_end());
        }
        Ok(())
    }
}

/// Whether this is a name such as `gcc-12-base`.
fn is_gcc_base(name: &str) -> bool {
    let version = name.strip_prefix("gcc-").and_then(|rest| rest.strip_suffix("-base"));
    version.is_some_and(|version| !version.is_empty() && version.chars().all(|c| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_read_with_and_without_quotes() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        let expected = Release {
            name: "Debian GNU/Linux 12 (bookworm)".into(),
            id: "debian-bookworm".into(),
            distribution: "debian".into(),
            number: "debian-12".into(),
        };
        assert_eq!(Release::parse(debian), Some(expected));
        let short = Release::parse("ID='ubuntu'\nID_LIKE=debian\nVERSION_CODENAME=noble\n").unwrap();
        assert_eq!((short.name.as_str(), short.id.as_str()), ("ubuntu noble", "ubuntu-noble"));
        assert_eq!(short.number, "ubuntu-noble");
        assert_eq!(Release::parse("ID=arch\n"), None);
        assert_eq!(Release::parse(""), None);
    }

    #[test]
    fn control_file_tells_fields_and_dependencies() {
        let control = Control(
            "Package: libstdc++6\nVersion: 12.2.0-14\nPre-Depends: awk\n\
             Depends: gcc-12-base (= 12.2.0-14), libc6 (>= 2.36), a:any | b\nDescription: C++\n Package: not\n"
                .into(),
        );
        assert_eq!(control.field("Package"), Some("libstdc++6"));
        assert_eq!(control.field("Version"), Some("12.2.0-14"));
        assert_eq!(control.field("Essential"), None);
        assert_eq!(control.dependencies().collect::<Vec<_>>(), ["gcc-12-base", "libc6", "a", "b"]);
        assert!(Control("Package: x\n".into()).dependencies().all(str::is_empty));
    }

    #[test]
    fn package_with_the_copyright_of_gcc_is_recognised() {
        for (name, expected) in
            [("gcc-12-base", true), ("gcc-14-base", true), ("gcc-base", false), ("gcc-12", false)]
        {
            assert_eq!(is_gcc_base(name), expected, "{name}");
        }
    }

    #[test]
    fn new_packages_take_the_place_of_old_ones() {
        let work = tempfile::tempdir().unwrap();
        let path = |name: &str| work.path().join(name);
        for round in ["first", "second"] {
            fs::create_dir(path("new")).unwrap();
            fs::write(path("new").join("round"), round).unwrap();
            replace(&path("base"), &path("new"), &path(&format!("before {round}"))).unwrap();
            assert_eq!(fs::read_to_string(path("base").join("round")).unwrap(), round);
        }
    }
}
