//! Where a call comes from.

use std::{net::IpAddr, str::FromStr};

use http::HeaderMap;
use ipnet::IpNet;

/// The proxies whose `x-forwarded-for` is believed: addresses and networks, such as `10.0.0.0/8, ::1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl FromStr for TrustedProxies {
    type Err = ipnet::AddrParseError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
        items.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl TrustedProxies {
    /// The caller's address: the peer's or, when the peer is trusted, the last hop that is not.
    ///
    /// Read from the right, as each proxy appends the address it saw; what stands further left is the caller's own
    /// word. An entry that is no address ends the search at the hop before it.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        for hop in forwarded(headers) {
            if !self.trusts(client) {
                break;
            }
            let Some(hop) = hop else { break };
            client = hop;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The hops in `x-forwarded-for`, last first.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    lines.into_iter().rev().flat_map(|line| line.to_str().unwrap_or("?").rsplit(',')).map(hop)
}

fn hop(text: &str) -> Option<IpAddr> {
    text.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn network(item: &str) -> Result<IpNet, ipnet::AddrParseError> {
    item.parse::<IpNet>().or_else(|error| item.parse::<IpAddr>().map(IpNet::from).map_err(|_| error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let proxies: TrustedProxies = proxies.parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        proxies.client_address(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn an_untrusted_peer_is_the_client_whatever_it_claims() {
        assert_eq!(client("", "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(client("10.0.0.0/8", "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
    }

    #[test]
    fn behind_trusted_proxies_it_is_the_last_untrusted_hop() {
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, 2.2.2.2"]), "2.2.2.2");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["6.6.6.6, 2.2.2.2, 10.0.0.2"]), "2.2.2.2");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["6.6.6.6", "2.2.2.2", "10.0.0.2"]), "2.2.2.2");
        assert_eq!(client("10.0.0.0/8,::1", "::1", &["::ffff:2.2.2.2"]), "2.2.2.2");
    }

    #[test]
    fn without_a_usable_hop_it_is_the_last_proxy() {
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", &["1.1.1.1, unknown"]), "10.0.0.1");
        assert_eq!(client("0.0.0.0/0", "10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        assert!("10.0.0.0/99".parse::<TrustedProxies>().is_err());
        assert!("proxy".parse::<TrustedProxies>().is_err());
    }
}
