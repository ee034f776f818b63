//! Whether ONNX Runtime and this server can run a model, decided from the model's header in the moment that it is read.

use modelwright_api::contract::ExitCode;
use modelwright_artifact::onnx::{self, OnnxFacts, Support};
use modelwright_artifact::{Error, SourceUri};

use crate::failure::Failure;

/// Refuses a model that needs a newer ONNX Runtime or operators that it does not have, and one with an input of unknown
/// rank: ONNX Runtime reports that as a scalar, so that no request would ever fit.
///
/// One list of operators serves both execution providers: what CUDA has no kernel for, ONNX Runtime computes on the CPU.
pub(crate) fn check(uri: &SourceUri, facts: &OnnxFacts) -> Result<(), Failure> {
    onnx::check(facts, &Support::ONNX_RUNTIME_1_32_CPU)
        .map_err(|source| Error::Onnx { what: uri.to_string(), source })?;
    match facts.inputs.iter().find(|input| input.unranked) {
        None => Ok(()),
        Some(input) => Err(Failure::new(
            ExitCode::BadData,
            "UnsupportedType",
            format!(
                "{uri}: the input {:?} has no shape in the model, so requests cannot be checked against it; export the \
                 model with a shape for each input, with names for the dimensions that vary",
                input.name
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use modelwright_artifact::onnx::{ElementType, TensorFact};

    use super::*;

    #[test]
    fn input_without_a_shape_is_refused_by_name() {
        let input = |unranked| TensorFact {
            name: "x".to_owned(),
            datatype: ElementType::Fp32,
            shape: Vec::new(),
            unranked,
        };
        let facts = |unranked| OnnxFacts {
            ir_version: 8,
            opsets: [(String::new(), 17)].into(),
            inputs: vec![input(unranked)],
            ..OnnxFacts::default()
        };
        let uri = SourceUri::parse("s3://bucket/model.onnx", None).unwrap();
        check(&uri, &facts(false)).unwrap();
        let failure = check(&uri, &facts(true)).unwrap_err();
        assert_eq!((failure.exit, failure.reason.as_str()), (ExitCode::BadData, "UnsupportedType"));
        assert!(failure.message.contains("\"x\"") && failure.message.contains("s3://bucket/model.onnx"));
    }
}
