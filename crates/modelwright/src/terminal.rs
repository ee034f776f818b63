//! What people see while something long runs: bars on a terminal, lines elsewhere.

use std::io::IsTerminal as _;
use std::sync::Arc;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use modelwright_artifact::Progress;

/// The terminal's lower lines, where bars live while lines scroll above them.
#[derive(Clone)]
pub(crate) struct Terminal {
    bars: MultiProgress,
    interactive: bool,
}
