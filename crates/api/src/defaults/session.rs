//! Defaults of `spec.serving.batching` and `spec.serving.session`.

use std::time::Duration;

use super::{Error, ResolvedServing, number, span};
use crate::serving::{Batching, ConvolutionSearch, Cuda, GraphOptimization, Lane, Session, Weights};

/// Threads that run independent operators side by side.
pub const INTER_OP_THREADS: usize = 1;
/// Rows of one run, where a model can batch: beyond it, small models gain little per row and every request waits longer.
pub const MAX_BATCH_SIZE: usize = 32;

/// `spec.serving.batching` with every default resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResolvedBatching {
    /// The most rows in one run; 1: no batching; `None`: the server's choice, up to [`MAX_BATCH_SIZE`] where it pays.
    pub max_batch_size: Option<usize>,
    /// How long a request may wait for company while others are on their way.
    pub max_queue_delay: Duration,
}

/// `spec.serving.session` with every default resolved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResolvedSession {
    /// Threads that work on one operator together; `None`: the server's choice, from its CPUs.
    pub intra_op_threads: Option<usize>,
    /// Threads that run independent operators side by side.
    pub inter_op_threads: usize,
    /// How far the graph is rewritten.
    pub graph_optimization: GraphOptimization,
    /// Which threads run the model.
    pub lane: Lane,
    /// Sessions side by side; `None`: the server's choice, from its CPUs and the model's size.
    pub instances: Option<usize>,
    /// How sessions hold the weights.
    pub weights: Weights,
    /// Whether a session keeps the memory of a run for the next one.
    pub memory_arena: bool,
    /// Settings of `CUDA`.
    pub cuda: ResolvedCuda,
}

/// `spec.serving.session.cuda` with every default resolved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ResolvedCuda {
    /// The most bytes of the GPU's memory that one session's arena takes; `None`: what it needs.
    pub memory_limit: Option<u64>,
    /// How the fastest convolution is found.
    pub convolution_search: ConvolutionSearch,
}

impl Batching {
    /// This with every default resolved.
    pub fn resolved(&self) -> Result<ResolvedBatching, Error> {
        Ok(ResolvedBatching {
            max_batch_size: self
                .max_batch_size
                .map(|size| number("spec.serving.batching.maxBatchSize", size.into()))
                .transpose()?,
            max_queue_delay: span(
                "spec.serving.batching.maxQueueDelay",
                self.max_queue_delay.as_deref(),
                Duration::ZERO,
            )?,
        })
    }
}

impl Session {
    /// This with every default resolved.
    pub fn resolved(&self) -> Result<ResolvedSession, Error> {
        let threads =
            |path, written: Option<i32>| written.map(|count| number(path, count.into())).transpose();
        Ok(ResolvedSession {
            intra_op_threads: threads("spec.serving.session.intraOpThreads", self.intra_op_threads)?,
            inter_op_threads: threads("spec.serving.session.interOpThreads", self.inter_op_threads)?
                .unwrap_or(INTER_OP_THREADS),
            graph_optimization: self.graph_optimization.unwrap_or_default(),
            lane: self.lane.unwrap_or_default(),
            instances: threads("spec.serving.session.instances", self.instances)?,
            weights: self.weights.unwrap_or_default(),
            memory_arena: self.memory_arena.unwrap_or(true),
            cuda: self.cuda.clone().unwrap_or_default().resolved()?,
        })
    }
}

impl Cuda {
    fn resolved(&self) -> Result<ResolvedCuda, Error> {
        const PATH: &str = "spec.serving.session.cuda.memoryLimit";
        let bytes = self.memory_limit.as_ref().map(|limit| {
            limit
                .units()
                .map_err(|source| Error::Quantity { path: PATH, source })
                .and_then(|bytes| number(PATH, bytes))
        });
        Ok(ResolvedCuda {
            memory_limit: bytes.transpose()?,
            convolution_search: self.convolution_search.unwrap_or_default(),
        })
    }
}

pub(super) fn describe(path: &str, serving: &ResolvedServing) -> Option<String> {
    let (batching, session) = (&serving.batching, &serving.session);
    Some(match path {
        "spec.serving.batching.maxBatchSize" => format!("{MAX_BATCH_SIZE} where it pays"),
        "spec.serving.batching.maxQueueDelay" => format!("{}ms", batching.max_queue_delay.as_millis()),
        "spec.serving.session.intraOpThreads" => {
            "1 in an inline lane, else as many as CPUs per session".to_owned()
        }
        "spec.serving.session.interOpThreads" => session.inter_op_threads.to_string(),
        "spec.serving.session.graphOptimization" => format!("{:?}", session.graph_optimization),
        "spec.serving.session.lane" => format!("{:?}", session.lane),
        "spec.serving.session.instances" => "by the CPUs and the model's size".to_owned(),
        "spec.serving.session.weights" => format!("{:?}", session.weights),
        "spec.serving.session.memoryArena" => session.memory_arena.to_string(),
        "spec.serving.session.cuda.convolutionSearch" => format!("{:?}", session.cuda.convolution_search),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_settings_have_every_default() {
        let session = Session::default().resolved().unwrap();
        assert_eq!((session.intra_op_threads, session.inter_op_threads, session.instances), (None, 1, None));
        assert_eq!((session.lane, session.weights, session.memory_arena), (Lane::Auto, Weights::Auto, true));
        assert_eq!(session.graph_optimization, GraphOptimization::All);
        assert_eq!(session.cuda, ResolvedCuda::default());
        let batching = Batching::default().resolved().unwrap();
        assert_eq!((batching.max_batch_size, batching.max_queue_delay), (None, Duration::ZERO));
    }

    #[test]
    fn written_settings_win() {
        let session: Session = serde_json::from_str(
            r#"{"intraOpThreads": 4, "interOpThreads": 2, "graphOptimization": "Basic", "lane": "Pooled", "instances": 3,
                "weights": "Mapped", "memoryArena": false,
                "cuda": {"memoryLimit": "4Gi", "convolutionSearch": "Exhaustive"}}"#,
        )
        .unwrap();
        let resolved = session.resolved().unwrap();
        assert_eq!(
            resolved,
            ResolvedSession {
                intra_op_threads: Some(4),
                inter_op_threads: 2,
                graph_optimization: GraphOptimization::Basic,
                lane: Lane::Pooled,
                instances: Some(3),
                weights: Weights::Mapped,
                memory_arena: false,
                cuda: ResolvedCuda {
                    memory_limit: Some(4 << 30),
                    convolution_search: ConvolutionSearch::Exhaustive
                },
            }
        );
        let batching: Batching =
            serde_json::from_str(r#"{"maxBatchSize": 8, "maxQueueDelay": "2ms"}"#).unwrap();
        let expected =
            ResolvedBatching { max_batch_size: Some(8), max_queue_delay: Duration::from_millis(2) };
        assert_eq!(batching.resolved().unwrap(), expected);
    }

    #[test]
    fn memory_limit_that_is_no_quantity_is_named() {
        let session: Session = serde_json::from_str(r#"{"cuda": {"memoryLimit": "4 GB"}}"#).unwrap();
        assert!(session.resolved().unwrap_err().to_string().contains("cuda.memoryLimit"));
    }
}
