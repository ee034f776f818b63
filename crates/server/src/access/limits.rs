//! What one client may ask: requests per second, and requests at once.
//!
//! The rate is the generic cell rate algorithm (ITU-T I.371): for each client one time, at which it would have used up what it
//! has asked for at the allowed rate. It is a few lines; a crate would bring its own map of clients, without a bound and without
//! the count of requests in progress, which need one together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Denial;

/// The most clients that are kept apart. Subjects of tokens can be many.
const MAX_CLIENTS: usize = 10_000;

/// What each client may ask of this server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientLimits {
    /// Requests per second, on average.
    pub requests_per_second: Option<u32>,
    /// Requests at once after a pause; without it as many as in a second.
    pub burst: Option<u32>,
    /// Requests in progress at the same time.
    pub concurrent_requests: Option<u32>,
}

impl ClientLimits {
    pub(super) const fn any(&self) -> bool {
        self.requests_per_second.is_some() || self.concurrent_requests.is_some()
    }
}

/// Counts the requests of clients.
#[derive(Debug)]
pub(super) struct Limiter {
    rate: Option<Rate>,
    concurrent: Option<u32>,
    clients: Mutex<HashMap<Arc<str>, Client>>,
}

#[derive(Debug, Clone, Copy)]
struct Rate {
    /// Between two requests, on average.
    interval: Duration,
    /// How far ahead of that a client may be.
    tolerance: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Client {
    /// When it has used up what it asked for.
    paid_until: Instant,
    running: u32,
}

impl Client {
    /// To forget it changes nothing.
    fn is_idle(&self, now: Instant) -> bool {
        self.running == 0 && self.paid_until <= now
    }
}

/// A request in progress, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    limiter: Arc<Limiter>,
    client: Arc<str>,
}

impl Limiter {
    pub(super) fn new(limits: ClientLimits) -> Self {
        let rate = limits.requests_per_second.map(|per_second| {
            let interval = Duration::from_secs(1) / per_second.max(1);
            Rate { interval, tolerance: interval * (limits.burst.unwrap_or(per_second).max(1) - 1) }
        });
        Self { rate, concurrent: limits.concurrent_requests, clients: Mutex::default() }
    }

    /// Counts a request of a client, or says why it must wait.
    pub(super) fn take(self: &Arc<Self>, name: &Arc<str>, now: Instant) -> Result<Slot, Denial> {
        let mut clients = self.lock();
        if !clients.contains_key(name) {
            make_room(&mut clients, now);
        }
        let client = clients.entry(Arc::clone(name)).or_insert(Client { paid_until: now, running: 0 });
        if let Some(most) = self.concurrent
            && client.running >= most
        {
            return Err(Denial::TooManyAtOnce(most));
        }
        if let Some(rate) = self.rate {
            let paid_until = client.paid_until.max(now);
            let wait = paid_until.duration_since(now).saturating_sub(rate.tolerance);
            if !wait.is_zero() {
                return Err(Denial::TooManyRequests(wait));
            }
            client.paid_until = paid_until + rate.interval;
        }
        client.running += 1;
        Ok(Slot { limiter: Arc::clone(self), client: Arc::clone(name) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets those who have asked nothing for a while; if all have, the one who waits the least.
fn make_room(clients: &mut HashMap<Arc<str>, Client>, now: Instant) {
    if clients.len() < MAX_CLIENTS {
        return;
    }
    clients.retain(|_, client| !client.is_idle(now));
    if clients.len() >= MAX_CLIENTS {
        // Those with requests in progress are fewer: there are not that many connections.
        let resting = clients.iter().filter(|(_, client)| client.running == 0);
        let oldest = resting.min_by_key(|(_, client)| client.paid_until).map(|(name, _)| Arc::clone(name));
        if let Some(oldest) = oldest {
            clients.remove(&oldest);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut clients = self.limiter.lock();
        if let Some(client) = clients.get_mut(&self.client) {
            client.running = client.running.saturating_sub(1);
            // Without a rate there is nothing to remember.
            if client.running == 0 && self.limiter.rate.is_none() {
                clients.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(per_second: Option<u32>, burst: Option<u32>, concurrent: Option<u32>) -> Arc<Limiter> {
        Arc::new(Limiter::new(ClientLimits {
            requests_per_second: per_second,
            burst,
            concurrent_requests: concurrent,
        }))
    }

    fn name(text: &str) -> Arc<str> {
        text.into()
    }

    #[test]
    fn a_burst_is_taken_and_then_the_rate() {
        let limiter = limiter(Some(10), Some(3), None);
        let (a, start) = (name("a"), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for _ in 0..3 {
            limiter.take(&a, start).unwrap();
        }
        assert_eq!(limiter.take(&a, start).unwrap_err(), Denial::TooManyRequests(Duration::from_millis(100)));
        assert_eq!(limiter.take(&a, at(60)).unwrap_err(), Denial::TooManyRequests(Duration::from_millis(40)));
        limiter.take(&a, at(100)).unwrap();
        assert!(limiter.take(&a, at(100)).is_err(), "refused requests must not add to the wait, nor be free");
        limiter.take(&name("b"), at(100)).unwrap();
        for _ in 0..3 {
            limiter.take(&a, at(5_000)).unwrap();
        }
        assert!(limiter.take(&a, at(5_000)).is_err(), "a long pause gives one burst and no more");
    }

    #[test]
    fn a_second_s_worth_is_the_burst_where_none_is_written() {
        let limiter = limiter(Some(5), None, None);
        let (a, now) = (name("a"), Instant::now());
        assert_eq!((0..9).filter(|_| limiter.take(&a, now).is_ok()).count(), 5);
    }

    #[test]
    fn requests_in_progress_are_counted_until_they_end() {
        let limiter = limiter(None, None, Some(2));
        let (a, now) = (name("a"), Instant::now());
        let first = limiter.take(&a, now).unwrap();
        let second = limiter.take(&a, now).unwrap();
        assert_eq!(limiter.take(&a, now).unwrap_err(), Denial::TooManyAtOnce(2));
        limiter.take(&name("b"), now).unwrap();
        drop(first);
        drop(limiter.take(&a, now).unwrap());
        drop(second);
        assert!(limiter.lock().is_empty(), "nobody is remembered for nothing");
    }

    #[test]
    fn the_number_of_clients_is_bounded_and_the_busiest_are_remembered() {
        let limiter = limiter(Some(1), Some(2), None);
        let now = Instant::now();
        let busy = name("busy");
        limiter.take(&busy, now).unwrap();
        limiter.take(&busy, now).unwrap();
        for client in 0..MAX_CLIENTS + 10 {
            limiter.take(&name(&client.to_string()), now).unwrap();
        }
        assert_eq!(limiter.lock().len(), MAX_CLIENTS);
        assert!(limiter.take(&busy, now).is_err());
        limiter.take(&name("later"), now + Duration::from_secs(9)).unwrap();
        assert_eq!(limiter.lock().len(), 1);
    }
}
