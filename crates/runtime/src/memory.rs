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
    let left = groups.filter_map(|group| left_in(&Path::new("/sys/fs/cgroup").join(group))).min();
    machine.into_iter().chain(left).min().unwrap_or(u64::MAX)
}

/// What a control group leaves below its limit; `None` if it has none.
fn left_in(group: &Path) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let most: u64 = read("memory.max")?.trim().parse().ok()?;
    let taken: u64 = read("memory.current")?.trim().parse().ok()?;
    let cached = read("memory.stat").and_then(|text| inactive_file(&text)).unwrap_or(0);
    Some(most.saturating_sub(taken.saturating_sub(cached)))
}

/// The line `MemAvailable:  123 kB` of `proc_meminfo(5)`, in bytes.
fn meminfo_available(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = rest.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// The line `inactive_file 123` of a control group's `memory.stat`, in bytes: contents of files, as of data that was just
/// downloaded, which the kernel drops when the memory is needed. The kubelet does not count them either.
fn inactive_file(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("inactive_file "))?.trim().parse().ok()
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
    #[test]
    fn contents_of_files_that_the_kernel_can_drop_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "900\n");
        assert_eq!(left_in(folder.path()), Some(100));
        write("memory.stat", "anon 200\nfile 700\ninactive_anon 1\ninactive_file 600\nactive_file 100\n");
        assert_eq!(left_in(folder.path()), Some(700));
        write("memory.max", "max\n");
        assert_eq!(left_in(folder.path()), None);
    }
}
