//! Clusters and commands of this machine, for the tests beside this file.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use modelwright_e2e::outage::programs::{Process, Programs};

/// Held by every test: what one of them leaves must not be taken for another's.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has said so itself.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A cluster that ends with this value, or with this process.
pub(crate) struct Cluster {
    pub(crate) name: String,
    /// Words before each command, such as those that enter a network namespace.
    within: Vec<String>,
}

impl Cluster {
    /// One that does not run yet; `purpose` tells the clusters of one process apart, by one letter.
    pub(crate) fn new(purpose: char) -> Self {
        Self::within(purpose, &[])
    }

    /// One whose machine is the network namespace that `within` enters.
    pub(crate) fn within(purpose: char, within: &[String]) -> Self {
        Self { name: format!("x{purpose}{}", std::process::id()), within: within.to_vec() }
    }

    /// `cargo xtask cluster` with `arguments`, for this cluster.
    pub(crate) fn xtask(&self, arguments: &[&str]) -> Command {
        let xtask = std::env::var("MODELWRIGHT_XTASK").expect("run these tests by `cargo xtask e2e cluster`");
        let mut command = self.command(&xtask);
        command.arg("cluster").args(arguments).args(["--name", &self.name]);
        command
    }

    pub(crate) fn up(&self, arguments: &[&str]) -> anyhow::Result<()> {
        run(self.xtask(&["up", "--owner", &std::process::id().to_string()]).args(arguments)).map(|_| ())
    }

    pub(crate) fn down(&self) -> anyhow::Result<()> {
        run(&mut self.xtask(&["down"])).map(|_| ())
    }

    /// The cluster's state folder, while it runs.
    pub(crate) fn state(&self) -> PathBuf {
        modelwright_test_servers::cache_folder().unwrap().join("clusters").join(&self.name)
    }

    /// What kubectl prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let kubectl = self.program("kubectl")?;
        run(self
            .command(&kubectl)
            .args(arguments)
            .arg("--request-timeout=10s")
            .env("KUBECONFIG", self.state().join("admin.kubeconfig")))
    }

    /// What helm prints.
    pub(crate) fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let helm = self.program("helm")?;
        run(self.command(&helm).args(arguments).env("KUBECONFIG", self.state().join("admin.kubeconfig")))
    }

    /// Starts `command`, a program and its arguments, in the cluster's network namespace.
    pub(crate) fn command(&self, program: &str) -> Command {
        match self.within.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        }
    }

    fn program(&self, name: &str) -> anyhow::Result<String> {
        Ok(format!("{}/{name}", self.folder()?))
    }

    /// Where the compiled programs are.
    pub(crate) fn folder(&self) -> anyhow::Result<String> {
        let environment =
            fs::read(format!("/proc/{}/environ", self.processes().first().context("nothing runs")?.number))?;
        let environment = String::from_utf8(environment)?;
        let folder = environment
            .split('\0')
            .find_map(|entry| entry.strip_prefix("CLUSTER_BIN="))
            .context("no CLUSTER_BIN")?;
        Ok(folder.to_owned())
    }

    /// Every process of the cluster outside its pods.
    pub(crate) fn processes(&self) -> Vec<Process> {
        self.programs().processes()
    }

    fn programs(&self) -> Programs {
        Programs::of(&self.state())
    }

    /// The namespaces that the cluster and its pods do not share with the machine.
    pub(crate) fn namespaces(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut waiting: Vec<_> = self.process("unshare").into_iter().collect();
        while let Some(number) = waiting.pop() {
            found.extend(namespaces_of(number));
            waiting.extend(children(number));
        }
        let machine: BTreeSet<_> = namespaces_of(std::process::id()).collect();
        found.difference(&machine).cloned().collect()
    }

    /// Whether a process waits for the end of the cluster's owner.
    pub(crate) fn is_watched(&self) -> bool {
        let state = format!("CLUSTER_STATE={}", self.state().display());
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
            let has = |text: &[u8], word: &[u8]| text.split(|&byte| byte == 0).any(|part| part == word);
            has(&read("cmdline"), b"owner_process") && has(&read("environ"), state.as_bytes())
        })
    }

    /// The process that runs as `program`.
    pub(crate) fn process(&self, program: &str) -> Option<u32> {
        self.programs().process(program)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            eprintln!("{}: {error:#}", self.name);
        }
    }
}

/// The namespaces of every process.
pub(crate) fn all_namespaces() -> BTreeSet<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).flat_map(namespaces_of).collect()
}

/// As the kernel names them, such as `net:[4026532627]`; none if the process has ended.
fn namespaces_of(number: u32) -> impl Iterator<Item = String> {
    let kinds = ["mnt", "net", "pid", "uts", "ipc", "cgroup"];
    kinds.into_iter().filter_map(move |kind| {
        let target = fs::read_link(format!("/proc/{number}/ns/{kind}")).ok()?;
        Some(target.display().to_string())
    })
}

/// The processes that a process started.
pub(crate) fn children(number: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{number}/task/{number}/children")).unwrap_or_default();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&stdout).into_owned();
    ensure!(status.success(), "{command:?} ended with {status}:\n{said}{}", String::from_utf8_lossy(&stderr));
    Ok(said)
}

/// What a short command line prints.
pub(crate) fn sh(line: &str) -> String {
    run(Command::new("sh").args(["-c", line])).unwrap()
}

/// Ends a process at once, as nothing can catch.
pub(crate) fn kill(number: u32) {
    // It may have ended by itself.
    drop(Command::new("kill").args(["-9", &number.to_string()]).output());
}

/// Waits until `done`, two minutes at most.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_mins(2), "gave up waiting until {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A child that is killed with this value.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
