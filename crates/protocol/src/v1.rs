//! `:predict` of the V1 protocol and `/predict` with named records.
//!
//! Source: TensorFlow Serving's REST API (`api_rest.md`, "Predict API"), which KServe's V1 protocol takes over. A request
//! has one of
//!
//! * `instances`: rows. A row is a bare value or array for a model with one input; an object with a field per input for
//!   any model; or, when every input is a column (`[-1]` or `[-1, 1]`), a list of the columns' values in the order of the
//!   signature. A single value may stand with or without brackets.
//! * `inputs`, or `input`: whole tensors, as an object by input name, or bare for a model with one input. Inputs may then
//!   differ in their first dimension.
//!
//! The answer is always `{"predictions": …}`, where TensorFlow Serving says `outputs` to a request by `inputs`. Its form
//! follows from the shapes in the model's signature, not from the sizes of one answer:
//!
//! * Outputs have rows if the first dimension of every one is variable. With one output, `predictions` is the list of its
//!   rows; with several, a list of objects by output name. A row is a bare value if the signature fixes all other
//!   dimensions to 1 or has none, so `[-1]` and `[-1, 1]` give `[a, b, …]`; any other row keeps its brackets, so `[-1, -1]`
//!   gives `[[a], [b], …]` even where its rows happen to have one element.
//! * Otherwise outputs are written whole: one output as its nested array (a scalar as a bare value), several as one object
//!   by output name.
//!
//! A signature does not say whether two variable dimensions are the same. When outputs with rows turn out to have
//! different numbers of them, which TensorFlow Serving refuses, they are written whole as well.

//!
//! For a model that was trained here, a [`View`] reads and writes the same in the words of its data: columns and classes by
//! name, and `null` for a missing value.

mod request;
mod response;
mod view;

pub use request::parse_predict_request;
pub use response::write_predictions;
pub use view::{SchemaError, View};
