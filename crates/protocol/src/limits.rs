//! Bounds on what a request may contain.

use crate::error::Error;
use crate::path::Path;

/// Bounds on a request, checked while it is read and before memory is set aside for it.
///
/// The size of the body itself is bounded by whoever reads it from the network, and with it the memory of the tensors:
/// an element takes at least two bytes of text (three for BYTES), so a body of `n` bytes takes at most 4 × `n` bytes for
/// numbers, and for BYTES 16 × `n` bytes and one allocation per text that is not empty. Rows of V1, whose number is not
/// declared, may take twice as much while a buffer grows.
///
/// Binary tensors stay within the same bounds: numbers take exactly their bytes, and an element of BYTES at least four in
/// the body, for 32 in memory beside one copy of the whole tensor that its elements share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How deep arrays and objects may be nested, counted from the body. Default 32, at most 128; tensors in the
    /// field have up to 8 dimensions.
    pub max_depth: usize,
    /// Elements of one tensor. Default 2²⁶ (256 MiB of FP32). A dimension of 0 counts as 1 here: such a tensor takes no
    /// memory itself, but a model may allocate by its other dimensions.
    pub max_elements: usize,
    /// Dimensions of one tensor. Default 16.
    pub max_rank: usize,
    /// Entries of `inputs`. Default 4,096: a table with a column per input.
    pub max_inputs: usize,
    /// Entries of `outputs`. Default 4,096.
    pub max_outputs: usize,
    /// Entries of one `parameters` object. Default 64.
    pub max_parameters: usize,
    /// Bytes of `id`, of a parameter's name and of its text, which are kept. Default 8,192.
    pub max_text: usize,
}

impl Limits {
    /// Refuses a shape beyond [`max_elements`](Self::max_elements). Negative dimensions are for others to refuse.
    pub(crate) fn check_shape(&self, shape: &[i64], path: &Path<'_>) -> Result<(), Error> {
        let extent = shape.iter().try_fold(1_usize, |product, &dimension| {
            product.checked_mul(usize::try_from(dimension.max(1)).ok()?)
        });
        if extent.is_some_and(|extent| extent <= self.max_elements) {
            return Ok(());
        }
        let what = if shape.contains(&0) {
            "elements in one tensor, where a dimension of 0 counts as 1"
        } else {
            "elements in one tensor"
        };
        Err(Error::LimitExceeded { path: path.to_string(), what, limit: self.max_elements })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_depth: 32,
            max_elements: 1 << 26,
            max_rank: 16,
            max_inputs: 4096,
            max_outputs: 4096,
            max_parameters: 64,
            max_text: 8192,
        }
    }
}
