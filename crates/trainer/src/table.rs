//! Rows of columns, as they were read.

/// Columns of the same number of rows, in the order of the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name in the data.
    pub name: String,
    /// Its values, one for each row.
    pub values: Values,
}

/// The values of one column.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Numbers; NaN where one is missing. They have the precision in which a served model gets them.
    Numeric(Vec<f32>),
    /// Truth values.
    Boolean(Vec<Option<bool>>),
    /// Texts.
    Text(Texts),
}

/// Texts, each different one held once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    /// The different texts, in the order of their first row. Never empty texts: those are missing values.
    pub dictionary: Vec<String>,
    /// For each row the position in the dictionary; `None` where the value is missing.
    pub codes: Vec<Option<u32>>,
}

impl Texts {
    /// The text of a row.
    pub fn get(&self, row: usize) -> Option<&str> {
        let code = (*self.codes.get(row)?)?;
        self.dictionary.get(usize::try_from(code).ok()?).map(String::as_str)
    }
}

impl Values {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Numeric(values) => values.len(),
            Self::Boolean(values) => values.len(),
            Self::Text(texts) => texts.codes.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values are missing.
    pub fn missing(&self) -> usize {
        match self {
            Self::Numeric(values) => values.iter().filter(|value| value.is_nan()).count(),
            Self::Boolean(values) => values.iter().filter(|value| value.is_none()).count(),
            Self::Text(texts) => texts.codes.iter().filter(|code| code.is_none()).count(),
        }
    }

    /// The values of some rows, in that order. Texts keep their dictionary.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numeric(values) => Self::Numeric(rows.iter().map(|&row| values[row]).collect()),
            Self::Boolean(values) => Self::Boolean(rows.iter().map(|&row| values[row]).collect()),
            Self::Text(texts) => Self::Text(Texts {
                dictionary: texts.dictionary.clone(),
                codes: rows.iter().map(|&row| texts.codes[row]).collect(),
            }),
        }
    }
}

impl Table {
    /// Columns that all have `rows` values. Panics in debug builds if one has not: a reader makes them so.
    pub fn new(columns: Vec<Column>, rows: usize) -> Self {
        debug_assert!(columns.iter().all(|column| column.values.len() == rows), "ragged table");
        Self { columns, rows }
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Some rows, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let select =
            |column: &Column| Column { name: column.name.clone(), values: column.values.select(rows) };
        Self { columns: self.columns.iter().map(select).collect(), rows: rows.len() }
    }
}
