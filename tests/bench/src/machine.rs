//! The machine that the bench runs on.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

use crate::process::{output, ticks_to_time};

/// Time that all processors together were not idle, since the machine was started. Time that its host took away counts.
pub(crate) fn busy_time() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("the bench needs Linux's /proc")?;
    busy_ticks(&stat).map(ticks_to_time).context("no cpu line in /proc/stat")
}

fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
    Some([0, 1, 2, 5, 6, 7].into_iter().filter_map(|index| fields.get(index)).sum())
}

/// Processors that this process may use.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// One sentence on the machine and the time, for tables.
pub(crate) fn description() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim())
        .to_owned();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or_default();
    let date = output(std::process::Command::new("date").args(["--utc", "+%Y-%m-%d"])).unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {model}, {} processors, {} GB, Linux {}",
        date.trim(),
        processors(),
        kilobytes >> 20,
        kernel.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_disks_are_not_busy() {
        assert_eq!(busy_ticks("cpu  1 2 4 1000 1000 8 16 32 64 128\ncpu0 1 1"), Some(63));
        assert_eq!(busy_ticks("nothing"), None);
    }
}
