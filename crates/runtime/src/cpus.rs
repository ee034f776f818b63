//! How many processors the process may use.
//!
//! ONNX Runtime and most runtimes count the processors of the machine; in a container with a quota that means far more
//! threads than the kernel lets run, and throttling. Here the count is the smallest of what the caller says (in a pod
//! the literal `MODELWRIGHT_CPUS`), the quota of the control group (v2 `cpu.max`, v1 `cpu.cfs_quota_us`), and the
//! processors that the scheduler offers (which knows about affinity).

use std::num::NonZeroUsize;
use std::path::Path;

/// The number of processors to use: what `MODELWRIGHT_CPUS` says, the control group's quota and the scheduler's count,
/// whichever is smallest, rounded up to a whole processor and at least one.
pub fn available() -> NonZeroUsize {
    let told = std::env::var("MODELWRIGHT_CPUS").ok().and_then(|text| parse_count(&text));
    decide(told, quota(Path::new("/sys/fs/cgroup")), std::thread::available_parallelism().ok())
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

/// Reads the quota below the mount point of the control groups. In a container its own group is mounted there; on a
/// bare machine the root group is, which has none.
fn quota(root: &Path) -> Option<f64> {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).ok();
    if let Some(text) = read("cpu.max") {
        return parse_cpu_max(&text);
    }
    parse_cfs_quota(&read("cpu/cpu.cfs_quota_us")?, &read("cpu/cpu.cfs_period_us")?)
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
        assert_eq!(quota(folder.path()), None);
        std::fs::create_dir(folder.path().join("cpu")).unwrap();
        std::fs::write(folder.path().join("cpu/cpu.cfs_quota_us"), "300000").unwrap();
        std::fs::write(folder.path().join("cpu/cpu.cfs_period_us"), "100000").unwrap();
        assert_eq!(quota(folder.path()), Some(3.0));
        std::fs::write(folder.path().join("cpu.max"), "200000 100000").unwrap();
        assert_eq!(quota(folder.path()), Some(2.0));
    }
}
