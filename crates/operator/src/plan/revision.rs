//! Which revision shall be served: the newest that the source was found to hold, or the one that `spec.rollout.revision` names.

use modelwright_api::{
    Model,
    conditions::{Cause, Class, Reason},
    contract::names,
    status::{RejectedRevision, Retrievable},
    training::GATE_REASONS,
};

use super::{
    Resolution, Revision,
    deployment::{Annotated, Refusal},
    source, training,
};

/// The revision to serve, and whether `spec.rollout.revision` chose it against the newest.
pub(super) fn wanted(
    model: &Model,
    pin: Option<&str>,
    resolution: Option<&Resolution>,
    deployed: Option<&Annotated>,
) -> Result<(Option<Revision>, bool), Cause> {
    let newest = resolution.map(|resolution| &resolution.revision);
    let Some(pin) = pin else {
        // Until it is known what a changed source holds, what is deployed stays; and what the gate refused, for as long as somebody
        // names it.
        let deployed = || {
            let deployed = deployed?;
            unrefused(model, deployed).or_else(|| Some(deployed.revision.clone()))
        };
        return Ok((newest.cloned().or_else(deployed), false));
    };
    if let Some(resolution) = resolution.filter(|known| names(pin, &known.revision.digest)) {
        return Ok((Some(resolution.revision.clone()), resolution.refused.is_some()));
    }
    let deployed =
        deployed.map(|deployed| &deployed.revision).filter(|deployed| names(pin, &deployed.digest));
    if let Some(revision) = deployed.cloned().or_else(|| remembered(model, pin)).or_else(|| named(model, pin))
    {
        return Ok((Some(revision), true));
    }
    Err(Cause::new(
        Reason::RevisionUnknown,
        format!(
            "spec.rollout.revision: {pin} is no revision that this Model knows; write one of status.revisions, or a full \
             digest (sha256: and 64 digits)"
        ),
    ))
}

/// The revision that was served before one that the gate refused, if the gate refused the present one.
fn unrefused(model: &Model, deployed: &Annotated) -> Option<Revision> {
    deployed.refusal()?;
    let digest = deployed.former.as_ref()?.digest.clone();
    let uri = training::trained_at(model, &digest)?;
    Some(Revision { digest, uri, retrievable: Some(Retrievable::Always) })
}

/// Why the gate refused a revision that is wanted, because somebody names it, if it did.
pub(super) fn refusal(
    model: &Model,
    wanted: &Revision,
    resolution: Option<&Resolution>,
    deployed: Option<&Annotated>,
) -> Option<Refusal> {
    let digest = wanted.digest.as_str();
    if let Some(known) = resolution.filter(|known| known.revision.digest == digest) {
        return known.refused.as_ref().map(|cause| Refusal::new(digest, cause));
    }
    if let Some(deployed) = deployed.filter(|deployed| deployed.revision.digest == digest) {
        return deployed.refusal().map(|cause| Refusal::new(digest, cause));
    }
    let known = rejected(model).find(|known| known.digest == digest)?;
    Some(Refusal::new(digest, &Cause::reported(&known.reason, known.message.clone(), Class::User)))
}

/// What the status lists of revisions that the gate refused.
fn rejected(model: &Model) -> impl Iterator<Item = &RejectedRevision> {
    let revisions = model.status.as_ref().and_then(|status| status.revisions.as_ref());
    let listed = revisions.into_iter().flat_map(|revisions| &revisions.rejected);
    listed.filter(|rejected| GATE_REASONS.contains(&rejected.reason.as_str()))
}

/// Whether `pin`, a digest or an id, names this digest.
pub(super) fn names(pin: &str, digest: &str) -> bool {
    pin == digest || pin == names::revision_id(digest)
}

/// What the status knows of it.
fn remembered(model: &Model, pin: &str) -> Option<Revision> {
    let revisions = model.status.as_ref()?.revisions.as_ref()?;
    let listed = revisions.servable().find(|known| names(pin, &known.digest)).map(|known| Revision {
        digest: known.digest.clone(),
        uri: known.uri.clone(),
        retrievable: known.retrievable,
    });
    listed.or_else(|| {
        let digest = &rejected(model).find(|known| names(pin, &known.digest))?.digest;
        let uri = training::trained_at(model, digest)?;
        Some(Revision { digest: digest.clone(), uri, retrievable: Some(Retrievable::Always) })
    })
}

