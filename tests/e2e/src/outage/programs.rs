//! The programs of a cluster that `cargo xtask cluster` started on this machine.
use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, ensure};

use crate::processes::{self, signal};

/// The programs of one cluster.
#[derive(Clone, Debug)]
pub struct Programs {
    /// What each of its processes outside of pods has in its environment.
    mark: String,
}

/// A process and its command line.
#[derive(Debug)]
pub struct Process {
    /// Its number.
    pub number: u32,
    /// Its words, with spaces between them.
    pub command: String,
}

impl Programs {
    /// Those of the cluster with this state folder, which is where its administrator's kubeconfig lies.
    pub fn of(state: &Path) -> Self {
        Self { mark: format!("CLUSTER_PROCESS_OF={}", state.display()) }
    }

    /// Those of the cluster that `KUBECONFIG` names.
    ///
    /// # Errors
    /// Fails if it was not started by `cargo xtask cluster` on this machine.
    pub fn of_kubeconfig() -> anyhow::Result<Self> {
        let path = std::env::var_os("KUBECONFIG").context("KUBECONFIG is not set")?;
        let state = Path::new(&path).parent().context("KUBECONFIG names no file in a folder")?;
        let programs = Self::of(state);
        ensure!(
            programs.first().is_some(),
            "no node of a cluster of `cargo xtask cluster` runs here that belongs to {}",
            state.display()
        );
        Ok(programs)
    }

    /// Every process of the cluster outside its pods.
    pub fn processes(&self) -> Vec<Process> {
        let mut processes = Vec::new();
        for number in processes::numbers().into_iter().flatten() {
            let file = |name: &str| fs::read(format!("/proc/{number}/{name}"));
            let Ok(environment) = file("environ") else { continue };
            if environment.split(|&byte| byte == 0).any(|variable| variable == self.mark.as_bytes()) {
                let command = file("cmdline").unwrap_or_default();
                let command = String::from_utf8_lossy(&command).replace('\0', " ");
                processes.push(Process { number, command });
            }
        }
        processes
    }

    /// The process that runs as `program`.
    pub fn process(&self, program: &str) -> Option<u32> {
        self.processes()
            .iter()
            .find(|process| process.command.split(' ').next() == Some(program))
            .map(|process| process.number)
    }

    /// The first process of the node, number 1 in the node's own numbers; its namespaces are the node's.
    pub fn first(&self) -> Option<u32> {
        self.processes().into_iter().map(|process| process.number).find(|number| {
            let numbers = status(*number, "NSpid:").unwrap_or_default();
            numbers.split_whitespace().skip(1).eq(["1"])
        })
    }

    /// A command that runs in the network of the node, where pods and Services have their addresses.
    ///
    /// # Errors
    /// Fails if no node runs.
    pub fn within_network(&self, program: &Path) -> anyhow::Result<Command> {
        let first = self.first().context("no node runs")?;
        let mut command = Command::new("nsenter");
        command.args(["--target", &first.to_string(), "--net", "--"]).arg(program);
        Ok(command)
    }

    /// Kills a program and keeps it from being started again, until the returned value is let go.
    ///
    /// # Errors
    /// Fails if it does not run.
    pub fn hold(&self, program: &str) -> anyhow::Result<Held> {
        let number = self.process(program).with_context(|| format!("{program} does not run"))?;
        // What starts it again whenever it ends.
        let parent = status(number, "PPid:").with_context(|| format!("{program} has no parent"))?;
        let parent = parent.parse()?;
        signal(parent, "STOP")?;
        let held = Held { parent };
        signal(number, "KILL")?;
        Ok(held)
    }
}

/// A program that is kept from being started.
#[derive(Debug)]
pub struct Held {
    parent: u32,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = signal(self.parent, "CONT") {
            eprintln!("a program stays away: {error:#}");
        }
    }
}

/// A line of a process's status.
fn status(number: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{number}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}
