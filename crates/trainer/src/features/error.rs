//! Why columns cannot become numbers.

use modelwright_api::training::ColumnKind;

use crate::data::quoted;

/// Columns that cannot be learnt from, or settings that do not fit them. Lists of names are ready to be shown.
#[derive(Debug, thiserror::Error)]
pub enum FeaturesError {
    /// A target that is not a column.
    #[error(
        "spec.training.data.target is {}, which is not a column of the data; there are {columns}",
        quoted(.name)
    )]
    TargetMissing {
        /// The target.
        name: String,
        /// The columns that there are, the nearest first.
        columns: String,
    },
    /// A target without a value in a row that should have one.
    #[error(
        "row {row} has no value of the target {}; leave the row out",
        quoted(.name)
    )]
    TargetValueMissing {
        /// The target.
        name: String,
        /// The row, from 1.
        row: usize,
    },
    /// A target without any value.
    #[error(
        "the target {} has no value in any row",
        quoted(.name)
    )]
    TargetAllMissing {
        /// The target.
        name: String,
    },
    /// A target with one class.
    #[error(
        "the target {} is {} in every row: there is nothing to tell apart; rows of another class are needed",
        quoted(.name), quoted(.class)
    )]
    OneClass {
        /// The target.
        name: String,
        /// The class.
        class: String,
    },
    /// A number to predict that is always the same.
    #[error(
        "the target {} is {value} in every row: there is nothing to predict; rows with other values are \
         needed",
        quoted(.name)
    )]
    TargetConstant {
        /// The target.
        name: String,
        /// The number.
        value: f32,
    },
    /// A regression on something else than numbers.
    #[error(
        "task Regression predicts a number, and the target {} has {found} values; write `task: Multiclass` \
         or `Binary`, or leave the task out",
        quoted(.name)
    )]
    TargetNotNumeric {
        /// The target.
        name: String,
        /// What its values are.
        found: &'static str,
    },
    /// More than two classes where two are wanted.
    #[error(
        "task Binary tells two classes apart, and the target {} has {count}: {classes}; write `task: \
         Multiclass`, or leave the task out",
        quoted(.name)
    )]
    NotBinary {
        /// The target.
        name: String,
        /// How many.
        count: usize,
        /// Their names.
        classes: String,
    },
    /// More classes than can be sensible.
    #[error(
        "the target {} has {count} classes and {limit} are possible; if it is a number, write `task: \
         Regression`; if it names the rows, it is not a target",
        quoted(.name)
    )]
    TooManyClasses {
        /// The target.
        name: String,
        /// How many.
        count: usize,
        /// How many are possible.
        limit: usize,
    },
    /// Whole numbers as classes that are too large to be told apart.
    #[error(
        "the target {} has the class {value}: numbers are read with 32 bits, which do not tell whole numbers from \
         2^24 on apart; write `type: String` for this column in spec.training.builtin.columns, or `task: \
         Regression` if it is an amount",
        quoted(.name)
    )]
    ClassNotExact {
        /// The target.
        name: String,
        /// The number as it was read.
        value: f32,
    },
    /// A class that the training rows do not have.
    #[error(
        "row {row}: {} is not a class of the target {} in the training data, which has {classes}; leave the \
         row out, or add training rows of that class",
        quoted(.class), quoted(.name)
    )]
    UnknownClass {
        /// The target.
        name: String,
        /// The class.
        class: String,
        /// The row, from 1.
        row: usize,
        /// The classes that there are.
        classes: String,
    },
    /// Weights of classes in a regression.
    #[error("spec.training.builtin.classWeights: {} is a number and has no classes; remove classWeights", quoted(.target))]
    WeightsWithoutClasses {
        /// The target.
        target: String,
    },
    /// A weight of a class that is not there.
    #[error(
        "spec.training.builtin.classWeights.values names {}, which is no class of the target; there are {classes}",
        quoted(.class)
    )]
    WeightOfNoClass {
        /// The class.
        class: String,
        /// The classes that there are.
        classes: String,
    },
    /// A setting of a column that is not there.
    #[error(
        "spec.training.builtin.columns names {}, which is not a column of the data; there are {columns}",
        quoted(.name)
    )]
    UnknownColumn {
        /// The name.
        name: String,
        /// The columns that there are, the nearest first.
        columns: String,
    },
    /// A setting that the column's type has not.
    #[error(
        "spec.training.builtin.columns: `{setting}` does not fit column {}, which is {kind:?}; {instead}",
        quoted(.name)
    )]
    SettingUnfit {
        /// The column.
        name: String,
        /// Its type.
        kind: ColumnKind,
        /// The setting as it would be written.
        setting: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// A setting of the target that only inputs have.
    #[error(
        "spec.training.builtin.columns: {} is the target and has no `{setting}`; only its `type` may be \
         written",
        quoted(.name)
    )]
    SettingOfTarget {
        /// The target.
        name: String,
        /// The setting.
        setting: &'static str,
    },
    /// A column without any value.
    #[error(
        "column {} has no value in any training row; write `type: Ignored` for it in \
         spec.training.builtin.columns",
        quoted(.name)
    )]
    ColumnAllMissing {
        /// The column.
        name: String,
    },
    /// No columns but the target.
    #[error(
        "there is no column to learn from besides the target {}",
        quoted(.target)
    )]
    NoFeatures {
        /// The target.
        target: String,
    },
    /// One matrix of columns that are not all numbers.
    #[error(
        "`inputs: Features` is a matrix of numbers, and column {} is {kind:?}; write `inputs: Columns`, or \
         `type: Ignored` for that column",
        quoted(.name)
    )]
    FeaturesNotNumeric {
        /// The first such column.
        name: String,
        /// Its type.
        kind: ColumnKind,
    },
    /// A table that is not like the one that was learnt from. It should have been read like it.
    #[error(
        "column {} of the training rows is not in these rows as {kind:?}",
        quoted(.name)
    )]
    OtherTable {
        /// The column.
        name: String,
        /// What was expected.
        kind: ColumnKind,
    },
}

crate::reasons::reasons! {
    FeaturesError:
    TargetMissing => "TargetMissing", InvalidConfiguration;
    TargetValueMissing => "TargetValueMissing", BadData;
    TargetAllMissing => "TargetAllMissing", BadData;
    OneClass => "OneClass", BadData;
    TargetConstant => "TargetConstant", BadData;
    TargetNotNumeric => "TargetNotNumeric", InvalidConfiguration;
    NotBinary => "NotBinary", InvalidConfiguration;
    TooManyClasses => "TooManyClasses", BadData;
    ClassNotExact => "ClassNotExact", InvalidConfiguration;
    UnknownClass => "UnknownClass", BadData;
    WeightsWithoutClasses => "WeightsWithoutClasses", InvalidConfiguration;
    WeightOfNoClass => "WeightOfNoClass", InvalidConfiguration;
    UnknownColumn => "UnknownColumn", InvalidConfiguration;
    SettingUnfit => "SettingUnfit", InvalidConfiguration;
    SettingOfTarget => "SettingOfTarget", InvalidConfiguration;
    ColumnAllMissing => "ColumnAllMissing", BadData;
    NoFeatures => "NoFeatures", BadData;
    FeaturesNotNumeric => "FeaturesNotNumeric", InvalidConfiguration;
    OtherTable => "OtherTable", Bug;
}
