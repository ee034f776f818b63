//! `cargo xtask bench faults`: Models under requests on a real node, while parts of the cluster are away, and while their pods
//! come, go and are killed.
//!
//! Prints two tables. With `BENCH_CHECK` it is a test: a request that was lost without need, or a Model that does not recover, is a
//! failure. To add an outage, add a line to [`outages::ALL`].
mod changes;
mod outages;

use std::time::Duration;

use anyhow::ensure;
use modelwright_e2e::settings::{number, text};

/// What to do, from the environment.
pub(crate) struct Request {
    /// The names of the outages, and of what else happens; all, if there are none.
    only: Vec<String>,
    pub(crate) outage: Duration,
    /// How often each change and each kill happens.
    pub(crate) times: usize,
    /// Requests a second over HTTP/1.1, and as many calls of gRPC.
    pub(crate) rate: u32,
    check: bool,
}

impl Request {
    fn read() -> anyhow::Result<Self> {
        let only = text("BENCH_ONLY").unwrap_or_default();
        let only: Vec<_> = only.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let known: Vec<_> = outages::names().chain(changes::NAMES).collect();
        if let Some(unknown) = only.iter().find(|name| !known.contains(&name.as_str())) {
            anyhow::bail!("there is no {unknown:?}; write some of {}", known.join(","));
        }
        Ok(Self {
            only,
            outage: Duration::from_secs(number("BENCH_OUTAGE_SECONDS", 60)?),
            times: number("BENCH_TIMES", 3)?,
            rate: number("BENCH_RATE", 100)?,
            check: text("BENCH_CHECK").is_some(),
        })
    }

    pub(crate) fn asks_for(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|asked| asked == name)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [outages::KNOCK, address] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return outages::knock(address);
    }
    ensure!(words.is_empty(), "run it by `cargo xtask bench faults`");
    let request = Request::read()?;
    let mut failures = outages::measure(&request).await?;
    failures.extend(changes::measure(&request).await?);
    for failure in &failures {
        eprintln!("{failure}");
    }
    ensure!(!request.check || failures.is_empty(), "requests were lost");
    Ok(())
}
