//! Where the lines of a grid stand and what is written beside them.
//!
//! plotters has axes of its own, but they choose their steps with the logarithm and power of the C library, which differ
//! between machines. Here steps are decimal numbers that are parsed, so that each is the same everywhere.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::number::with_minus;

/// The most lines of a grid.
const LINES: f64 = 6.0;

/// An axis of numbers from left to right, or from below to above.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<f64>,
    /// The power of ten of the step between ticks.
    exponent: i32,
}

impl Axis {
    /// An axis that spans all `values` and a little more; `None` if none of them is finite or they lie too far apart. It
    /// begins at 0 where values come close to it from above.
    pub(super) fn around(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return None;
        }
        let margin = if high > low { (high - low) * 0.05 } else { (low.abs() * 0.1).max(1e-3) };
        let near_zero = low >= 0.0 && low < (high - low) * 0.5;
        Self::between(if near_zero { 0.0 } else { low - margin }, high + margin)
    }

    /// An axis with exactly these ends.
    pub(super) fn between(from: f64, to: f64) -> Option<Self> {
        let span = to - from;
        if !span.is_finite() || span <= 0.0 {
            return None;
        }
        let (step, exponent) = (-60..60)
            .flat_map(|exponent| ["1", "2", "5"].map(|digit| (digit, exponent)))
            .filter_map(|(digit, exponent)| Some((format!("{digit}e{exponent}").parse().ok()?, exponent)))
            .find(|(step, _): &(f64, i32)| span / step <= LINES)?;
        let (first, last) = ((from / step).ceil(), (to / step).floor());
        let mut ticks = Vec::new();
        let mut tick = first;
        // Also ends where numbers are so large that adding one changes nothing.
        while tick <= last && ticks.len() < 8 {
            ticks.push(tick * step);
            tick += 1.0;
        }
        Some(Self { from, to, ticks, exponent })
    }

    /// An axis of whole numbers, without a line between two of them.
    pub(super) fn of_counts(from: f64, to: f64) -> Option<Self> {
        let mut axis = Self::between(from, to)?;
        if axis.exponent < 0 {
            axis.ticks.retain(|tick| (tick - tick.round()).abs() < 1e-9);
            axis.ticks.iter_mut().for_each(|tick| *tick = tick.round());
            axis.exponent = 0;
        }
        Some(axis)
    }

    /// Both ends.
    pub(super) const fn ends(&self) -> (f64, f64) {
        (self.from, self.to)
    }

    /// The most characters that are written beside a line of the grid.
    pub(super) fn label_width(&self) -> usize {
        self.ticks.iter().map(|tick| self.format_ext(tick).chars().count()).max().unwrap_or(0)
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = (value - self.from) / (self.to - self.from);
        // `as` gives the nearest number that there is, and 0 for NaN.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a pixel of a chart, which is a few hundred wide"
        )]
        let pixels = (f64::from(limit.1 - limit.0) * part.clamp(-1.0, 2.0)).round() as i32;
        limit.0 + pixels
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let text = match self.exponent {
            0..5 => format!("{value:.0}"),
            -4..0 => format!("{value:.*}", usize::try_from(-self.exponent).unwrap_or(0)),
            _ if *value == 0.0 => "0".to_owned(),
            _ => format!("{value:.1e}").replace(".0e", "e"),
        };
        with_minus(if text.trim_matches(['-', '0', '.']).is_empty() {
            text.trim_start_matches('-')
        } else {
            &text
        })
    }
}
