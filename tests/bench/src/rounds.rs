//! The rounds: every server in turn, again and again, so that what else happens on the machine meets all of them alike.

use std::path::Path;
use std::time::Duration;

use crate::load::{self, Seen, Shape};
use crate::machine::busy_time;
use crate::parts::{self, RawRun};
use crate::peers::{Kind, Server};
use crate::process::own_cpu_time;
use crate::table::{Row, Table};
use crate::wire::Wire;

/// Runs before the counted time.
const WARM_UP: Duration = Duration::from_millis(700);

/// One server, one load, once.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) seen: Seen,
    /// CPU microseconds of the server's processes per request.
    pub(crate) cpu: f64,
    /// Processors that neither the server nor the load used.
    pub(crate) strangers: f64,
    /// Rows per run of the model, where the server counts them.
    pub(crate) batch: Option<f64>,
}

/// Loads a server.
pub(crate) fn measure(
    server: &Server,
    wire: Wire,
    connections: usize,
    time: Duration,
) -> anyhow::Result<Sample> {
    let tree = server.process.tree()?;
    let reading = || Ok((tree.cpu_time(), own_cpu_time(), busy_time()?, server.metrics()?));
    let shape = Shape { connections, warm_up: WARM_UP, time };
    let (seen, before, after) = load::run(&server.target(wire), shape, reading)?;
    let cpu = after.0.saturating_sub(before.0).as_secs_f64();
    let load = after.1.saturating_sub(before.1).as_secs_f64();
    let busy = after.2.saturating_sub(before.2).as_secs_f64();
    let batch = before.3.zip(after.3).and_then(|(before, after)| parts::mean_batch(&before, &after));
    Ok(Sample {
        cpu: cpu * 1e6 / seen.requests as f64,
        strangers: ((busy - cpu - load) / seen.elapsed.as_secs_f64()).max(0.0),
        seen,
        batch,
    })
}

/// The median of what a value is in all samples.
pub(crate) fn median(samples: &[Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

/// What is measured of one model.
pub(crate) struct Plan<'a> {
    pub(crate) wires: &'a [Wire],
    pub(crate) connections: &'a [usize],
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

/// Measures servers that run, and returns a table for each form of the request.
pub(crate) fn run(
    plan: &Plan<'_>,
    model: (&str, &Path),
    servers: &[Server],
    environment: &ort::environment::Environment,
) -> anyhow::Result<Vec<Table>> {
    let raw = RawRun::measure(environment, model.1)?;
    let mut tables = Vec::new();
    for &wire in plan.wires {
        let parse = parts::parse(wire)?;
        let mut table = Table::new(
            format!("{} model, {}", model.0, wire.name()),
            &[
                "server",
                "conn",
                "requests/s",
                "times",
                "p50 ms",
                "p99 ms",
                "CPU µs",
                "times",
                "errors",
                "strangers",
            ],
        );
        let mut speaking: Vec<&Server> = servers.iter().filter(|server| server.kind.speaks(wire)).collect();
        for &connections in plan.connections {
            let measured = interleaved(plan, wire, connections, &mut speaking);
            let find =
                |kind| measured.iter().find(|(of, _)| *of == kind).map(|(_, samples)| samples.as_slice());
            let ours = find(Kind::Ours);
            for (kind, samples) in &measured {
                table.push(row(kind.title(), connections, samples, ours));
            }
            if let (Some(ours), Some(floor)) = (ours, find(Kind::Floor)) {
                table.note(limit(connections, ours, floor, parse, &raw));
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

/// All rounds of one load. A server that fails is named, and takes no further part.
fn interleaved(
    plan: &Plan<'_>,
    wire: Wire,
    connections: usize,
    servers: &mut Vec<&Server>,
) -> Vec<(Kind, Vec<Sample>)> {
    let mut measured: Vec<(Kind, Vec<Sample>)> =
        servers.iter().map(|server| (server.kind, Vec::new())).collect();
    for round in 1..=plan.rounds {
        eprintln!("{}, {connections} connections, round {round} of {}", wire.name(), plan.rounds);
        servers.retain(|server| {
            let sample = measure(server, wire, connections, plan.time);
            let place = measured.iter().position(|(kind, _)| *kind == server.kind);
            match (sample, place) {
                (Ok(sample), Some(place)) => measured[place].1.push(sample),
                (Err(error), Some(place)) => {
                    eprintln!("FAILED: {}, {}: {error:#}", server.kind.title(), wire.name());
                    measured.remove(place);
                    return false;
                }
                (_, None) => {}
            }
            true
        });
    }
    measured
}

fn row(title: &str, connections: usize, samples: &[Sample], ours: Option<&[Sample]>) -> Row {
    let per_second = |samples: &[Sample]| median(samples, |sample| sample.seen.per_second());
    let cpu = |samples: &[Sample]| median(samples, |sample| sample.cpu);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let times = |value: f64, of: Option<f64>| of.map_or_else(String::new, |of| format!("{:.2}", value / of));
    vec![
        title.to_owned(),
        connections.to_string(),
        format!("{:.0}", per_second(samples)),
        times(per_second(samples), ours.map(per_second)),
        format!("{:.3}", median(samples, |sample| milliseconds(sample.seen.p50))),
        format!("{:.3}", median(samples, |sample| milliseconds(sample.seen.p99))),
        format!("{:.1}", cpu(samples)),
        times(cpu(samples), ours.map(cpu)),
        samples.iter().map(|sample| sample.seen.errors).sum::<usize>().to_string(),
        format!("{:.2}", median(samples, |sample| sample.strangers)),
    ]
}

/// Ours beside the sum of the parts.
fn limit(connections: usize, ours: &[Sample], floor: &[Sample], parse: f64, raw: &RawRun) -> String {
    let counted = ours.iter().all(|sample| sample.batch.is_some());
    let batch = if counted { median(ours, |sample| sample.batch.unwrap_or(1.0)) } else { 1.0 };
    let (floor, cpu) = (median(floor, |sample| sample.cpu), median(ours, |sample| sample.cpu));
    let run = raw.per_row(batch);
    let sum = floor + parse + run;
    format!(
        "{connections} conn: HTTP {floor:.1} + parse {parse:.1} + run {run:.1} = {sum:.1} µs ({}); ours {cpu:.1} µs, {:.2} \
         times the sum",
        if counted {
            format!("{batch:.1} rows a run")
        } else {
            "the server counts no batches: 1 row a run".to_owned()
        },
        cpu / sum
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu: f64) -> Sample {
        let seen = Seen {
            requests: 1,
            errors: 0,
            elapsed: Duration::from_secs(1),
            p50: Duration::ZERO,
            p99: Duration::ZERO,
        };
        Sample { seen, cpu, strangers: 0.0, batch: None }
    }

    #[test]
    fn median_is_the_middle_or_between_the_two_middle_ones() {
        let of = |values: &[f64]| {
            median(&values.iter().copied().map(sample).collect::<Vec<_>>(), |sample| sample.cpu)
        };
        assert!((of(&[9.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((of(&[4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < 1e-9);
        assert!(of(&[]).is_nan());
    }
}
