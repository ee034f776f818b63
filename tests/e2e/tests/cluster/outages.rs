//! Parts of a cluster are away for a moment while a Model answers requests: none is lost, and what waited goes on.

use std::{process::Command, time::Instant};

use anyhow::Context as _;

use crate::machine::{Cluster, alone, run};

/// Seconds of each outage.
const OUTAGE: &str = "5";

#[test]
fn outages_of_the_platform_lose_no_request_and_what_waited_goes_on() -> anyhow::Result<()> {
    let _alone = alone();
    let cluster = Cluster::new('o');
    cluster.up(&[])?;
    let image =
        std::env::var("MODELWRIGHT_E2E_IMAGE").context("run these tests by `cargo xtask e2e cluster`")?;
    run(&mut cluster.xtask(&["load-image", &image]))?;
    let start = Instant::now();
    let table = run(Command::new(env!("CARGO_BIN_EXE_faults-bench"))
        .env("KUBECONFIG", cluster.state().join("admin.kubeconfig"))
        .env("KUBECACHEDIR", cluster.state().join("kubectl"))
        .env("MODELWRIGHT_E2E_PROGRAMS", cluster.folder()?)
        .env("BENCH_OUTAGE_SECONDS", OUTAGE)
        .env("BENCH_RATE", "50")
        .env("BENCH_ONLY", "api-server,etcd,dns,store")
        .env("BENCH_CHECK", "1"))?;
    eprintln!("{table}\nall of it in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
