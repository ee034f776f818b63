//! The definition of a product, written down: for double precision, and for tests.

use super::super::Scalar;
use super::{CHAIN, View};

/// Writes the product into `out`, row after row.
pub(in crate::network) fn multiply<T: Scalar>(left: View<'_, T>, right: View<'_, T>, out: &mut [T]) {
    for (at, element) in out.iter_mut().enumerate() {
        let (row, column) = (at / right.columns, at % right.columns);
        let term = |depth: usize| {
            left.values[row * left.row_stride + depth * left.column_stride]
                * right.values[depth * right.row_stride + column * right.column_stride]
        };
        *element = T::default();
        for start in (0..left.columns).step_by(CHAIN) {
            let end = left.columns.min(start + CHAIN);
            let chain = (start..end).fold(T::default(), |sum, depth| sum + term(depth));
            *element = if start == 0 { chain } else { *element + chain };
        }
    }
}
