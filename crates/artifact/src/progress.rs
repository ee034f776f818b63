//! How far a transfer is.

/// Told about the bytes that a resolve, fetch or publish moves. Called from the task that moves them: be quick.
pub trait Progress: Send + Sync {
    /// A transfer of `total` bytes (`None` if the server does not say) begins. `label` names the file or the source.
    fn begin(&self, total: Option<u64>, label: &str);
    /// `bytes` more were moved.
    fn advance(&self, bytes: u64);
    /// The transfer that [`begin`](Self::begin) announced is over, well or badly.
    fn finish(&self);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _total: Option<u64>, _label: &str) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
}

/// Says [`Progress::finish`] when it goes out of scope, so that an error ends the transfer too.
pub(crate) struct Transfer<'a>(&'a dyn Progress);

impl<'a> Transfer<'a> {
    pub(crate) fn begin(progress: &'a dyn Progress, total: Option<u64>, label: &str) -> Self {
        progress.begin(total, label);
        Self(progress)
    }

    pub(crate) fn advance(&self, bytes: usize) {
        self.0.advance(bytes as u64);
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}
