//! `modelwright crd`: the custom resource definition, for `kubectl apply -f -`.

use std::io::Write as _;
use std::process::ExitCode as ProcessExit;

use modelwright_api::contract::ExitCode;

/// Prints it.
pub(crate) fn run() -> ProcessExit {
    let code = match modelwright_api::crd::crd_yaml() {
        Ok(yaml) if std::io::stdout().write_all(yaml.as_bytes()).is_ok() => ExitCode::Done,
        Ok(_) => ExitCode::OutputUnwritable,
        Err(error) => {
            tracing::error!("the CustomResourceDefinition does not serialise: {error}");
            ExitCode::Bug
        }
    };
    code.number().into()
}
