//! Where the counters' Redis is.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, io::tcp::TcpSettings};
use secrecy::{ExposeSecret as _, SecretString};

/// How addresses are written, for errors.
const FORMS: &str = "redis://HOST:PORT[/DB], redis+sentinel://HOST:PORT,HOST:PORT/MASTER[/DB] or \
                     redis+cluster://HOST:PORT,HOST:PORT, each with USER:PASSWORD@ before the hosts if need be";

/// A server, what sentinels say is one, or a cluster.
#[derive(Debug, Clone)]
pub enum RedisAddress {
    /// One server.
    Server(ConnectionInfo),
    /// The master of that name, as any of the sentinels knows it.
    Sentinel {
        /// Where sentinels are.
        sentinels: Vec<ConnectionAddr>,
        /// What they call the master.
        master: String,
        /// How to log in to the master, and its database.
        login: ConnectionInfo,
    },
    /// A cluster, of which these are some nodes.
    Cluster(Vec<ConnectionInfo>),
}

/// An address is not right. What is wrong is not repeated, as it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAddress {
    /// There is none.
    #[error("is required, as {FORMS}")]
    Missing,
    /// It is written otherwise.
    #[error("is not of the form {FORMS}")]
    OtherForm,
}

impl RedisAddress {
    /// Reads `redis://`, `redis+sentinel://` and `redis+cluster://` URLs.
    ///
    /// # Errors
    /// Says how they are written.
    pub fn parse(url: &SecretString) -> Result<Self, InvalidAddress> {
        if url.expose_secret().is_empty() {
            return Err(InvalidAddress::Missing);
        }
        let (scheme, rest) = url.expose_secret().split_once("://").ok_or(InvalidAddress::OtherForm)?;
        match scheme {
            "redis" => Ok(Self::Server(server(rest)?)),
            "redis+sentinel" => Self::sentinel(rest),
            "redis+cluster" => Ok(Self::Cluster(hosts(rest, server)?)),
            _ => Err(InvalidAddress::OtherForm),
        }
    }

    fn sentinel(rest: &str) -> Result<Self, InvalidAddress> {
        let (authority, path) = rest.split_once('/').ok_or(InvalidAddress::OtherForm)?;
        let (master, database) = path.split_once('/').unwrap_or((path, "0"));
        if master.is_empty() {
            return Err(InvalidAddress::OtherForm);
        }
        // Sentinels are asked without logging in; who logs in is at the master.
        let addr = |host: &str| Ok(server(host.rsplit('@').next().unwrap_or(host))?.addr().clone());
        let (login, _) = authority.rsplit_once('@').unwrap_or(("", authority));
        let at = if login.is_empty() { "" } else { "@" };
        Ok(Self::Sentinel {
            sentinels: hosts(authority, addr)?,
            master: master.to_owned(),
            login: server(&format!("{login}{at}master/{database}"))?,
        })
    }
}

/// Each of the hosts in `USER:PASSWORD@HOST:PORT,HOST:PORT`, with what is before the @.
fn hosts<T>(
    authority: &str,
    parse: impl Fn(&str) -> Result<T, InvalidAddress>,
) -> Result<Vec<T>, InvalidAddress> {
    let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
    let at = if login.is_empty() { "" } else { "@" };
    hosts.split(',').map(|host| parse(&format!("{login}{at}{host}"))).collect()
}

/// `USER:PASSWORD@HOST:PORT/DB`.
fn server(rest: &str) -> Result<ConnectionInfo, InvalidAddress> {
    let info: Result<ConnectionInfo, RedisError> = format!("redis://{rest}").into_connection_info();
    let info = info.map_err(|_| InvalidAddress::OtherForm)?;
    Ok(info.set_tcp_settings(tcp_settings()))
}

/// How long sent data may stay unacknowledged before the connection counts as lost.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Nagle's algorithm, which is on by default, would hold a Check back while another's answer is under way. And a peer
/// that vanished without a word is given up after some seconds, not after the kernel's quarter of an hour.
pub(super) fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(UNACKNOWLEDGED_MAX);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<RedisAddress, InvalidAddress> {
        RedisAddress::parse(&url.into())
    }

    #[test]
    fn a_server_has_a_host_and_perhaps_a_login() {
        let RedisAddress::Server(info) = parse("redis://user:secret@h:6380/2").unwrap() else { panic!() };
        assert_eq!(info.addr().to_string(), "h:6380");
        assert_eq!((info.redis_settings().username(), info.redis_settings().db()), (Some("user"), 2));
    }

    #[test]
    fn sentinels_know_a_master_by_name() {
        let url = "redis+sentinel://user:secret@a:26379,b:26380/counters/3";
        let RedisAddress::Sentinel { sentinels, master, login } = parse(url).unwrap() else { panic!() };
        let sentinels: Vec<_> = sentinels.iter().map(ToString::to_string).collect();
        assert_eq!(
            (sentinels, master.as_str()),
            (vec!["a:26379".to_owned(), "b:26380".to_owned()], "counters")
        );
        assert_eq!((login.redis_settings().password(), login.redis_settings().db()), (Some("secret"), 3));
    }

    #[test]
    fn a_cluster_has_some_nodes() {
        let RedisAddress::Cluster(nodes) = parse("redis+cluster://u:p@a:1,b:2").unwrap() else { panic!() };
        let told: Vec<_> =
            nodes.iter().map(|it| (it.addr().to_string(), it.redis_settings().username())).collect();
        assert_eq!(told, [("a:1".to_owned(), Some("u")), ("b:2".to_owned(), Some("u"))]);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        for url in [
            "hunter2",
            "rediss://hunter2@h",
            "redis+sentinel://:hunter2@h:1",
            "redis+cluster://a:hunter2",
            "redis://h:0:0",
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(error.contains("redis+sentinel://") && !error.contains("hunter2"), "{error}");
        }
    }
}
