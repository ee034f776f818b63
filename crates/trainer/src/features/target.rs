//! What is to be predicted.

use std::collections::{BTreeMap, BTreeSet};

use modelwright_api::training::Task;

use super::FeaturesError;
use super::statistics::{Welford, same};
use crate::data::{columns_nearest_first, list};
use crate::matrix::Targets;
use crate::table::{Column, Table, Values};

/// The most classes. Each is an output of the network and a column of every answer.
pub const MAX_CLASSES: usize = 1000;
/// A number with more different values than this is never taken for a class.
const MAX_NUMERIC_CLASSES: usize = 20;
/// A number with fewer rows for each value than this is never taken for a class.
const ROWS_OF_NUMERIC_CLASS: usize = 5;
/// 2^24: from here on two whole numbers may be read as one. What is read as this may have been written as the next.
const FIRST_INEXACT: f32 = 16_777_216.0;

/// What is to be predicted, and in which form the network learns it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The column.
    pub name: String,
    /// What kind of prediction it is.
    pub task: Task,
    /// The classes: numerically if all are numbers, else by their bytes; `false` and `true` for truth values. In binary
    /// tasks the second is the positive one. Empty in a regression.
    pub classes: Vec<String>,
    /// In a regression the network learns `(y - center) / spread`. Else 0.
    pub center: f32,
    /// Never 0; 1 where there is nothing to scale.
    pub spread: f32,
}

/// The target's column in a table.
pub fn find<'a>(table: &'a Table, name: &str) -> Result<&'a Column, FeaturesError> {
    table.column(name).ok_or_else(|| FeaturesError::TargetMissing {
        name: name.to_owned(),
        columns: columns_nearest_first(name, table.columns().iter().map(|column| column.name.as_str())),
    })
}

impl Target {
    /// Finds out the classes, and the task unless it is given. Missing values do not count.
    ///
    /// Truth values, and anything with exactly two values, are `Binary`; texts with more are `Multiclass`, and so are
    /// whole numbers of at most 20 values with at least 5 rows for each on average; other numbers are a `Regression`.
    /// Center and spread are those of no scaling: see [`with_scale`](Self::with_scale).
    pub fn fit(column: &Column, task: Option<Task>) -> Result<Self, FeaturesError> {
        let name = || column.name.clone();
        if column.values.missing() == column.values.len() {
            return Err(FeaturesError::TargetAllMissing { name: name() });
        }
        let wanted = task;
        let task = wanted.unwrap_or_else(|| inferred(&column.values));
        let target = |classes| Self { name: name(), task, classes, center: 0.0, spread: 1.0 };
        if wanted != Some(Task::Regression) {
            check_exact(column, task)?;
        }
        if task == Task::Regression {
            check_regression(column)?;
            return Ok(target(Vec::new()));
        }
        let seen = classes(&column.values);
        let count = seen.len();
        if let [class] = seen.as_slice() {
            return Err(FeaturesError::OneClass { name: name(), class: class.clone() });
        }
        if task == Task::Binary && count != 2 {
            let classes = list(seen.iter().map(String::as_str));
            return Err(FeaturesError::NotBinary { name: name(), count, classes });
        }
        if count > MAX_CLASSES {
            return Err(FeaturesError::TooManyClasses { name: name(), count, limit: MAX_CLASSES });
        }
        Ok(target(seen))
    }

    /// This with the center and spread of the training rows, in a regression; as it is otherwise.
    #[must_use]
    pub fn with_scale(mut self, training: &Targets) -> Self {
        if let Targets::Numbers(numbers) = training {
            (self.center, self.spread) = Welford::of(numbers.iter().copied()).scale();
        }
        self
    }

    /// The rows that have a value. The others cannot be learnt from; whoever leaves them out says how many.
    pub fn known_rows(column: &Column) -> Vec<usize> {
        (0..column.values.len()).filter(|row| is_known(&column.values, *row)).collect()
    }

    /// The values to predict. Every row must have one, and in a classification one of the [`classes`](Self::classes).
    pub fn encode(&self, column: &Column) -> Result<Targets, FeaturesError> {
        let missing =
            |row: usize| FeaturesError::TargetValueMissing { name: self.name.clone(), row: row + 1 };
        if let Some(row) = (0..column.values.len()).find(|row| !is_known(&column.values, *row)) {
            return Err(missing(row));
        }
        match (self.task, &column.values) {
            (Task::Regression, Values::Numeric(numbers)) => Ok(Targets::Numbers(numbers.clone())),
            (Task::Regression, values) => {
                Err(FeaturesError::TargetNotNumeric { name: self.name.clone(), found: words(values) })
            }
            (Task::Binary | Task::Multiclass, values) => {
                let indices = self.class_indices(values)?;
                Ok(Targets::Classes { indices, count: self.classes.len() })
            }
        }
    }

