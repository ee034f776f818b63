//! Tests of the clusters that `cargo xtask cluster` starts: what they leave, what they survive, where their packets go.
//! They need root and start clusters themselves, one test at a time.

mod installation;
mod isolation;
mod machine;
mod recovery;
mod side_by_side;
