//! The programs of a cluster: compiled from the Go modules in `tests/cluster`, kept in the cache folder by a hash of them.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use modelwright_test_servers::{cache_folder, sha256};

use super::Kind;
use crate::go;

/// Counts up when other programs come of the same sources.
const LAYOUT: &str = "1";
/// What the one program of Kubernetes acts as, by the name that it is called by.
const KUBE: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];
/// What the names of folders begin with that builds work in.
const WORK: &str = ".build-";
/// The tool that is moved into place last, by which a finished build is known.
const TOOLS_LAST: &str = "containerd";
/// Enforces network policies.
const KUBE_ROUTER: &str = "kube-router";
/// runc's sources do not know their version; the compiler is told.
const RUNC: &str = "github.com/opencontainers/runc";

/// Compiles the program that makes a node's network enforce policies, and returns its file.
pub(crate) fn kube_router() -> anyhow::Result<PathBuf> {
    let module = sources().join("policies");
    let mut key = sha256(&fs::read(module.join("go.sum"))?);
    key.truncate(16);
    let programs = Programs { folder: cache_folder()?.join("cluster").join(format!("policies-{key}")) };
    if !programs.program(KUBE_ROUTER).is_file() {
        programs.locked(|work| {
            let started = Instant::now();
            let packages = go::tools_of(&module)?;
            let packages: Vec<_> = packages.iter().map(String::as_str).collect();
            let built = work.join(KUBE_ROUTER);
            go::build(&module, &packages, &built, "", go::Cgo::Off, KUBE_ROUTER)?;
            programs.install(&built, KUBE_ROUTER, started)
        })?;
    }
    Ok(programs.program(KUBE_ROUTER))
}

/// The folder that programs of one state of the sources are in, built or not.
pub(crate) struct Programs {
    folder: PathBuf,
}

/// Where the Go modules and the script are.
pub(crate) fn sources() -> PathBuf {
    crate::root().join("tests/cluster")
}

impl Programs {
    /// Compiles what a cluster needs, as far as it is not there.
    pub(crate) fn build(kind: Kind) -> anyhow::Result<Self> {
        let programs = Self::folder_of_sources()?;
        if !programs.are_built(kind) {
            programs.locked(|work| {
                programs.kube(work)?;
                if kind == Kind::Node {
                    programs.pause(work)?;
                    programs.tools(work)?;
                    programs.runc(work)?;
                }
                Ok(())
            })?;
        }
        Ok(programs)
    }

    /// Compiles Helm and what comes with it, which tests need of a cluster that does not.
    pub(crate) fn build_tools() -> anyhow::Result<()> {
        let programs = Self::folder_of_sources()?;
        if programs.program(TOOLS_LAST).is_file() {
            return Ok(());
        }
        programs.locked(|work| programs.tools(work))
    }

    /// Where the programs of these sources are, or will be.
    pub(crate) fn folder_of_sources() -> anyhow::Result<Self> {
        let mut key = sha256(&read_sources(&sources())?);
        key.truncate(16);
        Ok(Self { folder: cache_folder()?.join("cluster").join(key) })
    }

    /// Whether all is there that a cluster needs.
    pub(crate) fn are_built(&self, kind: Kind) -> bool {
        let needed: &[_] = match kind {
            Kind::ControlPlane => &["kube"],
            Kind::Node => &["kube", "pause", TOOLS_LAST, "runc"],
        };
        needed.iter().all(|name| self.program(name).is_file())
    }

    /// The folder to put on the `PATH`.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// The folder of the archives that are loaded into each node.
    pub(crate) fn images(&self) -> PathBuf {
        self.folder.join("images")
    }

    /// The file of one program.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Runs `build` with a folder to work in, one process at a time.
    pub(crate) fn locked(&self, build: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
        fs::create_dir_all(self.folder())?;
        let lock = File::create(self.folder.join("lock"))?;
        lock.lock().context("cannot lock the folder of the cluster's programs")?;
        // One at a time, so another folder is what a build left that was killed.
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(WORK) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let work = tempfile::Builder::new().prefix(WORK).tempdir_in(&self.folder)?;
        build(work.path())
    }

