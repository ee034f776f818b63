//! What a process costs, and what the operator counts itself.
use std::{collections::BTreeMap, fs};

use anyhow::Context as _;
use modelwright_e2e::operator::Operator;

/// Clock ticks a second on Linux, in the times of `/proc`.
const TICKS: f64 = 100.0;

/// What a process has cost so far.
pub(crate) struct Process {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_mib: f64,
    pub(crate) peak_mib: f64,
}

impl Process {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |name: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
            let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
            Ok(kib / 1024.0)
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name in parentheses may hold anything; user and system time are the 12th and 13th fields after it.
        let fields: Vec<&str> = stat.rsplit_once(") ").context("no name")?.1.split_whitespace().collect();
        let ticks = |index: usize| -> anyhow::Result<f64> {
            Ok(fields.get(index).context("too few fields")?.parse::<f64>()?)
        };
        Ok(Self {
            cpu_seconds: (ticks(11)? + ticks(12)?) / TICKS,
            resident_mib: mib("VmRSS:")?,
            peak_mib: mib("VmHWM:")?,
        })
    }
}

/// Writes by verb and kind.
pub(crate) type Writes = BTreeMap<String, f64>;

/// The operator's metrics as text.
pub(crate) async fn metrics(operator: &Operator) -> anyhow::Result<String> {
    Ok(reqwest::get(format!("{}/metrics", operator.admin())).await?.text().await?)
}

/// What the operator wrote since its start, the Lease aside.
pub(crate) async fn writes(operator: &Operator) -> anyhow::Result<Writes> {
    let text = metrics(operator).await?;
    let mut writes = Writes::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("modelwright_api_writes_total{") else { continue };
        let Some((labels, count)) = rest.rsplit_once("} ") else { continue };
        if !labels.contains("leases") && !labels.contains("Lease") {
            writes.insert(labels.replace('"', ""), count.parse()?);
        }
    }
    Ok(writes)
}
