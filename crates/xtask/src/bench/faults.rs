//! `cargo xtask bench faults`: Models under requests on a node of its own, while parts of the cluster are away, and while pods
//! come, go and are killed. The measuring itself is in `tests/e2e/bench/faults`.

use std::process::Command;

use anyhow::ensure;

use crate::{
    cluster::{self, Instance, Kind},
    image,
};

/// Options of the bench of outages.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each outage lasts.
    #[arg(long, value_name = "SECONDS[s]", default_value = "60s", value_parser = seconds)]
    outage: u32,
    /// Only these, separated by commas: outages (api-server, etcd, operator, dns, store, node-agent), changes of pods, kills.
    #[arg(long, value_name = "NAMES", default_value = "")]
    only: String,
    /// How often each change of pods and each kill happens.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    times: u32,
    /// Requests a second over HTTP/1.1, and as many calls of gRPC.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Measure the build of the tests: minutes less to build.
    #[arg(long)]
    debug: bool,
}

fn seconds(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('s').unwrap_or(text).parse();
    number.map_err(|_| format!("{text:?} is no number of seconds; write for example 60s"))
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    cluster::check(Kind::Node)?;
    let (archive, profile) =
        if options.debug { (image::build_for_tests()?, "debug") } else { (image::build()?, "release") };
    // The selection of the tests has the features that they were built with; any other would build much once more.
    let selection: &[&str] = if options.debug {
        &["--workspace", "--test", "local"]
    } else {
        &["--release", "--package", "modelwright-e2e"]
    };
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--bin", "faults-bench", "--bin", "load-generator"]).args(selection);
    ensure!(build.status()?.success(), "the build failed");
    let bench = crate::root().join("target").join(profile).join("faults-bench");
    super::on_a_cluster(&Instance::new("bench-faults")?, Kind::Node, &bench, |instance, programs, command| {
        instance.load_image(&archive)?;
        command
            .env("KUBECACHEDIR", instance.kubectl_cache())
            .env("MODELWRIGHT_E2E_PROGRAMS", programs.folder())
            // A failure says what was awaited and what was there; a backtrace says less in more lines.
            .env("RUST_BACKTRACE", "0")
            .env("BENCH_ONLY", &options.only)
            .env("BENCH_OUTAGE_SECONDS", options.outage.to_string())
            .env("BENCH_TIMES", options.times.to_string())
            .env("BENCH_RATE", options.rate.to_string());
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outage_is_a_number_of_seconds() {
        assert_eq!((seconds("60s"), seconds("300")), (Ok(60), Ok(300)));
        assert!(seconds("5m").unwrap_err().contains("for example 60s"));
    }
}
