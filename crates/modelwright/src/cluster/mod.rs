//! The commands that work with a cluster.

mod arguments;
pub(crate) mod check_installation;
pub(crate) mod operator;
pub(crate) mod plan;
pub(crate) mod why;

pub(crate) use arguments::OperatorArguments;
pub(crate) use check_installation::CheckArguments;
pub(crate) use plan::PlanArguments;
pub(crate) use why::WhyArguments;
