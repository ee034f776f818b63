//! Whatever is killed, the cluster or the next start recovers.

use std::{process::Stdio, thread, time::Duration};

use crate::machine::{Cluster, alone, children, eventually, kill};

/// Kills a start of the cluster, script and all, after `milliseconds`.
fn kill_start(cluster: &Cluster, arguments: &[&str], milliseconds: u64) {
    let mut command = cluster.xtask(&["up"]);
    let mut start = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(Duration::from_millis(milliseconds));
    // The script is a child of xtask, and has children of its own that are not yet the cluster's.
    let script = children(start.id());
    for number in script.iter().flat_map(|&number| children(number)).chain(script.iter().copied()) {
        kill(number);
    }
    kill(start.id());
    start.wait().unwrap();
}

#[test]
fn start_of_a_control_plane_recovers_from_one_that_was_killed() {
    let _alone = alone();
    let cluster = Cluster::new('k');
    for milliseconds in [100, 300, 700, 1500, 2500] {
        kill_start(&cluster, &["--control-plane-only"], milliseconds);
        cluster.up(&["--control-plane-only"]).unwrap();
        cluster.kubectl(&["get", "namespaces"]).unwrap();
        if milliseconds < 1000 {
            // The next one is killed in the middle of a start from nothing.
            cluster.down().unwrap();
        }
    }
}

#[test]
fn start_of_a_node_recovers_from_one_that_was_killed() {
    let _alone = alone();
    let cluster = Cluster::new('n');
    for milliseconds in [1000, 4000] {
        kill_start(&cluster, &[], milliseconds);
    }
    cluster.up(&[]).unwrap();
    cluster.kubectl(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=10s"]).unwrap();
}

#[test]
fn killed_programs_are_started_again() {
    let _alone = alone();
    let cluster = Cluster::new('p');
    cluster.up(&[]).unwrap();
    let programs = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "containerd",
        "kubelet",
        "kube-proxy",
    ];
    for (number, program) in programs.iter().enumerate() {
        let killed = cluster.process(program).unwrap_or_else(|| panic!("{program} does not run"));
        kill(killed);
        eventually(&format!("{program} runs again"), || {
            cluster.process(program).is_some_and(|now| now != killed)
        });
        // A new pod needs every one of them: it is stored, made by a controller, bound, run, and reported.
        let name = format!("after-{number}");
        eventually(&format!("a deployment is accepted after {program} was killed"), || {
            let create = ["create", "deployment", &name, "--image=localhost/busybox:1", "--", "sleep", "600"];
            cluster.kubectl(&create).is_ok() || cluster.kubectl(&["get", "deployment", &name]).is_ok()
        });
        eventually(&format!("pods run after {program} was killed"), || {
            let ready = ["get", "deployment", &name, "--output=jsonpath={.status.readyReplicas}"];
            cluster.kubectl(&ready).is_ok_and(|ready| ready == "1")
        });
    }
    // And the one that everything runs beneath, which nothing starts again but the next `up`.
    let first = cluster.process("unshare").expect("the node's first process has a parent");
    kill(first);
    eventually("everything has ended with it", || cluster.processes().is_empty());
    cluster.up(&[]).unwrap();
    cluster.kubectl(&["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=10s"]).unwrap();
}
