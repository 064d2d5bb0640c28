//! What strangers may take of one member, over every wire together; and what was refused for it, in numbers and in words.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use rustix::process::{Resource, getrlimit};

use super::crowd::{Crowd, Goes};
use super::throttle::Throttle;
use crate::base::meter::Counter;
use crate::base::{Clock, SystemClock, limits};

/// Who is answerable for a connection: its address; of IPv6 the network of 64 bits, of which one machine has as many
/// addresses as it likes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Origin(IpAddr);

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        Self(match address.ip().to_canonical() {
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
            ip => ip,
        })
    }
}

/// What has a bound that a stranger can reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Bound {
    /// Handshakes under way, and connections that have not asked anything yet.
    Strangers,
    /// Connections of clients.
    Connections,
    /// Connections of members, and of those who may become one.
    Members,
    /// Calls over HTTP/2 whose message has not come.
    SilentCalls,
    /// Bytes of messages on their way.
    Unfinished,
    /// Bytes of answers that nobody takes.
    Unsent,
    /// Frames that ask for nothing.
    Noise,
}

impl Bound {
    pub const ALL: [Self; 7] = [
        Self::Strangers,
        Self::Connections,
        Self::Members,
        Self::SilentCalls,
        Self::Unfinished,
        Self::Unsent,
        Self::Noise,
    ];

    /// As the metric names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strangers => "strangers",
            Self::Connections => "connections",
            Self::Members => "members",
            Self::SilentCalls => "silent_calls",
            Self::Unfinished => "unfinished_bytes",
            Self::Unsent => "unsent_bytes",
            Self::Noise => "noise",
        }
    }

    /// What is said to the client where it can be said, and to the log.
    pub fn text(self) -> &'static str {
        match self {
            Self::Strangers => "too many connections that have asked nothing yet",
            Self::Connections => "too many connections",
            Self::Members => "too many connections of members",
            Self::SilentCalls => "quorate: too many calls whose message has not come",
            Self::Unfinished => "quorate: too many bytes of messages that do not come to their end",
            Self::Unsent => "quorate: too many bytes of answers that are not taken",
            Self::Noise => "too many frames that ask for nothing",
        }
    }
}

/// How much of each there may be; tests want some of them small.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub strangers: usize,
    pub tcp: usize,
    pub quic: usize,
    pub silent: usize,
    pub unfinished_bytes: usize,
    pub unsent_bytes: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            strangers: limits::STRANGERS_MAX,
            tcp: tcp_max(getrlimit(Resource::Nofile).current),
            quic: limits::CONNECTIONS_MAX,
            silent: limits::SILENT_CALLS_MAX,
            unfinished_bytes: limits::UNFINISHED_BYTES_MAX,
            unsent_bytes: limits::UNSENT_BYTES_MAX,
        }
    }
}

/// See the module. One for all doors of a member.
#[derive(Debug)]
pub struct Bounds {
    pub strangers: Arc<Crowd<Origin>>,
    /// Of TCP, each of which has a descriptor.
    pub tcp: Arc<Crowd<Origin>>,
    /// Of TCP where metrics alone are told: who looks after the member finds a place when clients have taken all others.
    pub watching: Arc<Crowd<Origin>>,
    /// Of QUIC.
    pub quic: Arc<Crowd<Origin>>,
    pub members: Arc<Crowd<Origin>>,
    pub silent: Arc<Crowd<Origin>>,
    pub unfinished: Arc<Crowd<Origin>>,
    pub unsent: Arc<Crowd<Origin>>,
    refused: [Counter; Bound::ALL.len()],
    throttle: Throttle,
    /// For the log alone.
    clock: SystemClock,
}

impl Bounds {
    /// Those of [`limits`], of a process that may have as many files open as this one.
    pub fn new() -> Arc<Self> {
        Self::with(Sizes::default())
    }

