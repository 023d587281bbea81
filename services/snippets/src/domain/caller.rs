//! Who is asking.

use super::{Account, AccountId, Tier};
use std::net::{IpAddr, Ipv6Addr};

/// Who sent a request, known before anything else is done with it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Where from: the peer, or the last untrusted hop behind trusted proxies.
    pub address: IpAddr,
    /// As whom.
    pub identity: Identity,
}

/// What a caller has proved about itself.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Nothing: it sent no key.
    Anonymous,
    /// It holds a valid key of this account.
    Account(Account),
    /// It holds the key that the service was configured with, and is no account.
    BootstrapAdmin,
}

impl Caller {
    /// Its account, if it has one.
    pub fn account_id(&self) -> Option<AccountId> {
        match &self.identity {
            Identity::Account(account) => Some(account.id),
            Identity::Anonymous | Identity::BootstrapAdmin => None,
        }
    }

    /// As whom it is told from others: by its account, or else by its address.
    pub fn subject(&self) -> String {
        match &self.identity {
            Identity::Account(account) => format!("account:{}", account.id),
            Identity::Anonymous | Identity::BootstrapAdmin => format!("address:{}", self.address),
        }
    }

    /// What it is limited as: its account, or else its address, of IPv6 the network of 64 bits that one customer has.
    pub fn limited_as(&self) -> String {
        match (&self.identity, self.address) {
            (Identity::Account(account), _) => account.id.to_string(),
            (_, IpAddr::V4(address)) => address.to_string(),
            (_, IpAddr::V6(address)) => format!("{}/64", Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        }
    }

    /// Whether it sent no key.
    pub fn is_anonymous(&self) -> bool {
        matches!(self.identity, Identity::Anonymous)
    }

    /// Whether it may do what admins may.
    pub fn is_admin(&self) -> bool {
        self.tier() == Some(Tier::Admin)
    }

    /// What it is entitled to; `None` for an anonymous caller.
    pub fn tier(&self) -> Option<Tier> {
        match &self.identity {
            Identity::Anonymous => None,
            Identity::Account(account) => Some(account.tier),
            Identity::BootstrapAdmin => Some(Tier::Admin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_network_of_addresses_is_one() {
        let limited = |address: &str| {
            Caller { address: address.parse().unwrap(), identity: Identity::Anonymous }.limited_as()
        };
        assert_eq!(limited("198.51.100.7"), "198.51.100.7");
        assert_eq!(limited("2001:db8:1:2::1"), "2001:db8:1:2::/64");
        assert_eq!(limited("2001:db8:1:2:ffff::ffff"), "2001:db8:1:2::/64");
        assert_ne!(limited("2001:db8:1:3::1"), limited("2001:db8:1:2::1"));
    }
}
