//! Which numbers a network sees of a row, and which it is to predict.
//!
//! Everything here is learnt from the training rows alone, in 64 bits, and stored in the 32 bits in which the served
//! graph holds it; both then do the same operations in the same order.

mod error;
mod note;
pub mod preprocessing;
pub(crate) mod statistics;
pub(crate) mod summary;
pub mod target;

pub use error::FeaturesError;
pub use note::Note;
pub use preprocessing::{Prepared, PreparedKind, Preprocessing};
pub use summary::{ColumnSummary, Range, summary};
pub use target::Target;
