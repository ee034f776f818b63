//! What a Deployment says of itself in its annotations: the memory that outlives every status and Job.

use std::{collections::BTreeMap, fmt};

use modelwright_api::{
    conditions::{Cause, Class},
    contract::{annotations, names},
};

use super::OPERATOR_DIGITS;
use crate::{causes::text, observe::Observed, plan::Revision, plan::metadata::strings};

/// The longest text of a gate that is kept: annotations are no place for long ones.
const MOST_REFUSAL: usize = 512;

/// What a Deployment says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::plan) struct Annotated {
    pub(in crate::plan) revision: Revision,
    pub(in crate::plan) rendered_from: String,
    pub(in crate::plan) renderer: Option<String>,
    pub(in crate::plan) resolved_from: Option<String>,
    pub(in crate::plan) active: Option<String>,
    pub(in crate::plan) rejected: Option<String>,
    /// Why, if it is known.
    pub(in crate::plan) rejected_for: Option<Cause>,
    pub(in crate::plan) former: Option<Former>,
    /// What is known of a refusal by the gate: of the present revision, or of that of the pods to go back to.
    pub(in crate::plan) refused: Option<Refusal>,
}

/// The newest revision that was served before the present one and that no gate refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::plan) struct Former {
    pub(in crate::plan) digest: String,
    /// The beginning of the identity of the question that it answered, if it answered one.
    question: Option<String>,
}

/// That the gate refused a revision, which is served because somebody named it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::plan) struct Refusal {
    pub(in crate::plan) digest: String,
    pub(in crate::plan) cause: Cause,
}

/// What the present Deployment says of itself; `None` if there is none, or none that was rendered.
pub(in crate::plan) fn annotated(observed: &Observed) -> Option<Annotated> {
    let all = observed.deployment.as_ref()?.metadata.annotations.as_ref()?;
    let text = |key: &str| all.get(key).cloned();
    Some(Annotated {
        revision: Revision {
            digest: text(annotations::DIGEST)?,
            uri: text(annotations::URI)?,
            retrievable: None,
        },
        rendered_from: text(annotations::RENDERED_FROM)?,
        renderer: text(annotations::RENDERER),
        resolved_from: text(annotations::RESOLVED_FROM),
        active: text(annotations::ACTIVE),
        rejected: text(annotations::REJECTED),
        rejected_for: all.get(annotations::REJECTED_FOR).and_then(|text| rejection(text)),
        former: all.get(annotations::FORMER).and_then(|text| Former::parse(text)),
        refused: all.get(annotations::REFUSED).and_then(|text| Refusal::parse(text)),
    })
}

impl Annotated {
    /// Whether the present template's pods served once.
    pub(super) fn served(&self) -> bool {
        self.active.as_deref() == Some(self.rendered_from.as_str())
    }

    /// What the pods were made from that served before, if the present ones did not yet.
    pub(super) fn pods_before(&self) -> Option<&str> {
        self.active.as_deref().filter(|_| !self.served())
    }

    /// Why the gate refused the present revision, if it did.
    pub(in crate::plan) fn refusal(&self) -> Option<&Cause> {
        let refused = self.refused.as_ref().filter(|refused| refused.digest == self.revision.digest);
        refused.map(|refused| &refused.cause)
    }

    /// The newest revision of which the gate has no complaint: the present one, or the one before it.
    pub(super) fn unrefused(&self) -> Option<Former> {
        if self.refusal().is_some() {
            return self.former.clone();
        }
        let question = self.resolved_from.as_deref().map(|question| beginning(question).to_owned());
        Some(Former { digest: self.revision.digest.clone(), question })
    }

    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        let mut all = strings([
            (annotations::REVISION, names::revision_id(&self.revision.digest)),
            (annotations::DIGEST, self.revision.digest.as_str()),
            (annotations::URI, self.revision.uri.as_str()),
            (annotations::RENDERED_FROM, self.rendered_from.as_str()),
        ]);
        let optional = [
            (annotations::RENDERER, self.renderer.clone()),
            (annotations::RESOLVED_FROM, self.resolved_from.clone()),
            (annotations::ACTIVE, self.active.clone()),
            (annotations::REJECTED, self.rejected.clone()),
            (annotations::REJECTED_FOR, self.rejected_for.as_ref().map(said_of_rejection)),
            (annotations::FORMER, self.former.as_ref().map(ToString::to_string)),
            (annotations::REFUSED, self.refused.as_ref().map(ToString::to_string)),
        ];
        let written = optional.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
        all.extend(written);
        all
    }
}

impl Former {
    fn parse(text: &str) -> Option<Self> {
        let (digest, question) = match text.split_once('/') {
            Some((digest, question)) => (digest, Some(question.to_owned())),
            None => (text, None),
        };
        digest.starts_with("sha256:").then(|| Self { digest: digest.to_owned(), question })
    }

    /// Whether it was the answer to this question.
    pub(in crate::plan) fn answered(&self, question: &str) -> bool {
        self.question.as_deref() == Some(beginning(question))
    }
}

impl fmt::Display for Former {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.question {
            Some(question) => write!(formatter, "{}/{question}", self.digest),
            None => formatter.write_str(&self.digest),
        }
    }
}

impl Refusal {
    /// With a text that is no longer than what can be read back.
    pub(in crate::plan) fn new(digest: &str, cause: &Cause) -> Self {
        let message = text::one_line(&cause.message, MOST_REFUSAL);
        Self { digest: digest.to_owned(), cause: Cause::reported(&cause.reason, message, Class::User) }
    }

    fn parse(text: &str) -> Option<Self> {
        let (digest, rest) = text.split_once(' ')?;
        let (reason, message) = rest.split_once(": ")?;
        Some(Self::new(digest, &Cause::reported(reason, message, Class::User)))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.digest, self.cause.reason, self.cause.message)
    }
}

/// What the annotation `rejected-for` says: as much as a status.
pub(crate) fn said_of_rejection(cause: &Cause) -> String {
    format!("{}: {}", cause.reason, text::one_line(&cause.message, text::MAX_MESSAGE_BYTES))
}

fn rejection(text: &str) -> Option<Cause> {
    let (reason, message) = text.split_once(": ")?;
    let message = text::one_line(message, text::MAX_MESSAGE_BYTES);
    Some(Cause::reported(reason, message, Class::User))
}

/// As much of a question's identity as is kept: it is only compared.
fn beginning(question: &str) -> &str {
    question.get(..OPERATOR_DIGITS).unwrap_or(question)
}
