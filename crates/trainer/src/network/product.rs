//! Products of matrices with a fixed order of summation.
//!
//! Element (i, j) of a product of depth k is made of chains of at most [`CHAIN`] terms: each chain starts at 0 and takes
//! left(i, p) · right(p, j) in the order of p, with one rounding for multiplication and addition where the processor has
//! that (every one of the class `x86-64-v3`, and ARM's 64-bit ones) and two where it has not; the chains are then added in
//! order. That says what the result is to the last bit. The width of vectors, the size of tiles and caches, packing and
//! threads only decide when an element is computed, never how.
//!
//! [`kernel`] computes this fast in single precision; [`plain`] is the definition written down.

use super::Scalar;

pub(super) mod kernel;
pub(super) mod plain;
#[cfg(test)]
mod tests;

pub use kernel::simd_class;

/// The most terms of one chain of summation. Changing it changes results.
const CHAIN: usize = 256;

/// Multiplications below which one more thread costs more than it saves.
const WORK_OF_A_THREAD: usize = 4 << 20;

/// A matrix as it lies in memory, or its transpose.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    /// How far the next row is.
    row_stride: usize,
    /// How far the next column is. One of the strides is 1.
    column_stride: usize,
}

impl<'a, T> View<'a, T> {
    /// A matrix of `values`, row after row.
    pub(crate) fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows} x {columns}");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, without moving anything.
    pub(crate) fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            // A single row has no next one; as long as it is, it looks like any other matrix.
            row_stride: if self.columns == 1 { self.rows } else { self.column_stride },
            column_stride: self.row_stride,
        }
    }

    /// Some of the rows, from `start` on.
    fn rows_from(self, start: usize, rows: usize) -> Self {
        Self { values: &self.values[(start * self.row_stride).min(self.values.len())..], rows, ..self }
    }
}

/// Memory that products use again and again.
#[derive(Debug, Default)]
pub struct Buffers<T> {
    /// Parts of the right factor, in the order in which they are needed.
    panels: Vec<T>,
    /// Rows of the left factor, likewise.
    block: Vec<T>,
    /// A transposed product.
    product: Vec<T>,
}

/// The threads of products, and the memory of each.
#[derive(Debug)]
pub(crate) struct Workspace<T>(Vec<Buffers<T>>);

impl<T: Scalar> Workspace<T> {
    /// For at most `threads` threads, and no more than there are processors.
    pub(crate) fn new(threads: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self((0..threads.clamp(1, processors)).map(|_| Buffers::default()).collect())
    }

    /// Writes the product of `left` and `right` into `out`, row after row.
    pub(crate) fn multiply(&mut self, left: View<'_, T>, right: View<'_, T>, out: &mut [T]) {
        let (rows, columns, depth) = (left.rows, right.columns, left.columns);
        assert_eq!(depth, right.rows, "a product of {rows} x {depth} and {} x {columns}", right.rows);
        assert_eq!(out.len(), rows * columns, "a product of {rows} x {columns}");
        if out.is_empty() {
            return;
        }
        let work = rows.saturating_mul(columns).saturating_mul(depth);
        let threads = self.0.len().min(work / WORK_OF_A_THREAD).min(rows);
        if threads < 2 {
            return T::multiply(left, right, out, &mut self.0[0]);
        }
        let share = rows.div_ceil(threads);
        std::thread::scope(|scope| {
            let mut parts = out.chunks_mut(share * columns).zip(&mut self.0).enumerate();
            let own = parts.next();
            for (part, (out, buffers)) in parts {
                let left = left.rows_from(part * share, out.len() / columns);
                scope.spawn(move || T::multiply(left, right, out, buffers));
            }
            if let Some((_, (out, buffers))) = own {
                T::multiply(left.rows_from(0, out.len() / columns), right, out, buffers);
            }
        });
    }
}
