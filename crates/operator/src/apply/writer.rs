//! One child at a time.

use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::Deployment, core::v1::ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
};
use modelwright_api::{Model, contract::field_managers};
use serde::Serialize;

use super::{Applied, Failure, holder::Holder, refused::Refused};
use crate::{
    error::Refusal,
    plan::Change,
    stores::{Kept, ModelKey, version},
};

/// What the stores know of a child.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// It is there, and has this uid.
    There { uid: Option<String> },
    /// It is not there, or not known yet, or somebody else's.
    No,
}

impl Known {
    pub(super) fn of<K: Resource>(observed: Option<&K>) -> Self {
        observed.map_or(Self::No, |object| Self::There { uid: object.uid() })
    }
}

/// Writes children of one Model.
pub(super) struct Writer<'a> {
    client: &'a Client,
    pub(super) key: ModelKey,
    pub(super) uid: String,
    pub(super) applied: Applied,
    namespace_gone: bool,
}

/// `spec.replicas` of a Deployment and nothing else, so that this is all that its field manager owns.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OnlyReplicas<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: ObjectMeta,
    spec: Replicas,
}

#[derive(Debug, Serialize)]
struct Replicas {
    replicas: i32,
}

impl<'a> Writer<'a> {
    pub(super) fn new(client: &'a Client, model: &Model) -> Self {
        let uid = model.uid().unwrap_or_default();
        let key = ModelKey::of(model);
        Self { client, key, uid, applied: Applied::default(), namespace_gone: false }
    }

    /// What came of it; `None` if the namespace is going away.
    pub(super) fn finish(self) -> Option<Applied> {
        (!self.namespace_gone).then_some(self.applied)
    }

    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.key.namespace)
    }

    /// Notes what was written, so that the next pass can wait until the stores show it.
    pub(super) fn wrote<K: Kept>(&mut self, answer: &K) {
        if let Some(version) = version(answer) {
            let newest = self.applied.written.entry(K::KIND).or_default();
            *newest = version.max(*newest);
        }
    }

    /// Notes what came of writing a child. Returns whether it is written.
    pub(super) fn note<K: Kept>(&mut self, name: &str, result: Result<(), Refused>) -> bool {
        match result {
            Ok(()) => true,
            Err(Refused::NamespaceGone) => {
                self.namespace_gone = true;
                false
            }
            Err(Refused::Because(cause)) => {
                let child = format!("{}/{name}", K::KIND);
                self.applied.failures.push(Failure { child, cause });
                false
            }
        }
    }

    /// Carries a change out. Returns whether the child is as it shall be.
    pub(super) async fn child<K: Kept>(&mut self, change: &Change<K>, known: Known, name: &str) -> bool {
        match change {
            Change::Keep => true,
            Change::Apply(object) => self.write(object.as_ref(), known, name, field_managers::CHILDREN).await,
            Change::Delete => self.delete::<K>(name, known).await,
        }
    }

    /// As [`child`](Self::child). No field of an account could conflict, so its owner is looked at first.
    pub(super) async fn account(
        &mut self,
        change: &Change<ServiceAccount>,
        known: Known,
        name: &str,
    ) -> bool {
        if let (Change::Apply(_), Known::No) = (change, &known) {
            match self.holder::<ServiceAccount>(name).await {
                Ok(Holder::Nobody | Holder::Ours) => {}
                Ok(Holder::Other(cause)) => {
                    return self.note::<ServiceAccount>(name, Err(Refused::Because(cause)));
                }
                Err(refused) => return self.note::<ServiceAccount>(name, Err(refused)),
            }
        }
        self.child(change, known, name).await
    }

    /// Applies an object. Returns whether it is written.
    pub(super) async fn write<K: Kept>(
        &mut self,
        object: &K,
        known: Known,
        name: &str,
        manager: &'static str,
    ) -> bool {
        if self.namespace_gone {
            return false;
        }
        let result = match known {
            Known::There { .. } => self.patch(object, name, &PatchParams::apply(manager).force()).await,
            Known::No => self.create(object, name, manager).await,
        };
        self.note::<K>(name, result)
    }

    /// Applies an object that should not be there yet.
    async fn create<K: Kept>(
        &mut self,
        object: &K,
        name: &str,
        manager: &'static str,
    ) -> Result<(), Refused> {
        let result = self.api::<K>().patch(name, &PatchParams::apply(manager), &Patch::Apply(object)).await;
        let error = match result {
            Ok(answer) => {
                self.wrote(&answer);
                return Ok(());
            }
            Err(error) => error,
        };
        // 422 is also the answer to a second controller, and to another selector than that of the object which is there.
        if !matches!(Refusal::of(&error), Refusal::Conflict | Refusal::Invalid) {
            return Err(Refused::because::<K>(name, &error));
        }
        match self.holder::<K>(name).await? {
            Holder::Ours => self.patch(object, name, &PatchParams::apply(manager).force()).await,
            Holder::Other(cause) => Err(Refused::Because(cause)),
            Holder::Nobody => Err(Refused::because::<K>(name, &error)),
        }
    }

    async fn patch<K: Kept>(&mut self, object: &K, name: &str, params: &PatchParams) -> Result<(), Refused> {
        let result = self.api::<K>().patch(name, params, &Patch::Apply(object)).await;
        let answer = result.map_err(|error| Refused::because::<K>(name, &error))?;
        self.wrote(&answer);
        Ok(())
    }

    /// Says how many pods there shall be.
    pub(super) async fn replicas(&mut self, name: &str, replicas: i32) -> bool {
        if self.namespace_gone {
            return false;
        }
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let (api_version, kind) = (Deployment::api_version(&()), Deployment::kind(&()));
        let (api_version, kind) = (api_version.as_ref(), kind.as_ref());
        let body = OnlyReplicas { api_version, kind, metadata, spec: Replicas { replicas } };
        let params = PatchParams::apply(field_managers::REPLICAS).force();
        let result = self.api::<Deployment>().patch(name, &params, &Patch::Apply(&body)).await;
        let result = result.map(|answer| self.wrote(&answer));
        let result = result.map_err(|error| Refused::because::<Deployment>(name, &error));
        self.note::<Deployment>(name, result)
    }

    /// Deletes a child with what belongs to it. Returns whether it is gone, or going.
    pub(super) async fn delete<K: Kept>(&mut self, name: &str, known: Known) -> bool {
        if self.namespace_gone {
            return false;
        }
        let mut params = DeleteParams::background();
        if let Known::There { uid: Some(uid) } = known {
            params = params.preconditions(Preconditions { uid: Some(uid), resource_version: None });
        }
        let result = self.api::<K>().delete(name, &params).await;
        let result = match result {
            // Another object has the name by now: that one is not meant.
            Err(error) if matches!(Refusal::of(&error), Refusal::NotFound | Refusal::Conflict) => Ok(()),
            Err(error) => Err(Refused::because::<K>(name, &error)),
            Ok(_) => Ok(()),
        };
        self.note::<K>(name, result)
    }
}
