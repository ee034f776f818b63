//! The physical limit of a request, by its parts: HTTP, reading the body, running the model. What a server takes beyond their
//! sum is what it adds.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use modelwright_protocol::{Datatype, Limits, Signature, TensorMetadata, v2};

use crate::model::{FEATURES, INPUT, OUTPUT};
use crate::process::own_cpu_time;
use crate::session::{self, Threads};
use crate::wire::{self, Wire};

/// How long a part is repeated.
const TIME: Duration = Duration::from_millis(700);

/// CPU microseconds of reading the body of one request, with the codec of the server that is measured.
pub(crate) fn parse(wire: Wire) -> anyhow::Result<f64> {
    if wire != Wire::Json {
        // One copy of the row, which the raw run has, too.
        return Ok(0.0);
    }
    let tensor = |name: &str, width: usize| TensorMetadata {
        name: name.to_owned(),
        datatype: Datatype::Fp32,
        shape: vec![-1, i64::try_from(width).unwrap_or(i64::MAX)],
    };
    let signature = Signature { inputs: vec![tensor(INPUT, FEATURES)], outputs: vec![tensor(OUTPUT, 1)] };
    let (body, limits) = (wire::json_body(), Limits::default());
    repeat(|| {
        black_box(v2::parse_infer_request(black_box(&body), None, &signature, &limits)?);
        Ok(())
    })
}

/// CPU microseconds of running the model for one row, at batches of each of the sizes; on one thread.
pub(crate) struct RawRun(Vec<(usize, f64)>);

impl RawRun {
    const BATCHES: [usize; 6] = [1, 2, 4, 8, 16, 32];

    pub(crate) fn measure(environment: &ort::environment::Environment, model: &Path) -> anyhow::Result<Self> {
        let mut session = session::open(environment, model, Threads::One)?;
        let measured = Self::BATCHES.into_iter().map(|batch| {
            let rows = wire::row().repeat(batch);
            let time = repeat(|| session::predict(&mut session, black_box(&rows)).map(drop))?;
            Ok((batch, time / batch as f64))
        });
        Ok(Self(measured.collect::<anyhow::Result<_>>()?))
    }

    /// At a batch between two that were measured, in between.
    pub(crate) fn per_row(&self, batch: f64) -> f64 {
        let after = self.0.iter().position(|&(size, _)| size as f64 >= batch).unwrap_or(self.0.len() - 1);
        let (high, high_time) = self.0[after];
        let (low, low_time) = self.0[after.saturating_sub(1)];
        if low == high {
            return high_time;
        }
        let share = ((batch - low as f64) / (high - low) as f64).clamp(0.0, 1.0);
        // Times per batch are on a line; times per row are not.
        let time = low_time * low as f64 * (1.0 - share) + high_time * high as f64 * share;
        time / batch.clamp(low as f64, high as f64)
    }
}

/// What the model says to the row; servers must say the same.
pub(crate) fn expected(environment: &ort::environment::Environment, model: &Path) -> anyhow::Result<f64> {
    let mut session = session::open(environment, model, Threads::One)?;
    Ok(session::predict(&mut session, &wire::row())?.first().copied().unwrap_or_default().into())
}

/// CPU microseconds of one call.
fn repeat(mut call: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    for _ in 0..20 {
        call()?;
    }
    let (begin, cpu, mut calls) = (Instant::now(), own_cpu_time(), 0_u32);
    while begin.elapsed() < TIME {
        call()?;
        calls += 1;
    }
    Ok(own_cpu_time().saturating_sub(cpu).as_secs_f64() * 1e6 / f64::from(calls))
}

/// Rows per run between two readings of the server's metrics; nothing if it does not count batches, or had none.
pub(crate) fn mean_batch(before: &str, after: &str) -> Option<f64> {
    let total = |text: &str, suffix: &str| -> Option<f64> {
        let samples =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        let numbers = samples.filter_map(|(series, number)| {
            let name = series.split('{').next()?;
            (name.contains("batch") && name.ends_with(suffix)).then(|| number.parse::<f64>().ok())?
        });
        numbers.reduce(|sum, number| sum + number)
    };
    let grown = |suffix| Some(total(after, suffix)? - total(before, suffix).unwrap_or(0.0));
    let (rows, runs) = (grown("_sum")?, grown("_count")?);
    (runs > 0.0).then(|| rows / runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_per_row_between_measured_batches_is_on_the_line_of_times_per_batch() {
        // 10 µs and 1 µs per row.
        let raw = RawRun(vec![(1, 11.0), (2, 6.0), (4, 3.5)]);
        assert!((raw.per_row(1.0) - 11.0).abs() < 1e-9);
        assert!((raw.per_row(3.0) - 13.0 / 3.0).abs() < 1e-9);
        assert!((raw.per_row(9.0) - 3.5).abs() < 1e-9);
        assert!((raw.per_row(0.5) - 11.0).abs() < 1e-9);
    }

    #[test]
    fn mean_batch_is_what_grew_between_two_readings() {
        let text = |sum: u32, count: u32| {
            format!(
                "# TYPE modelwright_batch_rows histogram\nmodelwright_batch_rows_sum{{model=\"a\"}} {sum}\nmodelwright_batch_rows_count{{model=\"a\"}} {count}\nmodelwright_requests_total 9\n"
            )
        };
        assert_eq!(mean_batch(&text(10, 10), &text(110, 30)), Some(5.0));
        assert_eq!(mean_batch(&text(10, 10), &text(10, 10)), None);
        assert_eq!(mean_batch("", ""), None);
    }
}
