//! What an ONNX Runtime can load, and whether a model asks for more.

use std::ops::RangeInclusive;

use super::{OnnxError, OnnxFacts};

/// The versions and domains that one ONNX Runtime library has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Support {
    /// Versions of the file format.
    pub ir: RangeInclusive<i64>,
    /// Versions of the standard operator set, `ai.onnx`.
    pub opset: RangeInclusive<i64>,
    /// Other domains whose operators are built in, with their versions.
    pub domains: &'static [(&'static str, RangeInclusive<i64>)],
}

impl Support {
    /// ONNX Runtime 1.32 with its CPU execution provider.
    ///
    /// Measured with the Python packages `onnxruntime` 1.32.0 and `onnx` 1.23.2 by loading one generated model for each
    /// version: IR 15 is refused ("Unsupported model IR version: 15, max supported IR version: 14"), and so are
    /// `ai.onnx` 29, `ai.onnx.ml` 6 and version 2 of Microsoft's domains. Below, nothing is refused by its version
    /// alone: an old model loads as long as the library has a kernel for each of its operators, which for `Identity` it
    /// has from opset 1 on, for `Relu` from 6, for `Add` and `Gemm` from 7. The domains are those for which the library
    /// lists CPU kernels.
    pub const ONNX_RUNTIME_1_32_CPU: Self = Self {
        ir: 1..=14,
        opset: 1..=28,
        domains: &[("ai.onnx.ml", 0..=5), ("com.microsoft", 0..=1), ("com.microsoft.nchwc", 0..=1)],
    };

    /// The versions of `domain`, or `None` if the library has no operator of it.
    fn versions(&self, domain: &str) -> Option<&RangeInclusive<i64>> {
        if domain.is_empty() {
            return Some(&self.opset);
        }
        self.domains.iter().find(|(known, _)| *known == domain).map(|(_, versions)| versions)
    }
}

/// Checks that the library can load a model: versions of the file format and of each operator set, and the domains of
/// the operators in use. A domain that is imported and never used is fine; ONNX Runtime ignores it.
pub fn check(facts: &OnnxFacts, support: &Support) -> Result<(), OnnxError> {
    if !support.ir.contains(&facts.ir_version) {
        let (oldest, newest) = (*support.ir.start(), *support.ir.end());
        return Err(OnnxError::UnsupportedIr { found: facts.ir_version, oldest, newest });
    }
    for (domain, version) in &facts.opsets {
        if let Some(versions) = support.versions(domain)
            && !versions.contains(version)
        {
            return Err(OnnxError::UnsupportedOpset {
                domain: if domain.is_empty() { "ai.onnx".to_owned() } else { domain.clone() },
                found: *version,
                oldest: *versions.start(),
                newest: *versions.end(),
            });
        }
    }
    match facts.operators.iter().find(|(domain, _)| support.versions(domain).is_none()) {
        None => Ok(()),
        Some((domain, operators)) => Err(OnnxError::CustomOperator {
            domain: domain.clone(),
            operators: operators.iter().take(8).cloned().collect(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Support = Support::ONNX_RUNTIME_1_32_CPU;

    fn facts(ir_version: i64, opsets: &[(&str, i64)], operators: &[(&str, &str)]) -> OnnxFacts {
        let mut facts = OnnxFacts { ir_version, ..OnnxFacts::default() };
        facts.opsets.extend(opsets.iter().map(|(domain, version)| ((*domain).to_owned(), *version)));
        for (domain, operator) in operators {
            facts.operators.entry((*domain).to_owned()).or_default().insert((*operator).to_owned());
        }
        facts
    }

    #[test]
    fn newest_and_oldest_versions_are_accepted() {
        for (ir, opset) in [(14, 28), (1, 1), (8, 13)] {
            check(&facts(ir, &[("", opset), ("ai.onnx.ml", 5)], &[]), &CPU).unwrap();
        }
    }

    #[test]
    fn newer_file_format_is_refused_with_both_versions() {
        let error = check(&facts(15, &[("", 28)], &[]), &CPU).unwrap_err();
        assert_eq!(error.reason(), "UnsupportedIr");
        let message = error.to_string();
        assert!(message.contains("IR version 15") && message.contains("1 to 14"), "{message}");
    }

    #[test]
    fn newer_operator_set_is_refused_with_its_domain() {
        let error = check(&facts(10, &[("", 29)], &[]), &CPU).unwrap_err();
        assert_eq!(error.reason(), "UnsupportedOpset");
        assert!(error.to_string().contains("version 29 of the operator set ai.onnx,"), "{error}");
        let error = check(&facts(10, &[("", 20), ("com.microsoft", 2)], &[]), &CPU).unwrap_err();
        assert!(error.to_string().contains("com.microsoft"), "{error}");
    }

    #[test]
    fn operator_of_an_unknown_domain_is_refused_and_its_import_alone_is_not() {
        let opsets = &[("", 20), ("com.example", 1)];
        check(&facts(10, opsets, &[]), &CPU).unwrap();
        check(&facts(10, opsets, &[("com.microsoft", "Gelu")]), &CPU).unwrap();
        let error = check(&facts(10, opsets, &[("com.example", "Foo")]), &CPU).unwrap_err();
        assert_eq!(error.reason(), "CustomOperator");
        assert!(error.to_string().contains("Foo of the domain \"com.example\""), "{error}");
    }
}
