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
//! The answer is always `{"predictions": …}`, where TensorFlow Serving says `outputs` to a request by `inputs`. With one
//! output it is the list of its rows; with several, a list of objects by output name. A row of one element is written
//! bare, so `[N, 1]` gives `[a, b, …]`. Outputs that do not share a first dimension have no rows in common, which
//! TensorFlow Serving refuses; here `predictions` is then one object of whole tensors by output name.

mod request;
mod response;

pub use request::parse_predict_request;
pub use response::write_predictions;
