//! The server that sentinels say is the master.

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ErrorKind, RedisError, RedisResult,
    aio::MultiplexedConnection,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use tokio::task::JoinSet;

use super::address::tcp_settings;

/// How to find the master.
#[derive(Clone)]
pub(super) struct Sentinels {
    pub addresses: Vec<ConnectionAddr>,
    /// What they call the master.
    pub master: String,
    /// How to log in to the master, and its database.
    pub login: ConnectionInfo,
    pub options: AsyncConnectionConfig,
}

impl Sentinels {
    /// Asks all at once, and believes the first that names a server which says itself that it is the master: one sentinel
    /// that is silent, or names a master that is, holds nobody up.
    pub async fn connect(self) -> RedisResult<MultiplexedConnection> {
        let mut asked = JoinSet::new();
        for address in &self.addresses {
            let (mut sentinel, options) = (self.client(address.clone())?, self.options.clone());
            asked.spawn(async move { sentinel.get_async_connection_with_config(&options).await });
        }
        let mut failed = RedisError::from((ErrorKind::EmptySentinelList, "no sentinel could be asked"));
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(master)) => return Ok(master),
                Ok(Err(error)) => failed = error,
                Err(_) => {}
            }
        }
        Err(failed)
    }

    fn client(&self, address: ConnectionAddr) -> RedisResult<SentinelClient> {
        let settings = self.login.redis_settings();
        let mut client = SentinelClientBuilder::new([address], &self.master, SentinelServerType::Master)?
            .set_client_to_redis_tcp_settings(tcp_settings())
            .set_client_to_sentinel_tcp_settings(tcp_settings())
            .set_client_to_redis_db(settings.db());
        if let Some(username) = settings.username() {
            client = client.set_client_to_redis_username(username);
        }
        if let Some(password) = settings.password() {
            client = client.set_client_to_redis_password(password);
        }
        client.build()
    }
}
