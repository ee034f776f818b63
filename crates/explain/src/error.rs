//! Why there is no explanation.

/// Why there is no explanation. `E` is what the caller's model fails with.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error<E> {
    /// The model failed.
    #[error(transparent)]
    Evaluation(E),
    /// The fewest evaluations that the method takes are more than are allowed.
    #[error(
        "{method} of {players} columns takes at least {needed} evaluations of the model, and max_evaluations allows {allowed}; allow more, or use fewer columns or baseline rows"
    )]
    TooFewEvaluations {
        /// The method.
        method: &'static str,
        /// The columns.
        players: usize,
        /// The fewest that it takes.
        needed: u64,
        /// What is allowed.
        allowed: u64,
    },
    /// The model gave more or fewer results than it was asked for.
    #[error("the model was asked for {wanted} results and gave {got}; please report this")]
    WrongCount {
        /// What it was asked for.
        wanted: usize,
        /// What it gave.
        got: usize,
    },
}
