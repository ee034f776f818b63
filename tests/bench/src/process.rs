//! Servers as processes: what they and their descendants use, and their end.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::load;

/// How long a server may take to answer for the first time.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long it may take to end by itself.
const GRACE: Duration = Duration::from_secs(8);

/// Processes that were started and not yet ended; nothing once [`end_all`] was called, after which none is started.
static RUNNING: Mutex<Option<Vec<u32>>> = Mutex::new(Some(Vec::new()));

/// A server that runs, with all its descendants.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a server whose output goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let output = fs::File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let program = command.get_program().display().to_string();
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // Held over the start: none may come between what is ended and the end.
        let mut running = running();
        let running = running.as_mut().context("the bench was told to end")?;
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        running.push(child.id());
        Ok(Self { child, log: log.to_owned() })
    }

    /// Waits until `path` is answered with 200; how long that took from `begin`.
    pub(crate) fn wait_ready(
        &mut self,
        address: SocketAddr,
        path: &str,
        begin: Instant,
    ) -> anyhow::Result<Duration> {
        loop {
            let Err(error) = load::get(address, path) else { return Ok(begin.elapsed()) };
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status} before it was ready:\n{}", self.log_tail());
            }
            if begin.elapsed() > PATIENCE {
                bail!("not ready after {} s ({error:#}):\n{}", PATIENCE.as_secs(), self.log_tail());
            }
            sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// The end of what the server has written.
    pub(crate) fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = fs::File::open(&self.log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(8000)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("its log {} cannot be read: {error}", self.log.display()))
    }

    /// The process and its descendants.
    pub(crate) fn tree(&self) -> anyhow::Result<Tree> {
        Ok(Tree(descendants(self.child.id())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(self.child.id());
        // It has ended; nobody asks for its status.
        let _ = self.child.wait();
    }
}

/// The processes of a server, as they were when asked for.
pub(crate) struct Tree(Vec<u32>);

impl Tree {
    /// User and system time of all of them so far, with those of children that ended.
    pub(crate) fn cpu_time(&self) -> Duration {
        // A process that has ended meanwhile is counted by its parent.
        self.0.iter().filter_map(|&pid| Stat::read(pid)).map(|stat| stat.cpu).sum()
    }

    /// Proportional set size in bytes: the memory that they are accountable for.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let mut kilobytes = 0;
        for pid in &self.0 {
            let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
            let line =
                rollup.lines().find(|line| line.starts_with("Pss:")).context("no Pss in smaps_rollup")?;
            kilobytes += line.split_whitespace().nth(1).context("no number after Pss:")?.parse::<u64>()?;
        }
        Ok(kilobytes * 1024)
    }

    pub(crate) fn threads(&self) -> usize {
        let count = |pid: &u32| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        self.0.iter().map(count).sum()
    }
}

/// What `/proc/PID/stat` says (`proc_pid_stat(5)`).
struct Stat {
    parent: u32,
    cpu: Duration,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The command in brackets may hold blanks and brackets. Behind it come the state, the parent and so on: field 3 is
        // the first here.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
        Some(Self { parent, cpu: ticks_to_time(ticks) })
    }
}

/// `USER_HZ` is 100 on every Linux that Rust runs on.
pub(crate) fn ticks_to_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

/// CPU time of this process: of the load.
pub(crate) fn own_cpu_time() -> Duration {
    // Without the children: those are servers.
    let read = || {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11..13)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum())
    };
    ticks_to_time(read().unwrap_or(0))
}

fn descendants(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").context("the bench needs Linux's /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(stat) = Stat::read(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next) {
        let more = children.remove(parent).unwrap_or_default();
        tree.extend(more);
        next += 1;
    }
    Ok(tree)
}

fn running() -> MutexGuard<'static, Option<Vec<u32>>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends every server that still runs, for when the bench itself is told to end; none can be started from now on.
pub(crate) fn end_all() {
    let all = running().take();
    all.into_iter().flatten().for_each(end);
}

/// Ends a process and its descendants: asks it first, and kills what is left when it has gone, or has not after a while.
fn end(root: u32) {
    if let Some(running) = running().as_mut() {
        running.retain(|&pid| pid != root);
    }
    // Taken before the root goes: what is orphaned then is no longer found.
    let tree = descendants(root).unwrap_or_else(|_| vec![root]);
    signal(root, Signal::TERM);
    wait_until(GRACE, || !is_alive(root));
    tree.iter().filter(|&&pid| is_alive(pid)).for_each(|&pid| signal(pid, Signal::KILL));
    wait_until(GRACE, || !tree.iter().any(|&pid| is_alive(pid)));
}

fn wait_until(limit: Duration, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while begin.elapsed() < limit && !condition() {
        sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: u32) -> bool {
    // A zombie has ended; its parent has not asked yet.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')))
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// A port on loopback that nobody listens on now.
pub(crate) fn free_port() -> anyhow::Result<SocketAddr> {
    // The kernel may give a port again that was asked for and not taken yet.
    static GIVEN: Mutex<BTreeSet<SocketAddr>> = Mutex::new(BTreeSet::new());
    loop {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(address) {
            return Ok(address);
        }
    }
}

/// Runs a program to its end, and returns its standard output.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{program} ended with {}:\n{text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_a_command_with_blanks_and_brackets() {
        let stat = Stat::parse("7 (a b) c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1").unwrap();
        assert_eq!((stat.parent, stat.cpu), (3, Duration::from_secs(1)));
    }

    #[test]
    fn tree_of_a_shell_holds_its_child_and_is_ended_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 & wait"]);
        let process = Process::start(&mut shell, &folder.path().join("log")).unwrap();
        let begin = Instant::now();
        let tree = loop {
            let tree = process.tree().unwrap().0;
            if tree.len() == 2 || begin.elapsed() > Duration::from_secs(10) {
                break tree;
            }
        };
        assert_eq!(tree.len(), 2);
        drop(process);
        assert!(!tree.into_iter().any(is_alive));
    }
}
