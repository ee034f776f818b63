//! What a piece of work costs the API server, by its own metrics.
use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use anyhow::Context;
use kube::Client;

/// The state of the API server's counters at a moment.
pub struct Meter {
    client: Client,
    start: Instant,
    counters: Counters,
}

/// What has been spent since a meter was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// By the clock.
    pub time: Duration,
    /// Processor seconds of the API server.
    pub cpu_seconds: f64,
    /// Requests of every client, by verb.
    pub requests: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Counters {
    cpu_seconds: f64,
    requests: BTreeMap<String, u64>,
}

impl Meter {
    /// Reads the counters.
    pub async fn start(client: &Client) -> anyhow::Result<Self> {
        let counters = read(client).await?;
        Ok(Self { client: client.clone(), start: Instant::now(), counters })
    }

    /// What has been spent since, by every client of the API server together.
    pub async fn load(&self) -> anyhow::Result<Load> {
        let time = self.start.elapsed();
        let now = read(&self.client).await?;
        let since = |(verb, count): (&String, &u64)| {
            let before = self.counters.requests.get(verb).copied().unwrap_or(0);
            (*count > before).then(|| (verb.clone(), count - before))
        };
        Ok(Load {
            time,
            cpu_seconds: now.cpu_seconds - self.counters.cpu_seconds,
            requests: now.requests.iter().filter_map(since).collect(),
        })
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: u64 = self.requests.values().sum();
        write!(
            f,
            "{:.1} s | API server {:.1} CPU s | {total} requests",
            self.time.as_secs_f64(),
            self.cpu_seconds
        )?;
        for (index, (verb, count)) in self.requests.iter().enumerate() {
            write!(f, "{} {count} {verb}", if index == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

async fn read(client: &Client) -> anyhow::Result<Counters> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = client.request_text(request).await.context("cannot read the API server's metrics")?;
    Ok(counters(&text))
}

fn counters(text: &str) -> Counters {
    let mut counters = Counters::default();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        if series == "process_cpu_seconds_total" {
            counters.cpu_seconds = value;
        } else if let Some(labels) = series.strip_prefix("apiserver_request_total{") {
            let verb = labels.split("verb=\"").nth(1).and_then(|rest| rest.split('"').next());
            // A counter of requests is whole.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let value = value as u64;
            *counters.requests.entry(verb.unwrap_or_default().to_owned()).or_default() += value;
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_summed_by_verb() {
        let text = "# TYPE apiserver_request_total counter\n\
                    apiserver_request_total{code=\"200\",verb=\"GET\",version=\"v1\"} 3\n\
                    apiserver_request_total{code=\"404\",verb=\"GET\",version=\"v1\"} 2\n\
                    apiserver_request_total{code=\"201\",verb=\"POST\"} 1\n\
                    process_cpu_seconds_total 1.25\n";
        let requests = BTreeMap::from([("GET".to_owned(), 5), ("POST".to_owned(), 1)]);
        assert_eq!(counters(text), Counters { cpu_seconds: 1.25, requests });
    }
}
