//! What the training rows say about one column.

use std::cmp::Reverse;

use modelwright_api::training::resolved::MAX_CATEGORIES;
use modelwright_api::training::{ColumnKind, ColumnSpec, Impute, Scale};

use super::{Prepared, PreparedKind};
use crate::data::{columns_nearest_first, kind_of, number};
use crate::features::statistics::{Welford, rounded, same};
use crate::features::summary::text_counts;
use crate::features::{FeaturesError, Note};
use crate::table::{Column, Table, Texts, Values};

/// Refuses settings of columns that are not there, and settings of the target that only inputs have.
pub(super) fn check_names(training: &Table, specs: &[ColumnSpec], target: &str) -> Result<(), FeaturesError> {
    for spec in specs {
        if spec.name == target {
            let settings = [
                ("impute", spec.impute.is_some()),
                ("scale", spec.scale.is_some()),
                ("maxCategories", spec.max_categories.is_some()),
            ];
            if let Some((setting, _)) = settings.into_iter().find(|(_, written)| *written) {
                return Err(FeaturesError::SettingOfTarget { name: spec.name.clone(), setting });
            }
        } else if spec.kind != Some(ColumnKind::Ignored) && training.column(&spec.name).is_none() {
            let names = training.columns().iter().map(|column| column.name.as_str());
            return Err(FeaturesError::UnknownColumn {
                name: spec.name.clone(),
                columns: columns_nearest_first(&spec.name, names),
            });
        }
    }
    Ok(())
}

/// How a column becomes numbers.
pub(super) fn prepared(
    column: &Column,
    spec: Option<&ColumnSpec>,
    notes: &mut Vec<Note>,
) -> Result<Prepared, FeaturesError> {
    let default = ColumnSpec::default();
    let spec = spec.unwrap_or(&default);
    check_settings(column, spec)?;
    if column.values.missing() == column.values.len() {
        return Err(FeaturesError::ColumnAllMissing { name: column.name.clone() });
    }
    let kind = match &column.values {
        Values::Numeric(numbers) => numeric(&column.name, numbers, spec, notes),
        Values::Boolean(truths) => boolean(&column.name, truths, notes),
        Values::Text(texts) => text(&column.name, texts, spec, notes),
    };
    Ok(Prepared { name: column.name.clone(), kind })
}

/// Refuses settings that the column's type has not.
fn check_settings(column: &Column, spec: &ColumnSpec) -> Result<(), FeaturesError> {
    let kind = kind_of(&column.values);
    let unfit = |setting: String, instead| {
        Err(FeaturesError::SettingUnfit { name: column.name.clone(), kind, setting, instead })
    };
    if let Some(impute) = spec.impute {
        let (fits, instead) = match kind {
            ColumnKind::Numeric => (impute != Impute::Category, "write Median, Mean or MostFrequent"),
            ColumnKind::String => {
                (matches!(impute, Impute::MostFrequent | Impute::Category), "write MostFrequent or Category")
            }
            ColumnKind::Boolean | ColumnKind::Ignored => {
                (impute == Impute::MostFrequent, "write MostFrequent or leave it out")
            }
        };
        if !fits {
            return unfit(format!("impute: {impute:?}"), instead);
        }
    }
    if let (Some(scale), true) = (spec.scale, kind != ColumnKind::Numeric) {
        return unfit(format!("scale: {scale:?}"), "leave it out: only numbers are scaled");
    }
    if let (Some(most), true) = (spec.max_categories, kind != ColumnKind::String) {
        return unfit(format!("maxCategories: {most}"), "leave it out: only texts have categories");
    }
    Ok(())
}

fn numeric(name: &str, numbers: &[f32], spec: &ColumnSpec, notes: &mut Vec<Note>) -> PreparedKind {
    let mut known: Vec<f32> = numbers.iter().copied().filter(|number| !number.is_nan()).collect();
    let fill = match spec.impute {
        Some(Impute::Mean) => rounded(Welford::of(known.iter().copied()).mean()),
        Some(Impute::MostFrequent) => most_frequent(&mut known),
        Some(Impute::Median | Impute::Category) | None => median(&mut known),
    };
    let filled = || numbers.iter().map(|number| if number.is_nan() { fill } else { *number });
    if filled().all(|number| same(number, fill)) {
        notes.push(Note::Constant { column: name.to_owned() });
    }
    let (mean, deviation) = match spec.scale.unwrap_or_default() {
        Scale::Standard => Welford::of(filled()).scale(),
        Scale::None => (0.0, 1.0),
    };
    PreparedKind::Numeric { fill, mean, deviation }
}

