//! Listens to what replicas say that they have changed.

use std::{convert::Infallible, time::Duration};

use redis::{AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, RedisError, Value};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::SnippetId;

/// How long connecting, and an answer, may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the connection is tried, so that one whose peer has vanished is noticed; and the pause after a failure.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// Follows one channel over a connection of its own.
pub(super) struct Changes {
    client: Client,
    channel: String,
}

/// Told which snippet was changed.
pub(super) type Listener = std::sync::Arc<dyn Fn(SnippetId) + Send + Sync>;

impl Changes {
    /// Of the channel `channel` at the Redis of `client`. Nothing is connected yet.
    pub(super) fn new(client: &Client, channel: String) -> Result<Self, RedisError> {
        let info = client.get_connection_info().clone();
        // Messages come between answers, so that the same connection can be tried by a PING.
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        Ok(Self { client: Client::open(info.set_redis_settings(redis))?, channel })
    }

    /// Listens until `stop` is cancelled, over as many connections as it takes.
    pub(super) async fn follow(&self, listener: Listener, stop: CancellationToken) {
        let follow = async {
            loop {
                let Err(error) = self.session(listener.clone()).await;
                tracing::debug!(%error, "changes are not heard of");
                sleep(PING_INTERVAL).await;
            }
        };
        stop.run_until_cancelled(follow).await;
    }

    async fn session(&self, listener: Listener) -> Result<Infallible, RedisError> {
        let hear = move |push: PushInfo| {
            if let Some(id) = heard(&push) {
                listener(id);
            }
            Ok::<(), Infallible>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_push_sender(hear);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(&self.channel).await?;
        loop {
            redis::cmd("PING").query_async::<()>(&mut connection).await?;
            sleep(PING_INTERVAL).await;
        }
    }
}

/// The snippet that a message names.
fn heard(push: &PushInfo) -> Option<SnippetId> {
    match (&push.kind, push.data.as_slice()) {
        (PushKind::Message, [_channel, Value::BulkString(id)]) => {
            str::from_utf8(id).ok().and_then(|id| SnippetId::parse(id).ok())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_that_is_an_id_says_something() {
        let push = |kind, message: &str| PushInfo {
            kind,
            data: vec![
                Value::BulkString("snippets:v1:changes".into()),
                Value::BulkString(message.as_bytes().to_vec()),
            ],
        };
        let id = SnippetId::generate();
        assert_eq!(heard(&push(PushKind::Message, id.as_str())), Some(id));
        assert_eq!(heard(&push(PushKind::Message, "nothing")), None);
        assert_eq!(heard(&push(PushKind::Subscribe, id.as_str())), None);
        assert_eq!(heard(&PushInfo { kind: PushKind::Disconnection, data: Vec::new() }), None);
    }
}
