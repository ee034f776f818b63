//! What a run of a model took, told once to one of the requests that shared it.

use std::time::Duration;

/// One run of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Run {
    /// The rows of all requests in it; 1 for models and requests without a batch dimension.
    pub rows: usize,
    /// Gathering the rows of several requests; nothing where one request ran alone.
    pub gathering: Duration,
    /// Computing.
    pub computing: Duration,
    /// Taking the outputs out of ONNX Runtime.
    pub taking: Duration,
}

/// Some runs, in their order. One, which is nearly always all, takes no memory of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    first: Option<Run>,
    later: Vec<Run>,
}

impl Runs {
    pub(crate) fn push(&mut self, run: Run) {
        match self.first {
            None => self.first = Some(run),
            Some(_) => self.later.push(run),
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Run> {
        self.first.iter().chain(&self.later)
    }
}

impl FromIterator<Run> for Runs {
    fn from_iter<I: IntoIterator<Item = Run>>(runs: I) -> Self {
        let mut all = Self::default();
        runs.into_iter().for_each(|run| all.push(run));
        all
    }
}
