//! Carries an election out: requests with time limits, and a log of what changes.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::elector::{Answer, Elector, Request, Step};
use super::{Claim, Settings};
use crate::client::with_causes;

/// Who writes the Lease, in its `managedFields`.
const FIELD_MANAGER: &str = "modelwright-operator";
/// How often it is said again that the API server does not answer.
const SAY_AGAIN: Duration = Duration::from_mins(1);
/// How long giving the Lease up may take; the next takes over without it, only later.
const RELEASE: Duration = Duration::from_secs(3);

/// Which Lease, and who takes part.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// A name that no other living process has.
    pub identity: String,
}

/// Why this process does not lead any more.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no longer the leader: {0}")]
pub struct Lost(&'static str);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Candidate,
    Leading,
    Ended(Lost),
}

/// This process's part in the election. It goes on until it is released or lost.
#[derive(Debug)]
pub struct Participant {
    state: watch::Receiver<State>,
    claim: Claim,
    release: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Participant {
    /// Starts to take part. The client must neither retry by itself nor refuse writes without a claim; its connections should
    /// be its own, so that nothing else holds the Lease's requests up.
    pub fn start(client: Client, place: Place, settings: Settings) -> Self {
        let leases = Api::namespaced(client, &place.namespace);
        Self::with(Leases { api: leases, name: place.name.clone() }, place, settings)
    }

    fn with(leases: impl Ask, place: Place, settings: Settings) -> Self {
        let claim = Claim::none();
        let (publish, state) = watch::channel(State::Candidate);
        let (release, released) = oneshot::channel();
        let elector = Elector::new(place.identity.clone(), settings);
        let election =
            Election { leases, place, elector, claim: claim.clone(), state: publish, silent: None };
        Self { state, claim, release, task: tokio::spawn(election.run(released)) }
    }

    /// Whether this process leads, for others to ask.
    pub fn claim(&self) -> Claim {
        self.claim.clone()
    }

    /// Completes when this process leads. As long as another leads or the API server is away it waits, for ever if need be.
    pub async fn elected(&mut self) {
        // The task ends only by release, which takes the participant away.
        let _ = self.state.wait_for(|state| *state != State::Candidate).await;
    }

    /// Completes when this process led and does not any more.
    pub async fn lost(&mut self) -> Lost {
        match self.state.wait_for(|state| matches!(state, State::Ended(_))).await.as_deref() {
            Ok(State::Ended(lost)) => *lost,
            _ => Lost("the election ended unexpectedly"),
        }
    }

    /// Hands over: the next process leads as soon as it looks. To be called when nothing is written any more.
    pub async fn release(self) {
        // If the task has ended, there is nothing to hand over.
        let _ = self.release.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "leader election ended unexpectedly");
        }
    }
}

/// What answers an elector's requests.
trait Ask: Send + Sync + 'static {
    fn ask(&self, request: &Request) -> impl Future<Output = Result<Lease, kube::Error>> + Send;
}

/// The API server.
struct Leases {
    api: Api<Lease>,
    name: String,
}

impl Ask for Leases {
    async fn ask(&self, request: &Request) -> Result<Lease, kube::Error> {
        let parameters =
            PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match request {
            Request::Read => self.api.get(&self.name).await,
            Request::Hold(lease) | Request::Release(lease) if lease.resource_version().is_some() => {
                self.api.replace(&self.name, &parameters, lease).await
            }
            Request::Hold(lease) | Request::Release(lease) => {
                let mut lease = (**lease).clone();
                lease.metadata.name = Some(self.name.clone());
                self.api.create(&parameters, &lease).await
            }
        }
    }
}

/// The task of one participant.
struct Election<L> {
    leases: L,
    place: Place,
    elector: Elector,
    claim: Claim,
    state: watch::Sender<State>,
    /// Since when no request succeeded, and when that was last said.
    silent: Option<(Instant, Instant)>,
}

