//! A control group with a quota of CPU time, as Kubernetes makes one for a container with `limits.cpu`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// The length of a period in microseconds, as Kubernetes has it.
const PERIOD: u32 = 100_000;

/// A control group of this bench's own.
pub(crate) struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// A group whose processes together may use so many processors.
    pub(crate) fn of_processors(processors: u32) -> anyhow::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let quota = processors * PERIOD;
        // The second version has one hierarchy, the first one for the controller of CPU time.
        let (parent, files) = if root.join("cgroup.controllers").is_file() {
            write(&root.join("cgroup.subtree_control"), "+cpu")?;
            (root.to_owned(), vec![("cpu.max", format!("{quota} {PERIOD}"))])
        } else if root.join("cpu").is_dir() {
            let files =
                vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
            (root.join("cpu"), files)
        } else {
            bail!("no controller of CPU time in {}", root.display());
        };
        let folder = parent.join(name());
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let group = Self { folder };
        for (file, content) in files {
            write(&group.folder.join(file), &content)?;
        }
        Ok(group)
    }

    /// The same command, which enters the group before it begins.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut entering = Command::new("sh");
        entering
            .args(["-c", r#"echo $$ > "$0" && exec "$@""#])
            .arg(self.folder.join("cgroup.procs"))
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => entering.env(name, value),
                None => entering.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            entering.current_dir(folder);
        }
        entering
    }

    /// For how long the group had to wait for its next period so far; all its threads together.
    pub(crate) fn throttled(&self) -> anyhow::Result<Duration> {
        let file = self.folder.join("cpu.stat");
        let stat = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        throttled(&stat).with_context(|| format!("no throttled time in {}", file.display()))
    }
}

fn name() -> String {
    format!("modelwright-bench-{}", std::process::id())
}

/// Removes the group of this process, if there is one, once its processes have ended.
pub(crate) fn remove_own() {
    for parent in ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu"] {
        // In one of the two at most.
        let _ = fs::remove_dir(Path::new(parent).join(name()));
    }
}

fn throttled(stat: &str) -> Option<Duration> {
    stat.lines().find_map(|line| match line.split_once(' ')? {
        ("throttled_time", nanoseconds) => nanoseconds.parse().ok().map(Duration::from_nanos),
        ("throttled_usec", microseconds) => microseconds.parse().ok().map(Duration::from_micros),
        _ => None,
    })
}

impl Drop for Quota {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.folder) {
            eprintln!("{} is left behind: {error}", self.folder.display());
        }
    }
}

fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    fs::write(file, content).with_context(|| format!("cannot write {content:?} to {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttled_time_is_read_in_the_units_of_both_versions() {
        assert_eq!(throttled("nr_periods 1\nthrottled_time 5000"), Some(Duration::from_micros(5)));
        assert_eq!(throttled("usage_usec 1\nthrottled_usec 5"), Some(Duration::from_micros(5)));
        assert_eq!(throttled("nr_periods 1"), None);
    }
}
