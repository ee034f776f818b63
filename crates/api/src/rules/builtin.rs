//! Rules of `training.data` and `training.builtin`: the built-in trainer.

use super::Rule;

/// A delimiter is one character. `\t` is how a tab can be seen; the quotation mark has its own meaning in CSV.
pub const DELIMITER: Rule = Rule::everywhere(
    "self == '\\\\t' || (self.matches('^[\\t -~]$') && self != '\"')",
    "a delimiter is one ASCII character other than a quotation mark, or \\t for a tab; write for example ';'",
);

/// Parquet has columns without delimiters.
pub const DELIMITER_OF_CSV: Rule = Rule::everywhere(
    "!has(self.delimiter) || !has(self.format) || self.format == 'CSV'",
    "a delimiter belongs to CSV, and Parquet has none; remove it, or write format: CSV",
);

/// Validation rows are a part, or rows of their own.
pub const VALIDATION_ONE_OF: Rule = Rule::everywhere(
    "!has(self.source) || (!has(self.fraction) && !has(self.stratify))",
    "validation rows are a part of the training rows or rows of their own; write fraction (and stratify), or source",
);

/// What is done to a column fits its values, and where no type is written, at least one type fits all that is.
pub const COLUMN_FIELDS: Rule = Rule::everywhere(
    "(has(self.type) && self.type == 'Ignored') || \
     ((!(has(self.scale) || (has(self.impute) && self.impute in ['Mean', 'Median'])) || \
     ((!has(self.type) || self.type == 'Numeric') && !has(self.maxCategories) && \
     (!has(self.impute) || self.impute != 'Category'))) && \
     (!(has(self.maxCategories) || (has(self.impute) && self.impute == 'Category')) || \
     !has(self.type) || self.type == 'String'))",
    "a field does not fit the type of the column; Numeric has scale, and impute Mean, Median or MostFrequent; String has \
     maxCategories, and impute Category or MostFrequent; Boolean has impute MostFrequent; write the fields of one type",
);

/// What is not used needs no preparation.
pub const COLUMN_IGNORED: Rule = Rule::everywhere(
    "!has(self.type) || self.type != 'Ignored' || !(has(self.impute) || has(self.scale) || has(self.maxCategories))",
    "an Ignored column is not used, so impute, scale and maxCategories have no effect; remove them, or write another type",
);

/// Every field of an optimizer does something. Without a kind it is Adam.
pub const OPTIMIZER_FIELDS: Rule = Rule::everywhere(
    "(!has(self.momentum) || (has(self.kind) && self.kind in ['SGD', 'RMSProp'])) && \
     (!has(self.nesterov) || (has(self.kind) && self.kind == 'SGD')) && \
     (!(has(self.beta1) || has(self.beta2)) || !has(self.kind) || self.kind in ['Adam', 'AdamW']) && \
     (!has(self.rho) || (has(self.kind) && self.kind == 'RMSProp')) && \
     (!has(self.epsilon) || !has(self.kind) || self.kind != 'SGD') && \
     (!has(self.weightDecay) || (has(self.kind) && self.kind == 'AdamW'))",
    "a field does not belong to this kind of optimizer; SGD has momentum and nesterov; Adam, which is used where no kind is \
     written, has beta1, beta2 and epsilon; AdamW these and weightDecay; RMSProp has rho, epsilon and momentum; all have \
     learningRate; write the fields of one kind",
);

/// There is nothing to look ahead along without a momentum.
pub const NESTEROV_NEEDS_MOMENTUM: Rule = Rule::everywhere(
    "!has(self.nesterov) || !self.nesterov || !has(self.kind) || self.kind != 'SGD' || \
     (has(self.momentum) && self.momentum > 0.0)",
    "nesterov looks ahead along the momentum, and there is none; write for example momentum: 0.9, or remove nesterov",
);

/// Every field of a schedule does something.
pub const SCHEDULE_FIELDS: Rule = Rule::everywhere(
    "!(has(self.everyEpochs) || has(self.factor)) || (has(self.kind) && self.kind == 'Step')",
    "everyEpochs and factor belong to a Step schedule; write kind: Step, or remove them",
);

/// Weights are written where they are used.
pub const CLASS_WEIGHTS_VALUES: Rule = Rule::everywhere(
    "has(self.values) == (self.mode == 'Values') && (!has(self.values) || size(self.values) > 0)",
    "values belong to mode Values and must be written there; write mode: Values and values: {CLASS: WEIGHT}, or another \
     mode without values",
);

/// Whole batches have no size.
pub const FULL_BATCH: Rule = Rule::everywhere(
    "!has(self.fullBatch) || !self.fullBatch || !has(self.batchSize)",
    "fullBatch takes all rows in one step, so batchSize has no effect; write one of them",
);

/// What early stopping watches is measured after every epoch, which only validation rows are.
pub const MONITOR: Rule = Rule::everywhere(
    "self.matches('^val[A-Z][A-Za-z0-9]*$')",
    "early stopping watches the validation rows; write val and the name of a metric, such as valLoss or valRocAuc",
);