impl<L: Ask> Election<L> {
    async fn run(mut self, mut released: oneshot::Receiver<()>) {
        loop {
            match self.elector.next(self.claim.now(), Timestamp::now()) {
                Step::Wait(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(self.claim.instant(until)) => {}
                        // Completes, too, if the participant was dropped.
                        _ = &mut released => break,
                    }
                }
                Step::Ask(request) => self.ask(&request).await,
                Step::Lost(why) => {
                    self.claim.hold_until(None);
                    self.state.send_replace(State::Ended(Lost(why)));
                    return;
                }
            }
        }
        self.hand_over().await;
    }

    /// Asks and learns from the answer.
    async fn ask(&mut self, request: &Request) {
        let before = self.elector.holder().map(str::to_owned);
        let started = self.claim.now();
        let limit = self.elector.patience(started);
        let answer = match tokio::time::timeout(limit, self.leases.ask(request)).await {
            Ok(Ok(lease)) => self.answers(Answer::Lease(Box::new(lease))),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => self.missing(request, &status),
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => self.answers(Answer::Conflict),
            Ok(Err(error)) => self.fails(&with_causes(&error)),
            Err(_) => self.fails(&format!("no answer within {} ms", limit.as_millis())),
        };
        self.elector.answered(started, self.claim.now(), request, answer);
        self.publish(before.as_deref());
    }

    /// A Lease that cannot be created because something is not there lacks its namespace. That is also why a read that finds
    /// nothing is no sign that all is well again.
    fn missing(&mut self, request: &Request, status: &kube::core::Status) -> Answer {
        match request {
            Request::Hold(lease) if lease.resource_version().is_none() => self.fails(&status.message),
            _ => Answer::Missing,
        }
    }

    fn publish(&mut self, before: Option<&str>) {
        let until = self.elector.leads_until();
        self.claim.hold_until(until);
        let (leads, led) = (until.is_some(), *self.state.borrow() == State::Leading);
        let Place { namespace, name, identity } = &self.place;
        if leads && !led {
            tracing::info!(namespace, lease = name, identity, "this process leads");
            self.state.send_replace(State::Leading);
        }
        let holder = self.elector.holder();
        if !leads
            && holder != before
            && let Some(holder) = holder
        {
            tracing::info!(namespace, lease = name, identity, holder, "another process leads; waiting");
        }
    }

    fn answers(&mut self, answer: Answer) -> Answer {
        if let Some((since, _)) = self.silent.take() {
            tracing::info!(seconds = since.elapsed().as_secs(), "the Lease can be read and written again");
        }
        answer
    }

    fn fails(&mut self, error: &str) -> Answer {
        let now = Instant::now();
        let (since, said) = self.silent.map_or((now, None), |(since, said)| (since, Some(said)));
        if said.is_none_or(|said| now.duration_since(said) >= SAY_AGAIN) {
            let Place { namespace, name, .. } = &self.place;
            let seconds = since.elapsed().as_secs();
            tracing::warn!(
                namespace,
                lease = name,
                seconds,
                error,
                "the Lease cannot be read or written; trying on"
            );
        }
        let said = said.filter(|said| now.duration_since(*said) < SAY_AGAIN).unwrap_or(now);
        self.silent = Some((since, said));
        Answer::Failed
    }

    /// Gives the Lease up, if this process holds it.
    async fn hand_over(mut self) {
        let Some(mut request) = self.elector.release(Timestamp::now()) else { return };
        self.claim.hold_until(None);
        let handing_over = async {
            loop {
                match self.leases.ask(&request).await {
                    Ok(_) => return Ok(()),
                    // Most likely our own last renewal, whose answer did not arrive.
                    Err(kube::Error::Api(status)) if status.code == 409 => {
                        let lease = self.leases.ask(&Request::Read).await?;
                        match self.elector.release_of(lease, Timestamp::now()) {
                            Some(again) => request = again,
                            None => return Ok(()),
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        match tokio::time::timeout(RELEASE, handing_over).await {
            Ok(Ok(())) => tracing::info!("handed the leadership over"),
            Ok(Err(error)) => {
                let error = with_causes(&error);
                tracing::warn!(error, "cannot hand over; another takes over when the Lease expires");
            }
            Err(_) => tracing::warn!("cannot hand over in time; another takes over when the Lease expires"),
        }
    }
}

#[cfg(test)]
mod tests;
