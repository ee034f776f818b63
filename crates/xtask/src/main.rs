//! The project's chores, run as `cargo xtask COMMAND`: generated files, ONNX Runtime, example models, test servers.
#![forbid(unsafe_code)]

mod onnxruntime;
mod test_servers;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// One variant per chore; each lives in the module of the same name.
#[derive(Subcommand)]
enum Command {
    /// Get ONNX Runtime's CPU library into the cache folder, from its Python wheel.
    #[command(name = "onnxruntime")]
    OnnxRuntime {
        /// Print the library's path and nothing else.
        #[arg(long)]
        print: bool,
    },
    /// Build and install the object storage servers that tests start; minutes the first time.
    TestServers,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::OnnxRuntime { print } => {
            let library = onnxruntime::ensure_library()?;
            if print {
                println!("{}", library.display());
            } else {
                eprintln!("ONNX Runtime is at {}", library.display());
            }
        }
        Command::TestServers => test_servers::install()?,
    }
    Ok(())
}