/// The middle one, or the mean of the two in the middle. Of at least one number.
fn median(numbers: &mut [f32]) -> f32 {
    numbers.sort_unstable_by(f32::total_cmp);
    let (lower, upper) = (numbers[(numbers.len() - 1) / 2], numbers[numbers.len() / 2]);
    rounded(f64::midpoint(lower.into(), upper.into()))
}

/// The most frequent; of several, the smallest. Of at least one number.
fn most_frequent(numbers: &mut [f32]) -> f32 {
    numbers.sort_unstable_by(f32::total_cmp);
    let runs = numbers.chunk_by(|one, other| same(*one, *other));
    // The first of the longest, which `max_by_key` alone would not give.
    runs.rev().max_by_key(|run| run.len()).map_or(0.0, |run| run[0])
}

fn boolean(name: &str, truths: &[Option<bool>], notes: &mut Vec<Note>) -> PreparedKind {
    let count = |wanted: bool| truths.iter().filter(|truth| **truth == Some(wanted)).count();
    let (no, yes) = (count(false), count(true));
    if no == 0 || yes == 0 {
        notes.push(Note::Constant { column: name.to_owned() });
    }
    PreparedKind::Boolean { fill: yes > no }
}

fn text(name: &str, texts: &Texts, spec: &ColumnSpec, notes: &mut Vec<Note>) -> PreparedKind {
    let column = || name.to_owned();
    let known = text_counts(texts);
    let rows: usize = known.iter().map(|(_, count)| count).sum();
    let missing = texts.codes.len() - rows;
    remark(name, &known, spec, notes);
    let mut counts = known;
    let fill = if spec.impute == Some(Impute::MostFrequent) {
        sort_by_frequency(&mut counts);
        counts.first().map(|(text, _)| (*text).to_owned())
    } else {
        if missing > 0 {
            counts.push(("", missing));
        }
        sort_by_frequency(&mut counts);
        None
    };
    let all_different = counts.len() > 1 && counts.iter().all(|(text, count)| *count == 1 || text.is_empty());
    if counts.len() == 1 {
        notes.push(Note::Constant { column: column() });
    } else if all_different {
        notes.push(Note::EveryTextDifferent { column: column(), count: rows });
    }
    let most = spec.max_categories.and_then(|most| u32::try_from(most).ok()).unwrap_or(MAX_CATEGORIES);
    let kept = counts.len().min(usize::try_from(most).unwrap_or(usize::MAX).max(1));
    if kept < counts.len() && !all_different {
        let rows = counts[kept..].iter().map(|(_, count)| count).sum();
        notes.push(Note::RareCategories { column: column(), categories: counts.len(), kept, rows });
    }
    let mut categories: Vec<String> = counts[..kept].iter().map(|(text, _)| (*text).to_owned()).collect();
    categories.sort_unstable();
    PreparedKind::Text { categories, fill }
}

/// The most frequent first, equally frequent ones by their bytes.
fn sort_by_frequency(counts: &mut [(&str, usize)]) {
    counts.sort_unstable_by_key(|(text, count)| (Reverse(*count), *text));
}

/// Notes on how the texts are written.
fn remark(name: &str, known: &[(&str, usize)], spec: &ColumnSpec, notes: &mut Vec<Note>) {
    let column = || name.to_owned();
    let rows = |wanted: bool| {
        let texts = known.iter().filter(|(text, _)| number(text).is_some() == wanted);
        texts.map(|(_, count)| count).sum::<usize>()
    };
    let (numbers, others) = (rows(true), rows(false));
    let stray = known.iter().find(|(text, _)| number(text).is_none());
    let meant = spec.kind == Some(ColumnKind::String);
    if let (Some((example, _)), true) = (stray, numbers > others && !meant) {
        notes.push(Note::MostlyNumbers { column: column(), numbers, others, example: (*example).to_owned() });
    }
    if let Some((example, _)) = known.iter().find(|(text, _)| text.trim() != *text) {
        notes.push(Note::OuterSpaces { column: column(), example: (*example).to_owned() });
    }
}
