//! The election in real time, with an API server in memory.

use std::sync::{Arc, Mutex};

use super::*;

/// A Lease that takes writes only for the resource version that it has.
#[derive(Clone, Default)]
struct Memory {
    lease: Arc<Mutex<Option<Lease>>>,
    away: Arc<std::sync::atomic::AtomicBool>,
}

impl Memory {
    fn set_away(&self, away: bool) {
        self.away.store(away, std::sync::atomic::Ordering::SeqCst);
    }

    fn holder(&self) -> Option<String> {
        self.lease.lock().unwrap().clone().and_then(|lease| lease.spec?.holder_identity)
    }
}

pub(super) fn status(code: u16) -> kube::Error {
    kube::Error::Api(kube::core::Status { code, ..kube::core::Status::failure("no", "") }.boxed())
}

impl Ask for Memory {
    async fn ask(&self, request: &Request) -> Result<Lease, kube::Error> {
        if self.away.load(std::sync::atomic::Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let mut stored = self.lease.lock().unwrap();
        let version = stored.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        match request {
            Request::Read => stored.clone().ok_or_else(|| status(404)),
            Request::Hold(lease) | Request::Release(lease) => {
                if lease.metadata.resource_version != version {
                    return Err(status(409));
                }
                let mut lease = (**lease).clone();
                let next = version.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
                lease.metadata.resource_version = Some(next.to_string());
                *stored = Some(lease.clone());
                Ok(lease)
            }
        }
    }
}

fn quick() -> Settings {
    Settings {
        duration: Duration::from_millis(900),
        renew_every: Duration::from_millis(100),
        deadline: Duration::from_millis(600),
        attempt: Duration::from_millis(150),
        retry_after: Duration::from_millis(20),
        look_every: Duration::from_millis(50),
    }
}

fn join(memory: &Memory, identity: &str) -> Participant {
    let place = Place { namespace: "ns".to_owned(), name: "lease".to_owned(), identity: identity.to_owned() };
    Participant::with(memory.clone(), place, quick())
}

async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(20), future).await.ok()
}

#[tokio::test]
async fn release_hands_over_at_once_and_only_then() {
    let memory = Memory::default();
    let (mut first, mut second) = (join(&memory, "first"), None);
    soon(first.elected()).await.unwrap();
    assert!(first.claim().held());
    let waiting = second.insert(join(&memory, "second"));
    assert!(tokio::time::timeout(Duration::from_millis(1_500), waiting.elected()).await.is_err());
    assert!(!waiting.claim().held() && first.claim().held());
    first.release().await;
    soon(waiting.elected()).await.unwrap();
    assert_eq!(memory.holder().as_deref(), Some("second"));
}

#[tokio::test]
async fn leader_that_cannot_renew_loses_and_a_candidate_waits_for_ever() {
    let memory = Memory::default();
    let mut leader = join(&memory, "leader");
    soon(leader.elected()).await.unwrap();
    let mut candidate = join(&memory, "candidate");
    memory.set_away(true);
    let lost = soon(leader.lost()).await.unwrap();
    assert!(lost.to_string().contains("could not be renewed in time"), "{lost}");
    assert!(!leader.claim().held());
    assert!(tokio::time::timeout(Duration::from_millis(1_500), candidate.elected()).await.is_err());
    memory.set_away(false);
    soon(candidate.elected()).await.unwrap();
}

#[tokio::test]
async fn leader_whose_lease_is_deleted_loses() {
    let memory = Memory::default();
    let mut leader = join(&memory, "leader");
    soon(leader.elected()).await.unwrap();
    *memory.lease.lock().unwrap() = None;
    let lost = soon(leader.lost()).await.unwrap();
    assert!(lost.to_string().contains("wrote or deleted"), "{lost}");
}
