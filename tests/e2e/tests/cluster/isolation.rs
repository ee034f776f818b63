//! No packet of a cluster leaves the machine.
//!
//! The machine of this test is a network namespace with one way out, and the test counts what goes there.

use std::{
    net::Ipv4Addr,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::machine::{Cluster, Killed, alone, eventually, kill, run, sh};

/// A network namespace whose default route leads to another one, where nothing answers.
struct Machine {
    inside: Killed,
    outside: Killed,
}

impl Machine {
    fn new() -> Self {
        let namespace = || {
            let child = Command::new("unshare").args(["--net", "sleep", "3600"]).stdin(Stdio::null()).spawn();
            Killed(child.unwrap())
        };
        let machine = Self { inside: namespace(), outside: namespace() };
        let (inside, outside) = (machine.inside.0.id(), machine.outside.0.id());
        let own = sh("readlink /proc/self/ns/net");
        for number in [inside, outside] {
            eventually("the namespace is made", || sh(&format!("readlink /proc/{number}/ns/net")) != own);
        }
        for line in [
            format!("ip link add uplink type veth peer name wire netns {outside}"),
            // Neighbour discovery of IPv6 would be counted, and has nothing to do with clusters.
            "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6".to_owned(),
            "ip link set lo up".to_owned(),
            // Addresses that are for examples only; the neighbour is known, so that nothing needs to be asked.
            "ip address add 203.0.113.2/24 dev uplink".to_owned(),
            "ip link set uplink up".to_owned(),
            "ip neighbour replace 203.0.113.1 lladdr 02:00:00:00:00:01 dev uplink".to_owned(),
            "ip route add default via 203.0.113.1".to_owned(),
        ] {
            run(machine.command("sh").args(["-c", &line])).unwrap();
        }
        run(Command::new("nsenter").args([
            "-t",
            &outside.to_string(),
            "--net",
            "ip",
            "link",
            "set",
            "wire",
            "up",
        ]))
        .unwrap();
        machine
    }

    fn within(&self) -> Vec<String> {
        ["nsenter", "-t", &self.inside.0.id().to_string(), "--net"].map(str::to_owned).to_vec()
    }

    fn command(&self, program: &str) -> Command {
        let within = self.within();
        let mut command = Command::new(&within[0]);
        command.args(&within[1..]).arg(program);
        command
    }

    /// How many packets went out so far.
    fn sent(&self) -> u64 {
        let shown = run(self.command("ip").args(["-statistics", "-json", "link", "show", "uplink"])).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
    }

    /// Tries to connect, with half a second of patience.
    fn connect(&self, address: Ipv4Addr, port: u16) {
        let line = format!("timeout 0.5 bash -c 'echo > /dev/tcp/{address}/{port}'");
        drop(self.command("sh").args(["-c", &line]).output());
    }
}

#[test]
fn no_packet_leaves_the_machine() {
    let _alone = alone();
    let machine = Machine::new();
    let cluster = Cluster::within('i', &machine.within());
    // The last step before the machine is connected may have sent something.
    thread::sleep(Duration::from_millis(500));
    let before = machine.sent();

    let started = AtomicBool::new(false);
    let tried = thread::scope(|scope| {
        // From the moment that the cluster has its addresses, somebody tries them: node, pod, Service.
        let impatient = scope.spawn(|| {
            let file = cluster.state().join("net");
            eventually("the cluster has its addresses", || file.exists());
            let mut tried = 0;
            while !started.load(Ordering::Relaxed) {
                connect_everywhere(&machine, &cluster);
                tried += 1;
            }
            tried
        });
        cluster.up(&[]).unwrap();
        started.store(true, Ordering::Relaxed);
        impatient.join().unwrap()
    });
    assert!(tried > 2, "{tried}");
    assert_eq!(machine.sent(), before, "packets left while the cluster started");

    // A pod tries as well, by address and by name.
    let escape = "wget -q -O - http://198.51.100.1/; wget -q -O - http://example.invalid/; nslookup example.invalid; echo tried";
    let pod = ["run", "escape", "--image=localhost/busybox:1", "--restart=Never", "--", "sh", "-c", escape];
    cluster.kubectl(&pod).unwrap();
    eventually("the pod has tried", || {
        cluster.kubectl(&["logs", "escape"]).is_ok_and(|said| said.contains("tried"))
    });
    assert_eq!(machine.sent(), before, "packets of a pod left");

    // The node dies, but not its addresses.
    kill(cluster.process("unshare").unwrap());
    eventually("the node is dead", || cluster.processes().is_empty());
    connect_everywhere(&machine, &cluster);
    assert_eq!(machine.sent(), before, "packets for a dead node left");
    cluster.down().unwrap();
    assert_eq!(machine.sent(), before, "packets left at the end");

    // The count counts.
    machine.connect(Ipv4Addr::new(198, 51, 100, 1), 80);
    assert!(machine.sent() > before, "this machine has a way out");
}

fn connect_everywhere(machine: &Machine, cluster: &Cluster) {
    let Ok(net) = std::fs::read_to_string(cluster.state().join("net")) else { return };
    for (end, port) in [("0.2", 6443), ("1.5", 8080), ("128.1", 443), ("250.250", 80)] {
        let address = format!("{}.{end}", net.trim()).parse().unwrap();
        machine.connect(address, port);
    }
}
