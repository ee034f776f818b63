//! What a path of the data port means. Pure.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::control::Verb;
use crate::label::Label;

/// The longest piece of a path that an answer repeats, in characters.
const EXCERPT: usize = 64;

/// The paths that exist, as a 404 lists them.
const PATHS: &str = "GET /, /v2, /v2/health/live, /v2/health/ready, \
                     /v2/models/{model}[/versions/{version}][/ready, /config or /stats], /v2/models/stats, /v1/models, \
                     /v1/models/{model} and POST /v2/models/{model}[/versions/{version}]/infer or /explain, \
                     /v2/repository/index, /v1/models/{model}:predict or :explain, /predict";

/// A model as a path names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) model: Cow<'a, str>,
    pub(crate) version: Option<Cow<'a, str>>,
}

/// What a path means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// What KServe's clients ask of a server of the V1 protocol.
    Alive,
    ServerMetadata,
    Live,
    Ready,
    ModelMetadata(Target<'a>),
    ModelReady(Target<'a>),
    ModelConfig(Target<'a>),
    ModelStatistics(Target<'a>),
    /// The statistics of all models.
    Statistics,
    RepositoryIndex,
    /// Loading or unloading a model, which the data port refuses.
    RepositoryControl(Target<'a>),
    Infer(Target<'a>),
    Explain(Target<'a>),
    V1Models,
    V1Model(Target<'a>),
    V1Predict(Target<'a>),
    V1Explain(Target<'a>),
    Predict,
}

impl<'a> Route<'a> {
    /// Reads a path without its query. `None`: there is no such path.
    pub(crate) fn parse(path: &'a str) -> Option<Self> {
        // No route has more than six segments; a longer path ends in a piece that matches none.
        let mut pieces = [""; 8];
        let mut count = 0;
        for (place, piece) in pieces.iter_mut().zip(path.strip_prefix('/')?.splitn(8, '/')) {
            *place = piece;
            count += 1;
        }
        let route = match &pieces[..count] {
            [""] => Self::Alive,
            ["v2"] | ["v2", ""] => Self::ServerMetadata,
            ["v2", "health", "live"] => Self::Live,
            ["v2", "health", "ready"] => Self::Ready,
            ["v2", "models", "stats"] => Self::Statistics,
            ["v2", "repository", "index"] => Self::RepositoryIndex,
            ["v2", "repository", "models", model, verb] => {
                Verb::parse(verb)?;
                Self::RepositoryControl(Target { model: segment(model)?, version: None })
            }
            ["v2", "models", model, "versions", version, verb @ ..] => {
                let target = Target { model: segment(model)?, version: Some(segment(version)?) };
                return v2(target, verb);
            }
            ["v2", "models", model, verb @ ..] => {
                return v2(Target { model: segment(model)?, version: None }, verb);
            }
            ["v1", "models"] => Self::V1Models,
            ["v1", "models", model] => return v1(segment(model)?),
            ["predict"] => Self::Predict,
            _ => return None,
        };
        Some(route)
    }

    /// Whether it takes POST; all others take GET and HEAD.
    pub(crate) const fn takes_post(&self) -> bool {
        matches!(
            self,
            Self::Infer(_)
                | Self::Explain(_)
                | Self::V1Predict(_)
                | Self::V1Explain(_)
                | Self::Predict
                | Self::RepositoryIndex
                | Self::RepositoryControl(_)
        )
    }

    /// The name in metrics.
    pub(crate) const fn label(&self) -> Label {
        match self {
            Self::ServerMetadata => Label::ServerMetadata,
            Self::Alive | Self::Live => Label::Live,
            Self::Ready => Label::Ready,
            Self::ModelMetadata(_) => Label::ModelMetadata,
            Self::ModelReady(_) => Label::ModelReady,
            Self::ModelConfig(_) => Label::ModelConfig,
            Self::ModelStatistics(_) | Self::Statistics => Label::ModelStatistics,
            Self::RepositoryIndex => Label::RepositoryIndex,
            Self::RepositoryControl(_) => Label::RepositoryControl,
            Self::Infer(_) => Label::Infer,
            Self::Explain(_) => Label::Explain,
            Self::V1Models => Label::V1Models,
            Self::V1Model(_) => Label::V1Model,
            Self::V1Predict(_) => Label::V1Predict,
            Self::V1Explain(_) => Label::V1Explain,
            Self::Predict => Label::Predict,
        }
    }

    /// The model that the path names.
    pub(crate) fn model(&self) -> Option<&str> {
        match self {
            Self::ModelMetadata(target)
            | Self::ModelReady(target)
            | Self::ModelConfig(target)
            | Self::ModelStatistics(target)
            | Self::RepositoryControl(target)
            | Self::Infer(target)
            | Self::Explain(target)
            | Self::V1Model(target)
            | Self::V1Predict(target)
            | Self::V1Explain(target) => Some(&target.model),
            Self::Alive
            | Self::ServerMetadata
            | Self::Live
            | Self::Ready
            | Self::Statistics
            | Self::RepositoryIndex
            | Self::V1Models
            | Self::Predict => None,
        }
    }
}

/// What stands after a model of V2.
fn v2<'a>(target: Target<'a>, verb: &[&str]) -> Option<Route<'a>> {
    match verb {
        [] => Some(Route::ModelMetadata(target)),
        ["ready"] => Some(Route::ModelReady(target)),
        ["config"] => Some(Route::ModelConfig(target)),
        ["stats"] => Some(Route::ModelStatistics(target)),
        ["infer"] => Some(Route::Infer(target)),
        ["explain"] => Some(Route::Explain(target)),
        _ => None,
    }
}

/// `{model}`, `{model}:predict` or `{model}:explain`; other verbs do not exist. Names of models have no colon.
fn v1(segment: Cow<'_, str>) -> Option<Route<'_>> {
    let Some((model, verb)) = segment.split_once(':') else {
        return Some(Route::V1Model(Target { model: segment, version: None }));
    };
    let target = Target { model: Cow::Owned(model.to_owned()), version: None };
    match verb {
        _ if model.is_empty() => None,
        "predict" => Some(Route::V1Predict(target)),
        "explain" => Some(Route::V1Explain(target)),
        _ => None,
    }
}

/// A decoded segment. Empty ones and such that are not text name nothing.
fn segment(encoded: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(encoded).decode_utf8().ok().filter(|text| !text.is_empty())
}

/// The message for a path that does not exist.
pub(crate) fn no_such_path(path: &str) -> String {
    format!("there is no path \"{}\"; there are {PATHS}", excerpt(path))
}

/// Client text cut and escaped so that a message stays a short line.
pub(crate) fn excerpt(text: &str) -> String {
    let mut cut: String = text.chars().take(EXCERPT).flat_map(char::escape_debug).collect();
    if text.chars().nth(EXCERPT).is_some() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn target(model: &'static str, version: Option<&'static str>) -> Target<'static> {
        Target { model: model.into(), version: version.map(Cow::Borrowed) }
    }

    #[rstest]
    #[case("/v2", Route::ServerMetadata)]
    #[case("/v2/", Route::ServerMetadata)]
    #[case("/v2/health/live", Route::Live)]
    #[case("/v2/health/ready", Route::Ready)]
    #[case("/v2/models/m", Route::ModelMetadata(target("m", None)))]
    #[case("/v2/models/m/ready", Route::ModelReady(target("m", None)))]
    #[case("/v2/models/m/infer", Route::Infer(target("m", None)))]
    #[case("/v2/models/m/versions/3", Route::ModelMetadata(target("m", Some("3"))))]
    #[case("/v2/models/m/versions/3/ready", Route::ModelReady(target("m", Some("3"))))]
    #[case("/v2/models/m/versions/3/infer", Route::Infer(target("m", Some("3"))))]
    #[case("/v2/models/%6d/infer", Route::Infer(target("m", None)))]
    #[case("/v2/models/..%2f..%2fetc/infer", Route::Infer(target("../../etc", None)))]
    #[case("/v2/models/m/config", Route::ModelConfig(target("m", None)))]
    #[case("/v2/models/m/versions/3/config", Route::ModelConfig(target("m", Some("3"))))]
    #[case("/v2/models/m/stats", Route::ModelStatistics(target("m", None)))]
    #[case("/v2/models/m/versions/3/stats", Route::ModelStatistics(target("m", Some("3"))))]
    #[case("/v2/models/stats", Route::Statistics)]
    #[case("/v2/models/stats/infer", Route::Infer(target("stats", None)))]
    #[case("/v2/repository/index", Route::RepositoryIndex)]
    #[case("/v2/repository/models/m/load", Route::RepositoryControl(target("m", None)))]
    #[case("/v2/repository/models/m/unload", Route::RepositoryControl(target("m", None)))]
    #[case("/v1/models", Route::V1Models)]
    #[case("/v1/models/m", Route::V1Model(target("m", None)))]
    #[case("/v1/models/m:predict", Route::V1Predict(target("m", None)))]
    #[case("/v1/models/m%3Apredict", Route::V1Predict(target("m", None)))]
    #[case("/predict", Route::Predict)]
    fn paths_that_exist(#[case] path: &str, #[case] route: Route<'_>) {
        assert_eq!(Route::parse(path), Some(route));
    }

    #[rstest]
    #[case("")]
    #[case("*")]
    #[case("//v2")]
    #[case("/v2//")]
    #[case("/V2")]
    #[case("/v3")]
    #[case("/v2/models")]
    #[case("/v2/models/")]
    #[case("/v2/models//infer")]
    #[case("/v2/models/m/")]
    #[case("/v2/models/m/load")]
    #[case("/v2/models/m/versions")]
    #[case("/v2/models/m/versions/")]
    #[case("/v2/models/m/versions/1/infer/more")]
    #[case("/v2/models/m/infer/more")]
    #[case("/v2/models/%ff/infer")]
    #[case("/v2/health/live/")]
    #[case("/v2/repository")]
    #[case("/v2/repository/models/m")]
    #[case("/v2/repository/models/m/reload")]
    #[case("/v2/repository/models//load")]
    #[case("/v1/models/m:infer")]
    #[case("/v1/models/:explain")]
    #[case("/v1/models/m:predict:predict")]
    #[case("/v1/models/:predict")]
    #[case("/predict/")]
    #[case("/v2/models/m/infer/a/b/c/d/e/f/g/h/i/j")]
    fn paths_that_do_not(#[case] path: &str) {
        assert_eq!(Route::parse(path), None);
    }

    #[test]
    fn long_paths_are_cut_and_escaped_in_messages() {
        let message = no_such_path(&format!("/a\n{}", "b".repeat(10_000)));
        assert!(message.len() < 500 && message.contains("/a\\n") && message.contains('…'), "{message}");
    }
}
