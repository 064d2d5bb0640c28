//! How often one address may ask for a fresh token: a burst, and then one each time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::base::{Moment, limits};

/// Until when the tokens that were given out are not earned again, by address.
#[derive(Debug, Default)]
pub(super) struct Rates(BTreeMap<IpAddr, Moment>);

impl Rates {
    /// One more for this address; how long it has to wait otherwise.
    pub(super) fn take(&mut self, address: IpAddr, now: Moment) -> Result<(), Duration> {
        let address = network(address);
        if !self.0.contains_key(&address) && self.0.len() >= limits::DISCOVERY_ASKERS_MAX {
            self.0.retain(|_, earned| *earned > now);
            if self.0.len() >= limits::DISCOVERY_ASKERS_MAX {
                return Err(limits::DISCOVERY_NEW_EVERY);
            }
        }
        let earned = self.0.get(&address).copied().unwrap_or(now).max(now);
        let earned = earned + limits::DISCOVERY_NEW_EVERY;
        let ahead = earned.since(now);
        let burst = limits::DISCOVERY_NEW_EVERY * limits::DISCOVERY_NEW_BURST;
        if ahead > burst {
            return Err(ahead - burst);
        }
        self.0.insert(address, earned);
        Ok(())
    }
}

/// Who has one IPv6 address has as many as he likes, of one network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_each_time() {
        let mut rates = Rates::default();
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let start = Moment::from_millis(1_000);
        for _ in 0..limits::DISCOVERY_NEW_BURST {
            assert_eq!(rates.take(one, start), Ok(()));
        }
        assert_eq!(rates.take(one, start), Err(limits::DISCOVERY_NEW_EVERY));
        assert_eq!(rates.take("10.0.0.2".parse().unwrap(), start), Ok(()));
        let later = start + limits::DISCOVERY_NEW_EVERY;
        assert_eq!(rates.take(one, later), Ok(()));
        assert!(rates.take(one, later).is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_asker_and_a_mapped_address_is_what_it_maps() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::3"), of("2001:db8:1:2:ffff::4"));
        assert_ne!(of("2001:db8:1:2::3"), of("2001:db8:1:3::3"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn not_more_addresses_are_remembered_than_the_bound() {
        let mut rates = Rates::default();
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        for n in 0..limits::DISCOVERY_ASKERS_MAX {
            assert_eq!(rates.take(address(n), Moment::ZERO), Ok(()));
        }
        assert!(rates.take(address(usize::MAX >> 32), Moment::ZERO).is_err());
        let later = Moment::ZERO + limits::DISCOVERY_NEW_EVERY;
        assert_eq!(rates.take(address(usize::MAX >> 32), later), Ok(()));
        assert_eq!(rates.0.len(), 1);
    }
}
