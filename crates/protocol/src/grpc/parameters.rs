//! Which parameters mean something, and what.

use std::collections::HashMap;
use std::time::Duration;

use super::inference::InferParameter;
use super::inference::infer_parameter::ParameterChoice;
use crate::error::{Error, excerpt};
use crate::limits::Limits;
use crate::parameters::bounded;
use crate::path::Path;

/// What a map of parameters belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Request,
    Input,
    Output,
}

/// What the parameters ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Of a request: how long the client wants to wait.
    pub(super) timeout: Option<Duration>,
    /// Of an output: so many of the largest, as text.
    pub(super) classification: Option<u32>,
}

/// Checks the parameters, and gives what they ask for.
pub(super) fn read(
    parameters: &HashMap<String, InferParameter>,
    scope: Scope,
    path: &Path<'_>,
    limits: &Limits,
) -> Result<Wanted, Error> {
    if parameters.len() > limits.max_parameters {
        let (path, limit) = (path.to_string(), limits.max_parameters);
        return Err(Error::LimitExceeded { path, what: "parameters", limit });
    }
    let mut wanted = Wanted::default();
    for (key, value) in parameters {
        bounded(key, limits, path)?;
        let Some(value) = &value.parameter_choice else { continue };
        if is_neutral(value) {
            continue;
        }
        let here = path.key(key);
        match (scope, key.as_str()) {
            (Scope::Request, "timeout") => {
                let microseconds = positive(value, "microseconds as a positive integer", &here)?;
                wanted.timeout = Some(Duration::from_micros(microseconds));
            }
            (Scope::Output, "classification") => {
                let count = positive(value, "how many classes, as a positive integer", &here)?;
                wanted.classification = Some(u32::try_from(count).unwrap_or(u32::MAX));
            }
            _ => refuse_unsupported(scope, key, &here)?,
        }
    }
    Ok(wanted)
}

/// Whether the value asks for nothing.
fn is_neutral(value: &ParameterChoice) -> bool {
    match value {
        ParameterChoice::BoolParam(value) => !value,
        ParameterChoice::Int64Param(value) => *value == 0,
        ParameterChoice::Uint64Param(value) => *value == 0,
        ParameterChoice::DoubleParam(value) => *value == 0.0,
        ParameterChoice::StringParam(value) => value.is_empty(),
    }
}

fn positive(value: &ParameterChoice, wanted: &str, path: &Path<'_>) -> Result<u64, Error> {
    let (count, got) = match value {
        ParameterChoice::Int64Param(value) => (u64::try_from(*value).ok(), value.to_string()),
        ParameterChoice::Uint64Param(value) => (Some(*value), value.to_string()),
        ParameterChoice::DoubleParam(value) => (None, value.to_string()),
        ParameterChoice::BoolParam(value) => (None, value.to_string()),
        ParameterChoice::StringParam(value) => (None, format!("the string \"{}\"", excerpt(value))),
    };
    count.ok_or_else(|| Error::InvalidValue { path: path.to_string(), got, wanted: wanted.to_owned() })
}

/// Refuses what Triton's extensions give a meaning that is not honoured here: ignoring it would answer with something else
/// than was asked for.
fn refuse_unsupported(scope: Scope, key: &str, path: &Path<'_>) -> Result<(), Error> {
    let (feature, instead) = match (scope, key) {
        (
            Scope::Input | Scope::Output,
            "shared_memory_region" | "shared_memory_offset" | "shared_memory_byte_size",
        ) => ("the shared memory extension", "send the elements in the message"),
        (Scope::Request, "sequence_id" | "sequence_start" | "sequence_end") => {
            ("sequence batching", "leave it out; every request is on its own")
        }
        (Scope::Request, "priority") => ("request priority", "leave it out or set it to 0"),
        _ => return Ok(()),
    };
    Err(Error::Unsupported { path: path.to_string(), feature, instead })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(scope: Scope, key: &str, value: ParameterChoice) -> Result<Wanted, Error> {
        let parameters = HashMap::from([(key.to_owned(), InferParameter { parameter_choice: Some(value) })]);
        read(&parameters, scope, &Path::Root.key("parameters"), &Limits::default())
    }

    #[test]
    fn a_timeout_is_microseconds() {
        let timeout = |value| parse(Scope::Request, "timeout", value).map(|wanted| wanted.timeout);
        assert_eq!(timeout(ParameterChoice::Int64Param(1500)), Ok(Some(Duration::from_micros(1500))));
        assert_eq!(timeout(ParameterChoice::Uint64Param(1)), Ok(Some(Duration::from_micros(1))));
        assert_eq!(timeout(ParameterChoice::Int64Param(0)), Ok(None));
        for wrong in [
            ParameterChoice::Int64Param(-1),
            ParameterChoice::StringParam("1s".into()),
            ParameterChoice::BoolParam(true),
            ParameterChoice::DoubleParam(0.5),
        ] {
            let error = timeout(wrong).unwrap_err().to_string();
            assert!(error.starts_with("parameters.timeout: got "), "{error}");
        }
    }

    #[rstest]
    #[case(Scope::Request, "sequence_id", false)]
    #[case(Scope::Request, "priority", false)]
    #[case(Scope::Input, "shared_memory_region", false)]
    #[case(Scope::Input, "timeout", true)]
    #[case(Scope::Request, "binary_data_output", true)]
    #[case(Scope::Request, "trace", true)]
    fn what_is_not_honoured_is_refused(#[case] scope: Scope, #[case] key: &str, #[case] ignored: bool) {
        assert_eq!(parse(scope, key, ParameterChoice::Int64Param(1)).is_ok(), ignored);
        assert_eq!(parse(scope, key, ParameterChoice::Int64Param(0)), Ok(Wanted::default()));
    }

    #[test]
    fn a_classification_is_a_count() {
        let count = |value| parse(Scope::Output, "classification", value).map(|wanted| wanted.classification);
        assert_eq!(count(ParameterChoice::Int64Param(2)), Ok(Some(2)));
        assert!(count(ParameterChoice::StringParam("2".into())).is_err());
    }

    #[test]
    fn their_number_is_bounded() {
        let parameters = (0..65).map(|index| (index.to_string(), InferParameter::default())).collect();
        let error = read(&parameters, Scope::Request, &Path::Root, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { limit: 64, .. }), "{error}");
    }
}
