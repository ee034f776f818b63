//! What people see: bars while something long moves, lines for what they must know.
//!
//! Lines for programs and for pasting go to standard output, everything else to standard error.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use modelwright_artifact::Progress;

/// Transfers that end sooner than this show no bar: it would only flash.
const BAR_AFTER: Duration = Duration::from_millis(300);

/// Standard output and standard error with bars in its last lines. Clones share them.
#[derive(Clone)]
pub(crate) struct Terminal {
    bars: MultiProgress,
    interactive: bool,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        Self { bars: MultiProgress::new(), interactive: std::io::stderr().is_terminal() }
    }

    /// A line on standard output. That nobody reads it any more is no reason to stop serving.
    pub(crate) fn print(&self, line: &str) {
        self.bars.suspend(|| {
            let mut out = std::io::stdout().lock();
            let _ = writeln!(out, "{line}");
            let _ = out.flush();
        });
    }

    /// A line on standard error.
    pub(crate) fn note(&self, line: &str) {
        self.bars.suspend(|| {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        });
    }

    /// A bar of `length` steps; `None` where no terminal listens.
    pub(crate) fn bar(&self, length: u64) -> Option<ProgressBar> {
        self.interactive.then(|| self.bars.add(ProgressBar::new(length)))
    }

    /// Shows the transfers of one Model.
    pub(crate) fn transfers_of(&self, model: &str) -> Arc<dyn Progress> {
        if self.interactive {
            Arc::new(Bar { bars: self.bars.clone(), model: model.to_owned(), current: Mutex::default() })
        } else {
            Arc::new(Lines { terminal: self.clone(), model: model.to_owned() })
        }
    }
}

/// One bar per transfer.
struct Bar {
    bars: MultiProgress,
    model: String,
    current: Mutex<Option<ProgressBar>>,
}

impl Progress for Bar {
    fn begin(&self, total: Option<u64>, label: &str) {
        let template = if total.is_some() {
            "{prefix:20} {bar:30} {bytes:>11} of {total_bytes} {bytes_per_sec} {eta} left  {msg}"
        } else {
            "{prefix:20} {spinner} {bytes:>11} {bytes_per_sec}  {msg}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden())
            .with_style(style)
            .with_prefix(self.model.clone())
            .with_message(label.to_owned());
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = current.as_mut() {
            bar.inc(bytes);
            if bar.is_hidden() && bar.elapsed() > BAR_AFTER {
                *bar = self.bars.add(bar.clone());
            }
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.current.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }
}

/// Where no terminal listens, a line at the start of a transfer.
struct Lines {
    terminal: Terminal,
    model: String,
}

impl Progress for Lines {
    fn begin(&self, total: Option<u64>, label: &str) {
        let size = total.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
        self.terminal.note(&format!("reading {} {label}{size}", self.model));
    }

    fn advance(&self, _bytes: u64) {}

    fn finish(&self) {}
}
