//! Which network addresses may be asked.
//!
//! A uri comes from whoever writes a manifest; the process that follows it may stand in a network that this person
//! cannot reach. Every address is therefore checked: those that a name resolves to (in the resolver that the HTTP
//! client uses, so that nothing can change between check and use), literal ones, and those of redirects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What may be reached. Link-local, metadata, multicast and unspecified addresses never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRules {
    /// Loopback addresses may be asked. Only for commands that a person runs on their own machine.
    pub loopback: bool,
    /// Private ranges (RFC 1918, RFC 6598, RFC 2544, 192.0.0.0/24, unique local IPv6) may be asked.
    pub private: bool,
    /// A store's client may use the [identity](crate::Identity) of this pod or machine, and ask its cloud's metadata
    /// service for it. Sources still cannot name that service.
    pub instance_identity: bool,
}

impl AccessRules {
    /// In a cluster: private ranges, no loopback, no instance identity.
    pub const CLUSTER: Self = Self { loopback: false, private: true, instance_identity: false };
    /// On a person's own machine: loopback too.
    pub const LOCAL: Self = Self { loopback: true, private: true, instance_identity: false };

    /// Checks an address that `host` is or resolves to.
    pub(crate) fn check(self, host: &str, address: IpAddr) -> Result<(), Refusal> {
        let kind = Kind::of(address);
        let allowed = match kind {
            Kind::Public => true,
            Kind::Private => self.private,
            Kind::Loopback => self.loopback,
            Kind::LinkLocal | Kind::Metadata | Kind::Unspecified | Kind::Tunnel | Kind::Multicast => false,
        };
        if allowed { Ok(()) } else { Err(Refusal { host: host.to_owned(), address, kind: kind.name() }) }
    }

    /// Checks `host` if it is a literal address; names are checked when they are resolved.
    pub(crate) fn check_literal(self, host: &str) -> Result<(), Refusal> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        match bare.parse() {
            Ok(address) => self.check(host, address),
            Err(_) => Ok(()),
        }
    }
}

impl Default for AccessRules {
    fn default() -> Self {
        Self::CLUSTER
    }
}

/// An address that the rules forbid. Travels inside the HTTP client's errors.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) host: String,
    pub(crate) address: IpAddr,
    pub(crate) kind: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the address {} of {} is {}", self.address, self.host, self.kind)
    }
}

impl std::error::Error for Refusal {}

/// How a message calls an address of a private range.
pub(crate) const PRIVATE: &str = "private";

/// In order of how little may ask it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Public,
    Private,
    Loopback,
    LinkLocal,
    Metadata,
    Unspecified,
    Tunnel,
    Multicast,
}

