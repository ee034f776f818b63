//! Numbers in rows and columns, and what is to be predicted from them.

/// A dense matrix, row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matrix<T = f32> {
    rows: usize,
    columns: usize,
    values: Vec<T>,
}

impl<T: Copy + Default> Matrix<T> {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![T::default(); rows * columns] }
    }

    /// A matrix of `values`, row after row; `None` unless there are rows × columns of them.
    pub fn new(rows: usize, columns: usize, values: Vec<T>) -> Option<Self> {
        (rows.checked_mul(columns) == Some(values.len())).then_some(Self { rows, columns, values })
    }

    /// The number of rows.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub const fn columns(&self) -> usize {
        self.columns
    }

    /// All values, row after row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// The values of one row.
    pub fn row(&self, row: usize) -> &[T] {
        &self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// The values of one row, to be changed.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        &mut self.values[row * self.columns..(row + 1) * self.columns]
    }

    /// Some rows, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut values = Vec::with_capacity(rows.len() * self.columns);
        for &row in rows {
            values.extend_from_slice(self.row(row));
        }
        Self { rows: rows.len(), columns: self.columns, values }
    }
}

/// What is to be predicted, one for each row.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Positions in the list of classes.
    Classes {
        /// One for each row.
        indices: Vec<u32>,
        /// How many classes there are.
        count: usize,
    },
    /// Numbers, in the unit of the data.
    Numbers(Vec<f32>),
}

impl Targets {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { indices, .. } => indices.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of some rows, in that order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Classes { indices, count } => {
                Self::Classes { indices: rows.iter().map(|&row| indices[row]).collect(), count: *count }
            }
            Self::Numbers(numbers) => Self::Numbers(rows.iter().map(|&row| numbers[row]).collect()),
        }
    }
}

/// What was predicted, one for each row.
#[derive(Clone, Debug, PartialEq)]
pub enum Predictions {
    /// The probability of each class: `[rows, classes]`, for two classes as well.
    Probabilities(Matrix),
    /// Numbers, in the unit of the data.
    Numbers(Vec<f32>),
}

/// Rows as a network sees them, with what is to be predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// `[rows, features]`.
    pub inputs: Matrix,
    /// One for each row.
    pub targets: Targets,
}