    pub fn with(sizes: Sizes) -> Arc<Self> {
        Arc::new(Self {
            strangers: Crowd::new(sizes.strangers, Goes::Oldest),
            tcp: Crowd::new(sizes.tcp, Goes::Newest),
            watching: Crowd::new(limits::METRICS_CONNECTIONS_MAX, Goes::Newest),
            quic: Crowd::new(sizes.quic, Goes::Newest),
            members: Crowd::new(limits::PEER_CONNECTIONS_MAX, Goes::Newest),
            silent: Crowd::new(sizes.silent, Goes::Oldest),
            unfinished: Crowd::new(sizes.unfinished_bytes, Goes::Oldest),
            unsent: Crowd::new(sizes.unsent_bytes, Goes::Heaviest),
            refused: Default::default(),
            throttle: Throttle::default(),
            clock: SystemClock::new(),
        })
    }

    /// Bytes that may be under way on one more connection of this crowd.
    pub fn window(crowd: &Crowd<Origin>, bytes_max: u32) -> u32 {
        let share = limits::CLIENT_WINDOWS_BYTES_MAX / crowd.weight().max(1);
        u32::try_from(share)
            .map_or(bytes_max, |share| share.clamp(limits::CLIENT_WINDOW_BYTES_MIN, bytes_max))
    }

    /// Somebody had to go, or was not let in.
    pub fn refuse(&self, bound: Bound, remote: SocketAddr) {
        let refused = &self.refused[bound as usize];
        refused.increment();
        if self.throttle.allows(bound.name().to_owned(), self.clock.now()) {
            let (name, so_far) = (bound.name(), refused.value());
            tracing::warn!(%remote, bound = name, so_far, "refused a client: {}", bound.text());
        }
    }

    /// How often each bound was reached.
    pub fn refused(&self) -> impl Iterator<Item = (Bound, u64)> + '_ {
        Bound::ALL.into_iter().map(|bound| (bound, self.refused[bound as usize].value()))
    }
}

/// Connections over TCP: never the last descriptors, which the database, its log and the members need.
fn tcp_max(descriptors: Option<u64>) -> usize {
    let descriptors =
        descriptors.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    let spare = limits::DESCRIPTORS_RESERVED.min(descriptors / 2);
    descriptors.saturating_sub(spare).min(limits::CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_member() {
        assert_eq!(tcp_max(None), limits::CONNECTIONS_MAX);
        assert_eq!(tcp_max(Some(1 << 20)), limits::CONNECTIONS_MAX);
        assert_eq!(tcp_max(Some(1_024)), 1_024 - limits::DESCRIPTORS_RESERVED);
        assert_eq!(tcp_max(Some(64)), 32);
    }

    #[test]
    fn many_connections_share_what_may_be_under_way() {
        let crowd = Crowd::new(10_000, Goes::Newest);
        let origin = Origin::from(SocketAddr::from(([10, 0, 0, 1], 1)));
        let window = || Bounds::window(&crowd, limits::CLIENT_WINDOW_BYTES);
        let few: Vec<_> = (0..500).map(|_| crowd.enter(origin, 1).unwrap()).collect();
        assert_eq!(window(), limits::CLIENT_WINDOW_BYTES);
        let many: Vec<_> = (0..4_500).map(|_| crowd.enter(origin, 1).unwrap()).collect();
        assert_eq!(window() as usize, limits::CLIENT_WINDOWS_BYTES_MAX / 5_000);
        drop((few, many));
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin() {
        let of = |text: &str| Origin::from(text.parse::<SocketAddr>().unwrap());
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:0:1]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_eq!(of("[::ffff:10.0.0.1]:1"), of("10.0.0.1:2"));
        assert_ne!(of("10.0.0.1:1"), of("10.0.0.2:1"));
    }

    #[test]
    fn every_bound_has_its_own_counter() {
        for (place, bound) in Bound::ALL.into_iter().enumerate() {
            assert_eq!(bound as usize, place);
        }
    }
}
