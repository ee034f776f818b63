//! How many processors the process may use.
//!
//! ONNX Runtime and most runtimes count the processors of the machine; in a container with a quota that means far more
//! threads than the kernel lets run, and throttling. Here the count is the smallest of what the caller says (in a pod
//! the literal `MODELWRIGHT_CPUS`), the quota of the control group (v2 `cpu.max`, v1 `cpu.cfs_quota_us`), and the
//! processors that the scheduler offers (which knows about affinity).

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The number of processors to use: what `MODELWRIGHT_CPUS` says, the control group's quota and the scheduler's count,
/// whichever is smallest, rounded up to a whole processor and at least one.
pub fn available() -> NonZeroUsize {
    let told = std::env::var("MODELWRIGHT_CPUS").ok().and_then(|text| parse_count(&text));
    let membership = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let quota = quota(Path::new("/sys/fs/cgroup"), parse_own_group(&membership));
    decide(told, quota, std::thread::available_parallelism().ok())
}

/// Chooses the smallest of the three.
fn decide(told: Option<f64>, quota: Option<f64>, scheduler: Option<NonZeroUsize>) -> NonZeroUsize {
    [told, quota].into_iter().flatten().map(round_up).chain(scheduler).min().unwrap_or(NonZeroUsize::MIN)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to a range where both are exact"
)]
fn round_up(processors: f64) -> NonZeroUsize {
    NonZeroUsize::new(processors.ceil().clamp(1.0, 65_536.0) as usize).unwrap_or(NonZeroUsize::MIN)
}

/// Reads the smallest quota of the process's own group and the groups around it, below the mount point of the control
/// groups. In a container, its own group is usually mounted there and seems to be the root.
fn quota(root: &Path, own: Option<&Path>) -> Option<f64> {
    let read = |path: PathBuf| std::fs::read_to_string(path).ok();
    let groups = own.into_iter().flat_map(Path::ancestors).chain([Path::new("")]);
    let smallest = groups
        .filter_map(|group| parse_cpu_max(&read(root.join(group).join("cpu.max"))?))
        .min_by(f64::total_cmp);
    smallest.or_else(|| {
        parse_cfs_quota(&read(root.join("cpu/cpu.cfs_quota_us"))?, &read(root.join("cpu/cpu.cfs_period_us"))?)
    })
}

/// The process's own group of version 2 in `/proc/self/cgroup`, relative to the mount point: `a/b` in the line `0::/a/b`.
/// A group outside of what is mounted begins with `/..` and cannot be read.
pub(crate) fn parse_own_group(membership: &str) -> Option<&Path> {
    let group = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!group.split('/').any(|part| part == "..")).then(|| Path::new(group))
}

/// Parses a positive number of processors such as `2` or `0.5`.
pub fn parse_count(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|count: &f64| count.is_finite() && *count > 0.0)
}

/// Parses the control group v2 file `cpu.max`: `max 100000` (no quota) or `150000 100000` (1.5 processors).
pub fn parse_cpu_max(text: &str) -> Option<f64> {
    let mut fields = text.split_whitespace();
    let quota: u64 = fields.next()?.parse().ok()?;
    // The kernel documents 100 ms as the default.
    let period: u64 = fields.next().map_or(Ok(100_000), str::parse).ok()?;
    ratio(quota, period)
}

/// Parses the control group v1 files `cpu.cfs_quota_us` (-1 means no quota) and `cpu.cfs_period_us`.
pub fn parse_cfs_quota(quota: &str, period: &str) -> Option<f64> {
    ratio(quota.trim().parse().ok()?, period.trim().parse().ok()?)
}

fn ratio(quota: u64, period: u64) -> Option<f64> {
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_max_is_read_as_the_kernel_writes_it() {
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(1.5));
        assert_eq!(parse_cpu_max("50000"), Some(0.5));
        for broken in ["", "x 1", "0 100000", "1 0", "-1 100000"] {
            assert_eq!(parse_cpu_max(broken), None, "{broken}");
        }
    }

    #[test]
    fn cfs_quota_is_read_as_the_kernel_writes_it() {
        assert_eq!(parse_cfs_quota("-1\n", "100000\n"), None);
        assert_eq!(parse_cfs_quota("400000\n", "100000\n"), Some(4.0));
        assert_eq!(parse_cfs_quota("400000", "0"), None);
    }

    #[test]
    fn what_the_caller_says_must_be_a_positive_number() {
        assert_eq!(parse_count(" 2 "), Some(2.0));
        for broken in ["", "0", "-1", "NaN", "inf", "two"] {
            assert_eq!(parse_count(broken), None, "{broken}");
        }
    }

    #[test]
    fn the_smallest_wins_and_fractions_round_up() {
        let machine = NonZeroUsize::new(8);
        assert_eq!(decide(None, None, machine).get(), 8);
        assert_eq!(decide(Some(2.0), Some(4.0), machine).get(), 2);
        assert_eq!(decide(Some(16.0), Some(1.5), machine).get(), 2);
        assert_eq!(decide(Some(0.25), None, None).get(), 1);
        assert_eq!(decide(None, None, None).get(), 1);
    }

    #[test]
    fn both_layouts_of_the_control_group_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(quota(folder.path(), None), None);
        std::fs::create_dir(folder.path().join("cpu")).unwrap();
        std::fs::write(folder.path().join("cpu/cpu.cfs_quota_us"), "300000").unwrap();
        std::fs::write(folder.path().join("cpu/cpu.cfs_period_us"), "100000").unwrap();
        assert_eq!(quota(folder.path(), None), Some(3.0));
        std::fs::write(folder.path().join("cpu.max"), "200000 100000").unwrap();
        assert_eq!(quota(folder.path(), None), Some(2.0));
    }

    #[test]
    fn the_smallest_quota_of_the_groups_around_counts() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("pods/one")).unwrap();
        std::fs::write(folder.path().join("pods/cpu.max"), "150000 100000").unwrap();
        std::fs::write(folder.path().join("pods/one/cpu.max"), "max 100000").unwrap();
        assert_eq!(quota(folder.path(), Some(Path::new("pods/one"))), Some(1.5));
        std::fs::write(folder.path().join("pods/one/cpu.max"), "50000 100000").unwrap();
        assert_eq!(quota(folder.path(), Some(Path::new("pods/one"))), Some(0.5));
        assert_eq!(quota(folder.path(), Some(Path::new("gone"))), None);
    }

    #[test]
    fn the_own_group_is_read_as_the_kernel_writes_it() {
        let mixed = "12:cpu,cpuacct:/x\n0::/kubepods/pod1\n";
        assert_eq!(parse_own_group(mixed), Some(Path::new("kubepods/pod1")));
        assert_eq!(parse_own_group("0::/\n"), Some(Path::new("")));
        assert_eq!(parse_own_group("0::/../../elsewhere\n"), None);
        assert_eq!(parse_own_group("1:cpu:/x\n"), None);
    }
}
