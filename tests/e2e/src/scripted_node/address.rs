//! Addresses of pods that do not exist.
//!
//! They come from the lower half of 239.0.0.0/8, the administratively scoped multicast addresses; the upper half is left
//! to the Services of the cluster under test. Kubernetes takes them for pods and for endpoints (it refuses only
//! unspecified, loopback, link-local and link-local multicast addresses). A TCP connection to a multicast address fails
//! in the kernel at once with ENETUNREACH (`tcp_v4_connect`): whatever a program under test makes of an `EndpointSlice`,
//! and though an API server asks the node for a pod's log, no packet leaves the machine. No unicast range promises that:
//! one that nobody routes here goes out by the default route.
use std::{collections::HashSet, net::Ipv4Addr};

/// Of the 23 free bits, those that number the pods of a node. The others tell nodes apart, by a hash of the name: of 256
/// pairs of nodes one shares its addresses, which shows only where a Service has pods on both.
const POD_BITS: u32 = 15;
const PODS: u32 = 1 << POD_BITS;

/// The addresses of one node.
#[derive(Debug)]
pub(super) struct Addresses {
    base: u32,
    taken: HashSet<Ipv4Addr>,
    next: u32,
}

impl Addresses {
    /// The same name gives the same addresses.
    pub(super) fn of_node(name: &str) -> Self {
        let nodes = u64::from((1_u32 << 23) / PODS);
        let node = u32::try_from(super::hash(&name) % nodes).unwrap_or_default();
        Self { base: u32::from(Ipv4Addr::new(239, 0, 0, 0)) + node * PODS, taken: HashSet::new(), next: 1 }
    }

    /// The node's own.
    pub(super) fn node(&self) -> Ipv4Addr {
        Ipv4Addr::from(self.base)
    }

    /// An address for a pod, the one it has already where it comes from here. `None` when all are taken.
    pub(super) fn take(&mut self, present: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        if let Some(present) = present.filter(|ip| u32::from(*ip) / PODS == self.base / PODS)
            && self.taken.insert(present)
        {
            return Some(present);
        }
        for _ in 1..PODS {
            let ip = Ipv4Addr::from(self.base + self.next);
            self.next = if self.next + 1 == PODS { 1 } else { self.next + 1 };
            if self.taken.insert(ip) {
                return Some(ip);
            }
        }
        None
    }

    pub(super) fn give_back(&mut self, ip: Ipv4Addr) {
        self.taken.remove(&ip);
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, time::Duration};

    use super::*;

    #[test]
    fn addresses_are_multicast_and_given_once() {
        let mut addresses = Addresses::of_node("a");
        let first = addresses.take(None).unwrap();
        let second = addresses.take(None).unwrap();
        assert!(first.is_multicast() && second.is_multicast() && addresses.node().is_multicast());
        assert_eq!(3, HashSet::from([first, second, addresses.node()]).len());
        let mut again = Addresses::of_node("a");
        assert_eq!(again.take(Some(second)), Some(second));
        assert_eq!(again.take(Some(second)), Some(first));
        assert_eq!(again.take(Some(Ipv4Addr::LOCALHOST)).map(|ip| ip.is_multicast()), Some(true));
    }

    #[test]
    fn addresses_end_and_come_back() {
        let mut addresses = Addresses::of_node("a");
        let all: HashSet<_> = std::iter::from_fn(|| addresses.take(None)).collect();
        assert_eq!(all.len(), PODS as usize - 1);
        let one = *all.iter().next().unwrap();
        addresses.give_back(one);
        assert_eq!(addresses.take(None), Some(one));
    }

    #[test]
    fn a_connection_to_a_pod_fails_in_the_kernel() {
        let ip = Addresses::of_node("a").take(None).unwrap();
        let error =
            std::net::TcpStream::connect_timeout(&(ip, 8080).into(), Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    }
}
