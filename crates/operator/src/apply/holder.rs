//! Who has the name that a child must have.

use kube::{ResourceExt, core::PartialObjectMeta};
use modelwright_api::{
    conditions::{Cause, Reason},
    contract::{APPLICATION, labels},
};

use super::{refused::Refused, writer::Writer};
use crate::{
    observe::{Ownership, ownership},
    stores::{Kept, ModelKey},
};

/// Who has the name that a child must have.
#[derive(Debug, PartialEq)]
pub(super) enum Holder {
    /// There is no such object.
    Nobody,
    /// The Model, or a child whose owner was taken away.
    Ours,
    /// Somebody else, and this is what that means.
    Other(Cause),
}

impl Writer<'_> {
    /// Asks the API server who has this name. Only metadata is read.
    pub(super) async fn holder<K: Kept>(&self, name: &str) -> Result<Holder, Refused> {
        match self.api::<K>().get_metadata_opt(name).await {
            Ok(None) => Ok(Holder::Nobody),
            Ok(Some(object)) => Ok(holder(&object, &self.key, &self.uid)),
            Err(error) => Err(Refused::because::<K>(name, &error)),
        }
    }
}

/// Whose an object is that has the name of a child of this Model.
pub(super) fn holder<K: Kept>(object: &PartialObjectMeta<K>, model: &ModelKey, uid: &str) -> Holder {
    let name = object.name_any();
    match ownership(&object.metadata, &model.name, uid) {
        Ownership::Ours => Holder::Ours,
        Ownership::FormerModels => Holder::Other(Cause::new(
            Reason::WaitingForDeletion,
            format!("{}/{name} of a deleted Model of this name is still going away", K::KIND),
        )),
        Ownership::Nobodys if is_labelled(object, model) => Holder::Ours,
        Ownership::Foreign | Ownership::Nobodys => {
            Holder::Other(Cause::new(Reason::NameConflict, conflict(object)))
        }
    }
}

fn is_labelled<K: Kept>(object: &PartialObjectMeta<K>, model: &ModelKey) -> bool {
    let label = |key: &str| object.labels().get(key).map(String::as_str);
    label(labels::MODEL) == Some(model.name.as_str()) && label(labels::APP_MANAGED_BY) == Some(APPLICATION)
}

fn conflict<K: Kept>(object: &PartialObjectMeta<K>) -> String {
    let (kind, name) = (K::KIND, object.name_any());
    let controller = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    let manager = object.managed_fields().iter().find_map(|entry| entry.manager.as_deref());
    let whose = match (controller, manager) {
        (Some(owner), _) => format!("belongs to {}/{}", owner.kind, owner.name),
        (None, Some(manager)) => format!("was made by somebody else (field manager {manager:?})"),
        (None, None) => "was made by somebody else".to_owned(),
    };
    let also = if kind == "ServiceAccount" {
        format!(", or write `spec.serviceAccountName: {name}` if pods shall run as that account")
    } else {
        String::new()
    };
    format!("{kind}/{name} {whose} and is not taken over; rename the Model, or delete {kind}/{name}{also}")
}
