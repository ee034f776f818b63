//! What a machine must have for a cluster, and the Debian packages that bring it.

use std::{path::Path, process::Command};

use anyhow::bail;

/// What the machine shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compile the programs of the control plane.
    BuildControlPlane,
    /// Compile those, and the programs and images of a node.
    BuildNode,
    /// Run a control plane.
    RunControlPlane,
    /// Run a control plane and a node.
    RunNode,
    /// Let a node's network enforce policies.
    EnforcePolicies,
}

/// Something outside the cache folder that is needed.
struct Need {
    what: What,
    /// The Debian package that has it; empty where Debian's is too old.
    package: &'static str,
    /// What it is for.
    reason: &'static str,
    purposes: &'static [Purpose],
}

enum What {
    /// On the `PATH`.
    Program(&'static str),
    File(&'static str),
    /// A library with its headers, as pkg-config knows it.
    Library(&'static str),
}

const BUILD: &[Purpose] = &[Purpose::BuildControlPlane, Purpose::BuildNode];
const BUILD_NODE: &[Purpose] = &[Purpose::BuildNode];
const RUN: &[Purpose] = &[Purpose::RunControlPlane, Purpose::RunNode];
const RUN_NODE: &[Purpose] = &[Purpose::RunNode];
const ENFORCE: &[Purpose] = &[Purpose::EnforcePolicies];

const NEEDS: [Need; 13] = [
    Need { what: What::Program("go"), package: "", reason: "compiles Kubernetes", purposes: BUILD },
    Need {
        what: What::Program("gcc"),
        package: "gcc",
        reason: "compiles runc and the pause container",
        purposes: BUILD_NODE,
    },
    Need {
        what: What::Program("pkg-config"),
        package: "pkg-config",
        reason: "finds libseccomp for runc",
        purposes: BUILD_NODE,
    },
    Need {
        what: What::Library("libseccomp"),
        package: "libseccomp-dev",
        reason: "runc filters system calls with it",
        purposes: BUILD_NODE,
    },
    Need {
        what: What::File("/bin/busybox"),
        package: "busybox-static",
        reason: "the image that test clients run",
        purposes: BUILD_NODE,
    },
    Need {
        what: What::Program("openssl"),
        package: "openssl",
        reason: "makes the certificates",
        purposes: RUN,
    },
    Need {
        what: What::Program("flock"),
        package: "util-linux",
        reason: "keeps two starts apart",
        purposes: RUN,
    },
    Need {
        what: What::Program("setsid"),
        package: "util-linux",
        reason: "detaches the cluster",
        purposes: RUN,
    },
    Need {
        what: What::Program("unshare"),
        package: "util-linux",
        reason: "makes the node's namespaces",
        purposes: RUN_NODE,
    },
    Need { what: What::Program("ip"), package: "iproute2", reason: "connects the node", purposes: RUN_NODE },
    Need {
        what: What::Program("nft"),
        package: "nftables",
        reason: "kube-proxy writes its rules with it",
        purposes: RUN_NODE,
    },
    Need {
        what: What::Program("iptables"),
        package: "iptables",
        reason: "kube-router enforces network policies with it",
        purposes: ENFORCE,
    },
    Need {
        what: What::Program("ipset"),
        package: "ipset",
        reason: "kube-router enforces network policies with it",
        purposes: ENFORCE,
    },
];

/// The parts of a machine that [`problems`] asks about.
trait Machine {
    fn is_linux(&self) -> bool;
    fn is_root(&self) -> bool;
    fn can_make_namespaces(&self) -> bool;
    fn has(&self, what: &What) -> bool;
}

/// Refuses where this machine cannot do it, with everything that is missing and how to get it.
pub(crate) fn check(purpose: Purpose) -> anyhow::Result<()> {
    let problems = problems(&ThisMachine, purpose);
    if problems.is_empty() {
        return Ok(());
    }
    bail!("this machine cannot {}:\n  {}", purpose.describe(), problems.join("\n  "))
}

/// Installs the Debian packages that are missing for everything that `make test` does; asks sudo where it is not root.
pub(crate) fn install() -> anyhow::Result<()> {
    let mut packages: Vec<_> = NEEDS
        .iter()
        .filter(|need| need.purposes != ENFORCE && !need.package.is_empty() && !ThisMachine.has(&need.what))
        .map(|need| need.package)
        .collect();
    packages.dedup();
    if packages.is_empty() {
        eprintln!("no system package is missing");
        return Ok(());
    }
    let names = packages.join(" ");
    if !ThisMachine.has(&What::Program("apt-get")) {
        bail!("this is no Debian: install what Debian calls {names} with this system's package manager");
    }
    eprintln!("installing {names}");
    let install = format!(
        "apt-get update --quiet=2 && apt-get install --quiet=2 --yes --no-install-recommends {names}"
    );
    let (program, arguments): (_, &[&str]) =
        if ThisMachine.is_root() { ("sh", &["-c"]) } else { ("sudo", &["sh", "-c"]) };
    let status = Command::new(program)
        .args(arguments)
        .arg(&install)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::io::stderr())
        .status()?;
    anyhow::ensure!(status.success(), "{install} ended with {status}");
    Ok(())
}

/// Each thing that keeps `machine` from `purpose`, as one sentence.
fn problems(machine: &impl Machine, purpose: Purpose) -> Vec<String> {
    let mut problems = Vec::new();
    if !machine.is_linux() {
        return vec!["it does not run Linux; set KUBECONFIG to a cluster elsewhere instead".to_owned()];
    }
    for need in NEEDS.iter().filter(|need| need.purposes.contains(&purpose) && !machine.has(&need.what)) {
        let how = match need.package {
            "" => "install Go 1.26 or newer from https://go.dev/dl".to_owned(),
            package if need.purposes == ENFORCE => format!("apt-get install {package}"),
            package => format!("apt-get install {package} (or: make setup)"),
        };
        problems.push(format!("{} is missing, which {}: {how}", need.what.describe(), need.reason));
    }
    if purpose == Purpose::RunNode {
        if !machine.is_root() {
            problems.push(
                "a node needs root, for namespaces, cgroups and its network link; without: --control-plane-only"
                    .to_owned(),
            );
        } else if problems.is_empty() && !machine.can_make_namespaces() {
            problems
                .push("it forbids namespaces even to root, as containers without privileges do".to_owned());
        }
    }
    problems
}

impl Purpose {
    fn describe(self) -> &'static str {
        match self {
            Self::BuildControlPlane => "build Kubernetes",
            Self::BuildNode => "build a Kubernetes node",
            Self::RunControlPlane => "run a Kubernetes control plane",
            Self::RunNode => "run a Kubernetes node",
            Self::EnforcePolicies => "enforce network policies",
        }
    }
}

impl What {
    fn describe(&self) -> &'static str {
        match self {
            Self::Program(name) | Self::File(name) | Self::Library(name) => name,
        }
    }
}

