//! Metrics of predicted classes.

use crate::matrix::{Matrix, Predictions, Targets};

/// Probabilities beside the classes that the rows have. There is at least one row, and every class has a column.
#[derive(Clone, Copy)]
pub(super) struct Classified<'a> {
    probabilities: &'a Matrix,
    actual: &'a [u32],
}

/// The position of the largest value, the first of equal ones, as ONNX's `ArgMax` has it; 0 for no values.
pub fn label(values: &[f32]) -> usize {
    let larger = |best: usize, index: usize| if values[index] > values[best] { index } else { best };
    (1..values.len()).fold(0, larger)
}

impl<'a> Classified<'a> {
    /// `None` when these are not the probabilities of these rows, or there are no rows.
    pub(super) fn new(predictions: &'a Predictions, targets: &'a Targets) -> Option<Self> {
        let (Predictions::Probabilities(probabilities), Targets::Classes { indices, count }) =
            (predictions, targets)
        else {
            return None;
        };
        let known = indices.iter().all(|&class| (class as usize) < *count);
        let fits = probabilities.rows() == indices.len() && probabilities.columns() == *count;
        (known && fits && !indices.is_empty()).then_some(Self { probabilities, actual: indices })
    }

    /// How many classes there are.
    pub(super) fn classes(self) -> usize {
        self.probabilities.columns()
    }

    /// The actual and the predicted class of each row.
    pub(super) fn labels(self) -> impl Iterator<Item = (usize, usize)> {
        let predicted = (0..self.probabilities.rows()).map(move |row| label(self.probabilities.row(row)));
        self.actual.iter().map(|&class| class as usize).zip(predicted)
    }

    /// The probability that each row is given of a class, and whether it has the class.
    fn scores(self, class: usize) -> impl Iterator<Item = (f32, bool)> {
        let scores = (0..self.probabilities.rows()).map(move |row| self.probabilities.row(row)[class]);
        scores.zip(self.actual.iter().map(move |&actual| actual as usize == class))
    }

    /// The mean of -ln p of the actual class. A probability is held between the f32 epsilon (1.19e-7) and 1 minus it, as
    /// scikit-learn does with what an f32 model gives: one confident mistake costs 15.9 and not infinity.
    pub(super) fn log_loss(self) -> f64 {
        let bounded = |(row, &class): (usize, &u32)| {
            f64::from(self.probabilities.row(row)[class as usize].clamp(f32::EPSILON, 1.0 - f32::EPSILON))
        };
        let sum: f64 = self.actual.iter().enumerate().map(bounded).map(|p| -libm::log(p)).sum();
        sum / self.actual.len() as f64
    }

    /// The area under the ROC curve of each class against the rest, on average, in binary tasks that of the second class;
    /// `None` where one is undefined.
    pub(super) fn roc_auc(self) -> Option<f64> {
        let classes = if self.classes() == 2 { 1..2 } else { 0..self.classes() };
        let count = classes.len() as f64;
        let areas: Option<Vec<f64>> = classes.map(|class| self.ranked(class).area()).collect();
        areas.map(|areas| areas.iter().sum::<f64>() / count)
    }

    /// The rows from the highest to the lowest probability of a class.
    pub(super) fn ranked(self, class: usize) -> Ranked {
        let mut rows: Vec<(f32, bool)> = self.scores(class).collect();
        rows.sort_by(|one, other| other.0.total_cmp(&one.0));
        Ranked(rows)
    }

    /// Hits and misses of each class.
    pub(super) fn tally(self) -> Tally {
        let zeros = vec![0; self.classes()];
        let mut tally = Tally { right: zeros.clone(), actual: zeros.clone(), predicted: zeros };
        for (actual, predicted) in self.labels() {
            tally.actual[actual] += 1;
            tally.predicted[predicted] += 1;
            tally.right[actual] += u64::from(actual == predicted);
        }
        tally
    }
}

/// Scores in descending order, each with whether the row has the class in question.
pub(super) struct Ranked(Vec<(f32, bool)>);

impl Ranked {
    /// After each group of equal scores: how many rows without and with the class have been seen.
    #[expect(clippy::float_cmp, reason = "scores are equal or they are not; 0 and -0 are")]
    pub(super) fn steps(&self) -> Vec<(u64, u64)> {
        let (mut negatives, mut positives) = (0, 0);
        let groups = self.0.chunk_by(|one, other| one.0 == other.0);
        let count = |group: &[(f32, bool)]| {
            let with = group.iter().filter(|(_, has)| *has).count() as u64;
            positives += with;
            negatives += group.len() as u64 - with;
            (negatives, positives)
        };
        groups.map(count).collect()
    }

    /// The area under the ROC curve, equal scores counting half (the statistic of Mann and Whitney); `None` without rows of
    /// both kinds, and where a score is not a number.
    pub(super) fn area(&self) -> Option<f64> {
        if self.0.iter().any(|(score, _)| score.is_nan()) {
            return None;
        }
        let steps = self.steps();
        let (negatives, positives) =
            steps.last().copied().filter(|&(without, with)| without > 0 && with > 0)?;
        let mut area = 0.0;
        let (mut left, mut below) = (0, 0);
        for (without, with) in steps {
            area += (without - left) as f64 * (below + with) as f64 / 2.0;
            (left, below) = (without, with);
        }
        Some(area / (negatives as f64 * positives as f64))
    }
}

/// How many rows of each class there are, how many are given it, and how many rightly.
pub(super) struct Tally {
    right: Vec<u64>,
    actual: Vec<u64>,
    predicted: Vec<u64>,
}

impl Tally {
    pub(super) fn accuracy(&self) -> f64 {
        self.right.iter().sum::<u64>() as f64 / self.actual.iter().sum::<u64>() as f64
    }

    pub(super) fn precision(&self) -> f64 {
        self.average(|class| ratio(self.right[class], self.predicted[class]))
    }

    pub(super) fn recall(&self) -> f64 {
        self.average(|class| ratio(self.right[class], self.actual[class]))
    }

    pub(super) fn f1(&self) -> f64 {
        self.average(|class| ratio(2 * self.right[class], self.actual[class] + self.predicted[class]))
    }

    /// Of the second of two classes; else the mean over those that some row has or is given.
    fn average(&self, of_class: impl Fn(usize) -> f64) -> f64 {
        if self.actual.len() == 2 {
            return of_class(1);
        }
        let occur = |class: &usize| self.actual[*class] + self.predicted[*class] > 0;
        let values: Vec<f64> = (0..self.actual.len()).filter(occur).map(of_class).collect();
        values.iter().sum::<f64>() / values.len() as f64
    }
}

/// The quotient, 0 of nothing.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