    fn class_indices(&self, values: &Values) -> Result<Vec<u32>, FeaturesError> {
        let classes: BTreeMap<&str, u32> = self.classes.iter().map(String::as_str).zip(0..).collect();
        let unknown = |row: usize, class: &str| FeaturesError::UnknownClass {
            name: self.name.clone(),
            class: class.to_owned(),
            row: row + 1,
            classes: list(self.classes.iter().map(String::as_str)),
        };
        let class = |row: usize, name: &str| classes.get(name).copied().ok_or_else(|| unknown(row, name));
        match values {
            Values::Numeric(numbers) => {
                let mut known: BTreeMap<u32, u32> = BTreeMap::new();
                let index = |(row, number): (usize, &f32)| {
                    if let Some(index) = known.get(&number.to_bits()) {
                        return Ok(*index);
                    }
                    let index = class(row, &class_name(*number))?;
                    known.insert(number.to_bits(), index);
                    Ok(index)
                };
                numbers.iter().enumerate().map(index).collect()
            }
            Values::Boolean(truths) => {
                let truths = truths.iter().enumerate();
                truths.map(|(row, truth)| class(row, truth_name(*truth == Some(true)))).collect()
            }
            Values::Text(texts) => {
                let indices: Vec<Option<u32>> =
                    texts.dictionary.iter().map(|text| classes.get(text.as_str()).copied()).collect();
                let index = |(row, code): (usize, &Option<u32>)| {
                    let position = code.and_then(|code| usize::try_from(code).ok());
                    let index = position.and_then(|position| indices.get(position).copied().flatten());
                    index.ok_or_else(|| unknown(row, texts.get(row).unwrap_or_default()))
                };
                texts.codes.iter().enumerate().map(index).collect()
            }
        }
    }
}

fn is_known(values: &Values, row: usize) -> bool {
    match values {
        Values::Numeric(numbers) => !numbers[row].is_nan(),
        Values::Boolean(truths) => truths[row].is_some(),
        Values::Text(texts) => texts.codes[row].is_some(),
    }
}

const fn words(values: &Values) -> &'static str {
    match values {
        Values::Numeric(_) => "numeric",
        Values::Boolean(_) => "Boolean",
        Values::Text(_) => "text",
    }
}

const fn truth_name(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

/// What a number is called as a class: `7` and not `7.0`, else the shortest text that is read as this number.
fn class_name(number: f32) -> String {
    // Zero has no sign as a class.
    format!("{}", if number == 0.0 { 0.0 } else { number })
}

/// The different known numbers, ascending.
fn different(numbers: &[f32]) -> Vec<f32> {
    let mut known: Vec<f32> = numbers.iter().copied().filter(|number| !number.is_nan()).collect();
    known.sort_unstable_by(f32::total_cmp);
    known.dedup_by(|one, other| same(*one, *other));
    known
}

fn inferred(values: &Values) -> Task {
    match values {
        Values::Boolean(_) => Task::Binary,
        Values::Text(_) if classes(values).len() == 2 => Task::Binary,
        Values::Text(_) => Task::Multiclass,
        Values::Numeric(numbers) => {
            let different = different(numbers);
            let rows = numbers.len() - values.missing();
            let few = different.len() <= MAX_NUMERIC_CLASSES
                && different.len() * ROWS_OF_NUMERIC_CLASS <= rows
                && different.iter().all(|number| number.fract() == 0.0);
            match different.len() {
                2 => Task::Binary,
                // The same in every row: a number that needs no classes to be refused.
                1 => Task::Regression,
                _ if few => Task::Multiclass,
                _ => Task::Regression,
            }
        }
    }
}

/// Refuses numbers as classes that may be others than are written. Codes that were all read as one number look like a
/// regression of a constant.
fn check_exact(column: &Column, task: Task) -> Result<(), FeaturesError> {
    let Values::Numeric(numbers) = &column.values else { return Ok(()) };
    let different = different(numbers);
    let inexact = different.iter().find(|number| number.abs() >= FIRST_INEXACT);
    match inexact {
        Some(value) if task != Task::Regression || different.len() == 1 => {
            Err(FeaturesError::ClassNotExact { name: column.name.clone(), value: *value })
        }
        _ => Ok(()),
    }
}

fn check_regression(column: &Column) -> Result<(), FeaturesError> {
    let name = || column.name.clone();
    let Values::Numeric(numbers) = &column.values else {
        return Err(FeaturesError::TargetNotNumeric { name: name(), found: words(&column.values) });
    };
    match different(numbers).as_slice() {
        [value] => Err(FeaturesError::TargetConstant { name: name(), value: *value }),
        _ => Ok(()),
    }
}

/// The classes that occur, in their order. Truth values have both as soon as they have two.
fn classes(values: &Values) -> Vec<String> {
    match values {
        Values::Numeric(numbers) => different(numbers).into_iter().map(class_name).collect(),
        Values::Boolean(truths) => {
            let seen: BTreeSet<bool> = truths.iter().flatten().copied().collect();
            seen.into_iter().map(|truth| truth_name(truth).to_owned()).collect()
        }
        Values::Text(texts) => {
            // The dictionary may have more than these rows do.
            let seen: BTreeSet<u32> = texts.codes.iter().flatten().copied().collect();
            let text = |code: u32| texts.dictionary.get(usize::try_from(code).ok()?).cloned();
            let mut classes: Vec<String> = seen.into_iter().filter_map(text).collect();
            classes.sort_unstable();
            // Stable: of equal numbers, `1` comes before `1.0`.
            if let Some(numbers) = classes.iter().map(|class| finite(class)).collect::<Option<Vec<f64>>>() {
                let mut numbered: Vec<(f64, String)> = numbers.into_iter().zip(classes).collect();
                numbered.sort_by(|one, other| one.0.total_cmp(&other.0));
                return numbered.into_iter().map(|(_, class)| class).collect();
            }
            classes
        }
    }
}

fn finite(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests;
