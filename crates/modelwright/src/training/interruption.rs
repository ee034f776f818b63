//! How a training is told to stop: by a flag that it looks at after each step, so that it can leave a checkpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Whether to stop, and whether there is something that must not be dropped before it has stopped. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interruption {
    stop: Arc<AtomicBool>,
    busy: Arc<AtomicUsize>,
}

impl Interruption {
    /// The flag that a training looks at.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.stop
    }

    /// Says that a training has begun, as long as one of the guards lives.
    pub(crate) fn begin(&self) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.busy))
    }

    /// Asks to stop. Returns at once if nothing is trained, and never if something is: the training itself then ends.
    pub(crate) async fn request(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.busy.load(Ordering::Relaxed) > 0 {
            std::future::pending::<()>().await;
        }
    }
}

/// A training that is under way.
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
