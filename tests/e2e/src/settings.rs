//! Numbers and words of the environment, by which `cargo xtask` says what a bench is to measure.
use std::str::FromStr;

use anyhow::Context as _;

/// The text of a variable, unless it is not set or empty.
#[must_use]
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The number in a variable, or else `default`.
///
/// # Errors
/// The text is no number of this type.
pub fn number<T>(name: &str, default: T) -> anyhow::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text(name).map_or(Ok(default), |text| {
        text.parse().with_context(|| format!("{name}={text} is no number that fits; write one such as 4"))
    })
}
