//! `modelwright plan`: every object that the operator would make of a manifest, without a cluster.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode as ProcessExit;

use clap::Args;
use jiff::Timestamp;
use modelwright_api::contract::{ExitCode, environment as variables};
use modelwright_api::{Model, manifest};
use modelwright_operator::plan::offline;
use modelwright_operator::settings::Settings;

use crate::failure::Failure;

/// Print every object that the operator would make of the Models in a manifest, as YAML. Asks no cluster.
///
/// The operator pins the digest of a source when it has read it; where the manifest does not pin it, zeros stand for it.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The manifest: a YAML file with one Model or several. Objects of other kinds in it are passed over.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The image of Jobs, and of servers that compute on CPUs.
    #[arg(long, env = variables::IMAGE_CPU, value_name = "IMAGE", default_value = concat!("localhost/modelwright:", env!("CARGO_PKG_VERSION")))]
    image_cpu: String,
    /// The image of servers that compute with CUDA.
    #[arg(long, env = variables::IMAGE_CUDA, value_name = "IMAGE")]
    image_cuda: Option<String>,
}

/// Stands for what only a cluster gives.
const UNKNOWN_UID: &str = "00000000-0000-0000-0000-000000000000";

/// Runs it.
pub(crate) fn run(arguments: &PlanArguments) -> ProcessExit {
    match plan(arguments) {
        Ok(text) => {
            print!("{text}");
            ExitCode::Done.number().into()
        }
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            failure.exit.number().into()
        }
    }
}

fn plan(arguments: &PlanArguments) -> Result<String, Failure> {
    let path = arguments.file.display().to_string();
    let text = std::fs::read_to_string(&arguments.file).map_err(|error| {
        Failure::new(
            ExitCode::InputMissing,
            "ManifestUnreadable",
            format!("cannot read the manifest {path}: {error}; name a YAML file"),
        )
    })?;
    let models = manifest::parse_among(&text, &path)
        .map_err(|problems| invalid("InvalidManifest", problems.to_string()))?;
    let mut documents = String::new();
    for model in models {
        documents.push_str(&children(arguments, model)?);
    }
    Ok(documents)
}

fn children(arguments: &PlanArguments, mut model: Model) -> Result<String, Failure> {
    let metadata = &mut model.metadata;
    metadata.uid.get_or_insert_with(|| UNKNOWN_UID.to_owned());
    let namespace = metadata.namespace.get_or_insert_with(|| "default".to_owned()).clone();
    let name = metadata.name.clone().unwrap_or_default();
    let children = offline::children(&model, &settings(arguments), Timestamp::now())
        .map_err(|cause| invalid(&cause.reason, format!("{name}: {}", cause.message)))?;
    let mut text = String::new();
    for child in children {
        let kind = child["kind"].as_str().unwrap_or_default();
        let document = serde_yaml::to_string(&child).map_err(|error| Failure::bug(error.to_string()))?;
        let _ = write!(text, "---\n# {kind} of Model {namespace}/{name}\n{document}");
    }
    Ok(text)
}

fn settings(arguments: &PlanArguments) -> Settings {
    let mut settings = Settings::with_image(&arguments.image_cpu, env!("CARGO_PKG_VERSION"));
    settings.images.cuda.clone_from(&arguments.image_cuda);
    settings
}

fn invalid(reason: &str, message: String) -> Failure {
    Failure::new(ExitCode::InvalidConfiguration, reason, message)
}