/// A full digest names its bytes by itself, wherever they are: among what was trained, among the copies, or at the source.
fn named(model: &Model, pin: &str) -> Option<Revision> {
    if !pin.starts_with("sha256:") {
        return None;
    }
    if model.spec.training.is_some() {
        let uri = training::trained_at(model, pin)?;
        return Some(Revision { digest: pin.to_owned(), uri, retrievable: Some(Retrievable::Always) });
    }
    let source = model.spec.source.as_ref()?;
    let uri = match &source.copy_to {
        Some(copy) => source::published_at(&copy.uri, pin),
        None => source.uri.clone(),
    };
    Some(Revision { digest: pin.to_owned(), uri, retrievable: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(spec: &str, status: &str) -> Model {
        let mut model = Model::new("m", serde_json::from_str(spec).unwrap());
        model.status = serde_json::from_str(status).unwrap();
        model
    }

    fn revision(digit: char) -> Revision {
        let digest = format!("sha256:{}", digit.to_string().repeat(64));
        Revision { digest, uri: format!("s3://m/{digit}"), retrievable: None }
    }

    fn resolution(digit: char) -> Resolution {
        Resolution { revision: revision(digit), ..Resolution::default() }
    }

    fn deployed(digit: char) -> Annotated {
        Annotated {
            revision: revision(digit),
            rendered_from: "x".into(),
            renderer: None,
            resolved_from: None,
            active: None,
            rejected: None,
            rejected_for: None,
            former: None,
            refused: None,
        }
    }

    const SOURCE: &str = r#"{"source": {"uri": "s3://m/x"}}"#;

    #[test]
    fn newest_is_served_and_until_it_is_known_what_is_deployed() {
        let model = model(SOURCE, "null");
        let (wanted_revision, pinned) =
            wanted(&model, None, Some(&resolution('b')), Some(&deployed('a'))).unwrap();
        assert_eq!((wanted_revision, pinned), (Some(revision('b')), false));
        assert_eq!(wanted(&model, None, None, Some(&deployed('a'))).unwrap().0, Some(revision('a')));
        assert_eq!(wanted(&model, None, None, None).unwrap().0, None);
    }

    #[test]
    fn pin_names_what_is_known_by_id_or_digest() {
        let former = serde_json::json!({"revisions": {"former": [
            {"id": "c".repeat(16), "digest": revision('c').digest, "uri": "s3://m/c"},
        ]}});
        let model = model(SOURCE, &former.to_string());
        let pinned = |pin: &str| wanted(&model, Some(pin), Some(&resolution('b')), Some(&deployed('a')));
        assert_eq!(pinned(&"a".repeat(16)).unwrap(), (Some(revision('a')), true));
        assert_eq!(pinned(&revision('b').digest).unwrap(), (Some(revision('b')), false));
        assert_eq!(pinned(&"c".repeat(16)).unwrap(), (Some(revision('c')), true));
        let unknown = pinned(&"d".repeat(16)).unwrap_err();
        assert!(unknown.reason == "RevisionUnknown" && unknown.message.contains("dddd"), "{unknown:?}");
        let by_digest = pinned(&revision('d').digest).unwrap().0.unwrap();
        assert_eq!((by_digest.uri.as_str(), by_digest.digest), ("s3://m/x", revision('d').digest));
    }

    #[test]
    fn full_digest_is_looked_for_among_the_copies() {
        let model =
            model(r#"{"source": {"uri": "s3://m/x", "copyTo": {"uri": "s3://copies/all/"}}}"#, "null");
        let found = wanted(&model, Some(&revision('d').digest), None, None).unwrap().0.unwrap();
        assert_eq!(found.uri, "s3://copies/all/revisions/dddddddddddddddd/");
    }
}
