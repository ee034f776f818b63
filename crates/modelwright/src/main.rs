//! `modelwright`: serve ONNX models from one manifest over the Open Inference Protocol.
#![forbid(unsafe_code)]

mod access;
mod arguments;
mod cluster;
mod command_line;
mod environment;
mod failure;
mod local;
mod outbound;
mod payload_log;
mod report;
mod serving;
mod signals;
mod steps;
mod support;
mod terminal;
mod training;
mod weights;

use std::io::IsTerminal as _;
use std::process::ExitCode as ProcessExit;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::arguments::{Arguments, Command, LogFormat};

/// glibc keeps the memory of a burst of requests; mimalloc gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ProcessExit {
    // First, because it needs to be alone in the process. Where it cannot help, loading the library says so.
    modelwright_runtime::telemetry::refuse();
    let arguments = match command_line::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => return report::refuse_arguments(&error),
    };
    start_logging(&arguments);
    match arguments.command {
        Command::Run(arguments) => local::run(&arguments),
        Command::Resolve(arguments) => steps::resolve::run(&arguments),
        Command::Fetch(arguments) => steps::fetch::run(&arguments),
        Command::Agent(arguments) => steps::agent::run(&arguments),
        Command::Check(arguments) => steps::check::run(&arguments),
        Command::Publish(arguments) => steps::publish::run(&arguments),
        Command::Train(arguments) => steps::train::run(&arguments),
        Command::Data(arguments) => steps::data::run(&arguments),
        Command::Delete(arguments) => steps::delete::run(&arguments),
        Command::Serve(arguments) => steps::serve::run(&arguments),
        Command::Operator(arguments) => cluster::operator::run(&arguments),
        Command::Plan(arguments) => cluster::plan::run(&arguments),
        Command::Why(arguments) => cluster::why::run(&arguments),
        Command::CheckInstallation(arguments) => cluster::check_installation::run(&arguments),
        Command::HashKey(arguments) => steps::hash_key::run(&arguments),
        Command::Crd => steps::crd::run(),
    }
}

/// Logs to standard error. `run` speaks to people by itself and logs only what is wrong; the steps log what they do.
fn start_logging(arguments: &Arguments) {
    let level =
        if matches!(arguments.command, Command::Run(_)) { LevelFilter::WARN } else { LevelFilter::INFO };
    let mut filter = environment::log().unwrap_or_else(|| level.to_string());
    if !filter.contains("kube_client") {
        // kube says every failed request itself, once more and without its cause.
        filter.push_str(",kube_client::client::builder=off");
    }
    let filter = EnvFilter::builder().with_default_directive(level.into()).parse_lossy(filter);
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => logs.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => logs.json().init(),
    }
}
