//! Processes of this machine, and those of pods where it is the node: for what nothing in a cluster can do to a pod.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// A process of a container.
#[derive(Debug)]
pub struct Process {
    number: u32,
}

impl Process {
    /// The process of a pod that runs `program`, such as `modelwright`.
    ///
    /// # Errors
    /// Fails if there is none on this machine.
    pub fn of_pod(pod: &str, program: &str) -> anyhow::Result<Self> {
        let host = format!("HOSTNAME={pod}");
        let number = numbers()?.filter(|number| is(*number, &host, program)).min();
        let number = number.with_context(|| {
            format!(
                "no {program} of pod {pod} runs on this machine; these tests need a node that is this machine"
            )
        })?;
        Ok(Self { number })
    }

    /// Sends a signal, such as `KILL`.
    ///
    /// # Errors
    /// Fails if the process has ended.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        signal(self.number, name)
    }

    /// A file of the container.
    pub fn file(&self, path: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.number)).join(path.trim_start_matches('/'))
    }
}

/// The numbers of all processes of this machine.
///
/// # Errors
/// Fails if they cannot be listed.
pub fn numbers() -> anyhow::Result<impl Iterator<Item = u32>> {
    Ok(fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Sends a signal, such as `KILL`, to a process.
///
/// # Errors
/// Fails if the process has ended.
pub fn signal(number: u32, name: &str) -> anyhow::Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &number.to_string()]).status();
    let status = status.context("cannot run kill")?;
    ensure!(status.success(), "kill -{name} {number} ended with {status}");
    Ok(())
}

/// Whether a process belongs to the pod with this host, and runs this program.
fn is(number: u32, host: &str, program: &str) -> bool {
    let words = |file: &str| fs::read(format!("/proc/{number}/{file}")).unwrap_or_default();
    let command = words("cmdline");
    let first = command.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = first.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name == program.as_bytes()
        && words("environ").split(|byte| *byte == 0).any(|word| word == host.as_bytes())
}