impl Kind {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            // AWS, Google, Azure and others; AWS containers and EKS Pod Identity.
            [169, 254, 169, 254] | [169, 254, 170, 2 | 23]
            // Alibaba Cloud; Oracle Cloud; Azure's host.
            | [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Self::Metadata,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            // 0.0.0.0/8 reaches this machine on Linux.
            [0, ..] => Self::Unspecified,
            [224..=255, ..] => Self::Multicast,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..]
            // Networks for measurements (RFC 2544); protocol assignments (RFC 6890).
            | [198, 18..=19, ..] | [192, 0, 0, _] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        if address == Ipv6Addr::LOCALHOST {
            return Self::Loopback;
        }
        if address.is_unspecified() {
            return Self::Unspecified;
        }
        let embedded = |high: u16, low: u16| {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            // IPv4-mapped, IPv4-compatible, IPv4-translated (SIIT), NAT64 and 6to4 addresses mean the IPv4 address
            // inside them.
            [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
            | [0, 0, 0, 0, 0xffff, 0, high, low]
            | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
            | [0x2002, high, low, ..] => embedded(high, low),
            [0x64, 0xff9b, 1, ..] => Self::of_local_nat64(address),
            // Teredo (RFC 4380): through servers that the address itself names, to hosts behind them.
            [0x2001, 0, ..] => Self::Tunnel,
            // AWS, Google.
            [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254 | 0x23] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
                Self::Metadata
            }
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xff00..=0xffff, ..] => Self::Multicast,
            [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Self::Private,
            _ => Self::Public,
        }
    }

    /// `64:ff9b:1::/48` (RFC 8215): where the IPv4 address lies depends on the length of the prefix that the network
    /// chose (RFC 6052 §2.2), which is not known here, so the strictest reading counts.
    fn of_local_nat64(address: Ipv6Addr) -> Self {
        let o = address.octets();
        let readings = [
            [o[12], o[13], o[14], o[15]],
            [o[9], o[10], o[11], o[12]],
            [o[7], o[9], o[10], o[11]],
            [o[6], o[7], o[9], o[10]],
        ];
        // A zero is where another reading has its prefix; no host has such an address.
        let hosts = readings.into_iter().filter(|reading| reading[0] != 0);
        hosts.map(|reading| Self::of_v4(reading.into())).max().unwrap_or(Self::Unspecified)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => PRIVATE,
            Self::Loopback => "a loopback address",
            Self::LinkLocal => "link-local",
            Self::Metadata => "a cloud's metadata service",
            Self::Unspecified => "unspecified",
            Self::Tunnel => "a Teredo tunnel's",
            Self::Multicast => "multicast or reserved",
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const STRICT: AccessRules = AccessRules { loopback: false, private: false, instance_identity: true };

    #[rstest]
    #[case("8.8.8.8")]
    #[case("2001:4860:4860::8888")]
    #[case("::ffff:8.8.8.8")]
    #[case("172.32.0.1")]
    #[case("100.128.0.1")]
    #[case("198.20.0.1")]
    #[case("192.0.1.1")]
    #[case("64:ff9b:1::808:808")]
    #[case("64:ff9b:1:1::808:808")]
    #[case("64:ff9b:1:808:8:800::")]
    fn public_address_is_always_allowed(#[case] address: &str) {
        assert!(STRICT.check("h", address.parse().unwrap()).is_ok());
    }

    #[rstest]
    #[case("169.254.169.254")]
    #[case("169.254.1.1")]
    #[case("::ffff:169.254.169.254")]
    #[case("::169.254.169.254")]
    #[case("64:ff9b::a9fe:a9fe")]
    #[case("64:ff9b:1::a9fe:a9fe")]
    #[case("64:ff9b:1:a9fe:a9:fe00::")]
    #[case("64:ff9b:1:a9fe:a9:fe00:a00:1")]
    #[case("64:ff9b:1::")]
    #[case("::ffff:0:169.254.169.254")]
    #[case("2001:0:4136:e378:8000:63bf:3fff:fdd2")]
    #[case("192.0.0.192")]
    #[case("2002:a9fe:a9fe::1")]
    #[case("fe80::1")]
    #[case("fd00:ec2::254")]
    #[case("100.100.100.200")]
    #[case("168.63.129.16")]
    #[case("0.0.0.0")]
    #[case("0.1.2.3")]
    #[case("::")]
    #[case("224.0.0.1")]
    #[case("255.255.255.255")]
    #[case("ff02::1")]
    fn link_local_and_metadata_addresses_are_never_allowed(#[case] address: &str) {
        let all = AccessRules { loopback: true, private: true, instance_identity: true };
        assert!(all.check("h", address.parse().unwrap()).is_err(), "{address}");
        assert!(all.check_literal(address).is_err(), "{address}");
    }

    #[rstest]
    #[case("127.0.0.1")]
    #[case("127.9.9.9")]
    #[case("::1")]
    #[case("::ffff:127.0.0.1")]
    #[case("::ffff:0:127.0.0.1")]
    #[case("64:ff9b:1::7f00:1")]
    fn loopback_needs_the_local_rules(#[case] address: &str) {
        assert!(AccessRules::CLUSTER.check("h", address.parse().unwrap()).is_err());
        assert!(AccessRules::LOCAL.check("h", address.parse().unwrap()).is_ok());
    }

    #[rstest]
    #[case("10.0.0.1")]
    #[case("172.16.0.1")]
    #[case("192.168.1.1")]
    #[case("100.64.0.1")]
    #[case("fd12:3456::1")]
    #[case("::ffff:10.0.0.1")]
    #[case("::ffff:0:10.0.0.1")]
    #[case("64:ff9b:1::a00:1")]
    #[case("198.18.0.1")]
    #[case("198.19.255.1")]
    #[case("192.0.0.1")]
    fn private_ranges_are_allowed_unless_told_otherwise(#[case] address: &str) {
        assert!(AccessRules::CLUSTER.check("h", address.parse().unwrap()).is_ok());
        assert!(STRICT.check("h", address.parse().unwrap()).is_err());
    }

    #[test]
    fn bracketed_literal_is_recognised_and_a_name_is_left_to_the_resolver() {
        assert!(STRICT.check_literal("[::1]").is_err());
        assert!(STRICT.check_literal("localhost").is_ok());
    }
}
