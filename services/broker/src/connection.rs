//! One connection to the broker, every option spelled out.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::BoxStream};
use lapin::{
    Channel, Connection, ConnectionProperties, Event,
    tcp::AMQPUriTcpExt as _,
    uri::{AMQPQueryString, AMQPUri},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::BrokerError;

/// How long one operation on the broker may take.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the connection's TCP and AMQP handshakes may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a packet is noticed after twice this time.
const HEARTBEAT_SECONDS: u16 = 10;
/// lapin keeps two buffers of 32 frames per connection; the broker's 128 KiB frames would make that 8 MiB.
const FRAME_BYTES_MAX: u32 = 16 * 1024;
/// How often a connection that said nothing is looked at, in case its end was not announced.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// An open connection and the news about it.
pub struct BrokerConnection {
    connection: Connection,
    events: BoxStream<'static, Event>,
}

impl BrokerConnection {
    /// Connects to `url` (`amqp://user:password@host:port/vhost`); `name` is what the broker's tools show.
    ///
    /// # Errors
    /// When the address is malformed, nobody listens, the login is refused, or five seconds have passed.
    pub async fn open(url: &SecretString, name: &str) -> Result<Self, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime()?;
        // lapin dials on a thread of its own, so the dialling needs its own limit: giving up on the future
        // below would leave that thread waiting for the kernel's.
        let dial = async |uri: AMQPUri, runtime| {
            let stream = timeout(CONNECT_TIMEOUT, uri.connect_async(&runtime)).await;
            stream.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?.map_err(Into::into)
        };
        let connecting = Connection::connector(parse(url)?, runtime, dial, properties);
        let connection =
            timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| BrokerError::Timeout("connect"))??;
        let events = connection.events_listener().boxed();
        Ok(Self { connection, events })
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// When the connection is gone, or the broker does not answer in time.
    pub async fn channel(&mut self) -> Result<Channel, BrokerError> {
        bounded("channel.open", self.connection.create_channel()).await
    }

    /// Whether the broker has told this connection to publish nothing (it is short of memory or disk).
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Waits until the connection or `channel` has ended, and says why. Safe to drop and to call again.
    pub async fn ended(&mut self, channel: &Channel) -> BrokerError {
        self.over(Some(channel)).await
    }

    /// Waits until the connection has ended, and says why; its channels may end meanwhile. Safe to drop and to call again.
    pub async fn lost(&mut self) -> BrokerError {
        self.over(None).await
    }

    async fn over(&mut self, channel: Option<&Channel>) -> BrokerError {
        let mut look = interval(STATUS_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.events.next() => match event {
                    // It is told of the errors of channels, too.
                    Some(Event::Error(error)) if channel.is_some() || !self.is_connected() => return error.into(),
                    Some(_) => {}
                    None => return BrokerError::Ended,
                },
                _ = look.tick() => {
                    if !(self.is_connected() && channel.is_none_or(|channel| channel.status().connected())) {
                        return BrokerError::Ended;
                    }
                }
            }
        }
    }

    fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Says goodbye, so that the broker hands unacknowledged deliveries to others at once.
    pub async fn close(self) {
        let closing = self.connection.close(200, "OK".into());
        if let Err(error) = bounded("connection.close", closing).await {
            tracing::debug!(%error, "closing the broker connection failed");
        }
    }
}

/// Gives `operation` [`OPERATION_TIMEOUT`]: lapin itself would wait for ever.
///
/// # Errors
/// The operation's own, or [`BrokerError::Timeout`] naming `what`.
pub async fn bounded<T>(
    what: &'static str,
    operation: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    timeout(OPERATION_TIMEOUT, operation).await.map_or(Err(BrokerError::Timeout(what)), |done| Ok(done?))
}

fn parse(url: &SecretString) -> Result<AMQPUri, BrokerError> {
    let mut uri: AMQPUri = url.expose_secret().parse().map_err(|_| BrokerError::InvalidUrl)?;
    // What the address says explicitly wins.
    let AMQPQueryString { frame_max, heartbeat, .. } = &mut uri.query;
    frame_max.get_or_insert(FRAME_BYTES_MAX);
    heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    Ok(uri)
}
