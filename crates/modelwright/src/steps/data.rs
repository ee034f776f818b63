//! `modelwright data`: whether the data of a training changed, by a look that reads none of it.

use std::process::ExitCode as ProcessExit;

use modelwright_api::Outcome;
use modelwright_artifact::Retry;

use super::container::{self, read_order};
use super::train::places;
use crate::arguments::DataArguments;
use crate::failure::Failure;
use crate::{report, steps};

/// Runs it.
pub(crate) fn run(arguments: &DataArguments) -> ProcessExit {
    let result = steps::block_on(steps::until_terminated(look(arguments)));
    report::end(result, arguments.step.termination_log.as_ref())
}

async fn look(arguments: &DataArguments) -> Result<Outcome, Failure> {
    places::refuse_secret(&arguments.step)?;
    let order = read_order(&arguments.config)?;
    let known = arguments.unless_fingerprint.as_deref().map(steps::digest).transpose()?;
    let fingerprint = if order.training.container.is_some() {
        container::fetch::look(&order, &arguments.step).await?
    } else {
        let listings =
            places::data(&order, &arguments.step)?.list(arguments.step.retry(Retry::RESOLVE)).await?;
        listings.fingerprint_digest().map(|digest| digest.to_string())
    };
    let unchanged = known.is_some() && fingerprint == known.map(|known| known.to_string());
    let (reason, message) = match (unchanged, &fingerprint) {
        (true, _) => ("Unchanged", "the data looks as before"),
        (false, Some(_)) => ("Changed", "the data looks otherwise than before"),
        (false, None) => ("Changed", "the store tells too little of the data to be sure that it is the same"),
    };
    tracing::info!("{message}");
    Ok(Outcome { fingerprint, message: message.to_owned(), ..Outcome::success(reason) })
}
