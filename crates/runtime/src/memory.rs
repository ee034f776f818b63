//! How much memory the process may still take.

use std::path::Path;

use crate::cpus::parse_own_group;

/// Bytes of memory that can be taken without the kernel ending somebody: what the machine has available and what the control
/// groups of this process leave, whichever is less. A machine that does not tell is taken to have enough.
pub fn available() -> u64 {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| meminfo_available(&text));
    let membership = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    // In a container, its own group is usually mounted at the root.
    let groups = parse_own_group(&membership).into_iter().flat_map(Path::ancestors).chain([Path::new("")]);
    let left = groups
        .map(|group| Path::new("/sys/fs/cgroup").join(group))
        .filter_map(|group| {
            let most: u64 = read(&group.join("memory.max"))?.trim().parse().ok()?;
            let taken: u64 = read(&group.join("memory.current"))?.trim().parse().ok()?;
            Some(most.saturating_sub(taken))
        })
        .min();
    machine.into_iter().chain(left).min().unwrap_or(u64::MAX)
}

/// The line `MemAvailable:  123 kB` of `proc_meminfo(5)`, in bytes.
fn meminfo_available(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_from_the_kernels_table() {
        let text = "MemTotal:       24000 kB\nMemFree: 1 kB\nMemAvailable:   12000 kB\n";
        assert_eq!(meminfo_available(text), Some(12_288_000));
        assert_eq!(meminfo_available("MemTotal: 1 kB\n"), None);
        assert!(available() > 0);
    }
}