struct ThisMachine;

impl Machine for ThisMachine {
    fn is_linux(&self) -> bool {
        cfg!(target_os = "linux")
    }

    fn is_root(&self) -> bool {
        // The owner of a process's folder in /proc is who it runs as.
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
    }

    fn can_make_namespaces(&self) -> bool {
        Command::new("unshare")
            .args(["--cgroup", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "true"])
            .output()
            .is_ok_and(|output| output.status.success())
    }

    fn has(&self, what: &What) -> bool {
        match what {
            What::Program(name) => on_path(name),
            What::File(path) => Path::new(path).exists(),
            What::Library(name) => Command::new("pkg-config")
                .args(["--exists", name])
                .status()
                .is_ok_and(|status| status.success()),
        }
    }
}

fn on_path(program: &str) -> bool {
    // Administrators' programs are often not on an ordinary user's path.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake {
        linux: bool,
        root: bool,
        namespaces: bool,
        missing: &'static [&'static str],
    }

    const WHOLE: Fake = Fake { linux: true, root: true, namespaces: true, missing: &[] };

    impl Machine for Fake {
        fn is_linux(&self) -> bool {
            self.linux
        }
        fn is_root(&self) -> bool {
            self.root
        }
        fn can_make_namespaces(&self) -> bool {
            self.namespaces
        }
        fn has(&self, what: &What) -> bool {
            !self.missing.contains(&what.describe())
        }
    }

    #[test]
    fn whole_machine_has_no_problem() {
        for purpose in
            [Purpose::BuildControlPlane, Purpose::BuildNode, Purpose::RunControlPlane, Purpose::RunNode]
        {
            assert_eq!(problems(&WHOLE, purpose), Vec::<String>::new());
        }
    }

    #[test]
    fn missing_package_is_named_with_the_command_that_installs_it() {
        let machine = Fake { missing: &["nft", "libseccomp"], ..WHOLE };
        let found = problems(&machine, Purpose::RunNode);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("nft is missing") && found[0].contains("apt-get install nftables"),
            "{found:?}"
        );
        let found = problems(&machine, Purpose::BuildNode);
        assert!(found[0].contains("apt-get install libseccomp-dev"), "{found:?}");
        assert_eq!(problems(&machine, Purpose::RunControlPlane), Vec::<String>::new());
    }

    #[test]
    fn enforcing_policies_needs_programs_that_nothing_else_does() {
        let machine = Fake { missing: &["iptables", "ipset"], ..WHOLE };
        assert_eq!(problems(&machine, Purpose::RunNode), Vec::<String>::new());
        let found = problems(&machine, Purpose::EnforcePolicies);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].ends_with("apt-get install ipset"), "{found:?}");
    }

    #[test]
    fn go_is_not_taken_from_debian() {
        let found = problems(&Fake { missing: &["go"], ..WHOLE }, Purpose::BuildControlPlane);
        assert!(found[0].contains("https://go.dev/dl"), "{found:?}");
    }

    #[test]
    fn node_needs_root_and_namespaces_but_a_control_plane_does_not() {
        let user = Fake { root: false, ..WHOLE };
        assert!(problems(&user, Purpose::RunNode)[0].contains("--control-plane-only"));
        assert_eq!(problems(&user, Purpose::RunControlPlane), Vec::<String>::new());
        let container = Fake { namespaces: false, ..WHOLE };
        assert!(problems(&container, Purpose::RunNode)[0].contains("namespaces"));
    }

    #[test]
    fn other_systems_are_told_what_they_can_do() {
        let found = problems(&Fake { linux: false, ..WHOLE }, Purpose::RunControlPlane);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("KUBECONFIG"), "{found:?}");
    }
}
