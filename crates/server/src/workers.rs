//! Work that keeps a processor busy for long, away from the threads that answer.

use std::num::NonZeroUsize;
use std::sync::Arc;

use http::StatusCode;
use tokio::sync::Semaphore;

use crate::answer::Refusal;
use crate::data::PANICKED;

/// Text longer than this is parsed and written on a thread for blocking work, so that it does not hold up the others.
const BLOCKING_ABOVE: usize = 256 << 10;

/// Runs work on threads of its own, no more pieces at once than there are processors: tokio's pool alone would start
/// hundreds of threads, which share the same processors and each hold memory.
#[derive(Debug, Clone)]
pub(crate) struct Workers(Arc<Semaphore>);

impl Workers {
    pub(crate) fn new(processors: NonZeroUsize) -> Self {
        Self(Arc::new(Semaphore::new(processors.get().min(Semaphore::MAX_PERMITS))))
    }

    /// Does work on text of so many bytes where it disturbs the least. A panic becomes a 500.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        if bytes < BLOCKING_ABOVE { Ok(work()) } else { self.run(work).await }
    }

    /// Does work on another thread as soon as a processor is free for it. A panic becomes a 500.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let failed = || Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, PANICKED);
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|_| failed())?;
        let permitted = move || {
            // It goes with the work, which goes on even when nobody waits for it any more.
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(permitted).await.map_err(|_| failed())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_panic_on_a_blocking_thread_is_a_500() {
        let workers = Workers::new(NonZeroUsize::MIN);
        for _ in 0..3 {
            let panicked = workers.compute(BLOCKING_ABOVE, || panic!("a bug")).await;
            let refusal = panicked.map(|never: ()| never).unwrap_err();
            assert_eq!(refusal.into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
        }
    }

    #[tokio::test]
    async fn no_more_work_is_done_at_once_than_there_are_processors() {
        let workers = Workers::new(NonZeroUsize::new(2).unwrap());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            workers.compute(BLOCKING_ABOVE, move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                now.fetch_sub(1, Ordering::SeqCst);
            })
        };
        for done in futures::future::join_all((0..16).map(|_| work())).await {
            done.unwrap();
        }
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }
}