    /// etcd and Kubernetes: one program under many names, because they share nearly all their code.
    fn kube(&self, work: &Path) -> anyhow::Result<()> {
        if self.program("kube").is_file() {
            return Ok(());
        }
        let module = sources().join("kube");
        let version = go::version_of(&module, "k8s.io/kubernetes")?;
        let flags =
            kube_version_flags(&version).context("the version of k8s.io/kubernetes has no minor part")?;
        let started = Instant::now();
        go::build(
            &module,
            &["."],
            &work.join("kube"),
            &flags,
            go::Cgo::Off,
            &format!("Kubernetes {version}"),
        )?;
        for name in KUBE {
            match symlink("kube", self.program(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
                _ => {}
            }
        }
        self.install(&work.join("kube"), "kube", started)
    }

    /// The process that holds a pod's namespaces: Kubernetes' own, in C.
    fn pause(&self, work: &Path) -> anyhow::Result<()> {
        if self.program("pause").is_file() {
            return Ok(());
        }
        let started = Instant::now();
        let kubernetes = go::folder_of(&sources().join("kube"), "k8s.io/kubernetes")?;
        let status = Command::new("gcc")
            .args(["-Os", "-static", "-o"])
            .arg(work.join("pause"))
            .arg(kubernetes.join("build/pause/linux/pause.c"))
            .status()?;
        ensure!(status.success(), "gcc ended with {status}; is libc6-dev installed?");
        self.install(&work.join("pause"), "pause", started)
    }

    /// containerd, CNI plugins, DNS, metrics, Helm, kubeconform.
    fn tools(&self, work: &Path) -> anyhow::Result<()> {
        if self.program(TOOLS_LAST).is_file() {
            return Ok(());
        }
        let module = sources().join("tools");
        let mut packages = go::tools_of(&module)?;
        packages.retain(|package| package != RUNC);
        packages.push("./coredns".to_owned());
        let packages: Vec<_> = packages.iter().map(String::as_str).collect();
        let started = Instant::now();
        let built = work.join("tools");
        fs::create_dir(&built)?;
        go::build(
            &module,
            &packages,
            &built,
            "",
            go::Cgo::Off,
            "containerd, CNI, CoreDNS, metrics-server, Helm",
        )?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&built)? {
            names.push(entry?.file_name());
        }
        names.sort_by_key(|name| name == TOOLS_LAST);
        for name in &names {
            fs::rename(built.join(name), self.folder().join(name))?;
        }
        eprintln!("{} tools: built in {} s", names.len(), started.elapsed().as_secs());
        Ok(())
    }

    /// Starts containers; in C where it enters namespaces.
    fn runc(&self, work: &Path) -> anyhow::Result<()> {
        if self.program("runc").is_file() {
            return Ok(());
        }
        let module = sources().join("tools");
        let version = go::version_of(&module, RUNC)?;
        let flags = format!("-X main.version={}", version.trim_start_matches('v'));
        let started = Instant::now();
        go::build(
            &module,
            &[RUNC],
            &work.join("runc"),
            &flags,
            go::Cgo::With("seccomp"),
            &format!("runc {version}"),
        )?;
        self.install(&work.join("runc"), "runc", started)
    }

    fn install(&self, file: &Path, name: &str, started: Instant) -> anyhow::Result<()> {
        fs::rename(file, self.program(name))?;
        eprintln!("{name}: built in {} s", started.elapsed().as_secs());
        Ok(())
    }
}

/// Everything that the programs are made of, in one text.
fn read_sources(folder: &Path) -> anyhow::Result<Vec<u8>> {
    let mut text = format!("{LAYOUT} {}\n", std::env::consts::ARCH).into_bytes();
    for file in [
        "kube/go.mod",
        "kube/go.sum",
        "kube/main.go",
        "tools/go.mod",
        "tools/go.sum",
        "tools/coredns/main.go",
    ] {
        let content = fs::read(folder.join(file)).with_context(|| format!("cannot read {file}"))?;
        text.extend_from_slice(format!("{file} {}\n", sha256(&content)).as_bytes());
    }
    Ok(text)
}

/// What tells Kubernetes its version, which a build from modules does not know.
fn kube_version_flags(version: &str) -> Option<String> {
    let minor = version.split('.').nth(1)?;
    let flag = |package: &str| {
        format!(
            "-X {package}.gitVersion={version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor} \
             -X {package}.gitTreeState=clean"
        )
    };
    let [component, client] = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].map(flag);
    Some(format!("{component} {client}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_of_a_program_is_part_of_the_key() {
        let text = String::from_utf8(read_sources(&sources()).unwrap()).unwrap();
        for module in ["kube", "tools"] {
            for entry in fs::read_dir(sources().join(module)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(
                    text.contains(&format!("{module}/{name}")),
                    "{module}/{name} is not in the key:\n{text}"
                );
            }
        }
    }

    #[test]
    fn kubernetes_is_told_its_version() {
        let flags = kube_version_flags("v1.37.2").unwrap();
        assert!(flags.contains("k8s.io/client-go/pkg/version.gitVersion=v1.37.2"), "{flags}");
        assert!(flags.contains("k8s.io/component-base/version.gitMinor=37"), "{flags}");
        assert_eq!(kube_version_flags("v1"), None);
    }
}
