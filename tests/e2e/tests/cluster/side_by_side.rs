//! Clusters do not meet, and leave nothing.

use std::{collections::BTreeSet, process::Command};

use crate::machine::{Cluster, Killed, all_namespaces, alone, eventually, run, sh};

/// What a cluster could leave on the machine, besides processes and their namespaces.
fn traces() -> String {
    let parts = [
        "ip -o link show | cut -d: -f2 | sort",
        "ip -4 route show table all | sort",
        "nft list ruleset",
        "cut -d' ' -f2 /proc/self/mounts | sort",
        // Where programs of a node have folders that no setting moves.
        "ls -d /opt/* /var/lib/* /usr/libexec/* /etc/cni* /var/log/* 2>/dev/null || true",
        "find /sys/fs/cgroup -type d -name 'mw-*' | sort",
    ];
    parts.map(sh).join("\n--\n")
}

#[test]
fn two_clusters_do_not_meet_and_leave_nothing() {
    let _alone = alone();
    let before = traces();
    let (first, second) = (Cluster::new('a'), Cluster::new('b'));
    first.up(&[]).unwrap();
    second.up(&[]).unwrap();
    assert!(traces().lines().any(|line| !before.contains(line)), "a running cluster has traces");

    first.kubectl(&["create", "namespace", "only-in-one"]).unwrap();
    let other = second.kubectl(&["get", "namespaces", "--output=name"]).unwrap();
    assert!(!other.contains("only-in-one"), "{other}");
    // Again is no second start.
    first.up(&[]).unwrap();
    first.kubectl(&["get", "namespace", "only-in-one"]).unwrap();

    let inside: BTreeSet<_> = [&first, &second].into_iter().flat_map(Cluster::namespaces).collect();
    assert!(inside.len() > 12, "pods have namespaces of their own: {inside:?}");
    first.down().unwrap();
    let pods = second.kubectl(&["top", "pods", "--namespace=kube-system"]).unwrap();
    assert!(pods.contains("coredns"), "{pods}");
    second.down().unwrap();
    for cluster in [&first, &second] {
        assert!(!cluster.state().exists());
        eventually("nobody watches over it", || !cluster.is_watched());
        assert!(cluster.processes().is_empty(), "{:?}", cluster.processes());
    }
    // The machine's first process may take a moment to collect the dead.
    eventually("no process is left in the namespaces", || inside.is_disjoint(&all_namespaces()));
    let after = traces();
    let new: Vec<_> = after.lines().filter(|line| !before.contains(line)).collect();
    assert_eq!(new, Vec::<&str>::new(), "left behind");
    // Ending what does not run is no error.
    first.down().unwrap();
}

#[test]
fn cluster_ends_with_its_owner() {
    let _alone = alone();
    let cluster = Cluster::new('o');
    let owner = Killed(Command::new("sleep").arg("600").spawn().unwrap());
    let number = owner.0.id().to_string();
    run(&mut cluster.xtask(&["up", "--control-plane-only", "--owner", &number])).unwrap();
    assert!(!cluster.processes().is_empty());
    drop(owner);
    eventually("the cluster has ended", || cluster.processes().is_empty() && !cluster.state().exists());
}

#[test]
fn running_control_plane_is_not_mistaken_for_a_node() {
    let _alone = alone();
    let cluster = Cluster::new('m');
    cluster.up(&["--control-plane-only"]).unwrap();
    let error = cluster.up(&[]).unwrap_err().to_string();
    assert!(error.contains("it runs already, as a control-plane"), "{error}");
}
