//! Where a revision came from: an in-toto statement beside the revisions.
